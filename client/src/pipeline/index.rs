//! The manifest: slices collected into pages, each page sealed as a record; and back.

use std::sync::Arc;

use defs_codec::{OpenError, open, seal};
use defs_core::format::{Format as _, FormatError};
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, FileId, NetworkId, PairId};
use defs_core::manifest::{
    FileHead, ManifestPage, PAGE_SLICES, PAGES_MAX, SliceEntry, content_digest,
};
use defs_core::mode::Mode;
use defs_core::record::{Content, RECORD_PAIRS, Record, RecordKey, RecordSet, SignedRecord};
use defs_identity::sign_statements;
use thiserror::Error;

use super::FileContext;
use crate::keys::{FileKey, FileLock};

/// The label of a page's frame.
const LABEL: &[u8] = b"defs/1 record";

/// The longest slice: no holder takes a stripe of a longer one.
const SLICE_MAX: u64 = 64 << 20;

/// Why a manifest was not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The owner deleted the file.
    #[error("file {file} was deleted")]
    Deleted {
        /// The file.
        file: FileId,
    },
    /// Another key, or other bytes.
    #[error("page {page} of the manifest of {file} does not open")]
    Closed {
        /// The file.
        file: FileId,
        /// The page.
        page: u32,
        /// Why.
        source: OpenError,
    },
    /// Opened, but not a page.
    #[error("page {page} of the manifest of {file} can't be read")]
    Format {
        /// The file.
        file: FileId,
        /// The page.
        page: u32,
        /// Why.
        source: FormatError,
    },
    /// The pages don't go together.
    #[error("the manifest of {file} contradicts itself: {why}")]
    Contradiction {
        /// The file.
        file: FileId,
        /// How.
        why: &'static str,
    },
    /// More slices than pages can name.
    #[error("{slices} slices are more than a manifest can name: use larger slices")]
    TooLong {
        /// Slices of the file.
        slices: usize,
    },
}

/// What is said of the whole file.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) geometry: Geometry,
    pub(crate) inline: Option<Vec<u8>>,
}

/// A manifest that goes on from an earlier version of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub(crate) counter: u64,
    /// By page.
    pub(crate) hashes: Vec<Digest>,
}

impl Before {
    /// What follows `records`, the pages in order.
    pub(crate) fn of(records: &[Arc<SignedRecord>]) -> Self {
        let counter = records.iter().map(|record| record.body.counter).max().unwrap_or(0);
        Self { counter, hashes: records.iter().map(|record| record.body.hash()).collect() }
    }
}

/// The pages that name `slices`.
pub(crate) fn pages(
    about: &About,
    slices: &[SliceEntry],
) -> Result<Vec<ManifestPage>, ManifestError> {
    let inline_digest = about.inline.as_ref().map(|bytes| defs_core::manifest::slice_digest(bytes));
    let digest = content_digest(slices.iter().map(|slice| &slice.digest).chain(&inline_digest));
    let inline_length = about.inline.as_ref().map_or(0, |bytes| bytes.len() as u64);
    let count = slices.len().div_ceil(PAGE_SLICES).max(1);
    let too_long = || ManifestError::TooLong { slices: slices.len() };
    let count = u32::try_from(count).ok().filter(|count| *count <= PAGES_MAX);
    let head = FileHead {
        name: about.name.clone(),
        length: slices.iter().map(|slice| slice.length).sum::<u64>() + inline_length,
        digest,
        mode: about.mode,
        geometry: about.geometry,
        pages: count.ok_or_else(too_long)?,
        inline: about.inline.clone(),
    };
    let mut pages: Vec<_> = slices
        .chunks(PAGE_SLICES)
        .map(|slices| ManifestPage { head: None, slices: slices.to_vec() })
        .collect();
    if pages.is_empty() {
        pages.push(ManifestPage { head: None, slices: Vec::new() });
    }
    pages[0].head = Some(head);
    Ok(pages)
}

/// Where pages go and what they follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) file_random: [u8; 32],
    pub(crate) before: &'a Before,
    pub(crate) set: &'a RecordSet,
}

/// Seals pages into records, to be signed. `salts` gives a fresh one for each.
pub(crate) fn seal_pages(
    pages: &[ManifestPage],
    file: &FileContext,
    version: Version<'_>,
    mut salts: impl FnMut() -> [u8; 32],
) -> Vec<Record> {
    let Version { file_random, before, set } = version;
    let seal_one = |(number, page): (u32, &ManifestPage)| {
        let parent = before.hashes.get(usize::try_from(number).unwrap_or(usize::MAX));
        let follows = Follows {
            counter: before.counter,
            parents: parent.copied().into_iter().collect(),
            set,
            file_random,
        };
        seal_page((number, page), file, follows, salts())
    };
    (0..).zip(pages).map(seal_one).collect()
}

/// What a version of one page follows, and where it goes.
#[derive(Debug)]
pub(crate) struct Follows<'a> {
    /// The highest of its parents.
    pub(crate) counter: u64,
    pub(crate) parents: Vec<Digest>,
    pub(crate) set: &'a RecordSet,
    pub(crate) file_random: [u8; 32],
}

/// Seals one page into a record, to be signed. `salt` is fresh.
pub(crate) fn seal_page(
    (number, page): (u32, &ManifestPage),
    file: &FileContext,
    follows: Follows<'_>,
    salt: [u8; 32],
) -> Record {
    let key = RecordKey::manifest(file.file, number);
    let counter = follows.counter.saturating_add(1);
    let sealing = file.key.record_key(&key, counter, &salt);
    Record {
        key,
        counter,
        parents: follows.parents,
        set: follows.set.clone(),
        lock: file.lock.lock.clone(),
        file_random: follows.file_random,
        salt,
        content: Content::Sealed(seal(sealing, LABEL, &page.encode())),
    }
}

/// Signs records of one lock, many with one signature.
pub(crate) fn sign(
    records: Vec<Record>,
    lock: &FileLock,
    network: &NetworkId,
) -> Vec<Arc<SignedRecord>> {
    sign_statements(&lock.key, network, records).into_iter().map(Arc::new).collect()
}

/// The page inside a record.
pub(crate) fn open_page(record: &Record, key: &FileKey) -> Result<ManifestPage, ManifestError> {
    let (file, page) = (record.key.file, record.key.page);
    let Content::Sealed(sealed) = &record.content else {
        return Err(ManifestError::Deleted { file });
    };
    let opening = key.record_key(&record.key, record.counter, &record.salt);
    let plain = open(&opening, LABEL, sealed).map_err(|source| ManifestError::Closed {
        file,
        page,
        source,
    })?;
    let opened = ManifestPage::decode(&plain).map_err(|source| ManifestError::Format {
        file,
        page,
        source,
    })?;
    match contradiction(&opened, page) {
        Some(why) => Err(ManifestError::Contradiction { file, why }),
        None => Ok(opened),
    }
}

/// What in a page can't be true, whoever sealed it: nothing behind this asks again whether
/// its numbers can be added up or kept in memory.
fn contradiction(page: &ManifestPage, number: u32) -> Option<&'static str> {
    let ManifestPage { head, slices } = page;
    if slices.iter().any(|slice| slice.length == 0 || slice.length > SLICE_MAX) {
        return Some("a slice has 1 byte to 64 MiB");
    }
    match head {
        None if number == 0 => Some("page 0 has the head"),
        None if slices.is_empty() => Some("only page 0 may be without slices"),
        None => None,
        Some(_) if number != 0 => Some("only page 0 has the head"),
        Some(head) => head_contradiction(head, slices),
    }
}

fn head_contradiction(head: &FileHead, slices: &[SliceEntry]) -> Option<&'static str> {
    let here: u64 = slices.iter().map(|slice| slice.length).sum();
    let inline = head.inline.as_ref().map(|bytes| bytes.len() as u64);
    if inline.is_some() && !slices.is_empty() {
        return Some("a file that rides inside its manifest has no slices");
    }
    let held = inline.unwrap_or(here);
    if held > head.length || (head.pages == 1 && held < head.length) {
        return Some("its slices are not as long as the file");
    }
    fits(slices, head.geometry)
}

/// What contradicts that each of `slices` was coded as `geometry` says.
pub(crate) fn fits(slices: &[SliceEntry], geometry: Geometry) -> Option<&'static str> {
    let fits = slices.iter().all(|slice| slice.pairs.len() == geometry.total());
    (!fits).then_some("a slice has as many pairs as shards")
}

/// Up to three of `open`, in random order; `draw(bound)` gives a number below `bound`.
pub(crate) fn draw_set(
    mut open: Vec<PairId>,
    mut draw: impl FnMut(u64) -> u64,
) -> Option<RecordSet> {
    let mut pairs = Vec::with_capacity(RECORD_PAIRS);
    while pairs.len() < RECORD_PAIRS && !open.is_empty() {
        let place = usize::try_from(draw(open.len() as u64)).unwrap_or(0);
        pairs.push(open.swap_remove(place.min(open.len() - 1)));
    }
    (!pairs.is_empty()).then_some(RecordSet { pairs, version: 1 })
}

#[cfg(test)]
mod tests {
    use defs_core::ids::StripeId;
    use proptest::prelude::*;

    use super::*;

    fn slice(length: u64, pairs: usize) -> SliceEntry {
        SliceEntry {
            length,
            digest: Digest([1; 32]),
            salt: [2; 32],
            stripe: StripeId([3; 32]),
            pairs: vec![PairId([4; 16]); pairs],
        }
    }

    fn page(length: u64, pages: u32, inline: Option<usize>, slices: &[u64]) -> ManifestPage {
        let head = FileHead {
            name: String::new(),
            length,
            digest: Digest([5; 32]),
            mode: Mode::RsSize,
            geometry: Geometry::new(2, 1).unwrap(),
            pages,
            inline: inline.map(|length| vec![6; length]),
        };
        let slices = slices.iter().map(|length| slice(*length, 3)).collect();
        ManifestPage { head: Some(head), slices }
    }

    #[test]
    fn numbers_that_cannot_be_true_are_refused_by_name() {
        let lengths = "its slices are not as long as the file";
        let bounds = "a slice has 1 byte to 64 MiB";
        let cases = [
            (page(10, 1, None, &[4, 6]), None),
            (page(u64::MAX, u32::MAX, None, &[4, 6]), None),
            (page(0, 1, None, &[]), None),
            (page(9, 1, None, &[4, 6]), Some(lengths)),
            (page(11, 1, None, &[4, 6]), Some(lengths)),
            (page(9, 2, None, &[4, 6]), Some(lengths)),
            (page(4, 1, None, &[4, 0]), Some(bounds)),
            (page(u64::MAX, 1, None, &[u64::MAX, u64::MAX]), Some(bounds)),
            (page(SLICE_MAX, 1, None, &[SLICE_MAX]), None),
            (page(SLICE_MAX + 1, 1, None, &[SLICE_MAX + 1]), Some(bounds)),
            (page(7, 1, Some(7), &[]), None),
            (page(8, 1, Some(7), &[]), Some(lengths)),
            (page(6, 1, Some(7), &[]), Some(lengths)),
            (
                page(7, 1, Some(7), &[7]),
                Some("a file that rides inside its manifest has no slices"),
            ),
        ];
        for (case, (page, expected)) in cases.into_iter().enumerate() {
            assert_eq!(contradiction(&page, 0), expected, "case {case}");
        }
        let mut other = page(5, 1, None, &[5]);
        other.slices[0].pairs.pop();
        assert_eq!(contradiction(&other, 0), Some("a slice has as many pairs as shards"));
        assert_eq!(contradiction(&page(5, 1, None, &[5]), 1), Some("only page 0 has the head"));
        let rest = |slices: &[u64]| ManifestPage { head: None, ..page(0, 1, None, slices) };
        assert_eq!(contradiction(&rest(&[5]), 0), Some("page 0 has the head"));
        assert_eq!(contradiction(&rest(&[]), 1), Some("only page 0 may be without slices"));
        assert_eq!(contradiction(&rest(&[5]), 1), None);
    }

    proptest! {
        #[test]
        fn whatever_a_page_says_is_accepted_or_refused_without_a_crash(
            length: u64, pages: u32, inline in proptest::option::of(0_usize..20),
            slices in proptest::collection::vec(any::<u64>(), 0..10), number in 0_u32..2,
        ) {
            let page = page(length, pages, inline, &slices);
            if contradiction(&page, number).is_none() {
                let here: u64 = slices.iter().sum();
                prop_assert!(here <= length && slices.iter().all(|one| *one <= SLICE_MAX));
            }
        }
    }
}
