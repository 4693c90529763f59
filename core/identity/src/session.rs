//! Sessions: what a client may do over one connection to one node. Worth nothing at
//! another node, for another client, or over another connection.

use std::time::Duration;

use defs_core::ids::{NetworkId, NodeId};
use defs_core::statement::{Session, Signed};
use thiserror::Error;

use crate::authority::{NotAuthorised, authorise};
use crate::checker::SignatureChecker;
use crate::time::{CLOCK_SKEW, UnixTime};

/// How far ahead a session may end: a client that stays longer signs another.
pub const SESSION_MAX: Duration = Duration::from_hours(24);

/// What a node knows of the connection on which a session is asked for.
#[derive(Debug, Clone, Copy)]
pub struct SessionTerms {
    /// The node's network.
    pub network: NetworkId,
    /// The node itself.
    pub node: NodeId,
    /// Whom the transport has authenticated at the other end.
    pub client: NodeId,
    /// What the node drew for this connection.
    pub challenge: [u8; 32],
    /// The node's clock.
    pub now: UnixTime,
}

/// Why a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionRefused {
    /// It was made for another node.
    #[error("the session is for node {named}")]
    WrongNode {
        /// That node.
        named: NodeId,
    },
    /// It was made by another client.
    #[error("the session is of client {named}")]
    WrongClient {
        /// That client.
        named: NodeId,
    },
    /// It answers another challenge: recorded earlier, or before the node restarted.
    #[error("the session answers another challenge")]
    WrongChallenge,
    /// It is over.
    #[error("the session ended at {not_after}")]
    Expired {
        /// When.
        not_after: UnixTime,
    },
    /// It asks for too much time.
    #[error("the session would last until {not_after}, longer than a day")]
    TooLong {
        /// Until when.
        not_after: UnixTime,
    },
    /// It is not signed by the holder of its lock.
    #[error("the session is not authorised")]
    NotAuthorised(#[source] NotAuthorised),
}

/// Whether a session holds on this connection. What it then allows is in its body:
/// operations on objects whose lock is the session's.
pub fn check_session(
    signed: &Signed<Session>,
    terms: &SessionTerms,
    checker: &(impl SignatureChecker + ?Sized),
) -> Result<(), SessionRefused> {
    let SessionTerms { network, node, client, challenge, now } = terms;
    let session = &signed.body;
    if session.node != *node {
        return Err(SessionRefused::WrongNode { named: session.node });
    }
    if session.client != *client {
        return Err(SessionRefused::WrongClient { named: session.client });
    }
    if session.challenge != *challenge {
        return Err(SessionRefused::WrongChallenge);
    }
    check_end(UnixTime::from_millis(session.not_after_ms), *now)?;
    authorise(signed, &session.lock, network, *now, checker).map_err(SessionRefused::NotAuthorised)
}

fn check_end(not_after: UnixTime, now: UnixTime) -> Result<(), SessionRefused> {
    if not_after.after(CLOCK_SKEW) < now {
        return Err(SessionRefused::Expired { not_after });
    }
    if now.after(SESSION_MAX).after(CLOCK_SKEW) < not_after {
        return Err(SessionRefused::TooLong { not_after });
    }
    Ok(())
}
