//! Places a sealed stripe and carries its shards to their pairs, until each has the
//! receipts of both members. A pair that can't take its shard is replaced by another.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{PairId, ShardIndex, SliceNo, StripeId};
use defs_core::manifest::SliceEntry;
use defs_core::message::{Reason, Request, Response, StoreShard};
use defs_core::port::CallError;
use defs_core::receipt::Kept;
use defs_core::statement::Signed;
use defs_core::stripe::{ShardHead, StripeDescriptor, WATCHED, Watched};
use defs_telemetry::{spans, trace};
use futures::{StreamExt as _, TryStreamExt as _};
use thiserror::Error;

use super::code::{SealedSlice, SignedStripe};
use crate::directory::{Pair, Unreachable};
use crate::nodes::{AskPairError, Nodes};
use crate::place::{Held, OpenPair, TooFewPairs, spread};
use crate::ports::World;

/// How long shards are kept without a commit: a paused upload may sleep a night.
pub(crate) const LEASE: Duration = Duration::from_hours(24);

/// Shards of a stripe on their way at once: enough for ten pairs and a tail, few enough
/// that a pair isn't asked for two at a time while others wait.
const SHARDS_IN_FLIGHT: usize = 16;

/// Pairs that are tried for one shard.
const PAIRS_TRIED: u32 = 12;

/// Why a stripe was not stored.
#[derive(Debug, Clone, Error)]
pub enum CarryError {
    /// No network to place it in.
    #[error("failed to place slice {slice}")]
    NoTable {
        /// The slice.
        slice: SliceNo,
        /// Why.
        source: Unreachable,
    },
    /// Not enough open pairs.
    #[error("failed to place slice {slice}")]
    TooFewPairs {
        /// The slice.
        slice: SliceNo,
        /// How many there are and how many are needed.
        source: TooFewPairs,
    },
    /// Every pair that was tried failed, or one refused what no other would take.
    #[error("failed to store shard {index} of slice {slice} after trying {tried} pairs")]
    Shard {
        /// The slice.
        slice: SliceNo,
        /// The shard.
        index: ShardIndex,
        /// Pairs that were tried.
        tried: u32,
        /// What the last one answered.
        source: AskPairError,
    },
}

/// Every shard of a stripe is on both disks of its pair.
#[derive(Debug)]
pub(crate) struct StoredStripe(pub(crate) SliceEntry);

/// Where the shards of a stripe go; changes when a pair fails.
struct Placement {
    slice: SliceNo,
    per_pair: usize,
    state: Mutex<PlacementState>,
}

struct PlacementState {
    pairs: Vec<PairId>,
    failed: BTreeSet<PairId>,
}

impl Placement {
    fn lock(&self) -> MutexGuard<'_, PlacementState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pair(&self, index: ShardIndex) -> PairId {
        self.lock().pairs[usize::from(index.0)]
    }

    /// The siblings that the holder of `index` watches.
    fn watched(&self, index: ShardIndex) -> Vec<Watched> {
        let state = self.lock();
        let total = state.pairs.len();
        (1..=WATCHED.min(total.saturating_sub(1)))
            .filter_map(|step| {
                let place = (usize::from(index.0) + step) % total;
                let sibling = ShardIndex(u8::try_from(place).ok()?);
                Some(Watched { index: sibling, pair: state.pairs[place] })
            })
            .collect()
    }
}

impl<W: World> Nodes<W> {
    /// Stores every shard of `stripe` on both disks of some pair.
    pub(crate) async fn carry(&self, stripe: SignedStripe) -> Result<StoredStripe, CarryError> {
        let SignedStripe { slice, descriptor, shards } = stripe;
        let per_pair = usize::from(descriptor.body.per_pair);
        let pairs = self.place(slice.number, shards.len(), per_pair, Held::new()).await?;
        let state = Mutex::new(PlacementState { pairs, failed: BTreeSet::new() });
        let placement = Placement { slice: slice.number, per_pair, state };
        let id = descriptor.body.id();
        let mut told: Vec<Option<Vec<Watched>>> = vec![None; shards.len()];
        loop {
            // Whose siblings went elsewhere meanwhile would watch a pair that hasn't got them,
            // and nobody the one that has: these are told again.
            let is_right = |place: &usize| {
                told[*place].as_ref() == Some(&placement.watched(shards[*place].index))
            };
            let open: Vec<_> = (0..shards.len()).filter(|place| !is_right(place)).collect();
            if open.is_empty() {
                break;
            }
            let carry = async |place: usize| {
                let carried = self.carry_shard(&placement, (id, &descriptor), &shards[place]);
                carried.await.map(|watched| (place, watched))
            };
            let carried = futures::stream::iter(open).map(carry);
            let carried: Vec<_> = carried.buffer_unordered(SHARDS_IN_FLIGHT).try_collect().await?;
            carried.into_iter().for_each(|(place, watched)| told[place] = Some(watched));
        }
        let SealedSlice { length, digest, salt, .. } = slice;
        let pairs = placement.lock().pairs.clone();
        Ok(StoredStripe(SliceEntry { length, digest, salt, stripe: id, pairs }))
    }

    /// Stores one shard, and says which siblings its holder was told to watch.
    async fn carry_shard(
        &self,
        placement: &Placement,
        (stripe, descriptor): (StripeId, &Signed<StripeDescriptor>),
        shard: &defs_codec::SealedShard,
    ) -> Result<Vec<Watched>, CarryError> {
        let (index, slice) = (shard.index, placement.slice);
        let mut tried = 1;
        loop {
            let pair = placement.pair(index);
            let watched = placement.watched(index);
            let head = Arc::new(ShardHead {
                descriptor: descriptor.clone(),
                index,
                share: *shard.share.bytes,
                watched: watched.clone(),
            });
            let kept = Kept::Shard(stripe, index);
            let span = spans::shard_send(slice.0, index.0, pair);
            let storing = self.store_at(pair, kept, head, shard.bytes.clone());
            let Err(source) = trace::within(span, storing).await else {
                return Ok(watched);
            };
            if tried >= PAIRS_TRIED || !source.is_retryable() {
                return Err(CarryError::Shard { slice, index, tried, source });
            }
            tracing::debug!(%slice, %index, %pair,
                error = &source as &dyn std::error::Error, "shard not kept");
            // A pair that is busy takes the next shard again.
            if source.reason() != Some(Reason::Busy) {
                self.directory.avoid(pair, source.reason() == Some(Reason::Full));
            }
            self.place_again(placement, index, pair, tried).await?;
            tried += 1;
        }
    }

    /// One shard to one pair, proven by both receipts.
    async fn store_at(
        &self,
        pair: PairId,
        kept: Kept,
        head: Arc<ShardHead>,
        bytes: Bytes,
    ) -> Result<(), AskPairError> {
        let record = self.pair(pair).await?;
        let store = StoreShard {
            head,
            pair,
            epoch: record.epoch,
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
        };
        let request = Request::StoreShard(store);
        let answer = self.links.call(record.primary(), request, Body::whole(bytes)).await;
        match answer.map_err(|source| AskPairError::Call { pair, source })?.response {
            Response::Receipts(receipts) => self.check_receipts(&record, kept, &receipts),
            _ => {
                let source = CallError::Protocol {
                    to: record.primary(),
                    why: "receipts were asked for and something else answered".to_owned(),
                };
                Err(AskPairError::Call { pair, source })
            }
        }
    }

    /// Gives a shard whose pair failed to another pair, which holds no more of the stripe
    /// than it may.
    async fn place_again(
        &self,
        placement: &Placement,
        index: ShardIndex,
        failed: PairId,
        tried: u32,
    ) -> Result<(), CarryError> {
        let mut held = Held::new();
        {
            let mut state = placement.lock();
            state.failed.insert(failed);
            let others = state.pairs.iter().enumerate();
            for (_, pair) in others.filter(|(place, _)| *place != usize::from(index.0)) {
                *held.entry(*pair).or_default() += 1;
            }
            // A pair that failed gets no more of this stripe, whatever it holds.
            for pair in &state.failed {
                held.insert(*pair, placement.per_pair);
            }
        }
        // Its epoch may be newer than the table; and others may have become open.
        if let Err(error) = self.directory.refresh().await {
            tracing::debug!(error = &error as &dyn std::error::Error, "no fresh table");
        }
        let placed = self.place(placement.slice, 1, placement.per_pair, held).await;
        let pair = match placed {
            Ok(pairs) => pairs.first().copied(),
            Err(CarryError::TooFewPairs { .. }) if tried < PAIRS_TRIED / 2 => None,
            Err(error) => return Err(error),
        };
        match pair {
            Some(pair) => placement.lock().pairs[usize::from(index.0)] = pair,
            // Nowhere else to go now: the failed ones get another chance after a wait.
            None => {
                placement.lock().failed.clear();
                self.wait_before(tried).await;
            }
        }
        Ok(())
    }

    async fn place(
        &self,
        slice: SliceNo,
        shards: usize,
        per_pair: usize,
        held: Held,
    ) -> Result<Vec<PairId>, CarryError> {
        let view = self.directory.fresh().await;
        let view = view.map_err(|source| CarryError::NoTable { slice, source })?;
        let open = self.directory.open_pairs(&view);
        let candidate = |(id, pair): (PairId, Pair)| OpenPair {
            id,
            weight: pair.free,
            zone: pair.labels.map(|labels| labels.zone).join("/"),
        };
        let mut pairs: Vec<_> = open.first.into_iter().map(candidate).collect();
        if let Ok(placed) = spread(shards, per_pair, &pairs, held.clone(), |bound| self.draw(bound))
        {
            return Ok(placed);
        }
        pairs.extend(open.last.into_iter().map(candidate));
        let placed = spread(shards, per_pair, &pairs, held, |bound| self.draw(bound));
        placed.map_err(|source| {
            let source = TooFewPairs { full: open.full, ..source };
            CarryError::TooFewPairs { slice, source }
        })
    }
}
