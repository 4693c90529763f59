//! Files that hold a secret as hexadecimal digits: readable by their owner only, written
//! so that a crash leaves all of it or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use defs_core::ids::{hex, unhex};
use zeroize::{Zeroize, Zeroizing};

/// The secret in `path`, `None` if there is no such file. A file that others may read is
/// refused: its secret is no secret any more.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} can be read by others: make it private with chmod 600", path.display());
    }
    let secret = unhex(text.trim())
        .with_context(|| format!("{} does not hold 64 hexadecimal digits", path.display()))?;
    Ok(Some(Zeroizing::new(secret)))
}

/// Writes `secret` to `path`, which must not exist yet.
pub(crate) fn write(path: &Path, secret: &[u8; 32]) -> Result<()> {
    let mut text = Zeroizing::new(hex(secret));
    text.push('\n');
    let written = write_text(path, text.as_bytes(), 0o600);
    text.zeroize();
    written
}

/// Writes a small file as a whole: temporary, synced, renamed, folder synced.
pub(crate) fn write_text(path: &Path, text: &[u8], mode: u32) -> Result<()> {
    let temporary = path.with_extension("new");
    let save = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    save().with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(read(&path).unwrap().is_none());
        write(&path, &[7; 32]).unwrap();
        assert_eq!(*read(&path).unwrap().unwrap(), [7; 32]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, &[7; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = read(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn other_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_text(&path, b"not a key", 0o600).unwrap();
        assert!(read(&path).is_err());
    }
}
