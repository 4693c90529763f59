//! A primary that turned against its mirror: it has its node's key and says whatever that
//! key can sign. The mirror keeps its copy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_codec::SealedStripe;
use defs_core::body::Body;
use defs_core::ids::{Epoch, NetworkId, NodeId, PairId, ShardIndex};
use defs_core::message::{
    Gossip, KeepStripe, ReadShard, Reason, Request, Response, ShardKey, StoreShard,
};
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::port::{Clock as _, Disk as _, Peers as _, Reply, Service, ShardState, Verdict};
use defs_core::receipt::NodeSignature;
use defs_core::statement::{Commit, Signed, Statement as _, Tombstone};
use defs_engine::Timings;
use defs_identity::{SecretKey, sign_statement};
use defs_port_suite::MemoryPeers;

use crate::network::{Net, Owner, seed_of};

/// Says that it holds every shard of a stripe and that nobody committed any.
struct Liar;

impl Service for Liar {
    async fn serve(&self, _: NodeId, request: Request, _: Body) -> Reply {
        Reply::bare(match request {
            Request::StripeStatus { .. } => Response::Stripe {
                indices: (0..20).map(ShardIndex).collect(),
                commit: None,
                tombstone: None,
            },
            Request::Heartbeat { .. } => Response::Alive,
            _ => Response::Done,
        })
    }

    fn hear(&self, _: Gossip) -> Verdict {
        Verdict::PassOn
    }

    fn gone(&self, _: NodeId) {}
}

/// What the mirror answers.
type Answer = Result<Response, Reason>;

/// The primary of a pair, in the place of the node that it was.
struct Traitor {
    key: SecretKey,
    peers: MemoryPeers,
    pair: PairRecord,
    network: NetworkId,
}

impl Traitor {
    fn replacing(net: &mut Net, pair: &PairRecord) -> Self {
        let node = pair.primary();
        net.kill(&node);
        net.net.serve(node, Arc::new(Liar));
        let key = SecretKey::from_seed(&[seed_of(&node); 32]);
        Self { key, peers: net.net.peers(node), pair: pair.clone(), network: net.network }
    }

    async fn say(&self, request: Request, body: Body) -> Answer {
        let answer = self.peers.call(self.pair.mirror(), request, body).await;
        answer.map(|reply| reply.response).map_err(|error| error.refusal().unwrap().reason)
    }

    /// `record` with the signatures of this node and of others.
    fn sign(&self, record: PairRecord, others: &[&SecretKey]) -> SignedPairRecord {
        let said = record.statement(&self.network);
        let keys = [&self.key].into_iter().chain(others.iter().copied());
        let sign = |key: &SecretKey| NodeSignature {
            key: key.public().to_bytes(),
            signature: key.sign(&said).0,
        };
        let signatures = keys.map(sign).collect();
        SignedPairRecord { record, signatures }
    }
}

/// All that a mirror has of one shard.
async fn copy(net: &Net, node: &NodeId, key: ShardKey) -> (ShardState, Vec<u8>) {
    let stored = net.disk(node).shard(key).await.unwrap().unwrap();
    let body = net.disk(node).read(key, 0..stored.length).await.unwrap();
    (stored.state, body.collect().await.unwrap())
}

/// Every word about deletion that a primary has without the owner's help, and what it is
/// worth. `other` is a stripe of the same owner that was deleted.
fn tombstones(
    owner: &Owner,
    traitor: &Traitor,
    (stripe, other): (&SealedStripe, &SealedStripe),
) -> Vec<(Vec<Signed<Tombstone>>, Answer)> {
    let wanted = Tombstone { stripe: stripe.descriptor.id() };
    let told = Tombstone { stripe: other.descriptor.id() };
    let commit = Commit { stripe: wanted.stripe };
    let told = sign_statement(&owner.key, &owner.network, told);
    let commit = sign_statement(&owner.key, &owner.network, commit);
    let elsewhere = NetworkId([8; 32]);
    let forged = [
        sign_statement(&traitor.key, &owner.network, wanted),
        sign_statement(&owner.key, &elsewhere, wanted),
        Signed { body: wanted, unlock: told.unlock.clone() },
        Signed { body: wanted, unlock: commit.unlock },
    ];
    let refused = |one: Signed<Tombstone>| (vec![one], Err(Reason::NotAuthorised));
    let mut all: Vec<_> = forged.clone().into_iter().map(refused).collect();
    all.push((vec![told.clone()], Ok(Response::Done)));
    // A genuine one beside it lends it nothing.
    all.push((vec![told, forged[0].clone()], Err(Reason::NotAuthorised)));
    all
}

/// The shard again, as it is and as it is not.
fn stores(
    owner: &Owner,
    traitor: &Traitor,
    stripe: &SealedStripe,
) -> Vec<(StoreShard, Body, Reason)> {
    let (store, _) = owner.store(stripe, 0, &traitor.pair);
    let bytes = &stripe.shards[0].bytes;
    let other = Bytes::from(vec![7; bytes.len()]);
    let (writer, cut_off) = Body::channel(bytes.len() as u64);
    drop(writer);
    let mut head = store.head.as_ref().clone();
    head.descriptor = sign_statement(&traitor.key, &traitor.network, stripe.descriptor.clone());
    let forged = StoreShard { head: Arc::new(head), ..store };
    let later = StoreShard { epoch: Epoch(2), ..store.clone() };
    vec![
        (store.clone(), Body::whole(other), Reason::WrongBytes),
        (store.clone(), Body::whole(bytes.slice(1..)), Reason::Malformed),
        (store, cut_off, Reason::Malformed),
        (forged, Body::whole(bytes.clone()), Reason::NotAuthorised),
        (later, Body::whole(bytes.clone()), Reason::WrongEpoch),
    ]
}

/// Requests that would part the mirror from its pair, or its shard from its lease.
fn others(traitor: &Traitor, key: ShardKey) -> Vec<(Request, Answer)> {
    let PairRecord { pair, epoch, .. } = traitor.pair;
    let stranger = SecretKey::from_seed(&[0xaa; 32]);
    let again = PairRecord { witnesses: vec![], ..traitor.pair.clone() };
    let propose = |record| Request::Propose(Box::new(traitor.sign(record, &[&stranger])));
    let commit = Commit { stripe: key.stripe };
    let commit = sign_statement(&traitor.key, &traitor.network, commit);
    let stripes = vec![KeepStripe { commit, indices: vec![key.index] }];
    vec![
        (
            Request::Renew { shards: vec![key], lease_ms: 0, both: false },
            Ok(Response::Held(vec![true])),
        ),
        (Request::Commit { stripes, both: false }, Err(Reason::NotAuthorised)),
        (Request::Heartbeat { pair, epoch: Epoch(2) }, Err(Reason::WrongEpoch)),
        (Request::Heartbeat { pair: PairId([1; 16]), epoch }, Err(Reason::WrongEpoch)),
        (propose(again), Err(Reason::NotAllowed)),
        (propose(successor(traitor, &stranger)), Err(Reason::NotAllowed)),
    ]
}

/// Epoch 2 with a stranger in the mirror's place.
fn successor(traitor: &Traitor, stranger: &SecretKey) -> PairRecord {
    let before = &traitor.pair;
    let members = [before.primary(), stranger.public().node_id()];
    let previous = Some(before.digest());
    PairRecord { epoch: Epoch(2), members, previous, ..before.clone() }
}

#[tokio::test(start_paused = true)]
async fn no_word_of_a_primary_takes_a_shard_from_its_mirror() {
    let mut net = Net::with(4).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let mirror = pair.mirror();
    let (kept, fresh) = (owner.stripe(b"kept", (1, 1), 1), owner.stripe(b"fresh", (1, 1), 1));
    let other = owner.stripe(b"deleted long ago", (1, 1), 1);
    owner.put(&kept, 0, &pair).await.unwrap();
    owner.put(&fresh, 0, &pair).await.unwrap();
    let commit = Commit { stripe: kept.descriptor.id() };
    let commit = sign_statement(&owner.key, &net.network, commit);
    let stripes = vec![KeepStripe { commit, indices: vec![ShardIndex(0)] }];
    owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await.unwrap();
    let traitor = Traitor::replacing(&mut net, &pair);
    owner.log_in(mirror).await;
    for stripe in [&kept, &fresh] {
        let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
        let before = copy(&net, &mirror, key).await;
        assert_eq!(before.1, stripe.shards[0].bytes);
        let unchanged = async |what: &str| {
            assert_eq!(copy(&net, &mirror, key).await, before, "changed by {what}");
        };
        for (tombstones, expected) in tombstones(&owner, &traitor, (stripe, &other)) {
            for both in [false, true] {
                let request = Request::Delete { tombstones: tombstones.clone(), both };
                let what = format!("{request:?}");
                assert_eq!(traitor.say(request, Body::empty()).await, expected, "{what}");
                unchanged(&what).await;
            }
        }
        for (store, body, expected) in stores(&owner, &traitor, stripe) {
            let request = Request::MirrorShard(store);
            assert_eq!(traitor.say(request, body).await, Err(expected));
            unchanged(&format!("a store that is {expected:?}")).await;
        }
        for (request, expected) in others(&traitor, key) {
            let what = format!("{request:?}");
            assert_eq!(traitor.say(request, Body::empty()).await, expected, "{what}");
            unchanged(&what).await;
        }
        // The same shard once more, under no lease at all, is acknowledged and changes nothing.
        let (store, body) = owner.store(stripe, 0, &pair);
        let again = Request::MirrorShard(StoreShard { lease_ms: 0, ..store });
        assert!(matches!(traitor.say(again, body).await, Ok(Response::Receipts(_))));
        unchanged("the same shard").await;
        let read = Request::ReadShard(ReadShard { key, range: None });
        let reply = owner.send(mirror, read, Body::empty()).await.unwrap();
        assert_eq!(reply.body.collect().await.unwrap(), stripe.shards[0].bytes);
        // Its owner's word is another matter.
        let tombstone = Tombstone { stripe: key.stripe };
        let tombstones = vec![sign_statement(&owner.key, &net.network, tombstone)];
        let deleted = owner.ask(mirror, Request::Delete { tombstones, both: false }).await;
        assert_eq!(deleted, Ok(Response::Done));
        assert_eq!(net.disk(&mirror).shard(key).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_with_a_stranger_does_not_put_its_mirror_out_of_the_pair() {
    let mut net = Net::with(8).await;
    let pair = net.pairs().remove(0);
    let traitor = Traitor::replacing(&mut net, &pair);
    let concerned = |node: &NodeId| pair.members.contains(node) || pair.witnesses.contains(node);
    let admitted = net.nodes.keys().find(|node| !concerned(node)).unwrap();
    let admitted = SecretKey::from_seed(&[seed_of(admitted); 32]);
    let stranger = SecretKey::from_seed(&[0xaa; 32]);
    let mirror = &net.nodes[&pair.mirror()].engine;
    for accomplice in [&stranger, &admitted] {
        let record = successor(&traitor, accomplice);
        let mut unwitnessed = record.clone();
        unwitnessed.witnesses = vec![];
        for record in [record, unwitnessed] {
            let signed = traitor.sign(record, &[accomplice, accomplice]);
            assert_eq!(mirror.hear(Gossip::Pair(Box::new(signed))), Verdict::Reject);
        }
    }
    assert_eq!(mirror.status().partner, Some(pair.primary()));
    assert!(mirror.table().pairs.iter().any(|known| known.record.record == pair));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_keeps_what_its_primary_alone_calls_abandoned() {
    let timings = Timings { lease_min: Duration::from_hours(1), ..Timings::default() };
    let mut net = Net::timed(4, timings).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (2, 2), 2);
    for (place, pair) in [0, 0, 1, 1].into_iter().enumerate() {
        owner.put(&stripe, place, &pairs[pair]).await.unwrap();
    }
    let mirror = pairs[0].mirror();
    Traitor::replacing(&mut net, &pairs[0]);
    let disks = pairs[1].members.map(|node| (node, net.kill(&node)));
    net.pass(Duration::from_hours(3)).await;
    assert_eq!(net.disk(&mirror).usage().shards, 2, "one word was enough");
    // Those who hold the others say the same, and now it is believed.
    for (node, disk) in disks {
        net.start_again(node, disk).await;
    }
    net.pass(Duration::from_mins(25)).await;
    assert_eq!(net.disk(&mirror).usage().shards, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_the_primary_passes_on_shortened_is_a_day_long() {
    let mut net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let traitor = Traitor::replacing(&mut net, &pair);
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    let (store, body) = owner.store(&stripe, 0, &pair);
    let store = StoreShard { lease_ms: 0, ..store };
    let now = net.clock.elapsed();
    let stored = traitor.say(Request::MirrorShard(store), body).await;
    assert!(matches!(stored, Ok(Response::Receipts(_))), "{stored:?}");
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let (state, _) = copy(&net, &pair.mirror(), key).await;
    assert_eq!(state.lease_until, now + Duration::from_hours(24));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_signed_new_witnesses_outlives_the_primary_that_proposed_them() {
    let [beat, suspect, fail, replace] = [2, 6, 10, 20].map(Duration::from_secs);
    let watch = defs_pairing::detector::Timings::new(beat, suspect, fail, replace).unwrap();
    let mut net = Net::timed(9, Timings { watch, ..Timings::default() }).await;
    let pair = net.pairs().remove(0);
    let traitor = Traitor::replacing(&mut net, &pair);
    let concerned = |node: &&NodeId| !pair.members.contains(node);
    let record = PairRecord {
        epoch: Epoch(2),
        witnesses: net.nodes.keys().filter(concerned).take(3).copied().collect(),
        previous: Some(pair.digest()),
        ..pair.clone()
    };
    let proposal = SignedPairRecord { record: record.clone(), signatures: vec![] };
    let answer = traitor.say(Request::Propose(Box::new(proposal)), Body::empty()).await;
    let Ok(Response::Pair(signed)) = answer else { panic!("{answer:?}") };
    assert_eq!(signed.record, record);
    // It never signs that itself, nor anything else.
    net.net.stop(pair.primary());
    net.until("another node has the primary's place", |net| {
        net.nodes[&pair.mirror()].engine.status().partner.is_some_and(|it| it != pair.primary())
    })
    .await;
    let table = net.nodes[&pair.mirror()].engine.table();
    let last = table.pairs.iter().find(|view| view.record.record.pair == pair.pair).unwrap();
    assert_eq!(last.record.record.epoch, Epoch(3));
    assert_eq!(last.record.record.previous, Some(record.digest()));
}
