//! Machines that end: nodes, clients, and all at once.

use std::time::Duration;

use defs_core::mode::Mode;
use defs_sim::ledger::Content;
use defs_sim::pace::Pace;
use defs_sim::scene::{Scene, coded, wish};
use tokio::time::{Instant, sleep, timeout};

fn content(number: u64) -> Content {
    Content { number, length: 70_000 }
}

#[tokio::test(start_paused = true)]
async fn everything_acknowledged_is_there_again_after_all_nodes_ended_at_once() {
    let mut scene = Scene::with(10).await.unwrap();
    let actor = scene.owner().await.unwrap();
    for number in 1..=5 {
        actor.put(&format!("file {number}"), content(number), coded(2, 1)).await.unwrap();
    }
    let all = scene.cluster.on();
    all.iter().for_each(|node| scene.cluster.switch_off(*node));
    sleep(Duration::from_secs(30)).await;
    for node in all {
        scene.cluster.switch_on(node).await;
    }
    assert!(scene.cluster.pairs_form(5, Duration::from_secs(20)).await);
    for number in 1..=5 {
        let got = actor.get(&format!("file {number}")).await.unwrap();
        assert!(got == content(number).bytes(), "file {number}");
    }
}

/// At the usual times, and with whoever is asked first gone in the middle.
async fn reads_go_on(silent: bool) -> Vec<Duration> {
    let mut scene = Scene::timed(10, Pace::Usual.timings()).await.unwrap();
    let actor = scene.owner().await.unwrap();
    for number in 1..=4 {
        actor.put(&format!("file {number}"), content(number), coded(2, 1)).await.unwrap();
        actor.get(&format!("file {number}")).await.unwrap();
    }
    let mut took = Vec::new();
    for node in scene.cluster.on() {
        if silent {
            scene.cluster.life(node).unwrap().host.stall(Duration::from_secs(20));
        } else {
            scene.cluster.switch_off(node);
        }
        for number in 1..=4 {
            let began = Instant::now();
            let got = actor.get(&format!("file {number}")).await.unwrap();
            assert!(got == content(number).bytes());
            took.push(began.elapsed());
        }
        sleep(Duration::from_secs(30)).await;
        scene.cluster.switch_on(node).await;
        sleep(Duration::from_secs(30)).await;
    }
    took
}

#[tokio::test(start_paused = true)]
async fn reads_go_on_within_two_seconds_through_the_end_of_any_node() {
    let took = reads_go_on(false).await;
    assert!(took.iter().all(|took| *took <= Duration::from_secs(2)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_go_on_within_two_seconds_while_any_node_is_silent() {
    let took = reads_go_on(true).await;
    assert!(took.iter().all(|took| *took <= Duration::from_secs(2)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_ends_after_the_first_of_three_pairs_finishes_in_its_next_life() {
    let mut scene = Scene::with(6).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let small = Content { number: 1, length: 1000 };
    // Two pairs take nothing: the record reaches one, and is never acknowledged.
    actor.client.view().await.unwrap();
    for pair in &scene.pairs[1..] {
        let life = scene.cluster.life(pair.primary()).unwrap();
        life.host.stall(Duration::from_secs(5));
    }
    let put = timeout(Duration::from_secs(1), actor.put("a", small, wish(Mode::Auto))).await;
    assert!(put.is_err());
    let records = |scene: &Scene| -> Vec<usize> {
        let of = |node| scene.cluster.machines[node].disk.all_records().len();
        scene.pairs.iter().map(|pair| pair.members.iter().map(of).sum()).collect()
    };
    assert_eq!(records(&scene), [2, 0, 0]);
    let actor = actor.starts_again().await.unwrap();
    sleep(Duration::from_secs(10)).await;

    // Whatever asks for the network finishes what an earlier life left.
    actor.client.view().await.unwrap();
    let over = Instant::now() + Duration::from_secs(60);
    while actor.client.find("a").await.unwrap().is_none() {
        assert!(Instant::now() < over, "it was not finished");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(actor.get("a").await.unwrap() == small.bytes());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(records(&scene), [2, 2, 2]);
}
