//! Writes the generated pages of the documentation and the CRDs: `make pages` or `make crds`,
//! from the root.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for page in defs_tidy::pages::all(Path::new("."))? {
        if let Some(folder) = Path::new(&page.path).parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(page.path, page.text)?;
    }
    Ok(())
}
