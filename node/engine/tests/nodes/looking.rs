//! Look-ups when somebody lies or has forgotten, and deletions that find their way.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::digest::file_locator;
use defs_core::ids::{Locator, NodeId, PairId, ShardIndex};
use defs_core::message::{Gossip, KeepStripe, Reason, Request, Response, Rung, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{Disk as _, Peers, Publish as _, Reply, Service, Verdict};
use defs_core::record::Content;
use defs_core::statement::{Commit, Tombstone};
use defs_core::stripe::Watched;
use defs_identity::{SecretKey, sign_statement};
use defs_port_suite::{MemoryNetwork, MemoryPeers};
use tokio_util::task::TaskTracker;

use crate::network::{Net, Owner, reason};

/// Claims to hold whatever is asked for, after a while.
struct Claims {
    peers: MemoryPeers,
    pair: PairId,
    after: Duration,
    tasks: TaskTracker,
}

impl Service for Claims {
    async fn serve(&self, _: NodeId, _: Request, _: Body) -> Reply {
        Reply::bare(Response::Alive)
    }

    fn hear(&self, message: Gossip) -> Verdict {
        if let Gossip::Query { locator, asker, query } = message {
            let (peers, pair, after) = (self.peers.clone(), self.pair, self.after);
            let found = Request::Found { locator, query, pair };
            self.tasks.spawn(async move {
                tokio::time::sleep(after).await;
                peers.call(asker, found, Body::empty()).await
            });
        }
        Verdict::PassOn
    }

    fn gone(&self, _: NodeId) {}
}

async fn locate(owner: &Owner, node: NodeId, locator: Locator) -> (Vec<PairId>, Rung) {
    match owner.ask(node, Request::Locate { locator }).await.unwrap() {
        Response::Located(located) => (located.pairs, located.rung),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_large_network_the_hash_table_is_asked_before_everybody_is() {
    let net = Net::with(4).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let record = owner.record(1, 1, Content::Sealed(vec![1; 100]), &[pairs[0].pair]);
    let locator = file_locator(&net.network, &record.key.file);
    owner.write(&owner.sign(record), &pairs[0]).await.unwrap();
    net.pass(Duration::from_secs(10)).await;
    let asked = pairs[1].primary();
    assert_eq!(locate(&owner, asked, locator).await, (vec![pairs[0].pair], Rung::Broadcast));
    net.crowd(&asked, 300);
    // Later than who asks again at once.
    net.pass(Duration::from_secs(31)).await;
    assert_eq!(locate(&owner, asked, locator).await, (vec![pairs[0].pair], Rung::Kademlia));
    // What the table doesn't know is asked for everywhere.
    let unknown = Locator([9; 32]);
    assert_eq!(locate(&owner, asked, unknown).await, (vec![], Rung::Nowhere));
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_hears_everybody_so_a_lie_hides_nothing() {
    let net = Net::with(6).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    // A quick liar, and a slow holder.
    for (pair, after) in [(&pairs[1], 0), (&pairs[0], 200)] {
        let after = Duration::from_millis(after);
        for node in pair.members {
            let (peers, tasks) = (net.net.peers(node), TaskTracker::new());
            net.net.serve(node, Arc::new(Claims { peers, pair: pair.pair, after, tasks }));
        }
    }
    let (locator, asked) = (Locator([1; 32]), pairs[2].primary());
    let liar = (vec![pairs[1].pair], Rung::Broadcast);
    assert_eq!(locate(&owner, asked, locator).await, liar);
    let (again, _) = locate(&owner, asked, locator).await;
    assert_eq!(again, [pairs[1].pair, pairs[0].pair]);
    // Much later it is a new question.
    net.pass(Duration::from_secs(40)).await;
    assert_eq!(locate(&owner, asked, locator).await, liar);
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_a_broadcast_in_the_name_of_another_pair() {
    let net = Net::with(4).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let found = |pair| Request::Found { locator: Locator([1; 32]), query: 1, pair };
    let asked = pairs[0].primary();
    assert_eq!(reason(owner.ask(asked, found(pairs[1].pair)).await), Reason::NotAllowed);
    let member = net.net.peers(pairs[1].primary());
    let answer = async |pair| {
        let answer = member.call(asked, found(pair), Body::empty()).await;
        answer.map(|reply| reply.response).map_err(|error| error.refusal().unwrap().reason)
    };
    assert_eq!(answer(pairs[1].pair).await, Ok(Response::Done));
    assert_eq!(answer(pairs[0].pair).await, Err(Reason::NotAllowed));
    assert_eq!(answer(PairId([7; 16])).await, Err(Reason::NotAllowed));
}

fn seed_of(node: NodeId) -> u8 {
    let of = |seed: &u8| SecretKey::from_seed(&[*seed; 32]).public().node_id() == node;
    (1..=9).find(of).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_restarted_network_tells_its_hash_table_again_what_it_holds() {
    let mut net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let mut locators = Vec::new();
    for file in 0..40 {
        let record = owner.record(file, 1, Content::Sealed(vec![1]), &[pair.pair]);
        locators.push(file_locator(&net.network, &record.key.file));
        owner.write(&owner.sign(record), &pair).await.unwrap();
    }
    let disks: Vec<_> = pair.members.iter().map(|node| net.kill(node)).collect();
    // Nobody remembers anything.
    net.net = MemoryNetwork::new();
    for (node, disk) in pair.members.into_iter().zip(disks) {
        net.start(seed_of(node), disk).await;
    }
    let asks = net.net.peers(NodeId([1; 32]));
    let known = async {
        for locator in locators {
            while asks.look_up(locator).await != [pair.pair] {
                net.pass(Duration::from_secs(1)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), known).await.unwrap();
}

/// Stores and commits a stripe of two shards that watch each other, one on each pair.
async fn committed(owner: &Owner, pairs: &[PairRecord]) -> Commit {
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    for (place, pair) in pairs.iter().enumerate() {
        let (mut store, body) = owner.store(&stripe, place, pair);
        let mut head = store.head.as_ref().clone();
        let index = ShardIndex(u8::try_from(1 - place).unwrap());
        head.watched = vec![Watched { index, pair: pairs[1 - place].pair }];
        store.head = Arc::new(head);
        owner.send(pair.primary(), Request::StoreShard(store), body).await.unwrap();
    }
    let commit = Commit { stripe: stripe.descriptor.id() };
    for (place, pair) in pairs.iter().enumerate() {
        let signed = sign_statement(&owner.key, &owner.network, commit);
        let indices = vec![ShardIndex(u8::try_from(place).unwrap())];
        let stripes = vec![KeepStripe { commit: signed, indices }];
        let kept = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
        assert_eq!(kept, Ok(Response::Held(vec![true])));
    }
    commit
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_was_away_when_its_stripe_was_deleted_hears_of_it_from_a_sibling() {
    let mut net = Net::with(4).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let Commit { stripe } = committed(&owner, &pairs[..2]).await;
    let disks: Vec<_> = pairs[1].members.iter().map(|node| net.kill(node)).collect();
    let tombstone = sign_statement(&owner.key, &net.network, Tombstone { stripe });
    let request = Request::Delete { tombstones: vec![tombstone], both: true };
    assert_eq!(owner.ask(pairs[0].primary(), request).await, Ok(Response::Done));
    net.pass(Duration::from_mins(5)).await;
    for (node, disk) in pairs[1].members.into_iter().zip(disks) {
        net.start(seed_of(node), disk).await;
    }
    let keys = [0, 1].map(|index| ShardKey { stripe, index: ShardIndex(index) });
    net.pass(Duration::from_mins(2)).await;
    for node in pairs.iter().flat_map(|pair| pair.members) {
        for key in keys {
            assert_eq!(net.disk(&node).shard(key).await.unwrap(), None);
        }
        // Nothing is left to be handed on.
        let tell = defs_core::port::StateKey(b"tell/".to_vec());
        assert_eq!(net.disk(&node).scan(tell, 5).await.unwrap(), []);
    }
}
