//! What the owner says of stored stripes: hold them longer, keep them, delete them. Asked
//! of every pair that holds a shard, in batches.

use std::collections::{BTreeMap, BTreeSet};

use defs_core::ids::{PairId, ShardIndex, StripeId};
use defs_core::manifest::SliceEntry;
use defs_core::message::{BATCH_ITEMS_MAX, KeepStripe, Request, Response, ShardKey};
use defs_core::statement::{Commit, Signed, Tombstone};
use defs_identity::sign_statements;
use futures::StreamExt as _;

use super::carry::LEASE;
use crate::keys::FileLock;
use crate::nodes::{AskPairError, Nodes};
use crate::ports::World;

/// Tries at one pair before its answer counts as "no".
const TRIES: u32 = 4;

/// Pairs that are asked at once.
const PAIRS_AT_ONCE: usize = 16;

/// What the pairs said of stripes: those that some pair doesn't hold as asked, each with
/// the last error, if there was one.
pub(crate) type Unheld = BTreeMap<StripeId, Option<AskPairError>>;

impl<W: World> Nodes<W> {
    /// Renews the leases of all shards of `slices` at both members.
    pub(crate) async fn renew(&self, lock: &FileLock, slices: &[SliceEntry]) -> Unheld {
        let keys = by_pair(slices.iter().flat_map(|slice| {
            let stripe = slice.stripe;
            let keys = (0_u8..).map(move |index| ShardKey { stripe, index: ShardIndex(index) });
            slice.pairs.iter().copied().zip(keys)
        }));
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let asks = batches(keys).map(|(pair, shards)| async move {
            let request = Request::Renew { shards: shards.clone(), lease_ms, both: true };
            let stripes: Vec<_> = shards.iter().map(|key| key.stripe).collect();
            self.held(pair, Some(lock), stripes, request).await
        });
        unheld(asks).await
    }

    /// Tells every holder that the stripes belong to a finished file.
    pub(crate) async fn commit(&self, lock: &FileLock, slices: &[SliceEntry]) -> Unheld {
        let commits = slices.iter().map(|slice| Commit { stripe: slice.stripe }).collect();
        let signed = sign_statements(&lock.key, &self.links.network(), commits);
        let keep = by_pair(slices.iter().zip(signed).flat_map(|(slice, commit)| {
            let keep =
                move |(pair, indices)| (pair, KeepStripe { commit: commit.clone(), indices });
            by_pair(slice.pairs.iter().copied().zip((0_u8..).map(ShardIndex))).into_iter().map(keep)
        }));
        let asks = batches(keep).map(|(pair, stripes)| async move {
            let ids: Vec<_> = stripes.iter().map(|one| one.commit.body.stripe).collect();
            self.held(pair, None, ids, Request::Commit { stripes, both: true }).await
        });
        unheld(asks).await
    }

    /// Tells every holder to delete the stripes. A pair that can't be reached is told by
    /// its siblings; those are returned.
    pub(crate) async fn delete(&self, lock: &FileLock, slices: &[SliceEntry]) -> Unheld {
        let stones = slices.iter().map(|slice| Tombstone { stripe: slice.stripe }).collect();
        let signed = sign_statements(&lock.key, &self.links.network(), stones);
        let asks = batches(by_holder(slices, &signed)).map(|(pair, tombstones)| async move {
            let stripes: Vec<_> = tombstones.iter().map(|stone| stone.body.stripe).collect();
            self.held(pair, None, stripes, Request::Delete { tombstones, both: true }).await
        });
        unheld(asks).await
    }

    /// Asks one pair, again while that may help. Which of `stripes` it doesn't hold.
    async fn held(
        &self,
        pair: PairId,
        lock: Option<&FileLock>,
        stripes: Vec<StripeId>,
        request: Request,
    ) -> Unheld {
        let mut attempt = 1;
        loop {
            match self.ask_primary(pair, lock, |_at| request.clone()).await {
                Ok((Response::Done, _)) => return Unheld::new(),
                Ok((Response::Held(held), _)) if held.len() == stripes.len() => {
                    let missing = stripes.into_iter().zip(held).filter(|(_, held)| !held);
                    return missing.map(|(stripe, _)| (stripe, None)).collect();
                }
                Ok(_) => {
                    let error =
                        AskPairError::Proof { pair, why: "it did not answer for each stripe" };
                    return stripes.into_iter().map(|one| (one, Some(error.clone()))).collect();
                }
                Err(error) if attempt >= TRIES || !error.is_retryable() => {
                    return stripes.into_iter().map(|one| (one, Some(error.clone()))).collect();
                }
                Err(error) => {
                    tracing::debug!(%pair, error = &error as &dyn std::error::Error, "asked again");
                    self.wait_before(attempt).await;
                    attempt += 1;
                }
            }
        }
    }
}

async fn unheld(asks: impl Iterator<Item = impl Future<Output = Unheld>>) -> Unheld {
    let answers = futures::stream::iter(asks).buffer_unordered(PAIRS_AT_ONCE);
    answers
        .fold(Unheld::new(), |mut all, some| async move {
            all.extend(some);
            all
        })
        .await
}

fn by_pair<T>(items: impl Iterator<Item = (PairId, T)>) -> BTreeMap<PairId, Vec<T>> {
    items.fold(BTreeMap::new(), |mut pairs, (pair, item)| {
        pairs.entry(pair).or_insert_with(Vec::new).push(item);
        pairs
    })
}

/// Each statement once for each pair that holds a shard of its stripe.
fn by_holder<T: Clone>(
    slices: &[SliceEntry],
    signed: &[Signed<T>],
) -> BTreeMap<PairId, Vec<Signed<T>>> {
    by_pair(slices.iter().zip(signed).flat_map(|(slice, statement)| {
        let holders: BTreeSet<_> = slice.pairs.iter().copied().collect();
        holders.into_iter().map(|pair| (pair, statement.clone()))
    }))
}

fn batches<T: Clone>(pairs: BTreeMap<PairId, Vec<T>>) -> impl Iterator<Item = (PairId, Vec<T>)> {
    pairs.into_iter().flat_map(|(pair, items)| {
        let parts: Vec<_> = items.chunks(BATCH_ITEMS_MAX).map(<[T]>::to_vec).collect();
        parts.into_iter().map(move |part| (pair, part))
    })
}
