//! Reads a file in slices, and notices when it changes meanwhile: what was read before
//! and after must be one version of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use defs_core::ids::SliceNo;
use rustix::buffer::spare_capacity;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::task::TaskTracker;

use crate::journal::FileStamp;

/// Where a file's bytes come from.
pub enum Source {
    /// A file on this machine. The only kind that an upload can resume from.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that come once, such as a pipe's.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(out, "File({})", path.display()),
            Self::Bytes(bytes) => write!(out, "Bytes({})", bytes.len()),
            Self::Stream(_) => out.write_str("Stream"),
        }
    }
}

/// Why a source was not read.
#[derive(Debug, Clone, Error)]
pub enum SourceError {
    /// It is gone, or was never there.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A folder, a device, a socket.
    #[error("{path} is not a regular file")]
    Special {
        /// What was named.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error("failed to read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Arc<io::Error>,
    },
    /// It is not the file any more that it was when the upload began.
    #[error("{path} changed while it was read: put it again when nobody writes to it")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The stream broke off.
    #[error("failed to read the stream")]
    Stream {
        /// What failed.
        source: Arc<io::Error>,
    },
    /// More slices than a file may have.
    #[error("the stream is longer than a file may be")]
    TooLong,
    /// The client is closing.
    #[error("the client is closing")]
    Closing,
}

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) number: SliceNo,
    pub(crate) plain: Bytes,
}

/// Reads slices.
pub(crate) struct SliceReader {
    from: From,
    /// Bytes that are asked of a stream at a time.
    buffer: usize,
    tasks: TaskTracker,
}

enum From {
    File {
        file: Arc<File>,
        path: PathBuf,
        stamp: FileStamp,
    },
    Bytes(Bytes),
    /// What was read to learn whether there is more, and the rest.
    Stream {
        head: Vec<u8>,
        rest: Box<dyn AsyncRead + Send + Unpin>,
    },
}

impl SliceReader {
    /// Opens `source`. A stream is read by `buffer` bytes at a time, and at once up to `head`
    /// bytes: one that ends before has a known length.
    pub(crate) async fn open(
        source: Source,
        head: usize,
        buffer: usize,
        tasks: &TaskTracker,
    ) -> Result<Self, SourceError> {
        let from = match source {
            Source::File(path) => {
                let opening = tasks.spawn_blocking(move || open_file(path));
                opening.await.map_err(|_ended| SourceError::Closing)??
            }
            Source::Bytes(bytes) => From::Bytes(bytes),
            Source::Stream(mut rest) => {
                let mut start = Vec::new();
                read_up_to(&mut rest, &mut start, head, buffer).await?;
                if start.len() < head {
                    From::Bytes(start.into())
                } else {
                    From::Stream { head: start, rest }
                }
            }
        };
        Ok(Self { from, buffer, tasks: tasks.clone() })
    }

    /// Bytes in all, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.from {
            From::File { stamp, .. } => Some(stamp.length),
            From::Bytes(bytes) => Some(bytes.len() as u64),
            From::Stream { .. } => None,
        }
    }

    /// Whether its bytes can't be read again.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self.from, From::Stream { .. })
    }

    /// What names this version of a file that can be read again.
    pub(crate) fn identity(&self) -> Option<(PathBuf, FileStamp)> {
        match &self.from {
            From::File { path, stamp, .. } => Some((path.clone(), *stamp)),
            From::Bytes(_) | From::Stream { .. } => None,
        }
    }

    /// Slice `number` of slices of `size` bytes, `None` behind the last. A stream gives its
    /// slices in order and once.
    pub(crate) async fn read(
        &mut self,
        number: SliceNo,
        size: u64,
    ) -> Result<Option<Slice>, SourceError> {
        let start = u64::from(number.0).saturating_mul(size);
        let buffer = self.buffer;
        let plain = match &mut self.from {
            From::File { file, path, stamp } => {
                if start >= stamp.length {
                    return Ok(None);
                }
                let length = size.min(stamp.length - start);
                let (file, path, stamp) = (Arc::clone(file), path.clone(), *stamp);
                let reading = self
                    .tasks
                    .spawn_blocking(move || read_at(&file, &path, stamp, (start, length)));
                reading.await.map_err(|_ended| SourceError::Closing)??.into()
            }
            From::Bytes(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                if start >= bytes.len() {
                    return Ok(None);
                }
                let length = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len() - start);
                bytes.slice(start..start + length)
            }
            From::Stream { head, rest } => {
                let size = usize::try_from(size).map_err(|_large| SourceError::TooLong)?;
                let mut plain = std::mem::take(head);
                *head = plain.split_off(plain.len().min(size));
                read_up_to(rest, &mut plain, size, buffer).await?;
                if plain.is_empty() {
                    return Ok(None);
                }
                plain.into()
            }
        };
        Ok(Some(Slice { number, plain }))
    }

    /// After the last slice: whether all of them were of one version of the file.
    // By `&mut`, though nothing changes: a stream can be sent to another thread, not shared.
    pub(crate) async fn check_unchanged(&mut self) -> Result<(), SourceError> {
        let From::File { file, path, stamp } = &self.from else { return Ok(()) };
        let (file, path, stamp) = (Arc::clone(file), path.clone(), *stamp);
        let checking = self.tasks.spawn_blocking(move || same(&file, &path, stamp));
        checking.await.map_err(|_ended| SourceError::Closing)?
    }
}

impl std::fmt::Debug for SliceReader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SliceReader({:?})", self.identity())
    }
}

async fn read_up_to(
    from: &mut (dyn AsyncRead + Send + Unpin),
    into: &mut Vec<u8>,
    length: usize,
    buffer: usize,
) -> Result<(), SourceError> {
    let failed = |source| SourceError::Stream { source: Arc::new(source) };
    // Pages that nobody writes to take no memory.
    into.reserve_exact(length.saturating_sub(into.len()));
    while into.len() < length {
        let next = buffer.min(length - into.len());
        if (&mut *from).take(next as u64).read_buf(into).await.map_err(failed)? == 0 {
            break;
        }
    }
    Ok(())
}

fn open_file(path: PathBuf) -> Result<From, SourceError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { path: path.clone() },
        _ => SourceError::Io { path: path.clone(), source: Arc::new(source) },
    };
    // Asked before opening: opening a pipe would wait for its other end.
    let is_regular = std::fs::metadata(&path).map_err(failed)?.is_file();
    if !is_regular {
        return Err(SourceError::Special { path });
    }
    let file = File::open(&path).map_err(failed)?;
    let stamp = stamp_of(&file).map_err(failed)?;
    // The kernel's own files (/proc) say that they are empty and are not.
    if stamp.length == 0 && file.read_at(&mut [0], 0).map_err(failed)? > 0 {
        return Err(SourceError::Special { path });
    }
    Ok(From::File { file: Arc::new(file), path, stamp })
}

fn stamp_of(file: &File) -> io::Result<FileStamp> {
    let meta = file.metadata()?;
    let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok(FileStamp { device: meta.dev(), inode: meta.ino(), length: meta.len(), modified_ns })
}

/// Whether the open file, and the file of this name, are still what `stamp` says.
fn same(file: &File, path: &Path, stamp: FileStamp) -> Result<(), SourceError> {
    let failed = |source| SourceError::Io { path: path.to_owned(), source: Arc::new(source) };
    let changed = || SourceError::Changed { path: path.to_owned() };
    if stamp_of(file).map_err(failed)? != stamp {
        return Err(changed());
    }
    match std::fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (stamp.device, stamp.inode) => Ok(()),
        Ok(_) => Err(changed()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(changed()),
        Err(error) => Err(failed(error)),
    }
}

fn read_at(
    file: &File,
    path: &Path,
    stamp: FileStamp,
    (start, length): (u64, u64),
) -> Result<Vec<u8>, SourceError> {
    let length = usize::try_from(length).map_err(|_large| SourceError::TooLong)?;
    let mut plain = Vec::with_capacity(length);
    while plain.len() < length {
        let at = start + plain.len() as u64;
        // Into memory as it is: to clear it first would cost as much as half the reading.
        match rustix::io::pread(file, spare_capacity(&mut plain), at) {
            Ok(0) => return Err(SourceError::Changed { path: path.to_owned() }),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                let source = Arc::new(io::Error::from(error));
                return Err(SourceError::Io { path: path.to_owned(), source });
            }
        }
    }
    same(file, path, stamp)?;
    // Capacity may be more than was asked for.
    plain.truncate(length);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: SliceReader, size: u64) -> Result<Vec<Vec<u8>>, SourceError> {
        let mut slices = Vec::new();
        for number in 0.. {
            let Some(slice) = reader.read(SliceNo(number), size).await? else { break };
            slices.push(slice.plain.to_vec());
        }
        reader.check_unchanged().await?;
        Ok(slices)
    }

    #[tokio::test]
    async fn files_bytes_and_streams_are_cut_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let tasks = TaskTracker::new();
        for length in [0, 1, 9, 10, 11, 20, 25] {
            let bytes: Vec<u8> = (0..length).collect();
            std::fs::write(&path, &bytes).unwrap();
            let sources = [
                Source::File(path.clone()),
                Source::Bytes(bytes.clone().into()),
                Source::Stream(Box::new(io::Cursor::new(bytes.clone()))),
            ];
            for source in sources {
                let name = format!("{source:?} of {length}");
                let reader = SliceReader::open(source, 12, 4, &tasks).await.unwrap();
                let known = reader.length();
                assert!(known.is_none_or(|known| known == u64::from(length)), "{name}");
                let slices = all(reader, 10).await.unwrap();
                let expected: Vec<_> = bytes.chunks(10).map(<[u8]>::to_vec).collect();
                assert_eq!(slices, expected, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_readable_file_is_refused_by_name() {
        let tasks = TaskTracker::new();
        let folder = tempfile::tempdir().unwrap();
        let open = |path: PathBuf| SliceReader::open(Source::File(path), 1, 4, &tasks);
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let specials =
            [folder.path().to_owned(), socket, "/dev/zero".into(), "/proc/cpuinfo".into()];
        for path in specials {
            let special = open(path.clone()).await;
            assert!(matches!(special, Err(SourceError::Special { .. })), "{}", path.display());
        }
        let missing = open(folder.path().join("none")).await;
        assert!(matches!(missing, Err(SourceError::Missing { .. })));
        let circle = folder.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        let unreadable = open(circle.clone()).await.unwrap_err();
        assert!(matches!(unreadable, SourceError::Io { .. }));
        assert_eq!(unreadable.to_string(), format!("failed to read {}", circle.display()));
    }

    #[tokio::test]
    async fn a_file_that_grows_shrinks_or_is_replaced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let change: [fn(&Path); 4] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::write(path, [1; 30]).unwrap(),
            |path| std::fs::write(path, [1; 5]).unwrap(),
            |path| {
                std::fs::write(path.with_extension("new"), [1; 20]).unwrap();
                std::fs::rename(path.with_extension("new"), path).unwrap();
            },
        ];
        for (case, change) in change.iter().enumerate() {
            let path = folder.path().join(format!("file{case}"));
            std::fs::write(&path, [0; 20]).unwrap();
            let mut reader =
                SliceReader::open(Source::File(path.clone()), 1, 4, &tasks).await.unwrap();
            reader.read(SliceNo(0), 10).await.unwrap();
            change(&path);
            let second = reader.read(SliceNo(1), 10).await;
            assert!(matches!(second, Err(SourceError::Changed { .. })), "case {case}");
        }
    }
}
