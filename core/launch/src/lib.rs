//! What every binary does first (settings, logging, traces, signals, what a panic means) and the
//! ports that the machine itself implements: time, randomness, processors. For binaries
//! only; libraries are given what they need.

pub mod compute;
pub mod flags;
pub mod logging;
pub mod panic;
pub mod settings;
pub mod signals;
pub mod system;

pub use compute::{CpuPool, PoolError};
pub use defs_otel::{Export, Exporting, carried, carry};
pub use settings::{LoadError, environment, load_settings};
pub use system::{OsRandom, SystemClock};
