//! Writes the generated pages of the documentation: `make pages`, from the root.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for page in defs_tidy::pages::all(Path::new("."))? {
        std::fs::write(page.path, page.text)?;
    }
    Ok(())
}
