//! Which successors of an epoch a node believes.
#![cfg(test)]

use defs_core::ids::{Epoch, NetworkId, NodeId, PairId};
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::receipt::NodeSignature;
use defs_core::statement::Statement;
use defs_engine::{PairError, check_pair};
use defs_identity::{Direct, SecretKey};

const NETWORK: NetworkId = NetworkId([1; 32]);
const PRIMARY: u8 = 1;
const MIRROR: u8 = 2;
const WITNESSES: [u8; 3] = [3, 4, 5];
const STRANGER: u8 = 6;
const OTHER_STRANGER: u8 = 7;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn node(number: u8) -> NodeId {
    key(number).public().node_id()
}

fn first() -> PairRecord {
    PairRecord {
        pair: PairId([9; 16]),
        epoch: Epoch(1),
        members: [node(PRIMARY), node(MIRROR)],
        witnesses: WITNESSES.map(node).to_vec(),
        previous: None,
    }
}

/// Epoch 2 with these members.
fn second(members: [u8; 2]) -> PairRecord {
    let previous = Some(first().digest());
    PairRecord { epoch: Epoch(2), members: members.map(node), previous, ..first() }
}

/// What a node that knows epoch 1 says of `record` signed by these.
fn checked(record: PairRecord, by: &[u8]) -> Result<(), PairError> {
    let statement = record.statement(&NETWORK);
    let sign = |number: &u8| NodeSignature {
        key: key(*number).public().to_bytes(),
        signature: key(*number).sign(&statement).0,
    };
    let signed = SignedPairRecord { record, signatures: by.iter().map(sign).collect() };
    check_pair(&NETWORK, Some(&first()), &signed, &Direct)
}

#[test]
fn a_member_with_a_stranger_does_not_evict_its_partner() {
    let record = second([PRIMARY, STRANGER]);
    let too_few = Err(PairError::TooFewSignatures);
    assert_eq!(checked(record.clone(), &[PRIMARY, STRANGER]), too_few);
    // A second stranger is no witness, and one witness is not two.
    assert_eq!(checked(record.clone(), &[PRIMARY, STRANGER, OTHER_STRANGER]), too_few);
    assert_eq!(checked(record.clone(), &[PRIMARY, STRANGER, WITNESSES[0]]), too_few);
    // One witness that signs twice neither.
    let twice = [PRIMARY, STRANGER, WITNESSES[0], WITNESSES[0]];
    assert_eq!(checked(record.clone(), &twice), too_few);
    assert_eq!(checked(record, &[PRIMARY, STRANGER, WITNESSES[0], WITNESSES[2]]), Ok(()));
}

#[test]
fn witnesses_alone_replace_no_pair() {
    let record = second([STRANGER, OTHER_STRANGER]);
    let all = [STRANGER, OTHER_STRANGER, WITNESSES[0], WITNESSES[1], WITNESSES[2]];
    assert_eq!(checked(record, &all), Err(PairError::TooFewSignatures));
}

#[test]
fn both_members_hand_their_pair_over_by_themselves() {
    let record = second([PRIMARY, STRANGER]);
    assert_eq!(checked(record, &[PRIMARY, MIRROR, STRANGER]), Ok(()));
    // Nobody becomes a member without a word of its own.
    let silent = checked(second([PRIMARY, STRANGER]), &[PRIMARY, MIRROR]);
    assert_eq!(silent, Err(PairError::TooFewSignatures));
}

#[test]
fn new_witnesses_need_both_members_or_one_and_two_of_the_present_ones() {
    let renewed = || PairRecord { witnesses: vec![node(STRANGER)], ..second([PRIMARY, MIRROR]) };
    assert_eq!(checked(renewed(), &[PRIMARY, MIRROR]), Ok(()));
    assert_eq!(checked(renewed(), &[MIRROR, WITNESSES[0], WITNESSES[2]]), Ok(()));
    let too_few = Err(PairError::TooFewSignatures);
    assert_eq!(checked(renewed(), &[MIRROR]), too_few);
    assert_eq!(checked(renewed(), &[MIRROR, WITNESSES[0], STRANGER]), too_few);
    assert_eq!(checked(renewed(), &WITNESSES), too_few);
    // The roles of the members are theirs to change.
    let turned = second([MIRROR, PRIMARY]);
    assert_eq!(checked(turned, &[MIRROR, WITNESSES[0], WITNESSES[2]]), too_few);
}

#[test]
fn a_successor_follows_the_epoch_that_is_known() {
    let by = [PRIMARY, MIRROR, STRANGER];
    let skipped = PairRecord { epoch: Epoch(3), ..second([PRIMARY, STRANGER]) };
    assert_eq!(checked(skipped, &by), Err(PairError::NotASuccessor));
    let of_another = PairRecord { witnesses: vec![], ..first() }.digest();
    let forked = PairRecord { previous: Some(of_another), ..second([PRIMARY, STRANGER]) };
    assert_eq!(checked(forked, &by), Err(PairError::NotASuccessor));
}

#[test]
fn a_wrong_signature_among_enough_good_ones_is_refused() {
    let record = second([PRIMARY, STRANGER]);
    let statement = first().statement(&NETWORK);
    let old = NodeSignature {
        key: key(MIRROR).public().to_bytes(),
        signature: key(MIRROR).sign(&statement).0,
    };
    let now = record.statement(&NETWORK);
    let good = [PRIMARY, STRANGER].map(|number| NodeSignature {
        key: key(number).public().to_bytes(),
        signature: key(number).sign(&now).0,
    });
    let signed = SignedPairRecord { record, signatures: [&good[..], &[old]].concat() };
    let refused = check_pair(&NETWORK, Some(&first()), &signed, &Direct);
    assert_eq!(refused, Err(PairError::Signature));
}
