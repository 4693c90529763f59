//! The client against nodes in memory that keep the protocol, or break it on purpose.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "tests")]

mod cluster;
mod crashes;
mod damage;
mod explain;
mod faults;
mod forge;
mod liars;
mod memory;
mod moved;
mod node;
mod resumed;
mod round_trips;
mod small;
mod tasks;
