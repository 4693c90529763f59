//! What a node keeps in its data folder beside the store: its key, the network that it
//! belongs to, its admission and the room that it offers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use defs_core::port::Randomness;
use defs_core::size::Size;
use defs_identity::SecretKey;
use defs_launch::OsRandom;
use zeroize::Zeroizing;

use crate::secret_file;

/// A node's data folder.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    /// Makes the folder if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("failed to make the data folder {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Where the store lies.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where the admin API listens.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Where the network is named.
    pub(crate) fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    /// Where the secret that admits nodes lies, in the first node's folder.
    pub(crate) fn invite(&self) -> PathBuf {
        self.0.join("invite")
    }

    /// Where the node's own admission lies.
    pub(crate) fn admission(&self) -> PathBuf {
        self.0.join("admission")
    }

    /// The node's key, made at the first start: lose the disk and you are a new node.
    pub(crate) fn key(&self) -> Result<Zeroizing<[u8; 32]>> {
        let path = self.0.join("node.key");
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
        let path = self.0.join("capacity");
        if let Ok(text) = fs::read_to_string(&path) {
            let size: Size = text
                .trim()
                .parse()
                .with_context(|| format!("{} does not hold a size", path.display()))?;
            return Ok(size.0);
        }
        let disk = rustix::fs::statvfs(&self.0)
            .with_context(|| format!("failed to ask how much room {} has", self.0.display()))?;
        let capacity = disk.f_bavail.saturating_mul(disk.f_frsize) / 10 * 9;
        secret_file::write_text(&path, format!("{}\n", Size(capacity)).as_bytes(), 0o644)?;
        Ok(capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
