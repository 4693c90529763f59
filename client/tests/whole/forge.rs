//! Shards that open and are not what was stored: what holders can make who put k shares
//! of a stripe together.

use std::sync::Arc;

use bytes::Bytes;
use defs_codec::seal::plain_length;
use defs_codec::stripe::SHARD_LABEL;
use defs_codec::{Share, combine, seal};
use defs_core::message::ShardKey;
use defs_core::stripe::ShardHead;

use crate::cluster::Cluster;

/// Other bytes in place of the shard `stored`, sealed under its key.
pub(crate) fn forge(cluster: &Cluster, key: ShardKey, stored: &[u8]) -> Bytes {
    let known: Vec<(Arc<ShardHead>, Share)> =
        cluster.nodes.values().flat_map(|node| node.shares(&key.stripe)).collect();
    let descriptor = &known[0].0.descriptor.body;
    let mut shares: Vec<&Share> = known.iter().map(|(_, share)| share).collect();
    shares.sort_by_key(|share| share.index);
    shares.dedup_by_key(|share| share.index);
    let secret = combine(&descriptor.tag, descriptor.geometry, &shares).unwrap();
    let length = plain_length(stored.len() as u64).unwrap();
    let other = vec![0xbd; usize::try_from(length).unwrap()];
    seal(secret.shard_key(key.index), SHARD_LABEL, &other).into()
}
