//! Engines over in-memory ports: what nodes do with shards, records, sessions and each
//! other. Time is paused, randomness counted, so every run is the same.
#![cfg(test)]

mod agreeing;
mod assigned;
mod balance;
mod clock;
mod dates;
mod forming;
mod forwarded;
mod healing;
mod hidden;
mod hostile;
mod keeping;
mod limits;
mod looking;
mod network;
mod pairing;
mod reading;
mod records;
mod storing;
mod traitor;
