//! The nouns of DeFS, the formats in which they are stored and signed, the settings, and
//! the ports through which logic reaches the world. No I/O, no clock, no randomness.

pub mod digest;
pub mod format;
pub mod framing;
pub mod geometry;
pub mod ids;
pub mod size;
pub mod statement;
pub mod stripe;

pub use digest::digest;
