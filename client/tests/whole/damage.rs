//! Nodes that are away, slow, damaged or malicious.

use std::time::Duration;

use bytes::Bytes;
use defs_client::{DownloadError, FileRef, GetError, GetOptions, PutOptions, Sink, Source};
use defs_core::ids::SliceNo;
use defs_core::mode::{Mode, Wish};

use crate::cluster::{Cluster, TestClient, content, wish};
use crate::round_trips::{get_into, put};

pub(crate) const SLICE: usize = 256 << 10;

pub(crate) fn four_two() -> Wish {
    Wish { data: Some(4), parity: Some(2), ..wish(Mode::RsSize) }
}

pub(crate) async fn put_four_two(client: &TestClient, bytes: &[u8]) {
    let source = Source::Bytes(Bytes::copy_from_slice(bytes));
    client.put(source, PutOptions::new("a", four_two())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_one_pair_may_be_lost() {
    let bytes = content(2 * SLICE + 5, 1);
    for lost in 0..6 {
        let cluster = Cluster::new(6);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        put_four_two(&client, &bytes).await;
        cluster.break_pair(lost, |faults| faults.down = true);
        let fresh = cluster.client(tempfile::tempdir().unwrap().path()).await;
        drop(fresh);
        let (_, back) = get_into(&client, "a", home.path()).await.unwrap();
        assert!(back == bytes, "without pair {lost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_shard_is_read_around_and_reported() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(SLICE, 1);
    put_four_two(&client, &bytes).await;
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    let pair = status.slices[0].shards[1].pair;
    let place = cluster.pairs.iter().position(|one| one.pair == pair).unwrap();
    cluster.break_pair(place, |faults| faults.corrupt_shards = true);
    let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    assert_eq!(got.decoded, 1);
    let found: Vec<_> = got.damaged.iter().map(|one| (one.slice, one.index.0, one.pair)).collect();
    assert_eq!(found, [(SliceNo(0), 1, pair), (SliceNo(0), 1, pair)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_shard_less_than_needed_the_slices_and_their_lack_are_named() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    put_four_two(&client, &content(3 * SLICE, 1)).await;
    // Each of the six pairs has one shard of each slice: with three pairs three of four.
    for pair in 0..3 {
        cluster.break_pair(pair, |faults| faults.corrupt_shards = true);
    }
    let failed = get_into(&client, "a", home.path()).await.unwrap_err();
    let GetError::Download(DownloadError::TooFewShards { slices, .. }) = &failed else {
        panic!("{failed}");
    };
    assert_eq!((slices[0].slice, slices[0].have, slices[0].need), (SliceNo(0), 3, 4));
    let text = defs_text(&failed);
    assert!(text.contains("damaged from node"), "{text}");
    for pair in 0..3 {
        cluster.break_pair(pair, |faults| faults.corrupt_shards = false);
        cluster.node(pair, 0).forget_shards();
        cluster.node(pair, 1).forget_shards();
    }
    let failed = get_into(&client, "a", home.path()).await.unwrap_err();
    let all = "slice 0 (1 shards short), slice 1 (1 shards short), slice 2 (1 shards short)";
    assert_eq!(failed.to_string(), format!("the file can't be had now: {all}"));
    assert!(!home.path().join("got").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stalling_and_endless_answers_cost_time_and_nothing_else() {
    for case in 0..3 {
        let cluster = Cluster::new(6);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put_four_two(&client, &bytes).await;
        for pair in 0..6 {
            cluster.break_node(pair, 0, |faults| match case {
                0 => faults.stall_shards = true,
                1 => faults.endless_shards = true,
                _ => faults.delay = Duration::from_secs(30),
            });
        }
        let getting = get_into(&client, "a", home.path());
        let got = tokio::time::timeout(Duration::from_secs(10), getting).await;
        assert!(got.expect("case {case} took too long").unwrap().1 == bytes, "case {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_read_around_members_that_stall_or_send_too_much() {
    for case in 0..2 {
        let cluster = Cluster::new(6);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put_four_two(&client, &bytes).await;
        for pair in 0..6 {
            cluster.break_node(pair, 0, |faults| match case {
                0 => faults.stall_shards = true,
                _ => faults.endless_shards = true,
            });
        }
        let target = home.path().join("part");
        let options = GetOptions { range: Some(70_000..70_100), ..GetOptions::default() };
        let getting = client.get(FileRef::Name("a".into()), Sink::File(target.clone()), options);
        let got = tokio::time::timeout(Duration::from_secs(10), getting).await;
        got.expect("took too long").unwrap();
        assert!(std::fs::read(&target).unwrap() == bytes[70_000..70_100], "case {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_receipts_count_for_nothing_and_another_pair_is_taken() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    cluster.break_node(0, 1, |faults| faults.forge_receipts = true);
    let bytes = content(2 * SLICE, 1);
    put_four_two(&client, &bytes).await;
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    let liar = cluster.pairs[0].pair;
    assert!(status.slices.iter().flat_map(|slice| &slice.shards).all(|shard| shard.pair != liar));
    assert!(!status.manifest_pairs.is_empty());
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_manifests_are_not_believed() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(500, 1);
    put(&client, "a", &bytes, Mode::Auto).await;
    for pair in 0..3 {
        cluster.break_node(pair, 0, |faults| faults.forge_records = true);
    }
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
    cluster.break_all(|faults| faults.forge_records = true);
    let failed = get_into(&client, "a", home.path()).await.unwrap_err();
    let text = defs_text(&failed);
    assert!(text.contains("did not sign"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_dead_pairs_are_left_for_others() {
    let cluster = Cluster::new(8);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    client.view().await.unwrap();
    cluster.break_pair(0, |faults| faults.full = true);
    cluster.break_node(1, 1, |faults| faults.down = true);
    let bytes = content(3 * SLICE, 1);
    put_four_two(&client, &bytes).await;
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    let bad = [cluster.pairs[0].pair, cluster.pairs[1].pair];
    assert!(
        status.slices.iter().flat_map(|slice| &slice.shards).all(|one| !bad.contains(&one.pair))
    );
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_full_says_so_with_slice_pair_and_node() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    cluster.break_all(|faults| faults.full = true);
    let source = Source::Bytes(content(SLICE, 1).into());
    let failed = client.put(source, PutOptions::new("a", four_two())).await.unwrap_err();
    let text = defs_text(&failed);
    assert!(text.contains("slice 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_sessions_are_opened_again() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(SLICE, 1);
    put_four_two(&client, &bytes).await;
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
    cluster.nodes.values().for_each(|node| node.forget_sessions());
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pair_that_lost_its_records_is_mended_by_a_read() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(100, 1);
    put(&client, "a", &bytes, Mode::Auto).await;
    cluster.node(0, 0).forget_records();
    cluster.node(0, 1).forget_records();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while cluster.node(0, 0).holdings().records == 0 {
        // Two of three are asked, so a read or two may miss the one that lacks it.
        assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
        assert!(tokio::time::Instant::now() < deadline, "not mended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lacks_the_manifests_pairs_ends_a_read_instead_of_being_asked_for_ever() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    put(&client, "a", &content(100, 1), Mode::Auto).await;
    client.close().await;
    for (told, is_read) in [(1, false), (2, true)] {
        *cluster.pairs_told.lock().unwrap() = told;
        let client = cluster.client(home.path()).await;
        let got = get_into(&client, "a", home.path()).await;
        assert_eq!(got.is_ok(), is_read, "{got:?}");
        assert!(got.is_ok() || got.is_err_and(|error| error.is_retryable()));
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_on_the_target_leaves_nothing_behind() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    put_four_two(&client, &content(SLICE, 1)).await;
    let sink = Sink::File(home.path().join("no folder").join("got"));
    let failed = client.get(FileRef::Name("a".into()), sink, GetOptions::default()).await;
    assert!(matches!(failed, Err(GetError::Download(DownloadError::Sink(_)))));
}

pub(crate) fn defs_text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
