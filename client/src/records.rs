//! Records on their pairs: written to a quorum, read from a quorum.

mod ask;
mod read;
mod write;

pub(crate) use read::{Found, Sought};
pub use read::{FoundBy, Lookup, ReadRecordError};
pub use write::WriteRecordsError;
