//! Shards whose owner went away in the middle, and clocks that are wrong.

use std::time::Duration;

use defs_core::mode::Mode;
use defs_engine::Timings;
use defs_sim::ledger::Content;
use defs_sim::pace::Pace;
use defs_sim::scene::{Scene, coded, holders, wish};
use tokio::time::sleep;

const CONTENT: Content = Content { number: 1, length: 60_000 };

/// Leases last a day: so rarely is anything said that days pass in seconds.
fn for_days() -> Timings {
    Timings {
        watch: slow(),
        card: Duration::from_secs(1200),
        card_stale: Duration::from_secs(4000),
        settle: Duration::from_secs(5),
        form: Duration::from_secs(20),
        repair: Duration::from_secs(60),
        repair_turn: Duration::from_secs(600),
        lease_min: Duration::from_hours(24),
        expire: Duration::from_secs(1200),
        ..Pace::Fast.timings()
    }
}

fn committed(scene: &Scene) -> usize {
    let shards = scene.cluster.machines.values().flat_map(|machine| machine.disk.shards());
    shards.filter(|(_, stored, _)| stored.state.commit.is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_after_some_of_its_commits_loses_none_of_its_shards() {
    let mut scene = Scene::timed(14, for_days()).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let slow: Vec<_> = scene.pairs.iter().take(4).map(|pair| pair.primary()).collect();
    for node in &slow {
        scene.cluster.network.slow_down(*node, Duration::from_millis(100));
    }
    let putting = actor.put("a", CONTENT, coded(5, 2));
    let ending = async {
        while committed(&scene) < 6 {
            sleep(Duration::from_millis(1)).await;
        }
        // What it sent to the others is still on its way.
        scene.cut_off(&slow);
        actor.host.switch_off();
    };
    let ended =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(putting, ending) });
    assert!(ended.await.is_err(), "the client got to its end");
    scene.cluster.network.heal_all();
    let before = committed(&scene);
    assert!((6..14).contains(&before), "{before} of 14 were committed");

    sleep(Duration::from_hours(27)).await;
    assert_eq!(committed(&scene), 14);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_ends_before_any_commit_is_collected_by_all() {
    let mut scene = Scene::timed(12, for_days()).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let putting = actor.put("a", CONTENT, coded(4, 2));
    let all = |scene: &Scene| -> usize {
        scene.cluster.machines.values().map(|machine| machine.disk.shards().len()).sum()
    };
    let ending = async {
        while all(&scene) < 6 {
            sleep(Duration::from_millis(1)).await;
        }
        actor.host.switch_off();
    };
    let ended =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(putting, ending) });
    assert!(ended.await.is_err(), "the client got to its end");
    assert!(all(&scene) >= 6);
    sleep(Duration::from_hours(27)).await;
    assert_eq!(all(&scene), 0);
}

#[tokio::test(start_paused = true)]
async fn mirrors_whose_dates_jump_by_minutes_and_years_collect_nothing() {
    let mut scene = Scene::timed(8, for_days()).await.unwrap();
    let actor = scene.owner().await.unwrap();
    actor.put("a", CONTENT, wish(Mode::File)).await.unwrap();
    let stripe = actor.stripes("a").await.unwrap()[0];
    let before = holders(&scene.cluster, stripe);
    for (pair, ahead_ms) in scene.pairs.iter().zip([300_000, 400_000_000_000, -400_000_000_000]) {
        scene.cluster.life(pair.mirror()).unwrap().host.set_ahead(ahead_ms);
    }
    sleep(Duration::from_hours(27)).await;
    assert_eq!((before.len(), holders(&scene.cluster, stripe)), (4, before));
}

/// A heartbeat every ten minutes: nothing is to happen but what the scenario does.
fn slow() -> defs_pairing::detector::Timings {
    let [beat, suspect, fail, replace] = [600, 2000, 3000, 600_000].map(Duration::from_secs);
    defs_pairing::detector::Timings::new(beat, suspect, fail, replace).unwrap()
}
