//! What is put comes back, whatever its size and mode.

use std::sync::Arc;

use bytes::Bytes;
use defs_client::{
    DownloadError, FileRef, FoundBy, GetError, GetOptions, Got, PutError, PutOptions, Sink, Source,
};
use defs_core::mode::{Durability, LayoutError, Mode, Wish};

use crate::cluster::{Cluster, TestClient, content, wish};

pub(crate) async fn put(
    client: &TestClient,
    name: &str,
    bytes: &[u8],
    mode: Mode,
) -> defs_client::Put {
    let source = Source::Bytes(Bytes::copy_from_slice(bytes));
    client.put(source, PutOptions::new(name, wish(mode))).await.unwrap()
}

pub(crate) async fn get_into(
    client: &TestClient,
    name: &str,
    folder: &std::path::Path,
) -> Result<(Got, Vec<u8>), GetError> {
    let target = folder.join("got");
    let sink = Sink::File(target.clone());
    let got = client.get(FileRef::Name(name.to_owned()), sink, GetOptions::default()).await?;
    Ok((got, std::fs::read(&target).unwrap()))
}

const SLICE: usize = 256 << 10;
const CHUNK: usize = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back_in_every_mode() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let sizes = [
        0,
        1,
        1013,
        16 << 10,
        (16 << 10) + 1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        SLICE - 1,
        SLICE,
        SLICE + 1,
        3 * SLICE + 12_345,
    ];
    for mode in [Mode::Auto, Mode::File, Mode::Slice, Mode::RsProportion, Mode::RsSize] {
        for (seed, size) in (0_u8..).zip(sizes) {
            if mode == Mode::File && size > SLICE {
                continue;
            }
            let name = format!("{mode} {size}");
            let bytes = content(size, seed);
            let stored = put(&client, &name, &bytes, mode).await;
            assert_eq!(stored.length, size as u64, "{name}");
            let (got, back) = get_into(&client, &name, home.path()).await.unwrap();
            assert!(back == bytes, "{name}");
            assert_eq!((got.length, got.digest), (size as u64, stored.digest), "{name}");
            assert_eq!(got.lookup.by, FoundBy::Hints, "{name}");
            assert_eq!(got.decoded, 0, "{name}");
        }
    }
    for node in cluster.nodes.values() {
        let holds = node.holdings();
        assert_eq!(holds.shards, holds.committed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_pipes_and_bytes_are_put_alike_and_ranges_are_cut_from_them() {
    let cluster = Cluster::new(5);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(2 * SLICE + 777, 3);
    let path = home.path().join("source");
    std::fs::write(&path, &bytes).unwrap();
    let sources = [
        Source::File(path),
        Source::Bytes(bytes.clone().into()),
        Source::Stream(Box::new(std::io::Cursor::new(bytes.clone()))),
    ];
    for (number, source) in sources.into_iter().enumerate() {
        let name = format!("from source {number}");
        client.put(source, PutOptions::new(&name, wish(Mode::RsSize))).await.unwrap();
        let end = bytes.len();
        for range in [0..0, 0..1, 5..SLICE, SLICE - 1..SLICE + 1, 70_000..70_010, end - 1..end] {
            let target = home.path().join("part");
            let options = GetOptions {
                range: Some(range.start as u64..range.end as u64),
                ..GetOptions::default()
            };
            let sink = Sink::File(target.clone());
            let got = client.get(FileRef::Name(name.clone()), sink, options).await.unwrap();
            assert_eq!(got.written, range.len() as u64);
            assert!(std::fs::read(&target).unwrap() == bytes[range.clone()], "{range:?}");
        }
        let options = GetOptions { range: Some(0..end as u64 + 1), ..GetOptions::default() };
        let sink = Sink::File(home.path().join("part"));
        let beyond = client.get(FileRef::Name(name), sink, options).await;
        assert!(matches!(beyond, Err(GetError::Download(DownloadError::Range { .. }))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_alone_finds_the_file_even_without_hints() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(50_000, 1);
    let mut stored = put(&client, "a", &bytes, Mode::Auto).await;
    stored.ticket.hints.clear();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = cluster.client(elsewhere.path()).await;
    let ticket = stored.ticket.to_text().parse().unwrap();
    let sink = Sink::File(elsewhere.path().join("got"));
    let got = other.get(FileRef::Ticket(ticket), sink, GetOptions::default()).await.unwrap();
    assert_eq!(got.lookup.by, FoundBy::Located(defs_core::message::Rung::Broadcast));
    assert!(std::fs::read(elsewhere.path().join("got")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_unknown_names_and_foreign_networks_are_told_apart() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let stored = put(&client, "a", &content(40_000, 1), Mode::Auto).await;
    let get = |client: TestClient, file: FileRef| {
        let sink = Sink::File(home.path().join("got"));
        async move { client.get(file, sink, GetOptions::default()).await.unwrap_err() }
    };
    let unknown = get(client.clone(), FileRef::Name("b".into())).await;
    assert!(matches!(unknown, GetError::UnknownName { .. }), "{unknown}");

    let text = stored.ticket.to_text();
    let mut foreign: defs_client::Ticket = text.parse().unwrap();
    foreign.network.0[0] ^= 1;
    let foreign = get(client.clone(), FileRef::Ticket(foreign)).await;
    assert!(matches!(foreign, GetError::OtherNetwork { .. }), "{foreign}");

    let mut nowhere: defs_client::Ticket = text.parse().unwrap();
    nowhere.file.0[0] ^= 1;
    let nowhere = get(client.clone(), FileRef::Ticket(nowhere)).await;
    assert!(nowhere.to_string().contains("is unknown to the network"), "{nowhere}");

    let folder = tempfile::tempdir().unwrap();
    let stranger = cluster.client_of(folder.path(), 0x22).await;
    let refused = get(stranger, FileRef::Ticket(text.parse().unwrap())).await;
    assert!(refused.to_string().contains("belongs to another key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_pairs_say_how_many_are_needed_and_nothing_is_stored() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let source = Source::Bytes(content(SLICE, 1).into());
    let refused = client.put(source, PutOptions::new("a", wish(Mode::RsSize))).await.unwrap_err();
    let PutError::Layout(LayoutError::TooFewPairs { need: 4, have: 3, .. }) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(cluster.received(), 0);
    let unsafe_wish = Wish { unsafe_placement: true, ..wish(Mode::RsSize) };
    let source = Source::Bytes(content(SLICE, 1).into());
    client.put(source, PutOptions::new("a", unsafe_wish)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_refused() {
    let cluster = Cluster::new(5);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let path = home.path().join("source");
    std::fs::write(&path, content(4 * SLICE, 1)).unwrap();
    let (watcher, mut progress) = defs_client::Watcher::new();
    let options = PutOptions { watcher, ..PutOptions::new("a", wish(Mode::Slice)) };
    let putting = client.put(Source::File(path.clone()), options);
    let changing = async {
        progress.wait_for(|now| now.done >= SLICE as u64).await.unwrap();
        std::fs::write(&path, content(4 * SLICE + 1, 2)).unwrap();
    };
    let (refused, ()) = tokio::join!(putting, changing);
    let refused = refused.unwrap_err();
    let causes: Vec<_> =
        std::iter::successors(Some(&refused as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect();
    assert!(causes.join(": ").contains("changed while it was read"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_is_gone_everywhere_and_removing_it_again_is_an_unknown_name() {
    let cluster = Cluster::new(5);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    for (name, size) in [("small", 100), ("ünï 🦀", 3 * SLICE)] {
        let stored = put(&client, name, &content(size, 1), Mode::Auto).await;
        let ticket = stored.ticket.to_text();
        client.remove(name).await.unwrap();
        assert!(client.find(name).await.unwrap().is_none());
        let sink = Sink::File(home.path().join("got"));
        let file = FileRef::Ticket(ticket.parse().unwrap());
        let gone = client.get(file, sink, GetOptions::default()).await.unwrap_err();
        assert!(gone.to_string().contains("was deleted"), "{gone}");
        assert!(client.remove(name).await.is_err());
    }
    for node in cluster.nodes.values() {
        assert_eq!(node.holdings().shards, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_1_to_4096_bytes_of_any_text() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let put = |name: String| {
        client.put(Source::Bytes(content(9, 1).into()), PutOptions::new(name, wish(Mode::Auto)))
    };
    for name in ["\u{0}".to_owned(), "\n/../\u{202e}".to_owned(), "🦀".repeat(1024)] {
        put(name.clone()).await.unwrap();
        assert!(get_into(&client, &name, home.path()).await.unwrap().1 == content(9, 1));
    }
    for name in [String::new(), "🦀".repeat(1024) + "a"] {
        let refused = put(name.clone()).await.unwrap_err();
        assert!(matches!(refused, PutError::Name { length } if length == name.len()), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_until_it_is_replaced_and_then_the_old_file_goes() {
    let cluster = Cluster::new(5);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    put(&client, "a", &content(SLICE, 1), Mode::Auto).await;
    let again = |replace: bool| {
        let options = PutOptions { replace, ..PutOptions::new("a", wish(Mode::Auto)) };
        client.put(Source::Bytes(content(9000, 2).into()), options)
    };
    assert!(matches!(again(false).await, Err(PutError::NameTaken { .. })));
    assert!(again(true).await.unwrap().replaced);
    let (_, bytes) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(bytes == content(9000, 2));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while cluster.nodes.values().any(|node| node.holdings().shards > 0) {
        assert!(tokio::time::Instant::now() < deadline, "the old file stayed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_folder() {
    let cluster = Cluster::new(4);
    let home = tempfile::tempdir().unwrap();
    let one = cluster.client(home.path()).await;
    let two = cluster.client(home.path()).await;
    let (bytes, more) = (content(30_000, 1), content(300, 2));
    tokio::join!(put(&one, "a", &bytes, Mode::Auto), put(&two, "b", &more, Mode::Auto));
    let names = |entries: Vec<defs_client::Entry>| {
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(names(one.list().await.unwrap()), ["a", "b"]);
    assert_eq!(names(two.list().await.unwrap()), ["a", "b"]);
    assert!(get_into(&two, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_every_shard_and_what_may_be_lost() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let four_two = Wish { data: Some(4), parity: Some(2), ..wish(Mode::RsSize) };
    let source = Source::Bytes(content(2 * SLICE, 1).into());
    client.put(source, PutOptions::new("a", four_two)).await.unwrap();
    let status = client.stat(FileRef::Name("a".into()), true).await.unwrap();
    // Of the manifest's three pairs two must answer.
    assert_eq!((status.slices.len(), status.survives), (2, Some(1)));
    assert_eq!(status.slices[0].survives, Some(2));
    assert!(
        status
            .slices
            .iter()
            .flat_map(|slice| &slice.shards)
            .all(|shard| { shard.held == [Some(true); 2] })
    );
    let first = status.slices[0].shards[0].pair;
    let lost = cluster.pairs.iter().position(|pair| pair.pair == first).unwrap();
    cluster.break_pair(lost, |faults| faults.down = true);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let status = client.stat(FileRef::Name("a".into()), true).await.unwrap();
    assert_eq!(status.slices[0].survives, Some(1));
    assert_eq!(status.slices[0].shards[0].held, [None; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn durability_pair_stores_once_and_explain_says_so() {
    let cluster = Cluster::new(2);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let pair = Wish { durability: Durability::PAIR, ..wish(Mode::Slice) };
    let layout = client.explain(Some(SLICE as u64), &pair).await.unwrap();
    assert_eq!(layout.geometry.to_string(), "1+0");
    let source = Source::Bytes(content(SLICE, 1).into());
    client.put(source, PutOptions::new("a", pair)).await.unwrap();
    let held: usize = cluster.nodes.values().map(|node| node.holdings().shards).sum();
    assert_eq!(held, 2);
    assert!(Arc::strong_count(&cluster) > 1);
}
