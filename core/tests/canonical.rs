//! Every format has one encoding for a value: whatever a decoder accepts is, byte for byte,
//! what the encoder writes of it. Names, signatures and comparisons rest on that.
#![cfg(test)]

use std::fmt::Debug;

use defs_core::digest::MerklePath;
use defs_core::format::Format;
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, Epoch, FileId, NodeId, PairId, ShardId, ShardIndex};
use defs_core::ids::{StripeId, StripeTag};
use defs_core::manifest::{FileHead, ManifestPage, SliceEntry};
use defs_core::mode::Mode;
use defs_core::network::{
    Activity, Genesis, Labels, NodeCard, PairRecord, Reach, SignedCard, SignedPairRecord,
};
use defs_core::receipt::{Kept, NodeSignature, Receipt, SignedReceipt};
use defs_core::record::{Content, Record, RecordKey, RecordSet, SignedRecord};
use defs_core::statement::{Commit, Lock, Operations, Session, Signed, Tombstone, Unlock};
use defs_core::stripe::{CodecId, ShardHead, StripeDescriptor, Watched};
use proptest::prelude::{Strategy, any, prop};
use proptest::{collection, prop_assert_eq, proptest, test_runner};

/// Something done to an encoding.
#[derive(Debug, Clone)]
enum Twist {
    Set { at: prop::sample::Index, byte: u8 },
    Bit { at: prop::sample::Index, bit: u8 },
    Swap { one: prop::sample::Index, other: prop::sample::Index },
    Cut { at: prop::sample::Index },
    Insert { at: prop::sample::Index, byte: u8 },
    Remove { at: prop::sample::Index },
}

fn twists() -> impl Strategy<Value = Vec<Twist>> {
    let at = any::<prop::sample::Index>;
    // Counts, options and kinds are small numbers: those are what decoders branch on.
    let byte = || proptest::prop_oneof![0_u8..=8, any::<u8>()];
    let twist = proptest::prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Twist::Set { at, byte }),
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Twist::Bit { at, bit }),
        2 => (at(), at()).prop_map(|(one, other)| Twist::Swap { one, other }),
        1 => at().prop_map(|at| Twist::Cut { at }),
        1 => (at(), byte()).prop_map(|(at, byte)| Twist::Insert { at, byte }),
        1 => at().prop_map(|at| Twist::Remove { at }),
    ];
    collection::vec(twist, 0..4)
}

fn twist(mut bytes: Vec<u8>, twists: &[Twist]) -> Vec<u8> {
    for twist in twists {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match twist {
            Twist::Set { at, byte } => bytes[at.index(length)] = *byte,
            Twist::Bit { at, bit } => bytes[at.index(length)] ^= 1 << bit,
            Twist::Swap { one, other } => bytes.swap(one.index(length), other.index(length)),
            Twist::Cut { at } => bytes.truncate(at.index(length)),
            Twist::Insert { at, byte } => bytes.insert(at.index(length), *byte),
            Twist::Remove { at } => drop(bytes.remove(at.index(length))),
        }
    }
    bytes
}

/// A value reads back, and what is accepted of its twisted encoding is what would be written.
fn holds<T: Format + Debug + PartialEq>(
    value: &T,
    twists: &[Twist],
) -> Result<(), test_runner::TestCaseError> {
    let encoding = value.encode();
    let read = T::decode(&encoding);
    prop_assert_eq!(read.as_ref(), Ok(value));
    let twisted = twist(encoding, twists);
    if let Ok(read) = T::decode(&twisted) {
        prop_assert_eq!(read.encode(), twisted);
    }
    Ok(())
}

fn signed<T>(body: T) -> Signed<T> {
    let siblings = vec![(true, Digest([1; 32])), (false, Digest([2; 32]))];
    Signed { body, unlock: Unlock { script: vec![5; 7], path: MerklePath { siblings } } }
}

fn lock() -> Lock {
    Lock::new(vec![0x51, 0x52]).unwrap()
}

fn by() -> NodeSignature {
    NodeSignature { key: [3; 33], signature: [4; 64] }
}

fn head() -> ShardHead {
    let geometry = Geometry::new(2, 1).unwrap();
    let descriptor = StripeDescriptor {
        codec: CodecId::ReedSolomon16,
        geometry,
        generation: 1,
        per_pair: 1,
        coded_length: 100,
        tag: StripeTag([1; 16]),
        shards: geometry.indices().map(|index| ShardId([index.0; 32])).collect(),
        shares: geometry.indices().map(|index| Digest([index.0; 32])).collect(),
        lock: lock(),
    };
    let watched = vec![Watched { index: ShardIndex(1), pair: PairId([1; 16]) }];
    ShardHead { descriptor: signed(descriptor), index: ShardIndex(2), share: [7; 32], watched }
}

fn record(content: Content) -> SignedRecord {
    signed(Record {
        key: RecordKey::manifest(FileId([1; 32]), 3),
        counter: 2,
        parents: vec![Digest([1; 32])],
        set: RecordSet { pairs: vec![PairId([1; 16]), PairId([2; 16])], version: 1 },
        lock: lock(),
        file_random: [4; 32],
        salt: [5; 32],
        content,
    })
}

fn page() -> ManifestPage {
    let head = FileHead {
        name: "a name".into(),
        length: 9,
        digest: Digest([3; 32]),
        mode: Mode::RsSize,
        geometry: Geometry::new(2, 1).unwrap(),
        pages: 1,
        inline: Some(vec![1, 2, 3]),
    };
    let slice = |pairs: [u8; 3]| SliceEntry {
        length: 1 << 20,
        digest: Digest([1; 32]),
        salt: [2; 32],
        stripe: StripeId([3; 32]),
        pairs: pairs.map(|pair| PairId([pair; 16])).to_vec(),
    };
    ManifestPage { head: Some(head), slices: vec![slice([1, 2, 3]), slice([3, 2, 4])] }
}

/// Only what decides how the rest is read, so that twists hit it often.
fn bare_page() -> ManifestPage {
    let slice = SliceEntry {
        length: 0,
        digest: Digest([0; 32]),
        salt: [0; 32],
        stripe: StripeId([0; 32]),
        pairs: vec![PairId([0; 16]), PairId([1; 16])],
    };
    ManifestPage { head: None, slices: vec![slice] }
}

fn card() -> SignedCard {
    let card = NodeCard {
        key: [2; 33],
        sequence: 9,
        addresses: vec!["/ip4/127.0.0.1/tcp/4100".into()],
        labels: Labels { host: "a".into(), zone: "b".into(), region: String::new() },
        capacity: 10,
        used: 3,
        activity: Activity::default(),
        reach: Reach::default(),
        admission: [4; 64],
    };
    SignedCard { card, signature: [5; 64] }
}

fn pair() -> SignedPairRecord {
    let record = PairRecord {
        pair: PairId([1; 16]),
        epoch: Epoch(2),
        members: [NodeId([1; 32]), NodeId([2; 32])],
        witnesses: vec![NodeId([3; 32])],
        previous: Some(Digest([4; 32])),
    };
    SignedPairRecord { record, signatures: vec![by(), by()] }
}

fn receipt(kept: Kept) -> SignedReceipt {
    let receipt = Receipt { kept, pair: PairId([2; 16]), epoch: Epoch(4), node: NodeId([5; 32]) };
    SignedReceipt { receipt, path: MerklePath::default(), by: by() }
}

fn session() -> Session {
    Session {
        operations: Operations::READ.and(Operations::RENEW),
        lock: lock(),
        client: NodeId([1; 32]),
        node: NodeId([2; 32]),
        challenge: [3; 32],
        not_after_ms: 4,
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_what_would_be_written(twists in twists()) {
        holds(&page(), &twists)?;
        holds(&bare_page(), &twists)?;
        holds(&head(), &twists)?;
        holds(&record(Content::Sealed(vec![1; 20])), &twists)?;
        holds(&record(Content::Deleted), &twists)?;
        holds(&RecordKey::manifest(FileId([1; 32]), 3), &twists)?;
        holds(&card(), &twists)?;
        holds(&pair(), &twists)?;
        holds(&Genesis { random: [1; 32], invite_key: [2; 33] }, &twists)?;
        holds(&receipt(Kept::Shard(StripeId([1; 32]), ShardIndex(3))), &twists)?;
        holds(&receipt(Kept::Record(Digest([1; 32]))), &twists)?;
        holds(&signed(session()), &twists)?;
        holds(&signed(Commit { stripe: StripeId([1; 32]) }), &twists)?;
        holds(&signed(Tombstone { stripe: StripeId([1; 32]) }), &twists)?;
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in collection::vec(any::<u8>(), 0..300)) {
        let twists = [];
        if let Ok(page) = ManifestPage::decode(&bytes) { holds(&page, &twists)?; }
        if let Ok(head) = ShardHead::decode(&bytes) { holds(&head, &twists)?; }
        if let Ok(record) = SignedRecord::decode(&bytes) { holds(&record, &twists)?; }
        if let Ok(card) = SignedCard::decode(&bytes) { holds(&card, &twists)?; }
        if let Ok(pair) = SignedPairRecord::decode(&bytes) { holds(&pair, &twists)?; }
    }
}
