//! The data folder: what lies where, who may use it, and the version of its format.
//!
//! ```text
//! lock                                 held by the one process that uses the folder
//! format                               the version of this layout: digits, newline
//! tmp/                                 files being written; emptied at every start
//! shards/<2 digits>/<stripe>-<index>.shard   one entry: a shard of 256 KiB or more
//! segments/<number>.seg                entries of smaller shards, one after another
//! index/                               RocksDB: what is stored, where, and records
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use defs_core::ids::{ShardIndex, StripeId, hex, unhex};
use defs_core::message::ShardKey;
use rustix::fs::{FlockOperation, flock};

use crate::files::{Files, names, write_whole};
use crate::open_error::OpenError;
use crate::place::SEGMENT_NUMBER_MAX;

/// The version of the layout that this program writes.
pub const FORMAT_VERSION: u32 = 1;

/// One step of a migration: brings a folder from a version to the next.
type Migration = fn(&Path) -> io::Result<()>;

/// The step at place `v - 1` brings version `v` to `v + 1`. Each must leave the folder
/// readable by itself when it is cut short, because it is then run again.
const MIGRATIONS: &[Migration] = &[];

/// A data folder that this process alone uses.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Whether the folder was made just now.
    pub(crate) fresh: bool,
    /// Its lock ends when it is closed.
    _lock: File,
}

impl Folder {
    /// Takes the folder, makes it or brings it to this program's format.
    pub(crate) fn take(root: &Path) -> Result<Self, OpenError> {
        let io = |what| move |source| OpenError::Io { what, folder: root.to_path_buf(), source };
        fs::create_dir_all(root).map_err(io("make the data folder"))?;
        let lock = File::create(root.join("lock")).map_err(io("make the lock file"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::InUse { folder: root.to_path_buf() });
            }
            Err(error) => return Err(io("lock the data folder")(error.into())),
        }
        let fresh = match read_version(root)? {
            Some(found) => {
                migrate(root, found)?;
                false
            }
            None => {
                make_folders(root).map_err(io("make the folders"))?;
                true
            }
        };
        Ok(Self { root: root.to_path_buf(), fresh, _lock: lock })
    }

    /// Writes the version of a fresh folder: its last step, so that a folder whose making
    /// was cut short is made again.
    pub(crate) fn finish(&self) -> io::Result<()> {
        write_whole(&self.root, "format", format!("{FORMAT_VERSION}\n").as_bytes())
    }

    /// Removes what was being written when the last process ended.
    pub(crate) fn empty_tmp(&self, files: &Files) -> io::Result<usize> {
        let leftovers = names(&self.tmp())?;
        for (_, path) in &leftovers {
            files.unlink(path)?;
        }
        Ok(leftovers.len())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:08}.seg"))
    }

    /// The numbers of the segments that are there, in order.
    pub(crate) fn segment_numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> = names(&self.segments())?
            .iter()
            .filter_map(|(name, _)| name.strip_suffix(".seg")?.parse().ok())
            .filter(|number| *number <= SEGMENT_NUMBER_MAX)
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The folder of the shards whose stripe begins with `first`.
    pub(crate) fn shards(&self, first: u8) -> PathBuf {
        self.root.join("shards").join(hex(&[first]))
    }

    pub(crate) fn shard(&self, key: &ShardKey) -> PathBuf {
        let name = format!("{}-{}.shard", key.stripe.full(), key.index);
        self.shards(key.stripe.0[0]).join(name)
    }
}

/// The shard that a file in `shards/` is named for.
pub(crate) fn shard_of_name(name: &str) -> Option<ShardKey> {
    let (stripe, index) = name.strip_suffix(".shard")?.split_once('-')?;
    let index = ShardIndex(index.parse().ok()?);
    Some(ShardKey { stripe: StripeId(unhex(stripe)?), index })
}

fn make_folders(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join("tmp"))?;
    fs::create_dir_all(root.join("segments"))?;
    for first in 0..=u8::MAX {
        fs::create_dir_all(root.join("shards").join(hex(&[first])))?;
    }
    File::open(root.join("shards"))?.sync_all()?;
    File::open(root)?.sync_all()
}

fn read_version(root: &Path) -> Result<Option<u32>, OpenError> {
    let path = root.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::Format { path });
        }
        Err(source) => {
            let folder = root.to_path_buf();
            return Err(OpenError::Io { what: "read the format version", folder, source });
        }
    };
    match text.strip_suffix('\n').map(str::parse) {
        Some(Ok(version)) if version > 0 => Ok(Some(version)),
        _ => Err(OpenError::Format { path }),
    }
}

/// Brings a folder of version `from` to [`FORMAT_VERSION`], a version at a time.
fn migrate(root: &Path, from: u32) -> Result<(), OpenError> {
    if from > FORMAT_VERSION {
        let folder = root.to_path_buf();
        return Err(OpenError::Newer { folder, found: from, known: FORMAT_VERSION });
    }
    for (version, step) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version < from) {
        let reached = format!("{}\n", version + 1);
        step(root).and_then(|()| write_whole(root, "format", reached.as_bytes())).map_err(
            |source| {
                let folder = root.to_path_buf();
                OpenError::Io { what: "bring the format up to date", folder, source }
            },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_known_by_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let taken = Folder::take(folder.path()).unwrap();
        let key = ShardKey { stripe: StripeId([0xa7; 32]), index: ShardIndex(13) };
        let path = taken.shard(&key);
        assert_eq!(shard_of_name(path.file_name().unwrap().to_str().unwrap()), Some(key));
        assert!(path.starts_with(folder.path().join("shards/a7")));
        assert_eq!(shard_of_name("a7-1.shard"), None);
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), "2\n").unwrap();
        let refused = Folder::take(folder.path()).unwrap_err().to_string();
        assert!(refused.ends_with("has format 2, this program reads up to 1: upgrade it"));
    }

    #[test]
    fn a_format_that_is_no_number_is_refused() {
        for text in ["", "1", "0\n", "one\n"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("format"), text).unwrap();
            let refused = Folder::take(folder.path()).unwrap_err();
            assert!(matches!(refused, OpenError::Format { .. }), "{text:?}: {refused}");
        }
    }

    #[test]
    fn a_folder_whose_making_was_cut_short_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(Folder::take(folder.path()).unwrap());
        let again = Folder::take(folder.path()).unwrap();
        assert!(again.fresh);
        again.finish().unwrap();
        drop(again);
        assert!(!Folder::take(folder.path()).unwrap().fresh);
    }

    #[test]
    fn a_file_with_a_number_that_no_segment_has_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let taken = Folder::take(folder.path()).unwrap();
        fs::write(taken.segment(u64::MAX), "").unwrap();
        fs::write(taken.segment(7), "").unwrap();
        assert_eq!(taken.segment_numbers().unwrap(), [7]);
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let taken = Folder::take(folder.path()).unwrap();
        let refused = Folder::take(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }));
        drop(taken);
        assert!(Folder::take(folder.path()).is_ok());
    }
}
