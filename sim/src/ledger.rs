//! What clients were told: every file with what may be expected of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use defs_core::ids::PairId;
use defs_core::message::ShardKey;

/// What may be expected of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be there or not: putting it failed or is under way.
    Maybe,
    /// It was acknowledged.
    Stored,
    /// It may be there or not: removing it failed or is under way.
    Leaving,
    /// Its deletion was acknowledged.
    Deleted,
}

/// A file that somebody put or tried to.
#[derive(Debug, Clone)]
pub struct File {
    /// Whose.
    pub owner: u64,
    /// Its name in the owner's catalogue.
    pub name: String,
    /// Makes its content.
    pub content: Content,
    /// Finds it, once it was acknowledged.
    pub ticket: Option<String>,
    /// Pairs of its manifest, as they were when it was put.
    pub pairs: Vec<PairId>,
    /// Where its shards were put; unknown if nobody could be asked.
    pub shards: Vec<(ShardKey, PairId)>,
    /// What may be expected.
    pub standing: Standing,
    /// Whether every holder heard of its deletion.
    pub all_told: bool,
}

/// Bytes that a number and a length make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Tells contents apart.
    pub number: u64,
    /// Bytes.
    pub length: usize,
}

impl Content {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        let mut bytes = vec![0; self.length];
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.number.to_le_bytes());
        blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
        bytes.into()
    }
}

/// What all clients were told.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By number.
    pub files: BTreeMap<u64, File>,
    /// Reads that gave wrong bytes, or what should not be there.
    pub wrong: Vec<String>,
    /// How operations went.
    pub counts: Counts,
}

/// Operations by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were put.
    pub puts: u64,
    /// Puts that failed.
    pub puts_failed: u64,
    /// Files that were got.
    pub gets: u64,
    /// Gets of acknowledged files that failed meanwhile.
    pub gets_failed: u64,
    /// Files that were removed.
    pub removes: u64,
    /// Removals that failed.
    pub removes_failed: u64,
    /// Clients that ended in the middle of something.
    pub clients_ended: u64,
}

/// The ledger that all owners write.
#[derive(Debug, Clone, Default)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// To read or write it; not to be held across a wait.
    pub fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// A file that `owner` begins to put.
    pub fn begin(&mut self, owner: u64, length: usize) -> u64 {
        let number = self.files.len() as u64 + 1;
        let file = File {
            owner,
            name: format!("file {number}"),
            content: Content { number, length },
            ticket: None,
            pairs: Vec::new(),
            shards: Vec::new(),
            standing: Standing::Maybe,
            all_told: false,
        };
        self.files.insert(number, file);
        number
    }

    /// Of file `number` something else may be expected now.
    pub fn stands(&mut self, number: u64, standing: Standing) {
        if let Some(file) = self.files.get_mut(&number) {
            file.standing = standing;
        }
    }

    /// Numbers of the files of `owner` that stand like this.
    #[must_use]
    pub fn of(&self, owner: u64, standing: Standing) -> Vec<u64> {
        let its = self.files.iter().filter(|(_, file)| file.owner == owner);
        its.filter(|(_, file)| file.standing == standing).map(|(number, _)| *number).collect()
    }

    /// What a read of `file` gave.
    pub fn read(&mut self, file: &File, bytes: &[u8]) {
        let File { name, owner, .. } = file;
        if file.content.bytes() != bytes {
            let length = bytes.len();
            self.wrong.push(format!("{name} of owner {owner} came back as other {length} bytes"));
        }
    }
}
