//! A layer: a tar archive that depends on nothing but names and contents. Not compressed: a
//! digest would depend on the compressor's version, and registries compress on their own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

use crate::digest::Digest;

/// A layer of an image.
#[derive(Debug)]
pub(crate) struct Layer {
    /// What the image's history says of it.
    pub(crate) holds: String,
    /// Of the archive.
    pub(crate) digest: Digest,
    /// The archive.
    pub(crate) blob: Vec<u8>,
}

/// A file of a layer.
#[derive(Debug)]
pub(crate) struct File<'a> {
    /// Without a leading slash.
    pub(crate) path: String,
    /// Whether it runs.
    pub(crate) is_program: bool,
    /// What it holds.
    pub(crate) bytes: &'a [u8],
}

impl Layer {
    /// A layer with these files and the folders that they lie in, in the order of their names.
    pub(crate) fn of(holds: &str, files: &[File<'_>]) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for file in files {
            for folder in Path::new(&file.path).ancestors().skip(1) {
                if folder.parent().is_some() {
                    entries.insert(format!("{}/", folder.display()), None);
                }
            }
            entries.insert(file.path.clone(), Some(file));
        }
        let mut archive = Builder::new(Vec::new());
        for (path, file) in entries {
            let written = match file {
                None => archive.append(&header(&path, EntryType::Directory, 0o755, 0)?, &[][..]),
                Some(file) => {
                    let mode = if file.is_program { 0o755 } else { 0o644 };
                    let length = file.bytes.len();
                    archive.append(&header(&path, EntryType::Regular, mode, length)?, file.bytes)
                }
            };
            written.with_context(|| format!("failed to archive {path}"))?;
        }
        let blob = archive.into_inner().context("failed to end the layer")?;
        Ok(Self { holds: holds.to_owned(), digest: Digest::of(&blob), blob })
    }
}

/// The head of an entry that belongs to root and is as old as 1970. No other time: one layer
/// of an unchanged program is shared by all images that hold it.
pub(crate) fn header(path: &str, kind: EntryType, mode: u32, length: usize) -> Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path).with_context(|| format!("{path} is too long a name"))?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(length)?);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(path: &str, is_program: bool, bytes: &'a [u8]) -> File<'a> {
        File { path: path.to_owned(), is_program, bytes }
    }

    #[test]
    fn folders_come_before_their_files_and_all_is_roots_and_of_1970() {
        let files = [
            file("usr/bin/b", true, b"bb"),
            file("usr/bin/a", true, b"a"),
            file("etc/c", false, b""),
        ];
        let layer = Layer::of("test", &files).unwrap();
        let mut archive = tar::Archive::new(layer.blob.as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let head = entry.header();
                let (uid, gid) = (head.uid().unwrap(), head.gid().unwrap());
                assert_eq!((uid, gid, head.mtime().unwrap()), (0, 0, 0));
                (entry.path().unwrap().display().to_string(), head.mode().unwrap(), entry.size())
            })
            .collect();
        let expected = [
            ("etc/", 0o755, 0),
            ("etc/c", 0o644, 0),
            ("usr/", 0o755, 0),
            ("usr/bin/", 0o755, 0),
            ("usr/bin/a", 0o755, 1),
            ("usr/bin/b", 0o755, 2),
        ];
        assert_eq!(found, expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
    }

    #[test]
    fn the_order_in_which_files_are_given_changes_nothing() {
        let (a, b) = (|| file("x/a", false, b"a"), || file("b", true, b"b"));
        let (one, other) =
            (Layer::of("", &[a(), b()]).unwrap(), Layer::of("", &[b(), a()]).unwrap());
        assert_eq!(one.digest, other.digest);
        let more = Layer::of("", &[file("x/a", true, b"a"), b()]).unwrap();
        assert_ne!(one.digest, more.digest, "whether a file runs is part of the layer");
    }
}
