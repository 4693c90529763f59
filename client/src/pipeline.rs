//! The steps between a file and its shards, each in one file with its inverse:
//!
//! ```text
//! source   Slice          a file's bytes, cut        ⇄  written in order
//! encrypt  EncryptedSlice sealed under the file key  ⇄  opened and checked
//! code     SealedStripe   coded, each shard sealed   ⇄  opened, decoded if need be
//! carry    StoredStripe   placed, both receipts      ⇄  any k fetched
//! index    manifest pages sealed as records          ⇄  opened
//! keep     renewed, committed                        ⇄  deleted
//! ```
//! A step consumes the type of the step before it and alone makes its own.

pub(crate) mod carry;
pub(crate) mod census;
pub(crate) mod code;
pub(crate) mod encrypt;
pub(crate) mod fetch;
pub(crate) mod harm;
pub(crate) mod index;
pub(crate) mod keep;
mod members;
pub(crate) mod moved;
pub(crate) mod ranges;
pub(crate) mod recover;
pub(crate) mod sink;
pub(crate) mod source;

use std::sync::Arc;

use defs_core::geometry::Geometry;
use defs_core::ids::FileId;

use crate::keys::{FileKey, FileLock};

/// What every step of one file's pipeline needs to know of it.
#[derive(Debug, Clone)]
pub(crate) struct FileContext {
    pub(crate) file: FileId,
    pub(crate) key: Arc<FileKey>,
    pub(crate) lock: FileLock,
    pub(crate) geometry: Geometry,
}
