//! The ports: what client and engine need of the world. Swarm, store and the system
//! implement them for real; port-suite in memory, under one conformance suite.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::body::Body;
use crate::ids::{Epoch, FileId, Locator, NodeId, PairId, ShardIndex, StripeId};
use crate::message::{Gossip, Refusal, Request, Response, ShardKey};
use crate::record::{RecordKey, SignedRecord};
use crate::statement::{Commit, Signed};
use crate::stripe::ShardHead;

/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// Time.
pub trait Clock: Send + Sync + 'static {
    /// The date; may jump.
    fn now(&self) -> UnixMillis;
    /// Time since an arbitrary start; never runs backwards.
    fn elapsed(&self) -> Duration;
    /// Returns after `time`.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// Randomness. Real randomness is the operating system's.
pub trait Randomness: Send + Sync + 'static {
    /// Fills `bytes` with random bytes fit for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// `N` random bytes.
    fn array<const N: usize>(&self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// A place for work that takes the processor for long.
pub trait Compute: Send + Sync + 'static {
    /// Runs `work` off the async threads; waits while all workers are busy.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// No connection could be made or it broke: the request may or may not have arrived.
    #[error("node {to} can't be reached: {why}")]
    Unreachable {
        /// The node that was asked.
        to: NodeId,
        /// What failed.
        why: String,
    },
    /// The answer took longer than allowed.
    #[error("node {to} took too long to answer")]
    TimedOut {
        /// The node that was asked.
        to: NodeId,
    },
    /// The node answered that it won't.
    #[error("node {to} refused")]
    Refused {
        /// The node that was asked.
        to: NodeId,
        /// Why it refused.
        #[source]
        refusal: Refusal,
    },
    /// The answer breaks the protocol.
    #[error("node {to} broke the protocol: {why}")]
    Protocol {
        /// The node that was asked.
        to: NodeId,
        /// What was wrong.
        why: String,
    },
}

impl CallError {
    /// Why the node refused, if it answered at all.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Protocol { .. } => None,
        }
    }
}

/// A response and the bytes that follow it.
#[derive(Debug)]
pub struct Reply {
    /// What is answered.
    pub response: Response,
    /// Empty for most responses.
    pub body: Body,
}

impl Reply {
    /// A response without a body.
    #[must_use]
    pub fn bare(response: Response) -> Self {
        Self { response, body: Body::empty() }
    }
}

/// Other peers.
pub trait Peers: Send + Sync + 'static {
    /// This peer.
    fn me(&self) -> NodeId;

    /// One exchange with `to`. A [`Response::Refused`] comes back as
    /// [`CallError::Refused`]. Dropping the future or the reply's body breaks it off.
    fn call(
        &self,
        to: NodeId,
        request: Request,
        body: Body,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// Where `node` can be dialled (multiaddresses); replaces what was known.
    fn learn(&self, node: NodeId, addresses: &[String]);
}

/// What a node tells everybody.
pub trait Publish: Send + Sync + 'static {
    /// Sends `message` to all nodes, best effort; a full queue drops it.
    fn publish(&self, message: Gossip);

    /// Asks the distributed hash table for pairs that hold `locator`.
    fn look_up(&self, locator: Locator) -> impl Future<Output = Vec<PairId>> + Send;

    /// Tells the distributed hash table that `pair` holds a file's records.
    fn provide(&self, locator: Locator, pair: PairId);
}

/// What becomes of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and news: pass it on.
    PassOn,
    /// Valid and known, or not of use: keep it.
    Ignore,
    /// Invalid: whoever sent it misbehaves.
    Reject,
}

/// The receiving side of the peers' port.
pub trait Service: Send + Sync + 'static {
    /// Answers one request of `caller`, the transport's authenticated peer. The body is
    /// what follows the request.
    fn serve(
        &self,
        caller: NodeId,
        request: Request,
        body: Body,
    ) -> impl Future<Output = Reply> + Send;

    /// Judges a gossiped message. Must not wait.
    fn hear(&self, message: Gossip) -> Verdict;

    /// The last connection to `peer` has closed: sessions with it are over.
    fn gone(&self, peer: NodeId);

    /// Whether `node` is a member of this network, as far as is known. Requests of clients are
    /// forwarded to members only and taken from members only; a service that knows none
    /// forwards nothing.
    fn is_member(&self, _node: &NodeId) -> bool {
        false
    }
}

/// Why the disk refused or failed.
#[derive(Debug, Error)]
pub enum DiskError {
    /// No room for new data; reads and deletes go on.
    #[error("the disk is full: {needed} bytes are needed, {free} are free")]
    Full {
        /// Bytes asked for.
        needed: u64,
        /// Bytes left.
        free: u64,
    },
    /// The received bytes are not those that their name says.
    #[error("the received bytes are not what their name says")]
    WrongBytes,
    /// The bytes ended early or ran over.
    #[error("the bytes did not arrive whole")]
    Body(#[from] crate::body::BodyError),
    /// What is stored is damaged.
    #[error("{what} is damaged on the disk")]
    Damaged {
        /// What was read.
        what: String,
    },
    /// The operating system or the database failed.
    #[error("failed to {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a node keeps beside a shard's head; changes over the shard's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// The pair that holds it here.
    pub pair: PairId,
    /// The epoch in which it was stored.
    pub epoch: Epoch,
    /// Without a commit it expires at this reading of the node's persisted elapsed time.
    pub lease_until: Duration,
    /// The owner's word that it belongs to a finished file.
    pub commit: Option<Signed<Commit>>,
}

impl ShardState {
    /// What is kept when `self` is said of a shard beside which `before` stands: a commit stays,
    /// and the lease gets no shorter.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        Self {
            lease_until: self.lease_until.max(before.lease_until),
            commit: before.commit.clone().or(self.commit),
            ..self
        }
    }

    /// Whether [`Change::ExpireShard`] takes a shard beside which this stands.
    #[must_use]
    pub fn expires_before(&self, deadline: Duration) -> bool {
        self.commit.is_none() && self.lease_until < deadline
    }
}

/// A shard as the disk knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredShard {
    /// What came with it.
    pub head: Arc<ShardHead>,
    /// What changes.
    pub state: ShardState,
    /// Sealed bytes.
    pub length: u64,
}

/// Names a small value of the node's own: pair records, promises, tombstones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(pub Vec<u8>);

/// One change of small things; a batch of them is durable as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Changes what is kept beside a shard as [`ShardState::after`] says: whoever read it a while
    /// ago takes back nothing that was said since. Passed over if the shard isn't here.
    ShardState(ShardKey, ShardState),
    /// Replaces the head of a shard, which may differ in what its holder watches; passed over
    /// if the shard isn't here.
    ShardHead(ShardKey, Arc<ShardHead>),
    /// Forgets a shard and frees its bytes.
    DeleteShard(ShardKey),
    /// The same, unless the shard is committed by now, or its lease lasts until the reading that
    /// is given, or longer.
    ExpireShard(ShardKey, Duration),
    /// Replaces the heads of a record; without heads it is forgotten.
    Record(RecordKey, Vec<Arc<SignedRecord>>),
    /// Sets a small value.
    Put(StateKey, Vec<u8>),
    /// Removes a small value.
    Remove(StateKey),
}

/// Room used and offered, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What may be stored.
    pub capacity: u64,
    /// Stored and reserved.
    pub used: u64,
    /// Shards held.
    pub shards: u64,
    /// Records held.
    pub records: u64,
}

/// The node's disk. Whatever a method has returned `Ok` for is durable.
pub trait Disk: Send + Sync + 'static {
    /// Takes a shard's bytes from `body` and makes it durable with its head and state.
    /// Space is reserved before the first byte is taken. Refuses bytes whose BLAKE3 isn't
    /// the head's shard id; nothing is visible before all is durable. A shard that is
    /// here already is kept and the bytes are drained and checked all the same.
    fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// What is known of a shard.
    fn shard(
        &self,
        key: ShardKey,
    ) -> impl Future<Output = Result<Option<StoredShard>, DiskError>> + Send;

    /// The sealed bytes `range` of a shard that [`Disk::shard`] found.
    fn read(
        &self,
        key: ShardKey,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Body, DiskError>> + Send;

    /// The indices of a stripe that are held here.
    fn indices(
        &self,
        stripe: StripeId,
    ) -> impl Future<Output = Result<Vec<ShardIndex>, DiskError>> + Send;

    /// Whether a shard or record behind `locator` is held here, and for which pair; of a
    /// record, the first pair of its newest set.
    fn holds(
        &self,
        locator: Locator,
    ) -> impl Future<Output = Result<Option<PairId>, DiskError>> + Send;

    /// At most `limit` shards in key order after `after`.
    fn shards_after(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(ShardKey, StoredShard)>, DiskError>> + Send;

    /// At most `limit` files of which manifest pages are held, in order after `after`.
    fn files_after(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<FileId>, DiskError>> + Send;

    /// At most `limit` records after `after`, in an order of the disk's own in which those of
    /// one kind stand by their files.
    fn records_after(
        &self,
        after: Option<RecordKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RecordKey>, DiskError>> + Send;

    /// The heads of a record.
    fn records(
        &self,
        keys: Vec<RecordKey>,
    ) -> impl Future<Output = Result<Vec<Vec<Arc<SignedRecord>>>, DiskError>> + Send;

    /// Makes `changes` durable, in their order, all or none. Refused as
    /// [`DiskError::Full`] if the sealed bytes of records would outgrow the room;
    /// deletions never are.
    fn apply(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// A small value.
    fn get(&self, key: StateKey)
    -> impl Future<Output = Result<Option<Vec<u8>>, DiskError>> + Send;

    /// All small values whose key begins with `prefix`, in key order, at most `limit`.
    fn scan(
        &self,
        prefix: StateKey,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(StateKey, Bytes)>, DiskError>> + Send;

    /// Room used and offered.
    fn usage(&self) -> Usage;
}

/// A disk that several share, such as a node and the test that watches it.
impl<D: Disk> Disk for Arc<D> {
    fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> impl Future<Output = Result<(), DiskError>> + Send {
        self.as_ref().store(head, state, body)
    }

    fn shard(
        &self,
        key: ShardKey,
    ) -> impl Future<Output = Result<Option<StoredShard>, DiskError>> + Send {
        self.as_ref().shard(key)
    }

    fn read(
        &self,
        key: ShardKey,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Body, DiskError>> + Send {
        self.as_ref().read(key, range)
    }

    fn indices(
        &self,
        stripe: StripeId,
    ) -> impl Future<Output = Result<Vec<ShardIndex>, DiskError>> + Send {
        self.as_ref().indices(stripe)
    }

    fn holds(
        &self,
        locator: Locator,
    ) -> impl Future<Output = Result<Option<PairId>, DiskError>> + Send {
        self.as_ref().holds(locator)
    }

    fn shards_after(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(ShardKey, StoredShard)>, DiskError>> + Send {
        self.as_ref().shards_after(after, limit)
    }

    fn files_after(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<FileId>, DiskError>> + Send {
        self.as_ref().files_after(after, limit)
    }

    fn records_after(
        &self,
        after: Option<RecordKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RecordKey>, DiskError>> + Send {
        self.as_ref().records_after(after, limit)
    }

    fn records(
        &self,
        keys: Vec<RecordKey>,
    ) -> impl Future<Output = Result<Vec<Vec<Arc<SignedRecord>>>, DiskError>> + Send {
        self.as_ref().records(keys)
    }

    fn apply(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), DiskError>> + Send {
        self.as_ref().apply(changes)
    }

    fn get(
        &self,
        key: StateKey,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, DiskError>> + Send {
        self.as_ref().get(key)
    }

    fn scan(
        &self,
        prefix: StateKey,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(StateKey, Bytes)>, DiskError>> + Send {
        self.as_ref().scan(prefix, limit)
    }

    fn usage(&self) -> Usage {
        self.as_ref().usage()
    }
}
