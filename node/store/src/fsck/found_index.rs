//! The index as fsck finds it.

use std::fs;
use std::path::PathBuf;

use crate::folder::Folder;
use crate::index::Index;
use crate::open::{Known, open_index};
use crate::open_error::OpenError;

/// In what state the index was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexHealth {
    /// It can be read, and names what is stored but for what a crash may leave.
    #[default]
    Readable,
    /// It can be read, and more shard files than a crash can leave are not in it.
    Incomplete,
    /// It isn't there.
    Missing,
    /// It can't be read; a repair puts it aside as `index.damaged-1`, `-2`, ….
    Unreadable,
}

/// The index, if it can be read at all.
#[derive(Debug)]
pub(crate) struct FoundIndex {
    pub(crate) health: IndexHealth,
    pub(crate) index: Option<Index>,
}

impl FoundIndex {
    /// Looks, changing nothing.
    pub(crate) fn look(folder: &Folder) -> Result<Self, OpenError> {
        if !folder.index().join("CURRENT").exists() {
            return Ok(Self { health: IndexHealth::Missing, index: None });
        }
        match read(folder) {
            Ok((health, index)) => Ok(Self { health, index: Some(index) }),
            Err(error @ (OpenError::Index { .. } | OpenError::IndexDamaged { .. })) => {
                tracing::error!(%error, "the index can't be read");
                Ok(Self { health: IndexHealth::Unreadable, index: None })
            }
            Err(error) => Err(error),
        }
    }

    /// The index, or an empty one in the place of one that can't be read.
    pub(crate) fn make_writable(self, folder: &Folder) -> Result<Index, OpenError> {
        if let Some(index) = self.index {
            return Ok(index);
        }
        if folder.index().exists() {
            fs::rename(folder.index(), unused(folder)).map_err(|source| OpenError::Io {
                what: "put the damaged index aside",
                folder: folder.root().to_path_buf(),
                source,
            })?;
        }
        open_index(folder, true)
    }
}

fn read(folder: &Folder) -> Result<(IndexHealth, Index), OpenError> {
    let index = open_index(folder, false)?;
    match Known::read(folder, &index) {
        Ok(_) => Ok((IndexHealth::Readable, index)),
        Err(OpenError::IndexIncomplete { .. }) => Ok((IndexHealth::Incomplete, index)),
        Err(error) => Err(error),
    }
}

/// A name for what is put aside: an earlier one may hold the last copy of records.
fn unused(folder: &Folder) -> PathBuf {
    let names = (1_u32..).map(|number| folder.root().join(format!("index.damaged-{number}")));
    let mut unused = names.filter(|name| !name.exists());
    #[expect(clippy::expect_used, reason = "no folder holds four billion names")]
    unused.next().expect("some name is unused")
}
