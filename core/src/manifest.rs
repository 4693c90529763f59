//! The index of one file, cut into pages that are each sealed as a record: adding a
//! slice never rewrites the list.
//!
//! A slice names its stripe by the hash of the descriptor, and that pins every shard id;
//! the ids themselves stay in the descriptors, where repair needs them.

use crate::digest::digest;
use crate::format::{Format, FormatError, Reader, Writer};
use crate::geometry::Geometry;
use crate::ids::{Digest, PairId, StripeId};
use crate::mode::Mode;

/// The longest file name that a manifest carries, in bytes of UTF-8.
pub const NAME_MAX: usize = 4096;

/// The most slices of a page: with 200 shards each, a page of this many stays within
/// a record's content.
pub const PAGE_SLICES: usize = 400;

/// The most pairs that one page may name.
pub const PAGE_PAIRS: usize = 1 << 12;

/// The most pages of a file: 400 slices of 64 MiB on each, 100 TiB in all.
pub const PAGES_MAX: u32 = 1 << 12;

/// The largest file that rides inside its manifest.
pub const INLINE_MAX: u64 = 16 << 10;

/// What is said of the whole file, on page 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHead {
    /// The name under which it was put: a suggestion for whoever gets it.
    pub name: String,
    /// Bytes of the file.
    pub length: u64,
    /// Digest of the whole content, see [`content_digest`].
    pub digest: Digest,
    /// How it is stored.
    pub mode: Mode,
    /// How each slice is coded.
    pub geometry: Geometry,
    /// Pages, this one included.
    pub pages: u32,
    /// The whole content, where it is at most [`INLINE_MAX`]; there are no slices then.
    pub inline: Option<Vec<u8>>,
}

/// One slice and the stripe it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEntry {
    /// Plain bytes.
    pub length: u64,
    /// BLAKE3 of the plain bytes.
    pub digest: Digest,
    /// With the file key and the slice's number it makes the slice's keys.
    pub salt: [u8; 32],
    /// Names the stripe at its holders, and pins all its shards.
    pub stripe: StripeId,
    /// The pair that each shard was put on, by index.
    pub pairs: Vec<PairId>,
}

/// One page, as it is sealed into a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPage {
    /// On page 0 only.
    pub head: Option<FileHead>,
    /// At most [`PAGE_SLICES`], in order.
    pub slices: Vec<SliceEntry>,
}

/// The digest of a file: over its slices' digests, so that slices can be hashed side by
/// side and a resumed upload need not read what is already stored.
#[must_use]
pub fn content_digest<'a>(slices: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let bytes: Vec<u8> = slices.into_iter().flat_map(|slice| slice.0).collect();
    digest("defs 2026 content", &bytes)
}

/// The digest of a slice's plain bytes.
#[must_use]
pub fn slice_digest(plain: &[u8]) -> Digest {
    Digest(*blake3::hash(plain).as_bytes())
}

impl Format for FileHead {
    const NAME: &'static str = "a file's head";
    fn write(&self, out: &mut Writer) {
        out.bytes(self.name.as_bytes());
        out.u64(self.length);
        out.raw(&self.digest.0);
        out.u8(self.mode.code());
        let (data, parity) = self.geometry.into();
        out.u8(data);
        out.u8(parity);
        out.u32(self.pages);
        out.option(self.inline.as_ref(), |out, inline| out.bytes(inline));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let name = input.text("name", NAME_MAX)?;
        let length = input.u64("length")?;
        let digest = Digest(input.array("digest")?);
        let mode = Mode::from_code(input.u8("mode")?).ok_or(FormatError::Invalid("mode"))?;
        let geometry = Geometry::new(input.u8("data")?.into(), input.u8("parity")?.into());
        let Ok(geometry) = geometry else { return Err(FormatError::Invalid("geometry")) };
        let pages = input.u32("pages")?;
        if pages == 0 || pages > PAGES_MAX {
            return Err(FormatError::Invalid("pages"));
        }
        let bound = usize::try_from(INLINE_MAX).unwrap_or(usize::MAX);
        let inline = input.option("inline", |input| Ok(input.bytes("inline", bound)?.to_vec()))?;
        Ok(Self { name, length, digest, mode, geometry, pages, inline })
    }
}

impl Format for ManifestPage {
    const NAME: &'static str = "a manifest page";

    fn write(&self, out: &mut Writer) {
        out.option(self.head.as_ref(), |out, head| head.write(out));
        let table = self.pair_table();
        out.list(&table, |out, pair| out.raw(&pair.0));
        out.list(&self.slices, |out, slice| {
            out.u64(slice.length);
            out.raw(&slice.digest.0);
            out.raw(&slice.salt);
            out.raw(&slice.stripe.0);
            out.list(&slice.pairs, |out, pair| {
                let place = table.binary_search(pair).unwrap_or(usize::MAX);
                out.u16(u16::try_from(place).unwrap_or(u16::MAX));
            });
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let head = input.option("head", FileHead::read)?;
        let table =
            input.list("pair table", PAGE_PAIRS, |input| Ok(PairId(input.array("pair")?)))?;
        let slices = input.list("slices", PAGE_SLICES, |input| read_slice(input, &table))?;
        let page = Self { head, slices };
        // Whoever writes a page writes this table and no other, so a page has one encoding.
        if page.pair_table() != table {
            return Err(FormatError::Invalid("pair table"));
        }
        Ok(page)
    }
}

impl ManifestPage {
    /// Every pair that this page names, once, in order: slices refer to it by number.
    fn pair_table(&self) -> Vec<PairId> {
        let pairs: std::collections::BTreeSet<_> =
            self.slices.iter().flat_map(|slice| slice.pairs.iter().copied()).collect();
        pairs.into_iter().collect()
    }
}

fn read_slice(input: &mut Reader<'_>, table: &[PairId]) -> Result<SliceEntry, FormatError> {
    Ok(SliceEntry {
        length: input.u64("slice length")?,
        digest: Digest(input.array("slice digest")?),
        salt: input.array("slice salt")?,
        stripe: StripeId(input.array("stripe")?),
        pairs: input.list("shard pairs", 200, |input| {
            let place = usize::from(input.u16("pair number")?);
            table.get(place).copied().ok_or(FormatError::Invalid("pair number"))
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CONTENT_MAX;

    fn slice(number: u16, shards: usize) -> SliceEntry {
        let pair = |shard: usize| {
            let mut id = [0; 16];
            id[0] = u8::try_from(shard).unwrap();
            PairId(id)
        };
        SliceEntry {
            length: 1 << 20,
            digest: Digest([1; 32]),
            salt: [2; 32],
            stripe: StripeId([u8::try_from(number % 256).unwrap(); 32]),
            pairs: (0..shards).map(pair).collect(),
        }
    }

    #[test]
    fn the_largest_page_reads_back_and_fits_a_record() {
        let head = FileHead {
            name: "x".repeat(NAME_MAX),
            length: 9,
            digest: Digest([3; 32]),
            mode: Mode::RsSize,
            geometry: Geometry::new(100, 100).unwrap(),
            pages: 2,
            inline: None,
        };
        let slices = (0..400).map(|number| slice(number, 200)).collect();
        let page = ManifestPage { head: Some(head), slices };
        let bytes = page.encode();
        assert!(bytes.len() + 4096 <= CONTENT_MAX, "{}", bytes.len());
        assert_eq!(ManifestPage::decode(&bytes), Ok(page));
    }

    #[test]
    fn a_pair_table_that_is_out_of_order_or_names_a_pair_twice_or_in_vain_is_refused() {
        let page = ManifestPage { head: None, slices: vec![slice(0, 2)] };
        let bytes = page.encode();
        // Version, no head, the number of pairs; then the pairs 0 and 1.
        let (first, second) = (6, 6 + PairId::SIZE);
        assert_eq!((bytes[2], bytes[first], bytes[second]), (2, 0, 1));
        let with = |one, other| {
            let mut bytes = bytes.clone();
            (bytes[first], bytes[second]) = (one, other);
            ManifestPage::decode(&bytes)
        };
        assert!(with(0, 2).is_ok());
        for (one, other) in [(1, 0), (1, 1)] {
            assert_eq!(with(one, other), Err(FormatError::Invalid("pair table")));
        }
        let mut vain = bytes.clone();
        let last = vain.len() - 2;
        // Both shards on the first pair.
        vain[last] = 0;
        assert_eq!(ManifestPage::decode(&vain), Err(FormatError::Invalid("pair table")));
    }

    #[test]
    fn a_pair_number_outside_the_table_is_refused() {
        let mut bytes = ManifestPage { head: None, slices: vec![slice(0, 1)] }.encode();
        let last = bytes.len() - 2;
        bytes[last] = 1;
        assert_eq!(ManifestPage::decode(&bytes), Err(FormatError::Invalid("pair number")));
    }
}
