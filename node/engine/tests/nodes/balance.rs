//! Who may say that a shard has moved, and what becomes of it.

use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{NodeId, PairId, ShardIndex};
use defs_core::message::{Reason, Request, Response, ShardKey};
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Change, Disk as _, Peers as _};
use defs_core::receipt::Kept;

use crate::healing::put;
use crate::network::{Net, Owner};

/// Five pairs, of which four have a shard each of one stripe, and the fifth has the first
/// one's too and has signed for it.
struct Moved {
    net: Net,
    pairs: Vec<PairRecord>,
    key: ShardKey,
    note: MovedNote,
}

async fn moved() -> Moved {
    let net = Net::with(10).await;
    let owner: Owner = net.owner(77);
    let pairs = net.pairs();
    let stripe = owner.stripe(b"some bytes that move", (2, 2), 2);
    put(&net, &owner, &stripe, &pairs[..4].iter().collect::<Vec<_>>()).await;
    let (store, body) = owner.store(&stripe, 0, &pairs[4]);
    let to = pairs[4].primary();
    let stored = owner.send(to, Request::StoreShard(store), body).await.unwrap();
    let Response::Receipts(receipts) = stored.response else { panic!("{stored:?}") };
    let locator = stripe_locator(&net.network, &stripe.descriptor.tag);
    let note = MovedNote { locator, receipts: receipts.try_into().unwrap() };
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    Moved { net, pairs, key, note }
}

impl Moved {
    async fn tell(&self, from: NodeId, to: NodeId, note: &MovedNote) -> Result<Response, Reason> {
        let request = Request::Moved(Box::new(MovedNotes(vec![note.clone()])));
        match self.net.net.peers(from).call(to, request, Body::empty()).await {
            Ok(reply) => Ok(reply.response),
            Err(CallError::Refused { refusal, .. }) => Err(refusal.reason),
            Err(other) => panic!("{other}"),
        }
    }

    /// Where the holder of the last shard watches the first one.
    async fn watched(&self) -> PairId {
        let key = ShardKey { index: ShardIndex(3), ..self.key };
        let stored = self.net.disk(&self.pairs[3].primary()).shard(key).await.unwrap().unwrap();
        stored.head.watched.iter().find(|one| one.index == ShardIndex(0)).unwrap().pair
    }

    async fn is_at(&self, node: &NodeId) -> bool {
        self.net.disk(node).shard(self.key).await.unwrap().is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_had_a_shard_says_to_watchers_that_another_has_it() {
    let it = moved().await;
    let watcher = it.pairs[3].primary();
    let before = it.pairs[0].pair;
    for liar in [it.pairs[4].primary(), it.pairs[1].mirror()] {
        assert_eq!(it.tell(liar, watcher, &it.note).await, Ok(Response::Held(vec![false])));
        assert_eq!(it.watched().await, before);
    }
    let stranger = it.net.owner(78).me;
    assert_eq!(it.tell(stranger, watcher, &it.note).await, Err(Reason::NotAllowed));
    let mut forged = it.note.clone();
    forged.receipts[1].receipt.kept = Kept::Shard(it.key.stripe, ShardIndex(1));
    let giver = it.pairs[0].primary();
    assert_eq!(it.tell(giver, watcher, &forged).await, Err(Reason::WrongBytes));
    assert_eq!(it.watched().await, before);
    for _ in 0..2 {
        assert_eq!(it.tell(giver, watcher, &it.note).await, Ok(Response::Held(vec![true])));
        assert_eq!(it.watched().await, it.pairs[4].pair);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partner_gives_up_its_copy_when_the_new_pair_has_shown_the_bytes_and_not_before() {
    let it = moved().await;
    let [giver, partner] = it.pairs[0].members;
    // One of the two that signed has lost it since.
    let lost = it.pairs[4].mirror();
    it.net.disk(&lost).apply(vec![Change::DeleteShard(it.key)]).await.unwrap();
    assert_eq!(it.tell(giver, partner, &it.note).await, Ok(Response::Held(vec![true])));
    assert!(it.is_at(&partner).await, "the last good copy but one");

    let it = moved().await;
    let [giver, partner] = it.pairs[0].members;
    assert_eq!(it.tell(giver, partner, &it.note).await, Ok(Response::Held(vec![true])));
    assert!(!it.is_at(&partner).await);
    assert!(it.is_at(&giver).await, "it was told nothing");
}
