//! What a node keeps in its data folder beside the store: its key, the network that it
//! belongs to, its admission and the room that it offers. The folder is taken before
//! anything in it is read or made, so that two processes that start at once can't make two
//! keys for one folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use defs_core::port::Randomness;
use defs_core::size::Size;
use defs_identity::SecretKey;
use defs_launch::OsRandom;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::secret_file;

/// The socket of the admin API, in the data folder.
pub(crate) const ADMIN_SOCKET: &str = "admin.sock";

/// A node's data folder, which this process alone uses.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Its lock ends when it is closed.
    _lock: File,
}

impl DataFolder {
    /// Takes the folder; makes it if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("failed to make the data folder {}", path.display()))?;
        Self::open_existing(path)
    }

    /// Takes the folder, which must be there.
    pub(crate) fn open_existing(path: &Path) -> Result<Self> {
        let lock = File::create(path.join("lock"))
            .with_context(|| format!("failed to open the data folder {}", path.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => {
                bail!("the data folder {} is in use by another process", path.display())
            }
            Err(error) => Err(error)
                .with_context(|| format!("failed to lock the data folder {}", path.display())),
        }
    }

    /// Where the store lies.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the admin API listens.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.path.join(ADMIN_SOCKET)
    }

    /// Where the network is named.
    pub(crate) fn network(&self) -> PathBuf {
        self.path.join("network")
    }

    /// Where the secret that admits nodes lies, in the first node's folder.
    pub(crate) fn invite(&self) -> PathBuf {
        self.path.join("invite")
    }

    /// Where the node's own admission lies.
    pub(crate) fn admission(&self) -> PathBuf {
        self.path.join("admission")
    }

    /// Where it lies that the node was told where its machine stands.
    pub(crate) fn place(&self) -> PathBuf {
        self.path.join("place")
    }

    /// The node's key, made at the first start: lose the disk and you are a new node.
    pub(crate) fn key(&self) -> Result<Zeroizing<[u8; 32]>> {
        let path = self.path.join("node.key");
        if let Some(secret) = secret_file::read(&path)? {
            SecretKey::from_bytes(&secret)
                .with_context(|| format!("{} does not hold a key", path.display()))?;
            return Ok(secret);
        }
        let seed = Zeroizing::new(OsRandom.array::<32>());
        let secret = SecretKey::from_seed(&seed).to_bytes();
        secret_file::write(&path, &secret)?;
        Ok(secret)
    }

    /// The room that this node offers: what was asked for, else nine tenths of what was
    /// free at the first start.
    pub(crate) fn capacity(&self, asked: Option<Size>) -> Result<u64> {
        if let Some(size) = asked {
            return Ok(size.0);
        }
        let path = self.path.join("capacity");
        if let Ok(text) = fs::read_to_string(&path) {
            let size: Size = text
                .trim()
                .parse()
                .with_context(|| format!("{} does not hold a size", path.display()))?;
            return Ok(size.0);
        }
        let disk = rustix::fs::statvfs(&self.path)
            .with_context(|| format!("failed to ask how much room {} has", self.path.display()))?;
        let capacity = disk.f_bavail.saturating_mul(disk.f_frsize) / 10 * 9;
        secret_file::write_text(&path, format!("{}\n", Size(capacity)).as_bytes(), 0o644)?;
        Ok(capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_before_a_key_is_made_in_it() {
        let temporary = tempfile::tempdir().unwrap();
        let first = DataFolder::open(temporary.path()).unwrap();
        let second = DataFolder::open(temporary.path()).unwrap_err().to_string();
        assert!(second.ends_with("is in use by another process"), "{second}");
        let key = first.key().unwrap();
        drop(first);
        assert_eq!(*DataFolder::open(temporary.path()).unwrap().key().unwrap(), *key);
    }

    #[test]
    fn a_node_keeps_its_key_and_its_capacity() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&temporary.path().join("node")).unwrap();
        assert_eq!(*folder.key().unwrap(), *folder.key().unwrap());
        let offered = folder.capacity(None).unwrap();
        assert!(offered > 0);
        assert_eq!(folder.capacity(None).unwrap(), offered);
        assert_eq!(folder.capacity(Some(Size::mib(5))).unwrap(), 5 << 20);
    }
}
