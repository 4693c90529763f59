//! Who may read, and what a session is worth.

use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::NetworkId;
use defs_core::ids::ShardIndex;
use defs_core::message::{Hello, ReadShard, Reason, Request, Response, ShardKey};
use defs_core::statement::Session;
use defs_identity::sign_statement;

use crate::clock::START;
use crate::network::{HOUR_MS, Net, Owner, reason};

async fn read(
    owner: &Owner,
    node: defs_core::ids::NodeId,
    key: ShardKey,
) -> Result<Vec<u8>, Reason> {
    let request = Request::ReadShard(ReadShard { key, range: None });
    let reply = owner.send(node, request, Body::empty()).await.map_err(|refusal| refusal.reason)?;
    Ok(reply.body.collect().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn reading_takes_a_session_of_the_shards_own_lock() {
    let net = Net::with(2).await;
    let (owner, stranger, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    for node in pair.members {
        assert_eq!(read(&owner, node, key).await, Err(Reason::NoSession));
        stranger.log_in(node).await;
        assert_eq!(read(&stranger, node, key).await, Err(Reason::NoSession));
        owner.log_in(node).await;
        assert_eq!(read(&owner, node, key).await.unwrap(), stripe.shards[0].bytes);
    }
    let absent = ShardKey { index: ShardIndex(1), ..key };
    assert_eq!(read(&owner, pair.primary(), absent).await, Err(Reason::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_refused_at_another_node_for_another_client_when_over_and_when_forged() {
    let net = Net::with(2).await;
    let (owner, other, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let (node, elsewhere) = (pair.primary(), pair.mirror());
    let challenge = owner.hello(node).await;
    owner.hello(elsewhere).await;
    other.hello(node).await;
    let good = owner.session(node, challenge);
    let open = async |whose: &Owner, at, session: Session, key: &Owner| {
        let signed = sign_statement(&key.key, &net.network, session);
        whose.ask(at, Request::OpenSession(Box::new(signed))).await
    };
    let replayed = open(&owner, elsewhere, good.clone(), &owner).await.unwrap_err();
    assert_eq!(replayed.reason, Reason::SessionRefused);
    assert!(replayed.detail.contains("is for node"), "{}", replayed.detail);
    let stolen = open(&other, node, good.clone(), &owner).await.unwrap_err();
    assert!(stolen.detail.contains("of client"), "{}", stolen.detail);
    let old = Session { not_after_ms: START.0 - HOUR_MS, ..good.clone() };
    let expired = open(&owner, node, old, &owner).await.unwrap_err();
    assert!(expired.detail.contains("ended at"), "{}", expired.detail);
    let long = Session { not_after_ms: good.not_after_ms + 48 * HOUR_MS, ..good.clone() };
    assert_eq!(reason(open(&owner, node, long, &owner).await), Reason::SessionRefused);
    assert_eq!(reason(open(&owner, node, good.clone(), &other).await), Reason::NotAuthorised);
    assert_eq!(open(&owner, node, good, &owner).await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn a_recorded_session_is_worth_nothing_after_the_node_restarted() {
    let mut net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let node = pair.primary();
    let challenge = owner.hello(node).await;
    let recorded = sign_statement(&owner.key, &net.network, owner.session(node, challenge));
    let request = Request::OpenSession(Box::new(recorded));
    assert_eq!(owner.ask(node, request.clone()).await, Ok(Response::Done));
    let disk = net.kill(&node);
    let seed = (1..=2)
        .find(|seed| defs_identity::SecretKey::from_seed(&[*seed; 32]).public().node_id() == node);
    net.start(seed.unwrap(), disk).await;
    assert_eq!(reason(owner.ask(node, request.clone()).await), Reason::SessionRefused);
    owner.hello(node).await;
    assert_eq!(reason(owner.ask(node, request).await), Reason::SessionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_time() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    owner.log_in(pair.primary()).await;
    // An hour, and what honest clocks may differ by.
    net.pass(Duration::from_mins(64)).await;
    assert_eq!(read(&owner, pair.primary(), key).await.unwrap(), stripe.shards[0].bytes);
    net.pass(Duration::from_mins(2)).await;
    assert_eq!(read(&owner, pair.primary(), key).await, Err(Reason::NoSession));
}

#[tokio::test(start_paused = true)]
async fn another_network_and_a_version_from_before_are_refused() {
    let net = Net::with(2).await;
    let (owner, node) = (net.owner(77), net.pairs()[0].primary());
    let foreign = Hello { network: NetworkId([1; 32]), version: 1 };
    assert_eq!(reason(owner.ask(node, Request::Hello(foreign)).await), Reason::WrongNetwork);
    let ancient = Hello { network: net.network, version: 0 };
    assert_eq!(reason(owner.ask(node, Request::Hello(ancient)).await), Reason::WrongVersion);
}
