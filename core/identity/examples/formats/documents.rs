//! The published vectors of what is stored, signed and sent: everything is derived from the
//! inputs that a document itself names, so that another implementation can follow it.
#![expect(clippy::expect_used, reason = "the vectors' inputs are valid, or they are wrong")]

mod cast;
mod file;
mod network;
mod receipts;
mod statements;
mod wire;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const GENERATED_BY: &str = "cargo run -p defs-identity --release --example formats";

const ABOUT: &str = "Binary values are hexadecimal; `pattern(n)` is the n bytes i mod 251, i from \
    0. Every signature is deterministic (RFC 6979) with the lower s. `statement` is the digest of \
    what is stated, `signed_digest` what the signature covers: the statement itself for admissions, \
    cards and pair records, the root of a Merkle batch for all others. `encoded` begins with the \
    version byte.";

const WIRE_ABOUT: &str = "`message` is the protobuf message of core/wire/proto/defs/peer/v1/\
    peer.proto, its `bytes` in hexadecimal; `encoded` is what stands behind the length on a lane. \
    Fields are written in the order of their numbers, without those that have their default. \
    Signed things are those of formats.json.";

/// A document and where it is published.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Every document made here.
pub(crate) fn all() -> [Document; 2] {
    [
        document(
            "formats.json",
            &json!({
                "about": ABOUT,
                "generated_by": GENERATED_BY,
                "keys": cast::keys(),
                "genesis": network::genesis_vector(),
                "admission": network::admission_vector(),
                "card": network::card_vector(),
                "pair_records": network::pair_vectors(),
                "locators": network::locator_vectors(),
                "lock": cast::lock_vector(),
                "statements": statements::vectors(),
                "file": file::vector(),
                "manifest_pages": file::page_vectors(),
                "receipts": receipts::vectors(),
            }),
        ),
        document(
            "wire.json",
            &json!({
                "about": WIRE_ABOUT,
                "generated_by": GENERATED_BY,
                "requests": wire::requests(),
                "responses": wire::responses(),
                "gossip": wire::gossip(),
            }),
        ),
    ]
}

fn document(name: &str, value: &Value) -> Document {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors");
    Document { path: folder.join(name), text: format!("{value:#}\n") }
}
