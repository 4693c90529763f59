//! Instructions and how they are told apart in a script.

use std::fmt;

use super::ELEMENT_MAX;
use super::rejection::{Part, Position, ScriptError};

/// What an instruction that is not a push does. The discriminant is its byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// Take the following branch if the top element is true.
    If = 0x63,
    /// The other branch.
    Else = 0x67,
    /// The end of both branches.
    EndIf = 0x68,
    /// Fail unless the top element is true.
    Verify = 0x69,
    /// Remove the top element.
    Drop = 0x75,
    /// Repeat the top element.
    Dup = 0x76,
    /// Whether the two top elements are equal.
    Equal = 0x87,
    /// Fail unless the two top elements are equal.
    EqualVerify = 0x88,
    /// RIPEMD-160 of SHA-256 of the top element.
    Hash160 = 0xa9,
    /// Whether a key made a signature.
    CheckSig = 0xac,
    /// Fail unless a key made a signature.
    CheckSigVerify = 0xad,
    /// Whether m of n keys made m signatures, in the keys' order.
    CheckMultiSig = 0xae,
    /// Fail before the time on the top of the stack, which stays there.
    CheckLockTimeVerify = 0xb1,
}

impl Op {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x63 => Self::If,
            0x67 => Self::Else,
            0x68 => Self::EndIf,
            0x69 => Self::Verify,
            0x75 => Self::Drop,
            0x76 => Self::Dup,
            0x87 => Self::Equal,
            0x88 => Self::EqualVerify,
            0xa9 => Self::Hash160,
            0xac => Self::CheckSig,
            0xad => Self::CheckSigVerify,
            0xae => Self::CheckMultiSig,
            0xb1 => Self::CheckLockTimeVerify,
            _ => return None,
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::If => "OP_IF",
            Self::Else => "OP_ELSE",
            Self::EndIf => "OP_ENDIF",
            Self::Verify => "OP_VERIFY",
            Self::Drop => "OP_DROP",
            Self::Dup => "OP_DUP",
            Self::Equal => "OP_EQUAL",
            Self::EqualVerify => "OP_EQUALVERIFY",
            Self::Hash160 => "OP_HASH160",
            Self::CheckSig => "OP_CHECKSIG",
            Self::CheckSigVerify => "OP_CHECKSIGVERIFY",
            Self::CheckMultiSig => "OP_CHECKMULTISIG",
            Self::CheckLockTimeVerify => "OP_CHECKLOCKTIMEVERIFY",
        })
    }
}

/// The longest push whose opcode is its length.
pub(super) const DIRECT_PUSH_MAX: u8 = 75;
/// A length byte follows.
pub(super) const PUSH_DATA_1: u8 = 0x4c;
/// Two length bytes follow, little-endian.
pub(super) const PUSH_DATA_2: u8 = 0x4d;
/// Pushes the number 1; the next fifteen push 2 to 16.
pub(super) const PUSH_1: u8 = 0x51;
/// Pushes the number 16.
pub(super) const PUSH_16: u8 = 0x60;

/// What PUSH_1 to PUSH_16 push, one byte each.
static SMALL_NUMBERS: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instruction<'a> {
    Push(&'a [u8]),
    Op(Op),
}

/// Takes a script apart.
#[derive(Debug)]
pub(super) struct Instructions<'a> {
    part: Part,
    script: &'a [u8],
    next: usize,
}

impl<'a> Instructions<'a> {
    pub(super) fn of(part: Part, script: &'a [u8]) -> Self {
        Self { part, script, next: 0 }
    }

    /// The next instruction and where it begins.
    pub(super) fn next(&mut self) -> Result<Option<(Position, Instruction<'a>)>, ScriptError> {
        let at = Position { part: self.part, byte: self.next };
        let Some(opcode) = self.script.get(self.next).copied() else { return Ok(None) };
        self.next += 1;
        let instruction = match opcode {
            0..=DIRECT_PUSH_MAX => self.push(at, opcode.into())?,
            PUSH_DATA_1 => {
                let length = self.take(at, 1)?[0];
                self.push(at, length.into())?
            }
            PUSH_DATA_2 => {
                let length = self.take(at, 2)?;
                self.push(at, u16::from_le_bytes([length[0], length[1]]).into())?
            }
            PUSH_1..=PUSH_16 => {
                let number = usize::from(opcode - PUSH_1);
                Instruction::Push(&SMALL_NUMBERS[number..=number])
            }
            _ => {
                Instruction::Op(Op::from_byte(opcode).ok_or(ScriptError::Disabled { at, opcode })?)
            }
        };
        Ok(Some((at, instruction)))
    }

    fn push(&mut self, at: Position, length: usize) -> Result<Instruction<'a>, ScriptError> {
        if length > ELEMENT_MAX {
            return Err(ScriptError::ElementTooLong { at, length });
        }
        Ok(Instruction::Push(self.take(at, length)?))
    }

    fn take(&mut self, at: Position, length: usize) -> Result<&'a [u8], ScriptError> {
        let end = self.next + length;
        let bytes = self.script.get(self.next..end).ok_or(ScriptError::Truncated { at })?;
        self.next = end;
        Ok(bytes)
    }
}
