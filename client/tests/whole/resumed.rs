//! What a resumed upload must not take over from before: salts, slices that expired,
//! settings of today, other bytes of a record.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use defs_client::{FileRef, PutOptions, SliceStatus, Source, Watcher};
use defs_core::ids::StripeId;
use defs_core::size::Size;
use tempfile::TempDir;

use crate::cluster::{Cluster, TestClient, content};
use crate::round_trips::get_into;
use crate::tasks::{cut_off_put, four_two};

const SLICE: usize = 256 << 10;

fn source(home: &TempDir, slices: usize) -> (PathBuf, Vec<u8>) {
    let (path, bytes) = (home.path().join("source"), content(slices * SLICE, 1));
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

async fn slices(client: &TestClient) -> Vec<SliceStatus> {
    client.stat(FileRef::Name("a".into()), false).await.unwrap().slices
}

fn held(cluster: &Arc<Cluster>) -> BTreeSet<StripeId> {
    cluster.nodes.values().flat_map(|node| node.stripes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_begun_again_is_sealed_anew_and_a_finished_one_is_not() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = source(&home, 4);
    let client = cluster.client(home.path()).await;
    // Two slices of six shards, and three shards of the third.
    *cluster.breaks_after_shards.lock().unwrap() = Some(15);
    let third_is_begun = async {
        while held(&cluster).len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = third_is_begun => {}
        done = client.put(Source::File(path), PutOptions::new("a", four_two())) => {
            panic!("{done:?}")
        }
    }
    let (before, task) = (held(&cluster), client.tasks().await.unwrap()[0].id);
    drop(client);
    *cluster.breaks_after_shards.lock().unwrap() = None;
    let client = cluster.client(home.path()).await;
    client.resume(task, Watcher::default()).await.unwrap();
    let now: Vec<_> = slices(&client).await.iter().map(|slice| slice.stripe).collect();
    assert!(now[..2].iter().all(|stripe| before.contains(stripe)));
    assert!(now[2..].iter().all(|stripe| !before.contains(stripe)));
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_upload_goes_on_with_the_slice_size_that_it_began_with() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = source(&home, 4);
    let client = cluster.client(home.path()).await;
    let task = cut_off_put(&client, &path, 2).await;
    drop(client);
    // By this budget slices would have 64 KiB now.
    let client = cluster.client_with(home.path(), 0x11, Size::kib(400)).await;
    client.resume(task, Watcher::default()).await.unwrap();
    let lengths: Vec<_> = slices(&client).await.iter().map(|slice| slice.length).collect();
    assert_eq!(lengths, [SLICE as u64; 4]);
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_that_expired_while_an_upload_was_paused_are_stored_again() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = source(&home, 4);
    let client = cluster.client(home.path()).await;
    let task = cut_off_put(&client, &path, 2).await;
    drop(client);
    cluster.nodes.values().for_each(|node| node.forget_shards());
    let client = cluster.client(home.path()).await;
    client.resume(task, Watcher::default()).await.unwrap();
    let named: BTreeSet<_> = slices(&client).await.iter().map(|slice| slice.stripe).collect();
    assert!(named.is_subset(&held(&cluster)));
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_reached_one_pair_of_three_is_written_again_with_the_same_bytes() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let (path, bytes) = source(&home, 1);
    let client = cluster.client(home.path()).await;
    for pair in 1..3 {
        cluster.break_pair(pair, |faults| faults.loses_writes = true);
    }
    let options = PutOptions::new("a", crate::cluster::wish(defs_core::mode::Mode::Slice));
    let putting = client.put(Source::File(path), options);
    let written = async {
        while cluster.node(0, 0).holdings().records == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = written => {}
        done = putting => panic!("{done:?}"),
    }
    let task = client.tasks().await.unwrap()[0].id;
    cluster.break_all(|faults| faults.loses_writes = false);
    client.resume(task, Watcher::default()).await.unwrap();
    let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    assert_eq!(got.versions, 1);
    assert!(cluster.nodes.values().all(|node| node.heads() <= 1));
}
