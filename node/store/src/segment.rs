//! Segments: files to which the entries of small shards are appended, so that many
//! small stores share one sync.
//!
//! A segment is appended to until it is full and never again; deleted entries stay in it
//! as dead bytes until all are dead, or until compaction has copied the living ones on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::{Arc, Mutex};

use crate::entry::DEAD;
use crate::files::Files;
use crate::folder::Folder;
use crate::group_sync::GroupSync;
use crate::locked::locked;

#[derive(Debug)]
pub(crate) struct Segments {
    folder: Arc<Folder>,
    files: Files,
    segment_max: u64,
    /// Taken before `fills` where both are.
    tail: Mutex<Tail>,
    fills: Mutex<BTreeMap<u64, Fill>>,
}

/// Where the next entry goes.
#[derive(Debug)]
struct Tail {
    open: Option<(Arc<Segment>, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    sync: GroupSync,
}

/// How much of a segment lives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fill {
    /// Where its last entry ends.
    pub(crate) end: u64,
    /// Bytes of entries that the index names or is about to.
    pub(crate) live: u64,
    /// Compaction has been tried and something in it can't be read.
    stuck: bool,
}

/// An entry that was appended and is counted as living; not yet durable.
#[derive(Debug)]
pub(crate) struct Appended {
    segment: Arc<Segment>,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

impl Appended {
    pub(crate) fn number(&self) -> u64 {
        self.segment.number
    }
}

impl Fill {
    /// Bytes that compaction would give back.
    pub(crate) fn dead(&self) -> u64 {
        self.end.saturating_sub(self.live)
    }

    /// Counts an entry that the index names.
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        self.end = self.end.max(at.saturating_add(bytes));
        self.live = self.live.saturating_add(bytes);
    }
}

impl Segments {
    /// Takes over the segments in `folder`, of which the index names what `fills` says.
    /// What it doesn't name was never acknowledged, or is deleted: whole segments are
    /// removed, and what lies behind the last named entry of the newest is cut off.
    pub(crate) fn adopt(
        folder: Arc<Folder>,
        files: Files,
        mut fills: BTreeMap<u64, Fill>,
        segment_max: u64,
    ) -> io::Result<Self> {
        let present = folder.segment_numbers()?;
        let next =
            present.iter().chain(fills.keys()).max().map_or(1, |last| last.saturating_add(1));
        for number in &present {
            if !fills.contains_key(number) {
                files.unlink(&folder.segment(*number))?;
            }
        }
        // What is named but gone is found by reads and fsck; it can't be appended to.
        for (number, _) in fills.iter().filter(|(number, _)| !present.contains(number)) {
            tracing::error!(number, "a segment that the index names is missing");
        }
        let open = match fills.iter_mut().next_back() {
            Some((number, fill)) if present.contains(number) && fill.end < segment_max => {
                reopen(&folder, *number, fill.end)?
            }
            Some(_) | None => None,
        };
        let tail = Mutex::new(Tail { open, next });
        Ok(Self { folder, files, segment_max, tail, fills: Mutex::new(fills) })
    }

    /// Appends an entry, not yet durable.
    pub(crate) fn append(&self, entry: &[u8]) -> io::Result<Appended> {
        let bytes = entry.len() as u64;
        let mut tail = locked(&self.tail);
        if tail.open.as_ref().is_none_or(|(_, end)| *end + bytes > self.segment_max) {
            self.roll(&mut tail)?;
        }
        let Some((segment, end)) = &mut tail.open else {
            return Err(io::Error::other("no segment is open"));
        };
        // If this fails, the next entry is written over what it left.
        self.files.write_at(&segment.file, entry, *end)?;
        let at = *end;
        *end += bytes;
        locked(&self.fills).entry(segment.number).or_default().add(at, bytes);
        Ok(Appended { segment: Arc::clone(segment), at, bytes })
    }

    /// Makes an appended entry durable, together with those of others.
    pub(crate) fn sync(&self, appended: &Appended) -> io::Result<()> {
        let segment = &appended.segment;
        let result = segment.sync.join(|| self.files.sync_file(&segment.file));
        if result.is_err() {
            let mut tail = locked(&self.tail);
            if tail.open.as_ref().is_some_and(|(open, _)| Arc::ptr_eq(open, segment)) {
                tail.open = None;
            }
        }
        result
    }

    /// Counts an entry as dead, marks it so, and removes its segment if it was the last.
    pub(crate) fn release(&self, number: u64, at: u64, bytes: u64) -> io::Result<()> {
        let tail = locked(&self.tail);
        let mut fills = locked(&self.fills);
        let Some(fill) = fills.get_mut(&number) else { return Ok(()) };
        // An index that names two entries in one place counts more living than there are.
        fill.live = fill.live.saturating_sub(bytes);
        let is_open = tail.open.as_ref().is_some_and(|(open, _)| open.number == number);
        if fill.live > 0 || is_open {
            drop(fills);
            drop(tail);
            return self.mark_dead(number, at);
        }
        fills.remove(&number);
        self.files.unlink(&self.folder.segment(number))
    }

    /// A hint for [`fsck`](crate::fsck), which can't ask an index that is lost: not
    /// synced, and nothing else reads it.
    fn mark_dead(&self, number: u64, at: u64) -> io::Result<()> {
        match OpenOptions::new().write(true).open(self.folder.segment(number)) {
            Ok(file) => self.files.write_at(&file, &DEAD, at),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The closed segment with the most dead bytes, if at least half of it is dead.
    pub(crate) fn most_dead(&self) -> Option<(u64, Fill)> {
        let tail = locked(&self.tail);
        let open = tail.open.as_ref().map(|(segment, _)| segment.number);
        locked(&self.fills)
            .iter()
            .filter(|(number, fill)| {
                Some(**number) != open && !fill.stuck && fill.live.saturating_mul(2) <= fill.end
            })
            .max_by_key(|(_, fill)| fill.dead())
            .map(|(number, fill)| (*number, *fill))
    }

    /// Compaction leaves this one alone from now on; returns whether it is still there.
    pub(crate) fn set_stuck(&self, number: u64) -> bool {
        locked(&self.fills).get_mut(&number).map(|fill| fill.stuck = true).is_some()
    }

    fn roll(&self, tail: &mut Tail) -> io::Result<()> {
        let number = tail.next;
        let file = Files::create(&self.folder.segment(number))?;
        self.files.sync_folder(&self.folder.segments())?;
        tail.next = tail.next.saturating_add(1);
        let segment = Arc::new(Segment { number, file, sync: GroupSync::default() });
        let closed = tail.open.replace((segment, 0));
        let Some((closed, _)) = closed else { return Ok(()) };
        let mut fills = locked(&self.fills);
        if fills.get(&closed.number).is_some_and(|fill| fill.live == 0) {
            fills.remove(&closed.number);
            self.files.unlink(&self.folder.segment(closed.number))?;
        }
        Ok(())
    }
}

/// Opens a segment to append at `end`; `None` if it has lost bytes that the index names.
fn reopen(folder: &Folder, number: u64, end: u64) -> io::Result<Option<(Arc<Segment>, u64)>> {
    let file = OpenOptions::new().read(true).write(true).open(folder.segment(number))?;
    let length = file.metadata()?.len();
    if length < end {
        tracing::error!(number, length, end, "a segment has lost bytes that the index names");
        return Ok(None);
    }
    file.set_len(end)?;
    Ok(Some((Arc::new(Segment { number, file, sync: GroupSync::default() }), end)))
}
