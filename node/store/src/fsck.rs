//! Compares every byte that is stored with the index, and rebuilds the index from the
//! entries where it is lost.
//!
//! An entry holds the shard's head and the state in which it was stored. What changed
//! since (a commit, a longer lease) is lost with the index, as are records and the
//! node's small values: those come back from the partner and from siblings.

mod found_index;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use defs_core::format::Format;
use defs_core::ids::NetworkId;
use defs_core::message::ShardKey;
use defs_core::port::DiskError;
use defs_core::stripe::ShardHead;

use crate::files::names;
use crate::folder::Folder;
use crate::index::{Batch, Family, Index, damaged, parse_shard_key, shard_key};
use crate::locators;
use crate::open_error::OpenError;
use crate::place::{Home, Place, Stored};
use crate::walk::{Bytes, Found, Walk, digest_at};
use found_index::FoundIndex;
pub use found_index::IndexHealth;

/// Entries put into the index at once.
const BATCH_BYTES: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckReport {
    /// The index as it was found.
    pub index: IndexHealth,
    /// Shards whose bytes are those that were stored.
    pub whole: u64,
    /// Shards that the index names and whose bytes are others; left for scrub to heal.
    pub damaged: Vec<ShardKey>,
    /// Shards that the index names and whose bytes are gone; a repair forgets them.
    pub missing: Vec<ShardKey>,
    /// Whole shards that a lost or incomplete index doesn't name; a repair makes it name
    /// them.
    pub unindexed: Vec<ShardKey>,
    /// Whole shards that a readable index doesn't name: stores that were cut short, and
    /// deletions whose mark was. They are no shards, and nothing needs to be done.
    pub leftovers: u64,
    /// Files and parts of segments that can't be read and that the index doesn't name;
    /// the next start removes the files.
    pub unreadable: Vec<PathBuf>,
    /// Records that the index holds; they can't be rebuilt from anything else here.
    pub records: u64,
    /// Index entries that were added or removed.
    pub repaired: u64,
}

impl FsckReport {
    /// Whether there was nothing to complain of.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.index == IndexHealth::Readable
            && self.damaged.is_empty()
            && self.missing.is_empty()
            && self.unindexed.is_empty()
            && self.unreadable.is_empty()
    }
}

/// Checks the store in `folder`, which nobody may have open, and mends its index if
/// `repair`. Reads every byte that is stored.
pub fn fsck(folder: &Path, network: NetworkId, repair: bool) -> Result<FsckReport, OpenError> {
    let path = folder.join("format");
    if !path.exists() {
        return Err(OpenError::Format { path });
    }
    let folder = Folder::take(folder)?;
    let found = FoundIndex::look(&folder)?;
    let report = FsckReport { index: found.health, ..FsckReport::default() };
    let index = if repair { Some(found.make_writable(&folder)?) } else { found.index };
    let mut check =
        Check { folder: &folder, index, network, repair, seen: BTreeSet::new(), report };
    check.run().map_err(|error| match error {
        CheckError::Io(source) => OpenError::Io {
            what: "read what is stored",
            folder: folder.root().to_path_buf(),
            source,
        },
        CheckError::Index(source) => OpenError::IndexDamaged { source },
    })?;
    Ok(check.report)
}

#[derive(Debug)]
enum CheckError {
    Io(io::Error),
    Index(DiskError),
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DiskError> for CheckError {
    fn from(error: DiskError) -> Self {
        Self::Index(error)
    }
}

/// What an entry turned out to be.
enum Checked {
    /// Counted, or nothing to count.
    Known,
    /// Its bytes are others than were stored, and no index names it.
    Unreadable,
    /// A whole shard that no index names.
    New(ShardKey, Place),
}

struct Check<'a> {
    folder: &'a Folder,
    index: Option<Index>,
    network: NetworkId,
    repair: bool,
    /// Shards whose bytes were found where the index says, or that it doesn't name.
    seen: BTreeSet<ShardKey>,
    report: FsckReport,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), CheckError> {
        for first in 0..=u8::MAX {
            for (_, path) in names(&self.folder.shards(first))? {
                self.check_file(&path, |_| Home::File)?;
            }
        }
        for number in self.folder.segment_numbers()? {
            let path = self.folder.segment(number);
            self.check_file(&path, |found| Home::Segment { number, at: found.at })?;
        }
        self.check_index()?;
        Ok(())
    }

    fn check_file(&mut self, path: &Path, home: impl Fn(&Found) -> Home) -> Result<(), CheckError> {
        let file = File::open(path)?;
        let mut walk = Walk::new(&file)?;
        let (mut added, mut unreadable) = (Vec::new(), false);
        while let Some(found) = walk.next()? {
            let home = home(&found);
            match self.check_entry(&file, home, &found)? {
                Checked::Known => {}
                Checked::Unreadable => unreadable = true,
                Checked::New(key, place) => added.push((key, place, found)),
            }
        }
        // A readable index is right about what it doesn't name.
        if self.report.index != IndexHealth::Readable && (unreadable || walk.gaps > 0) {
            self.report.unreadable.push(path.to_path_buf());
        }
        self.add(added)
    }

    fn check_entry(
        &mut self,
        file: &File,
        home: Home,
        found: &Found,
    ) -> Result<Checked, CheckError> {
        let head = &found.header.head;
        let key = ShardKey { stripe: head.descriptor.body.id(), index: head.index };
        let bytes = found.check(file)?;
        let indexed = match &self.index {
            Some(index) => index.value::<Stored>(Family::Shards, &shard_key(&key))?,
            None => None,
        };
        match (indexed, bytes) {
            (Some(stored), _) if stored.place.home != home => {}
            (Some(_), Bytes::Whole(_)) => {
                self.report.whole += 1;
                self.seen.insert(key);
            }
            (Some(_), Bytes::Damaged) => {
                self.report.damaged.push(key);
                self.seen.insert(key);
            }
            (None, _) if !found.live => {}
            (None, _) if self.report.index == IndexHealth::Readable => self.report.leftovers += 1,
            (None, Bytes::Damaged) => return Ok(Checked::Unreadable),
            (None, Bytes::Whole(crc)) => {
                // A second copy is one that compaction had no time to mark.
                if self.seen.insert(key) {
                    let (sealed_at, length) = (found.sealed_at, found.header.length);
                    return Ok(Checked::New(key, Place { home, sealed_at, length, crc }));
                }
            }
        }
        Ok(Checked::Known)
    }

    /// Reports whole shards that the index doesn't name, and makes it name them.
    fn add(&mut self, added: Vec<(ShardKey, Place, Found)>) -> Result<(), CheckError> {
        self.report.whole += added.len() as u64;
        self.report.unindexed.extend(added.iter().map(|(key, ..)| *key));
        let Some(index) = self.index.as_ref().filter(|_| self.repair) else { return Ok(()) };
        let mut batch = index.batch();
        for (key, place, found) in added {
            let (bytes, head) = (shard_key(&key), &found.header.head);
            let stored = Stored { place, state: found.header.state };
            batch.put(Family::Shards, &bytes, &stored.encode());
            batch.put(Family::Heads, &bytes, &head.encode());
            let tag = &head.descriptor.body.tag;
            batch.put(Family::Locators, &locators::of_shard(&self.network, tag, &key), &[]);
            batch.delete(Family::Trash, &bytes);
            self.report.repaired += 1;
            if batch.bytes() >= BATCH_BYTES {
                write(std::mem::replace(&mut batch, index.batch()))?;
            }
        }
        write(batch)
    }

    /// Looks at what the index names and no walk has met: bytes that are gone, or whose
    /// entry can't be read as one.
    fn check_index(&mut self) -> Result<(), CheckError> {
        let Some(index) = &self.index else { return Ok(()) };
        let (mut unseen, seen) = (Vec::new(), &self.seen);
        index.visit(Family::Shards, &[], |bytes, value| {
            let stored = Stored::decode(value).map_err(|error| damaged(Family::Shards, &error))?;
            let key = parse_shard_key(bytes).filter(|key| !seen.contains(key));
            unseen.extend(key.map(|key| (key, stored.place)));
            Ok(true)
        })?;
        for (key, place) in unseen {
            match bytes_at(self.folder, index, &key, &place)? {
                None => self.report.missing.push(key),
                Some(Bytes::Whole(_)) => self.report.whole += 1,
                Some(Bytes::Damaged) => self.report.damaged.push(key),
            }
        }
        self.report.records = index.keys(Family::Sizes, &[], usize::MAX)?.len() as u64;
        if self.repair {
            let mut batch = index.batch();
            for key in &self.report.missing {
                forget(index, &mut batch, &self.network, key)?;
                self.report.repaired += 1;
            }
            write(batch)?;
        }
        Ok(())
    }
}

/// What lies where the index says that a shard does; `None`: no file.
fn bytes_at(
    folder: &Folder,
    index: &Index,
    key: &ShardKey,
    place: &Place,
) -> Result<Option<Bytes>, CheckError> {
    let path = match place.home {
        Home::File => folder.shard(key),
        Home::Segment { number, .. } => folder.segment(number),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let head = index.value::<ShardHead>(Family::Heads, &shard_key(key))?;
    let expected = head.map(|head| (head.shard_id(), place.crc));
    let whole = expected.is_some() && digest_at(&file, place.offset(), place.length)? == expected;
    Ok(Some(if whole { Bytes::Whole(place.crc) } else { Bytes::Damaged }))
}

/// Removes all that the index knows of a shard.
fn forget(
    index: &Index,
    batch: &mut Batch<'_>,
    network: &NetworkId,
    key: &ShardKey,
) -> Result<(), CheckError> {
    let bytes = shard_key(key);
    if let Some(head) = index.value::<ShardHead>(Family::Heads, &bytes)? {
        let tag = &head.descriptor.body.tag;
        batch.delete(Family::Locators, &locators::of_shard(network, tag, key));
    }
    batch.delete(Family::Shards, &bytes);
    batch.delete(Family::Heads, &bytes);
    Ok(())
}

fn write(batch: Batch<'_>) -> Result<(), CheckError> {
    if batch.is_empty() {
        return Ok(());
    }
    let failed = |error: rocksdb::Error| DiskError::Io {
        what: "write to the index".into(),
        source: error.into(),
    };
    batch.write().map_err(failed).map_err(CheckError::Index)
}
