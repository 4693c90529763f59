//! Named scenarios: interleavings and attacks that the design has to bear, each a script
//! on a cluster. docs/scenarios.md says which line of the design each of them shows.
#![expect(clippy::unwrap_used, reason = "tests")]

mod balance;
mod deletion;
mod ends;
mod halves;
mod healing;
mod keeping;
mod treason;
