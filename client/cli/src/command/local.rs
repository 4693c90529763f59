//! `defs up`, `down`, `status`: storage nodes on this machine.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::args::Up;
use crate::cluster::Cluster;
use crate::say::{bytes, table};

/// Nodes of a new local network: five pairs, enough for ten and four.
const NODES: u16 = 10;

pub(super) async fn up(context: &Context, up: &Up) -> Result<()> {
    let folder = context.home.cluster();
    let known = Cluster::load(&folder)?.map_or(0, |cluster| cluster.nodes.len());
    let count = match up.nodes {
        Some(count) => usize::from(count),
        None if known > 0 => known,
        None => usize::from(NODES),
    };
    let cluster = Cluster::with(&folder, count, up.capacity)?;
    let started = cluster.start().await?;
    context.say.note("the nodes run and look for partners");
    let pairs = cluster.wait_paired().await?;
    let running = cluster.nodes.len();
    let event = json!({ "event": "up", "nodes": running, "started": started, "pairs": pairs });
    context.say.event(&event, || {
        format!(
            "{running} nodes ({started} started now) in {pairs} pairs; data in {}",
            folder.display()
        )
    });
    if !up.detach {
        context.say.note("Ctrl-C stops them; --detach would have left them running");
        tokio::signal::ctrl_c().await?;
        cluster.stop().await?;
    }
    Ok(())
}

pub(super) async fn down(context: &Context) -> Result<()> {
    let cluster = Cluster::existing(&context.home.cluster())?;
    let stopped = cluster.stop().await?;
    context.say.event(&json!({ "event": "down", "stopped": stopped }), || {
        format!("{stopped} nodes stopped; `defs up` starts them again")
    });
    Ok(())
}

pub(super) async fn status(context: &Context) -> Result<()> {
    let cluster = Cluster::existing(&context.home.cluster())?;
    let mut rows = Vec::new();
    let mut running = 0;
    for node in &cluster.nodes {
        let status = cluster.status(node).await;
        running += usize::from(status.is_some());
        let event = match &status {
            Some(status) => json!({
                "event": "node", "name": node.name, "running": true, "pid": status.pid,
                "id": status.node_id, "port": node.port, "state": status.state,
                "reach": status.reach,
                "pair": status.pair.as_ref().map(|pair| &pair.pair_id),
                "role": status.pair.as_ref().map(|pair| &pair.role),
                "used": status.used_bytes, "capacity": status.capacity_bytes,
                "shards": status.shards, "records": status.records,
                "uptimeMs": status.uptime_ms, "version": status.version,
            }),
            None => {
                json!({ "event": "node", "name": node.name, "running": false, "port": node.port })
            }
        };
        if context.say.json() {
            context.say.event(&event, String::new);
        }
        rows.push(match status {
            Some(status) => {
                let pair = status.pair.unwrap_or_default();
                vec![
                    node.name.clone(),
                    status.pid.to_string(),
                    node.port.to_string(),
                    status.state,
                    short(&pair.pair_id),
                    pair.role,
                    format!("{} of {}", bytes(status.used_bytes), bytes(status.capacity_bytes)),
                    status.shards.to_string(),
                ]
            }
            None => {
                vec![node.name.clone(), "-".to_owned(), node.port.to_string(), "stopped".to_owned()]
            }
        });
    }
    if !context.say.json() {
        let headings = ["NODE", "PID", "PORT", "STATE", "PAIR", "ROLE", "USED", "SHARDS"];
        let text = format!("{}\n{running} of {} nodes run", table(&headings, &rows), rows.len());
        context.say.event(&json!({}), || text);
    }
    Ok(())
}

/// The first digits of an id, enough to tell it from its neighbours.
pub(super) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
