//! Proofs of possession: a digest over a fresh number and a range of a shard's bytes, which
//! only a holder of the bytes can answer.

use std::ops::Range;

use defs_core::ids::{Digest, NodeId};
use defs_core::message::{Reason, Refusal, Response, ShardKey};
use defs_core::port::Disk;

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, refuse};

/// The most bytes that one challenge is about.
pub(crate) const RANGE_MAX: u64 = 64 << 10;

/// What a holder of `bytes` answers.
pub(crate) fn proof(key: ShardKey, nonce: &[u8; 32], range: &Range<u64>, bytes: &[u8]) -> Digest {
    let mut text = Vec::with_capacity(81 + bytes.len());
    text.extend_from_slice(nonce);
    text.extend_from_slice(&key.stripe.0);
    text.push(key.index.0);
    text.extend_from_slice(&range.start.to_le_bytes());
    text.extend_from_slice(&range.end.to_le_bytes());
    text.extend_from_slice(bytes);
    defs_core::digest("defs 2026 possession proof", &text)
}

impl<W: World> Engine<W> {
    pub(crate) async fn prove(
        &self,
        caller: NodeId,
        key: ShardKey,
        nonce: &[u8; 32],
        range: Range<u64>,
    ) -> Result<Response, Refusal> {
        if !self.membership.is_admitted(&caller) {
            return Err(refuse(Reason::NotAllowed, "only nodes may challenge"));
        }
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let stored = stored.ok_or_else(|| refuse(Reason::NotFound, "the shard is not here"))?;
        let is_within = range.start <= range.end
            && range.end <= stored.length
            && range.end - range.start <= RANGE_MAX;
        if !is_within {
            return Err(refuse(
                Reason::Malformed,
                "a challenge is about 64 KiB of a shard at most",
            ));
        }
        let body = self.disk.read(key, range.clone()).await.map_err(disk_refusal)?;
        let bytes =
            body.collect().await.map_err(|error| refuse(Reason::Disk, error.to_string()))?;
        Ok(Response::Proof(proof(key, nonce, &range, &bytes)))
    }
}
