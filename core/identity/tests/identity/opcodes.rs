//! Each opcode: what it does, and each way in which it fails.

use defs_identity::script::{Op, Part, Position};
use defs_identity::{BadSignature, Direct, ScriptError, execute};

use crate::{MESSAGE, NOW, key};

const TRUE: u8 = 0x51;
const FALSE: u8 = 0x00;

fn run(unlock: &[u8], lock: &[u8]) -> Result<(), ScriptError> {
    execute(unlock, lock, &MESSAGE, NOW, &Direct)
}

/// Runs a lock alone.
fn lock(script: &[u8]) -> Result<(), ScriptError> {
    run(&[], script)
}

fn at(byte: usize) -> Position {
    Position { part: Part::Lock, byte }
}

fn push(element: &[u8]) -> Vec<u8> {
    [&[u8::try_from(element.len()).unwrap()], element].concat()
}

#[test]
fn opcodes_have_bitcoins_bytes() {
    let bytes = [
        (Op::If, 0x63),
        (Op::Else, 0x67),
        (Op::EndIf, 0x68),
        (Op::Verify, 0x69),
        (Op::Drop, 0x75),
        (Op::Dup, 0x76),
        (Op::Equal, 0x87),
        (Op::EqualVerify, 0x88),
        (Op::Hash160, 0xa9),
        (Op::CheckSig, 0xac),
        (Op::CheckSigVerify, 0xad),
        (Op::CheckMultiSig, 0xae),
        (Op::CheckLockTimeVerify, 0xb1),
    ];
    for (op, byte) in bytes {
        assert_eq!(op as u8, byte, "{op}");
    }
}

#[test]
fn every_other_opcode_is_refused_even_where_it_is_not_reached() {
    let known = [0x63, 0x67, 0x68, 0x69, 0x75, 0x76, 0x87, 0x88, 0xa9, 0xac, 0xad, 0xae, 0xb1];
    for opcode in
        (0x4e..=0xff).filter(|byte| !known.contains(byte) && !(0x51..=0x60).contains(byte))
    {
        assert_eq!(lock(&[opcode]), Err(ScriptError::Disabled { at: at(0), opcode }));
        let hidden = lock(&[TRUE, FALSE, Op::If as u8, opcode, Op::EndIf as u8]);
        assert_eq!(hidden, Err(ScriptError::Disabled { at: at(3), opcode }));
    }
}

#[test]
fn pushes_of_every_kind_push_what_they_hold() {
    let equal = |one: &[u8], other: &[u8]| lock(&[one, other, &[Op::Equal as u8]].concat());
    for number in 1..=16 {
        assert_eq!(equal(&[0x50 + number], &push(&[number])), Ok(()));
    }
    assert_eq!(equal(&[FALSE], &[0x4c, 0]), Ok(()));
    let element = [7; 75];
    assert_eq!(equal(&push(&element), &[&[0x4c, 75][..], &element].concat()), Ok(()));
    assert_eq!(equal(&push(&element), &[&[0x4d, 75, 0][..], &element].concat()), Ok(()));
}

#[test]
fn a_push_that_reaches_beyond_the_script_is_refused() {
    for script in [&[1][..], &[75, 1], &[0x4c], &[0x4c, 2, 1], &[0x4d, 1], &[0x4d, 1, 0]] {
        assert_eq!(lock(script), Err(ScriptError::Truncated { at: at(0) }));
    }
}

#[test]
fn an_unlock_script_may_only_push() {
    let at = Position { part: Part::Unlock, byte: 1 };
    let refused = Err(ScriptError::NotPushOnly { at, op: Op::Dup });
    assert_eq!(run(&[TRUE, Op::Dup as u8], &[Op::Equal as u8]), refused);
}

#[test]
fn exactly_one_true_element_must_be_left() {
    assert_eq!(lock(&[TRUE]), Ok(()));
    assert_eq!(lock(&[FALSE]), Err(ScriptError::FalseResult));
    assert_eq!(lock(&[]), Err(ScriptError::FalseResult));
    assert_eq!(run(&[TRUE], &[TRUE]), Err(ScriptError::LeftOver { left: 2 }));
    // Zero of any length and sign is false; anything else is true.
    for (element, truth) in
        [(&[0][..], false), (&[0x80], false), (&[0, 0x80], false), (&[0x80, 0], true)]
    {
        assert_eq!(lock(&push(element)).is_ok(), truth, "{element:?}");
    }
}

#[test]
fn every_opcode_that_needs_elements_says_when_there_are_too_few() {
    let needing = [
        (Op::If, 0),
        (Op::Verify, 0),
        (Op::Drop, 0),
        (Op::Dup, 0),
        (Op::Equal, 1),
        (Op::EqualVerify, 1),
        (Op::Hash160, 0),
        (Op::CheckSig, 1),
        (Op::CheckSigVerify, 1),
        (Op::CheckMultiSig, 0),
        (Op::CheckLockTimeVerify, 0),
    ];
    for (op, given) in needing {
        let script = [vec![TRUE; given], vec![op as u8]].concat();
        assert_eq!(lock(&script), Err(ScriptError::StackUnderflow { at: at(given), op }));
    }
}

#[test]
fn op_verify_and_op_equalverify_fail_where_they_stand() {
    assert_eq!(lock(&[TRUE, TRUE, Op::Verify as u8]), Ok(()));
    let refused = Err(ScriptError::NotTrue { at: at(2), op: Op::Verify });
    assert_eq!(lock(&[TRUE, FALSE, Op::Verify as u8]), refused);
    assert_eq!(lock(&[TRUE, 0x52, 0x52, Op::EqualVerify as u8]), Ok(()));
    let refused = Err(ScriptError::NotTrue { at: at(3), op: Op::EqualVerify });
    assert_eq!(lock(&[TRUE, 0x52, 0x53, Op::EqualVerify as u8]), refused);
}

#[test]
fn op_equal_op_dup_op_drop_and_op_hash160_do_what_they_say() {
    assert_eq!(lock(&[0x52, 0x53, Op::Equal as u8]), Err(ScriptError::FalseResult));
    assert_eq!(lock(&[0x52, Op::Dup as u8, Op::Equal as u8]), Ok(()));
    assert_eq!(lock(&[TRUE, FALSE, Op::Drop as u8]), Ok(()));
    // HASH160 of nothing.
    let hash = [
        0xb4, 0x72, 0xa2, 0x66, 0xd0, 0xbd, 0x89, 0xc1, 0x37, 0x06, 0xa4, 0x13, 0x2c, 0xcf, 0xb1,
        0x6f, 0x7c, 0x3b, 0x9f, 0xcb,
    ];
    let script = [&[FALSE, Op::Hash160 as u8][..], &push(&hash), &[Op::Equal as u8]].concat();
    assert_eq!(lock(&script), Ok(()));
}

#[test]
fn op_if_takes_one_branch() {
    let (if_, else_, end) = (Op::If as u8, Op::Else as u8, Op::EndIf as u8);
    let either = [if_, 0x52, else_, 0x53, end, 0x52, Op::Equal as u8];
    assert_eq!(run(&[TRUE], &either), Ok(()));
    assert_eq!(run(&[FALSE], &either), Err(ScriptError::FalseResult));
    // What stands in a branch that is not taken is not executed, inner branches included.
    let inner = [TRUE, FALSE, if_, TRUE, if_, Op::Drop as u8, else_, Op::Drop as u8, end, end];
    assert_eq!(lock(&inner), Ok(()));
}

#[test]
fn branches_that_do_not_match_are_refused() {
    let (if_, else_, end) = (Op::If as u8, Op::Else as u8, Op::EndIf as u8);
    assert_eq!(lock(&[TRUE, if_, TRUE]), Err(ScriptError::Unclosed));
    assert_eq!(lock(&[TRUE, end]), Err(ScriptError::Unbalanced { at: at(1), op: Op::EndIf }));
    assert_eq!(lock(&[else_, TRUE]), Err(ScriptError::Unbalanced { at: at(0), op: Op::Else }));
}

fn sig_lock(op: Op) -> Vec<u8> {
    [push(&key(1).public().to_bytes()), vec![op as u8]].concat()
}

#[test]
fn op_checksig_tells_a_good_signature_from_none_and_ends_at_a_wrong_one() {
    let lock = sig_lock(Op::CheckSig);
    assert_eq!(run(&push(&key(1).sign(&MESSAGE).0), &lock), Ok(()));
    assert_eq!(run(&[FALSE], &lock), Err(ScriptError::FalseResult));
    let source = BadSignature::Mismatch;
    let refused = Err(ScriptError::BadSignature { at: at(34), source });
    assert_eq!(run(&push(&key(2).sign(&MESSAGE).0), &lock), refused);
    let source = BadSignature::OutOfRange;
    let refused = Err(ScriptError::BadSignature { at: at(34), source });
    assert_eq!(run(&push(&[0; 64]), &lock), refused);
}

#[test]
fn op_checksig_names_signatures_and_keys_of_a_wrong_form() {
    let lock = sig_lock(Op::CheckSig);
    let malformed = Err(ScriptError::MalformedSignature { at: at(34), length: 63 });
    assert_eq!(run(&push(&[1; 63]), &lock), malformed);
    let unlock = push(&key(1).sign(&MESSAGE).0);
    let short = [push(&[2; 32]), vec![Op::CheckSig as u8]].concat();
    assert_eq!(run(&unlock, &short), Err(ScriptError::MalformedKey { at: at(33), length: 32 }));
    let no_point = [push(&[0; 33]), vec![Op::CheckSig as u8]].concat();
    let refused = Err(ScriptError::BadSignature { at: at(34), source: BadSignature::Key });
    assert_eq!(run(&unlock, &no_point), refused);
}

#[test]
fn op_checksigverify_leaves_nothing_or_fails() {
    let lock = [sig_lock(Op::CheckSigVerify), vec![TRUE]].concat();
    assert_eq!(run(&push(&key(1).sign(&MESSAGE).0), &lock), Ok(()));
    let refused = Err(ScriptError::NotTrue { at: at(34), op: Op::CheckSigVerify });
    assert_eq!(run(&[FALSE], &lock), refused);
}

/// `needed` of the first three keys, by hand.
fn multisig(needed: &[u8], count: &[u8]) -> Vec<u8> {
    let keys = (1..=3).flat_map(|number| push(&key(number).public().to_bytes()));
    needed
        .iter()
        .copied()
        .chain(keys)
        .chain(count.iter().copied())
        .chain([Op::CheckMultiSig as u8])
        .collect()
}

#[test]
fn op_checkmultisig_wants_an_empty_extra_element() {
    let signature = push(&key(2).sign(&MESSAGE).0);
    let lock = multisig(&[0x51], &[0x53]);
    assert_eq!(run(&[vec![FALSE], signature.clone()].concat(), &lock), Ok(()));
    let at = at(lock.len() - 1);
    let filled = run(&[vec![TRUE], signature.clone()].concat(), &lock);
    assert_eq!(filled, Err(ScriptError::DummyNotEmpty { at }));
    let absent = run(&signature, &lock);
    assert_eq!(absent, Err(ScriptError::StackUnderflow { at, op: Op::CheckMultiSig }));
}

#[test]
fn op_checkmultisig_is_false_without_signatures_and_never_with_some_missing() {
    let lock = multisig(&[0x52], &[0x53]);
    let at = at(lock.len() - 1);
    assert_eq!(run(&[FALSE; 3], &lock), Err(ScriptError::FalseResult));
    let half = [vec![FALSE, FALSE], push(&key(1).sign(&MESSAGE).0)].concat();
    assert_eq!(run(&half, &lock), Err(ScriptError::MalformedSignature { at, length: 0 }));
}

#[test]
fn op_checkmultisig_refuses_counts_that_make_no_sense() {
    let op = Op::CheckMultiSig;
    for (needed, count, number) in
        [(&[0x54][..], &[0x53][..], 4), (&[0x51], &[0x60], 16), (&[0x51], &[1, 0x81], -1)]
    {
        let lock = multisig(needed, count);
        let at = at(lock.len() - 1);
        assert_eq!(run(&[FALSE; 5], &lock), Err(ScriptError::NumberOutOfRange { at, op, number }));
    }
    let lock = multisig(&[0x51], &[2, 3, 0]);
    let at = at(lock.len() - 1);
    assert_eq!(run(&[FALSE; 2], &lock), Err(ScriptError::NotANumber { at, op }));
}

#[test]
fn op_checklocktimeverify_leaves_its_time_and_refuses_what_is_none() {
    let op = Op::CheckLockTimeVerify;
    assert_eq!(lock(&[TRUE, op as u8]), Ok(()));
    let negative = Err(ScriptError::NumberOutOfRange { at: at(2), op, number: -1 });
    assert_eq!(lock(&[1, 0x81, op as u8]), negative);
    let not_shortest = Err(ScriptError::NotANumber { at: at(3), op });
    assert_eq!(lock(&[2, 1, 0, op as u8]), not_shortest);
    let too_long = Err(ScriptError::NotANumber { at: at(7), op });
    assert_eq!(lock(&[6, 1, 1, 1, 1, 1, 1, op as u8]), too_long);
}
