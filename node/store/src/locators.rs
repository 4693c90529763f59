//! What a broadcast asks for, and which of our shards and records stand behind it.

use defs_core::digest::{file_locator, stripe_locator};
use defs_core::ids::{Locator, NetworkId, StripeTag};
use defs_core::message::ShardKey;
use defs_core::record::RecordKey;

use crate::index::{parse_record_key, parse_shard_key, record_key, shard_key};

/// Something behind a locator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    Shard(ShardKey),
    Record(RecordKey),
}

pub(crate) fn of_shard(network: &NetworkId, tag: &StripeTag, key: &ShardKey) -> Vec<u8> {
    [&stripe_locator(network, tag).0[..], b"s", &shard_key(key)].concat()
}

pub(crate) fn of_record(network: &NetworkId, key: &RecordKey) -> Vec<u8> {
    [&file_locator(network, &key.file).0[..], b"f", &record_key(key)].concat()
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Behind> {
    match bytes.get(Locator::SIZE..)?.split_first()? {
        (b's', key) => parse_shard_key(key).map(Behind::Shard),
        (b'f', key) => parse_record_key(key).map(Behind::Record),
        _ => None,
    }
}
