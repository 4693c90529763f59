//! The byte layout that every stored or signed thing uses: little-endian, a version
//! byte first, every length bounded before anything is allocated.
//!
//! An encoding is canonical: a value has one encoding, and decoding refuses whatever
//! is left over. Signatures and hashes rest on that.

use thiserror::Error;

/// Why bytes are not a value of the format that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The bytes end inside the named field.
    #[error("the bytes end inside `{0}`")]
    Truncated(&'static str),
    /// Bytes are left over after the value.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// A field holds a value that the format does not allow.
    #[error("`{0}` holds a value that is not allowed")]
    Invalid(&'static str),
    /// A list or string is longer than its bound.
    #[error("`{field}` has length {length}, at most {bound} is allowed")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The length found.
        length: usize,
        /// The largest length allowed.
        bound: usize,
    },
    /// A later program wrote this.
    #[error("{what} has format version {found}, this program reads up to {known}: upgrade it")]
    Newer {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version known here.
        known: u8,
    },
    /// An earlier program wrote this, in a layout that is no longer read.
    #[error("{what} has format version {found}, this program reads only {known}")]
    Older {
        /// What was being read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The version that is read here.
        known: u8,
    },
}

/// A value with a canonical, versioned encoding.
pub trait Format: Sized {
    /// What this is, for error messages.
    const NAME: &'static str;
    /// The version byte that [`Format::encode`] writes first.
    const VERSION: u8 = 1;

    /// Writes the fields, without the version byte.
    fn write(&self, out: &mut Writer);

    /// Reads the fields, without the version byte.
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// The canonical encoding: the version byte and the fields.
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write_versioned(&mut out);
        out.into_bytes()
    }

    /// Reads a whole encoding; leftover bytes are refused.
    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let value = Self::read_versioned(&mut input)?;
        input.finish()?;
        Ok(value)
    }

    /// Writes the version byte and the fields, to nest one format in another.
    fn write_versioned(&self, out: &mut Writer) {
        out.u8(Self::VERSION);
        self.write(out);
    }

    /// Reads what [`Format::write_versioned`] wrote.
    fn read_versioned(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let found = input.u8(Self::NAME)?;
        if found > Self::VERSION {
            return Err(FormatError::Newer { what: Self::NAME, found, known: Self::VERSION });
        }
        if found == 0 {
            return Err(FormatError::Invalid(Self::NAME));
        }
        // Read in this version's layout, an older encoding would give a value that was never
        // written: what is signed over it would no longer be the bytes that came.
        if found < Self::VERSION {
            return Err(FormatError::Older { what: Self::NAME, found, known: Self::VERSION });
        }
        Self::read(input)
    }
}

/// Collects the bytes of an encoding.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A `u32` length and that many bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.raw(bytes);
    }

    /// A `u32` count and that many items.
    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        for item in items {
            write(self, item);
        }
    }

    /// A byte 0 or 1, and the value if 1.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Everything written so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes an encoding apart.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], FormatError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(FormatError::Truncated(field))?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FormatError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(FormatError::Truncated(field))?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// Eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A length of at most `bound`, and that many bytes.
    pub fn bytes(&mut self, field: &'static str, bound: usize) -> Result<&'a [u8], FormatError> {
        let length = self.length(field, bound)?;
        self.take(length, field)
    }

    /// A string of at most `bound` bytes.
    pub fn text(&mut self, field: &'static str, bound: usize) -> Result<String, FormatError> {
        let bytes = self.bytes(field, bound)?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(FormatError::Invalid(field)),
        }
    }

    /// A count of at most `bound`, and that many items.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        bound: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let length = self.length(field, bound)?;
        (0..length).map(|_| read(self)).collect()
    }

    /// A value that may be absent.
    pub fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(FormatError::Invalid(field)),
        }
    }

    /// Refuses leftover bytes.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormatError::Trailing(self.0.len())) }
    }

    fn length(&mut self, field: &'static str, bound: usize) -> Result<usize, FormatError> {
        let length = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if length > bound {
            return Err(FormatError::TooLong { field, length, bound });
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Sample(u16, Vec<u8>, Option<u64>);

    impl Format for Sample {
        const NAME: &'static str = "sample";
        fn write(&self, out: &mut Writer) {
            out.u16(self.0);
            out.bytes(&self.1);
            out.option(self.2.as_ref(), |out, value| out.u64(*value));
        }
        fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
            Ok(Self(
                input.u16("number")?,
                input.bytes("text", 4)?.to_vec(),
                input.option("rest", |input| input.u64("rest"))?,
            ))
        }
    }

    #[test]
    fn an_encoding_is_little_endian_and_reads_back() {
        let sample = Sample(0x0102, vec![9, 8], Some(7));
        let bytes = sample.encode();
        assert_eq!(bytes, [1, 2, 1, 2, 0, 0, 0, 9, 8, 1, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Sample::decode(&bytes), Ok(sample));
    }

    #[test]
    fn leftovers_truncation_and_lengths_over_the_bound_are_refused_by_name() {
        let mut bytes = Sample(1, vec![1, 2, 3, 4], None).encode();
        bytes.push(0);
        assert_eq!(Sample::decode(&bytes), Err(FormatError::Trailing(1)));
        assert_eq!(Sample::decode(&bytes[..5]), Err(FormatError::Truncated("text")));
        let long = Sample(1, vec![0; 5], None).encode();
        let refused = FormatError::TooLong { field: "text", length: 5, bound: 4 };
        assert_eq!(Sample::decode(&long), Err(refused));
    }

    #[test]
    fn a_newer_version_is_refused_with_what_to_do() {
        let refused = Sample::decode(&[2, 0, 0]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "sample has format version 2, this program reads up to 1: upgrade it"
        );
    }
}
