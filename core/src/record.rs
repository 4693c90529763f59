//! Records: small, signed, versioned, sealed values. Records alone need ordering: a
//! counter and the names of their parents, so that two writers make siblings.

use crate::digest::{digest, file_id};
use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, FileId, NetworkId, PairId};
use crate::statement::{Lock, Signed, Statement, stated};

/// The largest sealed content of a record.
pub const CONTENT_MAX: usize = 256 << 10;

/// The largest encoded record with its unlock.
pub const RECORD_MAX: usize = CONTENT_MAX + (8 << 10);

/// Versions that a node keeps side by side until a signed one names them as parents.
pub const HEADS_MAX: usize = 8;

/// Pairs that hold a record where there are as many.
pub const RECORD_PAIRS: usize = 3;

/// What a record is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// A page of a file's manifest.
    Manifest,
    /// A page of an owner's catalogue.
    Catalogue,
}

/// Names a record across its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What the record is part of.
    pub kind: RecordKind,
    /// The file (or catalogue) that it belongs to: BLAKE3 of its lock and a random.
    pub file: FileId,
    /// Its place among the file's records.
    pub page: u32,
}

impl RecordKey {
    /// A page of the manifest of `file`.
    #[must_use]
    pub fn manifest(file: FileId, page: u32) -> Self {
        Self { kind: RecordKind::Manifest, file, page }
    }
}

impl Format for RecordKey {
    const NAME: &'static str = "a record key";
    fn write(&self, out: &mut Writer) {
        out.u8(match self.kind {
            RecordKind::Manifest => 1,
            RecordKind::Catalogue => 2,
        });
        out.raw(&self.file.0);
        out.u32(self.page);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let kind = match input.u8("record kind")? {
            1 => RecordKind::Manifest,
            2 => RecordKind::Catalogue,
            _ => return Err(FormatError::Invalid("record kind")),
        };
        Ok(Self { kind, file: FileId(input.array("file")?), page: input.u32("page")? })
    }
}

/// The pairs that hold a record. A set of a higher version replaces a lower one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// One to [`RECORD_PAIRS`] distinct pairs.
    pub pairs: Vec<PairId>,
    /// Grows when a pair of the set is replaced.
    pub version: u32,
}

impl RecordSet {
    /// Pairs that must have acknowledged a write before it counts, and answered a read
    /// before it is settled: more than half.
    #[must_use]
    pub fn quorum(&self) -> usize {
        quorum_of(self.pairs.len())
    }
}

/// More than half of `pairs`.
#[must_use]
pub fn quorum_of(pairs: usize) -> usize {
    pairs / 2 + 1
}

impl Format for RecordSet {
    const NAME: &'static str = "a record set";
    fn write(&self, out: &mut Writer) {
        out.list(&self.pairs, |out, pair| out.raw(&pair.0));
        out.u32(self.version);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let pairs =
            input.list("record pairs", RECORD_PAIRS, |input| Ok(PairId(input.array("pair")?)))?;
        let distinct: std::collections::BTreeSet<_> = pairs.iter().collect();
        if pairs.is_empty() || distinct.len() != pairs.len() {
            return Err(FormatError::Invalid("record pairs"));
        }
        Ok(Self { pairs, version: input.u32("set version")? })
    }
}

/// What a version of a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// At most [`CONTENT_MAX`] bytes, sealed by the owner.
    Sealed(Vec<u8>),
    /// The record is deleted.
    Deleted,
}

/// One version of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which record.
    pub key: RecordKey,
    /// One more than the highest of its parents, 1 without.
    pub counter: u64,
    /// The versions that this one replaces.
    pub parents: Vec<Digest>,
    /// Where it is kept.
    pub set: RecordSet,
    /// Who may write it.
    pub lock: Lock,
    /// Fresh for each file: with the lock it makes the file id.
    pub file_random: [u8; 32],
    /// Fresh for each version: part of the key that seals it.
    pub salt: [u8; 32],
    /// What it says.
    pub content: Content,
}

/// A record as it is stored and sent.
pub type SignedRecord = Signed<Record>;

impl Record {
    /// The name of this version.
    #[must_use]
    pub fn hash(&self) -> Digest {
        digest("defs 2026 record id", &self.encode())
    }

    /// Whether the file id is the one that this record's lock may write under.
    #[must_use]
    pub fn names_its_lock(&self) -> bool {
        file_id(self.lock.script(), &self.file_random) == self.key.file
    }
}

impl Statement for Record {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 record", network, &self.hash().0)
    }
}

impl Format for Record {
    const NAME: &'static str = "a record";

    fn write(&self, out: &mut Writer) {
        self.key.write(out);
        out.u64(self.counter);
        out.list(&self.parents, |out, parent| out.raw(&parent.0));
        self.set.write(out);
        self.lock.write(out);
        out.raw(&self.file_random);
        out.raw(&self.salt);
        match &self.content {
            Content::Sealed(bytes) => {
                out.u8(1);
                out.bytes(bytes);
            }
            Content::Deleted => out.u8(2),
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let key = RecordKey::read(input)?;
        let counter = input.u64("counter")?;
        if counter == 0 {
            return Err(FormatError::Invalid("counter"));
        }
        let parents =
            input.list("parents", HEADS_MAX, |input| Ok(Digest(input.array("parent")?)))?;
        let set = RecordSet::read(input)?;
        let lock = Lock::read(input)?;
        let file_random = input.array("file random")?;
        let salt = input.array("salt")?;
        let content = match input.u8("content kind")? {
            1 => Content::Sealed(input.bytes("content", CONTENT_MAX)?.to_vec()),
            2 => Content::Deleted,
            _ => return Err(FormatError::Invalid("content kind")),
        };
        Ok(Self { key, counter, parents, set, lock, file_random, salt, content })
    }
}

/// The heads left when `new` joins `heads`: versions that a present one names as parent
/// are dropped, equal ones are kept once. Counters alone never drop anything.
#[must_use]
pub fn merge_heads(heads: &[SignedRecord], new: &SignedRecord) -> Vec<SignedRecord> {
    let hash = new.body.hash();
    let known = heads.iter().any(|head| head.body.hash() == hash);
    let replaced = heads.iter().any(|head| head.body.parents.contains(&hash));
    if known || replaced {
        return heads.to_vec();
    }
    let mut kept: Vec<_> = heads
        .iter()
        .filter(|head| !new.body.parents.contains(&head.body.hash()))
        .cloned()
        .collect();
    kept.push(new.clone());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::Unlock;

    fn record(counter: u64, parents: Vec<Digest>, salt: u8) -> SignedRecord {
        let lock = Lock::new(vec![1, 2, 3]).unwrap();
        let body = Record {
            key: RecordKey::manifest(file_id(lock.script(), &[7; 32]), 0),
            counter,
            parents,
            set: RecordSet { pairs: vec![PairId([1; 16]), PairId([2; 16])], version: 1 },
            lock,
            file_random: [7; 32],
            salt: [salt; 32],
            content: Content::Sealed(vec![salt; 10]),
        };
        Signed { body, unlock: Unlock::default() }
    }

    #[test]
    fn a_record_reads_back_and_only_its_lock_makes_its_file_id() {
        let mut signed = record(1, vec![], 1);
        assert_eq!(SignedRecord::decode(&signed.encode()), Ok(signed.clone()));
        assert!(signed.body.names_its_lock());
        signed.body.lock = Lock::new(vec![9]).unwrap();
        assert!(!signed.body.names_its_lock());
    }

    #[test]
    fn two_writers_at_one_counter_are_both_kept_until_a_version_names_both() {
        let (one, two) = (record(1, vec![], 1), record(1, vec![], 2));
        let heads = merge_heads(&merge_heads(&[], &one), &two);
        assert_eq!(heads.len(), 2);
        let merged = record(2, vec![one.body.hash(), two.body.hash()], 3);
        let heads = merge_heads(&heads, &merged);
        assert_eq!(heads, vec![merged.clone()]);
        // What a present version replaced doesn't come back.
        assert_eq!(merge_heads(&heads, &one), vec![merged]);
    }

    #[test]
    fn a_higher_counter_alone_replaces_nothing() {
        let (low, high) = (record(1, vec![], 1), record(9, vec![], 2));
        assert_eq!(merge_heads(&[low], &high).len(), 2);
    }

    #[test]
    fn a_set_with_a_pair_twice_is_refused() {
        let mut signed = record(1, vec![], 1);
        signed.body.set.pairs = vec![PairId([1; 16]); 2];
        let refused = SignedRecord::decode(&signed.encode());
        assert_eq!(refused, Err(FormatError::Invalid("record pairs")));
    }

    #[test]
    fn the_quorum_is_more_than_half() {
        for (pairs, quorum) in [(1, 1), (2, 2), (3, 2)] {
            let set = RecordSet { pairs: vec![PairId([0; 16]); pairs], version: 1 };
            assert_eq!(set.quorum(), quorum);
        }
    }
}
