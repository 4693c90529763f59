//! Shard files, segments and RocksDB: what a node keeps on its disk.
//!
//! The index (`index`) alone says what is stored; it is written last and synced. The
//! sealed bytes of large shards are files (`receive`), those of small ones lie in
//! segments (`segment`), both as entries (`entry`) that tell by themselves what they
//! are, so that [`fsck`] can rebuild the index. `open` clears up after a crash.

mod apply;
mod compact;
mod config;
mod disk;
mod entry;
mod files;
mod folder;
mod fsck;
mod group_sync;
mod index;
mod intake;
mod locators;
mod locked;
mod look;
mod open;
mod open_error;
mod place;
mod read;
mod receive;
mod remove;
mod segment;
mod space;
mod store;
mod walk;

pub use compact::Compacted;
pub use config::{Fatal, Faults, NoFaults, SEGMENT_MAX, Step, StoreConfig, Synced};
pub use folder::FORMAT_VERSION;
pub use fsck::{FsckReport, IndexHealth, fsck};
pub use open_error::OpenError;
pub use store::{FILE_MIN, READS_MAX, STORES_MAX, Store};
