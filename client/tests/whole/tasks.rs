//! Uploads and downloads that are cut off, and go on.

use std::path::Path;
use std::time::Duration;

use defs_client::{
    FileRef, Finished, GetOptions, PutOptions, Sink, Source, TaskError, TaskId, Watcher,
};
use defs_core::mode::{Mode, Wish};
use defs_core::states::TaskState;

use crate::cluster::{Cluster, TestClient, content, wish};
use crate::round_trips::get_into;

const SLICE: u64 = 256 << 10;

pub(crate) fn four_two() -> Wish {
    Wish { data: Some(4), parity: Some(2), ..wish(Mode::RsSize) }
}

/// Puts `path` until `slices` of it are stored, and drops the upload there.
pub(crate) async fn cut_off_put(client: &TestClient, path: &Path, slices: u64) -> TaskId {
    let (watcher, mut progress) = Watcher::new();
    let options = PutOptions { watcher, ..PutOptions::new("a", four_two()) };
    tokio::select! {
        biased;
        _ = progress.wait_for(|now| now.done >= slices * SLICE) => {}
        done = client.put(Source::File(path.to_owned()), options) => panic!("{done:?}"),
    }
    client.tasks().await.unwrap().last().unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_off_goes_on_and_sends_at_most_one_slice_again() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("source");
    let bytes = content(8 * 256 * 1024, 1);
    std::fs::write(&path, &bytes).unwrap();
    let client = cluster.client(home.path()).await;
    let task = cut_off_put(&client, &path, 3).await;
    drop(client);

    let client = cluster.client(home.path()).await;
    let listed = client.tasks().await.unwrap();
    assert_eq!((listed[0].id, listed[0].state), (task, TaskState::Paused));
    assert!(listed[0].done >= 3 * SLICE);
    let Finished::Put(put) = client.resume(task, Watcher::default()).await.unwrap() else {
        panic!("it was an upload");
    };
    assert_eq!(put.length, bytes.len() as u64);
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);
    let once = cluster.nodes.values().map(|node| node.holdings().shards as u64).sum::<u64>() / 2;
    let one_slice = SLICE * 6 / 4 + 10_000;
    assert!(once >= 8 * 6);
    assert!(cluster.received() <= 9 * one_slice, "{} bytes", cluster.received());
    assert_eq!(client.tasks().await.unwrap()[0].state, TaskState::Done);
    let again = client.resume(task, Watcher::default()).await;
    assert!(matches!(again, Err(TaskError::Ended { state: TaskState::Done, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_file_changed_meanwhile_is_refused() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("source");
    std::fs::write(&path, content(8 * 256 * 1024, 1)).unwrap();
    let client = cluster.client(home.path()).await;
    let task = cut_off_put(&client, &path, 2).await;
    std::fs::write(&path, content(8 * 256 * 1024, 2)).unwrap();
    let refused = client.resume(task, Watcher::default()).await;
    assert!(matches!(refused, Err(TaskError::Changed { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_off_goes_on_behind_what_is_written() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let bytes = content(8 * 256 * 1024, 1);
    let client = cluster.client(home.path()).await;
    let source = Source::Bytes(bytes.clone().into());
    client.put(source, PutOptions::new("a", four_two())).await.unwrap();
    let target = home.path().join("got");
    cluster.break_all(|faults| faults.delay = Duration::from_millis(5));
    let (watcher, mut progress) = Watcher::new();
    let options = GetOptions { watcher, ..GetOptions::default() };
    tokio::select! {
        biased;
        _ = progress.wait_for(|now| now.done >= 3 * SLICE) => {}
        done = client.get(FileRef::Name("a".into()), Sink::File(target.clone()), options) => {
            panic!("{done:?}")
        }
    }
    assert!(!target.exists());
    let task = client.tasks().await.unwrap().last().unwrap().id;
    let before = cluster.calls_of("read shard");
    let Finished::Got(got) = client.resume(task, Watcher::default()).await.unwrap() else {
        panic!("it was a download");
    };
    assert!(std::fs::read(&target).unwrap() == bytes);
    assert!(got.written <= 6 * SLICE, "{} bytes", got.written);
    assert!(cluster.calls_of("read shard") - before <= 6 * 6);
    let parts = std::fs::read_dir(home.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_paused_and_cancelled_while_they_run() {
    let cluster = Cluster::new(7);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("source");
    std::fs::write(&path, content(8 * 256 * 1024, 1)).unwrap();
    let client = cluster.client(home.path()).await;
    let (watcher, mut progress) = Watcher::new();
    let options = PutOptions { watcher, ..PutOptions::new("a", four_two()) };
    let putting = client.put(Source::File(path.clone()), options);
    let pausing = async {
        progress.wait_for(|now| now.done >= SLICE).await.unwrap();
        let task = client.tasks().await.unwrap()[0].clone();
        assert_eq!(task.state, TaskState::Running);
        client.pause(task.id).await.unwrap();
        task.id
    };
    let (stopped, task) = tokio::join!(putting, pausing);
    assert!(stopped.unwrap_err().to_string().contains("was stopped"));
    let state = |client: TestClient| async move { client.tasks().await.unwrap()[0].state };
    assert_eq!(state(client.clone()).await, TaskState::Paused);
    client.cancel(task).await.unwrap();
    assert_eq!(state(client.clone()).await, TaskState::Cancelled);
    assert!(client.resume(task, Watcher::default()).await.is_err());
    assert!(client.find("a").await.unwrap().is_none());
}
