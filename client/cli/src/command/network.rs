//! `defs nodes` and `defs pairs`: the network as a node sees it.

use std::collections::BTreeMap;

use anyhow::Result;
use defs_core::ids::NodeId;
use serde_json::json;

use super::Context;
use super::local::short;
use crate::cluster::Cluster;
use crate::open;
use crate::say::{bytes, table};

/// Process ids of the nodes that run on this machine.
async fn local_pids(context: &Context) -> Result<BTreeMap<String, u32>> {
    let mut pids = BTreeMap::new();
    if let Some(cluster) = Cluster::load(&context.home.cluster())? {
        for node in &cluster.nodes {
            if let Some(status) = cluster.status(node).await {
                pids.insert(status.node_id, status.pid);
            }
        }
    }
    Ok(pids)
}

pub(super) async fn nodes(context: &Context) -> Result<()> {
    let pids = local_pids(context).await?;
    let client = open::open(&context.args, &context.home).await?.client;
    let view = client.view().await?;
    let mut rows = Vec::new();
    for (node, card) in &view.nodes {
        let own = view.pairs.values().find_map(|pair| {
            let role = pair.record.role_of(node)?;
            Some((pair, role, pair.alive[usize::from(pair.record.primary() != *node)]))
        });
        let alive = own.is_none_or(|(_, _, alive)| alive);
        let state = match (own.is_some(), alive) {
            (_, false) => "away",
            (true, true) => "serving",
            (false, true) => "spare",
        };
        let pair = own.map(|(pair, _, _)| pair.record.pair.full());
        let role = own.map(|(_, role, _)| role.to_string());
        let pid = pids.get(&node.full());
        if context.say.json() {
            let event = json!({
                "event": "node", "id": node.full(), "pid": pid, "addresses": card.addresses,
                "pair": pair, "role": role, "state": state, "reach": card.reach.to_string(),
                "host": card.labels.host,
                "zone": card.labels.zone, "region": card.labels.region,
                "capacity": card.capacity, "used": card.used,
            });
            context.say.event(&event, String::new);
        }
        rows.push(vec![
            node.to_string(),
            pid.map_or("-".to_owned(), ToString::to_string),
            pair.map_or("-".to_owned(), |pair| short(&pair)),
            role.unwrap_or_else(|| "-".to_owned()),
            state.to_owned(),
            card.reach.to_string(),
            format!("{} of {}", bytes(card.used), bytes(card.capacity)),
            card.addresses.first().cloned().unwrap_or_default(),
        ]);
    }
    if !context.say.json() {
        let headings = ["NODE", "PID", "PAIR", "ROLE", "STATE", "REACH", "USED", "ADDRESS"];
        context.say.event(&json!({}), || table(&headings, &rows));
    }
    client.close().await;
    Ok(())
}

pub(super) async fn pairs(context: &Context) -> Result<()> {
    let pids = local_pids(context).await?;
    let client = open::open(&context.args, &context.home).await?.client;
    let view = client.view().await?;
    let mut rows = Vec::new();
    for (id, pair) in &view.pairs {
        let state = if pair.is_open() { "healthy" } else { "degraded" };
        let members = [pair.record.primary(), pair.record.mirror()];
        if context.say.json() {
            let member = |place: usize| member_json(&members[place], pair.alive[place], &pids);
            let event = json!({
                "event": "pair", "id": id.full(), "epoch": pair.record.epoch.0, "state": state,
                "primary": member(0), "mirror": member(1), "free": pair.free,
            });
            context.say.event(&event, String::new);
        }
        let member = |place: usize| {
            let away = if pair.alive[place] { "" } else { " (away)" };
            format!("{}{away}", members[place])
        };
        rows.push(vec![
            id.to_string(),
            pair.record.epoch.to_string(),
            state.to_owned(),
            member(0),
            member(1),
            bytes(pair.free),
        ]);
    }
    if !context.say.json() {
        let headings = ["PAIR", "EPOCH", "STATE", "PRIMARY", "MIRROR", "FREE"];
        context.say.event(&json!({}), || table(&headings, &rows));
    }
    client.close().await;
    Ok(())
}

fn member_json(node: &NodeId, alive: bool, pids: &BTreeMap<String, u32>) -> serde_json::Value {
    json!({ "id": node.full(), "pid": pids.get(&node.full()), "alive": alive })
}
