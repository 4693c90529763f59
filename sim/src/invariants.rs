//! What must be true whatever happens: each a function named after its claim. They see
//! what lies on the disks, what the nodes say of the network, and what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use defs_core::digest::shard_id;
use defs_core::ids::{Digest, Epoch, NodeId, PairId, StripeId};
use defs_core::message::ShardKey;
use defs_core::port::StateKey;
use defs_engine::STORES_MAX;

use crate::cluster::{Cluster, Machine};
use crate::ledger::{File, Ledger, Standing};
use crate::treason::Treason;

/// A claim that turned out to be false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub claim: &'static str,
    /// How it shows.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.claim, self.how)
    }
}

/// What a check comes to.
pub type Holds = Result<(), Broken>;

fn broken(claim: &'static str, how: impl Into<String>) -> Holds {
    Err(Broken { claim, how: how.into() })
}

/// Requests that a node serves at once at most: shards on their way in, 32 reads of each
/// of a few owners, and as many small things again.
const SERVED_AT_ONCE: usize = STORES_MAX + 256;

/// Gossip on its way at once: of 40 nodes, each telling the others of its card and its
/// pair, and of as many questions.
const GOSSIP_AT_ONCE: usize = 40 * 40 * 4;

/// What was seen earlier in this run.
#[derive(Debug, Default)]
pub struct History {
    /// The epoch of each pair that a node knew last.
    epochs: BTreeMap<(NodeId, PairId), Epoch>,
    /// The one record of each epoch.
    records: BTreeMap<(PairId, Epoch), Digest>,
    /// What each disk held of finished files.
    committed: BTreeMap<NodeId, BTreeSet<ShardKey>>,
}

/// Everything that must hold at every moment.
pub fn all_that_hold_always(cluster: &Cluster, ledger: &Ledger, history: &mut History) -> Holds {
    no_wrong_byte_is_ever_returned(ledger)?;
    epochs_only_grow(cluster, history)?;
    at_most_one_successor_of_an_epoch_is_valid(cluster, history)?;
    no_pair_holds_more_of_a_stripe_than_its_owner_allows(cluster)?;
    nothing_alive_is_collected(cluster, history)?;
    what_was_acknowledged_is_on_both_disks(cluster, ledger)?;
    memory_and_queues_stay_within_bounds(cluster)
}

/// Whatever a client hands on are the bytes that were put under that name.
pub fn no_wrong_byte_is_ever_returned(ledger: &Ledger) -> Holds {
    match ledger.wrong.first() {
        None => Ok(()),
        Some(wrong) => broken("no_wrong_byte_is_ever_returned", wrong),
    }
}

/// A node never goes back to an earlier epoch of a pair, not even over a restart.
pub fn epochs_only_grow(cluster: &Cluster, history: &mut History) -> Holds {
    for (node, _, life) in cluster.running() {
        for view in life.engine.table().pairs {
            let (pair, epoch) = (view.record.record.pair, view.record.record.epoch);
            let before = history.epochs.insert((node, pair), epoch);
            if before.is_some_and(|before| before > epoch) {
                let how = format!("{node} went from {before:?} back to {epoch} of pair {pair}");
                return broken("epochs_only_grow", how);
            }
        }
    }
    Ok(())
}

/// Of each epoch of a pair there is one record only, whoever is asked.
pub fn at_most_one_successor_of_an_epoch_is_valid(
    cluster: &Cluster,
    history: &mut History,
) -> Holds {
    for (node, _, life) in cluster.running() {
        for view in life.engine.table().pairs {
            let record = &view.record.record;
            let known = history
                .records
                .entry((record.pair, record.epoch))
                .or_insert_with(|| record.digest());
            if *known != record.digest() {
                let (pair, epoch) = (record.pair, record.epoch);
                let how = format!("{node} knows another epoch {epoch} of pair {pair}");
                return broken("at_most_one_successor_of_an_epoch_is_valid", how);
            }
        }
    }
    Ok(())
}

/// No disk has more shards of a stripe for one pair than the stripe's descriptor says.
pub fn no_pair_holds_more_of_a_stripe_than_its_owner_allows(cluster: &Cluster) -> Holds {
    for (node, machine) in &cluster.machines {
        let mut held: BTreeMap<(StripeId, PairId), u8> = BTreeMap::new();
        for (key, stored, _) in machine.disk.shards() {
            let count = held.entry((key.stripe, stored.state.pair)).or_default();
            *count += 1;
            let allowed = stored.head.descriptor.body.per_pair;
            if *count > allowed {
                let how = format!("{node} has {count} of stripe {}, {allowed} may be", key.stripe);
                return broken("no_pair_holds_more_of_a_stripe_than_its_owner_allows", how);
            }
        }
    }
    Ok(())
}

/// What belongs to a finished file leaves a disk only with its owner's word.
pub fn nothing_alive_is_collected(cluster: &Cluster, history: &mut History) -> Holds {
    for (node, machine) in cluster.machines.iter().filter(|(_, machine)| !machine.is_lost) {
        let committed: BTreeSet<_> = machine
            .disk
            .shards()
            .into_iter()
            .filter(|(_, stored, _)| stored.state.commit.is_some())
            .map(|(key, ..)| key)
            .collect();
        let before = history.committed.insert(*node, committed.clone()).unwrap_or_default();
        for gone in before.difference(&committed) {
            // As the engine keeps its tombstones.
            let tombstone = StateKey([b"tomb/".as_slice(), &gone.stripe.0].concat());
            if !machine.disk.has_state(&tombstone) {
                let how = format!("{node} has lost {gone:?}, which was committed");
                return broken("nothing_alive_is_collected", how);
            }
        }
    }
    Ok(())
}

/// A shard of an acknowledged file is on the disk of both members of its pair, but for
/// disks that are lost and nodes that sign for what they threw away.
pub fn what_was_acknowledged_is_on_both_disks(cluster: &Cluster, ledger: &Ledger) -> Holds {
    for file in ledger.files.values().filter(|file| file.standing == Standing::Stored) {
        for (key, pair) in &file.shards {
            let Some(record) = cluster.known_pairs().get(pair) else { continue };
            for node in record.members {
                let Some(machine) = cluster.machines.get(&node) else { continue };
                let is_loyal = machine.treason != Some(Treason::StoresNothing);
                if is_loyal && !machine.is_lost && !machine.disk.has_shard(key) {
                    let how = format!("{node} lacks {key:?} of {}", file.name);
                    return broken("what_was_acknowledged_is_on_both_disks", how);
                }
            }
        }
    }
    Ok(())
}

/// Nothing that waits grows without end.
pub fn memory_and_queues_stay_within_bounds(cluster: &Cluster) -> Holds {
    let traffic = cluster.network.traffic();
    if traffic.served_at_once > SERVED_AT_ONCE {
        let how = format!("{} requests were served at once", traffic.served_at_once);
        return broken("memory_and_queues_stay_within_bounds", how);
    }
    if traffic.gossip_at_once > GOSSIP_AT_ONCE {
        let how = format!("{} gossiped messages were on their way", traffic.gossip_at_once);
        return broken("memory_and_queues_stay_within_bounds", how);
    }
    Ok(())
}

/// What is on a disk is what its name says, but for the bytes that rotted.
pub fn no_disk_holds_what_it_never_got(cluster: &Cluster, rotten: usize) -> Holds {
    let shards = cluster.machines.values().flat_map(|machine| machine.disk.shards());
    let wrong = shards.filter(|(_, stored, bytes)| shard_id(bytes) != stored.head.shard_id());
    let wrong = wrong.count();
    if wrong > rotten {
        let how = format!("{wrong} shards are not what their name says, {rotten} rotted");
        return broken("no_disk_holds_what_it_never_got", how);
    }
    Ok(())
}

/// After everything was put right: nobody reads what was deleted (`read` says who did),
/// and whose deletion every pair heard of has left nothing on any disk.
pub fn deleted_stays_deleted(
    cluster: &Cluster,
    ledger: &Ledger,
    read: &BTreeMap<u64, bool>,
) -> Holds {
    let deleted = ledger.files.iter().filter(|(_, file)| file.standing == Standing::Deleted);
    for (number, file) in deleted {
        if read.get(number) == Some(&true) {
            return broken("deleted_stays_deleted", format!("{} is there again", file.name));
        }
        for (key, pair) in file.shards.iter().filter(|_| file.all_told) {
            if let Some(node) = keeper_of(cluster, key, pair) {
                let how = format!("{node} still has {key:?} of {}", file.name);
                return broken("deleted_stays_deleted", how);
            }
        }
    }
    Ok(())
}

/// Who of `pair` still has a shard that its pair heard to be deleted. A member whose
/// partner is lost may never have heard, and a disloyal one may be all that heard.
fn keeper_of(cluster: &Cluster, key: &ShardKey, pair: &PairId) -> Option<NodeId> {
    let record = cluster.known_pairs().get(pair)?;
    let members = record.members.map(|node| cluster.machines.get(&node));
    let is_sound =
        |machine: &Machine| !machine.is_lost && machine.treason != Some(Treason::KeepsDeleted);
    if !members.iter().flatten().all(|machine| is_sound(machine)) {
        return None;
    }
    record
        .members
        .into_iter()
        .find(|node| cluster.machines.get(node).is_some_and(|machine| machine.disk.has_shard(key)))
}

/// After everything was put right: whatever was acknowledged and not deleted is read, but
/// for `excepted`, of which more was lost than they bear.
pub fn no_acknowledged_byte_is_lost_while_losses_are_within_the_margin(
    ledger: &Ledger,
    unread: &BTreeMap<u64, String>,
    excepted: &BTreeSet<u64>,
) -> Holds {
    for (number, why) in unread {
        let Some(file) = ledger.files.get(number) else { continue };
        if file.standing == Standing::Stored && !excepted.contains(number) {
            let File { name, owner, .. } = file;
            let how = format!("{name} of owner {owner} can't be read: {why}");
            return broken("no_acknowledged_byte_is_lost_while_losses_are_within_the_margin", how);
        }
    }
    Ok(())
}
