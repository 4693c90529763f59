//! What the two sides do together.

use bytes::Bytes;
use defs_client::{FileRef, GetOptions, PutOptions, Sink, Source};
use defs_core::mode::{Durability, Mode, Wish};
use defs_core::size::Size;

use crate::net::{Net, TestClient};

pub(crate) fn wish() -> Wish {
    Wish {
        mode: Mode::Auto,
        data: None,
        parity: None,
        parity_permille: 400,
        durability: Durability::ONE_PAIR,
        shard_size: Size::mib(32),
        slice_min: Size::mib(1),
        slice_max: Size::mib(64),
        unsafe_placement: false,
    }
}

pub(crate) fn content(length: usize, seed: u8) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn put(client: &TestClient, name: &str, bytes: &Bytes) {
    let source = Source::Bytes(bytes.clone());
    client.put(source, PutOptions::new(name, wish())).await.unwrap();
}

async fn assert_comes_back(client: &TestClient, name: &str, bytes: &Bytes, home: &std::path::Path) {
    let target = home.join("got");
    let sink = Sink::File(target.clone());
    client.get(FileRef::Name(name.to_owned()), sink, GetOptions::default()).await.unwrap();
    assert!(std::fs::read(&target).unwrap() == *bytes, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_all_sizes_survive_a_lost_pair_and_deletion_leaves_nothing() {
    let mut net = Net::with(10).await;
    let home = tempfile::tempdir().unwrap();
    let client = net.client(home.path(), 0xc1).await;
    let sizes = [0, 100, 16 << 10, 100 << 10, 1 << 20, 20 << 20];
    for (seed, size) in (0_u8..).zip(sizes) {
        put(&client, &size.to_string(), &content(size, seed)).await;
    }
    let status = client.stat(FileRef::Name((20 << 20).to_string()), true).await.unwrap();
    assert!(
        status
            .slices
            .iter()
            .flat_map(|slice| &slice.shards)
            .all(|shard| { shard.held == [Some(true); 2] })
    );
    for (seed, size) in (0_u8..).zip(sizes) {
        assert_comes_back(&client, &size.to_string(), &content(size, seed), home.path()).await;
    }
    for (_, size) in (0_u8..).zip(sizes).skip(4) {
        client.remove(&size.to_string()).await.unwrap();
    }
    let (shards, _) = net.holdings();
    // What is left of shards: one file of 100 KiB, whole, on two pairs.
    assert_eq!(shards, 4);
    net.kill(status.slices[0].shards[0].pair);
    for (seed, size) in (0_u8..).zip(sizes).take(4) {
        assert_comes_back(&client, &size.to_string(), &content(size, seed), home.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_machine_with_the_key_and_a_ticket_finds_the_file_by_broadcast() {
    let net = Net::with(8).await;
    let (home, away) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let client = net.client(home.path(), 0xc1).await;
    let source = Source::Bytes(content(300 << 10, 1));
    let mut stored = client.put(source, PutOptions::new("a", wish())).await.unwrap();
    stored.ticket.hints.clear();
    let other = net.client(away.path(), 0xc2).await;
    let sink = Sink::File(away.path().join("got"));
    let file = FileRef::Ticket(stored.ticket);
    let got = other.get(file, sink, GetOptions::default()).await.unwrap();
    assert!(matches!(got.lookup.by, defs_client::FoundBy::Located(_)), "{:?}", got.lookup);
    assert!(std::fs::read(away.path().join("got")).unwrap() == content(300 << 10, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_are_put_and_got_by_many_callers() {
    let net = Net::with(10).await;
    let home = tempfile::tempdir().unwrap();
    let client = net.client(home.path(), 0xc1).await;
    let callers = (0..16_u8).map(|caller| {
        let client = client.clone();
        async move {
            for number in 0..20_u8 {
                put(&client, &format!("{caller}/{number}"), &content(4096, caller)).await;
            }
        }
    });
    futures::future::join_all(callers).await;
    assert_eq!(client.list().await.unwrap().len(), 320);
    let callers = (0..16_u8).map(|caller| {
        let (client, home) = (client.clone(), home.path().join(caller.to_string()));
        async move {
            std::fs::create_dir(&home).unwrap();
            for number in 0..20_u8 {
                let name = format!("{caller}/{number}");
                assert_comes_back(&client, &name, &content(4096, caller), &home).await;
            }
        }
    });
    futures::future::join_all(callers).await;
}
