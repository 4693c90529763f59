//! Shards that two pairs keep: both rebuilt them at once, each before it heard of the other.
//! They take room, and places that missing shards of their stripe may need, as a pair holds
//! only so many of one. Of those who keep one, the pair with the lowest id goes on, and every
//! other gives its own away to that one, so that nobody gives in a circle.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::message::{Refusal, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{Clock, Disk};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::even_out::Gift;
use crate::heal::rebuild::{Census, Need, again_after};
use crate::refuse::disk_refusal;

/// Shards that are looked at, at most: what is not heard of stays twice, and harms little.
const DOUBLES_MAX: usize = 4096;

/// Shards of which notes have named more than one pair.
#[derive(Debug, Default)]
pub(crate) struct Doubles(Mutex<BTreeMap<ShardKey, Tries>>);

#[derive(Debug, Default)]
struct Tries {
    failed: u32,
    again_at: Duration,
}

impl Doubles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ShardKey, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, key: ShardKey) {
        let mut doubles = self.lock();
        if doubles.len() < DOUBLES_MAX {
            doubles.entry(key).or_default();
        }
    }

    fn due(&self, now: Duration) -> Vec<ShardKey> {
        let doubles = self.lock();
        let due = doubles.iter().filter(|(_, tries)| tries.again_at <= now);
        due.map(|(key, _)| *key).collect()
    }

    fn tried(&self, key: ShardKey, is_over: bool, now: Duration) {
        let mut doubles = self.lock();
        if is_over {
            doubles.remove(&key);
        } else if let Some(tries) = doubles.get_mut(&key) {
            tries.again_at = now.saturating_add(again_after(tries.failed));
            tries.failed = tries.failed.saturating_add(1);
        }
    }
}

impl<W: World> Engine<W> {
    /// One pass: what this node's pair has, and another one keeps, goes there.
    pub(crate) async fn give_doubles(&self) {
        let due = self.doubles.due(self.clock.elapsed());
        if due.is_empty() {
            return;
        }
        let Some(own) = self.whole_pair_led() else {
            // Its primary gives for a pair.
            if self.membership.own_pair().is_none_or(|own| own.record.primary() != self.me) {
                self.doubles.lock().clear();
            }
            return;
        };
        for key in due {
            let is_over = self.give_double(&own, key).await.unwrap_or_else(|refusal| {
                tracing::debug!(stripe = %key.stripe, index = %key.index, %refusal,
                    "a shard that another pair keeps was not given to it");
                false
            });
            self.doubles.tried(key, is_over, self.clock.elapsed());
        }
    }

    /// Whether there is nothing to do for `key` any more.
    async fn give_double(&self, own: &PairRecord, key: ShardKey) -> Result<bool, Refusal> {
        let Some(stored) = self.disk.shard(key).await.map_err(disk_refusal)? else {
            return Ok(true);
        };
        let census = self.census(&Need::nothing_lost(key, &stored), &stored).await?;
        let Some(to) = census.keeper(key.index).filter(|keeper| *keeper != own.pair) else {
            return Ok(true);
        };
        let gift = Gift { key, stored: &stored, own, to };
        if census.is_deleted || !gift.is_giveable() {
            return Ok(true);
        }
        if !self.is_at_rest(&gift, &census) {
            return Ok(false);
        }
        self.note_begun(gift).await?;
        self.hand_over(gift, &census).await?;
        tracing::info!(stripe = %key.stripe, index = %key.index, %to,
            "a shard that another pair keeps too was given up");
        Ok(true)
    }

    /// Whether nobody can be about to place a shard of the stripe, which would watch the given
    /// one where it was: all answer, and what is missing finds no place.
    pub(crate) fn is_at_rest(&self, gift: &Gift<'_>, census: &Census) -> bool {
        let descriptor = &gift.stored.head.descriptor.body;
        let finds_place = || !self.placement(descriptor, census).places.is_empty();
        census.silent == 0 && (census.missing.is_empty() || !finds_place())
    }
}
