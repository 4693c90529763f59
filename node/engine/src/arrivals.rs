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

    /// Claims a shard, unless somebody else has: with the claim, what of its stripe was claimed
    /// before.
    pub(crate) fn claim(&self, key: ShardKey) -> Option<(Claim<'_>, BTreeSet<ShardIndex>)> {
        let mut claimed = self.lock();
        let coming = claimed.entry(key.stripe).or_default();
        let before = coming.clone();
        coming.insert(key.index).then(|| (Claim { arrivals: self, key }, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u8) -> ShardKey {
        ShardKey { stripe: StripeId([1; 32]), index: ShardIndex(index) }
    }

    fn set(indices: &[u8]) -> BTreeSet<ShardIndex> {
        indices.iter().copied().map(ShardIndex).collect()
    }

    #[test]
    fn a_shard_is_claimed_once_until_its_claim_ends() {
        let arrivals = Arrivals::default();
        let claim = arrivals.claim(key(1)).unwrap();
        assert!(arrivals.claim(key(1)).is_none());
        assert!(arrivals.claim(key(1)).is_none(), "and it stays claimed");
        let other = arrivals.claim(key(2)).unwrap();
        assert_eq!((claim.1.clone(), other.1.clone()), (set(&[]), set(&[1])));
        drop(claim);
        assert_eq!(arrivals.claim(key(1)).unwrap().1, set(&[2]));
        drop(other);
        assert!(arrivals.lock().is_empty());
    }
}
