//! The published vectors are those that the code makes.

#[path = "../examples/vectors/document.rs"]
mod document;

#[test]
fn the_published_vectors_are_what_the_code_makes() {
    let published = std::fs::read_to_string(document::path()).expect("docs/vectors/identity.json");
    assert_eq!(published, document::text(), "run the example `vectors` if the change is meant");
}
