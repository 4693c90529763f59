//! `defs node`: a node is to leave, or will never come back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use defs_client::FileRef;
use defs_client::directory::View;
use defs_core::ids::{NodeId, PairId};
use defs_core::network::{Activity, NodeCard};
use serde_json::json;

use super::Context;
use crate::args::NodeCommand;
use crate::cluster::Cluster;
use crate::open;

/// How often it is looked how far a node is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Files at risk that are named.
const NAMED_MAX: usize = 20;

pub(super) async fn run(context: &Context, command: &NodeCommand) -> Result<()> {
    match command {
        NodeCommand::Drain { id } => drain(context, id).await,
        NodeCommand::Stay { id } => stay(context, id).await,
        NodeCommand::Remove { lost, yes } => remove(context, lost, *yes).await,
    }
}

/// The node whose id begins with `id`.
fn find(view: &View, id: &str) -> Result<NodeId> {
    let mut known = view.nodes.keys().filter(|node| node.full().starts_with(id));
    match (known.next(), known.next()) {
        (Some(node), None) => Ok(*node),
        (None, _) => bail!("no node's id begins with {id}: `defs nodes` lists them"),
        (Some(_), Some(_)) => bail!("several nodes' ids begin with {id}: give more of it"),
    }
}

fn pair_of(view: &View, node: &NodeId) -> Option<PairId> {
    let mut pairs = view.pairs.values();
    pairs.find(|pair| pair.record.role_of(node).is_some()).map(|pair| pair.record.pair)
}

/// Tells the network, through a node of this machine, which has the invite.
async fn wish(context: &Context, node: &NodeId, want: &str) -> Result<()> {
    let cluster = Cluster::existing(&context.home.cluster())?;
    let admin = cluster.any_admin().await;
    let mut admin = admin.context("no node of this machine runs: `defs up` starts them")?;
    admin.wish(&node.full(), want).await
}

/// Nodes that a node of this machine hears.
async fn alive(context: &Context) -> Result<BTreeSet<String>> {
    let cluster = Cluster::existing(&context.home.cluster())?;
    let admin = cluster.any_admin().await;
    let mut admin = admin.context("no node of this machine runs: `defs up` starts them")?;
    let nodes = admin.nodes().await?.into_iter().filter(|node| node.alive);
    Ok(nodes.map(|node| node.node_id).collect())
}

async fn drain(context: &Context, id: &str) -> Result<()> {
    let client = open::open(&context.args, &context.home).await?.client;
    let view = client.view().await?;
    let node = find(&view, id)?;
    let Some(pair) = pair_of(&view, &node) else {
        wish(context, &node, "drain").await?;
        context.say.event(&json!({ "event": "drained", "node": node.full() }), || {
            format!("{node} is in no pair: it can be stopped")
        });
        client.close().await;
        return Ok(());
    };
    let held = view.nodes.get(&node).map_or(0, |card| card.used);
    let alive = alive(context).await?;
    let fits = |(other, card): &(&NodeId, &NodeCard)| {
        **other != node
            && alive.contains(&other.full())
            && card.activity == Activity::Ready
            && pair_of(&view, other).is_none()
            && card.capacity.saturating_sub(card.used) >= held
    };
    if !view.nodes.iter().any(|known| fits(&known)) {
        bail!(
            "{node} can't leave safely: no spare node has room for what pair {pair} holds. Start \
             one more, for example with `defs up --nodes {}`",
            view.nodes.len() + 1
        );
    }
    wish(context, &node, "drain").await?;
    context.say.note(&format!("{node} hands over what it holds; this goes on if you stop waiting"));
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let view = client.view().await?;
        let is_out = pair_of(&view, &node).is_none();
        if is_out && view.pairs.get(&pair).is_some_and(|known| known.alive == [true; 2]) {
            break;
        }
    }
    client.close().await;
    context
        .say
        .event(&json!({ "event": "drained", "node": node.full(), "pair": pair.full() }), || {
            format!("{node} has left pair {pair}, which is whole without it: it can be stopped")
        });
    Ok(())
}

async fn stay(context: &Context, id: &str) -> Result<()> {
    let client = open::open(&context.args, &context.home).await?.client;
    let view = client.view().await?;
    let node = find(&view, id)?;
    client.close().await;
    wish(context, &node, "stay").await?;
    context.say.event(&json!({ "event": "stays", "node": node.full() }), || {
        format!("{node} may be in pairs again")
    });
    Ok(())
}

async fn remove(context: &Context, id: &str, yes: bool) -> Result<()> {
    let client = open::open(&context.args, &context.home).await?.client;
    let view = client.view().await?;
    let node = find(&view, id)?;
    let mut at_risk = Vec::new();
    for entry in client.list().await? {
        let status = client.stat(FileRef::Name(entry.name.clone()), false).await;
        if !status.is_ok_and(|status| status.survives.is_some_and(|pairs| pairs > 0)) {
            at_risk.push(entry.name);
        }
    }
    client.close().await;
    let names: Vec<_> = at_risk.iter().take(NAMED_MAX).map(String::as_str).collect();
    context.say.event(&json!({ "event": "atRisk", "node": node.full(), "files": at_risk }), || {
        if at_risk.is_empty() {
            "no file is at risk now".to_owned()
        } else {
            let more = at_risk.len().saturating_sub(names.len());
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "{} files don't survive one more loss now: {}{rest}",
                at_risk.len(),
                names.join(", ")
            )
        }
    });
    if !yes {
        bail!("this can't be taken back: say --yes as well if {node} will never return");
    }
    wish(context, &node, "lost").await?;
    context.say.event(&json!({ "event": "lost", "node": node.full() }), || {
        format!("{node} is given up: what it held is made whole without it")
    });
    Ok(())
}
