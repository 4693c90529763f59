//! Shards that the network has rebuilt at other pairs than those they were put on.

use defs_client::FileRef;
use defs_core::ids::PairId;
use defs_core::mode::Mode;

use crate::cluster::{Cluster, TestClient, content};
use crate::damage::{SLICE, put_four_two};
use crate::round_trips::{get_into, put};

/// Pairs that the manifest names for the first slice.
async fn named(client: &TestClient) -> Vec<PairId> {
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    status.slices[0].shards.iter().map(|shard| shard.pair).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_rebuilt_shards_writes_it_down_and_the_next_reader_need_not_look() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(SLICE, 1);
    put_four_two(&client, &bytes).await;
    let before = named(&client).await;
    // Their nodes answer still, as two of them may hold the manifest.
    for lost in 0..3 {
        for member in 0..2 {
            cluster.node(lost + 3, member).take_shards_of(cluster.node(lost, member));
        }
    }
    let (_, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    // Another process, which has found nothing out itself.
    drop(client);
    let client = cluster.client(home.path()).await;
    let now = named(&client).await;
    let lost: Vec<_> = cluster.pairs[..3].iter().map(|pair| pair.pair).collect();
    let still_lost = |pairs: &[PairId]| pairs.iter().filter(|pair| lost.contains(pair)).count();
    assert!(still_lost(&now) < still_lost(&before), "{before:?} {now:?}");
    let asked = cluster.calls_of("renew");
    let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    assert_eq!(cluster.calls_of("renew"), asked, "it had to look for shards");
    assert_eq!(got.versions, 1);
    assert_eq!(named(&client).await, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_shards_are_where_they_were_is_not_written_again() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(SLICE, 1);
    put_four_two(&client, &bytes).await;
    cluster.break_pair(0, |faults| faults.down = true);
    let writes = cluster.calls_of("write records");
    let (_, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    assert_eq!(cluster.calls_of("write records"), writes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_though_the_first_one_asked_names_a_pair_that_has_just_died() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(100, 1);
    put(&client, "a", &bytes, Mode::Auto).await;
    // Every pair that was told to hold the manifest dies, and others stand in for them.
    let set: Vec<_> = (0..6).filter(|pair| !cluster.node(*pair, 0).records().is_empty()).collect();
    let others = (0..6).filter(|pair| !set.contains(pair));
    for (lost, stands_in) in set.iter().zip(others) {
        for member in 0..2 {
            cluster.node(stands_in, member).set_records(cluster.node(*lost, member).records());
        }
    }
    for lost in &set {
        cluster.break_pair(*lost, |faults| faults.down = true);
    }
    cluster.break_all(|faults| faults.stale_hint = Some(cluster.pairs[set[0]].pair));
    // Another process, which has just asked who lives.
    drop(client);
    let client = cluster.client(home.path()).await;
    let (_, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
}
