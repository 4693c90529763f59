//! How failures of this node's parts become refusals that a peer can act on.

use defs_core::message::{Reason, Refusal, Response};
use defs_core::port::{CallError, DiskError, Reply};

/// A refusal with its words.
pub(crate) fn refuse(reason: Reason, detail: impl Into<String>) -> Refusal {
    Refusal::new(reason, detail)
}

/// What a peer is told when the disk refused or failed. The causes go to this node's
/// log: they name paths that are nobody else's business.
pub(crate) fn disk_refusal(error: DiskError) -> Refusal {
    match error {
        DiskError::Full { .. } => refuse(Reason::Full, error.to_string()),
        DiskError::WrongBytes => refuse(Reason::WrongBytes, error.to_string()),
        DiskError::Body(source) => refuse(Reason::Malformed, source.to_string()),
        DiskError::Damaged { .. } => {
            tracing::error!(%error, "stored data is damaged");
            refuse(Reason::Disk, "what is stored is damaged")
        }
        DiskError::Io { .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "the disk failed");
            refuse(Reason::Disk, "the node's disk failed")
        }
    }
}

/// What a client is told when this node could not get its partner to do its half.
pub(crate) fn partner_refusal(error: CallError) -> Refusal {
    match error {
        CallError::Refused { refusal, .. } => {
            refuse(refusal.reason, format!("the partner refused: {}", refusal.detail))
        }
        CallError::Unreachable { .. } | CallError::TimedOut { .. } | CallError::Protocol { .. } => {
            refuse(Reason::Degraded, format!("the pair's other member did not answer: {error}"))
        }
    }
}

/// The reply that a result stands for.
pub(crate) fn reply(result: Result<Response, Refusal>) -> Reply {
    Reply::bare(result.unwrap_or_else(Response::Refused))
}
