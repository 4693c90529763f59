//! What is said before a file is put, counted after it was.

use std::collections::BTreeSet;

use defs_client::{FileRef, PutOptions, Source};
use defs_core::ids::{ShardIndex, StripeId};
use defs_core::mode::{Durability, Mode, Wish};

use crate::cluster::{Cluster, content, wish};

/// Three slices of the size that tests have, the last one short.
const LENGTH: usize = (2 << 18) + 12_345;

/// The fewest nodes that together hold `wanted` different shards of `stripe`.
fn fewest_with(cluster: &Cluster, stripe: StripeId, wanted: usize) -> usize {
    let held: Vec<BTreeSet<ShardIndex>> = cluster
        .nodes
        .values()
        .map(|node| node.shards().into_iter().filter(|key| key.stripe == stripe))
        .map(|keys| keys.map(|key| key.index).collect())
        .collect();
    // Any two hold the same or nothing in common, so taking the fullest first is best.
    for (one, other) in held.iter().flat_map(|one| held.iter().map(move |other| (one, other))) {
        assert!(one == other || one.is_disjoint(other), "{one:?} {other:?}");
    }
    let mut together = BTreeSet::new();
    let mut nodes = 0;
    while together.len() < wanted {
        let adds = |node: &&BTreeSet<ShardIndex>| node.difference(&together).count();
        let best = held.iter().max_by_key(adds).unwrap();
        assert!(adds(&best) > 0, "{} of {wanted} shards are held", together.len());
        together.extend(best.iter().copied());
        nodes += 1;
    }
    nodes
}

/// Puts a file and compares what was said with where it lies: nodes that reach k, and
/// pairs that may vanish.
async fn said_and_true(wish: Wish, pairs: u8, length: usize) -> (usize, usize) {
    let cluster = Cluster::new(pairs);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let layout = client.explain(Some(length as u64), &wish).await.unwrap();
    let source = Source::Bytes(content(length, 1).into());
    client.put(source, PutOptions::new("a", wish)).await.unwrap();
    let (reach, vanish) = (layout.nodes_that_reach_data(), layout.pairs_that_may_vanish());
    let stripes: BTreeSet<_> = cluster.nodes.values().flat_map(|node| node.stripes()).collect();
    assert_eq!(stripes.is_empty(), layout.inline);
    for stripe in stripes {
        assert_eq!(fewest_with(&cluster, stripe, layout.geometry.data()), reach, "{layout:?}");
    }
    let status = client.stat(FileRef::Name("a".into()), true).await.unwrap();
    assert_eq!((status.geometry, status.inline), (layout.geometry, layout.inline));
    assert_eq!(status.survives, Some(vanish), "{layout:?}");
    (reach, vanish)
}

fn coded(data: u32, parity: u32) -> Wish {
    Wish { data: Some(data), parity: Some(parity), ..wish(Mode::RsSize) }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_nodes_reach_k_and_so_many_pairs_may_vanish_as_explain_says() {
    for (geometry, pairs, said) in [
        ((10, 4), 16, (10, 1)),
        ((10, 4), 7, (5, 1)),
        ((10, 4), 5, (4, 1)),
        ((4, 2), 3, (2, 1)),
        ((2, 2), 2, (1, 0)),
        ((3, 1), 9, (3, 1)),
    ] {
        let wish = coded(geometry.0, geometry.1);
        assert_eq!(said_and_true(wish, pairs, LENGTH).await, said, "{geometry:?} on {pairs}");
    }
    let crowded = Wish { unsafe_placement: true, ..coded(10, 4) };
    assert_eq!(said_and_true(crowded, 3, LENGTH).await, (2, 0));
    assert_eq!(said_and_true(wish(Mode::Slice), 4, LENGTH).await, (1, 1));
    let pair = Wish { durability: Durability::PAIR, ..wish(Mode::Slice) };
    assert_eq!(said_and_true(pair, 4, LENGTH).await, (1, 0));
    assert_eq!(said_and_true(wish(Mode::Auto), 4, 100).await, (1, 1), "inside its manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_manifest_has_two_pairs_is_not_said_to_bear_the_loss_of_one() {
    let cluster = Cluster::new(2);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let layout = client.explain(Some(LENGTH as u64), &wish(Mode::Slice)).await.unwrap();
    assert_eq!(layout.pairs_that_may_vanish(), 0);
    let source = Source::Bytes(content(LENGTH, 1).into());
    client.put(source, PutOptions::new("a", wish(Mode::Slice))).await.unwrap();
    // Each slice is whole at the pair that is left, and yet nobody can say which version of
    // the manifest is the newest.
    cluster.break_pair(0, |faults| faults.down = true);
    let lost = client.stat(FileRef::Name("a".into()), true).await.unwrap_err();
    let causes: Vec<_> =
        std::iter::successors(Some(&lost as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect();
    assert!(causes.join(": ").contains("only 1 of the 2 pairs needed answered"), "{causes:?}");
}
