//! Better pairs: what nodes measure of each other, what a plan says, and how a member gives its
//! place to another while both copies stay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use defs_codec::SealedStripe;
use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, ShardIndex};
use defs_core::message::{KeepStripe, Reason, Request, Response, ShardKey};
use defs_core::network::{Labels, PairRecord, SignedPairRecord};
use defs_core::port::{Disk as _, Peers as _};
use defs_core::record::Content;
use defs_core::statement::{Commit, Tombstone};
use defs_core::wish::{Place, Want};
use defs_engine::Timings;
use defs_identity::sign_statement;
use defs_pairing::planner::{Blocked, Gain};
use defs_port_suite::MemoryDisk;

use crate::network::{CAPACITY, Net, Owner, reason, seed_of};

/// Audits every ten seconds, and drops old copies after a minute.
fn timings() -> Timings {
    let (audit, minute) = (Duration::from_secs(10), Duration::from_mins(1));
    Timings { audit, expire: minute, keep_superseded: minute, ..Timings::default() }
}

async fn put(net: &Net, owner: &Owner, stripe: &SealedStripe, pair: &PairRecord) -> ShardKey {
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    owner.put(stripe, 0, pair).await.unwrap();
    let commit = sign_statement(&owner.key, &net.network, Commit { stripe: key.stripe });
    let stripes = vec![KeepStripe { commit, indices: vec![ShardIndex(0)] }];
    let kept = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
    assert_eq!(kept, Ok(Response::Held(vec![true])));
    key
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

fn pair_now(net: &Net, pair: &PairRecord) -> PairRecord {
    net.pairs().into_iter().find(|now| now.pair == pair.pair).unwrap()
}

fn spare(net: &Net) -> NodeId {
    let paired: BTreeSet<_> = net.pairs().into_iter().flat_map(|pair| pair.members).collect();
    *net.nodes.keys().find(|node| !paired.contains(*node)).unwrap()
}

fn yields(pair: &PairRecord, to: NodeId) -> Want {
    Want::Yield(Place { pair: pair.pair, epoch: pair.epoch, to })
}

#[tokio::test(start_paused = true)]
async fn what_nodes_measure_of_each_other_becomes_a_score_with_its_inputs() {
    let net = Net::timed(4, timings()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    put(&net, &owner, &owner.stripe(&[9; 100_000], (1, 0), 1), &pair).await;
    net.pass(Duration::from_mins(10)).await;
    let [member, partner] = pair.members;
    let other = net.pairs()[1].primary();
    let explained = net.nodes[&other].engine.explain(member).await.unwrap();
    assert_eq!(explained.observers, 3, "all but itself");
    let inputs = &explained.score.inputs;
    assert_eq!((inputs.geography.others, inputs.geography.other_hosts), (3, 3));
    assert!(inputs.latency.answers > 60, "{inputs:?}");
    assert!((590..=660).contains(&inputs.stability.watched_s), "{inputs:?}");
    assert_eq!(inputs.stability.away_s, 0);
    assert!(inputs.stability.audits_passed >= 55, "{inputs:?}");
    assert_eq!(inputs.stability.audits_failed, 0);
    assert_eq!(inputs.capacity.total, CAPACITY);
    assert!(inputs.capacity.free < CAPACITY);
    let by_partner = net.nodes[&partner].engine.explain(member).await.unwrap();
    assert_eq!(by_partner, explained, "whoever is asked says the same");
    assert_eq!(net.nodes[&other].engine.explain(NodeId([7; 32])).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lost_bytes_fails_audits_and_one_that_rotted_blames_nobody() {
    let net = Net::timed(4, timings()).await;
    let owner = net.owner(77);
    let pairs = net.pairs();
    // At its start a pair compares what its members hold, and would mend this at once.
    net.pass(Duration::from_secs(10)).await;
    let lost = put(&net, &owner, &owner.stripe(&[1; 5000], (1, 0), 1), &pairs[0]).await;
    let rotten = put(&net, &owner, &owner.stripe(&[2; 5000], (1, 0), 1), &pairs[1]).await;
    let gone = vec![defs_core::port::Change::DeleteShard(lost)];
    net.disk(&pairs[0].mirror()).apply(gone).await.unwrap();
    assert!(net.disk(&pairs[1].primary()).rot(rotten, 100));
    net.pass(Duration::from_secs(50)).await;
    let failed = async |node: NodeId| {
        let explained = net.nodes[&spare_or(&net, node)].engine.explain(node).await.unwrap();
        explained.score.inputs.stability.audits_failed
    };
    assert!(failed(pairs[0].mirror()).await > 0);
    assert_eq!(failed(pairs[0].primary()).await, 0, "it has what the other one has not");
    assert_eq!(failed(pairs[1].mirror()).await, 0, "the challenger's own copy was bad");
    let healed = net.disk(&pairs[1].primary());
    let body = healed.read(rotten, 0..healed.shard(rotten).await.unwrap().unwrap().length);
    assert!(body.await.unwrap().collect().await.is_ok());
}

/// Some other node than `node`.
fn spare_or(net: &Net, node: NodeId) -> NodeId {
    *net.nodes.keys().find(|other| **other != node).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_outlives_a_restart() {
    let mut net = Net::timed(4, timings()).await;
    net.pass(Duration::from_mins(20)).await;
    let [member, other] = [net.pairs()[0].primary(), net.pairs()[1].primary()];
    let watched = async |net: &Net| {
        let explained = net.nodes[&member].engine.explain(other).await.unwrap();
        explained.score.inputs.stability.watched_s
    };
    let before = watched(&net).await;
    let disk = net.kill(&member);
    net.start_again(member, disk).await;
    net.pass(Duration::from_secs(30)).await;
    let after = watched(&net).await;
    assert!(before > 1000 && after > 1000, "{before} {after}");
}

#[tokio::test(start_paused = true)]
async fn a_place_goes_to_a_spare_that_has_everything_before_the_old_member_leaves() {
    let net = Net::timed(5, timings()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let key = put(&net, &owner, &owner.stripe(&[5; 9000], (1, 0), 1), &pair).await;
    let record = owner.record(1, 1, Content::Sealed(vec![7; 100]), &[pair.pair]);
    let record_key = record.key;
    owner.write(&owner.sign(record), &pair).await.unwrap();
    let (stays, leaves, joins) = (pair.primary(), pair.mirror(), spare(&net));
    net.wish(&stays, leaves, yields(&pair, joins));
    net.until("the epoch has changed", |net| {
        let now = pair_now(net, &pair);
        // Until then both old members serve: no moment has one copy only.
        now.epoch == Epoch(2)
    })
    .await;
    assert!(holders(&net, key).await.contains(&joins), "copied before it joined");
    assert_eq!(net.disk(&joins).records(vec![record_key]).await.unwrap()[0].len(), 1);
    assert_eq!(pair_now(&net, &pair).members, [stays, joins]);
    assert!(holders(&net, key).await.contains(&leaves), "kept until the others prove");
    net.until("the pair is whole", |net| {
        let table = net.nodes[&stays].engine.table();
        table.pairs.iter().all(|view| view.alive == [true; 2])
    })
    .await;
    net.pass(Duration::from_mins(4)).await;
    assert_eq!(holders(&net, key).await, [stays, joins].into());
    assert_eq!(spare(&net), leaves);
    let fresh = owner.stripe(&[6; 100], (1, 0), 1);
    owner.put(&fresh, 0, &pair_now(&net, &pair)).await.unwrap();
    // With the epoch the word is spent, whoever witnesses the pair from then on.
    net.pass(Duration::from_mins(3)).await;
    assert_eq!(pair_now(&net, &pair).members, [stays, joins]);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_while_a_joiner_takes_over_is_there_when_the_one_that_stays_dies() {
    let mut net = Net::timed(5, timings()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let (stays, leaves, joins) = (pair.primary(), pair.mirror(), spare(&net));
    let mut acknowledged = Vec::new();
    for number in 0..40_u8 {
        let stripe = owner.stripe(&[number; 9000], (1, 0), 1);
        acknowledged.push(put(&net, &owner, &stripe, &pair).await);
    }
    net.wish(&stays, leaves, yields(&pair, joins));
    let mut meanwhile = 0;
    for number in 0..u16::MAX {
        if pair_now(&net, &pair).epoch == Epoch(2) {
            break;
        }
        let stripe = owner.stripe(&number.to_le_bytes().repeat(4000), (1, 0), 1);
        // Refused is not acknowledged: at the change of the epoch a few are.
        if owner.put(&stripe, 0, &pair).await.is_ok() {
            acknowledged.push(ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) });
            meanwhile += 1;
        }
        net.pass(Duration::from_millis(20)).await;
    }
    assert!(meanwhile > 10, "{meanwhile} were stored meanwhile");
    assert_eq!(pair_now(&net, &pair).members, [stays, joins]);
    net.kill(&stays);
    for key in acknowledged {
        assert!(net.disk(&joins).shard(key).await.unwrap().is_some(), "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_leaves_without_a_persons_word_for_just_this() {
    let net = Net::timed(5, timings()).await;
    let pair = net.pairs().remove(0);
    let (stays, leaves, joins) = (pair.primary(), pair.mirror(), spare(&net));
    let other = net.pairs()[1].primary();
    let signed = net.signed_wish(leaves, yields(&pair, joins));
    let forged = defs_core::wish::SignedWish { signature: [1; 64], ..signed };
    assert!(!net.nodes[&stays].engine.take_wish(forged), "the invite key didn't sign it");
    let stale = Want::Yield(Place { pair: pair.pair, epoch: Epoch(7), to: joins });
    net.wish(&stays, leaves, stale);
    net.pass(Duration::from_mins(2)).await;
    assert_eq!(pair_now(&net, &pair).epoch, Epoch(1), "another epoch was meant");
    // To a member of another pair: it isn't free, and nothing is begun.
    net.wish(&stays, leaves, yields(&pair, other));
    net.pass(Duration::from_mins(2)).await;
    assert_eq!(pair_now(&net, &pair).epoch, Epoch(1));
    // Who is named may copy, nobody else.
    let ask = |node: NodeId| {
        let request = Request::CopyRecords { pair: pair.pair, epoch: pair.epoch, keys: vec![] };
        let peers = net.net.peers(node);
        async move {
            let body = Body::empty();
            let answer = defs_core::port::Peers::call(&peers, stays, request, body).await;
            answer.map(|reply| reply.response).map_err(|error| error.refusal().unwrap().clone())
        }
    };
    assert_eq!(reason(ask(joins).await), Reason::NotAllowed);
    assert_eq!(ask(other).await, Ok(Response::Records(vec![])));
    net.wish(&stays, leaves, Want::Stay);
    assert_eq!(reason(ask(other).await), Reason::NotAllowed, "it was taken back");
}

#[tokio::test(start_paused = true)]
async fn who_has_signed_its_place_away_says_nothing_of_records_any_more() {
    let net = Net::timed(6, timings()).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let (stays, leaves, joins) = (pair.primary(), pair.mirror(), net.pairs()[1].primary());
    let record = owner.record(1, 1, Content::Sealed(vec![7; 100]), &[pair.pair]);
    let keys = vec![record.key];
    owner.write(&owner.sign(record), &pair).await.unwrap();
    let read = || owner.ask(leaves, Request::ReadRecords { keys: keys.clone() });
    assert!(matches!(read().await, Ok(Response::Records(_))));
    // To a member of another pair: nothing goes on by itself.
    net.wish(&leaves, leaves, yields(&pair, joins));
    let (epoch, previous) = (Epoch(2), Some(pair.digest()));
    let record = PairRecord { epoch, members: [stays, joins], previous, ..pair.clone() };
    let witnesses = pair.witnesses.iter().copied().filter(|witness| *witness != joins).collect();
    let record = PairRecord { witnesses, ..record };
    let proposal = Box::new(SignedPairRecord { record, signatures: vec![] });
    let partner = net.net.peers(stays);
    let asked = partner.call(leaves, Request::Propose(proposal), Body::empty());
    assert!(matches!(asked.await.unwrap().response, Response::Pair(_)), "it signs");
    assert_eq!(reason(read().await), Reason::WrongEpoch, "the next epoch may have begun");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stripe_does_not_linger_where_a_member_has_left() {
    let net = Net::timed(5, timings()).await;
    let owner = net.owner(77);
    let pair = net.pairs().remove(0);
    let key = put(&net, &owner, &owner.stripe(&[5; 9000], (1, 0), 1), &pair).await;
    let (stays, leaves, joins) = (pair.primary(), pair.mirror(), spare(&net));
    net.wish(&stays, leaves, yields(&pair, joins));
    net.until("the epoch has changed", |net| pair_now(net, &pair).epoch == Epoch(2)).await;
    let tombstone = Tombstone { stripe: key.stripe };
    let tombstones = vec![sign_statement(&owner.key, &net.network, tombstone)];
    let delete = Request::Delete { tombstones, both: true };
    owner.ask(stays, delete).await.unwrap();
    net.pass(Duration::from_mins(4)).await;
    assert_eq!(holders(&net, key).await, BTreeSet::new());
}

/// Two pairs form on one host each; then the hosts' names are put right, and a spare comes.
async fn crossed(with_spare: bool) -> Net {
    let mut net = Net::empty(timings());
    for seed in 1..=4 {
        net.start_at(seed, Labels::default(), new_disk(&net)).await;
    }
    net.until("two pairs", |net| {
        net.pairs().len() == 2 && net.nodes.values().all(|one| one.engine.status().pair.is_some())
    })
    .await;
    for (zone, pair) in ["x", "y"].into_iter().zip(net.pairs()) {
        for member in pair.members {
            let disk = net.kill(&member);
            let labels = Labels { host: zone.into(), zone: zone.into(), region: String::new() };
            net.start_at(seed_of(&member), labels, disk).await;
        }
    }
    if with_spare {
        let labels = Labels { host: "z".into(), zone: "z".into(), region: String::new() };
        net.start_at(5, labels, new_disk(&net)).await;
    }
    // New pairs and restarts count as no change of members: nothing cools down.
    net.pass(Duration::from_mins(2)).await;
    net
}

fn new_disk(net: &Net) -> Arc<MemoryDisk> {
    Arc::new(MemoryDisk::new(CAPACITY, net.network))
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_pairs_that_would_better_swap_and_what_blocks_them() {
    let net = crossed(false).await;
    let mut said = BTreeSet::new();
    for one in net.nodes.values() {
        let arrangement = one.engine.arrange().await;
        let [exchange] = arrangement.plan.exchanges.as_slice() else {
            panic!("{}", arrangement.plan)
        };
        assert_eq!((exchange.gain, exchange.moves.len()), (Gain::Hosts(2), 2));
        assert_eq!(arrangement.ways, [Err(Blocked::NoSpare { bytes: 0 })]);
        assert_eq!(arrangement.balance.skew_before, 0);
        said.insert(arrangement.plan.to_string());
    }
    assert_eq!(said.len(), 1, "whoever is asked says the same: {said:?}");
    assert!(net.pairs().iter().all(|pair| pair.epoch == Epoch(1)), "a plan changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_carried_out_step_by_step_leaves_nothing_to_plan() {
    let net = crossed(true).await;
    let owner = net.owner(77);
    let mut keys = Vec::new();
    for (fill, pair) in (1..).zip(net.pairs()) {
        keys.push(put(&net, &owner, &owner.stripe(&[fill; 9000], (1, 0), 1), &pair).await);
    }
    let anyone = *net.nodes.keys().next().unwrap();
    let arrangement = net.nodes[&anyone].engine.arrange().await;
    let ways: Vec<_> = arrangement.ways.iter().map(|way| way.clone().unwrap()).collect();
    for step in ways.iter().flatten() {
        let pair = net.pairs().into_iter().find(|pair| pair.pair == step.pair).unwrap();
        net.wish(&anyone, step.leaves, yields(&pair, step.joins));
        net.until("the step is done", |net| {
            let table = net.nodes[&anyone].engine.table();
            let mut views = table.pairs.iter();
            views.any(|view| {
                let record = &view.record.record;
                let is_done = record.members.contains(&step.joins);
                record.pair == step.pair && is_done && view.alive == [true; 2]
            })
        })
        .await;
        net.pass(Duration::from_secs(10)).await;
    }
    for key in keys {
        assert!(holders(&net, key).await.len() >= 2);
    }
    let hosts = |pair: &PairRecord| {
        pair.members.map(|member| net.nodes[&member].engine.status().labels.host)
    };
    assert!(net.pairs().iter().map(hosts).all(|[one, other]| one != other));
    net.pass(Duration::from_hours(2)).await;
    let after = net.nodes[&anyone].engine.arrange().await;
    assert_eq!((after.plan.exchanges.len(), after.plan.kept), (0, 2), "{}", after.plan);
}
