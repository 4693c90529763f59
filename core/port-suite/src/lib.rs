//! In-memory ports, and the suites that they share with the real ones

mod any_service;
pub mod disk;
mod faulty_disk;
mod faulty_network;
mod host;
mod inline;
mod memory_disk;
mod memory_network;
pub mod peers;

pub use faulty_disk::{DiskFaults, FaultyDisk};
pub use faulty_network::{FaultyNetwork, FaultyPeers, Traffic, Weather};
pub use host::{Calm, FIRST_DATE, Host, HostClock, Nature};
pub use inline::Inline;
pub use memory_disk::MemoryDisk;
pub use memory_network::{Counts, MemoryNetwork, MemoryPeers};
