//! The client against real engines over ports in memory: both sides of the protocol as
//! they are shipped.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod net;
mod rates;
mod together;
