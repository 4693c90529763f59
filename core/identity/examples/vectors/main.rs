//! Writes `docs/vectors/identity.json`. The test `vectors` compares.

mod document;

use std::fs;

fn main() -> std::io::Result<()> {
    let path = document::path();
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, document::text())
}
