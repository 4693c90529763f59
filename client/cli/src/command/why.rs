//! `defs why`: which pair holds what of a file, what is missing, what is being done about it,
//! and when it will be whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use defs_client::FileStatus;
use defs_core::ids::StripeId;
use defs_wire::admin as pb;
use serde_json::json;

use super::Context;
use super::get::file_of;
use super::local::short;
use crate::cluster::Cluster;
use crate::open;
use crate::say::{bytes, table};

pub(super) async fn run(context: &Context, name: &str) -> Result<()> {
    let opened = open::open(&context.args, &context.home).await?;
    let status = opened.client.stat(file_of(name)?, true).await?;
    opened.client.close().await;
    let healing = healing(context).await?;
    let why = Why::of(&status, &healing);
    context.say.event(&why.json(&status), || why.text(&status));
    Ok(())
}

/// What the nodes of this machine say of their healing, by node.
async fn healing(context: &Context) -> Result<BTreeMap<String, pb::HealingResponse>> {
    let mut all = BTreeMap::new();
    let Some(cluster) = Cluster::load(&context.home.cluster())? else { return Ok(all) };
    for node in &cluster.nodes {
        if let Some(healing) = cluster.healing(node).await {
            all.insert(node.name.clone(), healing);
        }
    }
    Ok(all)
}

/// What is the matter with a file.
struct Why {
    /// Stripes with shards that nobody was found to hold.
    missing: BTreeMap<StripeId, usize>,
    /// Of these, what a node says why it isn't whole yet.
    hindered: BTreeMap<String, String>,
    rebuilding: bool,
    queued: u64,
    eta: Option<Duration>,
    /// What the nodes have read to rebuild shards, and rebuilt, since they started.
    bytes_read: u64,
    bytes_rebuilt: u64,
    lost_pairs: BTreeSet<String>,
    frozen: Option<String>,
    /// Whether nodes of this machine could be asked.
    asked: bool,
}

impl Why {
    fn of(status: &FileStatus, healing: &BTreeMap<String, pb::HealingResponse>) -> Self {
        let missing = |slice: &defs_client::SliceStatus| {
            slice.shards.iter().filter(|shard| !shard.held.contains(&Some(true))).count()
        };
        let missing: BTreeMap<_, _> = status
            .slices
            .iter()
            .map(|slice| (slice.stripe, missing(slice)))
            .filter(|(_, missing)| *missing > 0)
            .collect();
        let names: BTreeSet<_> = missing.keys().map(StripeId::full).collect();
        let all = || healing.values();
        let hindered = all()
            .flat_map(|one| &one.unrepaired)
            .filter(|one| names.contains(&one.stripe_id))
            .map(|one| (one.stripe_id.clone(), one.why.clone()))
            .collect();
        Self {
            hindered,
            rebuilding: all()
                .flat_map(|one| &one.current_stripe_ids)
                .any(|stripe| names.contains(stripe)),
            queued: all().map(|one| one.queued).sum(),
            eta: eta(bytes_missing(status, &missing), all()),
            bytes_read: all().map(|one| one.bytes_read).sum(),
            bytes_rebuilt: all().map(|one| one.bytes_rebuilt).sum(),
            lost_pairs: all()
                .flat_map(|one| &one.lost_pairs)
                .map(|lost| lost.pair_id.clone())
                .collect(),
            frozen: all().find(|one| !one.may_heal).map(|one| one.standing.clone()),
            asked: !healing.is_empty(),
            missing,
        }
    }

    fn json(&self, status: &FileStatus) -> serde_json::Value {
        let missing: BTreeMap<_, _> =
            self.missing.iter().map(|(stripe, count)| (stripe.full(), count)).collect();
        json!({
            "event": "why", "name": status.name, "survivesPairs": status.survives,
            "slices": status.slices.len(), "missing": missing, "hindered": self.hindered,
            "rebuilding": self.rebuilding, "queued": self.queued,
            "etaMs": self.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            "bytesRead": self.bytes_read, "bytesRebuilt": self.bytes_rebuilt,
            "lostPairs": self.lost_pairs, "frozen": self.frozen,
        })
    }

    fn text(&self, status: &FileStatus) -> String {
        let mut lines = vec![format!("{}  {}", status.name, bytes(status.length))];
        lines.push(match status.survives {
            None => "it can't be read now".to_owned(),
            Some(0) => {
                "AT RISK: it can be read, and the loss of one more pair may end that".to_owned()
            }
            Some(pairs) => format!("it survives the loss of any {pairs} further pairs now"),
        });
        if !status.slices.is_empty() {
            let headings = ["PAIR", "PIECES", "HELD", "PRIMARY", "MIRROR"];
            lines.push(table(&headings, &by_pair(status)));
        }
        if self.missing.is_empty() {
            lines.push("every piece is at a pair that answers".to_owned());
        } else {
            let pieces: usize = self.missing.values().sum();
            let of = self.missing.len();
            lines.push(format!(
                "{pieces} pieces of {of} of {} slices are missing",
                status.slices.len()
            ));
            lines.extend(self.done_about_it());
        }
        lines.join("\n")
    }

    fn done_about_it(&self) -> Vec<String> {
        if !self.asked {
            return vec!["no node of this machine can be asked what is done about it".to_owned()];
        }
        let mut lines = Vec::new();
        if !self.lost_pairs.is_empty() {
            let pairs: Vec<_> = self.lost_pairs.iter().map(|pair| short(pair)).collect();
            lines.push(format!(
                "given up, and what they held is rebuilt elsewhere: {}",
                pairs.join(" ")
            ));
        } else if self.frozen.is_none() {
            lines.push("their pairs are silent and not given up yet: see replaceAfter".to_owned());
        }
        lines.extend(self.frozen.clone());
        if self.queued > 0 || self.rebuilding {
            let when = self.eta.map_or_else(
                || "not known yet how long".to_owned(),
                |eta| format!("about {} s", eta.as_secs().max(1)),
            );
            let now = if self.rebuilding { "one of this file now, " } else { "" };
            lines.push(format!("being rebuilt: {now}{} slices wait, {when}", self.queued));
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for why in self.hindered.values() {
            *reasons.entry(why).or_default() += 1;
        }
        lines.extend(reasons.iter().map(|(why, slices)| format!("{slices} slices wait: {why}")));
        lines
    }
}

/// Of the pieces that nobody was found to hold.
fn bytes_missing(status: &FileStatus, missing: &BTreeMap<StripeId, usize>) -> u64 {
    let of = |slice: &defs_client::SliceStatus| {
        let piece = slice.length.div_ceil(status.geometry.data() as u64);
        missing.get(&slice.stripe).map_or(0, |pieces| piece.saturating_mul(*pieces as u64))
    };
    status.slices.iter().map(of).sum()
}

/// How long all nodes together need for what is left, at the rate at which they rebuild. Some
/// find out later than others what is lost: `missing` bytes of the file are left in any case.
fn eta<'a>(
    missing: u64,
    healing: impl Iterator<Item = &'a pb::HealingResponse>,
) -> Option<Duration> {
    let (mut left, mut rate) = (0_u64, 0_u64);
    for one in healing {
        left = left.saturating_add(one.bytes_left);
        rate = rate.saturating_add(one.bytes_per_second);
    }
    let left = left.max(missing);
    let millis = u128::from(left).saturating_mul(1000).checked_div(u128::from(rate))?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// How many pieces each pair was to hold, how many it does, and how its members are.
fn by_pair(status: &FileStatus) -> Vec<Vec<String>> {
    let mut pairs: BTreeMap<_, (usize, usize, [bool; 2])> = BTreeMap::new();
    for shard in status.slices.iter().flat_map(|slice| &slice.shards) {
        let pair = pairs.entry(shard.pair).or_insert((0, 0, shard.alive));
        pair.0 += 1;
        pair.1 += usize::from(shard.held.contains(&Some(true)));
    }
    let word = |alive: bool| if alive { "answers" } else { "away" }.to_owned();
    pairs
        .into_iter()
        .map(|(pair, (pieces, held, alive))| {
            let counts = [pieces, held].map(|count| count.to_string());
            let [pieces, held] = counts;
            vec![pair.to_string(), pieces, held, word(alive[0]), word(alive[1])]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_all_nodes_together() {
        let node = |bytes_left, bytes_per_second| pb::HealingResponse {
            bytes_left,
            bytes_per_second,
            ..pb::HealingResponse::default()
        };
        let nodes = [node(900, 100), node(100, 0), node(0, 150)];
        let seconds = |missing| eta(missing, nodes.iter()).map(|eta| eta.as_secs());
        assert_eq!(seconds(0), Some(4));
        assert_eq!(seconds(2500), Some(10));
        assert_eq!(eta(2500, [node(100, 0)].iter()), None);
    }
}
