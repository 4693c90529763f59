//! A machine whose memory has been used before. On a virtual machine that gets its memory
//! from the host when it first touches it, each new page of the file cache costs more than
//! writing it to the disk, and only the first figures would pay for that.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::machine::available_memory;
use crate::say;

/// What is left untouched, for the processes.
const LEFT: u64 = 2 << 30;

/// Fills the file cache from a file that has a length and no bytes. It stays full while
/// the file is there: what is measured takes its pages out of it.
pub(crate) fn memory(folder: &Path) -> Result<tempfile::NamedTempFile> {
    let ballast = tempfile::NamedTempFile::new_in(folder).context("failed to make a file")?;
    let length = available_memory()?.saturating_sub(LEFT);
    ballast.as_file().set_len(length).context("failed to give a file its length")?;
    say(&format!("touching {} GiB of memory", length >> 30))?;
    let mut file = File::open(ballast.path()).context("failed to open what was made")?;
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece).context("failed to read zeros")? > 0 {}
    Ok(ballast)
}
