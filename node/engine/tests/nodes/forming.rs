//! How nodes find partners.

use std::collections::BTreeSet;

use crate::network::Net;

#[tokio::test(start_paused = true)]
async fn ten_free_nodes_become_five_pairs_that_everybody_knows() {
    let net = Net::with(10).await;
    let pairs = net.pairs();
    let members: BTreeSet<_> = pairs.iter().flat_map(|pair| pair.members).collect();
    assert_eq!(members.len(), 10);
    for pair in &pairs {
        assert_eq!(pair.epoch.0, 1);
        assert_eq!(pair.witnesses.len(), 3);
    }
    for node in net.nodes.values() {
        let table = node.engine.table();
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
        let disk = std::sync::Arc::new(defs_port_suite::MemoryDisk::new(1 << 20, net.network));
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
        .map(|seed| defs_identity::SecretKey::from_seed(&[seed; 32]).public().node_id())
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
