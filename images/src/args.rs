//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Makes container images out of static binaries, without a container engine. The same
/// binaries give the same image, bit for bit. `make images` calls it.
#[derive(Debug, Parser)]
#[command(name = "defs-images", version)]
pub(crate) struct Args {
    /// The folder with the built binaries.
    #[arg(long, default_value = "target/x86_64-unknown-linux-gnu/release")]
    pub(crate) binaries: PathBuf,
    /// Where NAME.tar, NAME.digest and NAME.spdx.json go.
    #[arg(long, default_value = "out/images")]
    pub(crate) out: PathBuf,
    /// What stands before the image's name: registry and owner.
    #[arg(long, default_value = "ghcr.io/bpfs")]
    pub(crate) repository: String,
    /// What stands behind it, and the version that the image says.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) tag: String,
    /// The commit that the binaries were built from, for the image's label.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// The workspace that they were built from, for the list of crates.
    #[arg(long, default_value = ".")]
    pub(crate) workspace: PathBuf,
    /// Seconds since 1970 that the image says it was made at. Files in it are always of 1970,
    /// so that layers are shared.
    #[arg(long, env = "SOURCE_DATE_EPOCH", default_value_t = 0)]
    pub(crate) source_date_epoch: u64,
}
