//! The nouns of DeFS, the formats in which they are stored and signed, the settings, and
//! the ports through which logic reaches the world. No I/O, no clock, no randomness.

pub mod body;
pub mod digest;
pub mod format;
pub mod framing;
pub mod geometry;
pub mod ids;
pub mod manifest;
pub mod message;
pub mod mode;
pub mod moved;
pub mod network;
pub mod port;
pub mod reading;
pub mod receipt;
pub mod record;
pub mod settings;
pub mod size;
pub mod spread;
pub mod statement;
pub mod states;
pub mod stripe;
pub mod trace;
pub mod wish;

pub use digest::digest;
