//! A device that is full. It is a small tmpfs, which only root can make: elsewhere the test
//! says so and is passed over.

use std::path::Path;
use std::process::Command;

use defs_core::port::{Change, Disk, DiskError};
use defs_port_suite::disk::{NETWORK, Sample};
use defs_store::{Store, StoreConfig};

/// A file system of its own; gone with the value.
struct Device(tempfile::TempDir);

impl Device {
    /// `None` if this user may not make one.
    fn of(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Lazily: files may still be open.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "why a test was passed over")]
async fn a_full_device_takes_no_new_shards_while_reads_and_deletes_go_on() {
    let Some(device) = Device::of(112) else {
        eprintln!("passed over: a tmpfs can't be mounted here");
        return;
    };
    let config = StoreConfig::new(device.path().join("store"), 1 << 40, NETWORK);
    let store = Store::open(config.clone()).unwrap();
    let length = |seed: u64| if seed.is_multiple_of(2) { 1 << 20 } else { 200 << 10 };
    let mut stored = Vec::new();
    let refused = loop {
        let sample = Sample::new(stored.len() as u64, length(stored.len() as u64));
        match sample.store(&store).await {
            Ok(()) => stored.push(sample),
            Err(error) => break error,
        }
        assert!(stored.len() < 200);
    };
    assert!(matches!(refused, DiskError::Full { .. }), "{refused}");
    assert!(stored.len() > 20, "{}", stored.len());
    for sample in &stored {
        assert!(sample.is_whole_on(&store).await.unwrap());
    }
    let (kept, gone) = stored.split_at(5);
    for sample in gone {
        store.apply(vec![Change::DeleteShard(sample.key())]).await.unwrap();
    }
    for sample in kept {
        assert!(sample.is_whole_on(&store).await.unwrap());
    }
    assert_eq!(store.usage().shards, 5);
    // There is room again.
    gone[1].store(&store).await.unwrap();
    drop(store);
    let again = Store::open(config).unwrap();
    assert_eq!(again.usage().shards, 6);
    assert!(gone[1].is_whole_on(&again).await.unwrap());
}
