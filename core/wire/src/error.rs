//! Why bytes are not a message.

use defs_core::format::FormatError;
use thiserror::Error;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Larger than any message may be.
    #[error("a message of {length} bytes: at most {bound} are allowed")]
    TooLarge {
        /// The message's length.
        length: usize,
        /// The largest length allowed.
        bound: usize,
    },
    /// Not protobuf, or not of this message's types.
    #[error("the bytes are not a protobuf message of this protocol")]
    Protobuf(#[from] prost::DecodeError),
    /// The message says nothing, or something that only a later version knows.
    #[error("`{0}` is of no kind that this version knows")]
    UnknownKind(&'static str),
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field has another length than its type.
    #[error("`{field}` has {length} bytes instead of {needed}")]
    WrongLength {
        /// The field's name.
        field: &'static str,
        /// The length found.
        length: usize,
        /// The length that it must have.
        needed: usize,
    },
    /// A list or text is longer than its bound.
    #[error("`{field}` has length {length}, at most {bound} is allowed")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The length found.
        length: usize,
        /// The largest length allowed.
        bound: usize,
    },
    /// A number that stands for nothing.
    #[error("`{0}` holds a value that is not allowed")]
    Invalid(&'static str),
    /// A field does not hold the format that it should.
    #[error("`{field}` can't be read")]
    Format {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        source: FormatError,
    },
}
