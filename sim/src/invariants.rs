//! What must be true whatever happens: each a function named after its claim. They see
//! what lies on the disks, what the nodes say of the network, and what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use defs_core::digest::shard_id;
use defs_core::ids::{Epoch, NodeId, PairId, StripeId};
use defs_core::message::ShardKey;
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::port::StateKey;
use defs_core::receipt::NodeSignature;
use defs_core::statement::Statement as _;
use defs_engine::STORES_MAX;
use defs_identity::verify_node;

use crate::cluster::{Cluster, Machine};
use crate::healing::is_whole;
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
    /// What each node knew last of each pair.
    epochs: BTreeMap<(NodeId, PairId), Known>,
    /// The one record of each epoch.
    records: BTreeMap<(PairId, Epoch), PairRecord>,
    /// What each disk held of finished files.
    committed: BTreeMap<NodeId, BTreeSet<ShardKey>>,
}

/// A pair as a node knew it.
#[derive(Debug, Clone, Copy)]
struct Known {
    epoch: Epoch,
    /// Of the node's own lives, that in which it knew so.
    life: u64,
    is_member: bool,
}

/// Everything that must hold at every moment.
pub fn all_that_hold_always(cluster: &Cluster, ledger: &Ledger, history: &mut History) -> Holds {
    no_wrong_byte_is_ever_returned(ledger)?;
    for (node, machine, life) in cluster.running() {
        for view in life.engine.table().pairs {
            let SignedPairRecord { record, .. } = &view.record;
            epochs_only_grow((node, machine.lives), record, history)?;
            at_most_one_successor_of_an_epoch_is_valid(node, record, history)?;
            nobody_is_replaced_without_two_witnesses(cluster, &view.record, history)?;
            history.records.entry((record.pair, record.epoch)).or_insert_with(|| record.clone());
        }
    }
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

/// A node never goes back to an earlier epoch of a pair: of its own not even over a restart.
/// What it only heard of others it writes down within a second, and may hear again.
pub fn epochs_only_grow(
    (node, life): (NodeId, u64),
    record: &PairRecord,
    history: &mut History,
) -> Holds {
    let is_member = record.role_of(&node).is_some();
    let now = Known { epoch: record.epoch, life, is_member };
    let before = history.epochs.insert((node, record.pair), now);
    let may_forget = |before: &Known| before.life != life && !before.is_member;
    let is_back = |before: &Known| before.epoch > now.epoch && !may_forget(before);
    match before.filter(is_back) {
        None => Ok(()),
        Some(Known { epoch, .. }) => {
            let PairRecord { pair, epoch: now, .. } = record;
            broken("epochs_only_grow", format!("{node} went from {epoch} back to {now} of {pair}"))
        }
    }
}

/// Of each epoch of a pair there is one record only, whoever is asked.
pub fn at_most_one_successor_of_an_epoch_is_valid(
    node: NodeId,
    record: &PairRecord,
    history: &History,
) -> Holds {
    let PairRecord { pair, epoch, .. } = record;
    match history.records.get(&(*pair, *epoch)) {
        Some(known) if known != record => {
            let how = format!("{node} knows another epoch {epoch} of pair {pair}");
            broken("at_most_one_successor_of_an_epoch_is_valid", how)
        }
        Some(_) | None => Ok(()),
    }
}

/// Who is put out of a pair has signed that itself, or two witnesses of the epoch before
/// have. Who stays and who comes have signed in any case.
pub fn nobody_is_replaced_without_two_witnesses(
    cluster: &Cluster,
    signed: &SignedPairRecord,
    history: &History,
) -> Holds {
    let record = &signed.record;
    let PairRecord { pair, epoch, .. } = record;
    if history.records.contains_key(&(*pair, *epoch)) {
        return Ok(());
    }
    let wrong = |how: &str| {
        let how = format!("epoch {epoch} of pair {pair}: {how}");
        broken("nobody_is_replaced_without_two_witnesses", how)
    };
    let digest = record.statement(&cluster.id());
    let signer = |by: &NodeSignature| {
        verify_node(&by.key, &digest, &by.signature, cluster.checker.as_ref()).ok()
    };
    let signers: BTreeSet<_> = signed.signatures.iter().filter_map(signer).collect();
    let both = record.members.iter().all(|member| signers.contains(member));
    let earlier = Epoch(epoch.0.saturating_sub(1));
    let Some(before) = history.records.get(&(*pair, earlier)) else { return Ok(()) };
    let left: Vec<_> = before.members.iter().filter(|one| record.role_of(one).is_none()).collect();
    let witnesses = before.witnesses.iter().filter(|one| signers.contains(one)).count();
    match left.as_slice() {
        [] if both || witnesses >= 2 => Ok(()),
        [] => wrong("a member chose new witnesses by itself"),
        _ if !both => wrong("not signed by its members"),
        [one] if signers.contains(one) || witnesses >= 2 => Ok(()),
        [one] => wrong(&format!("{one} was put out by {witnesses} witnesses")),
        _ => wrong("nobody stayed"),
    }
}

/// No disk keeps more shards of a stripe for one pair than the stripe's descriptor says.
pub fn no_pair_holds_more_of_a_stripe_than_its_owner_allows(cluster: &Cluster) -> Holds {
    for (node, machine) in &cluster.machines {
        let mut held: BTreeMap<(StripeId, PairId), u8> = BTreeMap::new();
        // Of a put that failed each member may be left with another shard, until leases end.
        let kept = machine.disk.shards().into_iter().filter(|(_, it, _)| it.state.commit.is_some());
        for (key, stored, _) in kept {
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
            // What has rotted is thrown away when that is found, what was given away when another
            // pair has it.
            if !machine.disk.has_state(&tombstone)
                && !cluster.has_rotted(*node, *gone)
                && !is_whole(cluster, gone)
            {
                let how = format!("{node} has lost {gone:?}, which was committed");
                return broken("nothing_alive_is_collected", how);
            }
        }
    }
    Ok(())
}

/// A shard of an acknowledged file is on the disk of both members of its pair, but for
/// disks that are lost, copies that have rotted, nodes that sign for what they threw away,
/// what was given to another pair and is whole there, and new members that can't have it: those that still take over, and those whose partner
/// is excused itself.
pub fn what_was_acknowledged_is_on_both_disks(cluster: &Cluster, ledger: &Ledger) -> Holds {
    for file in ledger.files.values().filter(|file| file.standing == Standing::Stored) {
        for (key, pair) in &file.shards {
            let Some(record) = cluster.known_pairs().get(pair) else { continue };
            let lacking = record.members.iter().find(|one| lacks(cluster, record, one, key));
            if let Some(node) = lacking.filter(|_| !is_whole(cluster, key)) {
                let how = format!("{node} lacks {key:?} of {}", file.name);
                return broken("what_was_acknowledged_is_on_both_disks", how);
            }
        }
    }
    Ok(())
}

/// Whether `node` of the pair of `record` lacks what it should have.
fn lacks(cluster: &Cluster, record: &PairRecord, node: &NodeId, key: &ShardKey) -> bool {
    let has = |node: &NodeId| {
        cluster.machines.get(node).is_some_and(|machine| machine.disk.has_shard(key))
    };
    if has(node) || is_excused(cluster, node, key) {
        return false;
    }
    if !cluster.is_newcomer(record.pair, *node) {
        return true;
    }
    let is_syncing = cluster.machines.get(node).is_some_and(Machine::is_syncing);
    // Its partner closed the epoch a moment ago, or it ended before it heard of that.
    let knows_its_pair = cluster.life(*node).is_some_and(|life| {
        life.engine.status().pair.is_some_and(|(pair, ..)| pair == record.pair)
    });
    let partner = record.partner_of(node);
    let sends_it = |partner: &NodeId| {
        let treason = cluster.machines.get(partner).and_then(|machine| machine.treason);
        treason != Some(Treason::WrongBytes)
    };
    let could =
        |partner: &NodeId| has(partner) && sends_it(partner) && !is_excused(cluster, partner, key);
    !is_syncing && knows_its_pair && partner.as_ref().is_some_and(could)
}

/// Whether nothing can be expected of this copy.
fn is_excused(cluster: &Cluster, node: &NodeId, key: &ShardKey) -> bool {
    let is_bad =
        |machine: &Machine| machine.is_lost || machine.treason == Some(Treason::StoresNothing);
    cluster.has_rotted(*node, *key) || cluster.machines.get(node).is_none_or(is_bad)
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
/// partner is lost, or was put out, may never have heard, and a disloyal one may be all
/// that heard.
fn keeper_of(cluster: &Cluster, key: &ShardKey, pair: &PairId) -> Option<NodeId> {
    let record = cluster.known_pairs().get(pair)?;
    let members = record.members.map(|node| cluster.machines.get(&node));
    let is_sound =
        |machine: &Machine| !machine.is_lost && machine.treason != Some(Treason::KeepsDeleted);
    let has_changed = cluster.former(pair).next().is_some();
    if has_changed || !members.iter().flatten().all(|machine| is_sound(machine)) {
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
