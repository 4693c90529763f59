//! What an object that somebody applies brings about, followed to the disks.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use defs_e2e::otlp::{Receiver, Span};
use defs_e2e_kubernetes::{Namespace, Network, eventually, seconds, with_namespace};
use serde_json::json;

#[tokio::test]
async fn one_trace_runs_from_an_object_over_the_operator_and_nodes_to_their_disks() -> Result<()> {
    with_namespace("traces", async |ns| {
        let installation = ns.world().installation();
        let receiver = Receiver::on(SocketAddr::new(ns.world().host().await?, 0))?;
        let endpoint = receiver.endpoint();
        let exported =
            [("telemetry.otlp.endpoint", endpoint.as_str()), ("telemetry.otlp.sampling", "1")];
        installation.set(&exported).await?;
        let followed = is_followed(ns, &receiver).await;
        installation.set(&[("telemetry.otlp.endpoint", "")]).await.and(followed)
    })
    .await
}

async fn is_followed(ns: &Namespace, receiver: &Receiver) -> Result<()> {
    let otlp = json!({"endpoint": receiver.endpoint(), "samplingPercent": 100});
    let spec = json!({"replicas": 4, "observability": {"otlp": otlp}});
    Network::ready(ns, "demo", spec).await?;
    // From below: what was written, by whom it was asked for, and the object it was done for.
    let way = [
        ("defs-node", "defs.disk.index"),
        ("defs-node", "defs.pair.form"),
        ("defs-node", "defs.wish.take"),
        ("defs-node", "defs.admin.serve"),
        ("defs-operator", "defs.node.call"),
        ("defs-operator", "defs.reconcile"),
    ];
    eventually("a trace runs from an object to the disks", seconds(60), async || {
        let spans = receiver.spans();
        let ways: Vec<_> = spans
            .iter()
            .filter(|span| span.name == "defs.disk.index")
            .map(|span| way_up(&spans, span))
            .collect();
        ensure!(ways.iter().any(|it| *it == way), "{ways:#?}");
        Ok(())
    })
    .await?;
    eventually("the operator's metrics come too", seconds(90), async || {
        let metrics = receiver.metrics_of("defs-operator");
        ensure!(metrics.contains("controller_runtime.reconcile"), "{metrics:?}");
        Ok(())
    })
    .await
}

/// Services and names of a span and of all above it.
fn way_up<'a>(spans: &'a [Span], span: &'a Span) -> Vec<(&'a str, &'a str)> {
    let above =
        |it: &&Span| spans.iter().find(|other| other.trace == it.trace && other.id == it.parent);
    std::iter::successors(Some(span), above)
        .map(|it| (it.service.as_str(), it.name.as_str()))
        .collect()
}
