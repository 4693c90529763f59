//! The stack machine: one script after the other over one stack, every step counted.

use std::borrow::Cow;

use defs_core::ids::Digest;

use super::number::{COUNT_BYTES_MAX, TIME_BYTES_MAX, read_number};
use super::opcode::{Instruction, Instructions, Op};
use super::rejection::{Part, Position, ScriptError};
use super::{MULTISIG_KEYS_MAX, NESTING_MAX, SIGNATURE_CHECKS_MAX, STACK_MAX, STEPS_MAX};
use crate::address::hash160;
use crate::checker::SignatureChecker;
use crate::keys::{BadSignature, Signature};
use crate::time::{CLOCK_SKEW, UnixTime};

/// What a push leaves is borrowed from its script, what an opcode makes is owned.
type Element<'a> = Cow<'a, [u8]>;

/// The state between two instructions. `'a` is the scripts', `'c` what stays the same.
pub(super) struct Machine<'a, 'c, C: ?Sized> {
    stack: Vec<Element<'a>>,
    /// For each OP_IF that is open: whether its present branch is taken.
    branches: Vec<bool>,
    steps: usize,
    signature_checks: usize,
    message: &'c Digest,
    now: UnixTime,
    checker: &'c C,
}

/// An opcode and where it stands.
#[derive(Clone, Copy)]
struct Step {
    at: Position,
    op: Op,
}

impl<'a, 'c, C: SignatureChecker + ?Sized> Machine<'a, 'c, C> {
    pub(super) fn new(message: &'c Digest, now: UnixTime, checker: &'c C) -> Self {
        let (stack, branches) = (Vec::new(), Vec::new());
        Self { stack, branches, steps: 0, signature_checks: 0, message, now, checker }
    }

    /// Runs an unlock script.
    pub(super) fn push_all(&mut self, unlock: &'a [u8]) -> Result<(), ScriptError> {
        let mut instructions = Instructions::of(Part::Unlock, unlock);
        while let Some((at, instruction)) = instructions.next()? {
            self.count(at)?;
            match instruction {
                Instruction::Push(element) => self.push(at, element.into())?,
                Instruction::Op(op) => return Err(ScriptError::NotPushOnly { at, op }),
            }
        }
        Ok(())
    }

    /// Runs a lock script over what the unlock script left.
    pub(super) fn run(&mut self, lock: &'a [u8]) -> Result<(), ScriptError> {
        let mut instructions = Instructions::of(Part::Lock, lock);
        while let Some((at, instruction)) = instructions.next()? {
            self.count(at)?;
            match instruction {
                Instruction::Op(op @ (Op::If | Op::Else | Op::EndIf)) => {
                    self.branch(Step { at, op })?
                }
                _ if !self.is_taken() => {}
                Instruction::Push(element) => self.push(at, element.into())?,
                Instruction::Op(op) => self.execute(Step { at, op })?,
            }
        }
        if self.branches.is_empty() { Ok(()) } else { Err(ScriptError::Unclosed) }
    }

    /// What the scripts left must be one true element.
    pub(super) fn finish(self) -> Result<(), ScriptError> {
        match self.stack.as_slice() {
            [] => Err(ScriptError::FalseResult),
            [result] if is_true(result) => Ok(()),
            [_] => Err(ScriptError::FalseResult),
            more => Err(ScriptError::LeftOver { left: more.len() }),
        }
    }

    fn branch(&mut self, step: Step) -> Result<(), ScriptError> {
        let Step { at, op } = step;
        if op == Op::If {
            if self.branches.len() >= NESTING_MAX {
                return Err(ScriptError::NestedTooDeep { at });
            }
            // In a branch that is not taken there is nothing to decide.
            let taken = self.is_taken() && is_true(&self.pop(step)?);
            self.branches.push(taken);
            return Ok(());
        }
        let Some(taken) = self.branches.pop() else {
            return Err(ScriptError::Unbalanced { at, op });
        };
        if op == Op::Else {
            self.branches.push(!taken);
        }
        Ok(())
    }

    fn execute(&mut self, step: Step) -> Result<(), ScriptError> {
        match step.op {
            // Handled before: they work where nothing else does.
            Op::If | Op::Else | Op::EndIf => self.branch(step),
            Op::Verify => self.verify(step),
            Op::Drop => self.pop(step).map(drop),
            Op::Dup => {
                let top = self.top(step)?.clone();
                self.push(step.at, top)
            }
            Op::Equal => self.equal(step),
            Op::EqualVerify => {
                self.equal(step)?;
                self.verify(step)
            }
            Op::Hash160 => {
                let hash = hash160(&self.pop(step)?);
                self.push(step.at, hash.to_vec().into())
            }
            Op::CheckSig => self.check_signature(step),
            Op::CheckSigVerify => {
                self.check_signature(step)?;
                self.verify(step)
            }
            Op::CheckMultiSig => self.check_signatures(step),
            Op::CheckLockTimeVerify => self.check_time(step),
        }
    }

    fn verify(&mut self, step: Step) -> Result<(), ScriptError> {
        let Step { at, op } = step;
        if is_true(&self.pop(step)?) { Ok(()) } else { Err(ScriptError::NotTrue { at, op }) }
    }

    fn equal(&mut self, step: Step) -> Result<(), ScriptError> {
        let (one, other) = (self.pop(step)?, self.pop(step)?);
        self.push_truth(step.at, one == other)
    }

    fn check_time(&self, step: Step) -> Result<(), ScriptError> {
        let Step { at, op } = step;
        let bytes = self.top(step)?;
        let number =
            read_number(bytes, TIME_BYTES_MAX).ok_or(ScriptError::NotANumber { at, op })?;
        let Ok(seconds) = u64::try_from(number) else {
            return Err(ScriptError::NumberOutOfRange { at, op, number });
        };
        let until = UnixTime::from_seconds(seconds);
        if self.now.after(CLOCK_SKEW) < until {
            Err(ScriptError::TimeLocked { until })
        } else {
            Ok(())
        }
    }

    fn check_signature(&mut self, step: Step) -> Result<(), ScriptError> {
        let (key, signature) = (self.pop(step)?, self.pop(step)?);
        let key = key_of(step.at, &key)?;
        let Some(signature) = signature_of(step.at, &signature)? else {
            return self.push_truth(step.at, false);
        };
        match self.ask(step.at, &key, &signature)? {
            Ok(()) => self.push_truth(step.at, true),
            Err(source) => Err(ScriptError::BadSignature { at: step.at, source }),
        }
    }

    fn check_signatures(&mut self, step: Step) -> Result<(), ScriptError> {
        let at = step.at;
        let keys = self.pop_list(step, MULTISIG_KEYS_MAX)?;
        let signatures = self.pop_list(step, keys.len())?;
        if !self.pop(step)?.is_empty() {
            return Err(ScriptError::DummyNotEmpty { at });
        }
        let keys = keys.iter().map(|key| key_of(at, key)).collect::<Result<Vec<_>, _>>()?;
        let signatures =
            signatures.iter().map(|one| signature_of(at, one)).collect::<Result<Vec<_>, _>>()?;
        // All there or all empty: a script may go on only without any.
        let Some(given) = signatures.iter().copied().collect::<Option<Vec<_>>>() else {
            return match signatures.iter().flatten().next() {
                None => self.push_truth(at, false),
                Some(_) => Err(ScriptError::MalformedSignature { at, length: 0 }),
            };
        };
        self.match_in_order(at, &keys, &given)?;
        self.push_truth(at, true)
    }

    /// Each signature must be by a key that stands after the one before.
    fn match_in_order(
        &mut self,
        at: Position,
        keys: &[[u8; 33]],
        signatures: &[Signature],
    ) -> Result<(), ScriptError> {
        let mut later = signatures.iter();
        let mut wanted = later.next();
        let mut source = BadSignature::Mismatch;
        for (place, key) in keys.iter().enumerate() {
            let Some(signature) = wanted else { break };
            // Too few keys are left for the signatures: no need to try them.
            if keys.len() - place <= later.len() {
                break;
            }
            match self.ask(at, key, signature)? {
                Ok(()) => wanted = later.next(),
                Err(why) => source = why,
            }
        }
        if wanted.is_none() { Ok(()) } else { Err(ScriptError::BadSignature { at, source }) }
    }

    fn ask(
        &mut self,
        at: Position,
        key: &[u8; 33],
        signature: &Signature,
    ) -> Result<Result<(), BadSignature>, ScriptError> {
        if self.signature_checks >= SIGNATURE_CHECKS_MAX {
            return Err(ScriptError::TooManySignatureChecks { at });
        }
        self.signature_checks += 1;
        Ok(self.checker.check(key, self.message, signature))
    }

    /// A count of at most `most`, and that many elements, lowest first.
    fn pop_list(&mut self, step: Step, most: usize) -> Result<Vec<Element<'a>>, ScriptError> {
        let Step { at, op } = step;
        let count = self.pop(step)?;
        let number =
            read_number(&count, COUNT_BYTES_MAX).ok_or(ScriptError::NotANumber { at, op })?;
        let count = usize::try_from(number).ok().filter(|count| *count <= most);
        let count = count.ok_or(ScriptError::NumberOutOfRange { at, op, number })?;
        let lowest = self.stack.len().checked_sub(count);
        let lowest = lowest.ok_or(ScriptError::StackUnderflow { at, op })?;
        Ok(self.stack.split_off(lowest))
    }

    fn is_taken(&self) -> bool {
        self.branches.iter().all(|taken| *taken)
    }

    fn count(&mut self, at: Position) -> Result<(), ScriptError> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(ScriptError::TooManySteps { at }) } else { Ok(()) }
    }

    fn push(&mut self, at: Position, element: Element<'a>) -> Result<(), ScriptError> {
        if self.stack.len() >= STACK_MAX {
            return Err(ScriptError::StackOverflow { at });
        }
        self.stack.push(element);
        Ok(())
    }

    fn push_truth(&mut self, at: Position, truth: bool) -> Result<(), ScriptError> {
        self.push(at, Cow::Borrowed(if truth { &[1] } else { &[] }))
    }

    fn top(&self, step: Step) -> Result<&Element<'a>, ScriptError> {
        self.stack.last().ok_or(ScriptError::StackUnderflow { at: step.at, op: step.op })
    }

    fn pop(&mut self, step: Step) -> Result<Element<'a>, ScriptError> {
        self.stack.pop().ok_or(ScriptError::StackUnderflow { at: step.at, op: step.op })
    }
}

/// Everything but zero, whose sign and length don't matter.
fn is_true(element: &[u8]) -> bool {
    element
        .split_last()
        .is_some_and(|(last, lower)| last & 0x7f != 0 || lower.iter().any(|byte| *byte != 0))
}

fn key_of(at: Position, element: &[u8]) -> Result<[u8; 33], ScriptError> {
    <[u8; 33]>::try_from(element)
        .ok()
        .ok_or(ScriptError::MalformedKey { at, length: element.len() })
}

/// The signature, or `None` for an empty element: "not this key".
fn signature_of(at: Position, element: &[u8]) -> Result<Option<Signature>, ScriptError> {
    if element.is_empty() {
        return Ok(None);
    }
    match element.try_into() {
        Ok(bytes) => Ok(Some(Signature(bytes))),
        Err(_) => Err(ScriptError::MalformedSignature { at, length: element.len() }),
    }
}
