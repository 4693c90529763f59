//! Writes `docs/vectors/formats.json` and `docs/vectors/wire.json`. The test `formats`
//! compares.

#[path = "documents.rs"]
mod documents;

use std::fs;

fn main() -> std::io::Result<()> {
    for document in documents::all() {
        fs::write(document.path, document.text)?;
    }
    Ok(())
}
