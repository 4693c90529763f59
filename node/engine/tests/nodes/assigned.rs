//! Nodes whose pairs somebody else decides on, by the network's invite key: they form none and
//! replace nobody without its word, and with it only who is gone.

use std::time::Duration;

use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::network::{Activity, PairRecord};
use defs_core::settings::Pairing;
use defs_core::wish::{Forming, Place, Want};
use defs_engine::Timings;

use crate::network::Net;

const PAIR: PairId = PairId([7; 16]);

/// Longer than a lost member is waited for.
const LONG: Duration = Duration::from_mins(15);

fn form(net: &Net, pair: PairId, primary: NodeId, mirror: NodeId) {
    net.wish(&primary, primary, Want::Form(Forming { pair, mirror }));
}

async fn all_know(net: &Net, pair: PairId, epoch: Epoch) -> PairRecord {
    let knows = |node: &crate::network::Node| {
        let pairs = node.engine.table().pairs;
        pairs.into_iter().map(|known| known.record.record).find(|known| known.pair == pair)
    };
    net.until("all know the pair", |net| {
        net.nodes.values().all(|node| knows(node).is_some_and(|known| known.epoch == epoch))
    })
    .await;
    net.pairs().into_iter().find(|known| known.pair == pair).unwrap()
}

/// Three pairs, each with its number for an id, and a seventh node.
async fn three_pairs() -> (Net, Vec<PairRecord>, NodeId) {
    let net = Net::assigned(7, Timings::default()).await;
    let nodes: Vec<_> = net.nodes.keys().copied().collect();
    for number in 0..3 {
        form(
            &net,
            PairId([number; 16]),
            nodes[usize::from(number) * 2],
            nodes[usize::from(number) * 2 + 1],
        );
    }
    let mut pairs = Vec::new();
    for number in 0..3 {
        pairs.push(all_know(&net, PairId([number; 16]), Epoch(1)).await);
    }
    (net, pairs, nodes[6])
}

fn replace(net: &Net, at: NodeId, pair: &PairRecord, gone: NodeId, to: NodeId) {
    net.wish(&at, gone, Want::Replace(Place { pair: pair.pair, epoch: pair.epoch, to }));
}

#[tokio::test(start_paused = true)]
async fn told_nodes_form_the_pair_that_they_are_told_and_no_other() {
    let net = Net::assigned(4, Timings::default()).await;
    net.pass(LONG).await;
    assert_eq!(net.pairs(), []);
    let nodes: Vec<_> = net.nodes.keys().copied().collect();
    // The higher id is the primary: no plan of the nodes' own would say so.
    form(&net, PAIR, nodes[2], nodes[0]);
    let formed = all_know(&net, PAIR, Epoch(1)).await;
    assert_eq!(formed.members, [nodes[2], nodes[0]]);
    let mut witnesses = formed.witnesses;
    witnesses.sort_unstable();
    assert_eq!(witnesses, [nodes[1], nodes[3]]);
    // An id is given once: told again, nobody founds the pair anew.
    form(&net, PAIR, nodes[1], nodes[3]);
    net.pass(LONG).await;
    assert_eq!(net.pairs().len(), 1);
    form(&net, PairId([8; 16]), nodes[1], nodes[3]);
    assert_eq!(all_know(&net, PairId([8; 16]), Epoch(1)).await.members, [nodes[1], nodes[3]]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_member_waits_for_a_word_and_is_replaced_when_it_comes() {
    let (mut net, pairs, spare) = three_pairs().await;
    let pair = &pairs[0];
    net.kill(&pair.mirror());
    net.pass(LONG).await;
    // Witnesses are for the members to choose, also meanwhile.
    let members = |pairs: &[PairRecord]| pairs.iter().map(|pair| pair.members).collect::<Vec<_>>();
    assert_eq!(members(&net.pairs()), members(&pairs), "nobody said who takes its place");
    replace(&net, pairs[1].primary(), pair, pair.mirror(), spare);
    let now = all_know(&net, pair.pair, Epoch(2)).await;
    assert_eq!(now.members, [pair.primary(), spare]);
}

#[tokio::test(start_paused = true)]
async fn a_word_against_a_living_member_waits_until_it_is_gone() {
    let (mut net, pairs, spare) = three_pairs().await;
    let pair = &pairs[0];
    replace(&net, pair.primary(), pair, pair.mirror(), spare);
    net.pass(LONG).await;
    assert_eq!(net.pairs(), pairs, "it serves: a wrong word takes no copy away");
    net.kill(&pair.mirror());
    let began = tokio::time::Instant::now();
    let now = all_know(&net, pair.pair, Epoch(2)).await;
    assert_eq!(now.members, [pair.primary(), spare]);
    let took = began.elapsed();
    assert!(took < Duration::from_mins(3), "nobody waits for who is not to come back: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_pair_whose_member_asks_without_a_word() {
    let (mut net, pairs, _) = three_pairs().await;
    let pair = &pairs[0];
    // This one would choose a substitute by itself.
    net.pairing = Pairing::Own;
    let disk = net.kill(&pair.primary());
    net.start_again(pair.primary(), disk).await;
    net.kill(&pair.mirror());
    net.pass(LONG).await;
    let known = net.pairs().into_iter().find(|known| known.pair == pair.pair).unwrap();
    assert_eq!(known, *pair);
}

#[tokio::test(start_paused = true)]
async fn who_is_about_to_stop_has_told_everybody_when_it_does() {
    let (net, pairs, _) = three_pairs().await;
    let leaving = |node: &crate::network::Node| {
        let cards = node.engine.table().cards;
        cards.iter().filter(|it| it.card.activity == Activity::Draining).count()
    };
    assert!(net.nodes.values().all(|node| leaving(node) == 0));
    net.nodes[&pairs[0].primary()].engine.step_back().await;
    let counts: Vec<_> = net.nodes.values().map(leaving).collect();
    assert_eq!(counts, vec![1; net.nodes.len()]);
}
