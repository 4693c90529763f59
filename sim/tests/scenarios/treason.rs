//! Nodes that turned: in each of their ways, one member of every second pair.

use std::time::Duration;

use defs_client::{DownloadError, GetError};
use defs_core::mode::Mode;
use defs_sim::ledger::Content;
use defs_sim::scene::{Scene, coded, wish};
use defs_sim::treason::Treason;
use tokio::time::sleep;

async fn hides_nothing_and_forges_nothing(treason: Treason, member: usize) {
    let mut scene = Scene::with(12).await.unwrap();
    let actor = scene.owner().await.unwrap();
    for pair in scene.pairs.iter().step_by(3) {
        scene.cluster.betray(pair.members[member], treason);
    }
    let wishes = [wish(Mode::Auto), wish(Mode::File), coded(2, 1)];
    let mut puts = Vec::new();
    for (number, wish) in (1..).zip(wishes) {
        let content = Content { number, length: 20_000 };
        puts.push((content, actor.put(&format!("file {number}"), content, wish).await.unwrap()));
    }
    // The loyal member of each of their pairs is what is left.
    for pair in scene.pairs.iter().step_by(3) {
        scene.cluster.switch_off(pair.members[member]);
    }
    for (content, put) in &puts {
        let got = actor.get_by(put).await.unwrap();
        assert!(got.unwrap() == content.bytes(), "{treason:?} {member} {content:?}");
    }
    for pair in scene.pairs.clone().iter().step_by(3) {
        scene.cluster.switch_on(pair.members[member]).await;
    }
    sleep(Duration::from_secs(5)).await;
    for (content, put) in &puts {
        let got = actor.get_by(put).await.unwrap();
        assert!(got.unwrap() == content.bytes(), "{treason:?} {member} {content:?}");
        actor.client.remove(&format!("file {}", content.number)).await.unwrap();
        let got = actor.get_by(put).await.unwrap();
        let is_deleted = matches!(&got, Err(GetError::Download(DownloadError::Manifest(_))));
        assert!(is_deleted, "{treason:?} {member} {got:?}");
    }
}

async fn members_of_both_kinds(treason: Treason) {
    for member in [0, 1] {
        hides_nothing_and_forges_nothing(treason, member).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_send_wrong_bytes_hide_nothing() {
    members_of_both_kinds(Treason::WrongBytes).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_sign_for_what_they_threw_away_lose_nothing() {
    members_of_both_kinds(Treason::StoresNothing).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_forge_receipts_are_passed_over() {
    members_of_both_kinds(Treason::ForgesReceipts).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_deny_records_hide_nothing() {
    members_of_both_kinds(Treason::DeniesRecords).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_keep_what_was_deleted_bring_nothing_back() {
    members_of_both_kinds(Treason::KeepsDeleted).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_mislead_hide_nothing() {
    members_of_both_kinds(Treason::Misleads).await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_deny_commits_have_nothing_collected() {
    members_of_both_kinds(Treason::DeniesCommits).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_denies_all_records_brings_nothing_deleted_back() {
    let mut scene = Scene::with(6).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let content = Content { number: 1, length: 1000 };
    let put = actor.put("a", content, wish(Mode::Auto)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let [away, denying] = [scene.pairs[0].members, scene.pairs[1].members];
    away.into_iter().for_each(|node| scene.cluster.switch_off(node));
    sleep(Duration::from_secs(2)).await;
    actor.client.remove("a").await.unwrap();
    // Nobody is left who would tell the third pair.
    let actor = actor.starts_again().await.unwrap();
    scene.cluster.switch_off(denying[0]);
    scene.cluster.betray(denying[1], Treason::DeniesRecords);
    for node in away {
        scene.cluster.switch_on(node).await;
    }
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        let got = actor.get_by(&put).await.unwrap();
        let is_deleted = matches!(&got, Err(GetError::Download(DownloadError::Manifest(_))));
        assert!(is_deleted, "{got:?}");
    }
}
