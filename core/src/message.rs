//! What peers say to each other, as the logic sees it; wire turns it into bytes.
//!
//! Every exchange is one request and one response, either of which may be followed by a
//! [`Body`](crate::body::Body) of raw bytes.

use std::ops::Range;
use std::sync::Arc;

use crate::format::Format;
use crate::ids::{Digest, Epoch, Locator, NetworkId, NodeId, PairId, ShardIndex, StripeId};
use crate::moved::MovedNotes;
use crate::network::{Genesis, SignedCard, SignedPairRecord};
use crate::reading::Reading;
use crate::receipt::SignedReceipt;
use crate::record::{RecordKey, SignedRecord};
use crate::statement::{Commit, Session, Signed, Tombstone};
use crate::stripe::{ShardHead, Watched};
use crate::trace::TraceContext;
use crate::wish::SignedWish;

/// The most items of a batch request.
pub const BATCH_ITEMS_MAX: usize = 256;

/// The largest encoded message without its body: a batch of two of the largest records.
pub const MESSAGE_MAX: usize = 1 << 20;

/// The most bytes of cards and pair records in one part of a [`Table`], but for the last
/// entry that is over it.
pub const TABLE_PART: usize = MESSAGE_MAX / 2;

/// The largest frame of a body.
pub const FRAME_MAX: usize = 256 << 10;

/// The wire version spoken here; a peer may be one behind.
pub const WIRE_VERSION: u32 = 1;

/// Names a shard at a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The stripe.
    pub stripe: StripeId,
    /// The shard's place in it.
    pub index: ShardIndex,
}

/// First message on every connection, in each direction that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Peers of another network are refused.
    pub network: NetworkId,
    /// The newest wire version spoken.
    pub version: u32,
}

/// A shard offered to a pair: to its primary by the owner, to its mirror by the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreShard {
    /// What is kept beside the bytes. The body holds exactly the sealed bytes.
    pub head: Arc<ShardHead>,
    /// For which pair.
    pub pair: PairId,
    /// In which epoch; another one than the node's is refused.
    pub epoch: Epoch,
    /// How long to keep it without a commit.
    pub lease_ms: u64,
}

/// A stripe whose shards at one pair are to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepStripe {
    /// The owner's word for the stripe.
    pub commit: Signed<Commit>,
    /// The shards that the asker believes to be at the pair, which are kept from now on: the
    /// stripe counts as held if all of them are there.
    pub indices: Vec<ShardIndex>,
}

/// Sealed bytes of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadShard {
    /// Which shard.
    pub key: ShardKey,
    /// Which of its sealed bytes; `None`: all.
    pub range: Option<Range<u64>>,
}

/// What two members of a pair compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// Shards and whether they are committed; named by [`ShardKey`].
    Shard,
    /// Records with all their heads; named by [`RecordKey`].
    Record,
    /// Tombstones of stripes; named by the stripe.
    Tombstone,
    /// Promises that a pair stands in for a lost one; named by record key and lost pair, and
    /// for the digest the pair that stands in.
    StandIn,
}

impl ItemKind {
    /// All kinds, tombstones first: what was deleted is not copied. Promises come before
    /// records, since they say which records belong here.
    pub const ALL: [Self; 4] = [Self::Tombstone, Self::StandIn, Self::Record, Self::Shard];
}

/// The longest prefix of a [`Request::Summary`]: beyond four bytes items are listed,
/// however many they are.
pub const SUMMARY_PREFIX_MAX: usize = 4;

/// The parts into which a summary splits what begins with its prefix: one a next byte.
pub const SUMMARY_PARTS: usize = 256;

/// The longest name of an item: a file, a record key and a pair.
pub const ITEM_NAME_MAX: usize = 32 + 38 + 16;

/// One item of a summary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its canonical name.
    pub name: Vec<u8>,
    /// A digest of all that two members must agree on.
    pub digest: [u8; 16],
}

/// What a member holds of one kind under a prefix of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Summary {
    /// At most [`BATCH_ITEMS_MAX`], unless the prefix is the longest: all there are.
    Items(Vec<Item>),
    /// [`SUMMARY_PARTS`] digests over what begins with the prefix and one more byte.
    Parts(Vec<[u8; 16]>),
}

/// What a peer asks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Agree on network and version; answered by [`Response::Hello`].
    Hello(Hello),
    /// Open a session for this connection; answered by [`Response::Done`].
    OpenSession(Box<Signed<Session>>),
    /// Store a shard at both members; answered by [`Response::Receipts`].
    StoreShard(StoreShard),
    /// Store a shard as mirror; from the partner only; answered by [`Response::Receipts`].
    MirrorShard(StoreShard),
    /// Answered by [`Response::Shard`] and a body.
    ReadShard(ReadShard),
    /// Extend leases at this node and its partner; answered by [`Response::Held`].
    Renew {
        /// At most [`BATCH_ITEMS_MAX`].
        shards: Vec<ShardKey>,
        /// From now.
        lease_ms: u64,
        /// Whether to ask the partner too.
        both: bool,
    },
    /// Keep these stripes' shards; answered by [`Response::Held`].
    Commit {
        /// At most [`BATCH_ITEMS_MAX`].
        stripes: Vec<KeepStripe>,
        /// Whether to ask the partner too.
        both: bool,
    },
    /// Delete these stripes' shards; answered by [`Response::Done`].
    Delete {
        /// At most [`BATCH_ITEMS_MAX`].
        tombstones: Vec<Signed<Tombstone>>,
        /// Whether to ask the partner too.
        both: bool,
    },
    /// Write versions of records at both members; answered by [`Response::Written`].
    WriteRecords {
        /// For which pair.
        pair: PairId,
        /// In which epoch.
        epoch: Epoch,
        /// At most [`BATCH_ITEMS_MAX`] and [`MESSAGE_MAX`] together.
        records: Vec<Arc<SignedRecord>>,
        /// Whether this comes from the owner (and goes on to the partner) or from the partner.
        forward: bool,
    },
    /// Answered by [`Response::Records`].
    ReadRecords {
        /// At most [`BATCH_ITEMS_MAX`].
        keys: Vec<RecordKey>,
    },
    /// What this node holds of a stripe; from admitted nodes only; answered by
    /// [`Response::Stripe`].
    StripeStatus {
        /// Which stripe.
        stripe: StripeId,
    },
    /// What this node knows of the network; answered by [`Response::Table`].
    Table {
        /// From which entry on: 0, or [`Table::next`] of the part before.
        from: u32,
    },
    /// Sign epoch 1 of a new pair with the asker; answered by [`Response::Pair`].
    Propose(Box<SignedPairRecord>),
    /// "I live"; between partners; answered by [`Response::Alive`].
    Heartbeat {
        /// The pair.
        pair: PairId,
        /// The epoch in which the sender is a member.
        epoch: Epoch,
    },
    /// Who holds what `locator` names? The node broadcasts for the asker; answered by
    /// [`Response::Located`].
    Locate {
        /// Of a file or stripe.
        locator: Locator,
    },
    /// The direct answer to a broadcast; answered by [`Response::Done`].
    Found {
        /// What was asked for.
        locator: Locator,
        /// The broadcast's number.
        query: u64,
        /// A pair that holds it.
        pair: PairId,
    },
    /// "Are you there?"; answered by [`Response::Alive`].
    Ping,
    /// As a witness: do you reach `node`? From members of pairs only; answered by
    /// [`Response::Reached`].
    Probe {
        /// Who is silent.
        node: NodeId,
    },
    /// As a witness: is this still the pair's newest epoch? Answered by [`Response::Done`],
    /// or refused as [`Reason::WrongEpoch`] once a successor was signed.
    Confirm {
        /// The pair.
        pair: PairId,
        /// The epoch in which the asker is a member.
        epoch: Epoch,
    },
    /// The records of a pair's epochs after `after`, oldest first; answered by
    /// [`Response::History`].
    History {
        /// The pair.
        pair: PairId,
        /// 0: from the first.
        after: Epoch,
    },
    /// What the partner holds; between members; answered by [`Response::Summary`].
    Summary {
        /// The pair.
        pair: PairId,
        /// In which epoch the asker is a member.
        epoch: Epoch,
        /// Of what.
        kind: ItemKind,
        /// Of names that begin so; at most [`SUMMARY_PREFIX_MAX`] bytes.
        prefix: Vec<u8>,
    },
    /// A shard with all that is kept beside it; between members; answered by
    /// [`Response::Copy`] and a body.
    CopyShard {
        /// The pair.
        pair: PairId,
        /// In which epoch the asker is a member.
        epoch: Epoch,
        /// Which shard.
        key: ShardKey,
    },
    /// All heads of records; between members; answered by [`Response::Records`].
    CopyRecords {
        /// The pair.
        pair: PairId,
        /// In which epoch the asker is a member.
        epoch: Epoch,
        /// At most [`BATCH_ITEMS_MAX`].
        keys: Vec<RecordKey>,
    },
    /// Between members; answered by [`Response::Tombstones`].
    CopyTombstones {
        /// The pair.
        pair: PairId,
        /// In which epoch the asker is a member.
        epoch: Epoch,
        /// At most [`BATCH_ITEMS_MAX`].
        stripes: Vec<StripeId>,
    },
    /// A shard and its share, to rebuild lost siblings; answered by [`Response::Released`]
    /// and a body, if the asked node itself holds the pairs of `lost` to be lost.
    Release {
        /// Which shard.
        key: ShardKey,
        /// The siblings that are to be rebuilt, and where they were.
        lost: Vec<Watched>,
    },
    /// Promise, durably, that what is written of these records from now on reaches the pair
    /// that stands in for a lost one of their sets; from a member of another pair of the set,
    /// or from the partner; answered by [`Response::Records`]: their heads after the promise.
    StandIn {
        /// At most [`BATCH_ITEMS_MAX`].
        keys: Vec<RecordKey>,
        /// The pair that is lost.
        lost: PairId,
        /// The pair that stands in for it.
        by: PairId,
        /// Whether to ask the partner too.
        both: bool,
    },
    /// Keep versions of records in the place of a lost pair of their sets, at both members;
    /// from a member of another pair of the set; answered by [`Response::Written`].
    TakeRecords {
        /// For which pair.
        pair: PairId,
        /// In which epoch.
        epoch: Epoch,
        /// For which it stands in.
        lost: PairId,
        /// At most [`BATCH_ITEMS_MAX`] and [`MESSAGE_MAX`] together.
        records: Vec<Arc<SignedRecord>>,
        /// Whether this goes on to the partner.
        forward: bool,
    },
    /// Shards that the caller's pair has given to others: whoever watches them there is to
    /// watch them at their new pairs, and the caller's partner keeps them for these; answered by
    /// [`Response::Held`], for each whether that is on the disk.
    Moved(Box<MovedNotes>),
    /// A digest that only a holder of the bytes can answer; from admitted nodes only;
    /// answered by [`Response::Proof`].
    Challenge {
        /// Of which shard.
        key: ShardKey,
        /// Fresh: an old answer is none.
        nonce: [u8; 32],
        /// Of its sealed bytes.
        range: Range<u64>,
    },
    /// What this node has measured of others; from admitted nodes only; answered by
    /// [`Response::Readings`].
    Readings {
        /// Of nodes whose ids are higher than this one; `None`: from the lowest.
        after: Option<NodeId>,
    },
}

/// What became of one item of a batch.
pub type ItemResult<T> = Result<T, Refusal>;

impl Request {
    /// The request's name, as the protocol's messages have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::OpenSession(_) => "open_session",
            Self::StoreShard(_) => "store_shard",
            Self::MirrorShard(_) => "mirror_shard",
            Self::ReadShard(_) => "read_shard",
            Self::Renew { .. } => "renew",
            Self::Commit { .. } => "commit",
            Self::Delete { .. } => "delete",
            Self::WriteRecords { .. } => "write_records",
            Self::ReadRecords { .. } => "read_records",
            Self::StripeStatus { .. } => "stripe_status",
            Self::Table { .. } => "table",
            Self::Propose(_) => "propose",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Locate { .. } => "locate",
            Self::Found { .. } => "found",
            Self::Ping => "ping",
            Self::Probe { .. } => "probe",
            Self::Confirm { .. } => "confirm",
            Self::History { .. } => "history",
            Self::Summary { .. } => "summary",
            Self::CopyShard { .. } => "copy_shard",
            Self::CopyRecords { .. } => "copy_records",
            Self::CopyTombstones { .. } => "copy_tombstones",
            Self::Release { .. } => "release",
            Self::StandIn { .. } => "stand_in",
            Self::TakeRecords { .. } => "take_records",
            Self::Moved(_) => "moved",
            Self::Challenge { .. } => "challenge",
            Self::Readings { .. } => "readings",
        }
    }
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Hello`].
    Hello {
        /// The network, so that a new client can check it.
        genesis: Genesis,
        /// The wire version that both will speak.
        version: u32,
        /// Fresh for this connection: sessions sign it.
        challenge: [u8; 32],
    },
    /// It is done, and durable where durability was asked for.
    Done,
    /// Durable at both members: the primary's receipt, then the mirror's (the mirror's
    /// alone to [`Request::MirrorShard`]).
    Receipts(Vec<SignedReceipt>),
    /// The body follows.
    Shard {
        /// Sealed bytes of the whole shard.
        length: u64,
    },
    /// For each item, whether it is held as asked by all that were asked.
    Held(Vec<bool>),
    /// For each record its receipts, or why it was refused.
    Written(Vec<ItemResult<Vec<SignedReceipt>>>),
    /// For each key the heads known here (none: unknown).
    Records(Vec<ItemResult<Vec<Arc<SignedRecord>>>>),
    /// To [`Request::StripeStatus`].
    Stripe {
        /// The indices held here.
        indices: Vec<ShardIndex>,
        /// The owner's commit, if it is known here.
        commit: Option<Signed<Commit>>,
        /// The owner's word that it is deleted, if it is known here.
        tombstone: Option<Signed<Tombstone>>,
    },
    /// To [`Request::Table`].
    Table(Box<Table>),
    /// The record with the answering node's signature added.
    Pair(Box<SignedPairRecord>),
    /// To [`Request::Heartbeat`].
    Alive,
    /// To [`Request::Locate`].
    Located(Located),
    /// To [`Request::Probe`].
    Reached(bool),
    /// To [`Request::History`]: at most [`HISTORY_MAX`], each the successor of the one before.
    History(Vec<SignedPairRecord>),
    /// To [`Request::Summary`].
    Summary(Summary),
    /// To [`Request::CopyShard`]; the sealed bytes follow.
    Copy(Box<ShardCopy>),
    /// To [`Request::CopyTombstones`]: those of the stripes asked for that are known here.
    Tombstones(Vec<Signed<Tombstone>>),
    /// To [`Request::Release`]; the sealed bytes follow.
    Released {
        /// This index's share of the stripe secret.
        share: [u8; 32],
    },
    /// To [`Request::Challenge`].
    Proof(Digest),
    /// To [`Request::Readings`]: at most [`READINGS_MAX`](crate::reading::READINGS_MAX), in the
    /// order of their nodes; fewer, and there are no more.
    Readings(Vec<Reading>),
    /// The request was refused; nothing was done.
    Refused(Refusal),
}

/// The most epochs in one answer.
pub const HISTORY_MAX: usize = 64;

/// What a member keeps of a shard, as the other one takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCopy {
    /// What came with the shard.
    pub head: Arc<ShardHead>,
    /// How long it is still kept without a commit.
    pub lease_ms: u64,
    /// The owner's word that it belongs to a finished file.
    pub commit: Option<Signed<Commit>>,
}

/// A pair as a node sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairView {
    /// Signed by its members.
    pub record: SignedPairRecord,
    /// Whether each member answered within the suspicion time.
    pub alive: [bool; 2],
}

/// What a node knows of the network, or a part of it: first cards, then pairs. Parts of a
/// table that changes meanwhile may miss an entry, never invent one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The newest card of each admitted node.
    pub cards: Vec<SignedCard>,
    /// The newest record of each pair.
    pub pairs: Vec<PairView>,
    /// Where the next part begins; `None`: this is the last.
    pub next: Option<u32>,
}

impl Table {
    /// The part of this whole table that begins with entry `from`: as many entries as fit
    /// in [`TABLE_PART`] bytes, and one at least.
    #[must_use]
    pub fn part(self, from: u32) -> Self {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let cards = self.cards.len();
        let mut room = TABLE_PART;
        let mut fits = |length: usize| {
            let fits = room > 0;
            room = room.saturating_sub(length);
            fits
        };
        let total = cards + self.pairs.len();
        let part = Self {
            cards: self
                .cards
                .into_iter()
                .skip(from)
                .take_while(|card| fits(card.encode().len()))
                .collect(),
            pairs: self
                .pairs
                .into_iter()
                .skip(from.saturating_sub(cards))
                .take_while(|pair| fits(pair.record.encode().len()))
                .collect(),
            next: None,
        };
        let end = from.saturating_add(part.cards.len() + part.pairs.len());
        let next = (end < total).then(|| u32::try_from(end).unwrap_or(u32::MAX));
        Self { next, ..part }
    }
}

/// Which rung of the ladder found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rung {
    /// The asked node held it, or remembered who does.
    Local,
    /// A broadcast was answered.
    Broadcast,
    /// The distributed hash table knew.
    Kademlia,
    /// Nobody answered in time.
    Nowhere,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Kademlia => "kademlia",
            Self::Nowhere => "nowhere",
        })
    }
}

/// Candidates, worth nothing until bytes verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Pairs that say they hold it; at most 16.
    pub pairs: Vec<PairId>,
    /// What found them.
    pub rung: Rung,
    /// Messages that it took.
    pub messages: u32,
    /// Round trips that it took.
    pub round_trips: u32,
}

/// Why a node refused. The number is the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Reason {
    /// Another network's id.
    WrongNetwork = 1,
    /// A wire version that this node doesn't speak.
    WrongVersion = 2,
    /// A message that breaks the protocol.
    Malformed = 3,
    /// The lock was not opened: wrong key or wrong statement.
    NotAuthorised = 4,
    /// No session, or one that doesn't cover the operation.
    NoSession = 5,
    /// The session was made for another node, client or connection, or is over.
    SessionRefused = 6,
    /// This node doesn't have it.
    NotFound = 7,
    /// No room.
    Full = 8,
    /// This node is not in that pair, or in another epoch of it.
    WrongEpoch = 9,
    /// The pair's other member can't be reached: no new data now.
    Degraded = 10,
    /// The bytes are not what their name says.
    WrongBytes = 11,
    /// The pair holds as many shards of the stripe as it may.
    TooMany = 12,
    /// The object was deleted.
    Deleted = 13,
    /// A limit of this node was reached; try again later.
    Busy = 14,
    /// The asker may not ask this.
    NotAllowed = 15,
    /// The node is shutting down.
    ShuttingDown = 16,
    /// The node's disk failed on this request.
    Disk = 17,
}

impl Reason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::WrongNetwork,
        Self::WrongVersion,
        Self::Malformed,
        Self::NotAuthorised,
        Self::NoSession,
        Self::SessionRefused,
        Self::NotFound,
        Self::Full,
        Self::WrongEpoch,
        Self::Degraded,
        Self::WrongBytes,
        Self::TooMany,
        Self::Deleted,
        Self::Busy,
        Self::NotAllowed,
        Self::ShuttingDown,
        Self::Disk,
    ];

    /// Whether the same request may succeed at another pair, or here later.
    #[must_use]
    pub fn is_about_this_node(self) -> bool {
        matches!(
            self,
            Self::Full
                | Self::WrongEpoch
                | Self::Degraded
                | Self::TooMany
                | Self::Busy
                | Self::ShuttingDown
                | Self::Disk
        )
    }
}

/// A refusal with words for people. The words are never parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people; at most 512 bytes.
    pub detail: String,
}

impl Refusal {
    /// `detail` says what was asked and why it can't be.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        let end = (0..=detail.len().min(512)).rev().find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or(0));
        Self { reason, detail }
    }
}

/// What nodes tell everybody, each signed by whom it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// A node about itself (`defs/pairs/1`).
    Card(Box<SignedCard>),
    /// A pair's newest epoch (`defs/pairs/1`).
    Pair(Box<SignedPairRecord>),
    /// Who holds this? (`defs/index/1`)
    Query {
        /// Of a file or stripe.
        locator: Locator,
        /// Whom to answer, directly.
        asker: NodeId,
        /// The asker's number for this query.
        query: u64,
    },
    /// Where rebuilt shards are (`defs/index/1`).
    Moved(Box<MovedNotes>),
    /// What a person wants of a node (`defs/pairs/1`).
    Wish {
        /// Under the invite key.
        wish: Box<SignedWish>,
        /// Where it came from, so that what is done for it stands in the same trace. Nobody
        /// signs this: it changes nothing but what is recorded.
        trace: Option<TraceContext>,
    },
}

impl Gossip {
    /// By which copies of one message are recognised.
    #[must_use]
    pub fn id(&self) -> Digest {
        match self {
            Self::Card(card) => crate::digest("defs 2026 gossip card", &card.encode()),
            Self::Pair(pair) => crate::digest("defs 2026 gossip pair", &pair.encode()),
            Self::Moved(notes) => crate::digest("defs 2026 gossip moved", &notes.encode()),
            Self::Wish { wish, trace: _ } => crate::digest("defs 2026 gossip wish", &wish.encode()),
            Self::Query { locator, asker, query } => {
                let mut bytes = Vec::with_capacity(72);
                bytes.extend_from_slice(&locator.0);
                bytes.extend_from_slice(&asker.0);
                bytes.extend_from_slice(&query.to_le_bytes());
                crate::digest("defs 2026 gossip query", &bytes)
            }
        }
    }
}
