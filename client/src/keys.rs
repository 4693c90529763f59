//! What the owner keeps secret: the key of each file, the identity that opens locks, and
//! the secrets that derive from them. Nothing outside this crate can name a [`FileKey`].

mod file_key;
mod owner;
mod store;
mod text;
mod vault;

pub use file_key::FileKey;
pub(crate) use owner::{FileLock, Owner};
pub use store::{KeyStoreError, Passphrase, open_key, save_key};
pub use text::{ExportedKey, NotAnExport, export_key, import_key};
pub(crate) use vault::Drawer;
pub use vault::NotSealedHere;
