//! Batches of small files in the local database, from before their first byte leaves until
//! they are named: whatever ends the process, the same bytes can be sent again.
//!
//! Records are sealed and signed, entries sealed: nothing here is secret. A process holds
//! the lock on `tasks/small-<its number>.lock` as long as it may work on its batches.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use defs_core::digest::BATCH_MAX;
use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::hex;
use defs_core::record::{RecordSet, SignedRecord};

use super::SmallError;
use crate::catalogue::{SealedEntry, Stored, store_all};
use crate::database::{Database, DatabaseError};

/// Names a batch on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchId(i64);

/// A batch as it is sent and named.
#[derive(Debug, Clone)]
pub(super) struct KeptBatch {
    pub(super) records: Vec<Arc<SignedRecord>>,
    /// Each with whether it may replace what its name stood for.
    pub(super) entries: Vec<(SealedEntry, bool)>,
}

impl KeptBatch {
    /// The pairs that all its records name.
    pub(super) fn set(&self) -> Option<&RecordSet> {
        self.records.first().map(|record| &record.body.set)
    }
}

#[derive(Debug)]
pub(super) struct Batches {
    database: Database,
    folder: PathBuf,
    process: String,
    lock: OnceLock<File>,
}

/// What a process that ended has left; held so that nobody else finishes it too.
pub(super) struct Left {
    path: PathBuf,
    _lock: File,
    pub(super) batches: Vec<(BatchId, Result<KeptBatch, FormatError>)>,
}

impl Batches {
    /// `home` is the client's folder, `process` tells processes apart.
    pub(super) fn new(database: Database, home: &Path, process: [u8; 16]) -> Self {
        let (folder, process) = (home.join("tasks"), hex(&process));
        Self { database, folder, process, lock: OnceLock::new() }
    }

    /// Durable before it is sent. `before` is what was tried of the same files and failed.
    pub(super) async fn keep(
        &self,
        batch: &KeptBatch,
        before: Option<BatchId>,
    ) -> Result<BatchId, SmallError> {
        self.claim()?;
        let (process, kept) = (self.process.clone(), batch.encode());
        let keep = move |connection: &rusqlite::Connection| {
            if let Some(BatchId(before)) = before {
                connection.execute("DELETE FROM batch WHERE id = ?1", [before])?;
            }
            connection
                .prepare_cached("INSERT INTO batch (process, kept) VALUES (?1, ?2)")?
                .execute((&process, &kept))?;
            Ok(BatchId(connection.last_insert_rowid()))
        };
        Ok(self.database.write("keep a batch of small files", keep).await?)
    }

    /// Names the files of a batch that is stored, and forgets it, all in one commit.
    pub(super) async fn name(
        &self,
        batch: BatchId,
        entries: Vec<(SealedEntry, bool)>,
    ) -> Result<Vec<Stored>, DatabaseError> {
        let name = move |connection: &rusqlite::Connection| {
            match connection.execute("DELETE FROM batch WHERE id = ?1", [batch.0])? {
                // Somebody else has finished it.
                0 => Ok(Vec::new()),
                _ => store_all(connection, entries),
            }
        };
        self.database.write("name a batch of small files", name).await
    }

    /// A batch that will not be finished.
    pub(super) async fn forget(&self, batch: BatchId) -> Result<(), DatabaseError> {
        let forget = move |connection: &rusqlite::Connection| {
            connection.execute("DELETE FROM batch WHERE id = ?1", [batch.0]).map(|_rows| ())
        };
        self.database.write("forget a batch of small files", forget).await
    }

    /// What processes that ended have left, oldest first.
    pub(super) async fn left(&self) -> Result<Vec<Left>, DatabaseError> {
        let processes = self
            .database
            .read("look for unfinished batches", |connection| {
                let sql = "SELECT process FROM batch GROUP BY process ORDER BY min(id)";
                let mut query = connection.prepare(sql)?;
                query.query_map((), |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
            })
            .await?;
        let mut all = Vec::new();
        for process in processes.into_iter().filter(|process| *process != self.process) {
            let path = self.path(&process);
            // Whoever lives holds its lock.
            let Ok(lock) = File::create(&path) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            let batches = self.batches_of(process).await?;
            all.push(Left { path, _lock: lock, batches });
        }
        Ok(all)
    }

    async fn batches_of(
        &self,
        process: String,
    ) -> Result<Vec<(BatchId, Result<KeptBatch, FormatError>)>, DatabaseError> {
        let rows = self
            .database
            .read("read unfinished batches", move |connection| {
                let sql = "SELECT id, kept FROM batch WHERE process = ?1 ORDER BY id";
                let mut query = connection.prepare(sql)?;
                let rows = query.query_map([process], |row| {
                    Ok((BatchId(row.get(0)?), row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        Ok(rows.into_iter().map(|(id, kept)| (id, KeptBatch::decode(&kept))).collect())
    }

    fn path(&self, process: &str) -> PathBuf {
        self.folder.join(format!("small-{process}.lock"))
    }

    /// Says that this process lives.
    fn claim(&self) -> Result<(), SmallError> {
        if self.lock.get().is_some() {
            return Ok(());
        }
        let path = self.path(&self.process);
        let locked = std::fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(&path))
            .and_then(|lock| lock.try_lock().map(|()| lock).map_err(std::io::Error::from));
        match locked {
            Ok(lock) => {
                self.lock.get_or_init(|| lock);
                Ok(())
            }
            Err(source) => Err(SmallError::Lock { path, source: Arc::new(source) }),
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if self.lock.get().is_some() {
            // What this process leaves in the database is found without the file.
            drop(std::fs::remove_file(self.path(&self.process)));
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl Format for KeptBatch {
    const NAME: &'static str = "a batch of small files";

    fn write(&self, out: &mut Writer) {
        out.list(&self.records, |out, record| record.write_versioned(out));
        out.list(&self.entries, |out, (entry, replace)| {
            entry.write(out);
            out.u8(u8::from(*replace));
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let record = |input: &mut Reader<'_>| SignedRecord::read_versioned(input).map(Arc::new);
        let entry =
            |input: &mut Reader<'_>| Ok((SealedEntry::read(input)?, input.u8("replace")? == 1));
        Ok(Self {
            records: input.list("records", BATCH_MAX, record)?,
            entries: input.list("entries", BATCH_MAX, entry)?,
        })
    }
}
