//! The owner's names: each with the ticket of its newest version, sealed on this machine.

use std::sync::Arc;

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::Digest;
use defs_core::manifest::NAME_MAX;
use defs_core::mode::Mode;
use defs_core::port::UnixMillis;
use rusqlite::{Connection, OptionalExtension as _};
use thiserror::Error;

use crate::database::{Database, DatabaseError};
use crate::keys::{Drawer, NotSealedHere, Owner};
use crate::ticket::Ticket;

/// A name and what it stands for.
#[derive(Debug)]
pub struct Entry {
    /// As the owner wrote it; any Unicode text up to 4,096 bytes.
    pub name: String,
    /// Bytes of the file.
    pub length: u64,
    /// How it is stored.
    pub mode: Mode,
    /// When it was put, by the putting machine's clock.
    pub put_at: UnixMillis,
    /// Digest of the content, see [`defs_core::manifest::content_digest`].
    pub digest: Digest,
    /// Finds and opens it.
    pub ticket: Ticket,
}

/// Why the catalogue didn't answer.
#[derive(Debug, Clone, Error)]
pub enum CatalogueError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A row belongs to another identity or is damaged.
    #[error("failed to open an entry of the catalogue")]
    Sealed(#[from] NotSealedHere),
    /// A row is in a form that this program doesn't know.
    #[error("failed to read an entry of the catalogue")]
    Format(#[from] FormatError),
}

/// An entry to be stored, sealed.
#[derive(Debug, Clone)]
pub(crate) struct SealedEntry {
    name: [u8; 32],
    sealed: Vec<u8>,
}

/// What became of an entry that was to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The name was free.
    New,
    /// The name stood for this before.
    Replaced(SealedBefore),
    /// The name is taken, and was not to be replaced.
    Taken,
}

/// The entry that a newer one replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedBefore {
    name: [u8; 32],
    sealed: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    database: Database,
    owner: Arc<Owner>,
}

impl Catalogue {
    pub(crate) fn new(database: Database, owner: Arc<Owner>) -> Self {
        Self { database, owner }
    }

    /// `salt` is drawn for this entry.
    pub(crate) fn seal(&self, entry: &Entry, salt: [u8; 32]) -> SealedEntry {
        let vault = self.owner.vault();
        let name = vault.name_hash(&entry.name);
        SealedEntry { name, sealed: vault.seal(Drawer::Entry, &name, salt, &entry.encode()) }
    }

    /// Stores entries, all in one commit; each is stored or refused by itself.
    pub(crate) async fn store(
        &self,
        entries: Vec<(SealedEntry, bool)>,
    ) -> Result<Vec<Stored>, DatabaseError> {
        self.database
            .write("store catalogue entries", move |connection| store_all(connection, entries))
            .await
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Entry>, CatalogueError> {
        let hash = self.owner.vault().name_hash(name);
        let found = self
            .database
            .read("find a name", move |connection| sealed_of(connection, &hash))
            .await?;
        found.map(|sealed| self.open(&hash, &sealed)).transpose()
    }

    /// Opens what is to be stored.
    pub(crate) fn open_sealed(&self, entry: &SealedEntry) -> Result<Entry, CatalogueError> {
        self.open(&entry.name, &entry.sealed)
    }

    /// Opens what a newer entry has replaced.
    pub(crate) fn open_before(&self, before: &SealedBefore) -> Result<Entry, CatalogueError> {
        self.open(&before.name, &before.sealed)
    }

    /// Every entry, by name.
    pub(crate) async fn all(&self) -> Result<Vec<Entry>, CatalogueError> {
        let rows = self
            .database
            .read("list names", |connection| {
                let mut query = connection.prepare_cached("SELECT name, sealed FROM entry")?;
                let rows = query.query_map((), |row| {
                    Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        let mut entries = rows
            .iter()
            .map(|(name, sealed)| self.open(name, sealed))
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Forgets a name if it still stands for `file`.
    pub(crate) async fn forget(&self, entry: &Entry) -> Result<(), CatalogueError> {
        match self.find(&entry.name).await? {
            Some(found) if found.ticket.file == entry.ticket.file => {
                let hash = self.owner.vault().name_hash(&entry.name);
                let remove = move |connection: &Connection| {
                    connection.execute("DELETE FROM entry WHERE name = ?1", [&hash])
                };
                self.database.write("forget a name", remove).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&self, name: &[u8; 32], sealed: &[u8]) -> Result<Entry, CatalogueError> {
        let plain = self.owner.vault().open(Drawer::Entry, name, sealed)?;
        Ok(Entry::decode(&plain)?)
    }
}

/// Stores entries within a commit; each is stored or refused by itself.
pub(crate) fn store_all(
    connection: &Connection,
    entries: Vec<(SealedEntry, bool)>,
) -> rusqlite::Result<Vec<Stored>> {
    entries.into_iter().map(|(entry, replace)| store_one(connection, &entry, replace)).collect()
}

fn sealed_of(connection: &Connection, name: &[u8; 32]) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT sealed FROM entry WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn store_one(
    connection: &Connection,
    entry: &SealedEntry,
    replace: bool,
) -> rusqlite::Result<Stored> {
    let before = sealed_of(connection, &entry.name)?;
    if before.is_some() && !replace {
        return Ok(Stored::Taken);
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO entry (name, sealed) VALUES (?1, ?2)")?
        .execute((&entry.name, &entry.sealed))?;
    Ok(before
        .map_or(Stored::New, |sealed| Stored::Replaced(SealedBefore { name: entry.name, sealed })))
}

/// A sealed entry is not much longer than the longest name.
const SEALED_MAX: usize = 2 * NAME_MAX;

impl Format for SealedEntry {
    const NAME: &'static str = "a sealed catalogue entry";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.name);
        out.bytes(&self.sealed);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let name = input.array("name")?;
        Ok(Self { name, sealed: input.bytes("entry", SEALED_MAX)?.to_vec() })
    }
}

impl Format for Entry {
    const NAME: &'static str = "a catalogue entry";
    fn write(&self, out: &mut Writer) {
        out.bytes(self.name.as_bytes());
        out.u64(self.length);
        out.u8(self.mode.code());
        out.u64(self.put_at.0);
        out.raw(&self.digest.0);
        self.ticket.write_versioned(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            name: input.text("name", NAME_MAX)?,
            length: input.u64("length")?,
            mode: Mode::from_code(input.u8("mode")?).ok_or(FormatError::Invalid("mode"))?,
            put_at: UnixMillis(input.u64("put at")?),
            digest: Digest(input.array("digest")?),
            ticket: Ticket::read_versioned(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::{FileId, NetworkId};
    use defs_identity::SecretKey;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::database::Threads;
    use crate::keys::FileKey;

    fn entry(name: &str, file: u8) -> Entry {
        Entry {
            name: name.to_owned(),
            length: 5,
            mode: Mode::File,
            put_at: UnixMillis(9),
            digest: Digest([1; 32]),
            ticket: Ticket {
                network: NetworkId([2; 32]),
                file: FileId([file; 32]),
                key: FileKey::from_bytes([3; 32]),
                lock_seed: [4; 32],
                hints: vec![],
            },
        }
    }

    async fn catalogue(folder: &std::path::Path, seed: u8) -> Catalogue {
        let threads = Threads::of(&TaskTracker::new(), false);
        let database = Database::open(&folder.join("client.db"), threads).await.unwrap();
        Catalogue::new(database, Arc::new(Owner::new(SecretKey::from_seed(&[seed; 32]))))
    }

    async fn put(catalogue: &Catalogue, entry: &Entry, replace: bool) -> Stored {
        let sealed = catalogue.seal(entry, [entry.ticket.file.0[0]; 32]);
        catalogue.store(vec![(sealed, replace)]).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn unicode_names_are_found_listed_in_order_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(folder.path(), 1).await;
        for (file, name) in [(1, "żółw 🐢/a"), (2, "Ärger"), (3, "a")] {
            assert_eq!(put(&catalogue, &entry(name, file), false).await, Stored::New);
        }
        let names: Vec<_> =
            catalogue.all().await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a", "Ärger", "żółw 🐢/a"]);
        let found = catalogue.find("żółw 🐢/a").await.unwrap().unwrap();
        assert_eq!(found.ticket.file, FileId([1; 32]));
        catalogue.forget(&found).await.unwrap();
        assert!(catalogue.find("żółw 🐢/a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_taken_name_is_replaced_only_when_asked_and_says_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(folder.path(), 1).await;
        put(&catalogue, &entry("a", 1), false).await;
        assert_eq!(put(&catalogue, &entry("a", 2), false).await, Stored::Taken);
        let Stored::Replaced(before) = put(&catalogue, &entry("a", 3), true).await else {
            panic!("the name was taken");
        };
        assert_eq!(catalogue.open_before(&before).unwrap().ticket.file, FileId([1; 32]));
        // The older entry's file is not what the name stands for any more.
        catalogue.forget(&entry("a", 1)).await.unwrap();
        let found = catalogue.find("a").await.unwrap().unwrap();
        assert_eq!(found.ticket.file, FileId([3; 32]));
    }

    #[tokio::test]
    async fn another_identity_sees_no_names_in_the_same_file_and_the_file_shows_none() {
        let folder = tempfile::tempdir().unwrap();
        let mine = catalogue(folder.path(), 1).await;
        put(&mine, &entry("a very secret name", 1), false).await;
        let theirs = catalogue(folder.path(), 2).await;
        assert!(theirs.find("a very secret name").await.unwrap().is_none());
        assert!(matches!(theirs.all().await, Err(CatalogueError::Sealed(_))));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"very secret"));
        }
    }
}
