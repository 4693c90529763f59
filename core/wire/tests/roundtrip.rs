//! Every message reads back as it was, and nothing that a peer could send instead makes
//! more than a refusal.

mod sample;

use defs_core::message::{BATCH_ITEMS_MAX, MESSAGE_MAX, Reason, Refusal, Request, Response, Table};
use defs_core::trace::TraceContext;
use defs_wire::{
    Incoming, WireError, decode_gossip, decode_request, decode_response, encode_gossip,
    encode_request, encode_response,
};
use proptest::prelude::*;
use sample::{gossip, large_table, request, response, shard_key, trace};

proptest! {
    #[test]
    fn a_request_reads_back(request in request(), body_length: u64, seed: Option<u8>) {
        let trace = seed.map(trace);
        let bytes = encode_request(&request, body_length, trace);
        prop_assert_eq!(decode_request(&bytes), Ok(Incoming { request, body_length, trace }));
    }

    #[test]
    fn a_response_reads_back(response in response(), length: u64) {
        let bytes = encode_response(&response, length);
        prop_assert_eq!(decode_response(&bytes), Ok((response, length)));
    }

    #[test]
    fn gossip_reads_back(gossip in gossip()) {
        prop_assert_eq!(decode_gossip(&encode_gossip(&gossip)), Ok(gossip));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(decode_request(&bytes));
        drop(decode_response(&bytes));
        drop(decode_gossip(&bytes));
    }

    #[test]
    fn a_message_with_one_byte_changed_never_panics(
        request in request(),
        response in response(),
        place: prop::sample::Index,
        other: u8,
    ) {
        let mut bytes = encode_request(&request, 1, Some(trace(1))).to_vec();
        let at = place.index(bytes.len());
        bytes[at] = other;
        drop(decode_request(&bytes));
        let mut bytes = encode_response(&response, 1).to_vec();
        let at = place.index(bytes.len());
        bytes[at] = other;
        drop(decode_response(&bytes));
    }

    #[test]
    fn a_message_cut_anywhere_is_refused_or_another(request in request(), cut: prop::sample::Index) {
        let bytes = encode_request(&request, 7, None);
        let decoded = decode_request(&bytes[..cut.index(bytes.len())]);
        prop_assert_ne!(decoded, Ok(Incoming { request, body_length: 7, trace: None }));
    }
}

#[test]
fn a_request_outside_of_any_trace_has_the_bytes_that_it_had_before_there_were_traces() {
    assert_eq!(encode_request(&Request::Ping, 0, None)[..], [0x92, 1, 0]);
    let traced = encode_request(&Request::Ping, 0, Some(trace(7)));
    assert_eq!(traced.len(), 3 + 3 + TraceContext::SIZE);
}

#[test]
fn a_trace_that_is_none_is_refused_by_its_name() {
    let ping = [0x92, 1, 0];
    for wrong in [&[1; 24][..], &[1; 26], &[0; 25], &[1; 600]] {
        let length = u16::try_from(wrong.len()).unwrap();
        // A length of two bytes, as protobuf allows for any.
        let [low, high] =
            [length & 0x7f | 0x80, length >> 7].map(|part| u8::try_from(part).unwrap());
        let bytes = [&ping[..], &[0x82, 4, low, high], wrong].concat();
        assert_eq!(decode_request(&bytes), Err(WireError::Invalid("trace")));
    }
}

#[test]
fn a_message_of_no_kind_is_refused() {
    assert_eq!(decode_request(&[]), Err(WireError::UnknownKind("request")));
    assert_eq!(decode_response(&[]), Err(WireError::UnknownKind("response")));
    assert_eq!(decode_gossip(&[]), Err(WireError::UnknownKind("gossip")));
    // Field 100, a kind that only a later version knows.
    assert_eq!(decode_request(&[0xa2, 6, 0]), Err(WireError::UnknownKind("request")));
}

#[test]
fn a_message_over_the_bound_is_refused_before_it_is_read() {
    let length = MESSAGE_MAX + 1;
    let refused = WireError::TooLarge { length, bound: MESSAGE_MAX };
    assert_eq!(decode_request(&vec![0; length]), Err(refused));
}

#[test]
fn a_batch_over_the_bound_is_refused_by_its_name() {
    let length = BATCH_ITEMS_MAX + 1;
    let shards = vec![shard_key(1, 1); length];
    let bytes = encode_request(&Request::Renew { shards, lease_ms: 1, both: true }, 0, None);
    let refused = WireError::TooLong { field: "shards", length, bound: BATCH_ITEMS_MAX };
    assert_eq!(decode_request(&bytes), Err(refused));
    let held = encode_response(&Response::Held(vec![true; length]), 0);
    let refused = WireError::TooLong { field: "held", length, bound: BATCH_ITEMS_MAX };
    assert_eq!(decode_response(&held), Err(refused));
}

#[test]
fn an_id_of_another_length_is_refused_with_both_lengths() {
    // Field 15, a locator of 3 bytes.
    let refused = WireError::WrongLength { field: "locator", length: 3, needed: 32 };
    assert_eq!(decode_request(&[0x7a, 3, 1, 2, 3]), Err(refused));
}

#[test]
fn every_reason_reads_back_and_others_are_refused() {
    for reason in Reason::ALL {
        let response = Response::Refused(Refusal::new(*reason, "no"));
        assert_eq!(decode_response(&encode_response(&response, 0)), Ok((response, 0)));
    }
    // Field 13, a refusal with reason 99.
    assert_eq!(decode_response(&[0x6a, 2, 8, 99]), Err(WireError::Invalid("reason")));
}

#[test]
fn the_parts_of_a_large_table_fit_messages_and_make_the_whole() {
    let table = large_table(500);
    let mut whole = Table::default();
    let mut from = Some(0);
    let mut parts = 0;
    while let Some(place) = from {
        let part = table.clone().part(place);
        from = part.next;
        whole.cards.extend(part.cards.clone());
        whole.pairs.extend(part.pairs.clone());
        let bytes = encode_response(&Response::Table(Box::new(part)), 0);
        assert!(bytes.len() <= MESSAGE_MAX, "{} bytes", bytes.len());
        parts += 1;
    }
    assert_eq!(whole, table);
    assert!(parts > 2);
    assert_eq!(table.part(u32::MAX), Table::default());
}
