//! Nodes that nobody can dial.

use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::Reach;
use defs_engine::{Contact, Timings};
use defs_port_suite::MemoryDisk;

use crate::network::{CAPACITY, Net};

async fn start(net: &mut Net, seed: u8, reach: Reach) -> NodeId {
    let node = net.start(seed, Arc::new(MemoryDisk::new(CAPACITY, net.network))).await;
    net.nodes[&node].engine.set_contact(Contact { reach, ..Contact::default() });
    node
}

fn members(net: &Net) -> Vec<[NodeId; 2]> {
    net.pairs().into_iter().map(|pair| pair.members).collect()
}

#[tokio::test(start_paused = true)]
async fn hidden_nodes_wait_for_one_that_can_be_dialled_and_none_takes_its_place() {
    let mut net = Net::empty(Timings::default());
    for seed in 1..=3 {
        start(&mut net, seed, Reach::Hidden).await;
    }
    net.pass(Duration::from_secs(30)).await;
    assert_eq!(members(&net), [[NodeId([0; 32]); 2]; 0]);
    let open = start(&mut net, 4, Reach::Open).await;
    net.until("one of them is in a pair", |net| members(net).len() == 1).await;
    let [pair] = members(&net).try_into().unwrap();
    assert!(pair.contains(&open));
    // Two hidden ones are free, and neither comes in.
    net.kill(&open);
    net.pass(Timings::default().watch.replace_after() * 2).await;
    assert_eq!(members(&net), [pair]);
    let other = start(&mut net, 5, Reach::Open).await;
    net.until("another that can be dialled is in its place", |net| {
        members(net).iter().any(|now| now.contains(&other) && !now.contains(&open))
    })
    .await;
    let stays = pair.into_iter().find(|node| *node != open).unwrap();
    assert!(members(&net).iter().any(|now| now.contains(&other) && now.contains(&stays)));
}
