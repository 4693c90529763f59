//! The store on a real disk.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compaction;
mod faults;
mod fsck;
mod full_device;
mod laws;
mod model;
