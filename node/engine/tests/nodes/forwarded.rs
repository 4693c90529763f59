//! A client that another node forwards is served under its own key: what that key may do
//! here, and what the key of who forwards could have done.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::{NodeId, ShardIndex};
use defs_core::message::{ReadShard, Reason, Refusal, Request, Response, ShardKey};
use defs_core::port::Service as _;

use crate::network::{HOUR_MS, Net, Owner};

/// What `node` answers to `caller`, however that one came.
async fn served(
    net: &Net,
    node: NodeId,
    caller: NodeId,
    request: Request,
) -> Result<Response, Reason> {
    let engine = Arc::clone(&net.nodes[&node].engine);
    match engine.serve(caller, request, Body::empty()).await.response {
        Response::Refused(Refusal { reason, .. }) => Err(reason),
        answered => Ok(answered),
    }
}

async fn with_a_shard(net: &Net, owner: &Owner) -> ShardKey {
    let pair = net.pairs().remove(0);
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) }
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_client_has_a_strangers_rights_and_never_those_of_who_forwards() {
    let net = Net::with(2).await;
    let (owner, stranger) = (net.owner(77), net.owner(78));
    let key = with_a_shard(&net, &owner).await;
    let pair = net.pairs().remove(0);
    let [node, forwarder] = pair.members;
    let of_pair = (pair.pair, pair.epoch);
    let read = || Request::ReadShard(ReadShard { key, range: None });
    let renew = || Request::Renew { shards: vec![key], lease_ms: HOUR_MS, both: false };
    let copy = || {
        let (pair, epoch) = of_pair;
        Request::CopyRecords { pair, epoch, keys: Vec::new() }
    };
    let status = || Request::StripeStatus { stripe: key.stripe };
    // As if every word that the partner forwards were its own.
    for request in [read(), renew(), copy(), status()] {
        served(&net, node, forwarder, request).await.unwrap();
    }
    // The session of an owner is the owner's, and nobody else's that comes the same way.
    owner.log_in(node).await;
    served(&net, node, owner.me, read()).await.unwrap();
    for (request, refused) in
        [(read(), Reason::NoSession), (copy(), Reason::WrongEpoch), (status(), Reason::NotAllowed)]
    {
        let answer = served(&net, node, stranger.me, request.clone()).await;
        let answer = answer.err().unwrap_or_else(|| panic!("{request:?} was served"));
        let is_no_right = [refused, Reason::NotAllowed].contains(&answer);
        assert!(is_no_right, "{answer:?}: {request:?}");
    }
    let renewed = served(&net, node, stranger.me, renew()).await;
    assert!(renewed == Err(Reason::NoSession) || renewed == Ok(Response::Held(vec![false])));
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_forwarded_client_end_with_its_last_lane() {
    let net = Net::with(2).await;
    let owner = net.owner(77);
    let key = with_a_shard(&net, &owner).await;
    let node = net.pairs().remove(0).primary();
    owner.log_in(node).await;
    let read = || Request::ReadShard(ReadShard { key, range: None });
    served(&net, node, owner.me, read()).await.unwrap();
    net.nodes[&node].engine.gone(owner.me);
    assert_eq!(served(&net, node, owner.me, read()).await, Err(Reason::NoSession));
}

#[tokio::test(start_paused = true)]
async fn members_are_those_that_the_invite_admits() {
    let net = Net::with(2).await;
    let [node, partner] = net.pairs().remove(0).members;
    let engine = &net.nodes[&node].engine;
    assert!(engine.is_member(&partner));
    assert!(!engine.is_member(&net.owner(77).me) && !engine.is_member(&NodeId([9; 32])));
}
