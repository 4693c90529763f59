//! The libp2p adapter: core's ports for peers and gossip over real connections.
//!
//! One task owns libp2p's swarm ([`event_loop`]); everything that moves bytes happens
//! outside of it, on *lanes*: long-lived streams, each carrying one exchange at a time.
//! A lane is opened through the event loop once and then pooled, so a call to a connected
//! peer touches no queue but the connection's own.
//!
//! ```text
//! SwarmHandle::call ─ pool ─ lane ══ connection ══ lane ─ served ─ Service::serve
//!        └ opens ─ event loop ─ dial ┘
//! ```
//!
//! A client that can't dial a node goes by way of one that it reached: see [`via`].

mod addresses;
mod behaviour;
mod call;
mod channel;
mod config;
mod connections;
mod dial_errors;
mod dialling;
mod entrance;
mod event_loop;
mod family;
mod frame;
mod gossip;
mod handle;
#[cfg(test)]
mod hostile;
mod identity;
mod kad;
mod lane;
mod listening;
mod muxer;
mod opening;
mod places;
mod pool;
mod served;
mod start;
mod stats;
mod via;

pub use config::{Discovery, Limits, StartError, SwarmConfig, Timeouts};
pub use family::Family;
pub use handle::SwarmHandle;
pub use identity::{node_id, peer_id};
pub use start::{Running, Swarm};
pub use stats::{FamilyStats, SwarmStats};
