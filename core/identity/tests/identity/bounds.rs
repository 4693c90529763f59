//! Whatever a stranger sends, a node's work for it is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use defs_core::ids::Digest;
use defs_core::statement::{LOCK_MAX, UNLOCK_MAX};
use defs_identity::script::{
    ELEMENT_MAX, NESTING_MAX, Op, Part, Position, SIGNATURE_CHECKS_MAX, STACK_MAX, STEPS_MAX,
};
use defs_identity::{BadSignature, Direct, ScriptError, Signature, SignatureChecker, execute};
use proptest::prelude::*;

use crate::{MESSAGE, NOW, key};

const TRUE: u8 = 0x51;

fn run(unlock: &[u8], lock: &[u8]) -> Result<(), ScriptError> {
    execute(unlock, lock, &MESSAGE, NOW, &Direct)
}

fn at(byte: usize) -> Position {
    Position { part: Part::Lock, byte }
}

#[test]
fn instructions_are_counted_over_both_scripts_taken_or_not() {
    let (up, down) = (TRUE, Op::Drop as u8);
    let pairs = |count: usize| [up, down].repeat(count);
    let most = [pairs(STEPS_MAX / 2 - 1), vec![TRUE]].concat();
    assert_eq!(run(&[TRUE], &[vec![down], most.clone()].concat()).err(), too_many(most.len()));
    assert_eq!(run(&[TRUE], &[vec![down], pairs(STEPS_MAX / 2 - 2), vec![TRUE]].concat()), Ok(()));
    let skipped =
        [vec![0, Op::If as u8], pairs(STEPS_MAX / 2), vec![Op::EndIf as u8, TRUE]].concat();
    assert_eq!(run(&[], &skipped).err(), too_many(STEPS_MAX));
}

fn too_many(byte: usize) -> Option<ScriptError> {
    Some(ScriptError::TooManySteps { at: at(byte) })
}

#[test]
fn the_stack_holds_64_elements() {
    let drops = |count: usize| [Op::Drop as u8].repeat(count);
    assert_eq!(run(&[TRUE; STACK_MAX], &drops(STACK_MAX - 1)), Ok(()));
    let overflow =
        ScriptError::StackOverflow { at: Position { part: Part::Unlock, byte: STACK_MAX } };
    assert_eq!(run(&[TRUE; STACK_MAX + 1], &drops(STACK_MAX)), Err(overflow));
    assert_eq!(
        run(&[TRUE; STACK_MAX], &[Op::Dup as u8]),
        Err(ScriptError::StackOverflow { at: at(0) })
    );
}

#[test]
fn an_element_has_128_bytes_at_most() {
    let push = |length: u8| [vec![0x4c, length], vec![1; length.into()]].concat();
    assert_eq!(ELEMENT_MAX, 128);
    assert_eq!(run(&[], &push(128)), Ok(()));
    assert_eq!(run(&[], &push(129)), Err(ScriptError::ElementTooLong { at: at(0), length: 129 }));
    let claimed = Err(ScriptError::ElementTooLong { at: at(0), length: 0xffff });
    assert_eq!(run(&[], &[0x4d, 0xff, 0xff]), claimed);
}

#[test]
fn branches_nest_eight_deep_at_most() {
    let nested = |depth: usize| {
        let open = [TRUE, Op::If as u8].repeat(depth);
        [open, vec![TRUE], vec![Op::EndIf as u8; depth]].concat()
    };
    assert_eq!(run(&[], &nested(NESTING_MAX)), Ok(()));
    let refused = Err(ScriptError::NestedTooDeep { at: at(2 * NESTING_MAX + 1) });
    assert_eq!(run(&[], &nested(NESTING_MAX + 1)), refused);
}

#[test]
fn scripts_longer_than_their_bound_are_refused_unread() {
    let (part, bound) = (Part::Unlock, UNLOCK_MAX);
    let refused = ScriptError::ScriptTooLong { part, length: bound + 1, bound };
    assert_eq!(run(&[0xff; UNLOCK_MAX + 1], &[TRUE]), Err(refused));
    let (part, bound) = (Part::Lock, LOCK_MAX);
    let refused = ScriptError::ScriptTooLong { part, length: bound + 1, bound };
    assert_eq!(run(&[], &[0xff; LOCK_MAX + 1]), Err(refused));
}

/// Says no and counts how often it was asked.
#[derive(Default)]
struct Counting(AtomicUsize);

impl SignatureChecker for Counting {
    fn check(&self, _: &[u8; 33], _: &Digest, _: &Signature) -> Result<(), BadSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(BadSignature::Mismatch)
    }
}

/// Says yes and counts how often it was asked.
#[derive(Default)]
struct Agreeing(AtomicUsize);

impl SignatureChecker for Agreeing {
    fn check(&self, _: &[u8; 33], _: &Digest, _: &Signature) -> Result<(), BadSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn twenty_signatures_are_checked_at_most() {
    let curve = Agreeing::default();
    let public = [vec![33], key(1).public().to_bytes().to_vec()].concat();
    let signature = [vec![64], vec![1; 64]].concat();
    let checks = SIGNATURE_CHECKS_MAX + 1;
    let check = [public, vec![Op::CheckSigVerify as u8]].concat();
    let lock = [check.repeat(checks), vec![TRUE]].concat();
    let refused = execute(&signature.repeat(checks), &lock, &MESSAGE, NOW, &curve);
    let at = at(35 * SIGNATURE_CHECKS_MAX + 34);
    assert_eq!(refused, Err(ScriptError::TooManySignatureChecks { at }));
    assert_eq!(curve.0.load(Ordering::Relaxed), SIGNATURE_CHECKS_MAX);
}

/// Mostly instructions that mean something, so that scripts get far.
fn likely_script() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![
        0x00, 0x51, 0x52, 0x53, 0x63, 0x67, 0x68, 0x69, 0x75, 0x76, 0x76, 0x87, 0x88, 0xa9, 0xac,
        0xad, 0xae, 0xb1,
    ]);
    let piece = prop_oneof![
        8 => opcode.prop_map(|opcode| vec![opcode]),
        2 => Just([vec![33], key(1).public().to_bytes().to_vec()].concat()),
        2 => Just([vec![64], vec![7; 64]].concat()),
        1 => any::<u8>().prop_map(|opcode| vec![opcode]),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes_end_within_the_bounds(
        unlock in prop::collection::vec(any::<u8>(), 0..300),
        lock in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let curve = Counting::default();
        let first = execute(&unlock, &lock, &MESSAGE, NOW, &curve);
        prop_assert!(curve.0.load(Ordering::Relaxed) <= SIGNATURE_CHECKS_MAX);
        prop_assert_eq!(execute(&unlock, &lock, &MESSAGE, NOW, &curve), first);
    }

    #[test]
    fn likely_scripts_end_within_the_bounds(
        unlock in prop::collection::vec(prop_oneof![Just(0_u8), 0x51_u8..=0x60], 0..20),
        lock in likely_script(),
        agrees in any::<bool>(),
    ) {
        let (no, yes) = (Counting::default(), Agreeing::default());
        let checker: &dyn SignatureChecker = if agrees { &yes } else { &no };
        let first = execute(&unlock, &lock, &MESSAGE, NOW, checker);
        let asked = no.0.load(Ordering::Relaxed) + yes.0.load(Ordering::Relaxed);
        prop_assert!(asked <= SIGNATURE_CHECKS_MAX);
        prop_assert_eq!(execute(&unlock, &lock, &MESSAGE, NOW, checker), first);
    }
}
