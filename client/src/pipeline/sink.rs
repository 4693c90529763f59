//! Writes slices in order: beside the target first, under its name when all is there and
//! durable; or into a stream.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use defs_core::ids::hex;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Where a file's bytes go.
pub enum Sink {
    /// A file of this name, which appears when it is whole. An existing one is replaced.
    File(PathBuf),
    /// Bytes in order; an error may leave some of them written.
    Writer(Box<dyn AsyncWrite + Send + Unpin>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(out, "File({})", path.display()),
            Self::Writer(_) => out.write_str("Writer"),
        }
    }
}

/// Why a file's bytes were not written.
#[derive(Debug, Clone, Error)]
pub enum SinkError {
    /// The disk is full.
    #[error("there is no room for {path}")]
    NoRoom {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error("failed to {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What failed.
        source: Arc<io::Error>,
    },
    /// The stream's reader is gone or failed.
    #[error("failed to write to the stream")]
    Stream {
        /// What failed.
        source: Arc<io::Error>,
    },
    /// The client is closing.
    #[error("the client is closing")]
    Closing,
}

/// Takes slices in order.
pub(crate) struct SliceWriter {
    to: To,
    /// Bytes that are given to the operating system or the stream at a time.
    buffer: usize,
    tasks: TaskTracker,
}

enum To {
    File { file: Arc<File>, partial: PathBuf, target: PathBuf, at: u64, keep: bool, ahead: Ahead },
    Stream(Box<dyn AsyncWrite + Send + Unpin>),
}

/// Syncs that run while more is written, so that the last one has little left to do.
#[derive(Default)]
struct Ahead {
    /// Bytes that were written since the last sync began.
    dirty: u64,
    running: Option<JoinHandle<Result<(), SinkError>>>,
}

/// Bytes that are written between two syncs: a large file needs few of them, and what is
/// left at its end is written in a blink.
const SYNC_EVERY: u64 = 32 << 20;

impl Ahead {
    /// `bytes` more were written to `file`. Waits for the sync before only if it is slower
    /// than the writing.
    async fn wrote(
        &mut self,
        bytes: u64,
        file: &Arc<File>,
        path: &Path,
        tasks: &TaskTracker,
    ) -> Result<(), SinkError> {
        self.dirty += bytes;
        if self.dirty < SYNC_EVERY {
            return Ok(());
        }
        self.dirty = 0;
        self.ends().await?;
        let (file, path) = (Arc::clone(file), path.to_owned());
        self.running = Some(tasks.spawn_blocking(move || {
            file.sync_data().map_err(|source| failed("sync", &path, source))
        }));
        Ok(())
    }

    /// What became of the sync that runs: the system tells of a failure once.
    async fn ends(&mut self) -> Result<(), SinkError> {
        match self.running.take() {
            Some(running) => running.await.map_err(|_ended| SinkError::Closing)?,
            None => Ok(()),
        }
    }
}

impl SliceWriter {
    /// Opens `sink`, to be written by `buffer` bytes at a time. The bytes of a file are
    /// collected in `partial`, see [`partial_of`].
    pub(crate) async fn open(
        sink: Sink,
        partial: Option<PathBuf>,
        buffer: usize,
        tasks: &TaskTracker,
    ) -> Result<Self, SinkError> {
        let to = match sink {
            Sink::Writer(writer) => To::Stream(writer),
            Sink::File(target) => {
                let partial = partial.unwrap_or_else(|| target.clone());
                let opening = tasks.spawn_blocking(move || open_partial(target, partial));
                opening.await.map_err(|_ended| SinkError::Closing)??
            }
        };
        Ok(Self { to, buffer, tasks: tasks.clone() })
    }

    /// A writer that is dropped before [`SliceWriter::finish`] removes what it collected,
    /// unless it is to be kept for a resume.
    pub(crate) fn keep_partial(&mut self) {
        if let To::File { keep, .. } = &mut self.to {
            *keep = true;
        }
    }

    /// What was collected before, `length` bytes from `at`; `None` where there is less.
    // By `&mut`, though nothing changes: a stream can be sent to another thread, not shared.
    pub(crate) async fn read_back(&mut self, at: u64, length: u64) -> Option<Vec<u8>> {
        let To::File { file, .. } = &self.to else { return None };
        let (file, length) = (Arc::clone(file), usize::try_from(length).ok()?);
        let reading = self.tasks.spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).is_ok().then_some(bytes)
        });
        reading.await.ok()?
    }

    /// Goes on behind the first `length` bytes.
    pub(crate) fn skip(&mut self, length: u64) {
        if let To::File { at, .. } = &mut self.to {
            *at += length;
        }
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        let buffer = self.buffer;
        match &mut self.to {
            To::Stream(writer) => {
                for part in bytes.chunks(buffer) {
                    let written = writer.write_all(part).await;
                    written.map_err(|source| SinkError::Stream { source: Arc::new(source) })?;
                }
                Ok(())
            }
            To::File { file, partial, at, ahead, .. } => {
                let (synced, start, length) = (Arc::clone(file), *at, bytes.len() as u64);
                let (file, path) = (Arc::clone(file), partial.clone());
                *at += length;
                let writing = self.tasks.spawn_blocking(move || {
                    let mut at = start;
                    bytes.chunks(buffer).try_for_each(|part| {
                        let written = file.write_all_at(part, at);
                        at += part.len() as u64;
                        written.map_err(|source| failed("write", &path, source))
                    })
                });
                writing.await.map_err(|_ended| SinkError::Closing)??;
                ahead.wrote(length, &synced, partial, &self.tasks).await
            }
        }
    }

    /// All is written: durable, and under its name.
    pub(crate) async fn finish(mut self) -> Result<(), SinkError> {
        match &mut self.to {
            To::Stream(writer) => {
                let flushed = writer.flush().await;
                flushed.map_err(|source| SinkError::Stream { source: Arc::new(source) })
            }
            To::File { file, partial, target, at, keep, ahead } => {
                ahead.ends().await?;
                let (file, from, to, length) =
                    (Arc::clone(file), partial.clone(), target.clone(), *at);
                let naming =
                    self.tasks.spawn_blocking(move || give_name(&file, &from, &to, length));
                naming.await.map_err(|_ended| SinkError::Closing)??;
                *keep = true;
                Ok(())
            }
        }
    }
}

impl Drop for SliceWriter {
    fn drop(&mut self) {
        if let To::File { partial, keep: false, .. } = &self.to
            && let Err(error) = std::fs::remove_file(partial)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %partial.display(), error, "a partial file was left");
        }
    }
}

impl std::fmt::Debug for SliceWriter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.to {
            To::File { partial, at, .. } => write!(out, "File({} at {at})", partial.display()),
            To::Stream(_) => out.write_str("Stream"),
        }
    }
}

/// The name under which the bytes of `target` are collected; `random` tells two downloads
/// of one name apart.
pub(crate) fn partial_of(target: &Path, random: [u8; 8]) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    // A name may have 255 bytes: a long one is left out.
    if name.len() > 200 {
        name = std::ffi::OsString::from(".download");
    }
    name.push(format!(".{}.part", hex(&random)));
    target.with_file_name(name)
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> SinkError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            SinkError::NoRoom { path: path.to_owned() }
        }
        _ => SinkError::Io { what, path: path.to_owned(), source: Arc::new(source) },
    }
}

fn open_partial(target: PathBuf, partial: PathBuf) -> Result<To, SinkError> {
    if target.is_dir() {
        let source = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(failed("write to", &target, source));
    }
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(&partial);
    let file = file.map_err(|source| failed("make", &partial, source))?;
    Ok(To::File {
        file: Arc::new(file),
        partial,
        target,
        at: 0,
        keep: false,
        ahead: Ahead::default(),
    })
}

fn give_name(file: &File, from: &Path, to: &Path, length: u64) -> Result<(), SinkError> {
    // An earlier attempt may have written more.
    file.set_len(length).map_err(|source| failed("cut", from, source))?;
    file.sync_all().map_err(|source| failed("sync", from, source))?;
    std::fs::rename(from, to).map_err(|source| failed("rename to", to, source))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", folder, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let target = folder.path().join("ä file");
        let open = || {
            let partial = partial_of(&target, [1; 8]);
            SliceWriter::open(Sink::File(target.clone()), Some(partial), 4, &tasks)
        };
        let mut writer = open().await.unwrap();
        writer.write(vec![1; 5].into()).await.unwrap();
        assert_eq!(names(folder.path()), [".ä file.0101010101010101.part"]);
        drop(writer);
        assert!(names(folder.path()).is_empty());

        let mut writer = open().await.unwrap();
        writer.write(vec![1; 5].into()).await.unwrap();
        writer.write(vec![2; 3].into()).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(names(folder.path()), ["ä file"]);
        assert_eq!(std::fs::read(&target).unwrap(), [1, 1, 1, 1, 1, 2, 2, 2]);
    }

    #[tokio::test]
    async fn a_kept_partial_file_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let target = folder.path().join("file");
        let open = || {
            let partial = partial_of(&target, [1; 8]);
            SliceWriter::open(Sink::File(target.clone()), Some(partial), 4, &tasks)
        };
        let mut writer = open().await.unwrap();
        writer.write(vec![1; 9].into()).await.unwrap();
        writer.keep_partial();
        drop(writer);

        let mut writer = open().await.unwrap();
        assert_eq!(writer.read_back(0, 4).await, Some(vec![1; 4]));
        assert_eq!(writer.read_back(5, 5).await, None);
        writer.skip(4);
        writer.write(vec![2; 2].into()).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), [1, 1, 1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn no_room_is_said_with_the_name_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let (target, partial) = (folder.path().join("file"), folder.path().join("partial"));
        // A device that is always full, by another name: only the name is removed.
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let sink = Sink::File(target);
        let mut writer = SliceWriter::open(sink, Some(partial.clone()), 4, &tasks).await.unwrap();
        let refused = writer.write(vec![1; 9].into()).await.unwrap_err();
        assert!(matches!(&refused, SinkError::NoRoom { path } if *path == partial), "{refused}");
        drop(writer);
        assert!(names(folder.path()).is_empty());
    }
}
