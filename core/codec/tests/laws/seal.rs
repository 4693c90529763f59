//! The laws of sealing and opening.

use defs_codec::seal::{HEAD, plain_length};
use defs_codec::{
    OpenError, SealedPart, SealingKey, open, open_append, open_in_place, open_into,
    open_pieces_into, open_range, seal, seal_into,
};
use defs_core::framing::{CHUNK, TAG, sealed_length, sealed_range};
use proptest::prelude::*;

use crate::{bytes, lengths};

const LABEL: &[u8] = b"test";
const STEP: usize = (CHUNK + TAG) as usize;

fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}

fn sealed(length: usize) -> Vec<u8> {
    seal(key(), LABEL, &bytes(length))
}

fn refusal(sealed: &[u8]) -> OpenError {
    open(&key(), LABEL, sealed).unwrap_err()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_sealed_opens_again_into_vectors_and_into_buffers(length in lengths()) {
        let plain = bytes(length);
        let sealed = seal(key(), LABEL, &plain);
        prop_assert_eq!(sealed.len() as u64, sealed_length(length as u64));
        prop_assert_eq!(plain_length(sealed.len() as u64), Some(length as u64));
        let opened = open(&key(), LABEL, &sealed);
        prop_assert_eq!(opened.as_ref(), Ok(&plain));
        let mut buffer = vec![1; length];
        prop_assert_eq!(open_into(&key(), LABEL, &sealed, &mut buffer), Ok(()));
        prop_assert_eq!(buffer, plain);
    }

    #[test]
    fn a_frame_opens_where_it_lies_and_from_pieces_of_any_size(
        length in lengths(), sizes in prop::collection::vec(1..200_000_usize, 1..5),
        flip in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let plain = bytes(length);
        let mut sealed = seal(key(), LABEL, &plain);
        if let Some(place) = flip {
            let place = place.index(sealed.len());
            sealed[place] ^= 1;
        }
        let expected = open(&key(), LABEL, &sealed);
        let (mut pieces, mut rest) = (Vec::new(), sealed.as_slice());
        for size in sizes.iter().cycle() {
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let mut buffer = vec![1; length];
        let opened = open_pieces_into(&key(), LABEL, &pieces, &mut buffer);
        prop_assert_eq!(&opened.map(|()| buffer), &expected);
        let opened = open_in_place(&key(), LABEL, &mut sealed);
        prop_assert_eq!(&opened.map(|length| sealed[..length].to_vec()), &expected);
    }

    #[test]
    fn a_range_opens_to_the_same_bytes_as_the_whole(
        length in 1..300_000_usize, start: prop::sample::Index, end: prop::sample::Index,
    ) {
        let plain = bytes(length);
        let (one, other) = (start.index(length), end.index(length));
        let (start, end) = (one.min(other), one.max(other) + 1);
        let opened = opened_range(&sealed(length), length, start, end);
        prop_assert_eq!(opened, Ok(plain[start..end].to_vec()));
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused(length in lengths(), cut: prop::sample::Index) {
        let sealed = sealed(length);
        let cut = &sealed[..cut.index(sealed.len())];
        let refused = refusal(cut);
        let truncated = OpenError::Truncated { have: cut.len() };
        let expected = if plain_length(cut.len() as u64).is_some() {
            OpenError::Damaged { chunk: 0 }
        } else {
            truncated
        };
        prop_assert_eq!(refused, expected);
    }

    #[test]
    fn a_flipped_bit_is_refused_by_the_name_of_its_place(
        length in lengths(), place: prop::sample::Index, bit in 0..8_u32,
    ) {
        let mut sealed = sealed(length);
        let place = place.index(sealed.len());
        sealed[place] ^= 1 << bit;
        let expected = match place {
            0 => OpenError::Version { found: sealed[0] },
            1..HEAD => OpenError::WrongKey,
            _ => OpenError::Damaged { chunk: ((place - HEAD) / STEP) as u64 },
        };
        prop_assert_eq!(refusal(&sealed), expected);
    }
}

fn opened_range(
    sealed: &[u8],
    length: usize,
    start: usize,
    end: usize,
) -> Result<Vec<u8>, OpenError> {
    let plain_length = length as u64;
    let range = start as u64..end as u64;
    let (_, at) = sealed_range(plain_length, &range);
    let part = SealedPart {
        plain_length,
        head: sealed.first_chunk().unwrap(),
        chunks: &sealed[at.start as usize..at.end as usize],
    };
    open_range(&key(), LABEL, range, part)
}

#[test]
fn a_frame_is_head_and_chunks_and_nothing_has_one_empty_chunk() {
    let empty = sealed(0);
    assert_eq!(empty.len(), 49);
    assert_eq!(empty[0], 1);
    assert_eq!(empty[1..33], key().commitment());
}

#[test]
fn sealing_and_opening_keep_what_the_vector_held_before() {
    let mut out = b"before".to_vec();
    seal_into(key(), LABEL, b"message", &mut out);
    assert_eq!(&out[..6], b"before");
    let sealed = out.split_off(6);
    open_append(&key(), LABEL, &sealed, &mut out).unwrap();
    assert_eq!(out, b"beforemessage");
}

#[test]
fn a_refusal_gives_out_nothing_of_the_chunks_before_it() {
    let mut sealed = sealed(200_000);
    *sealed.last_mut().unwrap() ^= 1;
    let mut out = b"before".to_vec();
    let refused = open_append(&key(), LABEL, &sealed, &mut out);
    assert_eq!(refused, Err(OpenError::Damaged { chunk: 3 }));
    assert_eq!(out, b"before");
}

#[test]
fn another_key_is_named_before_anything_is_opened() {
    let other = SealingKey::from_bytes([8; 32]);
    let sealed = sealed(200_000);
    assert_eq!(open(&other, LABEL, &sealed), Err(OpenError::WrongKey));
    let part =
        SealedPart { plain_length: 200_000, head: sealed.first_chunk().unwrap(), chunks: &[] };
    assert_eq!(open_range(&other, LABEL, 0..1, part), Err(OpenError::WrongKey));
}

#[test]
fn a_commitment_alone_does_not_make_a_frame_of_another_key_open() {
    let mut spliced = seal(SealingKey::from_bytes([8; 32]), LABEL, b"message");
    spliced[1..HEAD].copy_from_slice(&key().commitment());
    assert_eq!(refusal(&spliced), OpenError::Damaged { chunk: 0 });
}

#[test]
fn another_label_is_refused() {
    let refused = open(&key(), b"tes", &sealed(10));
    assert_eq!(refused, Err(OpenError::Damaged { chunk: 0 }));
}

#[test]
fn exchanged_chunks_are_refused() {
    let mut sealed = sealed(4 * CHUNK as usize);
    let (first, second) = sealed[HEAD..].split_at_mut(STEP);
    first.swap_with_slice(&mut second[..STEP]);
    assert_eq!(refusal(&sealed), OpenError::Damaged { chunk: 0 });
}

#[test]
fn a_chunk_of_another_message_does_not_fit() {
    let other = seal(SealingKey::from_bytes([8; 32]), LABEL, &bytes(200_000));
    let mut spliced = sealed(200_000);
    spliced[HEAD + STEP..HEAD + 2 * STEP].copy_from_slice(&other[HEAD + STEP..HEAD + 2 * STEP]);
    assert_eq!(refusal(&spliced), OpenError::Damaged { chunk: 1 });
}

#[test]
fn frames_without_their_last_chunks_and_with_a_repeated_one_are_refused() {
    let whole = sealed(3 * CHUNK as usize);
    for chunks in 1..3 {
        let refused = refusal(&whole[..HEAD + chunks * STEP]);
        assert_eq!(refused, OpenError::Damaged { chunk: 0 });
    }
    assert_eq!(refusal(&whole[..HEAD]), OpenError::Truncated { have: HEAD });
    let mut longer = whole.clone();
    longer.extend_from_slice(&whole[whole.len() - STEP..]);
    assert_eq!(refusal(&longer), OpenError::Damaged { chunk: 0 });
}

#[test]
fn lengths_that_no_frame_has_are_refused() {
    for length in [0, 48, sealed_length(CHUNK) + 1, sealed_length(CHUNK) + TAG] {
        assert_eq!(plain_length(length), None, "{length}");
    }
    assert_eq!(plain_length(sealed_length(CHUNK) + TAG + 1), Some(CHUNK + 1));
}

#[test]
fn a_buffer_of_another_length_is_refused_with_both_lengths() {
    let refused = open_into(&key(), LABEL, &sealed(10), &mut [0; 9]);
    assert_eq!(refused, Err(OpenError::Buffer { have: 9, need: 10 }));
}

#[test]
fn a_range_that_is_empty_or_ends_outside_or_lacks_bytes_is_refused() {
    let sealed = sealed(200_000);
    let part = SealedPart {
        plain_length: 200_000,
        head: sealed.first_chunk().unwrap(),
        chunks: &sealed[HEAD..HEAD + STEP],
    };
    for range in [5..5, 0..200_001] {
        let refused = OpenError::Range { range: range.clone(), plain_length: 200_000 };
        assert_eq!(open_range(&key(), LABEL, range, part), Err(refused));
    }
    let refused = open_range(&key(), LABEL, 0..CHUNK + 1, part);
    assert_eq!(refused, Err(OpenError::Truncated { have: STEP }));
    let claimed = SealedPart { plain_length: 200_001, ..part };
    assert_eq!(open_range(&key(), LABEL, 0..1, claimed), Err(OpenError::Damaged { chunk: 0 }));
    let elsewhere = open_range(&key(), LABEL, CHUNK..CHUNK + 1, part);
    assert_eq!(elsewhere, Err(OpenError::Damaged { chunk: 1 }));
}
