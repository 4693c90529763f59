//! Why a script does not open a lock, and where.

use std::fmt;

use thiserror::Error;

use super::opcode::Op;
use super::{ELEMENT_MAX, NESTING_MAX, SIGNATURE_CHECKS_MAX, STACK_MAX, STEPS_MAX};
use crate::keys::BadSignature;
use crate::time::UnixTime;

/// One of the two scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The script that brings signatures and keys.
    Unlock,
    /// The script that says who may act.
    Lock,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unlock => "unlock script",
            Self::Lock => "lock script",
        })
    }
}

/// Where an instruction begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// In which script.
    pub part: Part,
    /// At which byte.
    pub byte: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "byte {} of the {}", self.byte, self.part)
    }
}

/// Why a script does not open a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// A script is longer than its bound.
    #[error("the {part} has {length} bytes, at most {bound} are allowed")]
    ScriptTooLong {
        /// Which script.
        part: Part,
        /// Its length.
        length: usize,
        /// The longest allowed.
        bound: usize,
    },
    /// The script ends inside an instruction.
    #[error("the script ends inside the instruction at {at}")]
    Truncated {
        /// The instruction.
        at: Position,
    },
    /// An unlock script does something else than push.
    #[error("{op} at {at}: an unlock script may only push")]
    NotPushOnly {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
    },
    /// An opcode that has no meaning here.
    #[error("opcode {opcode:#04x} at {at} is not allowed")]
    Disabled {
        /// The instruction.
        at: Position,
        /// Its byte.
        opcode: u8,
    },
    /// More instructions than allowed.
    #[error("more than {STEPS_MAX} instructions, at {at}")]
    TooManySteps {
        /// The first instruction too many.
        at: Position,
    },
    /// More elements than allowed.
    #[error("more than {STACK_MAX} elements on the stack, at {at}")]
    StackOverflow {
        /// The instruction that pushes one too many.
        at: Position,
    },
    /// A pushed element is longer than allowed.
    #[error("an element of {length} bytes at {at}, at most {ELEMENT_MAX} are allowed")]
    ElementTooLong {
        /// The instruction.
        at: Position,
        /// The element's length.
        length: usize,
    },
    /// An instruction needs more elements than there are.
    #[error("{op} at {at} needs more elements than there are")]
    StackUnderflow {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
    },
    /// OP_ELSE or OP_ENDIF without OP_IF.
    #[error("{op} at {at} has no OP_IF")]
    Unbalanced {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
    },
    /// OP_IF without OP_ENDIF.
    #[error("the lock script ends inside an OP_IF")]
    Unclosed,
    /// OP_IF within OP_IF, too many times.
    #[error("more than {NESTING_MAX} OP_IF within one another, at {at}")]
    NestedTooDeep {
        /// The innermost one.
        at: Position,
    },
    /// A number that is too long or could be shorter.
    #[error("{op} at {at} needs a number in its shortest form")]
    NotANumber {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
    },
    /// A number that makes no sense for the instruction.
    #[error("{op} at {at} can't do with the number {number}")]
    NumberOutOfRange {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
        /// The number found.
        number: i64,
    },
    /// A key that has not 33 bytes.
    #[error("a public key of {length} bytes at {at}, 33 are needed")]
    MalformedKey {
        /// The instruction that uses it.
        at: Position,
        /// The length found.
        length: usize,
    },
    /// A signature that has neither 64 bytes nor none.
    #[error("a signature of {length} bytes at {at}, 64 are needed")]
    MalformedSignature {
        /// The instruction that checks it.
        at: Position,
        /// The length found.
        length: usize,
    },
    /// The extra element of OP_CHECKMULTISIG is not empty.
    #[error("the extra element of OP_CHECKMULTISIG at {at} is not empty")]
    DummyNotEmpty {
        /// The instruction.
        at: Position,
    },
    /// More signatures to check than allowed.
    #[error("more than {SIGNATURE_CHECKS_MAX} signatures to check, at {at}")]
    TooManySignatureChecks {
        /// The instruction that checks one too many.
        at: Position,
    },
    /// A signature is wrong.
    #[error("a wrong signature at {at}")]
    BadSignature {
        /// The instruction that checked it.
        at: Position,
        /// What is wrong with it; of several keys, with the last one tried.
        source: BadSignature,
    },
    /// What has to be true is false.
    #[error("{op} at {at} found false")]
    NotTrue {
        /// The instruction.
        at: Position,
        /// What it does.
        op: Op,
    },
    /// The lock opens later.
    #[error("the lock is closed until {until}")]
    TimeLocked {
        /// The lock's time; a clock may be early by the tolerated skew.
        until: UnixTime,
    },
    /// The scripts ran to their end and left false, or nothing.
    #[error("the scripts leave no true element")]
    FalseResult,
    /// The scripts left more than their result.
    #[error("the scripts leave {left} elements, exactly one is allowed")]
    LeftOver {
        /// How many.
        left: usize,
    },
}
