//! Pairs that join are given shards until all are evenly full, whatever ends meanwhile.

use std::collections::BTreeMap;

use defs_core::ids::{NodeId, PairId};
use defs_core::port::StateKey;
use defs_sim::cluster::{CAPACITY, Cluster};
use defs_sim::healing::is_whole;
use defs_sim::ledger::Content;
use defs_sim::scene::{Actor, Scene, coded, holders};

/// Files, each of one slice: together a fifth of what six nodes take.
const FILES: u64 = 180;

fn content(number: u64) -> Content {
    Content { number, length: 200_000 }
}

fn name(number: u64) -> String {
    format!("{number}")
}

/// Sealed bytes at the members of each pair, of which the fuller counts.
fn fills(cluster: &Cluster) -> BTreeMap<PairId, usize> {
    let used = |node: &NodeId| {
        let shards = cluster.machines[node].disk.shards();
        shards.iter().map(|(.., bytes)| bytes.len()).sum::<usize>()
    };
    let tables = cluster.running().flat_map(|(_, _, life)| life.engine.table().pairs);
    let pairs = tables.map(|view| view.record.record);
    pairs.map(|pair| (pair.pair, pair.members.iter().map(used).max().unwrap())).collect()
}

/// Within what planning by cards, which are some seconds old, can do.
fn are_even(cluster: &Cluster) -> bool {
    let fills = fills(cluster);
    let (most, least) = (fills.values().max().unwrap(), fills.values().min().unwrap());
    fills.len() == 4 && most - least <= usize::try_from(CAPACITY / 20).unwrap() + 200_000
}

async fn six_full_nodes() -> (Scene, Actor) {
    let mut scene = Scene::with(6).await.unwrap();
    let actor = scene.owner().await.unwrap();
    for number in 0..FILES {
        actor.put(&name(number), content(number), coded(1, 1)).await.unwrap();
    }
    (scene, actor)
}

async fn all_is_there(actor: &Actor) {
    for number in 0..FILES {
        assert_eq!(actor.get(&name(number)).await.unwrap(), content(number).bytes(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_joins_is_given_shards_until_all_are_evenly_full() {
    let (mut scene, actor) = six_full_nodes().await;
    let mut stripes = Vec::new();
    for number in 0..FILES {
        stripes.extend(actor.stripes(&name(number)).await.unwrap());
    }
    scene.cluster.add().await;
    scene.cluster.add().await;
    scene.until("the pairs are evenly full", are_even).await.unwrap();
    all_is_there(&actor).await;
    let keys: Vec<_> = scene.cluster.machines.values().flat_map(|it| it.disk.shards()).collect();
    assert_eq!(keys.len(), stripes.len() * 4, "each of two shards is at two nodes");
    scene.cluster.pairs();
    assert!(keys.iter().all(|(key, ..)| is_whole(&scene.cluster, key)));
    // Who holds a shard now hears of its deletion, though its owner's manifest may name others.
    for number in 0..FILES {
        actor.client.remove(&name(number)).await.unwrap();
    }
    let are_gone =
        |cluster: &Cluster| stripes.iter().all(|stripe| holders(cluster, *stripe).is_empty());
    scene.until("all is deleted", are_gone).await.unwrap();
}

/// The one that gives most ends in its write number `write` after it was given a place to
/// give to, and comes back.
async fn the_giver_ends(write: u32) {
    let (mut scene, actor) = six_full_nodes().await;
    scene.cluster.add().await;
    scene.cluster.add().await;
    let gives = |cluster: &Cluster| {
        let began = |node: &NodeId| {
            let disk = &cluster.machines[node].disk;
            let key = |(key, ..): &(defs_core::message::ShardKey, _, _)| {
                StateKey([b"give/".as_slice(), &key.stripe.0, &[key.index.0]].concat())
            };
            disk.shards().iter().any(|shard| disk.has_state(&key(shard)))
        };
        cluster.on().into_iter().find(began)
    };
    scene.until("a shard is being given", |cluster| gives(cluster).is_some()).await.unwrap();
    let giver = gives(&scene.cluster).unwrap();
    scene.cluster.life(giver).unwrap().host.switch_off_at_write(write);
    scene.until("the giver is off", |cluster| cluster.life(giver).is_none()).await.unwrap();
    scene.cluster.switch_off(giver);
    scene.cluster.switch_on(giver).await;
    scene.until("the pairs are evenly full", are_even).await.unwrap();
    let nothing_begun = |cluster: &Cluster| gives(cluster).is_none();
    scene.until("what was begun is ended", nothing_begun).await.unwrap();
    all_is_there(&actor).await;
}

#[tokio::test(start_paused = true)]
async fn a_giver_that_ends_at_its_next_write_goes_on_when_it_is_back() {
    the_giver_ends(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_giver_that_ends_a_few_writes_later_goes_on_when_it_is_back() {
    for write in [1, 2, 3] {
        the_giver_ends(write).await;
    }
}
