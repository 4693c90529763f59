//! Numbers as scripts write them: little-endian, the highest bit is the sign, as short
//! as possible; zero is empty.

/// Bytes of a count.
pub(super) const COUNT_BYTES_MAX: usize = 4;

/// Bytes of a lock time: four would end in 2038.
pub(super) const TIME_BYTES_MAX: usize = 5;

/// Reads a number of at most `longest` bytes; anything but its shortest form is refused.
pub(super) fn read_number(bytes: &[u8], longest: usize) -> Option<i64> {
    let Some((last, lower)) = bytes.split_last() else { return Some(0) };
    if bytes.len() > longest || !is_shortest(*last, lower) {
        return None;
    }
    let magnitude = lower
        .iter()
        .rev()
        .fold(i64::from(last & 0x7f), |above, byte| (above << 8) | i64::from(*byte));
    Some(if last & 0x80 == 0 { magnitude } else { -magnitude })
}

/// A last byte that holds nothing but the sign is needed only where the byte below it
/// uses its highest bit.
fn is_shortest(last: u8, lower: &[u8]) -> bool {
    last & 0x7f != 0 || lower.last().is_some_and(|below| below & 0x80 != 0)
}

/// Writes a number that is not negative in its shortest form.
pub(super) fn write_number(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.last().is_some_and(|last| last & 0x80 != 0) {
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_reads_back_and_longer_forms_are_refused(number in 0_u64..1 << 39) {
            let bytes = write_number(number);
            prop_assert_eq!(read_number(&bytes, TIME_BYTES_MAX), i64::try_from(number).ok());
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(read_number(&longer, 9), None);
            prop_assert_eq!(read_number(&bytes, bytes.len().saturating_sub(1)).is_some(), number == 0);
        }

        #[test]
        fn whatever_reads_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..5)) {
            if let Some(number) = read_number(&bytes, 4) && number >= 0 {
                prop_assert_eq!(write_number(number.unsigned_abs()), bytes);
            }
        }
    }

    #[test]
    fn known_numbers_have_bitcoins_bytes() {
        for (number, bytes) in [
            (0, &[][..]),
            (1, &[1]),
            (-1, &[0x81]),
            (127, &[0x7f]),
            (128, &[0x80, 0]),
            (-255, &[0xff, 0x80]),
            (256, &[0, 1]),
            (1_700_000_000, &[0x00, 0xf1, 0x53, 0x65]),
        ] {
            assert_eq!(read_number(bytes, 4), Some(number));
        }
        assert_eq!(read_number(&[0], 4), None);
        assert_eq!(read_number(&[0x80], 4), None);
    }
}
