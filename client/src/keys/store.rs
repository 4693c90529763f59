//! The file that holds the identity key: for its owner's eyes only (mode 0600), and under
//! a passphrase if there is one.
//!
//! ```text
//! plain:       version (1) ‖ 0 ‖ secret (32) ‖ checksum (4)
//! passphrase:  version (1) ‖ 1 ‖ memory KiB (u32) ‖ passes (u32) ‖ salt (32) ‖ frame of the secret
//! ```
//! The passphrase's key is argon2id over passphrase and salt; the frame is codec's.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use defs_codec::{SealingKey, open, seal};
use defs_core::digest;
use defs_core::format::{FormatError, Reader, Writer};
use defs_identity::SecretKey;
use thiserror::Error;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const LABEL: &[u8] = b"key file";

/// What argon2id costs: 64 MiB and 3 passes, a tenth of a second, and for whoever guesses
/// the same for every guess.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;

/// The most that a file may ask for before it is taken for damaged.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;

/// Wiped on drop, never printed.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// What the owner typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Passphrase(..)")
    }
}

/// Why a key file was not read or written.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// A key is never overwritten: without it its files are gone.
    #[error("{path} exists already: move it away first")]
    Exists {
        /// The key file.
        path: PathBuf,
    },
    /// The operating system failed.
    #[error("failed to {what} {path}")]
    Io {
        /// Read or write.
        what: &'static str,
        /// The key file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It is not a key file, or a damaged one.
    #[error("{path} is not a key file of this program")]
    Format {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// It is under a passphrase and none was given.
    #[error("{path} needs its passphrase")]
    PassphraseNeeded {
        /// The key file.
        path: PathBuf,
    },
    /// Another passphrase, or a damaged file.
    #[error("the passphrase does not open {path}")]
    WrongPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// argon2id could not work, for want of memory for example.
    #[error("failed to make a key of the passphrase: {why}")]
    Stretch {
        /// What argon2 says.
        why: String,
    },
}

/// Writes `key` to `path`, which must not exist. `salt` is drawn for this file.
pub fn save_key(
    path: &Path,
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
    salt: [u8; 32],
) -> Result<(), KeyStoreError> {
    let bytes = match passphrase {
        None => plain(key),
        Some(passphrase) => sealed(key, passphrase, salt)?,
    };
    if path.exists() {
        return Err(KeyStoreError::Exists { path: path.to_owned() });
    }
    write_private(path, &bytes).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyStoreError::Exists { path: path.to_owned() },
        _ => KeyStoreError::Io { what: "write the key file", path: path.to_owned(), source },
    })
}

/// The key that [`save_key`] wrote.
pub fn open_key(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyStoreError> {
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|source| KeyStoreError::Io {
        what: "read the key file",
        path: path.to_owned(),
        source,
    })?;
    let stored =
        parse(&bytes).map_err(|source| KeyStoreError::Format { path: path.to_owned(), source })?;
    let secret = match stored {
        Stored::Plain(secret) => secret,
        Stored::Sealed(sealed) => {
            let passphrase = passphrase
                .ok_or_else(|| KeyStoreError::PassphraseNeeded { path: path.to_owned() })?;
            let key = stretch(passphrase, &sealed.salt, sealed.memory_kib, sealed.passes)?;
            let plain = open(&key, LABEL, sealed.frame).map(Zeroizing::new);
            let wrong = || KeyStoreError::WrongPassphrase { path: path.to_owned() };
            let plain = plain.map_err(|_closed| wrong())?;
            Zeroizing::new(<[u8; 32]>::try_from(plain.as_slice()).map_err(|_short| wrong())?)
        }
    };
    SecretKey::from_bytes(&secret).map_err(|_none| KeyStoreError::Format {
        path: path.to_owned(),
        source: FormatError::Invalid("secret"),
    })
}

enum Stored<'a> {
    Plain(Zeroizing<[u8; 32]>),
    Sealed(Sealed<'a>),
}

struct Sealed<'a> {
    memory_kib: u32,
    passes: u32,
    salt: [u8; 32],
    frame: &'a [u8],
}

fn plain(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    let secret = key.to_bytes();
    let mut out = Writer::default();
    out.u8(VERSION);
    out.u8(PLAIN);
    out.raw(secret.as_slice());
    out.raw(&checksum(&secret));
    Zeroizing::new(out.into_bytes())
}

fn sealed(
    key: &SecretKey,
    passphrase: &Passphrase,
    salt: [u8; 32],
) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
    let sealing = stretch(passphrase, &salt, MEMORY_KIB, PASSES)?;
    let mut out = Writer::default();
    out.u8(VERSION);
    out.u8(SEALED);
    out.u32(MEMORY_KIB);
    out.u32(PASSES);
    out.raw(&salt);
    out.raw(&seal(sealing, LABEL, key.to_bytes().as_slice()));
    Ok(Zeroizing::new(out.into_bytes()))
}

fn parse(bytes: &[u8]) -> Result<Stored<'_>, FormatError> {
    let mut input = Reader::new(bytes);
    let found = input.u8("version")?;
    if found != VERSION {
        return Err(FormatError::Newer { what: "a key file", found, known: VERSION });
    }
    match input.u8("kind")? {
        PLAIN => {
            let secret = Zeroizing::new(input.array("secret")?);
            if input.array("checksum")? != checksum(&secret) {
                return Err(FormatError::Invalid("checksum"));
            }
            input.finish()?;
            Ok(Stored::Plain(secret))
        }
        SEALED => {
            let (memory_kib, passes) = (input.u32("memory")?, input.u32("passes")?);
            if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
                return Err(FormatError::Invalid("cost"));
            }
            let salt = input.array("salt")?;
            let head = 2 + 4 + 4 + 32;
            Ok(Stored::Sealed(Sealed { memory_kib, passes, salt, frame: &bytes[head..] }))
        }
        _ => Err(FormatError::Invalid("kind")),
    }
}

fn checksum(secret: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = digest("defs 2026 key file checksum", secret).0;
    [a, b, c, d]
}

fn stretch(
    passphrase: &Passphrase,
    salt: &[u8; 32],
    memory_kib: u32,
    passes: u32,
) -> Result<SealingKey, KeyStoreError> {
    let mut key = Zeroizing::new([0; 32]);
    Params::new(memory_kib, passes, 1, Some(32))
        .and_then(|params| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                passphrase.0.as_bytes(),
                salt,
                key.as_mut_slice(),
            )
        })
        .map_err(|why| KeyStoreError::Stretch { why: why.to_string() })?;
    Ok(key.into())
}

/// Writes beside `path`, makes it durable and gives it its name only if there is none: a
/// crash leaves no half key.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::hard_link(&beside, path)?;
    std::fs::remove_file(&beside)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file_which_only_its_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("identity");
        let key = SecretKey::from_seed(&[1; 32]);
        save_key(&path, &key, None, [0; 32]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open_key(&path, None).unwrap().public(), key.public());
        let again = save_key(&path, &key, None, [0; 32]);
        assert!(matches!(again, Err(KeyStoreError::Exists { .. })), "{again:?}");
    }

    #[test]
    fn a_passphrase_is_needed_and_must_be_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let key = SecretKey::from_seed(&[2; 32]);
        let right = Passphrase::new("correct horse".to_owned());
        save_key(&path, &key, Some(&right), [7; 32]).unwrap();
        assert_eq!(open_key(&path, Some(&right)).unwrap().public(), key.public());
        let wrong = open_key(&path, Some(&Passphrase::new("battery".to_owned())));
        assert!(matches!(wrong, Err(KeyStoreError::WrongPassphrase { .. })));
        assert!(matches!(open_key(&path, None), Err(KeyStoreError::PassphraseNeeded { .. })));
        let secret = key.to_bytes();
        let stored = std::fs::read(&path).unwrap();
        assert!(!stored.windows(32).any(|window| window == secret.as_slice()));
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        save_key(&path, &SecretKey::from_seed(&[3; 32]), None, [0; 32]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for place in [0, 1, 5, 35] {
            let mut bytes = good.clone();
            bytes[place] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(open_key(&path, None), Err(KeyStoreError::Format { .. })), "{place}");
        }
    }
}
