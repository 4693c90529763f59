//! The journal of uploads and downloads: what each works on and how far it is, durable
//! before anything is said to be done. A task that was cut off goes on from here.
//!
//! One process works on a task at a time: it holds the lock on `tasks/<id>.lock`, which
//! the operating system releases whatever ends the process.

mod format;
mod plan;
mod state;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use defs_core::format::{Format, FormatError};
use defs_core::record::SignedRecord;
use defs_core::states::TaskState;
use rusqlite::{Connection, OptionalExtension as _};
use thiserror::Error;

pub(crate) use plan::{DownloadPlan, FileStamp, Plan, SliceRow, UploadPlan};

use crate::database::{Database, DatabaseError};
use crate::keys::{Drawer, NotSealedHere, Owner};
use state::{state_name, state_of};

/// Finished tasks that are still listed.
const FINISHED_MAX: u32 = 200;

/// Names a task on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// Which way a task moves bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Puts a file.
    Upload,
    /// Gets a file.
    Download,
}

/// Why the journal didn't answer.
#[derive(Debug, Clone, Error)]
pub enum JournalError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A row belongs to another identity or is damaged.
    #[error("failed to open a row of the journal")]
    Sealed(#[from] NotSealedHere),
    /// A row is in a form that this program doesn't know.
    #[error("failed to read a row of the journal")]
    Format(#[from] FormatError),
    /// No task has this id.
    #[error("there is no task {0}")]
    Unknown(TaskId),
    /// Another call or process works on it.
    #[error("task {0} is being worked on already")]
    Busy(TaskId),
    /// The lock file can't be made.
    #[error("failed to lock task {task} with {path}")]
    Lock {
        /// The task.
        task: TaskId,
        /// The lock file.
        path: PathBuf,
        /// What failed.
        source: Arc<std::io::Error>,
    },
}

/// A task as the journal has it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: TaskId,
    pub(crate) state: TaskState,
    pub(crate) plan: Plan,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) error: Option<String>,
}

/// The right to work on a task; given up on drop, whatever ends the process.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) task: TaskId,
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, Clone)]
pub(crate) struct Journal {
    database: Database,
    owner: Arc<Owner>,
    folder: PathBuf,
}

impl Journal {
    /// `home` is the client's folder.
    pub(crate) fn new(database: Database, owner: Arc<Owner>, home: &Path) -> Self {
        Self { database, owner, folder: home.join("tasks") }
    }

    /// A new task, running, claimed by the caller. `salt` is drawn for its row.
    pub(crate) async fn begin(
        &self,
        plan: &Plan,
        total: Option<u64>,
        salt: [u8; 32],
    ) -> Result<Claim, JournalError> {
        // The row's number isn't known before it is there: the salt ties the seal instead.
        let sealed = self.owner.vault().seal(Drawer::Task, b"plan", salt, &plan.encode());
        let (kind, state) = (plan.kind_code(), state_name(TaskState::Running));
        let task = self
            .database
            .write("begin a task", move |connection| {
                connection.execute(
                    "INSERT INTO task (kind, state, sealed, done, total) VALUES (?1, ?2, ?3, 0, ?4)",
                    (kind, state, &sealed, total.map(signed)),
                )?;
                Ok(TaskId(connection.last_insert_rowid()))
            })
            .await?;
        self.claim(task)
    }

    /// Takes a task that nobody works on.
    pub(crate) fn claim(&self, task: TaskId) -> Result<Claim, JournalError> {
        let path = self.folder.join(format!("{task}.lock"));
        let failed =
            |source| JournalError::Lock { task, path: path.clone(), source: Arc::new(source) };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let lock = File::create(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Claim { task, path, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::Busy(task)),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The claimed task moves on; what a finished one had collected is forgotten.
    pub(crate) async fn move_to(
        &self,
        claim: &Claim,
        state: TaskState,
        error: Option<String>,
    ) -> Result<(), JournalError> {
        let (task, name) = (claim.task.0, state_name(state));
        let ended = matches!(state, TaskState::Done | TaskState::Cancelled);
        self.database
            .write("move a task on", move |connection| {
                connection.execute(
                    "UPDATE task SET state = ?2, error = ?3 WHERE id = ?1",
                    (task, name, error),
                )?;
                if ended { forget_parts(connection, task) } else { Ok(()) }
            })
            .await?;
        if ended && let Err(error) = std::fs::remove_file(&claim.path) {
            tracing::debug!(task, error = &error as &dyn std::error::Error, "lock file left");
        }
        Ok(())
    }

    /// Keeps a slice's row and how many bytes are done.
    pub(crate) async fn keep_slice(
        &self,
        claim: &Claim,
        number: u32,
        row: &SliceRow,
        (salt, done): ([u8; 32], u64),
    ) -> Result<(), JournalError> {
        let task = claim.task.0;
        let place = slice_place(task, number);
        let sealed = self.owner.vault().seal(Drawer::Slice, &place, salt, &row.encode());
        self.database
            .write("keep a slice's progress", move |connection| {
                connection.execute(
                    "INSERT OR REPLACE INTO slice (task, number, sealed) VALUES (?1, ?2, ?3)",
                    (task, number, &sealed),
                )?;
                connection.execute(
                    "UPDATE task SET done = max(done, ?2) WHERE id = ?1",
                    (task, signed(done)),
                )?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// The rows of all slices, in order.
    pub(crate) async fn slices(&self, task: TaskId) -> Result<Vec<(u32, SliceRow)>, JournalError> {
        let sql = "SELECT number, sealed FROM slice WHERE task = ?1 ORDER BY number";
        let rows = self.rows("read a task's slices", sql, task).await?;
        let open = |(number, sealed): (u32, Vec<u8>)| {
            let place = slice_place(task.0, number);
            let plain = self.owner.vault().open(Drawer::Slice, &place, &sealed)?;
            Ok((number, SliceRow::decode(&plain)?))
        };
        rows.into_iter().map(open).collect()
    }

    /// Keeps records before they are first sent, so that every retry sends the same bytes.
    pub(crate) async fn keep_records(
        &self,
        claim: &Claim,
        records: &[Arc<SignedRecord>],
    ) -> Result<(), JournalError> {
        let task = claim.task.0;
        // They are sealed and signed already: nothing of them is secret.
        let rows: Vec<_> = records.iter().map(|one| (one.body.key.page, one.encode())).collect();
        self.database
            .write("keep a task's records", move |connection| {
                connection.execute("DELETE FROM record WHERE task = ?1", [task])?;
                for (page, bytes) in &rows {
                    connection.execute(
                        "INSERT INTO record (task, page, sealed) VALUES (?1, ?2, ?3)",
                        (task, page, bytes),
                    )?;
                }
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// The records of a task that was cut off while it wrote them.
    pub(crate) async fn records(
        &self,
        task: TaskId,
    ) -> Result<Vec<Arc<SignedRecord>>, JournalError> {
        let sql = "SELECT page, sealed FROM record WHERE task = ?1 ORDER BY page";
        let rows = self.rows("read a task's records", sql, task).await?;
        let decoded = rows.iter().map(|(_, bytes)| SignedRecord::decode(bytes).map(Arc::new));
        Ok(decoded.collect::<Result<_, _>>()?)
    }

    /// One task.
    pub(crate) async fn task(&self, task: TaskId) -> Result<Row, JournalError> {
        let found = self
            .database
            .read("read a task", move |connection| {
                connection.query_row(&format!("{TASK_SQL} WHERE id = ?1"), [task.0], raw).optional()
            })
            .await?;
        self.opened(found.ok_or(JournalError::Unknown(task))?)
    }

    /// All tasks, oldest first; of the finished ones only the last few.
    pub(crate) async fn tasks(&self) -> Result<Vec<Row>, JournalError> {
        let rows = self
            .database
            .read("list tasks", |connection| {
                let sql = format!(
                    "{TASK_SQL} WHERE state NOT IN ('done', 'cancelled') OR id > \
                     (SELECT coalesce(max(id), 0) - {FINISHED_MAX} FROM task) ORDER BY id"
                );
                let mut query = connection.prepare(&sql)?;
                query.query_map((), raw)?.collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        rows.into_iter().map(|row| self.opened(row)).collect()
    }

    /// Whether somebody works on `task` now.
    pub(crate) fn is_claimed(&self, task: TaskId) -> bool {
        let path = self.folder.join(format!("{task}.lock"));
        File::open(path).is_ok_and(|lock| lock.try_lock_shared().is_err())
    }

    fn opened(&self, row: RawRow) -> Result<Row, JournalError> {
        let RawRow { id, state, sealed, done, total, error } = row;
        let plain = self.owner.vault().open(Drawer::Task, b"plan", &sealed)?;
        let plan = Plan::decode(&plain)?;
        let state = state_of(&state).ok_or(FormatError::Invalid("task state"))?;
        let [done, total] = [Some(done), total].map(|count| count.map(unsigned));
        Ok(Row { id, state, plan, done: done.unwrap_or(0), total, error })
    }

    async fn rows(
        &self,
        what: &'static str,
        sql: &'static str,
        task: TaskId,
    ) -> Result<Vec<(u32, Vec<u8>)>, DatabaseError> {
        self.database
            .read(what, move |connection| {
                let mut query = connection.prepare_cached(sql)?;
                let rows = query.query_map([task.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .await
    }
}

const TASK_SQL: &str = "SELECT id, state, sealed, done, total, error FROM task";

struct RawRow {
    id: TaskId,
    state: String,
    sealed: Vec<u8>,
    done: i64,
    total: Option<i64>,
    error: Option<String>,
}

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<RawRow> {
    Ok(RawRow {
        id: TaskId(row.get(0)?),
        state: row.get(1)?,
        sealed: row.get(2)?,
        done: row.get(3)?,
        total: row.get(4)?,
        error: row.get(5)?,
    })
}

fn forget_parts(connection: &Connection, task: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM slice WHERE task = ?1", [task])?;
    connection.execute("DELETE FROM record WHERE task = ?1", [task])?;
    let old = "DELETE FROM task WHERE state IN ('done', 'cancelled') AND id <= ?1";
    connection.execute(old, [task - i64::from(FINISHED_MAX)])?;
    Ok(())
}

fn slice_place(task: i64, number: u32) -> [u8; 12] {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&task.to_le_bytes());
    place[8..].copy_from_slice(&number.to_le_bytes());
    place
}

/// SQLite's integers have a sign; no file is that long.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
