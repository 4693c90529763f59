//! Networks that fall apart.

use std::time::Duration;

use defs_core::ids::{Epoch, NodeId};
use defs_core::message::PairView;
use defs_sim::ledger::Content;
use defs_sim::scene::{Scene, coded};
use tokio::time::sleep;

const CONTENT: Content = Content { number: 1, length: 70_000 };

#[tokio::test(start_paused = true)]
async fn ten_nodes_cut_in_halves_change_no_pair_and_lose_nothing() {
    let mut scene = Scene::with(10).await.unwrap();
    let actor = scene.owner().await.unwrap();
    actor.put("a", CONTENT, coded(2, 1)).await.unwrap();
    // Three whole pairs and a member of a fourth would be a majority: five nodes are not.
    let half: Vec<NodeId> = scene.pairs.iter().map(|pair| pair.primary()).collect();
    scene.cut_off(&half);
    sleep(Duration::from_secs(120)).await;
    scene.cluster.network.heal_all();
    assert!(scene.cluster.pairs_form(5, Duration::from_secs(30)).await);
    for (node, _, life) in scene.cluster.running() {
        let pairs = life.engine.table().pairs;
        let as_before = |view: &PairView| {
            view.record.record.epoch == Epoch(1) && scene.pairs.contains(&view.record.record)
        };
        assert!(pairs.iter().all(as_before), "{node} knows other pairs");
    }
    assert!(actor.get("a").await.unwrap() == CONTENT.bytes());
}

#[tokio::test(start_paused = true)]
async fn a_pair_whose_members_hear_each_other_one_way_only_takes_nothing_that_it_may_lose() {
    let mut scene = Scene::with(6).await.unwrap();
    let actor = scene.owner().await.unwrap();
    for pair in scene.pairs.clone() {
        scene.cluster.network.cut(pair.mirror(), pair.primary());
    }
    // Whatever is acknowledged all the same is on both disks.
    for number in 1..=5 {
        let content = Content { number, length: 5000 };
        let name = format!("file {number}");
        let putting = actor.put(&name, content, coded(1, 1));
        let put = tokio::time::timeout(Duration::from_secs(20), putting).await;
        assert!(!matches!(put, Ok(Ok(_))), "acknowledged without the mirror's word");
    }
}
