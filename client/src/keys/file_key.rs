//! The key of one file and what derives from it.

use std::fmt;

use defs_codec::{SealingKey, StripeSecret, derive};
use defs_core::ids::SliceNo;
use defs_core::record::{RecordKey, RecordKind};
use zeroize::Zeroizing;

/// Opens one version of one file. Wiped on drop, never copied, never printed.
pub struct FileKey(Zeroizing<[u8; 32]>);

impl FileKey {
    /// `bytes` are drawn afresh for every upload.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For a ticket or the journal, which seal it or give it away on purpose.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same key for another task of this process.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// Seals one slice in one attempt: `salt` is drawn for the attempt.
    pub(crate) fn slice_key(&self, slice: SliceNo, salt: &[u8; 32]) -> SealingKey {
        derive(&*self.0, &[b"slice", &slice.0.to_le_bytes(), salt]).into()
    }

    /// Opens the outer layer of one slice in one attempt.
    pub(crate) fn stripe_secret(&self, slice: SliceNo, salt: &[u8; 32]) -> StripeSecret {
        derive(&*self.0, &[b"stripe", &slice.0.to_le_bytes(), salt]).into()
    }

    /// Seals one version of one manifest page.
    pub(crate) fn record_key(
        &self,
        record: &RecordKey,
        counter: u64,
        salt: &[u8; 32],
    ) -> SealingKey {
        let kind: &[u8] = match record.kind {
            RecordKind::Manifest => b"manifest",
            RecordKind::Catalogue => b"catalogue",
        };
        let page = record.page.to_le_bytes();
        let parts: [&[u8]; 6] =
            [b"record", kind, &record.file.0, &page, &counter.to_le_bytes(), salt];
        derive(&*self.0, &parts).into()
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FileKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::FileId;

    use super::*;

    #[test]
    fn every_attempt_slice_page_and_version_has_its_own_key() {
        let file = FileKey::from_bytes([1; 32]);
        let (page, other) =
            (RecordKey::manifest(FileId([2; 32]), 0), RecordKey::manifest(FileId([2; 32]), 1));
        let keys = [
            file.slice_key(SliceNo(0), &[1; 32]),
            file.slice_key(SliceNo(0), &[2; 32]),
            file.slice_key(SliceNo(1), &[1; 32]),
            file.stripe_secret(SliceNo(0), &[1; 32]).shard_key(defs_core::ids::ShardIndex(0)),
            file.record_key(&page, 1, &[1; 32]),
            file.record_key(&page, 2, &[1; 32]),
            file.record_key(&page, 1, &[2; 32]),
            file.record_key(&other, 1, &[1; 32]),
        ];
        let distinct: std::collections::BTreeSet<_> =
            keys.iter().map(SealingKey::commitment).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_file_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", FileKey::from_bytes([0x61; 32])), "FileKey(..)");
    }
}
