//! A small disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::shell::{skipped, told_by};

/// A file system of `size` in memory at `folder`, until the value goes.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it. `None`, and words about it, where this process may not.
    pub fn mount(folder: &Path, size: &str) -> Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        let at = folder.to_str().context("a Unicode path")?;
        let size = format!("size={size}");
        match told_by(&["mount", "-t", "tmpfs", "-o", &size, "defs", at]) {
            Ok(_) => Ok(Some(Self(folder.to_owned()))),
            Err(error) => {
                skipped(&error.context("this test needs to mount a file system")).map(|()| None)
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a panic a node still runs there, until its user goes too.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}
