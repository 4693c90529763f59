//! The locks people use: who opens them, and everybody else.

use defs_core::ids::Digest;
use defs_core::statement::{LOCK_MAX, Lock, UNLOCK_MAX};
use defs_identity::script::{
    BadLock, MULTISIG_KEYS_MAX, Op, Part, Position, lock_multisig, lock_p2pk, lock_p2pkh,
    lock_until, unlock_multisig, unlock_p2pk, unlock_p2pkh,
};
use defs_identity::{
    Address, BadSignature, CLOCK_SKEW, CachedChecker, Direct, PublicKey, ScriptError, SecretKey,
    Signature, UnixTime, execute,
};

use crate::{MESSAGE, NOW, key};

fn opens(unlock: &[u8], lock: &Lock) -> Result<(), ScriptError> {
    execute(unlock, lock.script(), &MESSAGE, NOW, &Direct)
}

fn at(byte: usize) -> Position {
    Position { part: Part::Lock, byte }
}

#[test]
fn a_lock_to_a_key_opens_to_that_keys_signature_over_that_message() {
    let lock = lock_p2pk(&key(1).public());
    let source = BadSignature::Mismatch;
    let refused = Err(ScriptError::BadSignature { at: at(34), source });
    assert_eq!(opens(&unlock_p2pk(&key(1).sign(&MESSAGE)), &lock), Ok(()));
    assert_eq!(opens(&unlock_p2pk(&key(2).sign(&MESSAGE)), &lock), refused);
    assert_eq!(opens(&unlock_p2pk(&key(1).sign(&Digest([0; 32]))), &lock), refused);
}

#[test]
fn a_lock_to_an_address_opens_to_the_key_with_that_address() {
    let lock = lock_p2pkh(&Address::of(&key(1).public()));
    let unlock = |signer: &SecretKey, shown: &SecretKey| {
        unlock_p2pkh(&signer.sign(&MESSAGE), &shown.public())
    };
    assert_eq!(opens(&unlock(&key(1), &key(1)), &lock), Ok(()));
    let other_key = Err(ScriptError::NotTrue { at: at(23), op: Op::EqualVerify });
    assert_eq!(opens(&unlock(&key(2), &key(2)), &lock), other_key);
    let source = BadSignature::Mismatch;
    let other_signer = Err(ScriptError::BadSignature { at: at(24), source });
    assert_eq!(opens(&unlock(&key(2), &key(1)), &lock), other_signer);
}

#[test]
fn m_of_n_opens_to_exactly_m_signatures_in_the_keys_order() {
    let cached = CachedChecker::new();
    let secrets: Vec<_> = (1..=4).map(key).collect();
    let signatures: Vec<_> = secrets.iter().map(|key| key.sign(&MESSAGE)).collect();
    let publics: Vec<_> = secrets.iter().map(SecretKey::public).collect();
    for n in 1..=4 {
        for m in 1..=n {
            let lock = lock_multisig(m, &publics[..n]).unwrap();
            for signers in 0_u32..1 << n {
                let given: Vec<_> = (0..n)
                    .filter(|one| signers >> one & 1 == 1)
                    .map(|one| signatures[one])
                    .collect();
                let unlock = unlock_multisig(&given);
                let opened = execute(&unlock, lock.script(), &MESSAGE, NOW, &cached);
                assert_eq!(opened.is_ok(), given.len() == m, "{m} of {n}, signed by {signers:b}");
            }
        }
    }
}

#[test]
fn signatures_of_an_m_of_n_out_of_order_twice_or_by_a_stranger_are_refused() {
    let publics: Vec<_> = (1..=3).map(|number| key(number).public()).collect();
    let lock = lock_multisig(2, &publics).unwrap();
    let [one, two, stranger] = [1, 2, 9].map(|number| key(number).sign(&MESSAGE));
    let source = BadSignature::Mismatch;
    let last = lock.script().len() - 1;
    for given in [[two, one], [one, one], [one, stranger], [stranger, two]] {
        let refused = Err(ScriptError::BadSignature { at: at(last), source });
        assert_eq!(opens(&unlock_multisig(&given), &lock), refused);
    }
    assert_eq!(opens(&unlock_multisig(&[one, two]), &lock), Ok(()));
}

#[test]
fn the_largest_m_of_n_fits_every_bound() {
    let secrets: Vec<_> = (1..=15).map(key).collect();
    let publics: Vec<_> = secrets.iter().map(SecretKey::public).collect();
    let lock = lock_multisig(MULTISIG_KEYS_MAX, &publics).unwrap();
    let signatures: Vec<_> = secrets.iter().map(|key| key.sign(&MESSAGE)).collect();
    let unlock = unlock_multisig(&signatures);
    assert!(lock.script().len() <= LOCK_MAX && unlock.len() <= UNLOCK_MAX);
    assert_eq!(opens(&unlock, &lock), Ok(()));
    assert_ne!(opens(&unlock_multisig(&signatures[..14]), &lock), Ok(()));
}

#[test]
fn thresholds_and_keys_that_make_no_sense_make_no_lock() {
    let publics: Vec<PublicKey> = (1..=16).map(|number| key(number).public()).collect();
    for (needed, keys) in [(0, 1), (2, 1), (0, 0), (1, 16)] {
        let refused = Err(BadLock::Threshold { needed, keys });
        assert_eq!(lock_multisig(needed, &publics[..keys]), refused);
    }
    let twice = [publics[0], publics[1], publics[0]];
    assert_eq!(lock_multisig(2, &twice), Err(BadLock::KeyTwice { first: 0, second: 2 }));
}

#[test]
fn a_lock_with_a_time_opens_from_the_tolerated_skew_before_it_on() {
    let until = UnixTime::from_seconds(1_900_000_000);
    let first = UnixTime::from_seconds(1_900_000_000 - CLOCK_SKEW.as_secs());
    let lock = lock_until(until, &lock_p2pk(&key(1).public())).unwrap();
    let unlock = unlock_p2pk(&key(1).sign(&MESSAGE));
    let at_time = |now| execute(&unlock, lock.script(), &MESSAGE, now, &Direct);
    assert_eq!(at_time(first), Ok(()));
    assert_eq!(at_time(UnixTime::from_seconds(3_000_000_000)), Ok(()));
    let early = UnixTime::from_millis(first.millis() - 1);
    assert_eq!(at_time(early), Err(ScriptError::TimeLocked { until }));
    let strangers = unlock_p2pk(&key(2).sign(&MESSAGE));
    assert!(matches!(opens(&strangers, &lock), Err(ScriptError::TimeLocked { .. })));
}

#[test]
fn every_lock_time_up_to_the_last_that_a_script_can_say_reads_back() {
    let inner = lock_p2pk(&key(1).public());
    let unlock = unlock_p2pk(&key(1).sign(&MESSAGE));
    for seconds in [301, 1 << 15, 1 << 31, (1 << 39) - 1] {
        let until = UnixTime::from_seconds(seconds);
        let lock = lock_until(until, &inner).unwrap();
        let closed = execute(&unlock, lock.script(), &MESSAGE, UnixTime::from_seconds(0), &Direct);
        assert_eq!(closed, Err(ScriptError::TimeLocked { until }));
    }
    for seconds in [0, 1, 16, 17, 300] {
        let lock = lock_until(UnixTime::from_seconds(seconds), &inner).unwrap();
        let opened = execute(&unlock, lock.script(), &MESSAGE, UnixTime::from_seconds(0), &Direct);
        assert_eq!(opened, Ok(()));
    }
    let until = UnixTime::from_seconds(1 << 39);
    assert_eq!(lock_until(until, &inner), Err(BadLock::TooLate { until }));
}

#[test]
fn a_begun_second_counts_in_full() {
    let inner = lock_p2pk(&key(1).public());
    let (begun, full) =
        (UnixTime::from_millis(1_900_000_000_001), UnixTime::from_seconds(1_900_000_001));
    assert_eq!(lock_until(begun, &inner), lock_until(full, &inner));
}

#[test]
fn a_time_that_makes_a_lock_too_long_is_refused() {
    let inner = Lock::new(vec![0x51; LOCK_MAX]).unwrap();
    assert_eq!(lock_until(NOW, &inner), Err(BadLock::TooLong { length: LOCK_MAX + 7 }));
}

/// The owner at any time, or the heir from a time on: OP_IF and OP_ELSE by hand.
#[test]
fn a_lock_may_have_an_alternative_that_opens_later() {
    let until = UnixTime::from_seconds(1_900_000_000);
    let (owner, heir) = (lock_p2pk(&key(1).public()), lock_p2pk(&key(2).public()));
    let later = lock_until(until, &heir).unwrap();
    let script =
        [&[Op::If as u8], owner.script(), &[Op::Else as u8], later.script(), &[Op::EndIf as u8]]
            .concat();
    let lock = Lock::new(script).unwrap();
    let choose =
        |signature: &Signature, branch: u8| [unlock_p2pk(signature), vec![branch]].concat();
    let (by_owner, by_heir) = (key(1).sign(&MESSAGE), key(2).sign(&MESSAGE));

    assert_eq!(opens(&choose(&by_owner, 0x51), &lock), Ok(()));
    assert_eq!(opens(&choose(&by_heir, 0), &lock), Err(ScriptError::TimeLocked { until }));
    let then = |unlock: &[u8]| execute(unlock, lock.script(), &MESSAGE, until, &Direct);
    assert_eq!(then(&choose(&by_heir, 0)), Ok(()));
    assert!(matches!(then(&choose(&by_heir, 0x51)), Err(ScriptError::BadSignature { .. })));
}
