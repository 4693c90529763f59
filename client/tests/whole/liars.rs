//! Damaged and forged shards: read around, whoever sends them, and named.

use std::collections::BTreeSet;

use defs_client::{
    DamagedShard, DownloadError, FileRef, FoundBy, GetError, GetOptions, Got, Harm, PutOptions,
    Sink, Source,
};
use defs_core::ids::{NodeId, ShardIndex, SliceNo};
use defs_core::mode::{Mode, Wish};

use crate::cluster::{Cluster, TestClient, content, wish};
use crate::damage::{SLICE, defs_text, put_four_two};
use crate::faults::Faults;
use crate::round_trips::{get_into, put};

/// The place in the cluster of the pair that holds shard `index` of slice 0.
async fn pair_of(cluster: &Cluster, client: &TestClient, index: usize) -> usize {
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    let pair = status.slices[0].shards[index].pair;
    cluster.pairs.iter().position(|one| one.pair == pair).unwrap()
}

fn found(got: &Got) -> Vec<(u8, NodeId, Harm)> {
    let each = |shard: &DamagedShard| {
        assert_eq!(shard.slice, SliceNo(0));
        (shard.index.0, shard.node, shard.harm)
    };
    got.damaged.iter().map(each).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_of_every_pair_may_send_damage_at_once_in_every_mode() {
    for (mode, data) in
        [(Mode::File, 1), (Mode::Slice, 1), (Mode::RsProportion, 5), (Mode::RsSize, 10)]
    {
        for member in [0, 1] {
            let cluster = Cluster::new(7);
            let home = tempfile::tempdir().unwrap();
            let client = cluster.client(home.path()).await;
            let bytes = content(SLICE, 1);
            put(&client, "a", &bytes, mode).await;
            for pair in 0..7 {
                cluster.break_node(pair, member, |faults| faults.corrupt_shards = true);
            }
            let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
            assert!(back == bytes, "{mode}");
            assert_eq!(got.decoded, 0, "{mode}: the other member has it");
            let liars: BTreeSet<_> = (0..7).map(|pair| cluster.node(pair, member).id).collect();
            let found = found(&got);
            assert!(
                found
                    .iter()
                    .all(|(_, node, harm)| { liars.contains(node) && *harm == Harm::Damaged })
            );
            // The first member is asked first while nothing is known of either.
            if member == 0 {
                let shards: Vec<_> = found.iter().map(|(index, ..)| *index).collect();
                assert_eq!(shards, (0..data).collect::<Vec<_>>(), "{mode}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_members_of_as_many_pairs_as_there_are_parity_shards_may_send_damage() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let bytes = content(SLICE, 1);
    put_four_two(&client, &bytes).await;
    let mut liars = Vec::new();
    for index in [0, 2] {
        let pair = pair_of(&cluster, &client, index).await;
        cluster.break_pair(pair, |faults| faults.corrupt_shards = true);
        liars.extend(
            [0, 1].map(|member| (u8::try_from(index).unwrap(), cluster.node(pair, member).id)),
        );
    }
    let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
    assert!(back == bytes);
    assert_eq!(got.decoded, 1);
    let found: BTreeSet<_> =
        found(&got).into_iter().map(|(index, node, _)| (index, node)).collect();
    assert_eq!(found, liars.into_iter().collect());
}

async fn get_range(
    client: &TestClient,
    range: std::ops::Range<usize>,
    folder: &std::path::Path,
) -> (Got, Vec<u8>) {
    let range = Some(range.start as u64..range.end as u64);
    let options = GetOptions { range, ..GetOptions::default() };
    let target = folder.join("part");
    let got = client.get(FileRef::Name("a".into()), Sink::File(target.clone()), options).await;
    (got.unwrap(), std::fs::read(&target).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_file_is_read_around_damage_and_the_damage_is_told() {
    for mode in [Mode::Slice, Mode::RsSize] {
        let cluster = Cluster::new(7);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put(&client, "a", &bytes, mode).await;
        for pair in 0..7 {
            cluster.break_node(pair, 0, |faults| faults.corrupt_shards = true);
        }
        let (got, part) = get_range(&client, 70_000..70_100, home.path()).await;
        assert!(part == bytes[70_000..70_100], "{mode}");
        assert!(!got.damaged.is_empty() && got.decoded == 0, "{mode}: {:?}", got.damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_shard_is_damaged_everywhere_is_decoded_from_the_others() {
    for forged in [false, true] {
        let cluster = Cluster::new(6);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put_four_two(&client, &bytes).await;
        let pair = pair_of(&cluster, &client, 1).await;
        cluster.break_pair(pair, |faults| {
            faults.corrupt_shards = !forged;
            faults.forge_shards = forged;
        });
        let (got, part) = get_range(&client, 70_000..70_100, home.path()).await;
        assert!(part == bytes[70_000..70_100]);
        assert_eq!(got.decoded, 1);
        assert!(!got.damaged.is_empty());
        assert!(got.damaged.iter().all(|shard| shard.index == ShardIndex(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_copy_is_not_believed_while_any_other_is_right() {
    for mode in [Mode::File, Mode::Slice] {
        let cluster = Cluster::new(4);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put(&client, "a", &bytes, mode).await;
        let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
        let holders: Vec<_> = status.slices[0]
            .shards
            .iter()
            .flat_map(|shard| {
                let place = cluster.pairs.iter().position(|pair| pair.pair == shard.pair).unwrap();
                [(place, 0), (place, 1)]
            })
            .collect();
        assert_eq!(holders.len(), 4);
        // All but one of the four copies; each of them in turn is the right one.
        for right in &holders {
            for (pair, member) in &holders {
                let forges = (pair, member) != (&right.0, &right.1);
                cluster.break_node(*pair, *member, |faults| faults.forge_shards = forges);
            }
            let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
            assert!(back == bytes, "{mode}");
            assert!(found(&got).iter().all(|(_, node, harm)| {
                *harm == Harm::Forged && *node != cluster.node(right.0, right.1).id
            }));
        }
        for (pair, member) in &holders {
            cluster.break_node(*pair, *member, |faults| faults.forge_shards = true);
        }
        let failed = get_into(&client, "a", home.path()).await.unwrap_err();
        let GetError::Download(DownloadError::TooFewShards { damaged, .. }) = &failed else {
            panic!("{failed}");
        };
        let liars: BTreeSet<_> = damaged.iter().map(|shard| shard.node).collect();
        assert_eq!(liars.len(), 4);
        assert!(defs_text(&failed).contains("forged from node"), "{}", defs_text(&failed));
    }
}

type Breaks = fn(&Cluster, usize);

#[tokio::test(flavor = "multi_thread")]
async fn forged_shards_of_a_coded_slice_are_found_out_and_done_without() {
    let member: Breaks =
        |cluster, pair| cluster.break_node(pair, 0, |faults| faults.forge_shards = true);
    let both: Breaks =
        |cluster, pair| cluster.break_pair(pair, |faults| faults.forge_shards = true);
    let away: Breaks = |cluster, pair| cluster.break_pair(pair, |faults| faults.down = true);
    let cases: [&[(usize, Breaks)]; 6] = [
        &[(1, member)],
        &[(1, both)],
        &[(0, member), (2, member)],
        &[(0, member), (1, member), (2, member), (3, member)],
        // Where parity is needed, it may be the parity that is forged.
        &[(0, away), (4, member)],
        &[(0, away), (3, member)],
    ];
    for (case, breaks) in cases.into_iter().enumerate() {
        let cluster = Cluster::new(6);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let bytes = content(SLICE, 1);
        put_four_two(&client, &bytes).await;
        let mut liars = BTreeSet::new();
        for (index, break_it) in breaks {
            let pair = pair_of(&cluster, &client, *index).await;
            break_it(&cluster, pair);
            liars.extend([0, 1].map(|member| cluster.node(pair, member).id));
        }
        let (got, back) = get_into(&client, "a", home.path()).await.unwrap();
        assert!(back == bytes, "case {case}");
        let found = found(&got);
        assert!(!found.is_empty(), "case {case}");
        for (_, node, harm) in found {
            assert!(harm == Harm::Forged && liars.contains(&node), "case {case}: {node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_forge_most_of_a_slice_cannot_pass_it_off() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    put_four_two(&client, &content(SLICE, 1)).await;
    cluster.break_all(|faults| faults.forge_shards = true);
    let failed = get_into(&client, "a", home.path()).await.unwrap_err();
    let text = defs_text(&failed);
    assert!(text.contains("slice 0 is not what was put, with any of"), "{text}");
    assert!(!home.path().join("got").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_counts_without_end_is_counted_to_the_end_of_numbers() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let mut stored = put(&client, "a", &content(100, 1), Mode::Auto).await;
    stored.ticket.hints.clear();
    cluster.break_all(|faults| faults.boasts = true);
    let sink = Sink::File(home.path().join("got"));
    let file = FileRef::Ticket(stored.ticket);
    let got = client.get(file, sink, GetOptions::default()).await.unwrap();
    assert!(matches!(got.lookup.by, FoundBy::Located(_)));
    assert_eq!((got.lookup.messages, got.lookup.round_trips), (u32::MAX, u32::MAX));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_fit_one_answer_are_asked_for_again() {
    let cases: [fn(&mut Faults); 3] = [
        |faults| faults.answer_max = Some(100 << 10),
        |faults| faults.keys_max = Some(3),
        |faults| faults.keys_max = Some(1),
    ];
    for (case, limit) in cases.into_iter().enumerate() {
        let cluster = Cluster::new(3);
        let home = tempfile::tempdir().unwrap();
        let client = cluster.client(home.path()).await;
        let puts = (0..60_u8).map(|number| {
            let source = Source::Bytes(content(16 << 10, number).into());
            let name = format!("file {number}");
            client.put(source, PutOptions::new(name, wish(Mode::Auto)))
        });
        let stored = futures::future::join_all(puts).await;
        assert!(stored.iter().all(Result::is_ok));
        cluster.break_all(limit);
        // All at once, so that many are asked of a node together.
        cluster.break_all(|faults| faults.delay = std::time::Duration::from_millis(5));
        let gets = (0..60_u8).map(|number| {
            let (client, path) = (client.clone(), home.path().join(format!("got {number}")));
            async move {
                let file = FileRef::Name(format!("file {number}"));
                client.get(file, Sink::File(path.clone()), GetOptions::default()).await.unwrap();
                assert!(std::fs::read(path).unwrap() == content(16 << 10, number));
            }
        });
        let all = futures::future::join_all(gets);
        let timely = tokio::time::timeout(std::time::Duration::from_secs(60), all).await;
        assert!(timely.is_ok(), "case {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_stored_whole_is_one_slice_however_large() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let whole = Wish { slice_max: defs_core::size::Size::mib(64), ..wish(Mode::File) };
    let bytes = content((17 << 20) + 1, 1);
    let source = Source::Bytes(bytes.clone().into());
    client.put(source, PutOptions::new("a", whole)).await.unwrap();
    let status = client.stat(FileRef::Name("a".into()), false).await.unwrap();
    let lengths: Vec<_> = status.slices.iter().map(|slice| slice.length).collect();
    assert_eq!(lengths, [bytes.len() as u64]);
    assert!(get_into(&client, "a", home.path()).await.unwrap().1 == bytes);

    let source = Source::Bytes(content(SLICE + 1, 1).into());
    let refused = client.put(source, PutOptions::new("b", wish(Mode::File))).await.unwrap_err();
    assert!(refused.to_string().ends_with("use slice or rs-size"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_denies_all_records_does_not_bring_back_what_another_keeps_undeleted() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let ticket = put(&client, "a", &content(100, 1), Mode::Auto).await.ticket.to_text();
    let stored = cluster.node(2, 0).records();
    client.remove("a").await.unwrap();
    client.close().await;
    // Which two of the three are asked first is drawn.
    for _ in 0..8 {
        for member in [0, 1] {
            cluster.node(0, member).forget_records();
            cluster.node(2, member).set_records(stored.clone());
        }
        let client = cluster.client(home.path()).await;
        let sink = Sink::File(home.path().join("got"));
        let file = FileRef::Ticket(ticket.parse().unwrap());
        let gone = client.get(file, sink, GetOptions::default()).await.unwrap_err();
        assert!(gone.to_string().contains("was deleted"), "{gone}");
        client.close().await;
    }
}
