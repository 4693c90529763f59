//! The port: each method is one call, made where it may block.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{FileId, Locator, PairId, ShardIndex, StripeId};
use defs_core::message::{FRAME_MAX, ShardKey};
use defs_core::port::{Change, Disk, DiskError, ShardState, StateKey, StoredShard, Usage};
use defs_core::record::{RecordKey, SignedRecord};
use defs_core::stripe::ShardHead;
use defs_telemetry::{spans, trace};
use tokio::sync::oneshot;

use crate::compact::Compacted;
use crate::files::failed;
use crate::place::LENGTH_MAX;
use crate::space::Reservation;
use crate::store::{FILE_MIN, Store};

impl Disk for Store {
    async fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> Result<(), DiskError> {
        trace::within(spans::disk_store(body.left()), self.take_in(head, state, body)).await
    }

    async fn shard(&self, key: ShardKey) -> Result<Option<StoredShard>, DiskError> {
        self.blocking(move |inner| inner.shard(&key)).await
    }

    async fn read(&self, key: ShardKey, range: Range<u64>) -> Result<Body, DiskError> {
        let (opened, body) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let is_long = range.end.saturating_sub(range.start) > FRAME_MAX as u64;
        let permit =
            if is_long { Some(Arc::clone(&self.reads).acquire_owned().await) } else { None };
        // Ends with the body's reader, see `Feed::run`.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let slice = inner.slice(&key, range);
            drop(inner);
            let body =
                slice.and_then(|slice| slice.into_body().map_err(|e| failed("read a shard", e)));
            let (body, feed) = match body {
                Ok((body, feed)) => (Ok(body), feed),
                Err(error) => (Err(error), None),
            };
            if opened.send(body).is_ok()
                && let Some(feed) = feed
            {
                feed.run();
            }
        });
        body.await.unwrap_or_else(|error| {
            Err(DiskError::Io { what: "finish a read".into(), source: error.into() })
        })
    }

    async fn indices(&self, stripe: StripeId) -> Result<Vec<ShardIndex>, DiskError> {
        self.blocking(move |inner| inner.indices(&stripe)).await
    }

    async fn holds(&self, locator: Locator) -> Result<Option<PairId>, DiskError> {
        self.blocking(move |inner| inner.holds(&locator)).await
    }

    async fn shards_after(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, StoredShard)>, DiskError> {
        self.blocking(move |inner| inner.shards_after(after.as_ref(), limit)).await
    }

    async fn files_after(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileId>, DiskError> {
        self.blocking(move |inner| inner.files_after(after.as_ref(), limit)).await
    }

    async fn records_after(
        &self,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, DiskError> {
        self.blocking(move |inner| inner.records_after(after.as_ref(), limit)).await
    }

    async fn records(
        &self,
        keys: Vec<RecordKey>,
    ) -> Result<Vec<Vec<Arc<SignedRecord>>>, DiskError> {
        self.blocking(move |inner| keys.iter().map(|key| inner.record(key)).collect()).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), DiskError> {
        self.blocking(move |inner| inner.apply(changes)).await
    }

    async fn get(&self, key: StateKey) -> Result<Option<Vec<u8>>, DiskError> {
        self.blocking(move |inner| inner.get(&key)).await
    }

    async fn scan(
        &self,
        prefix: StateKey,
        limit: usize,
    ) -> Result<Vec<(StateKey, Bytes)>, DiskError> {
        self.blocking(move |inner| inner.scan(&prefix, limit)).await
    }

    fn usage(&self) -> Usage {
        self.room()
    }
}

impl Store {
    async fn take_in(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> Result<(), DiskError> {
        if body.left() > LENGTH_MAX {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(failed("store a shard of that length", error));
        }
        let (body, room) = if body.left() < FILE_MIN {
            let (body, room) = self.collect(&head, body).await?;
            (body, Some(room))
        } else {
            (body, None)
        };
        // Owned by the work: a caller that goes away doesn't let one more in.
        let permit = Arc::clone(&self.stores).acquire_owned().await;
        self.blocking(move |inner| {
            let _permit = permit;
            inner.store(head, state, body, room)
        })
        .await
    }

    /// Takes all of a small body, so that waiting for it holds no thread. Its room is
    /// reserved before; a shard that is here already needs none.
    async fn collect(
        &self,
        head: &Arc<ShardHead>,
        body: Body,
    ) -> Result<(Body, Reservation), DiskError> {
        let room = match self.inner.space.reserve(body.left()) {
            Ok(room) => room,
            Err(full) => {
                let head = Arc::clone(head);
                if !self.blocking(move |inner| inner.has(&head)).await? {
                    return Err(full);
                }
                self.inner.space.reserve(0)?
            }
        };
        let bytes = body.collect().await?;
        Ok((Body::whole(bytes.into()), room))
    }

    /// Reads all of a shard's sealed bytes: whether they are still those that were
    /// stored, by CRC32 and BLAKE3.
    pub async fn verify(&self, key: ShardKey) -> Result<bool, DiskError> {
        self.blocking(move |inner| inner.verify(&key)).await
    }

    /// One step of the background work on the disk: forgets removed files, and copies
    /// the living entries out of the segment with the most dead bytes, if half of it is
    /// dead. `None`: nothing to do now.
    pub async fn compact_step(&self) -> Result<Option<Compacted>, DiskError> {
        self.blocking(super::store::Inner::compact_step).await
    }
}
