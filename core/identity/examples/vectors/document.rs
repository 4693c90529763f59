//! The published vectors of this crate: everything is derived from the inputs that the
//! document itself names, so that another implementation can follow it.
#![expect(clippy::expect_used, reason = "the vectors' locks are valid, or the vectors are wrong")]

use std::path::{Path, PathBuf};

use defs_core::digest::merkle_tree;
use defs_core::ids::{Digest, NetworkId, NodeId, StripeId, hex};
use defs_core::statement::{Commit, Lock, Operations, Session, Statement, Unlock};
use defs_identity::authority::message_of;
use defs_identity::script::{
    lock_multisig, lock_p2pk, lock_p2pkh, lock_until, unlock_multisig, unlock_p2pk, unlock_p2pkh,
};
use defs_identity::{Address, SecretKey, UnixTime, sign_digests};
use serde_json::{Value, json};

/// Where the vectors are published.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors/identity.json")
}

/// The whole document.
pub(crate) fn text() -> String {
    let document = json!({
        "generated_by": "cargo run -p defs-identity --release --example vectors",
        "keys": ([1, 2, 3].map(key_vector)),
        "signatures": ([0, 1, 0xff].map(signature_vector)),
        "lock_keys": ([7, 8].map(lock_key_vector)),
        "subkeys": (["catalogue", ""].map(subkey_vector)),
        "scripts": scripts(),
        "batches": ([1, 2, 5].map(batch_vector)),
        "session": session_vector(),
    });
    format!("{document:#}\n")
}

const NETWORK: NetworkId = NetworkId([0x11; 32]);
const MESSAGE: Digest = Digest([0x5a; 32]);

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn key_vector(number: u8) -> Value {
    let (secret, public) = (key(number), key(number).public());
    json!({
        "seed": hex(&[number; 32]),
        "secret": hex(secret.to_bytes().as_slice()),
        "public": hex(&public.to_bytes()),
        "node_id": public.node_id().full(),
        "address": Address::of(&public).to_string(),
    })
}

fn signature_vector(number: u8) -> Value {
    let digest = Digest([number; 32]);
    json!({
        "secret": hex(key(1).to_bytes().as_slice()),
        "digest": digest.full(),
        "signature": hex(&key(1).sign(&digest).0),
    })
}

fn lock_key_vector(number: u8) -> Value {
    let random = [number; 32];
    json!({
        "identity": hex(key(1).to_bytes().as_slice()),
        "random": hex(&random),
        "lock_key": hex(key(1).lock_key(&random).to_bytes().as_slice()),
    })
}

fn subkey_vector(label: &str) -> Value {
    json!({
        "identity": hex(key(1).to_bytes().as_slice()),
        "label": label,
        "subkey": hex(key(1).subkey(label).as_slice()),
    })
}

fn scripts() -> Vec<Value> {
    let [one, two, three] = [1, 2, 3].map(|number| key(number).public());
    let (by_one, by_three) = (key(1).sign(&MESSAGE), key(3).sign(&MESSAGE));
    let address_lock = lock_p2pkh(&Address::of(&one));
    let multisig = lock_multisig(2, &[one, two, three]).expect("2 of 3 is a lock");
    let timed =
        lock_until(UnixTime::from_seconds(1_900_000_000), &address_lock).expect("a short lock");
    vec![
        script_vector("key", &lock_p2pk(&one), &unlock_p2pk(&by_one)),
        script_vector("address", &address_lock, &unlock_p2pkh(&by_one, &one)),
        script_vector("2 of 3", &multisig, &unlock_multisig(&[by_one, by_three])),
        script_vector("address from 1900000000 on", &timed, &unlock_p2pkh(&by_one, &one)),
    ]
}

fn script_vector(name: &str, lock: &Lock, unlock: &[u8]) -> Value {
    json!({
        "name": name,
        "message": MESSAGE.full(),
        "lock": hex(lock.script()),
        "lock_hash": lock.hash().full(),
        "unlock": hex(unlock),
    })
}

fn batch_vector(size: u8) -> Value {
    let statements: Vec<_> = (0..size)
        .map(|number| Commit { stripe: StripeId([number; 32]) }.statement(&NETWORK))
        .collect();
    let (root, _) = merkle_tree(&statements);
    let unlocks = sign_digests(&key(1), &statements);
    let items: Vec<_> = (0..size)
        .zip(statements.iter().zip(&unlocks))
        .map(|(number, (statement, unlock))| item_vector(number, statement, unlock))
        .collect();
    json!({
        "network": NETWORK.full(),
        "root": root.full(),
        "unlock": hex(&unlocks[0].script),
        "items": items,
    })
}

fn item_vector(number: u8, statement: &Digest, unlock: &Unlock) -> Value {
    let step = |(left, sibling): &(bool, Digest)| json!({ "side": if *left { "left" } else { "right" }, "sibling": sibling.full() });
    json!({
        "commit_of_stripe": StripeId([number; 32]).full(),
        "statement": statement.full(),
        "path": unlock.path.siblings.iter().map(step).collect::<Vec<_>>(),
    })
}

fn session_vector() -> Value {
    let session = Session {
        operations: Operations::READ.and(Operations::RENEW),
        lock: lock_p2pkh(&Address::of(&key(1).public())),
        client: NodeId([0x22; 32]),
        node: NodeId([0x33; 32]),
        challenge: [0x44; 32],
        not_after_ms: 1_900_000_000_123,
    };
    let statement = session.statement(&NETWORK);
    json!({
        "network": NETWORK.full(),
        "operations": ["read", "renew"],
        "lock": hex(session.lock.script()),
        "client": session.client.full(),
        "node": session.node.full(),
        "challenge": hex(&session.challenge),
        "not_after_ms": session.not_after_ms,
        "statement": statement.full(),
        "signed_message": message_of(&statement).full(),
        "signature": hex(&key(1).sign(&message_of(&statement)).0),
    })
}
