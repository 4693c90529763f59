//! What healing owes: after the faults have stopped, everything becomes whole again, and
//! then healing falls idle.

use defs_core::ids::NodeId;
use defs_core::message::ShardKey;
use defs_core::network::PairRecord;

use crate::cluster::Cluster;
use crate::ledger::{Ledger, Standing};

/// Requests between nodes by which something is healed. Asking and comparing go on for ever.
const WORK: &[&str] = &[
    "propose",
    "copy shard",
    "copy records",
    "copy tombstones",
    "release",
    "stand in",
    "take records",
    "store shard",
    "moved",
];

/// What is left to heal, in words; `None` when all is whole that can be.
#[must_use]
pub fn owed(cluster: &Cluster, ledger: &Ledger) -> Option<String> {
    still_syncing(cluster).or_else(|| half_a_pair(cluster)).or_else(|| not_whole(cluster, ledger))
}

/// How often nodes have asked each other to heal something.
#[must_use]
pub fn work_done(cluster: &Cluster) -> u64 {
    WORK.iter().map(|kind| cluster.network.asked(kind)).sum()
}

fn still_syncing(cluster: &Cluster) -> Option<String> {
    let mut syncing = cluster.running().filter(|(_, machine, _)| machine.is_syncing());
    syncing.next().map(|(node, ..)| format!("{node} still takes over what its partner has"))
}

/// Of a pair's witnesses, so many must be there for the loss of a member to be healed.
const WITNESSES_NEEDED: usize = 2;

/// A pair that lost one member while somebody is free to take its place, and witnesses are left
/// to agree to that.
fn half_a_pair(cluster: &Cluster) -> Option<String> {
    let is_free = |node: &NodeId| cluster.known_pairs().values().all(|pair| !is_in(pair, node));
    let free: Vec<_> = cluster.on().into_iter().filter(|node| is_free(node)).collect();
    free.first()?;
    let can_agree = |pair: &&PairRecord| left_of(cluster, &pair.witnesses) >= WITNESSES_NEEDED;
    let mut half = cluster.known_pairs().values().filter(|pair| lives(cluster, pair) == 1);
    half.find(can_agree).map(|PairRecord { pair, members, witnesses, .. }| {
        let mut how =
            format!("pair {pair} of {members:?} has one member, witnesses are {witnesses:?}");
        for life in members.iter().filter_map(|node| cluster.life(*node)) {
            let (changes, hold) = life.engine.conclusions();
            let health = changes.last().map(ToString::to_string);
            how += &format!("\n  its last conclusion: {health:?}, it waits: {hold:?}");
            how += &format!("; it holds {:?}", life.engine.status().usage);
        }
        for node in &free {
            let status = cluster.life(*node).map(|life| life.engine.status());
            how += &format!("\n  {node} is free: {status:?}");
        }
        how
    })
}

/// Whether a pair can't go on: nobody is left of it, or one member whose witnesses can't agree to
/// another beside it. What it held is rebuilt elsewhere.
pub(crate) fn is_beyond_help(cluster: &Cluster, pair: &PairRecord) -> bool {
    let can_agree = left_of(cluster, &pair.witnesses) >= WITNESSES_NEEDED;
    match lives(cluster, pair) {
        0 => true,
        1 => pair.witnesses.len() >= WITNESSES_NEEDED && !can_agree,
        _ => false,
    }
}

fn is_in(pair: &PairRecord, node: &NodeId) -> bool {
    pair.role_of(node).is_some()
}

/// How many members of `pair` are not lost.
fn lives(cluster: &Cluster, pair: &PairRecord) -> usize {
    left_of(cluster, &pair.members)
}

fn left_of(cluster: &Cluster, nodes: &[NodeId]) -> usize {
    let is_lost = |node| cluster.machines.get(node).is_none_or(|machine| machine.is_lost);
    nodes.iter().filter(|node| !is_lost(node)).count()
}

/// A shard of an acknowledged file that no pair has at both members.
fn not_whole(cluster: &Cluster, ledger: &Ledger) -> Option<String> {
    let stored = ledger.files.values().filter(|file| file.standing == Standing::Stored);
    for file in stored {
        for (key, pair) in &file.shards {
            let Some(record) = cluster.known_pairs().get(pair) else { continue };
            if is_excused(cluster, record) || is_whole(cluster, key) || is_halved(cluster, key) {
                continue;
            }
            if !is_beyond_help(cluster, record) || has_place(cluster, key) {
                let how = who_has(cluster, key);
                return Some(format!("{key:?} of {} is not whole, put at {pair}{how}", file.name));
            }
        }
    }
    None
}

/// Where its stripe lies, and what its rebuilders say: for whoever reads the failure.
fn who_has(cluster: &Cluster, key: &ShardKey) -> String {
    let mut all = String::new();
    for (node, machine, life) in cluster.running() {
        for (held, stored, _) in machine.disk.shards() {
            if held.stripe == key.stripe {
                let state = &stored.state;
                let is_kept = state.commit.is_some();
                all +=
                    &format!("\n  {node} has {} for {}, kept: {is_kept}", held.index, state.pair);
                let watched = stored.head.watched.iter();
                watched.for_each(|one| all += &format!(", watches {} at {}", one.index, one.pair));
            }
        }
        if let Some(failed) = life.engine.repairs().unrepaired.get(&key.stripe) {
            all += &format!("\n  {node} can't: {failed:?}");
        }
        let known = life.engine.table().pairs.into_iter().map(|view| view.record.record);
        let known: Vec<_> = known.map(|pair| format!("{} {}", pair.pair, pair.epoch)).collect();
        all += &format!("\n  {node} knows {}", known.join(", "));
        let lost: Vec<_> = life.engine.losses().into_keys().collect();
        let (pair, reach) = (life.engine.status().pair, life.engine.reach());
        let current = life.engine.repairs().current;
        all += &format!("\n  {node} of {pair:?} holds {lost:?} to be lost, repairs {current:?}");
        if !reach.may_heal() {
            all += &format!(", heals nothing: {reach}");
        }
    }
    all
}

/// Whether members of `pair` turned against everybody: what they signed for may be nowhere.
/// Or one is left, and nobody to stand beside it.
fn is_excused(cluster: &Cluster, pair: &PairRecord) -> bool {
    let present = pair.members.iter().filter_map(|node| cluster.machines.get(node));
    let mut ever = present.chain(cluster.former(&pair.pair));
    ever.any(|machine| machine.treason.is_some()) || is_half(cluster, pair)
}

/// Whether one member is left of a pair, which waits for another.
fn is_half(cluster: &Cluster, pair: &PairRecord) -> bool {
    lives(cluster, pair) == 1 && !is_beyond_help(cluster, pair)
}

/// Whether both members of some pair have it.
#[must_use]
pub fn is_whole(cluster: &Cluster, key: &ShardKey) -> bool {
    let has = |node: &NodeId| {
        cluster.machines.get(node).is_some_and(|machine| machine.disk.has_shard(key))
    };
    cluster.known_pairs().values().any(|pair| pair.members.iter().all(has))
}

/// Whether the last member of a pair has it, beside whom nobody is free to stand: that pair
/// isn't lost, so nothing of it is rebuilt.
fn is_halved(cluster: &Cluster, key: &ShardKey) -> bool {
    let has = |node: &NodeId| {
        let machine = cluster.machines.get(node).filter(|machine| !machine.is_lost);
        machine.is_some_and(|machine| machine.disk.has_shard(key))
    };
    let mut halves = cluster.known_pairs().values().filter(|pair| is_half(cluster, pair));
    halves.any(|pair| pair.members.iter().any(has))
}

/// Whether some whole pair holds nothing of the stripe yet: more of it may be there.
fn has_place(cluster: &Cluster, key: &ShardKey) -> bool {
    let holds = |node: &NodeId| {
        let Some(machine) = cluster.machines.get(node) else { return false };
        machine.disk.shards().iter().any(|(held, ..)| held.stripe == key.stripe)
    };
    let mut whole = cluster.known_pairs().values().filter(|pair| lives(cluster, pair) == 2);
    whole.any(|pair| !pair.members.iter().any(holds))
}
