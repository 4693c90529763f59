//! What a node remembers of its connections: the challenge that it drew for each peer and
//! the sessions that the peer opened with it. All of it is forgotten with the connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use defs_core::ids::{LockHash, NodeId};
use defs_core::statement::{Operations, Session};
use defs_identity::{CLOCK_SKEW, UnixTime};

/// Sessions that one peer may hold: each file has a lock of its own, and a client that
/// reads more files opens the older ones anew.
const SESSIONS_MAX: usize = 4096;

/// Peers whose challenges are remembered; more than a node has connections.
const PEERS_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<BTreeMap<NodeId, Connection>>);

#[derive(Debug)]
struct Connection {
    challenge: [u8; 32],
    sessions: BTreeMap<LockHash, Open>,
    /// Opened so far; tells the oldest session.
    opened: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    operations: Operations,
    not_after: UnixTime,
    number: u64,
}

impl Connections {
    /// The challenge of `peer`'s connection; `fresh` if it has none yet.
    pub(crate) fn challenge(&self, peer: NodeId, fresh: [u8; 32]) -> Option<[u8; 32]> {
        let mut connections = self.lock();
        if connections.len() >= PEERS_MAX && !connections.contains_key(&peer) {
            return None;
        }
        let connection = connections.entry(peer).or_insert_with(|| Connection {
            challenge: fresh,
            sessions: BTreeMap::new(),
            opened: 0,
        });
        Some(connection.challenge)
    }

    /// The challenge that `peer` was given, if it said hello.
    pub(crate) fn known_challenge(&self, peer: &NodeId) -> Option<[u8; 32]> {
        self.lock().get(peer).map(|connection| connection.challenge)
    }

    /// Remembers a session that was checked.
    pub(crate) fn open(&self, session: &Session) {
        let mut connections = self.lock();
        let Some(connection) = connections.get_mut(&session.client) else { return };
        connection.opened += 1;
        let open = Open {
            operations: session.operations,
            not_after: UnixTime::from_millis(session.not_after_ms),
            number: connection.opened,
        };
        connection.sessions.insert(session.lock.hash(), open);
        if connection.sessions.len() > SESSIONS_MAX {
            let oldest = connection.sessions.iter().min_by_key(|(_, open)| open.number);
            if let Some(lock) = oldest.map(|(lock, _)| *lock) {
                connection.sessions.remove(&lock);
            }
        }
    }

    /// Whether `peer` has a session on `lock` that covers `operations` now. One that ended
    /// within the skew of honest clocks does: it could still be opened.
    pub(crate) fn allows(
        &self,
        peer: &NodeId,
        lock: &LockHash,
        operations: Operations,
        now: UnixTime,
    ) -> bool {
        let connections = self.lock();
        let session = connections.get(peer).and_then(|connection| connection.sessions.get(lock));
        session.is_some_and(|open| {
            open.operations.allow(operations) && now <= open.not_after.after(CLOCK_SKEW)
        })
    }

    /// The last connection to `peer` closed.
    pub(crate) fn forget(&self, peer: &NodeId) {
        self.lock().remove(peer);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use defs_core::statement::Lock;

    use super::*;

    /// The last moment of a session that ends at second 1, five minutes on.
    const LAST: UnixTime = UnixTime::from_millis(301_000);
    const OVER: UnixTime = UnixTime::from_millis(301_001);
    const EARLY: UnixTime = UnixTime::from_millis(1);

    fn session(client: NodeId, lock: u8) -> Session {
        Session {
            operations: Operations::READ,
            lock: Lock::new(vec![lock]).unwrap(),
            client,
            node: NodeId([9; 32]),
            challenge: [1; 32],
            not_after_ms: 1000,
        }
    }

    #[test]
    fn a_challenge_lasts_as_long_as_the_connection_and_so_do_its_sessions() {
        let (connections, peer) = (Connections::default(), NodeId([1; 32]));
        assert_eq!(connections.challenge(peer, [1; 32]), Some([1; 32]));
        assert_eq!(connections.challenge(peer, [2; 32]), Some([1; 32]));
        let session = session(peer, 5);
        connections.open(&session);
        let allows = |connections: &Connections| {
            connections.allows(&peer, &session.lock.hash(), Operations::READ, LAST)
        };
        assert!(allows(&connections));
        connections.forget(&peer);
        assert!(!allows(&connections));
        assert_eq!(connections.challenge(peer, [2; 32]), Some([2; 32]));
    }

    #[test]
    fn a_session_covers_its_lock_its_operations_and_its_time_only() {
        let (connections, peer) = (Connections::default(), NodeId([1; 32]));
        connections.challenge(peer, [1; 32]);
        let session = session(peer, 5);
        connections.open(&session);
        let lock = session.lock.hash();
        let other = Lock::new(vec![6]).unwrap().hash();
        assert!(!connections.allows(&peer, &other, Operations::READ, EARLY));
        assert!(!connections.allows(&peer, &lock, Operations::RENEW, EARLY));
        assert!(!connections.allows(&peer, &lock, Operations::READ, OVER));
        assert!(!connections.allows(&NodeId([2; 32]), &lock, Operations::READ, EARLY));
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let (connections, peer) = (Connections::default(), NodeId([1; 32]));
        connections.challenge(peer, [1; 32]);
        for number in 0..=u32::try_from(SESSIONS_MAX).unwrap() {
            let lock = Lock::new(number.to_le_bytes().to_vec()).unwrap();
            connections.open(&Session { lock, ..session(peer, 1) });
        }
        let allows = |number: u32| {
            let lock = Lock::new(number.to_le_bytes().to_vec()).unwrap().hash();
            connections.allows(&peer, &lock, Operations::READ, EARLY)
        };
        assert!(!allows(0));
        assert!(allows(1));
    }
}
