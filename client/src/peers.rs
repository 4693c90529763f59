//! Other peers as the client sees them: links with sessions, how fast each node answers,
//! and record reads that travel together.

mod asking;
mod links;
mod pace;

pub(crate) use asking::Asking;
pub(crate) use links::{Links, NetworkIdentity, unexpected};
pub(crate) use pace::Kind;
