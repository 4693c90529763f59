//! `defs stat`: how a file is stored, where, and what it would survive.

use std::collections::BTreeMap;

use anyhow::Result;
use defs_client::{FileRef, FileStatus, SliceStatus};
use serde_json::json;

use super::Context;
use super::get::file_of;
use crate::open;
use crate::say::{bytes, table};

pub(super) async fn run(context: &Context, name: &str, ask: bool, ticket: bool) -> Result<()> {
    let opened = open::open(&context.args, &context.home).await?;
    let status = opened.client.stat(file_of(name)?, ask).await?;
    if context.say.json() {
        tell_programs(context, &status);
    } else {
        context.say.event(&json!({}), || text(&status));
    }
    if ticket
        && let FileRef::Name(name) = file_of(name)?
        && let Some(entry) = opened.client.find(&name).await?
    {
        let text = entry.ticket.to_text();
        context.say.event(&json!({ "event": "ticket", "ticket": text.as_str() }), || {
            format!("ticket {}", text.as_str())
        });
    }
    opened.client.close().await;
    Ok(())
}

fn tell_programs(context: &Context, status: &FileStatus) {
    let slices: Vec<_> = status.slices.iter().map(slice_json).collect();
    let manifest: Vec<_> = status.manifest_pairs.iter().map(|pair| pair.full()).collect();
    let event = json!({
        "event": "stat", "name": status.name, "length": status.length,
        "mode": status.mode.to_string(), "data": status.geometry.data(),
        "parity": status.geometry.parity(), "inline": status.inline,
        "digest": status.digest.full(), "manifestPairs": manifest, "pages": status.pages,
        "foundBy": status.lookup.by.to_string(), "survivesPairs": status.survives,
        "slices": slices,
    });
    context.say.event(&event, String::new);
}

fn slice_json(slice: &SliceStatus) -> serde_json::Value {
    let shards: Vec<_> = slice
        .shards
        .iter()
        .map(|shard| {
            json!({
                "index": shard.index.0, "pair": shard.pair.full(),
                "alive": shard.alive, "held": shard.held, "there": shard.is_there(),
            })
        })
        .collect();
    json!({
        "slice": slice.number.0, "length": slice.length, "stripe": slice.stripe.full(),
        "survivesPairs": slice.survives, "shards": shards,
    })
}

fn text(status: &FileStatus) -> String {
    let mut lines = vec![
        format!("{}  {}", status.name, bytes(status.length)),
        format!("mode {} ({}), {} slices", status.mode, status.geometry, status.slices.len()),
        format!(
            "manifest on pairs {}; found by {}",
            status.manifest_pairs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            status.lookup.by
        ),
        match status.survives {
            Some(pairs) => format!("survives the loss of any {pairs} further pairs now"),
            None => "CAN'T BE READ NOW: too many pieces are missing".to_owned(),
        },
    ];
    if !status.slices.is_empty() {
        lines.push(table(&["PAIR", "PIECES", "PRIMARY", "MIRROR"], &by_pair(status)));
    }
    lines.join("\n")
}

/// How many pieces each pair holds, and whether its members answer.
fn by_pair(status: &FileStatus) -> Vec<Vec<String>> {
    let mut pairs: BTreeMap<_, (usize, [bool; 2])> = BTreeMap::new();
    for shard in status.slices.iter().flat_map(|slice| &slice.shards) {
        let pair = pairs.entry(shard.pair).or_insert((0, shard.alive));
        pair.0 += 1;
    }
    let word = |alive: bool| if alive { "answers" } else { "away" }.to_owned();
    pairs
        .into_iter()
        .map(|(pair, (pieces, alive))| {
            vec![pair.to_string(), pieces.to_string(), word(alive[0]), word(alive[1])]
        })
        .collect()
}
