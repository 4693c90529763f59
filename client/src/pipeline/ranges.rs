//! A part of a slice without the rest of it: only the sealed chunks of the data shards
//! that hold it. Where one of these can't be had, the caller takes the whole slice.

use std::ops::Range;

use defs_codec::seal::HEAD;
use defs_codec::{OpenError, SealedPart, stripe::open_shard_range};
use defs_core::framing::{self, sealed_length, sealed_range};
use defs_core::ids::{NodeId, ShardIndex};
use defs_core::message::{ReadShard, Request, Response, ShardKey};
use defs_core::port::{CallError, Compute as _};
use futures::TryStreamExt as _;
use futures::stream::FuturesOrdered;

use super::code::Lengths;
use super::encrypt::decrypt_range;
use super::fetch::Wanted;
use crate::nodes::Nodes;
use crate::peers::{Kind, unexpected};
use crate::ports::World;

/// A part of a slice can't be had by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAlone;

impl<W: World> Nodes<W> {
    /// The plain bytes `range` of a slice. `range` is not empty and within the slice.
    pub(crate) async fn fetch_range(
        &self,
        wanted: Wanted<'_>,
        range: Range<u64>,
    ) -> Result<Vec<u8>, NotAlone> {
        let lengths = Lengths::of(wanted.entry, wanted.file.geometry);
        let (_, chunks) = sealed_range(wanted.entry.length, &range);
        let head = self.fetch_coded(wanted, lengths, 0..framing::HEAD);
        let body = self.fetch_coded(wanted, lengths, chunks);
        let (head, body) = tokio::try_join!(head, body)?;
        let (file, number, entry) = (wanted.file.clone(), wanted.number, wanted.entry.clone());
        let opening = move || {
            let head: &[u8; HEAD] = head.first_chunk().ok_or(NotAlone)?;
            let part = SealedPart { plain_length: entry.length, head, chunks: &body };
            decrypt_range(part, range, &file.key, (number, &entry)).map_err(|_closed| NotAlone)
        };
        self.world.compute().run(opening).await
    }

    /// The bytes `range` of the encrypted slice, which its data shards hold in order.
    async fn fetch_coded(
        &self,
        wanted: Wanted<'_>,
        lengths: Lengths,
        range: Range<u64>,
    ) -> Result<Vec<u8>, NotAlone> {
        let pieces: FuturesOrdered<_> = pieces(lengths.shard, range)
            .map(|(index, part)| self.fetch_piece(wanted, lengths, index, part))
            .collect();
        let parts: Vec<Vec<u8>> = pieces.try_collect().await?;
        Ok(parts.concat())
    }

    async fn fetch_piece(
        &self,
        wanted: Wanted<'_>,
        lengths: Lengths,
        index: ShardIndex,
        range: Range<u64>,
    ) -> Result<Vec<u8>, NotAlone> {
        let pair = *self.moves.pairs_of(wanted.entry).get(usize::from(index.0)).ok_or(NotAlone)?;
        let (_, chunks) = sealed_range(lengths.shard, &range);
        let kind = Kind::Shard(chunks.end - chunks.start);
        let key = ShardKey { stripe: wanted.entry.stripe, index };
        let read = |node| self.read_chunks(node, wanted, (key, chunks.clone()), lengths.sealed);
        let secret = wanted.file.key.stripe_secret(wanted.number, &wanted.entry.salt);
        let open = |(head, body): (Vec<u8>, Vec<u8>)| {
            let opened = match head.first_chunk() {
                None => Err(OpenError::Truncated { have: head.len() }),
                Some(head) => {
                    let part = SealedPart { plain_length: lengths.shard, head, chunks: &body };
                    open_shard_range(&secret, index, range.clone(), part)
                }
            };
            std::future::ready(opened)
        };
        let good = self.first_good(wanted, ((index, pair), kind), read, open).await;
        good.map(|(_, piece)| piece).map_err(|_failed| NotAlone)
    }

    /// The head of a sealed shard and some of its chunks, from one node.
    async fn read_chunks(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        (key, chunks): (ShardKey, Range<u64>),
        sealed: u64,
    ) -> Result<(Vec<u8>, Vec<u8>), CallError> {
        let head = self.read_part(node, wanted, (key, 0..framing::HEAD), sealed);
        let body = self.read_part(node, wanted, (key, chunks), sealed);
        tokio::try_join!(head, body)
    }

    /// Sealed bytes `part` of a shard from one node.
    async fn read_part(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        (key, part): (ShardKey, Range<u64>),
        sealed: u64,
    ) -> Result<Vec<u8>, CallError> {
        let length = part.end - part.start;
        let request = Request::ReadShard(ReadShard { key, range: Some(part) });
        let reply = self.links.call_as_owner(node, &wanted.file.lock, request).await?;
        match reply.response {
            Response::Shard { length: whole } if whole == sealed && reply.body.left() == length => {
                self.collect(node, reply.body).await
            }
            _ => Err(unexpected(node, "a part of a shard was asked for and something else came")),
        }
    }
}

/// Which parts of which data shards hold `range` of what they were cut from.
fn pieces(shard: u64, range: Range<u64>) -> impl Iterator<Item = (ShardIndex, Range<u64>)> {
    let first = range.start / shard;
    let behind = range.end.div_ceil(shard);
    (first..behind).filter_map(move |place| {
        let start = place * shard;
        let part = range.start.max(start) - start..range.end.min(start + shard) - start;
        Some((ShardIndex(u8::try_from(place).ok()?), part))
    })
}

/// Whether reading a part alone costs clearly less than the whole slice.
pub(crate) fn is_worth_it(part: &Range<u64>, slice: u64) -> bool {
    sealed_length(part.end - part.start).saturating_mul(2) < slice
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_the_range_in_order(shard in 2_u64..50, start in 0_u64..200, length in 1_u64..200) {
            let parts = pieces(shard, start..start + length).flat_map(|(index, part)| {
                let base = u64::from(index.0) * shard;
                base + part.start..base + part.end
            });
            prop_assert!(parts.eq(start..start + length));
        }
    }
}
