//! Sessions: each way to misuse one has its own refusal.

use std::time::Duration;

use defs_core::ids::{NetworkId, NodeId};
use defs_core::statement::{Operations, Session, Signed};
use defs_identity::script::lock_p2pkh;
use defs_identity::session::SESSION_MAX;
use defs_identity::{
    Address, CLOCK_SKEW, Direct, SessionRefused, SessionTerms, UnixTime, check_session,
    sign_statement,
};

use crate::{NOW, key};

const NODE: NodeId = NodeId([1; 32]);
const CLIENT: NodeId = NodeId([2; 32]);
const MILLISECOND: Duration = Duration::from_millis(1);

fn terms() -> SessionTerms {
    let (network, challenge) = (NetworkId([3; 32]), [4; 32]);
    SessionTerms { network, node: NODE, client: CLIENT, challenge, now: NOW }
}

fn session_until(not_after: UnixTime) -> Signed<Session> {
    let body = Session {
        operations: Operations::READ.and(Operations::LIST),
        lock: lock_p2pkh(&Address::of(&key(1).public())),
        client: CLIENT,
        node: NODE,
        challenge: [4; 32],
        not_after_ms: not_after.millis(),
    };
    sign_statement(&key(1), &terms().network, body)
}

fn session() -> Signed<Session> {
    session_until(NOW.after(Duration::from_hours(1)))
}

#[test]
fn a_session_holds_on_its_connection() {
    assert_eq!(check_session(&session(), &terms(), &Direct), Ok(()));
}

#[test]
fn a_session_is_worth_nothing_at_another_node() {
    let elsewhere = SessionTerms { node: NodeId([9; 32]), ..terms() };
    let refused = Err(SessionRefused::WrongNode { named: NODE });
    assert_eq!(check_session(&session(), &elsewhere, &Direct), refused);
}

#[test]
fn a_session_is_worth_nothing_for_another_client() {
    let stolen = SessionTerms { client: NodeId([9; 32]), ..terms() };
    let refused = Err(SessionRefused::WrongClient { named: CLIENT });
    assert_eq!(check_session(&session(), &stolen, &Direct), refused);
}

#[test]
fn a_session_recorded_on_an_earlier_connection_is_refused() {
    let later = SessionTerms { challenge: [9; 32], ..terms() };
    assert_eq!(check_session(&session(), &later, &Direct), Err(SessionRefused::WrongChallenge));
}

#[test]
fn a_session_ends_the_tolerated_skew_after_its_end() {
    let not_after = NOW;
    let last = SessionTerms { now: NOW.after(CLOCK_SKEW), ..terms() };
    assert_eq!(check_session(&session_until(not_after), &last, &Direct), Ok(()));
    let over = SessionTerms { now: last.now.after(MILLISECOND), ..terms() };
    let refused = Err(SessionRefused::Expired { not_after });
    assert_eq!(check_session(&session_until(not_after), &over, &Direct), refused);
}

#[test]
fn a_session_lasts_a_day_at_most() {
    let longest = NOW.after(SESSION_MAX).after(CLOCK_SKEW);
    assert_eq!(check_session(&session_until(longest), &terms(), &Direct), Ok(()));
    for not_after in [longest.after(MILLISECOND), UnixTime::from_millis(u64::MAX)] {
        let refused = Err(SessionRefused::TooLong { not_after });
        assert_eq!(check_session(&session_until(not_after), &terms(), &Direct), refused);
    }
}

#[test]
fn a_session_of_another_network_or_one_that_was_changed_is_not_authorised() {
    let abroad = SessionTerms { network: NetworkId([9; 32]), ..terms() };
    let refused = check_session(&session(), &abroad, &Direct);
    assert!(matches!(refused, Err(SessionRefused::NotAuthorised(_))), "{refused:?}");

    let mut widened = session();
    widened.body.operations = widened.body.operations.and(Operations::RENEW);
    let mut prolonged = session();
    prolonged.body.not_after_ms += 1;
    let mut anothers = session();
    anothers.body.lock = lock_p2pkh(&Address::of(&key(2).public()));
    for changed in [widened, prolonged, anothers] {
        let refused = check_session(&changed, &terms(), &Direct);
        assert!(matches!(refused, Err(SessionRefused::NotAuthorised(_))), "{refused:?}");
    }
}
