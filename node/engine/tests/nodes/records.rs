//! Records at a pair.

use defs_core::ids::PairId;
use defs_core::message::{Reason, Request, Response};
use defs_core::record::{Content, HEADS_MAX, Record};

use crate::network::{Net, Owner, reason};

fn sealed(byte: u8) -> Content {
    Content::Sealed(vec![byte; 40])
}

async fn heads(owner: &Owner, node: defs_core::ids::NodeId, record: &Record) -> Vec<Content> {
    let keys = vec![record.key];
    let answer = owner.ask(node, Request::ReadRecords { keys }).await.unwrap();
    let Response::Records(mut found) = answer else { panic!("{answer:?}") };
    found.remove(0).unwrap().iter().map(|head| head.body.content.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_written_record_is_read_from_both_members_by_its_owner_only() {
    let net = Net::with(2).await;
    let (owner, stranger, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let record = owner.record(1, 1, sealed(1), &[pair.pair]);
    let signed = owner.sign(record.clone());
    let answer = owner.write(&signed, &pair).await.unwrap();
    let Response::Written(mut written) = answer else { panic!("{answer:?}") };
    assert_eq!(written.remove(0).unwrap().len(), 2);
    for node in pair.members {
        owner.log_in(node).await;
        stranger.log_in(node).await;
        assert_eq!(heads(&owner, node, &record).await, vec![sealed(1)]);
        let keys = vec![record.key];
        let refused = stranger.ask(node, Request::ReadRecords { keys }).await.unwrap();
        let Response::Records(mut refused) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.remove(0).unwrap_err().reason, Reason::NoSession);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_cannot_write_first_at_somebodys_file_id() {
    let net = Net::with(2).await;
    let (owner, stranger, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let theirs = owner.record(1, 1, sealed(1), &[pair.pair]);
    let squatted = Record { lock: stranger.lock(), ..theirs.clone() };
    for forged in [stranger.sign(squatted), stranger.sign(theirs)] {
        let answer = stranger.write(&forged, &pair).await.unwrap();
        let Response::Written(mut written) = answer else { panic!("{answer:?}") };
        assert_eq!(written.remove(0).unwrap_err().reason, Reason::NotAuthorised);
    }
}

#[tokio::test(start_paused = true)]
async fn two_writers_at_one_counter_both_survive_until_one_version_names_both() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let (one, mut two) =
        (owner.record(1, 1, sealed(1), &[pair.pair]), owner.record(1, 1, sealed(2), &[pair.pair]));
    two.salt = [9; 32];
    for record in [&one, &two, &one] {
        owner.write(&owner.sign(record.clone()), &pair).await.unwrap();
    }
    owner.log_in(pair.mirror()).await;
    assert_eq!(heads(&owner, pair.mirror(), &one).await, vec![sealed(1), sealed(2)]);
    let mut merged = owner.record(1, 2, sealed(3), &[pair.pair]);
    merged.parents = vec![one.hash(), two.hash()];
    owner.write(&owner.sign(merged), &pair).await.unwrap();
    // A late retry of the first write brings nothing back.
    owner.write(&owner.sign(one.clone()), &pair).await.unwrap();
    assert_eq!(heads(&owner, pair.mirror(), &one).await, vec![sealed(3)]);
    let mut deleted = owner.record(1, 3, Content::Deleted, &[pair.pair]);
    let merged_hash = {
        let mut merged = owner.record(1, 2, sealed(3), &[pair.pair]);
        merged.parents = vec![one.hash(), two.hash()];
        merged.hash()
    };
    deleted.parents = vec![merged_hash];
    owner.write(&owner.sign(deleted), &pair).await.unwrap();
    assert_eq!(heads(&owner, pair.mirror(), &one).await, vec![Content::Deleted]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_bounded_in_versions_and_bound_to_its_pairs() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let write = async |record: Record| {
        let answer = owner.write(&owner.sign(record), &pair).await.unwrap();
        let Response::Written(mut written) = answer else { panic!("{answer:?}") };
        written.remove(0)
    };
    for version in 0..u8::try_from(HEADS_MAX).unwrap() {
        let mut record = owner.record(1, 1, sealed(version), &[pair.pair]);
        record.salt = [version; 32];
        write(record).await.unwrap();
    }
    let mut ninth = owner.record(1, 1, sealed(99), &[pair.pair]);
    ninth.salt = [99; 32];
    assert_eq!(reason(write(ninth).await), Reason::TooMany);
    let elsewhere = owner.record(2, 1, sealed(1), &[PairId([8; 16])]);
    assert_eq!(reason(write(elsewhere).await), Reason::NotAllowed);
}
