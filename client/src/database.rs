//! The one local database (`client.db`): the catalogue and the journal of tasks, in
//! SQLite with a write-ahead log, durable at every commit, shared by several processes.
//!
//! One task owns the writing connection. What waits while it commits is committed
//! together next, so sixteen callers cost one sync of the disk and not sixteen.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Writes that may wait; more than this many callers wait for room.
const WAITING_MAX: usize = 256;

/// Writes of one commit: bounds how long the first of them waits.
const COMMIT_MAX: usize = 256;

/// How long another process may hold the database: its commits take milliseconds.
const BUSY: Duration = Duration::from_secs(20);

/// Grows with every change of the tables.
const SCHEMA_VERSION: u32 = 2;

const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE entry (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE task (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, state TEXT NOT NULL,
        sealed BLOB NOT NULL, done INTEGER NOT NULL, total INTEGER, error TEXT
    );
    CREATE TABLE slice (
        task INTEGER NOT NULL, number INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (task, number)
    ) WITHOUT ROWID;
    CREATE TABLE record (
        task INTEGER NOT NULL, page INTEGER NOT NULL, sealed BLOB NOT NULL,
        PRIMARY KEY (task, page)
    ) WITHOUT ROWID;
";

/// What version 2 added: batches of small files.
const SCHEMA_2: &str = "
    CREATE TABLE batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, process TEXT NOT NULL, kept BLOB NOT NULL
    );
";

/// Why the local database didn't do what was asked.
#[derive(Debug, Clone, Error)]
pub enum DatabaseError {
    /// The file can't be made or opened.
    #[error("failed to open the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A later program made it.
    #[error(
        "the database {path} has version {found}, this program knows {SCHEMA_VERSION}: upgrade it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A query failed.
    #[error("failed to {what} in the local database")]
    Query {
        /// What was tried.
        what: &'static str,
        /// What failed.
        source: Arc<rusqlite::Error>,
    },
    /// The client is closed.
    #[error("the local database is closed")]
    Closed,
}

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    writes: mpsc::Sender<Box<dyn Job>>,
    reader: Arc<Mutex<Connection>>,
    threads: Threads,
}

/// Where calls run that wait for the disk.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    tasks: TaskTracker,
    /// Right where they are made, in a simulation.
    here: bool,
}

impl Threads {
    /// `tasks` waits for them; `here` is [`ClientConfig::blocks`](crate::ClientConfig).
    pub(crate) fn of(tasks: &TaskTracker, here: bool) -> Self {
        Self { tasks: tasks.clone(), here }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DatabaseError> {
        if self.here {
            return Ok(work());
        }
        self.tasks.spawn_blocking(work).await.map_err(|_ended| DatabaseError::Closed)
    }
}

impl Database {
    /// Opens `path` and makes it, for its owner's eyes only, where there is none.
    pub(crate) async fn open(path: &Path, threads: Threads) -> Result<Self, DatabaseError> {
        let owned = path.to_owned();
        let (writer, reader) = threads.run(move || open_both(&owned)).await??;
        let (writes, waiting) = mpsc::channel(WAITING_MAX);
        threads.tasks.spawn(commit_all(writer, waiting, threads.clone()));
        Ok(Self { writes, reader: Arc::new(Mutex::new(reader)), threads })
    }

    /// Runs `work` in a transaction and returns when it is durable. `work` is undone alone
    /// if it fails; others that were committed with it are not.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        let job = Write { what, work: Some(work), outcome: None, reply };
        self.writes.send(Box::new(job)).await.map_err(|_gone| DatabaseError::Closed)?;
        answer.await.map_err(|_gone| DatabaseError::Closed)?
    }

    /// Runs `work`, which only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let reader = Arc::clone(&self.reader);
        let done = self.threads.run(move || {
            // A query that panicked has left no transaction open: reads have none.
            work(&reader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await?.map_err(|source| DatabaseError::Query { what, source: Arc::new(source) })
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Database")
    }
}

/// A write whose result type is forgotten while it waits.
trait Job: Send {
    /// Runs it inside the transaction, undone if it fails.
    fn run(&mut self, transaction: &mut rusqlite::Transaction<'_>);
    /// Tells whoever waits.
    fn answer(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>);
}

struct Write<T, F> {
    what: &'static str,
    work: Option<F>,
    outcome: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, DatabaseError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, transaction: &mut rusqlite::Transaction<'_>) {
        self.outcome = self.work.take().map(|work| {
            let savepoint = transaction.savepoint()?;
            let done = work(&savepoint)?;
            savepoint.commit()?;
            Ok(done)
        });
    }

    fn answer(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>) {
        let what = self.what;
        let failed = |source| DatabaseError::Query { what, source };
        let answer = match (self.outcome, committed) {
            (Some(Ok(done)), Ok(())) => Ok(done),
            (Some(Err(source)), _) => Err(failed(Arc::new(source))),
            (_, Err(source)) => Err(failed(source)),
            (None, Ok(())) => Err(DatabaseError::Closed),
        };
        // Whoever asked may have been dropped; what was written stays written.
        drop(self.reply.send(answer));
    }
}

/// The writer's loop: takes what waits, commits it, answers. Ends when nobody can ask.
async fn commit_all(
    mut writer: Connection,
    mut waiting: mpsc::Receiver<Box<dyn Job>>,
    threads: Threads,
) {
    loop {
        let mut jobs = Vec::new();
        if waiting.recv_many(&mut jobs, COMMIT_MAX).await == 0 {
            return;
        }
        let committed = threads.run(move || {
            let outcome = commit(&mut writer, &mut jobs).map_err(Arc::new);
            (writer, jobs, outcome)
        });
        let Ok((back, jobs, outcome)) = committed.await else {
            tracing::error!("the local database's writer ended: a write panicked");
            return;
        };
        writer = back;
        for job in jobs {
            job.answer(outcome.clone());
        }
    }
}

fn commit(writer: &mut Connection, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    let mut transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        job.run(&mut transaction);
    }
    transaction.commit()
}

fn open_both(path: &Path) -> Result<(Connection, Connection), DatabaseError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| opening(path, source))?;
    }
    // SQLite gives its log and index files the mode of this one.
    let mut options = std::fs::OpenOptions::new();
    let private = options.create(true).append(true).mode(0o600).open(path);
    private.map_err(|source| opening(path, source))?;
    let mut writer = connect(path).map_err(|source| opening(path, source))?;
    migrate(path, &mut writer)?;
    let reader = connect(path).map_err(|source| opening(path, source))?;
    Ok((writer, reader))
}

fn opening(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> DatabaseError {
    DatabaseError::Open { path: path.to_owned(), source: Arc::new(source) }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Deleted rows held keys, sealed ones: overwrite them all the same.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes the tables that are missing, once, whichever process comes first.
fn migrate(path: &Path, writer: &mut Connection) -> Result<(), DatabaseError> {
    let failed = |source| opening(path, source);
    // Mostly nothing is missing, and whoever only reads doesn't wait for the disk.
    if version(writer).map_err(failed)? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction =
        writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    let steps: &[&str] = match found {
        0 => &[SCHEMA, SCHEMA_2],
        1 => &[SCHEMA_2],
        SCHEMA_VERSION => &[],
        _ => return Err(DatabaseError::Newer { path: path.to_owned(), found }),
    };
    for step in steps {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn put(database: &Database, key: &'static str, value: u8) -> Result<(), DatabaseError> {
        database
            .write("store a value", move |connection| {
                connection
                    .execute("INSERT INTO meta VALUES (?1, ?2)", (key, [value]))
                    .map(|_rows| ())
            })
            .await
    }

    async fn count(database: &Database) -> i64 {
        let sql = "SELECT count(*) FROM meta";
        database
            .read("count values", move |connection| connection.query_row(sql, (), |row| row.get(0)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failing_write_is_undone_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let database = Database::open(&folder.path().join("client.db"), Threads::of(&tasks, false))
            .await
            .unwrap();
        let (first, twice, other) =
            tokio::join!(put(&database, "a", 1), put(&database, "a", 2), put(&database, "b", 3));
        assert!(first.is_ok() && other.is_ok());
        assert!(matches!(twice, Err(DatabaseError::Query { what: "store a value", .. })));
        assert_eq!(count(&database).await, 2);
    }

    #[test]
    fn opening_it_again_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.db");
        drop(open_both(&path).unwrap());
        let _both = open_both(&path).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("client.db-wal")).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn two_processes_share_one_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.db");
        let tasks = TaskTracker::new();
        let one = Database::open(&path, Threads::of(&tasks, false)).await.unwrap();
        let two = Database::open(&path, Threads::of(&tasks, false)).await.unwrap();
        let (a, b) = tokio::join!(put(&one, "a", 1), put(&two, "b", 2));
        a.unwrap();
        b.unwrap();
        assert_eq!((count(&one).await, count(&two).await), (2, 2));
        for name in ["client.db", "client.db-wal"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn a_database_of_the_first_version_is_taken_over_with_all_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.db");
        let first = Connection::open(&path).unwrap();
        first.execute_batch(SCHEMA).unwrap();
        first.execute("INSERT INTO meta VALUES ('a', x'01')", ()).unwrap();
        first.pragma_update(None, "user_version", 1).unwrap();
        drop(first);
        let database =
            Database::open(&path, Threads::of(&TaskTracker::new(), false)).await.unwrap();
        assert_eq!(count(&database).await, 1);
        let sql = "SELECT count(*) FROM batch";
        let batches: i64 = database
            .read("count batches", move |connection| {
                connection.query_row(sql, (), |row| row.get(0))
            })
            .await
            .unwrap();
        assert_eq!(batches, 0);
    }

    #[tokio::test]
    async fn a_newer_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let refused = Database::open(&path, Threads::of(&TaskTracker::new(), false)).await;
        assert!(matches!(refused, Err(DatabaseError::Newer { found: 3, .. })));
    }
}
