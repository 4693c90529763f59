//! Who is gone is replaced, what was lost is rebuilt, and nobody heals who must not.

use std::collections::BTreeSet;
use std::time::Duration;

use defs_client::FileRef;
use defs_core::ids::{Epoch, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::mode::Mode;
use defs_core::network::PairRecord;
use defs_engine::Timings;
use defs_sim::cluster::Cluster;
use defs_sim::healing::is_whole;
use defs_sim::invariants::no_pair_holds_more_of_a_stripe_than_its_owner_allows;
use defs_sim::ledger::Content;
use defs_sim::pace::Pace;
use defs_sim::scene::{Actor, Scene, coded, holders, wish};
use tokio::time::sleep;

fn content(number: u64) -> Content {
    Content { number, length: 60_000 }
}

/// What `node` knows of `pair`.
fn known(cluster: &Cluster, node: NodeId, pair: PairId) -> Option<PairRecord> {
    let pairs = cluster.life(node)?.engine.table().pairs;
    pairs.into_iter().map(|view| view.record.record).find(|record| record.pair == pair)
}

fn epoch(cluster: &Cluster, node: NodeId, pair: PairId) -> Option<Epoch> {
    known(cluster, node, pair).map(|record| record.epoch)
}

#[tokio::test(start_paused = true)]
async fn the_larger_part_of_a_split_heals_and_the_smaller_changes_nothing() {
    let mut scene = Scene::with(11).await.unwrap();
    let actor = scene.owner().await.unwrap();
    actor.put("a", content(1), wish(Mode::File)).await.unwrap();
    let [split, other] = [scene.pairs[0].clone(), scene.pairs[1].clone()];
    let [away, stays] = split.members;
    let smaller = [away, other.members[0], other.members[1]];
    scene.cut_off(&smaller);
    let healed = |cluster: &Cluster| epoch(cluster, stays, split.pair) == Some(Epoch(2));
    scene.until("the one that stays has a new partner", healed).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    for node in smaller {
        for pair in &scene.pairs {
            assert_eq!(epoch(&scene.cluster, node, pair.pair), Some(Epoch(1)), "{node}");
        }
        assert!(scene.cluster.life(node).unwrap().engine.losses().is_empty(), "{node}");
    }
    scene.cluster.network.heal_all();
    let all_agree = |cluster: &Cluster| {
        cluster.on().iter().all(|node| epoch(cluster, *node, split.pair) == Some(Epoch(2)))
    };
    scene.until("all know the new epoch", all_agree).await.unwrap();
    assert_eq!(scene.cluster.life(away).unwrap().engine.status().pair, None);
    assert_eq!(actor.get("a").await.unwrap(), content(1).bytes());
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_keeps_its_copies_and_the_new_pair_proves_its_own() {
    let mut scene = Scene::with(9).await.unwrap();
    let actor = scene.owner().await.unwrap();
    actor.put("a", content(1), coded(2, 2)).await.unwrap();
    let stripe = actor.stripes("a").await.unwrap()[0];
    let away = scene.holders(stripe)[0];
    let pair = scene.pair_of(away).unwrap().clone();
    let stays = pair.partner_of(&away).unwrap();
    scene.cut_off(&[away]);
    let is_replaced = |cluster: &Cluster| {
        let now = known(cluster, stays, pair.pair).filter(|now| now.epoch == Epoch(2));
        let newcomer = now.and_then(|now| now.partner_of(&stays));
        newcomer.is_some_and(|newcomer| holders(cluster, stripe).contains(&newcomer))
    };
    scene.until("a new member has the shard", is_replaced).await.unwrap();
    scene.cluster.network.heal_all();
    let is_spare = |cluster: &Cluster| {
        cluster.life(away).is_some_and(|life| life.engine.status().pair.is_none())
    };
    scene.until("who was away is a spare", is_spare).await.unwrap();
    assert!(scene.holders(stripe).contains(&away));
    assert_eq!(actor.get("a").await.unwrap(), content(1).bytes());
}

/// A pair that holds a shard of each stripe of both files is lost for ever.
async fn a_pair_is_lost(timings: Timings, is_first_deleted: bool) {
    let mut scene = Scene::timed(12, timings).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let mut stripes = Vec::new();
    for number in 0..6 {
        let name = format!("{number}");
        actor.put(&name, content(number), coded(2, 2)).await.unwrap();
        stripes.push((name.clone(), actor.stripes(&name).await.unwrap()[0]));
    }
    let of = |stripe| -> BTreeSet<_> {
        scene.holders(stripe).iter().map(|node| scene.pair_of(*node).unwrap().pair).collect()
    };
    let (name, first) = stripes[0].clone();
    let (_, second) =
        stripes.iter().skip(1).find(|(_, other)| !of(*other).is_disjoint(&of(first))).unwrap();
    let lost = *of(first).intersection(&of(*second)).next().unwrap();
    let lost = scene.pairs.iter().find(|pair| pair.pair == lost).unwrap().clone();
    lost.members.into_iter().for_each(|node| scene.cluster.switch_off(node));
    if is_first_deleted {
        sleep(Duration::from_secs(2)).await;
        actor.client.remove(&name).await.unwrap();
    }
    lost.members.into_iter().for_each(|node| scene.cluster.lose(node));
    let is_rebuilt = |cluster: &Cluster| holders(cluster, *second).len() == 8;
    scene.until("what was lost is rebuilt", is_rebuilt).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let left = if is_first_deleted { 0 } else { 8 };
    assert_eq!(scene.holders(first).len(), left);
    no_pair_holds_more_of_a_stripe_than_its_owner_allows(&scene.cluster).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stripe_is_not_rebuilt() {
    a_pair_is_lost(Pace::Fast.timings(), true).await;
}

#[tokio::test(start_paused = true)]
async fn watchers_that_rebuild_at_once_put_no_more_on_a_pair_than_its_owner_allows() {
    let timings = Timings { repair_turn: Duration::ZERO, ..Pace::Fast.timings() };
    a_pair_is_lost(timings, false).await;
}

/// What was stored before a pair was lost.
struct Rebuilt {
    scene: Scene,
    actor: Actor,
    stripes: Vec<StripeId>,
    /// Shards that the lost pair held.
    lost: usize,
}

/// One of five pairs is lost for ever, which held several shards of every stripe.
async fn one_of_five_pairs_is_lost(timings: Timings, (data, parity): (u32, u32)) -> Rebuilt {
    let mut scene = Scene::timed(10, timings).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let mut stripes = Vec::new();
    for number in 0..8 {
        let name = format!("{number}");
        actor.put(&name, content(number), coded(data, parity)).await.unwrap();
        stripes.extend(actor.stripes(&name).await.unwrap());
    }
    let members = scene.pairs[0].members;
    let lost = scene.cluster.machines[&members[0]].disk.shards().len();
    assert!(lost >= 2 * stripes.len(), "the pair held {lost} shards");
    members.into_iter().for_each(|node| scene.cluster.lose(node));
    let total = u8::try_from(data + parity).unwrap();
    let keys: Vec<_> = stripes
        .iter()
        .flat_map(|stripe| (0..total).map(|at| ShardKey { stripe: *stripe, index: ShardIndex(at) }))
        .collect();
    let are_whole = |cluster: &Cluster| keys.iter().all(|key| is_whole(cluster, key));
    scene.until("what was lost is rebuilt", are_whole).await.unwrap();
    Rebuilt { scene, actor, stripes, lost }
}

fn shards_rebuilt(cluster: &Cluster) -> usize {
    let rebuilt = cluster.running().map(|(_, _, life)| life.engine.repairs().shards_rebuilt);
    usize::try_from(rebuilt.sum::<u64>()).unwrap()
}

/// Copies of shards of `stripes` on the disks of those who live.
fn copies(cluster: &Cluster, stripes: &[StripeId]) -> usize {
    let held = cluster.running().flat_map(|(_, machine, _)| machine.disk.shards());
    held.filter(|(key, ..)| stripes.contains(&key.stripe)).count()
}

#[tokio::test(start_paused = true)]
async fn what_several_watch_is_rebuilt_by_one_of_them() {
    let lost = one_of_five_pairs_is_lost(Pace::Fast.timings(), (6, 4)).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(shards_rebuilt(&lost.scene.cluster), lost.lost);
    assert_eq!(copies(&lost.scene.cluster, &lost.stripes), lost.stripes.len() * 20);
}

#[tokio::test(start_paused = true)]
async fn of_two_pairs_that_rebuilt_the_same_shard_one_gives_it_up() {
    // Nobody waits for anybody, and four pairs have 32 places for the 28 shards of a stripe.
    let timings = Timings { repair_turn: Duration::ZERO, ..Pace::Fast.timings() };
    let Rebuilt { mut scene, actor, stripes, lost } =
        one_of_five_pairs_is_lost(timings, (20, 8)).await;
    let rebuilt = shards_rebuilt(&scene.cluster);
    assert!(rebuilt > lost, "{rebuilt} rebuilt of {lost} lost: nothing was rebuilt twice");
    let wanted = stripes.len() * 28 * 2;
    let are_single = |cluster: &Cluster| copies(cluster, &stripes) == wanted;
    scene.until("every shard is at one pair", are_single).await.unwrap();
    for number in 0..8 {
        assert_eq!(actor.get(&format!("{number}")).await.unwrap(), content(number).bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_partition_never_makes_a_minority_a_majority() {
    let mut scene = Scene::with(10).await.unwrap();
    let smaller: Vec<_> = scene.pairs[..2].iter().flat_map(|pair| pair.members).collect();
    let others: Vec<_> = scene.pairs[2..].iter().flat_map(|pair| pair.members).collect();
    // One after the other goes out of sight, each long enough to be replaced for good.
    for away in others {
        for node in &smaller {
            scene.cluster.network.cut(*node, away);
            scene.cluster.network.cut(away, *node);
        }
        sleep(Duration::from_secs(45)).await;
    }
    for node in &smaller {
        let life = scene.cluster.life(*node).unwrap();
        assert!(!life.engine.reach().may_heal(), "{}", life.engine.reach());
        assert!(life.engine.reach().nodes.all >= 8, "{}", life.engine.reach());
        assert!(life.engine.losses().is_empty(), "{node} gave pairs up that are well");
    }
    scene.cluster.network.heal_all();
    let pairs = scene.pairs.clone();
    let all_agree = |cluster: &Cluster| {
        let mut views = cluster.on().into_iter().map(|node| {
            pairs.iter().map(|pair| known(cluster, node, pair.pair)).collect::<Vec<_>>()
        });
        let first = views.next();
        views.all(|view| Some(view) == first)
    };
    scene.until("all agree on every pair", all_agree).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_member_holds_whose_witnesses_are_gone_too_is_rebuilt_elsewhere() {
    let mut scene = Scene::with(16).await.unwrap();
    let actor = scene.owner().await.unwrap();
    actor.put("a", content(1), coded(2, 2)).await.unwrap();
    let stripe = actor.stripes("a").await.unwrap()[0];
    let of = |cluster: &Cluster| holders(cluster, stripe).into_iter().collect::<BTreeSet<_>>();
    let before = of(&scene.cluster);
    let pair = scene.pair_of(*before.first().unwrap()).unwrap().clone();
    let [away, stays] = pair.members;
    let witnesses = pair.witnesses.clone();
    let all_hold_it_lost = |cluster: &Cluster| {
        cluster.running().all(|(_, _, life)| life.engine.losses().contains_key(&pair.pair))
    };
    // At once: of three, two would agree to another one.
    scene.cluster.lose(away);
    scene.cluster.lose(witnesses[0]);
    scene.cluster.lose(witnesses[1]);
    scene.until("all have given the pair up", all_hold_it_lost).await.unwrap();
    let is_rebuilt = |cluster: &Cluster| {
        let now = of(cluster);
        let is_new = |known: &&PairRecord| {
            known.members.iter().all(|node| now.contains(node) && !before.contains(node))
        };
        now.contains(&stays) && cluster.known_pairs().values().any(|known| is_new(&known))
    };
    scene.until("another pair has what it held", is_rebuilt).await.unwrap();
    assert_eq!(actor.get("a").await.unwrap(), content(1).bytes());
}

#[tokio::test(start_paused = true)]
async fn a_manifest_outlives_all_of_its_pairs_one_after_the_other() {
    let mut scene = Scene::with(14).await.unwrap();
    let actor = scene.owner().await.unwrap();
    let put = actor.put("a", content(1), coded(2, 2)).await.unwrap();
    let pairs = put.ticket.hints.clone();
    assert_eq!(pairs.len(), 3);
    for (round, pair) in (1..).zip(pairs) {
        let members = scene.pairs.iter().find(|known| known.pair == pair).unwrap().members;
        members.into_iter().for_each(|node| scene.cluster.lose(node));
        let is_given_up = |cluster: &Cluster| {
            cluster.running().all(|(_, _, life)| life.engine.losses().contains_key(&pair))
        };
        scene.until("all have given the pair up", is_given_up).await.unwrap();
        let mut told = None;
        for _ in 0..240 {
            sleep(Duration::from_millis(500)).await;
            let status = actor.client.stat(FileRef::Name("a".to_owned()), true).await;
            let is_safe =
                status.as_ref().is_ok_and(|status| status.survives.is_some_and(|it| it >= 1));
            told = Some(status).filter(|_| !is_safe);
            if is_safe {
                break;
            }
        }
        assert!(told.is_none(), "{told:?} after {round} pairs are gone");
        assert_eq!(actor.get("a").await.unwrap(), content(1).bytes());
    }
}
