//! Who appears in the vectors, and how they sign.

use defs_core::format::Format;
use defs_core::ids::{Digest, NetworkId, NodeId, PairId, hex};
use defs_core::network::Genesis;
use defs_core::receipt::NodeSignature;
use defs_core::statement::{Lock, Signed, Statement};
use defs_identity::script::lock_p2pkh;
use defs_identity::{Address, SecretKey, sign_statements};
use serde_json::{Value, json};

pub(crate) const OWNER: u8 = 1;
pub(crate) const INVITE: u8 = 2;
pub(crate) const PRIMARY: u8 = 3;
pub(crate) const MIRROR: u8 = 4;
pub(crate) const WITNESSES: [u8; 3] = [5, 6, 7];
pub(crate) const NEWCOMER: u8 = 8;

const NAMES: [(u8, &str); 8] = [
    (OWNER, "owner"),
    (INVITE, "invite"),
    (PRIMARY, "primary"),
    (MIRROR, "mirror"),
    (WITNESSES[0], "first witness"),
    (WITNESSES[1], "second witness"),
    (WITNESSES[2], "third witness"),
    (NEWCOMER, "newcomer"),
];

/// With the owner's identity it makes the lock of everything in these vectors.
pub(crate) const LOCK_SEED: [u8; 32] = [0x20; 32];

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

pub(crate) fn keys() -> Value {
    let one = |(number, name): (u8, &str)| {
        let (secret, public) = (key(number), key(number).public());
        json!({
            "name": name,
            "seed": hex(&[number; 32]),
            "secret": hex(secret.to_bytes().as_slice()),
            "public": hex(&public.to_bytes()),
            "node_id": public.node_id().full(),
        })
    };
    NAMES.into_iter().map(one).collect()
}

pub(crate) fn genesis() -> Genesis {
    Genesis { random: [0x10; 32], invite_key: key(INVITE).public().to_bytes() }
}

pub(crate) fn network() -> NetworkId {
    genesis().network()
}

pub(crate) fn node(number: u8) -> NodeId {
    key(number).public().node_id()
}

pub(crate) fn pair(number: u8) -> PairId {
    PairId([number; PairId::SIZE])
}

pub(crate) fn lock_key() -> SecretKey {
    key(OWNER).lock_key(&LOCK_SEED)
}

pub(crate) fn lock() -> Lock {
    lock_p2pkh(&Address::of(&lock_key().public()))
}

pub(crate) fn lock_vector() -> Value {
    let (secret, public) = (lock_key(), lock_key().public());
    json!({
        "identity": hex(key(OWNER).to_bytes().as_slice()),
        "lock_seed": hex(&LOCK_SEED),
        "secret": hex(secret.to_bytes().as_slice()),
        "public": hex(&public.to_bytes()),
        "address": Address::of(&public).to_string(),
        "lock": hex(lock().script()),
        "lock_hash": lock().hash().full(),
    })
}

/// What nodes sign alone: the statement itself.
pub(crate) fn by_node(number: u8, digest: &Digest) -> NodeSignature {
    let key = key(number);
    NodeSignature { key: key.public().to_bytes(), signature: key.sign(digest).0 }
}

/// What the owner signs together, and what each of it looks like.
pub(crate) fn by_owner<T: Statement + Format>(bodies: Vec<T>) -> (Vec<Signed<T>>, Vec<Value>) {
    let signed = sign_statements(&lock_key(), &network(), bodies);
    let values = signed.iter().map(signed_vector).collect();
    (signed, values)
}

fn signed_vector<T: Statement + Format>(signed: &Signed<T>) -> Value {
    let statement = signed.body.statement(&network());
    json!({
        "encoded": hex(&signed.body.encode()),
        "statement": statement.full(),
        "path": path(&signed.unlock.path),
        "signed_digest": signed.unlock.path.root(&statement).full(),
        "unlock": hex(&signed.unlock.script),
        "signed": hex(&signed.encode()),
    })
}

pub(crate) fn path(path: &defs_core::digest::MerklePath) -> Value {
    let step = |(left, sibling): &(bool, Digest)| json!({ "side": if *left { "left" } else { "right" }, "sibling": sibling.full() });
    path.siblings.iter().map(step).collect()
}
