//! `defs nodes --explain`: a node's score, with every input that it follows from.

use anyhow::{Context as _, Result, bail};
use defs_wire::admin as pb;
use serde_json::{Value, json};

use super::Context;
use super::local::short;
use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::say::table;

pub(super) async fn run(context: &Context, id: &str) -> Result<()> {
    let mut admin = any_admin(context).await?;
    let node = find(&mut admin, id).await?;
    let explained = admin.explain(&node).await?;
    context.say.event(&object(&explained)?, || text(&explained));
    Ok(())
}

/// The admin API of a node of this machine.
pub(super) async fn any_admin(context: &Context) -> Result<Admin> {
    let cluster = Cluster::existing(&context.home.cluster())?;
    let admin = cluster.any_admin().await;
    admin.context("no node of this machine runs: `defs up` starts them")
}

/// The node whose id begins with `id`.
async fn find(admin: &mut Admin, id: &str) -> Result<String> {
    let nodes = admin.nodes().await?;
    let mut known = nodes.into_iter().filter(|node| node.node_id.starts_with(id));
    match (known.next(), known.next()) {
        (Some(node), None) => Ok(node.node_id),
        (None, _) => bail!("no node's id begins with {id}: `defs nodes` lists them"),
        (Some(_), Some(_)) => bail!("several nodes' ids begin with {id}: give more of it"),
    }
}

fn object(explained: &pb::ExplainResponse) -> Result<Value> {
    let inputs: Value = serde_json::from_str(&explained.inputs_json)
        .context("the node told inputs that can't be read")?;
    let part = |part: &pb::ScorePart| {
        json!({
            "dimension": part.dimension, "points": part.points, "weight": part.weight,
            "unit": part.unit, "reading": part.reading,
        })
    };
    let parts: Vec<_> = explained.parts.iter().map(part).collect();
    Ok(json!({
        "event": "score", "id": explained.node_id, "observers": explained.observers,
        "total": explained.total, "parts": parts, "inputs": inputs,
    }))
}

fn text(explained: &pb::ExplainResponse) -> String {
    let row = |part: &pb::ScorePart| {
        vec![
            part.dimension.clone(),
            part.points.to_string(),
            part.weight.to_string(),
            part.unit.clone(),
            part.reading.clone(),
        ]
    };
    let rows: Vec<_> = explained.parts.iter().map(row).collect();
    format!(
        "{}: {} of 1000 points, by what {} other nodes measured\n{}",
        short(&explained.node_id),
        explained.total,
        explained.observers,
        table(&["DIMENSION", "POINTS", "WEIGHT", "UNIT", "MEASURED"], &rows)
    )
}
