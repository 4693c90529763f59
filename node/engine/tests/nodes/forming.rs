//! How nodes find partners.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use defs_core::format::Format as _;
use defs_core::network::{SignedCard, SignedPairRecord};
use defs_core::port::{Change, Clock as _, Disk as _, StateKey};
use defs_engine::Timings;
use defs_identity::SecretKey;
use defs_port_suite::MemoryDisk;

use crate::network::{CAPACITY, Net};

#[tokio::test(start_paused = true)]
async fn ten_free_nodes_become_five_pairs_that_everybody_knows() {
    let net = Net::with(10).await;
    // At once, not one after the other: that one found a partner disturbs no other.
    let timings = Timings::default();
    assert!(net.clock.elapsed() < timings.settle + timings.form * 3, "{:?}", net.clock.elapsed());
    let pairs = net.pairs();
    let members: BTreeSet<_> = pairs.iter().flat_map(|pair| pair.members).collect();
    assert_eq!(members.len(), 10);
    for pair in &pairs {
        assert_eq!(pair.epoch.0, 1);
        assert_eq!(pair.witnesses.len(), 3);
    }
    for node in net.nodes.values() {
        let table = node.engine.table();
        let (own, me) = (node.engine.own_view().unwrap(), node.engine.me());
        assert!(own.record.record.role_of(&me).is_some() && table.pairs.contains(&own));
        let mut seen: Vec<_> = table.pairs.into_iter().map(|pair| pair.record.record).collect();
        seen.sort_by_key(|pair| pair.pair);
        assert_eq!(seen, pairs);
    }
}

#[tokio::test(start_paused = true)]
async fn an_odd_node_waits_as_a_spare_and_two_later_ones_pair_with_what_is_free() {
    let mut net = Net::with(3).await;
    assert_eq!(net.pairs().len(), 1);
    for seed in [4, 5, 6] {
        let disk = Arc::new(MemoryDisk::new(1 << 20, net.network));
        net.start(seed, disk).await;
    }
    net.until("three pairs", |net| net.pairs().len() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn pairs_survive_a_restart_of_everybody() {
    let mut net = Net::with(4).await;
    let before = net.pairs();
    let nodes: Vec<_> = net.nodes.keys().copied().collect();
    let disks: Vec<_> = (1..=4_u8)
        .map(|seed| SecretKey::from_seed(&[seed; 32]).public().node_id())
        .map(|node| net.kill(&node))
        .collect();
    assert_eq!(nodes.len(), disks.len());
    for (seed, disk) in (1..=4).zip(disks) {
        net.start(seed, disk).await;
    }
    net.until("both pairs are whole again", |net| {
        let engine = &net.nodes.values().next().unwrap().engine;
        let table = engine.table();
        table.pairs.len() == 2 && table.pairs.iter().all(|pair| pair.alive == [true; 2])
    })
    .await;
    assert_eq!(net.pairs(), before);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_died_before_it_knew_of_its_pair_finds_it_again() {
    let mut net = Net::with(2).await;
    let before = net.pairs();
    let [primary, mirror] = before[0].members;
    let (first, disk) = (net.kill(&primary), net.kill(&mirror));
    // As it was when the mirror had signed and not heard from the primary again.
    let key = StateKey([b"pair/".as_slice(), &before[0].pair.0].concat());
    let signed = disk.get(key.clone()).await.unwrap().unwrap();
    assert_eq!(SignedPairRecord::decode(&signed).unwrap().record, before[0]);
    let promise = Change::Put(StateKey(b"promise".to_vec()), signed);
    disk.apply(vec![Change::Remove(key), promise]).await.unwrap();
    let seed = |node| {
        let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public().node_id();
        (1..=2).find(|seed| key(*seed) == node).unwrap()
    };
    net.start(seed(mirror), disk).await;
    // Alone it sees another plan than the one that it signed.
    net.pass(Duration::from_secs(30)).await;
    net.start(seed(primary), first).await;
    net.until("both are in their pair", |net| {
        net.nodes.values().all(|node| {
            let table = node.engine.table();
            table.pairs.iter().any(|pair| pair.alive == [true; 2])
        })
    })
    .await;
    assert_eq!(net.pairs(), before);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_learns_of_the_pairs_that_formed_meanwhile() {
    let mut net = Net::with(4).await;
    let before = net.pairs();
    // As if it had died before it had written what it knew of the others.
    let node = before[0].members[0];
    let seed = (1..=4).find(|seed| SecretKey::from_seed(&[*seed; 32]).public().node_id() == node);
    let disk = net.kill(&node);
    let key = StateKey([b"pair/".as_slice(), &before[1].pair.0].concat());
    disk.apply(vec![Change::Remove(key)]).await.unwrap();
    // Its partner has heard of that pair already, and passes nothing on of it.
    before[1].members.iter().for_each(|other| net.net.cut(node, *other));
    net.start(seed.unwrap(), disk).await;
    net.until("it knows both pairs", |net| net.nodes[&node].engine.table().pairs.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_pair_lies_on_the_disk_together_with_the_partners_card() {
    // Pairs form before anything that was heard is written down by itself.
    let soon = Duration::from_millis(100);
    let timings = Timings { settle: soon, form: soon, ..Timings::default() };
    let mut net = Net::empty(timings);
    for seed in [1, 2] {
        net.start(seed, Arc::new(MemoryDisk::new(CAPACITY, net.network))).await;
    }
    for (seed, partner) in [(1_u8, 2_u8), (2, 1)] {
        let [node, partner] = [seed, partner].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let disk = Arc::clone(&net.nodes[&node.public().node_id()].disk);
        let stored = |prefix: &[u8]| disk.scan(StateKey(prefix.to_vec()), 10);
        while stored(b"pair/").await.unwrap().is_empty() {
            net.pass(Duration::from_millis(1)).await;
        }
        let cards = stored(b"card/").await.unwrap();
        let keys: Vec<_> =
            cards.iter().map(|(_, card)| SignedCard::decode(card).unwrap().card.key).collect();
        assert!(keys.contains(&partner.public().to_bytes()), "{keys:?}");
    }
}
