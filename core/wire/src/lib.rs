//! What goes over the wire: the protobuf messages between peers with their conversions
//! to core's, and the gRPC service by which a node is administered.
//!
//! Whatever a peer sends is bounded before it becomes a value, and a refusal names the
//! field that broke the protocol.

pub mod admin;
mod error;
mod fields;
mod gossip;
mod request;
mod response;

/// The generated messages between peers.
#[expect(unreachable_pub, reason = "generated")]
mod peer {
    include!(concat!(env!("OUT_DIR"), "/defs.peer.v1.rs"));
}

pub use error::WireError;
pub use gossip::{decode_gossip, encode_gossip};
pub use request::{Incoming, decode_request, encode_request};
pub use response::{decode_response, encode_response};
