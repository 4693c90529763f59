//! Writes `docs/vectors/ticket.json`. The test `vectors` compares.

#[path = "../tests/vectors/document.rs"]
mod document;

fn main() -> std::io::Result<()> {
    std::fs::write(document::path(), document::text())
}
