//! What was deleted stays deleted, whoever was away, comes back or is lost meanwhile.

use std::time::Duration;

use defs_client::{DownloadError, GetError};
use defs_core::mode::Mode;
use defs_sim::ledger::Content;
use defs_sim::scene::{Scene, coded, holders, wish};
use tokio::time::sleep;

const CONTENT: Content = Content { number: 1, length: 100_000 };

fn is_deleted(got: &Result<Vec<u8>, GetError>) -> bool {
    // The record is gone for good: nothing else may be said of it.
    matches!(got, Err(GetError::Download(DownloadError::Manifest(_))))
}

#[tokio::test(start_paused = true)]
async fn a_deletion_reaches_a_mirror_and_a_whole_pair_that_were_away() {
    let mut scene = Scene::with(12).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let put = actor.put("a", CONTENT, coded(2, 2)).await.unwrap();
    let stripe = actor.stripes("a").await.unwrap()[0];
    let held_by = scene.holders(stripe);
    assert_eq!(held_by.len(), 8);
    let whole = scene.pair_of(held_by[0]).unwrap().clone();
    let other = scene
        .pairs
        .iter()
        .find(|pair| pair.pair != whole.pair && held_by.contains(&pair.members[1]));
    let away = [whole.members[0], whole.members[1], other.unwrap().mirror()];
    away.into_iter().for_each(|node| scene.cluster.switch_off(node));
    sleep(Duration::from_secs(2)).await;

    actor.client.remove("a").await.unwrap();
    assert_eq!(holders(&scene.cluster, stripe).len(), 3);
    for node in away {
        scene.cluster.switch_on(node).await;
    }
    let is_gone = |cluster: &_| holders(cluster, stripe).is_empty();
    let until = scene.until("all who were away delete it", is_gone).await;
    until.unwrap_or_else(|error| panic!("{error}: {:?} of {away:?}", scene.holders(stripe)));
    assert!(is_deleted(&actor.get_by(&put).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_never_hears_of_a_deletion_brings_nothing_back() {
    let mut scene = Scene::with(8).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let put = actor.put("a", CONTENT, wish(Mode::File)).await.unwrap();
    let away = scene.pairs.iter().find(|pair| put.ticket.hints.contains(&pair.pair)).unwrap();
    let away = away.members;
    // They have written down whom they know.
    sleep(Duration::from_secs(3)).await;
    away.into_iter().for_each(|node| scene.cluster.switch_off(node));
    actor.client.remove("a").await.unwrap();

    // As after months: nobody is left who would tell it. Clients reach it all the same.
    let actor = actor.starts_again().await.unwrap();
    scene.cut_off(&away);
    for node in away {
        scene.cluster.switch_on(node).await;
    }
    for _ in 0..20 {
        let got = actor.get_by(&put).await.unwrap();
        assert!(is_deleted(&got), "{got:?}");
        sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_acknowledged_a_deletion_and_is_lost_does_not_undo_it() {
    let mut scene = Scene::with(6).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let put = actor.put("a", CONTENT, wish(Mode::File)).await.unwrap();
    // The quorum is two of three pairs: the third is away, and of the two that acknowledged
    // one member each is lost at once.
    let away = scene.pairs[0].members;
    away.into_iter().for_each(|node| scene.cluster.switch_off(node));
    sleep(Duration::from_secs(2)).await;
    actor.client.remove("a").await.unwrap();
    let lost = [scene.pairs[1].primary(), scene.pairs[2].mirror()];
    lost.into_iter().for_each(|node| scene.cluster.lose(node));
    for node in away {
        scene.cluster.switch_on(node).await;
    }
    for _ in 0..20 {
        sleep(Duration::from_secs(3)).await;
        let got = actor.get_by(&put).await.unwrap();
        assert!(is_deleted(&got), "{got:?}");
    }
}
