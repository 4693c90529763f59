//! Gets a file: the manifest page by page, some slices ahead of the one that is written,
//! and every byte checked before it counts.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use defs_core::framing::sealed_length;
use defs_core::ids::{Digest, FileId, PairId, SliceNo};
use defs_core::manifest::{FileHead, ManifestPage, SliceEntry, content_digest, slice_digest};
use defs_core::port::{Compute as _, Randomness as _};
use defs_core::record::RecordKey;
use defs_telemetry::{spans, trace};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

pub use error::{DownloadError, ShortSlice};

use crate::journal::{Claim, Journal, SliceRow};
use crate::keys::{FileKey, FileLock};
use crate::memory::{Memory, Taken, fetching};
use crate::nodes::Nodes;
use crate::pipeline::FileContext;
use crate::pipeline::fetch::{FetchError, Wanted};
use crate::pipeline::harm::{DamagedShard, Report};
use crate::pipeline::index::{ManifestError, fits, open_page};
use crate::pipeline::ranges::is_worth_it;
use crate::pipeline::recover::Recovered;
use crate::pipeline::sink::SliceWriter;
use crate::ports::World;
use crate::progress::Watcher;
use crate::records::{Lookup, Sought};

/// Slices that are fetched at once: while one is opened, the network is busy with the others.
const SLICES_AHEAD: usize = 3;

/// A file whose manifest is open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) head: FileHead,
    pub(crate) context: FileContext,
    first: Vec<SliceEntry>,
    pub(crate) set: Vec<PairId>,
    pub(crate) lookup: Lookup,
    /// Versions of the manifest side by side, the one that is read included.
    pub(crate) versions: usize,
}

/// What a download came to.
#[derive(Debug, Default)]
pub(crate) struct Downloaded {
    pub(crate) bytes: u64,
    pub(crate) decoded: usize,
    pub(crate) damaged: Vec<DamagedShard>,
}

/// Finds and opens the manifest of a file.
pub(crate) async fn open_file<W: World>(
    nodes: &Nodes<W>,
    file: FileId,
    (key, lock): (Arc<FileKey>, FileLock),
    hints: &[PairId],
) -> Result<OpenFile, DownloadError> {
    let sought = Sought { key: RecordKey::manifest(file, 0), lock: &lock };
    let found = trace::within(spans::manifest_read(), nodes.read_record(sought, hints)).await?;
    let page = open_page(&found.head.body, &key)?;
    let Some(head) = page.head else {
        let why = "page 0 has no head";
        return Err(ManifestError::Contradiction { file, why }.into());
    };
    let context = FileContext { file, key, lock, geometry: head.geometry };
    let set = found.head.body.set.pairs.clone();
    let (lookup, versions) = (found.lookup, found.heads.len());
    Ok(OpenFile { head, context, first: page.slices, set, lookup, versions })
}

impl OpenFile {
    /// Page `page` of the manifest; 0 is here already.
    pub(crate) async fn page<W: World>(
        &self,
        nodes: &Nodes<W>,
        page: u32,
    ) -> Result<Vec<SliceEntry>, DownloadError> {
        if page == 0 {
            return Ok(self.first.clone());
        }
        let key = RecordKey::manifest(self.context.file, page);
        let sought = Sought { key, lock: &self.context.lock };
        let reading = nodes.read_record(sought, &self.set);
        let found = trace::within(spans::manifest_read(), reading).await?;
        let ManifestPage { slices, .. } = open_page(&found.head.body, &self.context.key)?;
        match fits(&slices, self.context.geometry) {
            Some(why) => Err(self.contradiction(why)),
            None => Ok(slices),
        }
    }

    fn contradiction(&self, why: &'static str) -> DownloadError {
        ManifestError::Contradiction { file: self.context.file, why }.into()
    }

    /// All slices, in order.
    pub(crate) async fn slices<W: World>(
        &self,
        nodes: &Nodes<W>,
    ) -> Result<Vec<SliceEntry>, DownloadError> {
        let mut all = Vec::new();
        for page in 0..self.head.pages {
            all.extend(self.page(nodes, page).await?);
        }
        Ok(all)
    }
}

/// A download's progress in the journal.
pub(crate) struct Journalled<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) claim: &'a Claim,
    /// What an earlier run has written.
    pub(crate) before: BTreeMap<u32, SliceEntry>,
}

/// One download under way.
pub(crate) struct Download<'a, W> {
    pub(crate) nodes: &'a Nodes<W>,
    pub(crate) memory: &'a Memory,
    pub(crate) file: &'a OpenFile,
    pub(crate) watcher: Watcher,
    pub(crate) journalled: Option<Journalled<'a>>,
}

/// A slice, or the part of it that was asked for.
struct Piece {
    number: u32,
    entry: SliceEntry,
    plain: Bytes,
    decoded: bool,
    damaged: Vec<DamagedShard>,
    /// What `plain` takes.
    memory: Taken,
}

/// Waits for `step` while slices that are under way get on.
async fn meanwhile<T>(
    under_way: &mut FuturesUnordered<impl Future<Output = ()>>,
    step: impl Future<Output = T>,
) -> T {
    tokio::pin!(step);
    loop {
        tokio::select! {
            biased;
            done = &mut step => return done,
            Some(()) = under_way.next() => {}
        }
    }
}

/// A piece that is being fetched.
type Fetching = oneshot::Receiver<Result<Piece, DownloadError>>;

impl<W: World> Download<'_, W> {
    /// Writes the bytes `range` of the file, by default all.
    pub(crate) async fn run(
        &self,
        range: Option<Range<u64>>,
        writer: &mut SliceWriter,
    ) -> Result<Downloaded, DownloadError> {
        let length = self.file.head.length;
        let asked = range.clone().unwrap_or(0..length);
        if asked.start > asked.end || asked.end > length {
            return Err(DownloadError::Range { range: asked, length });
        }
        if let Some(inline) = &self.file.head.inline {
            return self.write_inline(inline, asked, writer).await;
        }
        let (result, digests) = self.move_slices(&asked, writer).await?;
        let all = range.is_none();
        if all && content_digest(&digests) != self.file.head.digest {
            return Err(DownloadError::OtherContent { file: self.file.context.file });
        }
        Ok(result)
    }

    async fn write_inline(
        &self,
        inline: &[u8],
        asked: Range<u64>,
        writer: &mut SliceWriter,
    ) -> Result<Downloaded, DownloadError> {
        let file = self.file.context.file;
        if content_digest(&[slice_digest(inline)]) != self.file.head.digest {
            return Err(DownloadError::OtherContent { file });
        }
        let bounds = [asked.start, asked.end].map(|bound| usize::try_from(bound).unwrap_or(0));
        let part = inline.get(bounds[0]..bounds[1]);
        let part = Bytes::copy_from_slice(part.ok_or(DownloadError::OtherContent { file })?);
        self.watcher.begins(0, Some(part.len() as u64));
        let bytes = part.len() as u64;
        writer.write(part).await?;
        self.watcher.moved(bytes);
        Ok(Downloaded { bytes, ..Downloaded::default() })
    }

    /// Two loops side by side: one fetches and opens slices, the other writes them in order.
    async fn move_slices(
        &self,
        asked: &Range<u64>,
        writer: &mut SliceWriter,
    ) -> Result<(Downloaded, Vec<Digest>), DownloadError> {
        self.watcher.begins(0, Some(asked.end - asked.start));
        let written = self.written_before(writer).await;
        let (places, mut pieces) = mpsc::channel::<Fetching>(SLICES_AHEAD);
        let writing = async {
            let mut result = Downloaded::default();
            while let Some(piece) = pieces.recv().await {
                // Its fetching was dropped: the other loop failed and says why.
                let Ok(piece) = piece.await else { break };
                self.write_piece(piece?, writer, &mut result).await?;
            }
            Ok::<_, DownloadError>(result)
        };
        let fetching = self.fetch_slices(asked, &written, places);
        let (digests, result) = tokio::try_join!(fetching, writing)?;
        Ok((result, digests))
    }

    /// Fetches what of each slice was asked for and is not `written` yet, some at a time,
    /// and gives each its place in the order. Answers all digests.
    async fn fetch_slices(
        &self,
        asked: &Range<u64>,
        written: &BTreeMap<u32, SliceEntry>,
        places: mpsc::Sender<Fetching>,
    ) -> Result<Vec<Digest>, DownloadError> {
        let (mut digests, length) = (Vec::new(), self.file.head.length);
        let (mut number, mut start) = (0_u32, 0_u64);
        let mut under_way = FuturesUnordered::new();
        for page in 0..self.file.head.pages {
            for entry in meanwhile(&mut under_way, self.file.page(self.nodes, page)).await? {
                digests.push(entry.digest);
                let here = start..start + entry.length;
                start = here.end;
                let slice = number;
                number += 1;
                let part = asked.start.max(here.start)..asked.end.min(here.end);
                // Where its shards are may have been written anew since.
                let is_same = |before: &SliceEntry| {
                    (before.stripe, before.digest) == (entry.stripe, entry.digest)
                };
                let skip = written.get(&slice).is_some_and(is_same);
                if part.is_empty() || skip {
                    continue;
                }
                let part = part.start - here.start..part.end - here.start;
                while under_way.len() >= SLICES_AHEAD {
                    under_way.next().await;
                }
                // In order, so that no slice waits for memory that one behind it has.
                let is_alone = is_worth_it(&part, entry.length);
                let wanted = if is_alone { part.end - part.start } else { entry.length };
                let memory = meanwhile(&mut under_way, self.memory.take(fetching(wanted))).await;
                let (answer, place) = oneshot::channel();
                if meanwhile(&mut under_way, places.send(place)).await.is_err() {
                    return Ok(digests);
                }
                let piece = self.fetch_piece(slice, entry, part, memory);
                under_way.push(async { drop(answer.send(piece.await)) });
                if is_alone {
                    // It may turn out to need the whole slice and more memory.
                    while under_way.next().await.is_some() {}
                }
            }
            if start > length {
                break;
            }
        }
        while under_way.next().await.is_some() {}
        if start == length {
            return Ok(digests);
        }
        Err(self.file.contradiction("its slices are not as long as the file"))
    }

    /// Slices at the front that an earlier run wrote and that still read as they should;
    /// the writer goes on behind them.
    async fn written_before(&self, writer: &mut SliceWriter) -> BTreeMap<u32, SliceEntry> {
        let mut kept = BTreeMap::new();
        let Some(journalled) = &self.journalled else { return kept };
        let mut at = 0;
        for (expected, (number, entry)) in (0_u32..).zip(&journalled.before) {
            let _memory = self.memory.take(entry.length).await;
            let Some(bytes) = writer.read_back(at, entry.length).await else { break };
            let digest = self.nodes.world.compute().run(move || slice_digest(&bytes)).await;
            if *number != expected || digest != entry.digest {
                break;
            }
            at += entry.length;
            kept.insert(*number, entry.clone());
        }
        writer.skip(at);
        self.watcher.moved(at);
        kept
    }

    async fn fetch_piece(
        &self,
        number: u32,
        entry: SliceEntry,
        part: Range<u64>,
        mut memory: Taken,
    ) -> Result<Piece, DownloadError> {
        let (nobody, report) = (BTreeSet::new(), Report::default());
        let wanted = Wanted {
            file: &self.file.context,
            number: SliceNo(number),
            entry: &entry,
            without: &nobody,
            first: &nobody,
            report: &report,
        };
        let length = part.end - part.start;
        if is_worth_it(&part, entry.length) {
            if let Ok(plain) = self.nodes.fetch_range(wanted, part.clone()).await {
                memory.keep(length);
                let (plain, damaged) = (plain.into(), report.take());
                return Ok(Piece { number, plain, entry, decoded: false, damaged, memory });
            }
            drop(memory);
            memory = self.memory.take(fetching(entry.length)).await;
        }
        let Recovered { slice, decoded, .. } = match self.nodes.recover(wanted).await {
            Ok(recovered) => recovered,
            Err(source) => return Err(self.failed(number, source, report.take()).await),
        };
        let [from, to] = [part.start, part.end].map(|at| usize::try_from(at).unwrap_or(0));
        let plain = slice.plain.slice(from..to);
        // A part keeps the whole slice in memory, and its seals with it.
        memory.keep(sealed_length(entry.length));
        let damaged = report.take();
        Ok(Piece { number, entry, plain, decoded, damaged, memory })
    }

    async fn write_piece(
        &self,
        piece: Piece,
        writer: &mut SliceWriter,
        result: &mut Downloaded,
    ) -> Result<(), DownloadError> {
        let Piece { number, entry, plain, decoded, damaged, memory } = piece;
        let bytes = plain.len() as u64;
        trace::within(spans::slice_write(bytes), writer.write(plain)).await?;
        drop(memory);
        self.watcher.moved(bytes);
        result.bytes += bytes;
        result.decoded += usize::from(decoded);
        result.damaged.extend(damaged);
        if let Some(Journalled { journal, claim, before }) = &self.journalled {
            let earlier: u64 = before.values().map(|entry| entry.length).sum();
            let progress = (self.nodes.world.random().array(), earlier + result.bytes);
            journal.keep_slice(claim, number, &SliceRow::Done(entry), progress).await?;
        }
        Ok(())
    }

    /// One slice can't be had: if for want of shards, which others can't either, so that
    /// people know at once.
    async fn failed(
        &self,
        first: u32,
        source: FetchError,
        damaged: Vec<DamagedShard>,
    ) -> DownloadError {
        let FetchError::TooFewShards { have, need, .. } = source else {
            return DownloadError::Fetch { source, damaged };
        };
        let mut slices = vec![ShortSlice { slice: SliceNo(first), have, need }];
        match self.file.slices(self.nodes).await {
            Ok(all) => {
                let rest = (0..).zip(all).filter(|(number, _)| *number > first);
                let (numbers, rest): (Vec<u32>, Vec<_>) = rest.unzip();
                let held = self.nodes.held_shards(&self.file.context.lock, &rest).await;
                for (slice, held) in numbers.into_iter().zip(held) {
                    let have = held.iter().filter(|members| members.contains(&Some(true))).count();
                    if have < need {
                        slices.push(ShortSlice { slice: SliceNo(slice), have, need });
                    }
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the other slices weren't looked at");
            }
        }
        DownloadError::TooFewShards { slices, damaged, source }
    }
}
