//! Prints the codec's vectors: `cargo run --release -p defs-codec --example codec_vectors >
//! docs/vectors/codec.json`.

#[path = "../tests/vectors/document.rs"]
#[expect(clippy::expect_used, reason = "the vectors' own inputs")]
mod document;

fn main() -> serde_json::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document::document())?;
    std::io::Write::write_all(&mut out, b"\n").map_err(serde_json::Error::io)
}
