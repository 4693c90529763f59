//! The code gives the vectors that other implementations rely on.

#[path = "vectors/document.rs"]
#[expect(clippy::expect_used, reason = "the vectors' own inputs")]
mod document;

const PUBLISHED: &str = include_str!("../../../docs/vectors/codec.json");

#[test]
fn the_code_gives_the_published_vectors() {
    let published: serde_json::Value = serde_json::from_str(PUBLISHED).unwrap();
    let made = document::document();
    for (name, value) in made.as_object().unwrap() {
        assert_eq!(
            Some(value),
            published.get(name),
            "`{name}` differs from docs/vectors/codec.json: stored data would no longer be read. \
             If the format is meant to change, its version byte changes too; then run \
             `cargo run --release -p defs-codec --example codec_vectors > docs/vectors/codec.json`"
        );
    }
    assert_eq!(published, made);
}
