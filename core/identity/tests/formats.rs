//! The published vectors of what is stored, signed and sent are those that the code makes,
//! and they hold: each signed thing passes the checks that a node makes.

#![expect(clippy::expect_used, reason = "the vectors are valid, or they are wrong")]

#[path = "../examples/formats/documents.rs"]
mod documents;

use defs_core::format::Format;
use defs_core::ids::{Digest, NetworkId};
use defs_core::network::{Admission, Genesis, SignedCard, SignedPairRecord};
use defs_core::receipt::SignedReceipt;
use defs_core::record::SignedRecord;
use defs_core::statement::{Lock, Statement};
use defs_core::stripe::ShardHead;
use defs_identity::{BadSignature, Direct, UnixTime, authorise, verify_node};
use serde_json::Value;

/// Nothing here depends on the time: the locks have none.
const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

#[test]
fn the_published_formats_are_what_the_code_makes() {
    for document in documents::all() {
        let published = std::fs::read_to_string(&document.path).expect("a published document");
        assert!(
            published == document.text,
            "{} differs from what the code makes: stored data would no longer be read. If the \
             format is meant to change, its version byte changes too; then run the example \
             `formats`",
            document.path.display()
        );
    }
}

/// What `formats.json` says.
fn formats() -> Value {
    let [formats, _] = documents::all();
    serde_json::from_str(&formats.text).expect("JSON")
}

/// The bytes that a text of the document stands for.
fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("a text").as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16);
    digits.chunks(2).map(|digits| pair(digits).expect("two digits")).collect()
}

fn decoded<T: Format>(value: &Value) -> T {
    T::decode(&bytes(value)).expect("what was encoded")
}

fn network(formats: &Value) -> (Genesis, NetworkId) {
    let genesis: Genesis = decoded(&formats["genesis"]["encoded"]);
    (genesis, genesis.network())
}

#[test]
fn the_card_is_signed_by_its_node_and_admitted_by_the_invite() {
    let formats = formats();
    let (genesis, network) = network(&formats);
    let SignedCard { card, signature } = decoded(&formats["card"]["signed"]);
    let node = verify_node(&card.key, &card.statement(&network), &signature, &Direct)
        .expect("the card's own signature");
    let admission = Admission { node }.statement(&network);
    verify_node(&genesis.invite_key, &admission, &card.admission, &Direct)
        .expect("the invite's signature");
}

#[test]
fn each_epoch_is_signed_by_its_members_and_the_second_by_two_witnesses_of_the_first() {
    let formats = formats();
    let (_, network) = network(&formats);
    let epochs: Vec<SignedPairRecord> = formats["pair_records"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|vector| decoded(&vector["signed"]))
        .collect();
    let signers = |signed: &SignedPairRecord| -> Vec<_> {
        let statement = signed.record.statement(&network);
        let check = |by: &defs_core::receipt::NodeSignature| {
            verify_node(&by.key, &statement, &by.signature, &Direct).expect("a signature")
        };
        signed.signatures.iter().map(check).collect()
    };
    let (first, second) = (&epochs[0], &epochs[1]);
    assert_eq!(signers(first), first.record.members);
    assert_eq!(second.record.previous, Some(first.record.digest()));
    let [primary, newcomer] = second.record.members;
    let witnesses = &first.record.witnesses;
    assert_eq!(signers(second), [primary, newcomer, witnesses[0], witnesses[1]]);
}

#[test]
fn receipts_are_signed_over_the_root_of_their_batch() {
    let formats = formats();
    let (_, network) = network(&formats);
    for batch in ["shard_at_both_members", "records_in_one_batch"] {
        for vector in formats["receipts"][batch].as_array().expect("a list") {
            let SignedReceipt { receipt, path, by } = decoded(&vector["signed"]);
            let root = path.root(&receipt.statement(&network));
            let node = verify_node(&by.key, &root, &by.signature, &Direct);
            assert_eq!(node, Ok(receipt.node));
        }
    }
}

#[test]
fn the_files_records_and_descriptor_open_their_lock() {
    let formats = formats();
    let (_, network) = network(&formats);
    let file = &formats["file"];
    for record in file["records"].as_array().expect("a list") {
        let signed: SignedRecord = decoded(&record["signed"]["signed"]);
        assert!(signed.body.names_its_lock());
        let outcome = authorise(&signed, &signed.body.lock, &network, NOW, &Direct);
        assert_eq!(outcome, Ok(()));
    }
    let head: ShardHead = decoded(&file["head_of_shard_0"]);
    let lock = Lock::new(bytes(&formats["lock"]["lock"])).expect("a lock");
    assert_eq!(authorise(&head.descriptor, &lock, &network, NOW, &Direct), Ok(()));
    assert_eq!(head.descriptor.body.id().full(), file["stripe"]["stripe_id"]);
}

#[test]
fn a_signature_of_another_network_opens_nothing() {
    let formats = formats();
    let other = NetworkId([0xee; 32]);
    let SignedCard { card, signature } = decoded(&formats["card"]["signed"]);
    let statement: Digest = card.statement(&other);
    let refused = verify_node(&card.key, &statement, &signature, &Direct);
    assert_eq!(refused, Err(BadSignature::Mismatch));
    let head: ShardHead = decoded(&formats["file"]["head_of_shard_0"]);
    let lock = &head.descriptor.body.lock;
    let refused =
        authorise(&head.descriptor, lock, &other, NOW, &Direct).map_err(|error| error.lock);
    assert_eq!(refused, Err(lock.hash()));
}
