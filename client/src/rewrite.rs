//! Shards that the network has rebuilt elsewhere are found by asking; so that the next reader
//! need not ask, their owner's client writes into the manifest where it found them.

use defs_core::manifest::ManifestPage;
use defs_core::port::Randomness as _;
use defs_core::record::{RecordKey, quorum_of};
use thiserror::Error;

use crate::download::OpenFile;
use crate::nodes::Nodes;
use crate::pipeline::index::{Follows, ManifestError, open_page, seal_page, sign};
use crate::ports::World;
use crate::records::{Found, ReadRecordError, Sought, WriteRecordsError};

/// Why a manifest still says where shards were.
#[derive(Debug, Clone, Error)]
pub(crate) enum RewriteError {
    /// Nothing can be written: to try would keep the reader waiting.
    #[error("only {there} of the manifest's pairs answer")]
    TooFewPairs { there: usize },
    #[error(transparent)]
    Read(#[from] ReadRecordError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Write(#[from] WriteRecordsError),
}

impl<W: World> Nodes<W> {
    /// Writes a next version of every page that names pairs from which shards have moved, as
    /// far as shards from the new pairs have been part of a right slice. Answers how many.
    ///
    /// A version that was cut off is another one's sibling at worst, and says nothing else of
    /// the file: whoever reads both takes either, and the next version names both.
    pub(crate) async fn rewrite_moved(&self, file: &OpenFile) -> Result<usize, RewriteError> {
        let unwritten = self.moves.unwritten(file.context.file);
        let view = self.directory.view();
        let there = file.set.iter().filter(|pair| view.answers(pair)).count();
        if !unwritten.is_empty() && there < quorum_of(file.set.len()) {
            return Err(RewriteError::TooFewPairs { there });
        }
        let mut written = 0;
        for page in unwritten {
            written += usize::from(self.rewrite_page(file, page).await?);
            self.moves.written(file.context.file, page);
        }
        Ok(written)
    }

    async fn rewrite_page(&self, file: &OpenFile, number: u32) -> Result<bool, RewriteError> {
        let key = RecordKey::manifest(file.context.file, number);
        let sought = Sought { key, lock: &file.context.lock };
        let Found { head, heads, .. } = self.read_record(sought, &file.set).await?;
        let mut page = open_page(&head.body, &file.context.key)?;
        for other in &heads {
            if !is_same_but_for_pairs(&page, &open_page(&other.body, &file.context.key)?) {
                return Ok(false);
            }
        }
        if !self.moves.settle(&mut page.slices) {
            return Ok(false);
        }
        let follows = Follows {
            counter: heads.iter().map(|head| head.body.counter).max().unwrap_or(0),
            parents: heads.iter().map(|head| head.body.hash()).collect(),
            set: &head.body.set,
            file_random: head.body.file_random,
        };
        let salt = self.world.random().array();
        let record = seal_page((number, &page), &file.context, follows, salt);
        let records = sign(vec![record], &file.context.lock, &self.links.network());
        self.write_records(&head.body.set, &records).await?;
        tracing::debug!(file = %file.context.file, page = number, "the manifest names new pairs");
        Ok(true)
    }
}

/// Whether two versions of a page say the same of the file.
fn is_same_but_for_pairs(one: &ManifestPage, other: &ManifestPage) -> bool {
    let without_pairs = |page: &ManifestPage| {
        let mut page = page.clone();
        page.slices.iter_mut().for_each(|slice| slice.pairs.clear());
        page
    };
    without_pairs(one) == without_pairs(other)
}
