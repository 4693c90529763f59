//! One link a node: hello once a connection, sessions for the locks in use, and every
//! request with a bound on its time.
//!
//! A node forgets a link when its connection closes, which the client is not told. It
//! learns it from the refusal, says hello again, opens its session again and asks once
//! more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{LockHash, NetworkId, NodeId};
use defs_core::message::{Hello, Reason, Request, Response, WIRE_VERSION};
use defs_core::network::Genesis;
use defs_core::port::{CallError, Clock as _, Peers as _, Reply};
use defs_core::statement::{Operations, Session};
use defs_identity::{CachedChecker, sign_statement};

use super::pace::Pace;
use crate::keys::FileLock;
use crate::ports::World;

/// How long a request without much data may take: a commit waits for two disks and may
/// queue behind shards.
const CALL_MAX: Duration = Duration::from_secs(20);

/// How long a shard may take: 64 MiB over a slow line, to two disks.
const STORE_MAX: Duration = Duration::from_secs(120);

/// How long a session is asked for. A client that stays longer opens another at half time.
const SESSION: Duration = Duration::from_hours(2);

/// Sessions that are remembered a node; a node remembers as many a client.
const SESSIONS_MAX: usize = 4096;

/// The network that this client belongs to: known from the start or adopted from the
/// first node that answers, and never changed after.
#[derive(Debug, Default)]
pub(crate) struct NetworkIdentity(OnceLock<Genesis>);

impl NetworkIdentity {
    pub(crate) fn known(genesis: Genesis) -> Self {
        Self(OnceLock::from(genesis))
    }

    pub(crate) fn get(&self) -> Option<&Genesis> {
        self.0.get()
    }
}

#[derive(Debug)]
pub(crate) struct Links<W> {
    world: Arc<W>,
    identity: NetworkIdentity,
    /// The network to be asked for where the genesis isn't known yet.
    expected: Option<NetworkId>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    pub(crate) pace: Pace,
    pub(crate) checker: Arc<CachedChecker>,
}

#[derive(Debug, Default)]
struct Link {
    /// Held while saying hello, so that one hello serves all who wait.
    challenge: tokio::sync::Mutex<Option<[u8; 32]>>,
    sessions: Mutex<BTreeMap<LockHash, Arc<SessionSlot>>>,
}

/// Until when a session is open, by Unix time in milliseconds; locked while it is opened.
type SessionSlot = tokio::sync::Mutex<u64>;

impl<W: World> Links<W> {
    pub(crate) fn new(
        world: Arc<W>,
        (identity, expected): (NetworkIdentity, Option<NetworkId>),
        checker: Arc<CachedChecker>,
    ) -> Self {
        Self { world, identity, expected, links: Mutex::default(), pace: Pace::default(), checker }
    }

    /// The network's genesis, once a node has said it.
    pub(crate) fn genesis(&self) -> Option<&Genesis> {
        self.identity.get()
    }

    /// The network; unknown before anybody has said it.
    pub(crate) fn network(&self) -> NetworkId {
        let genesis = self.identity.get().map(Genesis::network);
        genesis.or(self.expected).unwrap_or(NetworkId::UNKNOWN)
    }

    /// One exchange, after a hello if there was none.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        request: Request,
        body: Body,
    ) -> Result<Reply, CallError> {
        self.challenge(to).await?;
        self.timed(to, request, body).await
    }

    /// One exchange under a session for `operations` on the lock.
    pub(crate) async fn call_as_owner(
        &self,
        to: NodeId,
        lock: &FileLock,
        request: Request,
    ) -> Result<Reply, CallError> {
        self.open_session(to, lock).await?;
        match self.timed(to, request.clone(), Body::empty()).await {
            Err(CallError::Refused { refusal, .. }) if session_is_gone(refusal.reason) => {
                self.forget_session(to, lock).await;
                self.open_session(to, lock).await?;
                self.timed(to, request, Body::empty()).await
            }
            other => other,
        }
    }

    /// Makes sure that a session for reading and renewing is open.
    pub(crate) async fn open_session(&self, to: NodeId, lock: &FileLock) -> Result<(), CallError> {
        let link = self.link(to);
        let slot = link.slot(lock.lock.hash());
        let mut open_until = slot.lock().await;
        let now = self.world.clock().now().0;
        if now.saturating_add(millis(SESSION) / 2) < *open_until {
            return Ok(());
        }
        let not_after_ms = now.saturating_add(millis(SESSION));
        match self.ask_for_session(to, lock, not_after_ms).await {
            // The node drew another challenge since: its connection or process is new.
            Err(CallError::Refused { refusal, .. }) if session_is_gone(refusal.reason) => {
                *link.challenge.lock().await = None;
                self.ask_for_session(to, lock, not_after_ms).await?;
            }
            other => other?,
        }
        *open_until = not_after_ms;
        Ok(())
    }

    /// The session is worth nothing any more, and perhaps the hello.
    pub(crate) async fn forget_session(&self, to: NodeId, lock: &FileLock) {
        let link = self.link(to);
        *link.challenge.lock().await = None;
        link.sessions().remove(&lock.lock.hash());
    }

    async fn ask_for_session(
        &self,
        to: NodeId,
        lock: &FileLock,
        not_after_ms: u64,
    ) -> Result<(), CallError> {
        let session = Session {
            operations: Operations::READ.and(Operations::RENEW),
            lock: lock.lock.clone(),
            client: self.world.peers().me(),
            node: to,
            challenge: self.challenge(to).await?,
            not_after_ms,
        };
        let signed = sign_statement(&lock.key, &self.network(), session);
        let reply = self.timed(to, Request::OpenSession(Box::new(signed)), Body::empty()).await?;
        match reply.response {
            Response::Done => Ok(()),
            _ => Err(unexpected(to, "a session was asked for and something else answered")),
        }
    }

    /// Says hello where that wasn't done and gives the node's challenge.
    pub(crate) async fn challenge(&self, to: NodeId) -> Result<[u8; 32], CallError> {
        let link = self.link(to);
        let mut known = link.challenge.lock().await;
        if let Some(challenge) = *known {
            return Ok(challenge);
        }
        let hello = Hello { network: self.network(), version: WIRE_VERSION };
        let reply = self.timed(to, Request::Hello(hello), Body::empty()).await?;
        let Response::Hello { genesis, version, challenge } = reply.response else {
            return Err(unexpected(to, "a hello was not answered by one"));
        };
        if version == 0 || version > WIRE_VERSION {
            return Err(unexpected(to, "it agreed on a version that was not offered"));
        }
        self.adopt(to, genesis)?;
        *known = Some(challenge);
        Ok(challenge)
    }

    /// Trust on first use: the first genesis counts, if it is the expected network's.
    fn adopt(&self, to: NodeId, genesis: Genesis) -> Result<(), CallError> {
        let expected = self.expected.is_none_or(|network| genesis.network() == network);
        if expected && *self.identity.0.get_or_init(|| genesis) == genesis {
            Ok(())
        } else {
            Err(unexpected(to, "it belongs to another network"))
        }
    }

    async fn timed(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        let limit = match request {
            Request::StoreShard(_) | Request::ReadShard(_) => STORE_MAX,
            _ => CALL_MAX,
        };
        tokio::select! {
            biased;
            answer = self.world.peers().call(to, request, body) => answer,
            () = self.world.clock().sleep(limit) => Err(CallError::TimedOut { to }),
        }
    }

    fn link(&self, node: NodeId) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(links.entry(node).or_default())
    }
}

impl Link {
    fn slot(&self, lock: LockHash) -> Arc<SessionSlot> {
        let mut sessions = self.sessions();
        if sessions.len() >= SESSIONS_MAX && !sessions.contains_key(&lock) {
            sessions.pop_first();
        }
        Arc::clone(sessions.entry(lock).or_default())
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<LockHash, Arc<SessionSlot>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refusal means that the node doesn't know a session of ours.
pub(crate) fn session_is_gone(reason: Reason) -> bool {
    matches!(reason, Reason::NoSession | Reason::SessionRefused)
}

pub(crate) fn unexpected(to: NodeId, why: &str) -> CallError {
    CallError::Protocol { to, why: why.to_owned() }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
