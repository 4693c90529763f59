//! Tickets, made from the inputs that the document itself names.

use std::path::{Path, PathBuf};

use defs_client::Ticket;
use defs_client::keys::{FileKey, export_key};
use defs_core::format::Format;
use defs_core::ids::{FileId, NetworkId, PairId, hex};
use defs_identity::SecretKey;
use serde_json::{Value, json};

const ABOUT: &str = "Binary values are hexadecimal. `encoded` is what stands in the text before \
    its checksum.";

const NETWORK: NetworkId = NetworkId([0x11; 32]);
const FILE: FileId = FileId([0x12; 32]);
const KEY: [u8; 32] = [0x21; 32];
const LOCK_SEED: [u8; 32] = [0x20; 32];

/// Where the vectors are published.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors/ticket.json")
}

/// Tickets without hints and with the most.
pub(crate) fn tickets() -> [Ticket; 2] {
    [Vec::new(), vec![PairId([0xa1; 16]), PairId([0xa2; 16]), PairId([0xa3; 16])]].map(|hints| {
        let key = FileKey::from_bytes(KEY);
        Ticket { network: NETWORK, file: FILE, key, lock_seed: LOCK_SEED, hints }
    })
}

/// The whole document.
pub(crate) fn text() -> String {
    let document = json!({
        "about": ABOUT,
        "generated_by": "cargo run -p defs-client --release --example tickets",
        "tickets": tickets().map(|ticket| ticket_vector(&ticket)),
        "exported_key": exported_key(),
    });
    format!("{document:#}\n")
}

fn ticket_vector(ticket: &Ticket) -> Value {
    json!({
        "network": ticket.network.full(),
        "file": ticket.file.full(),
        "file_key": hex(&KEY),
        "lock_seed": hex(&ticket.lock_seed),
        "hints": ticket.hints.iter().map(|pair| pair.full()).collect::<Vec<_>>(),
        "encoded": hex(&ticket.encode()),
        "text": *ticket.to_text(),
    })
}

fn exported_key() -> Value {
    let key = SecretKey::from_seed(&[1; 32]);
    json!({ "secret": hex(key.to_bytes().as_slice()), "text": export_key(&key).reveal() })
}
