//! Whole clusters in one process from one seed: the engine and the client library as they
//! are shipped, over ports in memory that lose, delay, double and forget, in virtual time.
//!
//! One thread runs everything; every number that is drawn comes from the seed; time passes
//! when nothing else is left to do. So a seed makes one run, event for event.

pub mod args;
pub mod campaign;
pub mod chance;
pub mod cluster;
pub mod faults;
pub mod healing;
pub mod invariants;
pub mod ledger;
pub mod lookups;
pub mod margin;
pub mod owner;
pub mod pace;
pub mod ports;
pub mod run;
pub mod scene;
pub mod trace;
pub mod treason;
pub mod workload;
