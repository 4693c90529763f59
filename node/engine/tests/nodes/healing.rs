//! One member lost, both lost: who takes the place, what is taken over, what is rebuilt.

use std::collections::BTreeSet;
use std::future::pending;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use defs_codec::SealedStripe;
use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId, ShardIndex};
use defs_core::message::{Gossip, KeepStripe, PairView, Reason, Request, Response, ShardKey};
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::port::{Disk as _, Peers as _, Reply, Service, StateKey, Verdict};
use defs_core::record::Content;
use defs_core::statement::{Commit, Tombstone};
use defs_core::wish::Want;
use defs_engine::Timings;
use defs_identity::sign_statement;
use defs_pairing::detector;
use defs_port_suite::MemoryDisk;

use crate::network::{CAPACITY, Net, Owner, reason};

/// Replaced after twenty seconds.
fn quick() -> Timings {
    let [beat, suspect, fail, replace] = [2, 6, 10, 20].map(Duration::from_secs);
    let watch = detector::Timings::new(beat, suspect, fail, replace).unwrap();
    Timings { watch, ..Timings::default() }
}

/// Copies of a pair that was left may go after a minute.
fn soon_removed() -> Timings {
    Timings { expire: Duration::from_secs(10), keep_superseded: Duration::from_secs(60), ..quick() }
}

fn epoch_of(net: &Net, node: &NodeId, pair: &PairId) -> Option<PairRecord> {
    let table = net.nodes[node].engine.table();
    let mut records = table.pairs.into_iter().map(|view| view.record.record);
    records.find(|record| record.pair == *pair)
}

/// Stores shard `place` of `stripe`, watched by the others as an owner's client says, and
/// commits it.
pub(crate) async fn put(net: &Net, owner: &Owner, stripe: &SealedStripe, places: &[&PairRecord]) {
    let total = places.len();
    for (place, pair) in places.iter().enumerate() {
        let watched = (1..=2).map(|step| {
            let sibling = (place + step) % total;
            defs_core::stripe::Watched {
                index: ShardIndex(u8::try_from(sibling).unwrap()),
                pair: places[sibling].pair,
            }
        });
        let (mut store, body) = owner.store(stripe, place, pair);
        let mut head = store.head.as_ref().clone();
        head.watched = watched.take(total - 1).collect();
        store.head = Arc::new(head);
        owner.send(pair.primary(), Request::StoreShard(store), body).await.unwrap();
        let commit = Commit { stripe: stripe.descriptor.id() };
        let commit = sign_statement(&owner.key, &net.network, commit);
        let indices = vec![ShardIndex(u8::try_from(place).unwrap())];
        let stripes = vec![KeepStripe { commit, indices }];
        let kept = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
        assert_eq!(kept, Ok(Response::Held(vec![true])));
    }
}

async fn bytes_at(net: &Net, node: &NodeId, key: ShardKey) -> Option<Vec<u8>> {
    let stored = net.disk(node).shard(key).await.unwrap()?;
    let body = net.disk(node).read(key, 0..stored.length).await.ok()?;
    Some(body.collect().await.unwrap())
}

async fn holders(net: &Net, key: ShardKey) -> BTreeSet<NodeId> {
    let mut holders = BTreeSet::new();
    for (node, one) in &net.nodes {
        if one.disk.shard(key).await.unwrap().is_some() {
            holders.insert(*node);
        }
    }
    holders
}

/// `place` of the pair is killed for ever: a spare takes its place, and all that the pair
/// had.
async fn a_member_is_replaced(place: usize, timings: Timings) {
    let mut net = Net::timed(7, timings).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let pairs: BTreeSet<_> = net.pairs().into_iter().flat_map(|pair| pair.members).collect();
    let spare = *net.nodes.keys().find(|node| !pairs.contains(*node)).unwrap();
    let stripe = owner.stripe(b"all that there is", (1, 0), 1);
    put(&net, &owner, &stripe, &[&pair]).await;
    let record = owner.record(1, 1, Content::Sealed(vec![7; 100]), &[pair.pair]);
    let key = record.key;
    owner.write(&owner.sign(record), &pair).await.unwrap();
    let dead = owner.stripe(b"deleted", (1, 0), 1);
    put(&net, &owner, &dead, &[&pair]).await;
    let tombstone = Tombstone { stripe: dead.descriptor.id() };
    let tombstone = sign_statement(&owner.key, &net.network, tombstone);
    let delete = Request::Delete { tombstones: vec![tombstone], both: true };
    owner.ask(pair.primary(), delete).await.unwrap();
    let survivor = pair.members[1 - place];
    net.kill(&pair.members[place]);
    net.until("the pair has a new epoch", |net| {
        net.nodes.keys().all(|node| {
            epoch_of(net, node, &pair.pair).is_some_and(|record| record.epoch == Epoch(2))
        })
    })
    .await;
    let successor = epoch_of(&net, &survivor, &pair.pair).unwrap();
    assert_eq!(successor.members, [survivor, spare]);
    net.until("the new member serves", |net| {
        let table = net.nodes[&survivor].engine.table();
        table
            .pairs
            .iter()
            .any(|view| view.record.record.pair == pair.pair && view.alive == [true; 2])
    })
    .await;
    let shard = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    assert_eq!(bytes_at(&net, &spare, shard).await.unwrap(), stripe.shards[0].bytes.to_vec());
    let stored = net.disk(&spare).shard(shard).await.unwrap().unwrap();
    assert!(stored.state.commit.is_some(), "the owner's word came along");
    assert_eq!(net.disk(&spare).records(vec![key]).await.unwrap()[0].len(), 1);
    let again = owner.put(&dead, 0, &successor).await;
    assert_eq!(reason(again), Reason::Deleted, "what was deleted stays deleted");
    let fresh = owner.stripe(b"new bytes", (1, 0), 1);
    owner.put(&fresh, 0, &successor).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_spare_takes_the_place_of_a_lost_mirror_and_takes_over_everything() {
    a_member_is_replaced(1, quick()).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_is_replaced_also_where_failure_is_a_matter_of_milliseconds() {
    let [beat, suspect, fail, replace] = [100, 300, 400, 3000].map(Duration::from_millis);
    let watch = detector::Timings::new(beat, suspect, fail, replace).unwrap();
    a_member_is_replaced(1, Timings { watch, ..Timings::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_spare_takes_the_place_of_a_lost_primary_and_the_mirror_leads() {
    a_member_is_replaced(0, quick()).await;
}

/// Starts another node whenever none is free, until `holds`: other pairs want spares too, and
/// two that are free would be a pair.
async fn with_spares(
    net: &mut Net,
    seeds: RangeInclusive<u8>,
    seen_by: &NodeId,
    holds: impl Fn(&Net) -> bool,
) {
    for seed in seeds {
        net.until("it is done, or no spare is left", |net| {
            let pairs = net.nodes[seen_by].engine.table().pairs;
            let paired: BTreeSet<_> =
                pairs.into_iter().flat_map(|view| view.record.record.members).collect();
            holds(net) || net.nodes.keys().all(|node| paired.contains(node))
        })
        .await;
        if holds(net) {
            return;
        }
        net.start(seed, Arc::new(MemoryDisk::new(CAPACITY, net.network))).await;
    }
    net.until("it is done", holds).await;
}

#[tokio::test(start_paused = true)]
async fn who_joins_after_a_pair_was_lost_hears_of_its_epochs_from_others() {
    let mut net = Net::timed(7, quick()).await;
    let pair = net.pairs().remove(0);
    net.kill(&pair.mirror());
    let survivor = pair.primary();
    net.until("the pair has a new epoch", |net| {
        let epoch_at = |node| epoch_of(net, node, &pair.pair).map(|record| record.epoch);
        net.nodes.keys().all(|node| epoch_at(node) == Some(Epoch(2)))
    })
    .await;
    let members = epoch_of(&net, &survivor, &pair.pair).unwrap().members;
    members.iter().for_each(|member| drop(net.kill(member)));
    let disk = Arc::new(MemoryDisk::new(CAPACITY, net.network));
    let joiner = net.start(8, disk).await;
    net.until("the joiner holds the pair to be lost", |net| {
        net.nodes[&joiner].engine.losses().contains_key(&pair.pair)
    })
    .await;
    assert_eq!(epoch_of(&net, &joiner, &pair.pair).unwrap().epoch, Epoch(2));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_pair_that_was_left_goes_when_both_members_have_shown_theirs() {
    let mut net = Net::timed(7, soon_removed()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let [survivor, gone] = pair.members;
    let stripe = owner.stripe(b"handed over", (1, 0), 1);
    put(&net, &owner, &stripe, &[&pair]).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let disk = net.kill(&gone);
    net.until("the new member has it", |net| {
        let table = net.nodes[&survivor].engine.table();
        let whole =
            |view: &PairView| view.record.record.epoch > Epoch(1) && view.alive == [true; 2];
        table.pairs.iter().any(whole)
    })
    .await;
    let newcomer = epoch_of(&net, &survivor, &pair.pair).unwrap().mirror();
    assert_eq!(holders(&net, key).await, BTreeSet::from([survivor, newcomer]));
    net.net.cut(gone, newcomer);
    net.start_again(gone, disk).await;
    net.pass(Duration::from_secs(150)).await;
    assert!(holders(&net, key).await.contains(&gone), "only one has shown its copy");
    net.net.heal(gone, newcomer);
    net.pass(Duration::from_secs(30)).await;
    assert_eq!(holders(&net, key).await, BTreeSet::from([survivor, newcomer]));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_pair_that_was_left_goes_when_its_owner_deletes_it() {
    let mut net = Net::timed(7, soon_removed()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let [survivor, gone] = pair.members;
    let stripe = owner.stripe(b"deleted meanwhile", (1, 0), 1);
    put(&net, &owner, &stripe, &[&pair]).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let disk = net.kill(&gone);
    net.until("the pair has a new epoch", |net| {
        epoch_of(net, &survivor, &pair.pair).is_some_and(|own| own.epoch > Epoch(1))
    })
    .await;
    let tombstone = Tombstone { stripe: key.stripe };
    let tombstone = sign_statement(&owner.key, &net.network, tombstone);
    let delete = Request::Delete { tombstones: vec![tombstone], both: true };
    owner.ask(survivor, delete).await.unwrap();
    net.start_again(gone, disk).await;
    assert_eq!(holders(&net, key).await, BTreeSet::from([gone]));
    net.pass(Duration::from_secs(120)).await;
    assert!(holders(&net, key).await.is_empty());
}

/// A member that hears nobody can't know whether the others go on without it. What it says
/// of records was true once: so it says nothing before anybody can have gone on.
#[tokio::test(start_paused = true)]
async fn who_is_cut_off_says_nothing_of_records_before_the_others_go_on_without_it() {
    let net = Net::timed(7, quick()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let [survivor, cut_off] = pair.members;
    let record = owner.record(1, 1, Content::Sealed(vec![7; 100]), &[pair.pair]);
    let keys = vec![record.key];
    owner.write(&owner.sign(record), &pair).await.unwrap();
    owner.log_in(survivor).await;
    owner.log_in(cut_off).await;
    let read = |node| owner.ask(node, Request::ReadRecords { keys: keys.clone() });
    assert!(read(cut_off).await.is_ok());
    net.net.isolate(cut_off);
    let began = tokio::time::Instant::now();
    let mut last_word = began;
    let has_successor =
        || epoch_of(&net, &survivor, &pair.pair).is_some_and(|own| own.epoch == Epoch(2));
    while !has_successor() {
        assert!(began.elapsed() < Duration::from_mins(2), "nobody goes on");
        if read(cut_off).await.is_ok() {
            last_word = tokio::time::Instant::now();
        }
        // Its witnesses vouch for the one that is left: reads of records go on.
        assert!(matches!(read(survivor).await, Ok(Response::Records(_))));
        net.pass(Duration::from_millis(100)).await;
    }
    let window = quick().confirm_window();
    assert!(last_word - began <= window, "{:?}", last_word - began);
    assert!(last_word.elapsed() >= window, "{:?}", last_word.elapsed());
    assert_eq!(reason(read(cut_off).await), Reason::Busy);
    assert!(matches!(read(survivor).await, Ok(Response::Records(_))));
}

/// A machine without power: no answer comes, nor a refusal.
struct Dark;

impl Service for Dark {
    async fn serve(&self, _: NodeId, _: Request, _: Body) -> Reply {
        pending().await
    }

    fn hear(&self, _: Gossip) -> Verdict {
        Verdict::Ignore
    }

    fn gone(&self, _: NodeId) {}
}

#[tokio::test(start_paused = true)]
async fn a_witness_that_hangs_does_not_make_the_words_of_the_others_stale() {
    let mut net = Net::timed(7, quick()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let [survivor, gone] = pair.members;
    let record = owner.record(1, 1, Content::Sealed(vec![7; 100]), &[pair.pair]);
    let keys = vec![record.key];
    owner.write(&owner.sign(record), &pair).await.unwrap();
    owner.log_in(survivor).await;
    for node in [gone, pair.witnesses[0]] {
        net.kill(&node);
        net.net.serve(node, Arc::new(Dark));
    }
    // Until the witnesses are asked the partner's word is good.
    for _ in 0..150 {
        net.pass(Duration::from_millis(100)).await;
        let read = owner.ask(survivor, Request::ReadRecords { keys: keys.clone() }).await;
        assert!(matches!(read, Ok(Response::Records(_))), "{read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_told_lately_that_its_epoch_is_the_newest_is_not_replaced_yet() {
    let mut net = Net::timed(7, quick()).await;
    let pair = net.pairs().remove(0);
    let [survivor, gone] = pair.members;
    net.kill(&gone);
    // A person says that it never comes back: nobody waits for its return.
    net.wish(&survivor, gone, Want::Lost);
    let began = tokio::time::Instant::now();
    net.until("the pair has a new epoch", |net| {
        epoch_of(net, &survivor, &pair.pair).is_some_and(|own| own.epoch == Epoch(2))
    })
    .await;
    let (waited, window) = (began.elapsed(), quick().confirm_window());
    assert!(waited >= 2 * window - Duration::from_secs(2), "{waited:?}");
    assert!(waited < quick().watch.replace_after(), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_after_it_was_replaced_is_refused_and_becomes_a_spare() {
    let mut net = Net::timed(7, quick()).await;
    let pair = net.pairs().remove(0);
    let [survivor, gone] = pair.members;
    let disk = net.kill(&gone);
    net.until("the pair has a new epoch", |net| {
        epoch_of(net, &survivor, &pair.pair).unwrap().epoch == Epoch(2)
    })
    .await;
    net.start_again(gone, disk).await;
    net.until("it learns that it was replaced", |net| {
        net.nodes[&gone].engine.status().pair.is_none()
    })
    .await;
    let successor = epoch_of(&net, &gone, &pair.pair).unwrap();
    assert_eq!(successor.epoch, Epoch(2));
    assert!(successor.role_of(&gone).is_none());
    net.pass(Duration::from_mins(2)).await;
    assert_eq!(epoch_of(&net, &survivor, &pair.pair).unwrap().epoch, Epoch(2));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_in_time_stays_and_catches_up() {
    let mut net = Net::timed(7, quick()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    put(&net, &owner, &stripe, &[&pair]).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let mirror = pair.mirror();
    net.kill(&mirror);
    net.pass(Duration::from_secs(12)).await;
    // It comes back without what it had, as after a disk was repaired.
    let disk = Arc::new(MemoryDisk::new(CAPACITY, net.network));
    let primary = pair.primary();
    let record = net.disk(&primary).get(StateKey([b"pair/".as_slice(), &pair.pair.0].concat()));
    let record = record.await.unwrap().unwrap();
    let state = StateKey([b"pair/".as_slice(), &pair.pair.0].concat());
    disk.apply(vec![defs_core::port::Change::Put(state, record)]).await.unwrap();
    for (key, card) in net.disk(&primary).scan(StateKey(b"card/".to_vec()), 99).await.unwrap() {
        disk.apply(vec![defs_core::port::Change::Put(key, card.to_vec())]).await.unwrap();
    }
    net.start_again(mirror, disk).await;
    let began = tokio::time::Instant::now();
    while bytes_at(&net, &mirror, key).await.is_none() {
        assert!(began.elapsed() < Duration::from_mins(2), "it did not catch up");
        net.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(epoch_of(&net, &primary, &pair.pair).unwrap().epoch, Epoch(1));
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_lost_pair_are_rebuilt_bit_for_bit_and_only_then() {
    let mut net = Net::timed(10, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(&[9; 5000], (2, 2), 2);
    put(&net, &owner, &stripe, &[&pairs[0], &pairs[1], &pairs[2], &pairs[3]]).await;
    let key = |index| ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(index) };
    for member in pairs[1].members {
        net.kill(&member);
    }
    net.pass(Duration::from_secs(30)).await;
    assert_eq!(holders(&net, key(1)).await, BTreeSet::new(), "rebuilt too early");
    let began = tokio::time::Instant::now();
    while holders(&net, key(1)).await.len() < 2 {
        assert!(began.elapsed() < Duration::from_mins(3), "not rebuilt");
        net.pass(Duration::from_millis(500)).await;
    }
    let holders = holders(&net, key(1)).await;
    for holder in &holders {
        assert_eq!(bytes_at(&net, holder, key(1)).await.unwrap(), stripe.shards[1].bytes.to_vec());
        let stored = net.disk(holder).shard(key(1)).await.unwrap().unwrap();
        assert!(stored.state.commit.is_some());
        assert_eq!(stored.head.share, *stripe.shards[1].share.bytes);
    }
    let free = &pairs[4];
    assert_eq!(holders, free.members.into_iter().collect(), "where no sibling is");
    net.pass(Duration::from_mins(3)).await;
    for index in 0..4 {
        assert_eq!(self::holders(&net, key(index)).await.len(), 2, "shard {index}");
    }
    let progress: Vec<_> =
        net.nodes.values().map(|node| node.engine.repairs().shards_rebuilt).collect();
    assert_eq!(progress.iter().sum::<u64>(), 1, "once is enough");
}

/// Too few of its witnesses are left to put anybody beside the last member of a pair, so its shards
/// are rebuilt elsewhere; and what that member still has is needed for it.
#[tokio::test(start_paused = true)]
async fn the_last_member_of_a_lost_pair_gives_what_it_has_for_a_rebuild() {
    let mut net = Net::timed(20, quick()).await;
    let owner = net.owner(77);
    let stuck = net.pairs().remove(0);
    let [survivor, dies] = stuck.members;
    let witnesses = &stuck.witnesses[..2];
    let is_apart = |pair: &PairRecord| {
        pair.pair != stuck.pair && !witnesses.iter().any(|one| pair.role_of(one).is_some())
    };
    let others: Vec<_> = net.pairs().into_iter().filter(is_apart).collect();
    let places: Vec<_> = std::iter::once(&stuck).chain(&others[..4]).collect();
    let stripe = owner.stripe(&[9; 5000], (4, 1), 1);
    put(&net, &owner, &stripe, &places).await;
    let key = |index| ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(index) };
    // Of four that are needed three are left elsewhere.
    for node in witnesses.iter().chain([&dies]).chain(&others[3].members) {
        net.kill(node);
    }
    let began = tokio::time::Instant::now();
    while holders(&net, key(0)).await.len() < 3 || holders(&net, key(4)).await.len() < 2 {
        assert!(began.elapsed() < Duration::from_mins(5), "not rebuilt");
        net.pass(Duration::from_millis(500)).await;
    }
    for index in [0, 4] {
        for holder in holders(&net, key(index)).await {
            let bytes = bytes_at(&net, &holder, key(index)).await.unwrap();
            assert_eq!(bytes, stripe.shards[usize::from(index)].bytes.to_vec());
        }
    }
    assert!(holders(&net, key(0)).await.contains(&survivor));
}

#[tokio::test(start_paused = true)]
async fn a_rotten_source_does_not_spoil_a_rebuild() {
    let mut net = Net::timed(10, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(&[9; 5000], (2, 2), 2);
    put(&net, &owner, &stripe, &[&pairs[0], &pairs[1], &pairs[2], &pairs[3]]).await;
    let key = |index| ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(index) };
    // One member of each pair that is left, and both of one.
    for (place, index) in [(0, 0), (2, 2), (3, 3)] {
        assert!(net.disk(&pairs[place].primary()).rot(key(index), 50));
    }
    assert!(net.disk(&pairs[3].mirror()).rot(key(3), 51));
    for member in pairs[1].members {
        net.kill(&member);
    }
    let began = tokio::time::Instant::now();
    while holders(&net, key(1)).await.len() < 2 {
        assert!(began.elapsed() < Duration::from_mins(3), "not rebuilt");
        net.pass(Duration::from_millis(500)).await;
    }
    for holder in holders(&net, key(1)).await {
        assert_eq!(bytes_at(&net, &holder, key(1)).await.unwrap(), stripe.shards[1].bytes.to_vec());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_two_pairs_have_counts_once_for_a_rebuild() {
    let mut net = Net::timed(10, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(&[9; 5000], (3, 2), 2);
    // As two leave it that rebuild at once.
    owner.put(&stripe, 1, &pairs[0]).await.unwrap();
    put(&net, &owner, &stripe, &pairs.iter().collect::<Vec<_>>()).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(2) };
    for member in pairs[2].members {
        net.kill(&member);
    }
    let began = tokio::time::Instant::now();
    while holders(&net, key).await.len() < 2 {
        assert!(began.elapsed() < Duration::from_mins(3), "not rebuilt");
        net.pass(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotten_shard_does_not_keep_a_new_member_from_the_others() {
    let mut net = Net::timed(7, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripes: Vec<_> = (0..6_u8).map(|seed| owner.stripe(&[seed; 5000], (1, 2), 1)).collect();
    for stripe in &stripes {
        put(&net, &owner, stripe, &[&pairs[0], &pairs[1], &pairs[2]]).await;
    }
    let key =
        |stripe: &SealedStripe| ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let [survivor, lost] = pairs[0].members;
    assert!(net.disk(&survivor).rot(key(&stripes[3]), 50));
    net.kill(&lost);
    net.until("the new member serves", |net| {
        let pairs = net.nodes[&survivor].engine.table().pairs;
        let own = pairs.iter().find(|view| view.record.record.role_of(&survivor).is_some());
        own.is_some_and(|own| own.record.record.epoch == Epoch(2) && own.alive == [true; 2])
    })
    .await;
    let newcomer = epoch_of(&net, &survivor, &pairs[0].pair).unwrap().mirror();
    for (place, stripe) in stripes.iter().enumerate().filter(|(place, _)| *place != 3) {
        let copied = bytes_at(&net, &newcomer, key(stripe)).await;
        assert_eq!(copied, Some(stripe.shards[0].bytes.to_vec()), "stripe {place}");
    }
    // What the survivor found to have rotted comes back from its siblings.
    net.pass(Duration::from_mins(2)).await;
    let held = holders(&net, key(&stripes[3])).await;
    assert_eq!(held.len(), 2);
    for holder in held {
        let bytes = bytes_at(&net, &holder, key(&stripes[3])).await;
        assert_eq!(bytes, Some(stripes[3].shards[0].bytes.to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn witnesses_that_signed_for_nothing_are_followed_by_others() {
    let mut net = Net::timed(9, quick()).await;
    let pair = net.pairs().remove(0);
    let [primary, mirror] = pair.members;
    let [signs, ..] = pair.witnesses[..] else { panic!("{pair:?}") };
    // The others have no say, so that one word stands alone.
    let disk = net.kill(&mirror);
    for silent in &pair.witnesses[1..] {
        net.net.isolate(*silent);
    }
    let note = StateKey([b"signed/".as_slice(), &pair.pair.0].concat());
    let began = tokio::time::Instant::now();
    while net.disk(&signs).get(note.clone()).await.unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_mins(10), "no witness signs");
        net.pass(Duration::from_secs(1)).await;
    }
    for node in net.nodes.keys().copied().collect::<Vec<_>>() {
        pair.witnesses.iter().for_each(|silent| net.net.heal(node, *silent));
    }
    net.start_again(mirror, disk).await;
    net.until("both members agree on an epoch with fresh witnesses", |net| {
        [primary, mirror].iter().all(|member| {
            epoch_of(net, member, &pair.pair).is_some_and(|record| record.epoch == Epoch(2))
        })
    })
    .await;
    assert_eq!(epoch_of(&net, &primary, &pair.pair).unwrap().members, pair.members);
    net.kill(&mirror);
    // One that is lost now is replaced.
    with_spares(&mut net, 10..=13, &primary, |net| {
        epoch_of(net, &primary, &pair.pair).is_some_and(|record| record.epoch == Epoch(3))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_member_gets_other_witnesses_while_two_are_left() {
    let mut net = Net::timed(10, quick()).await;
    let pair = net.pairs().remove(0);
    let lone = pair.primary();
    let [first, second, ..] = pair.witnesses[..] else { panic!("{pair:?}") };
    net.kill(&pair.mirror());
    net.kill(&first);
    net.until("others are its witnesses", |net| {
        epoch_of(net, &lone, &pair.pair).is_some_and(|record| {
            record.epoch == Epoch(2)
                && record.members == pair.members
                && !record.witnesses.contains(&first)
        })
    })
    .await;
    // Of the first ones too few are left to agree to anything.
    net.kill(&second);
    with_spares(&mut net, 11..=14, &lone, |net| {
        epoch_of(net, &lone, &pair.pair).is_some_and(|record| record.epoch == Epoch(3))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_spare_promises_itself_to_one_of_those_who_ask_at_once() {
    let net = Net::timed(9, quick()).await;
    let pairs = net.pairs();
    let taken: BTreeSet<_> = pairs.iter().flat_map(|pair| pair.members).collect();
    let spare = *net.nodes.keys().find(|node| !taken.contains(*node)).unwrap();
    let ask = async |pair: &PairRecord| {
        let record = PairRecord {
            epoch: Epoch(2),
            members: [pair.primary(), spare],
            witnesses: vec![],
            previous: Some(pair.digest()),
            ..pair.clone()
        };
        let proposal = SignedPairRecord { record, signatures: vec![] };
        let asked = Request::Propose(Box::new(proposal));
        let answer = net.net.peers(pair.primary()).call(spare, asked, Body::empty()).await;
        answer.map(|reply| reply.response)
    };
    let answers = futures::future::join_all(pairs[..3].iter().map(ask)).await;
    let signed = answers.iter().filter(|answer| matches!(answer, Ok(Response::Pair(_))));
    assert_eq!(signed.count(), 1, "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn half_of_the_nodes_heal_nothing() {
    let mut net = Net::timed(10, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(&[9; 5000], (1, 1), 1);
    put(&net, &owner, &stripe, &[&pairs[0], &pairs[1]]).await;
    // Both members of two pairs and one of a third: five of ten are left.
    let gone: Vec<_> =
        pairs[1].members.into_iter().chain(pairs[2].members).chain([pairs[3].members[0]]).collect();
    for node in &gone {
        net.kill(node);
    }
    net.pass(Duration::from_mins(10)).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(1) };
    assert_eq!(holders(&net, key).await, BTreeSet::new());
    assert!(net.pairs().iter().all(|pair| pair.epoch == Epoch(1)));
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_share_without_a_loss() {
    let net = Net::timed(6, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(&[9; 5000], (1, 1), 1);
    put(&net, &owner, &stripe, &[&pairs[0], &pairs[1]]).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let lost = |pair: &PairRecord| {
        vec![defs_core::stripe::Watched { index: ShardIndex(1), pair: pair.pair }]
    };
    let holder = pairs[0].primary();
    let thief = net.net.peers(pairs[2].primary());
    let ask = |lost| {
        let request = Request::Release { key, lost };
        defs_core::port::Peers::call(&thief, holder, request, Body::empty())
    };
    let refused = |answer: Result<_, defs_core::port::CallError>| {
        answer.map(|_: Reply| ()).unwrap_err().refusal().unwrap().reason
    };
    // At a pair that lives, at another than the holder knows, none at all.
    assert_eq!(refused(ask(lost(&pairs[1])).await), Reason::Busy);
    assert_eq!(refused(ask(lost(&pairs[2])).await), Reason::NotAllowed);
    assert_eq!(refused(ask(vec![]).await), Reason::NotAllowed);
    // A stranger isn't heard at all.
    let request = Request::Release { key, lost: lost(&pairs[1]) };
    assert_eq!(reason(owner.ask(holder, request).await), Reason::NotAllowed);
}

/// Version 5 is at P1 and P2, version 4 at P3; P1 is lost, and then P2.
#[tokio::test(start_paused = true)]
async fn the_newest_version_of_a_record_outlives_the_pairs_that_had_it() {
    let mut net = Net::timed(14, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let set: Vec<_> = pairs[..3].iter().map(|pair| pair.pair).collect();
    let old = owner.record(1, 4, Content::Sealed(vec![4; 100]), &set);
    let new = defs_core::record::Record {
        parents: vec![old.hash()],
        ..owner.record(1, 5, Content::Sealed(vec![5; 100]), &set)
    };
    let key = new.key;
    let (old, new) = (owner.sign(old), owner.sign(new));
    for pair in &pairs[..3] {
        owner.write(&old, pair).await.unwrap();
    }
    for pair in &pairs[..2] {
        owner.write(&new, pair).await.unwrap();
    }
    let newest = async |net: &Net, without: &BTreeSet<NodeId>| {
        let mut nodes = BTreeSet::new();
        for (node, one) in net.nodes.iter().filter(|(node, _)| !without.contains(*node)) {
            let heads = one.disk.records(vec![key]).await.unwrap().remove(0);
            if heads.iter().any(|head| head.body.counter == 5) {
                nodes.insert(*node);
            }
        }
        nodes
    };
    let named: BTreeSet<_> = pairs[..3].iter().flat_map(|pair| pair.members).collect();
    for (lost, pair) in pairs.iter().enumerate().take(2) {
        for member in pair.members {
            net.kill(&member);
        }
        let began = tokio::time::Instant::now();
        while newest(&net, &named).await.len() < 2 * (lost + 1) {
            assert!(began.elapsed() < Duration::from_mins(5), "no stand-in {lost}");
            net.pass(Duration::from_secs(1)).await;
        }
    }
    // A later version reaches whoever stands in, though its set doesn't name them.
    let later = defs_core::record::Record {
        parents: vec![new.body.hash()],
        ..owner.record(1, 6, Content::Sealed(vec![6; 100]), &set)
    };
    let third = epoch_of(&net, net.nodes.keys().next().unwrap(), &pairs[2].pair).unwrap();
    owner.write(&owner.sign(later), &third).await.unwrap();
    let mut has_later = 0;
    for one in net.nodes.values() {
        let heads = one.disk.records(vec![key]).await.unwrap().remove(0);
        has_later += usize::from(heads.iter().any(|head| head.body.counter == 6));
    }
    assert_eq!(has_later, 6, "its own pair and two that stand in");
}

#[tokio::test(start_paused = true)]
async fn a_new_member_takes_over_what_its_pair_has_promised_to_pass_on() {
    let mut net = Net::timed(9, quick()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    let set: Vec<_> = pairs[..3].iter().map(|pair| pair.pair).collect();
    let record = owner.sign(owner.record(1, 1, Content::Sealed(vec![1; 100]), &set));
    for pair in &pairs[..3] {
        owner.write(&record, pair).await.unwrap();
    }
    for member in pairs[0].members {
        net.kill(&member);
    }
    let promises = async |net: &Net, node: &NodeId| {
        net.disk(node).scan(StateKey(b"standin/".to_vec()), 9).await.unwrap()
    };
    let [gone, survivor] = pairs[1].members;
    let began = tokio::time::Instant::now();
    while promises(&net, &gone).await.is_empty() || promises(&net, &survivor).await.is_empty() {
        assert!(began.elapsed() < Duration::from_mins(5), "nobody stands in");
        net.pass(Duration::from_secs(1)).await;
    }
    net.kill(&gone);
    net.until("the pair is whole again", |net| {
        let table = net.nodes[&survivor].engine.table();
        let mut views = table.pairs.iter().filter(|view| view.record.record.pair == pairs[1].pair);
        views.any(|view| view.record.record.epoch > Epoch(1) && view.alive == [true; 2])
    })
    .await;
    let newcomer = epoch_of(&net, &survivor, &pairs[1].pair).unwrap().mirror();
    assert_eq!(promises(&net, &newcomer).await, promises(&net, &survivor).await);
}

/// Reads everything back every ten minutes.
fn reading_back() -> Timings {
    Timings { scrub: Duration::from_mins(10), ..quick() }
}

/// So many nodes that read everything back, and in their pairs a stripe of one shard and `parity`
/// more: the key of the first, which the first pair has, and its bytes.
async fn read_back(nodes: u8, parity: u32) -> (Net, ShardKey, Vec<u8>) {
    let net = Net::timed(nodes, reading_back()).await;
    let owner = net.owner(77);
    let stripe = owner.stripe(&[9; 5000], (1, parity), 1);
    let pairs = net.pairs();
    let places: Vec<_> = pairs.iter().take(stripe.shards.len()).collect();
    put(&net, &owner, &stripe, &places).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    (net, key, stripe.shards[0].bytes.to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_rotten_byte_is_found_and_the_shard_taken_from_the_partner() {
    let (net, key, bytes) = read_back(4, 1).await;
    let pairs = net.pairs();
    let mirror = pairs[0].mirror();
    assert!(net.disk(&mirror).rot(key, 1234));
    net.pass(Duration::from_mins(25)).await;
    assert_eq!(bytes_at(&net, &mirror, key).await.unwrap(), bytes);
    let stored = net.disk(&mirror).shard(key).await.unwrap().unwrap();
    assert!(stored.state.commit.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_has_rotted_at_both_members_is_rebuilt_from_its_siblings() {
    let (net, key, bytes) = read_back(6, 2).await;
    let pairs = net.pairs();
    for member in pairs[0].members {
        assert!(net.disk(&member).rot(key, 77));
    }
    net.pass(Duration::from_mins(40)).await;
    for member in pairs[0].members {
        assert_eq!(bytes_at(&net, &member, key).await.unwrap(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_is_kept_while_nobody_else_has_it() {
    let (mut net, key, bytes) = read_back(2, 0).await;
    let pair = net.pairs().remove(0);
    net.kill(&pair.mirror());
    let disk = Arc::clone(&net.nodes[&pair.primary()].disk);
    disk.set_readable(key, false);
    net.pass(Duration::from_mins(40)).await;
    disk.set_readable(key, true);
    let read = bytes_at(&net, &pair.primary(), key).await;
    assert_eq!(read.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_is_taken_from_the_partner() {
    let (net, key, bytes) = read_back(4, 1).await;
    let pairs = net.pairs();
    let mirror = pairs[0].mirror();
    net.disk(&mirror).set_readable(key, false);
    assert!(bytes_at(&net, &mirror, key).await.is_none());
    net.pass(Duration::from_mins(25)).await;
    assert_eq!(bytes_at(&net, &mirror, key).await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn a_bad_shard_is_taken_from_the_partner_as_soon_as_it_can_give_it() {
    let (net, key, bytes) = read_back(4, 1).await;
    let pairs = net.pairs();
    let [primary, mirror] = [pairs[0].primary(), pairs[0].mirror()];
    net.disk(&primary).set_readable(key, false);
    assert!(net.disk(&mirror).rot(key, 1234));
    let is_gone = async || net.disk(&mirror).shard(key).await.unwrap().is_none();
    while !is_gone().await {
        net.pass(Duration::from_secs(1)).await;
    }
    net.disk(&primary).set_readable(key, true);
    net.pass(Duration::from_mins(2)).await;
    assert_eq!(bytes_at(&net, &mirror, key).await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_neither_member_can_read_is_rebuilt_from_its_siblings() {
    let (net, key, bytes) = read_back(6, 2).await;
    let pairs = net.pairs();
    for member in pairs[0].members {
        net.disk(&member).set_readable(key, false);
    }
    net.pass(Duration::from_mins(40)).await;
    for member in pairs[0].members {
        assert_eq!(bytes_at(&net, &member, key).await.unwrap(), bytes);
    }
}
