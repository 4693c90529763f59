//! Sealed bytes go out, to whoever has a session for their lock.

use defs_core::format::Format;
use defs_core::ids::{NodeId, StripeId};
use defs_core::message::{ReadShard, Reason, Refusal, Response};
use defs_core::port::{Clock, Disk, Reply};
use defs_core::statement::{Operations, Signed};

use crate::config::World;
use crate::engine::Engine;
use crate::gate::PATIENCE;
use crate::keep::tombstone_key;
use crate::refuse::{disk_refusal, refuse};

impl<W: World> Engine<W> {
    pub(crate) async fn read_shard(
        &self,
        caller: NodeId,
        read: ReadShard,
    ) -> Result<Reply, Refusal> {
        let began = self.clock.elapsed();
        let stored = self.disk.shard(read.key).await.map_err(disk_refusal)?.ok_or_else(|| {
            let detail =
                format!("shard {} of stripe {} is not here", read.key.index, read.key.stripe);
            refuse(Reason::NotFound, detail)
        })?;
        let lock = &stored.head.descriptor.body.lock;
        self.check_right(&caller, lock, Operations::READ)?;
        let range = read.range.unwrap_or(0..stored.length);
        if range.start > range.end || range.end > stored.length {
            let detail = format!("the shard has {} bytes", stored.length);
            return Err(refuse(Reason::Malformed, detail));
        }
        let place = self.gate.read(caller)?;
        let bytes = range.end - range.start;
        let body = tokio::select! {
            biased;
            body = self.disk.read(read.key, range) => body.map_err(disk_refusal)?,
            // Slow readers hold the disk's threads.
            () = self.clock.sleep(PATIENCE) => {
                return Err(refuse(Reason::Busy, "too many shards are being read"));
            }
        };
        let now = self.clock.elapsed();
        self.pace.served(now.saturating_sub(began), now);
        self.metrics.shards_read.one();
        self.metrics.bytes_sent.add(bytes);
        let response = Response::Shard { length: stored.length };
        Ok(Reply { response, body: body.holding(place) })
    }

    /// What is held of a stripe, for siblings that must decide what to keep.
    pub(crate) async fn stripe_status(
        &self,
        caller: NodeId,
        stripe: StripeId,
    ) -> Result<Response, Refusal> {
        if !self.membership.is_admitted(&caller) {
            return Err(refuse(Reason::NotAllowed, "only nodes may ask for a stripe's status"));
        }
        let held = self.held(stripe).await?;
        let commit = held.iter().find_map(|(_, stored)| stored.state.commit.clone());
        let indices = held.into_iter().map(|(key, _)| key.index).collect();
        let tombstone = self.disk.get(tombstone_key(&stripe)).await.map_err(disk_refusal)?;
        let tombstone = tombstone.and_then(|bytes| Signed::decode(&bytes).ok());
        Ok(Response::Stripe { indices, commit, tombstone })
    }
}
