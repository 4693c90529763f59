//! Puts a file: one slice is coded while the one before it is on its way, and what is
//! stored is in the journal.
//!
//! ```text
//! read → encrypt → code → carry   for each slice; its salt is in the journal before it leaves
//! renew all → manifest → commit   again for slices that some pair has lost meanwhile
//! ```
//! Slices are sent one at a time, so an upload that is cut off sends at most one slice
//! twice. What the wait for the last receipts of a slice costs is used to code the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use defs_core::ids::{Digest, SliceNo};
use defs_core::manifest::{SliceEntry, content_digest, slice_digest};
use defs_core::port::{Compute as _, Randomness as _};
use defs_core::record::{RecordSet, SignedRecord};
use defs_telemetry::{spans, trace};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tracing::{Instrument as _, Span};

use crate::directory::Unreachable;
use crate::journal::{Claim, Journal, JournalError, SliceRow, UploadPlan};
use crate::memory::{Memory, coding, sealed};
use crate::nodes::{AskPairError, Nodes};
use crate::pipeline::FileContext;
use crate::pipeline::carry::{CarryError, StoredStripe};
use crate::pipeline::code::{SignedStripe, seal};
use crate::pipeline::encrypt::encrypt;
use crate::pipeline::index::{
    About, Before, ManifestError, Version, draw_set, open_page, pages, seal_pages, sign,
};
use crate::pipeline::keep::Unheld;
use crate::pipeline::source::{Slice, SliceReader, SourceError};
use crate::ports::World;
use crate::progress::{Phase, Watcher};
use crate::records::WriteRecordsError;

/// Slices in memory at once: one is coded while the other is on its way.
const SLICES_IN_FLIGHT: usize = 2;

/// How often slices that pairs have lost are stored again before giving up.
const ROUNDS: u32 = 3;

/// Why an upload failed.
#[derive(Debug, Clone, Error)]
pub enum UploadError {
    /// The file was not read, or changed.
    #[error("failed to read what is put")]
    Source(#[from] SourceError),
    /// What is stored already was read from other bytes than the file has now.
    #[error("slice {slice} is not what was stored of it before: put the file anew")]
    Differs {
        /// The slice.
        slice: SliceNo,
    },
    /// A slice was not stored.
    #[error("failed to store the file")]
    Carry(#[from] CarryError),
    /// Pairs lost slices that can't be read again.
    #[error("{lost} slices were lost again after they were stored")]
    Lost {
        /// Slices that some pair doesn't hold.
        lost: usize,
        /// What a pair answered.
        source: Option<AskPairError>,
    },
    /// The manifest was not made.
    #[error("failed to make the manifest")]
    Manifest(#[from] ManifestError),
    /// No pair is open for the manifest.
    #[error("no pair is open for the manifest")]
    NoPairs,
    /// There is no table of the network.
    #[error("failed to place the manifest")]
    NoTable(#[from] Unreachable),
    /// The manifest was not stored.
    #[error("failed to store the manifest")]
    Records(#[from] WriteRecordsError),
    /// The journal failed.
    #[error("failed to keep the upload's progress")]
    Journal(#[from] JournalError),
}

impl UploadError {
    /// Whether resuming the task may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Source(_) | Self::Differs { .. } | Self::Manifest(_) | Self::Journal(_) => false,
            Self::Carry(CarryError::Shard { source, .. }) => source.is_retryable(),
            Self::Records(error) => error.is_retryable(),
            Self::Carry(_) | Self::Lost { .. } | Self::NoPairs | Self::NoTable(_) => true,
        }
    }
}

/// A file that is stored, committed and named by a manifest.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) length: u64,
    pub(crate) digest: Digest,
    pub(crate) set: RecordSet,
}

/// One upload under way.
pub(crate) struct Upload<'a, W> {
    pub(crate) nodes: &'a Nodes<W>,
    pub(crate) journal: &'a Journal,
    pub(crate) memory: &'a Memory,
    pub(crate) claim: &'a Claim,
    pub(crate) plan: &'a UploadPlan,
    pub(crate) file: FileContext,
    pub(crate) watcher: Watcher,
}

impl<W: World> Upload<'_, W> {
    /// Stores all that isn't stored yet, and the manifest.
    pub(crate) async fn run(&self, mut reader: SliceReader) -> Result<Uploaded, UploadError> {
        let mut stored = self.stored_before().await?;
        self.check_stored(&mut reader, &stored).await?;
        let mut written = Some(self.journal.records(self.claim.task).await?);
        for round in 0..ROUNDS {
            self.store_missing(&mut reader, &mut stored).await?;
            reader.check_unchanged().await?;
            self.watcher.enters(Phase::Committing);
            let slices: Vec<_> = stored.values().cloned().collect();
            let renewing = spans::lease_renew(slices.len() as u64);
            let unheld = self.nodes.renew(&self.file.lock, &slices).instrument(renewing).await;
            if !unheld.is_empty() {
                self.forget_lost(&mut stored, unheld, round, &reader)?;
                continue;
            }
            let records = self.manifest(&slices, written.take().unwrap_or_default()).await?;
            let Some(set) = records.first().map(|record| record.body.set.clone()) else { continue };
            let kept = self.nodes.write_records(&set, &records).await;
            if let Err(error) = kept {
                if round + 1 == ROUNDS || !error.is_retryable() {
                    return Err(error.into());
                }
                error.failed.iter().for_each(|pair| self.nodes.directory.avoid(*pair, false));
                written = Some(self.elsewhere(&slices, records).await?);
                continue;
            }
            let committing = spans::stripe_commit(slices.len() as u64);
            let unheld = self.nodes.commit(&self.file.lock, &slices).instrument(committing).await;
            if unheld.is_empty() {
                let digest = content_digest(slices.iter().map(|slice| &slice.digest));
                let length = slices.iter().map(|slice| slice.length).sum();
                return Ok(Uploaded { length, digest, set });
            }
            self.forget_lost(&mut stored, unheld, round, &reader)?;
            written = Some(records);
        }
        Err(UploadError::Lost { lost: 0, source: None })
    }

    async fn stored_before(&self) -> Result<BTreeMap<u32, SliceEntry>, UploadError> {
        let rows = self.journal.slices(self.claim.task).await?;
        let done = rows.into_iter().filter_map(|(number, row)| match row {
            SliceRow::Done(entry) => Some((number, entry)),
            SliceRow::Begun(_) => None,
        });
        Ok(done.collect())
    }

    /// Whether the file still reads as what is stored of it.
    async fn check_stored(
        &self,
        reader: &mut SliceReader,
        stored: &BTreeMap<u32, SliceEntry>,
    ) -> Result<(), UploadError> {
        for (number, entry) in stored {
            let slice = SliceNo(*number);
            let _memory = self.memory.take(entry.length).await;
            let read = reader.read(slice, self.plan.slice_size).await?;
            let Some(Slice { plain, .. }) = read else {
                return Err(UploadError::Differs { slice });
            };
            let digest = self.nodes.world.compute().run(move || slice_digest(&plain)).await;
            if digest != entry.digest {
                return Err(UploadError::Differs { slice });
            }
        }
        Ok(())
    }

    /// Two loops side by side: one codes slices, the other carries them.
    async fn store_missing(
        &self,
        reader: &mut SliceReader,
        stored: &mut BTreeMap<u32, SliceEntry>,
    ) -> Result<(), UploadError> {
        let done: u64 = stored.values().map(|slice| slice.length).sum();
        self.watcher.begins(done, reader.length());
        let (ready, mut coded) = mpsc::channel(1);
        let window = Arc::new(Semaphore::new(SLICES_IN_FLIGHT));
        let skip: Vec<u32> = stored.keys().copied().collect();
        let longest = self.plan.slice_size.min(reader.length().unwrap_or(u64::MAX));
        let coding = async move {
            for number in (0..).filter(|number| skip.binary_search(number).is_err()) {
                let Ok(room) = Arc::clone(&window).acquire_owned().await else { break };
                let mut memory = self.memory.take(coding(longest, self.plan.geometry)).await;
                let reading = reader.read(SliceNo(number), self.plan.slice_size);
                let slice = trace::within(spans::slice_cut(number), reading).await?;
                let Some(slice) = slice else { break };
                let stripe = self.code(slice, done).await?;
                memory.keep(sealed(stripe.slice.length, self.plan.geometry));
                if ready.send((stripe, (room, memory))).await.is_err() {
                    break;
                }
            }
            Ok::<_, UploadError>(())
        };
        let carrying = async {
            let mut done = done;
            while let Some((stripe, room)) = coded.recv().await {
                let number = stripe.slice.number.0;
                let StoredStripe(entry) = self.nodes.carry(stripe).await?;
                // The bytes are gone; the next slice may be read.
                drop(room);
                done += entry.length;
                let row = SliceRow::Done(entry.clone());
                let salt = self.nodes.world.random().array();
                self.journal.keep_slice(self.claim, number, &row, (salt, done)).await?;
                self.watcher.moved(entry.length);
                stored.insert(number, entry);
            }
            Ok(())
        };
        tokio::try_join!(coding, carrying).map(|((), ())| ())
    }

    async fn code(&self, slice: Slice, done: u64) -> Result<SignedStripe, UploadError> {
        let (number, salt) = (slice.number, self.nodes.world.random().array());
        let row_salt = self.nodes.world.random().array();
        let begun = SliceRow::Begun(salt);
        self.journal.keep_slice(self.claim, number.0, &begun, (row_salt, done)).await?;
        let (file, per_pair) = (self.file.clone(), self.plan.per_pair);
        let network = self.nodes.links.network();
        let span = Span::current();
        let coding = move || {
            let _here = span.entered();
            let encrypted = spans::slice_seal(number.0)
                .in_scope(|| encrypt(slice, &file.key, salt, file.geometry));
            spans::slice_code(number.0).in_scope(|| seal(encrypted, &file, per_pair, &network))
        };
        Ok(self.nodes.world.compute().run(coding).await)
    }

    /// Slices that a pair doesn't hold are stored again, if they can be read again.
    fn forget_lost(
        &self,
        stored: &mut BTreeMap<u32, SliceEntry>,
        unheld: Unheld,
        round: u32,
        reader: &SliceReader,
    ) -> Result<(), UploadError> {
        let lost = unheld.len();
        tracing::warn!(task = %self.claim.task, lost, "stored slices were lost");
        if round + 1 == ROUNDS || reader.is_once() {
            let source = unheld.into_values().flatten().next();
            return Err(UploadError::Lost { lost, source });
        }
        stored.retain(|_, slice| !unheld.contains_key(&slice.stripe));
        Ok(())
    }

    async fn draw_set(&self) -> Result<RecordSet, UploadError> {
        let view = self.nodes.directory.fresh().await?;
        let open = self.nodes.directory.open_pairs(&view).for_records();
        draw_set(open, |bound| self.nodes.draw(bound)).ok_or(UploadError::NoPairs)
    }

    /// The manifest of `slices`, in the journal. `before` is what was written, or was about
    /// to be: the same bytes again if they say the same, else what the new ones follow.
    async fn manifest(
        &self,
        slices: &[SliceEntry],
        before: Vec<Arc<SignedRecord>>,
    ) -> Result<Vec<Arc<SignedRecord>>, UploadError> {
        if !before.is_empty() && self.says(&before, slices) {
            return Ok(before);
        }
        let set = match before.first() {
            Some(record) => record.body.set.clone(),
            None => self.draw_set().await?,
        };
        self.seal_manifest(slices, &before, &set).await
    }

    /// The manifest on other pairs, where its set didn't keep it.
    async fn elsewhere(
        &self,
        slices: &[SliceEntry],
        before: Vec<Arc<SignedRecord>>,
    ) -> Result<Vec<Arc<SignedRecord>>, UploadError> {
        let version = before.first().map_or(0, |record| record.body.set.version).saturating_add(1);
        let set = RecordSet { version, ..self.draw_set().await? };
        self.seal_manifest(slices, &before, &set).await
    }

    async fn seal_manifest(
        &self,
        slices: &[SliceEntry],
        before: &[Arc<SignedRecord>],
        set: &RecordSet,
    ) -> Result<Vec<Arc<SignedRecord>>, UploadError> {
        let about = About {
            name: self.plan.name.clone(),
            mode: self.plan.mode,
            geometry: self.plan.geometry,
            inline: None,
        };
        let (pages, before) = (pages(&about, slices)?, Before::of(before));
        let salts = || self.nodes.world.random().array();
        let network = self.nodes.links.network();
        let version = Version { file_random: self.plan.file_random, before: &before, set };
        let records =
            sign(seal_pages(&pages, &self.file, version, salts), &self.file.lock, &network);
        self.journal.keep_records(self.claim, &records).await?;
        Ok(records)
    }

    /// Whether `records` name exactly `slices`.
    fn says(&self, records: &[Arc<SignedRecord>], slices: &[SliceEntry]) -> bool {
        let opened = records.iter().map(|record| open_page(&record.body, &self.file.key));
        let pages: Result<Vec<_>, _> = opened.collect();
        pages.is_ok_and(|pages| pages.iter().flat_map(|page| &page.slices).eq(slices))
    }
}
