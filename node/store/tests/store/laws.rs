//! The real disk keeps the same laws as the one in memory.

use defs_core::ids::NetworkId;
use defs_store::{Store, StoreConfig};
use tempfile::TempDir;

fn make(capacity: u64, network: NetworkId) -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::new(folder.path().join("data"), capacity, network);
    (Store::open(config).unwrap(), folder)
}

defs_port_suite::disk_laws!(make);
