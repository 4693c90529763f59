//! Shards on their way in, and those that are just being taken over or removed: one at a time
//! has to do with each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use defs_core::ids::{ShardIndex, StripeId};
use defs_core::message::ShardKey;

/// The shards that somebody has to do with.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<BTreeMap<StripeId, BTreeSet<ShardIndex>>>);

/// As long as it lives nobody else has to do with its shard.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    arrivals: &'a Arrivals,
    pub(crate) key: ShardKey,
}

/// Why a shard is not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// Somebody has to do with it just now.
    Taken,
    /// There would be too many of its stripe.
    TooMany,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claimed = self.arrivals.lock();
        if let Some(indices) = claimed.get_mut(&self.key.stripe) {
            indices.remove(&self.key.index);
            if indices.is_empty() {
                claimed.remove(&self.key.stripe);
            }
        }
    }
}

impl Arrivals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StripeId, BTreeSet<ShardIndex>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a shard, unless somebody else has.
    pub(crate) fn claim(&self, key: ShardKey) -> Result<Claim<'_>, Unclaimed> {
        self.claim_within(key, BTreeSet::new(), usize::MAX)
    }

    /// Claims a shard that is to come in, unless with those `held` and those on their way there
    /// would be more than `bound` of its stripe.
    pub(crate) fn claim_within(
        &self,
        key: ShardKey,
        held: BTreeSet<ShardIndex>,
        bound: usize,
    ) -> Result<Claim<'_>, Unclaimed> {
        let mut claimed = self.lock();
        let coming = claimed.get(&key.stripe);
        if coming.is_some_and(|coming| coming.contains(&key.index)) {
            return Err(Unclaimed::Taken);
        }
        let mut all = held;
        all.extend(coming.into_iter().flatten().copied());
        all.insert(key.index);
        if all.len() > bound {
            return Err(Unclaimed::TooMany);
        }
        claimed.entry(key.stripe).or_default().insert(key.index);
        Ok(Claim { arrivals: self, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u8) -> ShardKey {
        ShardKey { stripe: StripeId([1; 32]), index: ShardIndex(index) }
    }

    #[test]
    fn a_shard_is_claimed_once_until_its_claim_ends() {
        let arrivals = Arrivals::default();
        let claim = arrivals.claim(key(1)).unwrap();
        assert_eq!(arrivals.claim(key(1)).unwrap_err(), Unclaimed::Taken);
        assert_eq!(arrivals.claim(key(1)).unwrap_err(), Unclaimed::Taken, "and it stays claimed");
        let other = arrivals.claim(key(2)).unwrap();
        drop(claim);
        assert!(arrivals.claim(key(1)).is_ok());
        drop(other);
        assert!(arrivals.lock().is_empty());
    }

    #[test]
    fn those_held_and_those_on_their_way_count_together() {
        let arrivals = Arrivals::default();
        let held = BTreeSet::from([ShardIndex(0)]);
        let first = arrivals.claim_within(key(1), held.clone(), 2).unwrap();
        let refused = arrivals.claim_within(key(2), held.clone(), 2).unwrap_err();
        assert_eq!(refused, Unclaimed::TooMany);
        drop(first);
        assert!(arrivals.claim_within(key(2), held.clone(), 2).is_ok());
        assert!(arrivals.claim_within(key(0), held, 1).is_ok(), "it is held already");
    }
}
