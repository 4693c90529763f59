//! Small files whose batch was cut off: sent again as they were, and named.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use defs_client::{PutOptions, Source};
use defs_core::mode::Mode;

use crate::cluster::{Cluster, TestClient, content, wish};
use crate::faults::Faults;
use crate::round_trips::get_into;

/// A client that puts a small file and is gone, with all its tasks, as soon as something of
/// it has been sent.
fn killed_while_putting(cluster: &Arc<Cluster>, home: &Path, how: fn(&mut Faults)) {
    let (cluster, home) = (Arc::clone(cluster), home.to_owned());
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = cluster.client(&home).await;
            client.view().await.unwrap();
            cluster.break_all(how);
            let source = Source::Bytes(content(5000, 1).into());
            let put = client.put(source, PutOptions::new("a", wish(Mode::Auto)));
            let sent = async {
                while cluster.calls_of("write records") == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = put => panic!("nobody answers"),
                () = sent => {}
            }
        });
        drop(runtime);
    });
    process.join().unwrap();
}

async fn until_named(client: &TestClient, name: &str) {
    let named = async {
        while client.find(name).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), named).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_were_cut_off_are_finished_by_the_next_client_with_the_same_bytes() {
    let cases: [fn(&mut Faults); 2] =
        [|faults| faults.loses_writes = true, |faults| faults.mute_writes = true];
    for (case, how) in cases.into_iter().enumerate() {
        let cluster = Cluster::new(3);
        let home = tempfile::tempdir().unwrap();
        killed_while_putting(&cluster, home.path(), how);
        cluster.break_all(|faults| *faults = Faults::default());
        let client = cluster.client(home.path()).await;
        assert!(client.list().await.unwrap().is_empty());
        client.view().await.unwrap();
        until_named(&client, "a").await;
        let (_, back) = get_into(&client, "a", home.path()).await.unwrap();
        assert!(back == content(5000, 1), "case {case}");
        // The same record again, and not another one beside it.
        assert!(cluster.nodes.values().all(|node| node.holdings().records <= 1), "case {case}");
        client.close().await;
        let writes = cluster.calls_of("write records");
        let client = cluster.client(home.path()).await;
        client.network().await.unwrap();
        client.close().await;
        assert_eq!(cluster.calls_of("write records"), writes, "case {case}: nothing is left");
        let locks = std::fs::read_dir(home.path().join("tasks")).unwrap();
        assert_eq!(locks.count(), 0, "case {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_put_again_since_keeps_its_newer_file() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    killed_while_putting(&cluster, home.path(), |faults| faults.mute_writes = true);
    cluster.break_all(|faults| *faults = Faults::default());
    let client = cluster.client(home.path()).await;
    let newer = content(700, 9);
    let options = PutOptions { replace: true, ..PutOptions::new("a", wish(Mode::Auto)) };
    client.put(Source::Bytes(newer.clone().into()), options).await.unwrap();
    let one_each = async {
        while cluster.nodes.values().any(|node| node.holdings().records > 1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), one_each).await.expect("the older one stayed");
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == newer);
}
