//! What a member holds, in digests: two members that hold the same learn it from one
//! exchange, and what differs is found by descending into the parts that do.

use defs_core::format::Format;
use defs_core::ids::{Epoch, FileId, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    BATCH_ITEMS_MAX, Item, ItemKind, Reason, Refusal, Response, SUMMARY_PARTS, SUMMARY_PREFIX_MAX,
    ShardKey, Summary,
};
use defs_core::network::PairRecord;
use defs_core::port::{Disk, StateKey, StoredShard};
use defs_core::record::{RecordKey, RecordKind, SignedRecord};

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, refuse};

/// Items read from the disk in one step.
const PAGE: usize = 512;

/// Items of one kind that a node compares: 20 TiB in shards of 64 KiB would be more, and are
/// then compared in part.
const ITEMS_MAX: usize = 4 << 20;

/// Tombstones of one prefix that are compared.
const TOMBSTONES_MAX: usize = 1 << 20;

impl<W: World> Engine<W> {
    /// The pair of which this node is a member in `epoch`, and `caller` is the other one or is
    /// to be.
    pub(crate) fn shared_pair(
        &self,
        caller: NodeId,
        pair: PairId,
        epoch: Epoch,
    ) -> Result<PairRecord, Refusal> {
        let own = self.own_pair_at(pair, epoch)?;
        let is_heir = || self.awaited_at(&caller).is_some_and(|awaited| awaited == own);
        if own.partner_of(&self.me) == Some(caller) || is_heir() {
            Ok(own)
        } else {
            Err(refuse(Reason::NotAllowed, "only the partner may ask that"))
        }
    }

    pub(crate) async fn summarise(
        &self,
        caller: NodeId,
        (pair, epoch): (PairId, Epoch),
        kind: ItemKind,
        prefix: &[u8],
    ) -> Result<Response, Refusal> {
        self.shared_pair(caller, pair, epoch)?;
        let items = self.items(&pair, kind, prefix).await?;
        Ok(Response::Summary(summary(items, prefix)))
    }

    /// What is held here of `kind` for `pair`, with names that begin with `prefix`, in order.
    pub(crate) async fn items(
        &self,
        pair: &PairId,
        kind: ItemKind,
        prefix: &[u8],
    ) -> Result<Vec<Item>, Refusal> {
        let mut items = match kind {
            ItemKind::Shard => self.shard_items(pair, prefix).await?,
            ItemKind::Record => self.record_items(pair, prefix).await?,
            ItemKind::Tombstone => self.tombstone_items(prefix).await?,
            ItemKind::StandIn => self.stand_in_items(prefix).await?,
        };
        items.sort_unstable();
        Ok(items)
    }

    async fn shard_items(&self, pair: &PairId, prefix: &[u8]) -> Result<Vec<Item>, Refusal> {
        let mut items = Vec::new();
        let first = ShardKey { stripe: StripeId(padded(prefix)), index: ShardIndex(0) };
        let mut after = (!prefix.is_empty()).then_some(first);
        loop {
            let page = self.disk.shards_after(after, PAGE).await.map_err(disk_refusal)?;
            let Some((last, _)) = page.last() else { return Ok(items) };
            after = Some(*last);
            for (key, stored) in page {
                if !key.stripe.0.starts_with(prefix) || items.len() >= ITEMS_MAX {
                    return Ok(items);
                }
                if stored.state.pair == *pair && self.is_kept(&stored) {
                    items.push(shard_item(key, &stored));
                }
            }
        }
    }

    /// Whether a shard is to stay: what nobody committed in time is not handed on.
    pub(crate) fn is_kept(&self, stored: &StoredShard) -> bool {
        stored.state.commit.is_some() || stored.state.lease_until > self.lease_clock()
    }

    async fn record_items(&self, pair: &PairId, prefix: &[u8]) -> Result<Vec<Item>, Refusal> {
        let mut items = Vec::new();
        for kind in [RecordKind::Manifest, RecordKind::Catalogue] {
            let file = FileId(padded(prefix));
            let mut after = Some(RecordKey { kind, file, page: 0 });
            if prefix.is_empty() && kind == RecordKind::Manifest {
                after = None;
            }
            'pages: loop {
                let page = self.disk.records_after(after, PAGE).await.map_err(disk_refusal)?;
                let Some(last) = page.last() else { break };
                after = Some(*last);
                let inside = |key: &&RecordKey| key.kind == kind && key.file.0.starts_with(prefix);
                let keys: Vec<_> = page.iter().take_while(inside).copied().collect();
                let is_over = keys.len() < page.len();
                let heads = self.disk.records(keys.clone()).await.map_err(disk_refusal)?;
                for (key, heads) in keys.into_iter().zip(heads) {
                    let is_named = heads.iter().any(|head| head.body.set.pairs.contains(pair));
                    if (is_named || self.stands_in(&key, pair).await?) && items.len() < ITEMS_MAX {
                        items.push(record_item(&key, heads.iter().map(AsRef::as_ref)));
                    }
                }
                if is_over {
                    break 'pages;
                }
            }
        }
        Ok(items)
    }

    async fn tombstone_items(&self, prefix: &[u8]) -> Result<Vec<Item>, Refusal> {
        let key = StateKey([b"tomb/".as_slice(), prefix].concat());
        let stored = self.disk.scan(key, TOMBSTONES_MAX).await.map_err(disk_refusal)?;
        let name = |key: &StateKey| key.0.get(b"tomb/".len()..).map(<[u8]>::to_vec);
        let item = |(key, _): &(StateKey, _)| Some(Item { name: name(key)?, digest: [0; 16] });
        Ok(stored.iter().filter_map(item).collect())
    }
}

fn padded(prefix: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(prefix).for_each(|(byte, given)| *byte = *given);
    bytes
}

fn short(label: &'static str, bytes: &[u8]) -> [u8; 16] {
    let digest = defs_core::digest(label, bytes).0;
    std::array::from_fn(|place| digest[place])
}

fn shard_item(key: ShardKey, stored: &StoredShard) -> Item {
    let mut name = key.stripe.0.to_vec();
    name.push(key.index.0);
    let digest = [u8::from(stored.state.commit.is_some()); 16];
    Item { name, digest }
}

/// The shard that an item names.
pub(crate) fn shard_of(item: &Item) -> Option<ShardKey> {
    let (stripe, index) = item.name.split_first_chunk::<32>()?;
    let [index] = *index else { return None };
    Some(ShardKey { stripe: StripeId(*stripe), index: ShardIndex(index) })
}

fn record_item<'a>(key: &RecordKey, heads: impl Iterator<Item = &'a SignedRecord>) -> Item {
    let mut name = key.file.0.to_vec();
    name.extend(key.encode());
    let mut hashes: Vec<_> = heads.map(|head| head.body.hash().0).collect();
    hashes.sort_unstable();
    Item { name, digest: short("defs 2026 summary record", &hashes.concat()) }
}

/// The record that an item names.
pub(crate) fn record_of(item: &Item) -> Option<RecordKey> {
    let (file, key) = item.name.split_first_chunk::<32>()?;
    let key = RecordKey::decode(key).ok()?;
    (key.file.0 == *file).then_some(key)
}

/// The stripe whose tombstone an item names.
pub(crate) fn tombstone_of(item: &Item) -> Option<StripeId> {
    <[u8; 32]>::try_from(item.name.as_slice()).ok().map(StripeId)
}

/// Items where they are few, digests of the parts where they are many. `items` are in order
/// and begin with `prefix`.
pub(crate) fn summary(items: Vec<Item>, prefix: &[u8]) -> Summary {
    if items.len() <= BATCH_ITEMS_MAX || prefix.len() >= SUMMARY_PREFIX_MAX {
        Summary::Items(items)
    } else {
        Summary::Parts(parts(&items, prefix))
    }
}

/// A digest of what begins with `prefix` and each next byte; zeros where nothing does.
pub(crate) fn parts(items: &[Item], prefix: &[u8]) -> Vec<[u8; 16]> {
    let mut texts = vec![Vec::new(); SUMMARY_PARTS];
    for item in items {
        let next = item.name.get(prefix.len()).copied().unwrap_or(0);
        let text: &mut Vec<u8> = &mut texts[usize::from(next)];
        text.extend_from_slice(&item.name);
        text.extend_from_slice(&item.digest);
    }
    let digest = |text: Vec<u8>| match text.is_empty() {
        true => [0; 16],
        false => short("defs 2026 summary part", &text),
    };
    texts.into_iter().map(digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(first: u8, second: u16, digest: u8) -> Item {
        let mut name = vec![first];
        name.extend(second.to_be_bytes());
        Item { name, digest: [digest; 16] }
    }

    #[test]
    fn few_items_are_listed_and_many_are_told_in_parts() {
        let few: Vec<_> = (0..256).map(|number| item(1, number, 0)).collect();
        assert_eq!(summary(few.clone(), &[]), Summary::Items(few));
        let mut many: Vec<_> =
            (0..300_u16).map(|number| item(number.to_le_bytes()[0], number, 0)).collect();
        many.sort_unstable();
        let Summary::Parts(before) = summary(many.clone(), &[]) else { panic!("listed") };
        many[7].digest = [9; 16];
        let changed = usize::from(many[7].name[0]);
        let Summary::Parts(after) = summary(many.clone(), &[]) else { panic!("listed") };
        for (place, (one, other)) in before.iter().zip(&after).enumerate() {
            assert_eq!(one != other, place == changed, "part {place}");
        }
        // However many: a prefix of the greatest length has no parts.
        assert!(matches!(summary(many, &[0; SUMMARY_PREFIX_MAX]), Summary::Items(_)));
    }

    #[test]
    fn names_are_read_back() {
        let key = RecordKey::manifest(FileId([3; 32]), 258);
        let item = record_item(&key, std::iter::empty());
        assert_eq!(record_of(&item), Some(key));
        let other = Item { name: [vec![4; 32], key.encode()].concat(), digest: [0; 16] };
        assert_eq!(record_of(&other), None);
    }
}
