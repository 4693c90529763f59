//! Text for people to copy: lower-case base32 (RFC 4648 letters, no padding).

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `bytes` as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(held >> bits));
        }
    }
    if bits > 0 {
        text.push(letter(held << (5 - bits)));
    }
    text
}

fn letter(value: u32) -> char {
    char::from(LETTERS[(value & 31) as usize])
}

/// Why a text is not base32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBase32 {
    /// This letter, counted from 0, is none of the 32.
    Letter(usize),
    /// No bytes have a text of this length, or its last bits are not zero.
    Length,
}

/// The bytes of `text`; upper-case letters are read too, since some programs make them.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, NotBase32> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for (place, letter) in text.bytes().enumerate() {
        let lower = letter.to_ascii_lowercase();
        let value = (0_u32..).zip(LETTERS).find(|(_, known)| **known == lower);
        let (value, _) = value.ok_or(NotBase32::Letter(place))?;
        held = ((held << 5) | value) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).map_err(|_none| NotBase32::Length)?);
        }
    }
    if bits >= 5 || held & ((1 << bits) - 1) != 0 {
        return Err(NotBase32::Length);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rfcs_examples_read_and_write_alike() {
        for (plain, text) in [("", ""), ("f", "my"), ("fo", "mzxq"), ("foobar", "mzxw6ytboi")] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text), Ok(plain.as_bytes().to_vec()));
            assert_eq!(decode(&text.to_uppercase()), Ok(plain.as_bytes().to_vec()));
        }
    }

    #[test]
    fn what_no_bytes_are_written_as_is_refused() {
        assert_eq!(decode("mz1w"), Err(NotBase32::Letter(2)));
        assert_eq!(decode("m"), Err(NotBase32::Length));
        assert_eq!(decode("mz"), Err(NotBase32::Length));
    }

    proptest! {
        #[test]
        fn all_bytes_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }
    }
}
