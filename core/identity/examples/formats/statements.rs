//! Statements about stripes, alone and in a batch, and a session.

use defs_core::ids::{StripeId, hex};
use defs_core::statement::{Commit, Operations, Session, Tombstone};
use serde_json::{Value, json};

use super::cast::{NEWCOMER, PRIMARY, by_owner, lock, network, node};

fn stripe(number: u8) -> StripeId {
    StripeId([number; StripeId::SIZE])
}

pub(crate) fn vectors() -> Value {
    let commits = |stripes: &[u8]| {
        by_owner(stripes.iter().map(|number| Commit { stripe: stripe(*number) }).collect()).1
    };
    let (_, tombstones) = by_owner(vec![Tombstone { stripe: stripe(0x41) }]);
    json!({
        "network": network().full(),
        "lock_secret": "the secret of `lock`",
        "commit_alone": commits(&[0x41]),
        "commits_in_one_batch": commits(&[0x41, 0x42, 0x43]),
        "tombstone": tombstones,
        "session": session_vector(),
    })
}

/// A session of the newcomer, as a client, at the primary.
pub(crate) fn session() -> Session {
    Session {
        operations: Operations::READ.and(Operations::RENEW),
        lock: lock(),
        client: node(NEWCOMER),
        node: node(PRIMARY),
        challenge: [0x44; 32],
        not_after_ms: 1_900_000_000_123,
    }
}

fn session_vector() -> Value {
    let session = session();
    json!({
        "operations": ["read", "renew"],
        "lock": hex(session.lock.script()),
        "client": session.client.full(),
        "node": session.node.full(),
        "challenge": hex(&session.challenge),
        "not_after_ms": session.not_after_ms,
        "signed": by_owner(vec![session]).1,
    })
}
