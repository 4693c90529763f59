//! Statements: one signature for many, each worth something only where it belongs.

use defs_core::digest::BATCH_MAX;
use defs_core::ids::{NetworkId, StripeId};
use defs_core::statement::{Commit, Lock, Signed, Statement, Tombstone, Unlock};
use defs_identity::authority::message_of;
use defs_identity::script::{lock_multisig, lock_p2pkh, unlock_multisig};
use defs_identity::{
    Address, BadSignature, CachedChecker, Direct, ScriptError, authorise, sign_digests,
    sign_statement, sign_statements,
};

use crate::{NOW, key};

const NETWORK: NetworkId = NetworkId([9; 32]);

fn commit(number: u8) -> Commit {
    Commit { stripe: StripeId([number; 32]) }
}

fn owners_lock() -> Lock {
    lock_p2pkh(&Address::of(&key(1).public()))
}

/// Why `signed` is refused; `None` if it is not.
fn refusal<T: Statement>(
    signed: &Signed<T>,
    lock: &Lock,
    network: &NetworkId,
) -> Option<ScriptError> {
    authorise(signed, lock, network, NOW, &Direct).err().map(|refused| refused.source)
}

fn is_mismatch(refused: Option<ScriptError>) -> bool {
    matches!(refused, Some(ScriptError::BadSignature { source: BadSignature::Mismatch, .. }))
}

#[test]
fn each_of_64_statements_authorises_and_in_no_other_network_and_for_no_other_object() {
    let items: Vec<_> = (0..64).map(commit).collect();
    let batch = sign_statements(&key(1), &NETWORK, items);
    for (number, signed) in batch.iter().enumerate() {
        assert_eq!(signed.unlock.script, batch[0].unlock.script, "one signature for all");
        assert_eq!(refusal(signed, &owners_lock(), &NETWORK), None);
        assert!(is_mismatch(refusal(signed, &owners_lock(), &NetworkId([8; 32]))));
        let other = batch[(number + 1) % 64].body;
        let moved = Signed { body: other, unlock: signed.unlock.clone() };
        assert!(is_mismatch(refusal(&moved, &owners_lock(), &NETWORK)));
    }
}

#[test]
fn every_batch_size_is_covered_by_as_few_signatures_as_possible() {
    let cached = CachedChecker::new();
    for size in [0, 1, 2, BATCH_MAX - 1, BATCH_MAX, BATCH_MAX + 1, 3 * BATCH_MAX] {
        let items: Vec<_> = (0..size).map(|number| commit(u8::try_from(number).unwrap())).collect();
        let signed = sign_statements(&key(1), &NETWORK, items.clone());
        assert_eq!(signed.iter().map(|one| one.body).collect::<Vec<_>>(), items);
        let mut scripts: Vec<_> = signed.iter().map(|one| &one.unlock.script).collect();
        scripts.dedup();
        assert_eq!(scripts.len(), size.div_ceil(BATCH_MAX));
        for one in &signed {
            assert_eq!(authorise(one, &owners_lock(), &NETWORK, NOW, &cached), Ok(()));
        }
    }
}

#[test]
fn a_statement_alone_is_a_batch_of_one() {
    let alone = sign_statement(&key(1), &NETWORK, commit(1));
    assert_eq!(vec![alone.clone()], sign_statements(&key(1), &NETWORK, vec![commit(1)]));
    assert_eq!(refusal(&alone, &owners_lock(), &NETWORK), None);
}

#[test]
fn one_batch_may_hold_statements_of_several_kinds_and_none_passes_for_another_kind() {
    let (kept, dropped) = (commit(1), Tombstone { stripe: StripeId([1; 32]) });
    let unlocks = sign_digests(&key(1), &[kept.statement(&NETWORK), dropped.statement(&NETWORK)]);
    let [for_kept, for_dropped]: [Unlock; 2] = unlocks.try_into().unwrap();
    let kept = Signed { body: kept, unlock: for_kept.clone() };
    let dropped = Signed { body: dropped, unlock: for_dropped };
    assert_eq!(refusal(&kept, &owners_lock(), &NETWORK), None);
    assert_eq!(refusal(&dropped, &owners_lock(), &NETWORK), None);
    let passed_off = Signed { body: dropped.body, unlock: for_kept };
    assert!(is_mismatch(refusal(&passed_off, &owners_lock(), &NETWORK)));
}

#[test]
fn a_strangers_statement_is_refused_and_the_refusal_names_the_lock() {
    let signed = sign_statement(&key(2), &NETWORK, commit(1));
    let refused = authorise(&signed, &owners_lock(), &NETWORK, NOW, &Direct).unwrap_err();
    assert_eq!(refused.lock, owners_lock().hash());
    assert!(matches!(refused.source, ScriptError::NotTrue { .. }), "{:?}", refused.source);
}

#[test]
fn two_of_three_owners_state_something_together() {
    let keys = [key(1), key(2), key(3)];
    let lock = lock_multisig(2, &keys.each_ref().map(defs_identity::SecretKey::public)).unwrap();
    let message = message_of(&commit(1).statement(&NETWORK));
    let script = unlock_multisig(&[keys[0].sign(&message), keys[2].sign(&message)]);
    let signed = Signed { body: commit(1), unlock: Unlock { script, ..Unlock::default() } };
    assert_eq!(refusal(&signed, &lock, &NETWORK), None);
    assert!(is_mismatch(refusal(&signed, &lock, &NetworkId([8; 32]))));
}
