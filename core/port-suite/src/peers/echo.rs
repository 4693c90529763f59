//! The service that the laws are tried with.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use defs_core::body::{Body, BodyError};
use defs_core::ids::{Locator, NodeId, ShardIndex, StripeId};
use defs_core::message::{Gossip, ReadShard, Reason, Refusal, Request, Response, ShardKey};
use defs_core::port::{Reply, Service, Verdict};

/// Does what the request says, and remembers what it saw.
#[derive(Debug, Default)]
pub struct Echo(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    callers: Vec<NodeId>,
    broken: Vec<BodyError>,
    heard: Vec<Gossip>,
    gone: Vec<NodeId>,
    members: Vec<NodeId>,
}

impl Echo {
    /// Who called, in order.
    #[must_use]
    pub fn callers(&self) -> Vec<NodeId> {
        self.with(|seen| seen.callers.clone())
    }

    /// How bodies broke off.
    #[must_use]
    pub fn broken(&self) -> Vec<BodyError> {
        self.with(|seen| seen.broken.clone())
    }

    /// What was gossiped.
    #[must_use]
    pub fn heard(&self) -> Vec<Gossip> {
        self.with(|seen| seen.heard.clone())
    }

    /// Whose last connection has closed.
    #[must_use]
    pub fn gone_peers(&self) -> Vec<NodeId> {
        self.with(|seen| seen.gone.clone())
    }

    /// Takes `node` for a member of the network from now on.
    pub fn admit(&self, node: NodeId) {
        self.with(|seen| seen.members.push(node));
    }

    fn with<T>(&self, see: impl FnOnce(&mut Seen) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn send_back(&self, body: Body) -> Reply {
        match body.collect().await {
            Ok(bytes) => shard(bytes.into()),
            Err(error) => {
                self.with(|seen| seen.broken.push(error));
                refused(Reason::WrongBytes)
            }
        }
    }
}

fn shard(bytes: Bytes) -> Reply {
    let response = Response::Shard { length: bytes.len() as u64 };
    Reply { response, body: Body::whole(bytes) }
}

fn refused(reason: Reason) -> Reply {
    Reply::bare(Response::Refused(Refusal::new(reason, "as asked")))
}

/// Bytes that are not all alike.
#[must_use]
pub fn pattern(size: usize) -> Bytes {
    (0..size).map(|place| (place % 251).to_le_bytes()[0]).collect()
}

/// "Send my body back."
#[must_use]
pub fn send_back() -> Request {
    read(None)
}

/// "Send me `size` bytes of the [`pattern`]."
#[must_use]
pub fn ask_for(size: usize) -> Request {
    read(Some(0..size as u64))
}

/// "Refuse this without reading its body."
#[must_use]
pub fn refuse() -> Request {
    Request::Renew { shards: Vec::new(), lease_ms: 0, both: false }
}

/// "Never answer."
#[must_use]
pub fn ask_without_end() -> Request {
    Request::Locate { locator: Locator([0; 32]) }
}

fn read(range: Option<std::ops::Range<u64>>) -> Request {
    let key = ShardKey { stripe: StripeId([0; 32]), index: ShardIndex(0) };
    Request::ReadShard(ReadShard { key, range })
}

impl Service for Echo {
    async fn serve(&self, caller: NodeId, request: Request, body: Body) -> Reply {
        self.with(|seen| seen.callers.push(caller));
        match request {
            Request::ReadShard(ReadShard { range: None, .. }) => self.send_back(body).await,
            Request::ReadShard(ReadShard { range: Some(range), .. }) => {
                shard(pattern(usize::try_from(range.end - range.start).unwrap_or(0)))
            }
            Request::Renew { .. } => refused(Reason::Full),
            Request::Locate { .. } => std::future::pending().await,
            _ => Reply::bare(Response::Alive),
        }
    }

    fn hear(&self, message: Gossip) -> Verdict {
        self.with(|seen| seen.heard.push(message));
        Verdict::PassOn
    }

    fn gone(&self, peer: NodeId) {
        self.with(|seen| seen.gone.push(peer));
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.with(|seen| seen.members.contains(node))
    }
}
