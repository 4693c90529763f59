//! In-memory ports, and the suites that they share with the real ones

pub mod disk;
mod inline;
mod memory_disk;
mod memory_network;
pub mod peers;

pub use inline::Inline;
pub use memory_disk::MemoryDisk;
pub use memory_network::{Counts, MemoryNetwork, MemoryPeers};
