//! Files and folders, each step announced to [`Faults`](crate::Faults) first. A failed
//! sync is fatal, a full device is [`DiskError::Full`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use defs_core::port::DiskError;
use tokio::time::Instant;

use crate::config::{Fatal, Faults, Step, Synced};

#[derive(Clone)]
pub(crate) struct Files {
    faults: Arc<dyn Faults>,
    fatal: Fatal,
    synced: Synced,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(faults: Arc<dyn Faults>, fatal: Fatal, synced: Synced) -> Self {
        Self { faults, fatal, synced }
    }

    pub(crate) fn before(&self, step: Step) -> io::Result<()> {
        self.faults.before(step)
    }

    pub(crate) fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    pub(crate) fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        self.before(Step::Write { bytes: bytes.len() })?;
        file.write_all(bytes)
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        self.before(Step::Write { bytes: bytes.len() })?;
        file.write_all_at(bytes, at)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Step::Rename)?;
        fs::rename(from, to)
    }

    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        self.before(Step::Unlink)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Makes a file's bytes and length durable.
    pub(crate) fn sync_file(&self, file: &File) -> io::Result<()> {
        let begun = Instant::now();
        let result = self.before(Step::SyncFile).and_then(|()| file.sync_data());
        self.synced.took(begun.elapsed());
        self.trust(result, "a file")
    }

    /// Makes a folder's names durable.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let sync = || File::open(folder)?.sync_all();
        let begun = Instant::now();
        let result = self.before(Step::SyncFolder).and_then(|()| sync());
        self.synced.took(begun.elapsed());
        self.trust(result, "a folder")
    }

    /// A sync that ran out of room has lost nothing that was acknowledged: the file is
    /// not named by the index yet. Any other failure is the device's.
    fn trust(&self, result: io::Result<()>, what: &str) -> io::Result<()> {
        if let Err(error) = &result
            && !is_full(error)
        {
            self.fatal.end(&format!("syncing {what} failed: {error}"));
        }
        result
    }

    pub(crate) fn fatal(&self, why: &str) {
        self.fatal.end(why);
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to say of an error of the operating system while trying `what`.
pub(crate) fn failed(what: impl Into<String>, source: io::Error) -> DiskError {
    DiskError::Io { what: what.into(), source: Box::new(source) }
}

/// Like [`failed`], for a write of `needed` bytes below `folder`.
pub(crate) fn failed_write(
    folder: &Path,
    needed: u64,
    what: impl Into<String>,
    source: io::Error,
) -> DiskError {
    if is_full(&source) {
        return DiskError::Full { needed, free: device_free(folder) };
    }
    failed(what, source)
}

/// Bytes that the device still offers, 0 if it doesn't say.
pub(crate) fn device_free(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Writes a small file so that it is there whole or not at all.
pub(crate) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}
