//! Dates that are wrong: what runs out does so by time that passed.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{NodeId, ShardIndex, StripeId};
use defs_core::message::{KeepStripe, ReadShard, Reason, Request, Response, ShardKey};
use defs_core::port::{Clock as _, Disk as _};
use defs_core::statement::{Commit, Session};
use defs_engine::Timings;
use defs_identity::{CLOCK_SKEW, sign_statement};

use crate::network::{Net, reason};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// Leases of an hour, looked at so often that one which ends a minute early is seen. Cards
/// are told rarely: they take most of the time that such a test needs.
fn hourly() -> Timings {
    let (card, card_stale) = (MINUTE, 4 * MINUTE);
    let expire = Duration::from_secs(10);
    Timings { card, card_stale, lease_min: HOUR, expire, ..Timings::default() }
}

async fn held(net: &Net, node: &NodeId, stripe: StripeId) -> Vec<ShardIndex> {
    net.disk(node).indices(stripe).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_mirror_whose_clock_is_five_minutes_ahead_collects_nothing() {
    let net = Net::timed(4, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let (kept, leased) = (owner.stripe(b"kept", (1, 1), 1), owner.stripe(b"leased", (1, 1), 1));
    for (place, pair) in pairs.iter().enumerate() {
        owner.put(&kept, place, pair).await.unwrap();
        owner.put(&leased, place, pair).await.unwrap();
    }
    let (kept, leased) = (kept.descriptor.id(), leased.descriptor.id());
    for (index, pair) in (0..).zip(&pairs) {
        let commit = sign_statement(&owner.key, &net.network, Commit { stripe: kept });
        let stripes = vec![KeepStripe { commit, indices: vec![ShardIndex(index)] }];
        let committed = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
        assert_eq!(committed, Ok(Response::Held(vec![true])));
    }
    let mirror = pairs[0].mirror();
    net.nodes[&mirror].clock.set_ahead(CLOCK_SKEW);
    net.pass(HOUR + hourly().lease_grace - MINUTE).await;
    assert_eq!(held(&net, &mirror, leased).await, [ShardIndex(0)], "collected before its time");
    assert_eq!(held(&net, &mirror, kept).await, [ShardIndex(0)]);
    // Not that nothing is ever collected.
    net.pass(2 * MINUTE).await;
    assert_eq!(held(&net, &mirror, leased).await, vec![]);
    assert_eq!(held(&net, &mirror, kept).await, [ShardIndex(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_waits_while_its_node_is_off_whatever_the_date_is_afterwards() {
    let mut net = Net::timed(4, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    for (place, pair) in pairs.iter().enumerate() {
        owner.put(&stripe, place, pair).await.unwrap();
    }
    let (stripe, mirror) = (stripe.descriptor.id(), pairs[0].mirror());
    net.pass(HOUR / 2).await;
    let disk = net.kill(&mirror);
    net.pass(2 * HOUR).await;
    net.start_again(mirror, Arc::clone(&disk)).await;
    net.nodes[&mirror].clock.set_ahead(YEAR);
    net.pass(HOUR / 2 + hourly().lease_grace - MINUTE).await;
    assert_eq!(held(&net, &mirror, stripe).await, [ShardIndex(0)], "collected before its time");
    net.pass(2 * MINUTE).await;
    assert_eq!(held(&net, &mirror, stripe).await, vec![]);
}

#[tokio::test(start_paused = true)]
async fn a_session_lasts_to_its_end_at_a_node_whose_clock_is_five_minutes_ahead() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let node = pair.mirror();
    net.nodes[&node].clock.set_ahead(CLOCK_SKEW);
    let challenge = owner.hello(node).await;
    let end = u64::try_from(MINUTE.as_millis()).unwrap() + net.clock.now().0;
    let session = Session { not_after_ms: end, ..owner.session(node, challenge) };
    let session = sign_statement(&owner.key, &net.network, session);
    let opened = owner.ask(node, Request::OpenSession(Box::new(session))).await;
    assert_eq!(opened, Ok(Response::Done));
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let read = || Request::ReadShard(ReadShard { key, range: None });
    net.pass(MINUTE).await;
    let reply = owner.send(node, read(), Body::empty()).await.unwrap();
    assert_eq!(reply.body.collect().await.unwrap(), stripe.shards[0].bytes);
    net.pass(Duration::from_millis(1)).await;
    assert_eq!(reason(owner.ask(node, read()).await), Reason::NoSession);
}
