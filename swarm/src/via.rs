//! Reaching nodes that can't be dialled through one that can: a client asks the node that it
//! reached (`/defs/via/1`), that one opens a stream to the node which the client names
//! (`/defs/forwarded/1`) and copies bytes both ways.
//!
//! ```text
//! client ══ /defs/via/1 ══ forwarder ══ /defs/forwarded/1 ══ node
//!    └──────────── noise: family · lane of that family ───────┘
//! ```
//!
//! Inside of the two streams, client and node speak noise with each other: the node knows
//! the client by its own key and never takes it for the forwarder, and the forwarder sees
//! sealed bytes only. A forwarded lane carries owners' requests and nothing else.

mod bounds;
mod copying;
mod detours;
mod forwarding;
mod guests;
mod rate;
mod rights;
mod sealing;
mod words;

pub(crate) use detours::{Detoured, Detours, NoWay};
pub(crate) use forwarding::Forwarding;
pub(crate) use guests::Guests;
pub(crate) use sealing::{Carrier, Sealing};
pub(crate) use words::Code;
