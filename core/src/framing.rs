//! Lengths of the AEAD framing: what the sealing costs and which sealed bytes a plain
//! range needs. The sealing itself is codec's.

use std::ops::Range;

/// Plain bytes of a chunk: each is sealed on its own, so that a range read opens only
/// the chunks that it touches.
pub const CHUNK: u64 = 64 << 10;

/// The authentication tag after each sealed chunk.
pub const TAG: u64 = 16;

/// The frame's head: a version byte and the 32-byte key commitment.
pub const HEAD: u64 = 33;

/// Length of the sealed form of `plain` bytes. An empty message has one (empty) chunk,
/// so that its absence can be told from its truncation.
#[must_use]
pub const fn sealed_length(plain: u64) -> u64 {
    HEAD + plain + chunks(plain) * TAG
}

/// Chunks of a message of `plain` bytes.
#[must_use]
pub const fn chunks(plain: u64) -> u64 {
    if plain == 0 { 1 } else { plain.div_ceil(CHUNK) }
}

/// The chunks that hold the plain bytes `range`, and where their sealed forms lie behind
/// the head. `range` is not empty and ends at or before `plain`.
#[must_use]
pub fn sealed_range(plain: u64, range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let first = range.start / CHUNK;
    let last = range.end.div_ceil(CHUNK).min(chunks(plain));
    let end = (HEAD + last * (CHUNK + TAG)).min(sealed_length(plain));
    (first..last, HEAD + first * (CHUNK + TAG)..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_a_tag_for_each_chunk_and_one_for_nothing() {
        assert_eq!(sealed_length(0), 49);
        assert_eq!(sealed_length(1), 50);
        assert_eq!(sealed_length(CHUNK), HEAD + CHUNK + TAG);
        assert_eq!(sealed_length(CHUNK + 1), HEAD + CHUNK + 1 + 2 * TAG);
    }

    #[test]
    fn a_range_touches_only_its_chunks() {
        let plain = 3 * CHUNK + 10;
        assert_eq!(sealed_range(plain, &(0..1)), (0..1, HEAD..HEAD + CHUNK + TAG));
        let second = HEAD + CHUNK + TAG;
        assert_eq!(sealed_range(plain, &(CHUNK..CHUNK + 1)), (1..2, second..second + CHUNK + TAG));
        let (chunks, bytes) = sealed_range(plain, &(CHUNK * 2 + 5..plain));
        assert_eq!((chunks, bytes.end), (2..4, sealed_length(plain)));
    }
}
