//! The gRPC service by which a node is administered: messages, server and client.
#![expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::too_many_lines,
    reason = "generated"
)]

tonic::include_proto!("defs.admin.v1");

/// Damaged shards that a `VerifyResponse` names: enough to see a pattern, and far below
/// gRPC's 4 MiB.
pub const DAMAGED_SHARDS_MAX: usize = 1000;
