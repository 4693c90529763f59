//! `defs-images`: container images out of static binaries, without a container engine.

mod archive;
mod args;
mod crates;
mod digest;
mod image;
mod layer;
mod make;
mod program;
mod sbom;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::args::Args;
use crate::image::IMAGES;
use crate::make::{Made, make};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may read any more; the exit code still tells.
            writeln!(std::io::stderr(), "failed: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    for image in IMAGES {
        let made = make(image, args)
            .with_context(|| format!("failed to make the image {}", image.name))?;
        tell(&made, args).context("nobody reads")?;
    }
    Ok(())
}

fn tell(made: &Made, args: &Args) -> std::io::Result<()> {
    let Made { reference, digest, bytes, layers } = made;
    let mut out = std::io::stdout();
    writeln!(out, "{reference}@{digest}  {}, in {}", size(*bytes), args.out.display())?;
    for (bytes, holds) in layers {
        writeln!(out, "  {:>10}  {holds}", size(*bytes))?;
    }
    Ok(())
}

/// In KiB or MiB, rounded up.
fn size(bytes: usize) -> String {
    if bytes < 1 << 20 {
        return format!("{} KiB", bytes.div_ceil(1 << 10));
    }
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
