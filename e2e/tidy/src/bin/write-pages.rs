//! Writes the generated pages of the documentation: `make pages`, from the root.

fn main() -> std::io::Result<()> {
    for page in defs_tidy::pages::all() {
        std::fs::write(page.path, page.text)?;
    }
    Ok(())
}
