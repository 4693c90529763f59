//! What a witness agrees to, one after the other: never to two records of an epoch that could both
//! come.

use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Refusal, Request, Response};
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::port::Peers as _;
use defs_core::wish::{Forming, Want};
use defs_engine::Timings;

use crate::network::Net;

/// A pair with three witnesses, and four nodes besides. Its members are dead: what they say is
/// said by the test.
struct Scene {
    net: Net,
    pair: PairRecord,
    free: Vec<NodeId>,
}

impl Scene {
    async fn new() -> Self {
        let mut net = Net::assigned(9, Timings::default()).await;
        let nodes: Vec<_> = net.nodes.keys().copied().collect();
        let (pair, mirror) = (PairId([7; 16]), nodes[1]);
        net.wish(&nodes[0], nodes[0], Want::Form(Forming { pair, mirror }));
        net.until("all know the pair", |net| {
            net.nodes.values().all(|node| node.engine.table().pairs.len() == 1)
        })
        .await;
        let pair = net.pairs().remove(0);
        assert_eq!(pair.witnesses.len(), 3);
        let is_free =
            |node: &NodeId| pair.role_of(node).is_none() && !pair.witnesses.contains(node);
        let free = nodes.into_iter().filter(is_free).collect();
        for member in &pair.members {
            net.kill(member);
        }
        Self { net, pair, free }
    }

    /// The pair's second epoch with `joins` beside `stays`.
    fn with(&self, stays: NodeId, joins: NodeId) -> PairRecord {
        PairRecord {
            epoch: Epoch(2),
            members: [stays, joins],
            previous: Some(self.pair.digest()),
            ..self.pair.clone()
        }
    }

    /// What the first witness answers to the member `stays` that proposes it.
    async fn propose(&self, stays: NodeId, joins: NodeId) -> Result<(), Refusal> {
        let record = self.with(stays, joins);
        let request = Request::Propose(Box::new(SignedPairRecord { record, signatures: vec![] }));
        let peers = self.net.net.peers(stays);
        match peers.call(self.pair.witnesses[0], request, Body::empty()).await {
            Ok(reply) => assert!(matches!(reply.response, Response::Pair(_)), "{reply:?}"),
            Err(error) => return Err(error.refusal().expect("the witness lives").clone()),
        }
        Ok(())
    }

    /// Proposes it for as long as anybody waits for anybody, and often enough.
    async fn insist(&self, stays: NodeId, joins: NodeId) -> Result<(), Refusal> {
        for _ in 0..240 {
            if self.propose(stays, joins).await.is_ok() {
                return Ok(());
            }
            self.net.pass(Duration::from_secs(5)).await;
        }
        self.propose(stays, joins).await
    }
}

/// The witness has signed another record of that epoch.
fn assert_bound(answer: Result<(), Refusal>) {
    let detail = answer.unwrap_err().detail;
    assert!(detail.starts_with("this node has signed another epoch 2"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_witness_agrees_to_another_newcomer_only_when_the_first_is_gone() {
    let mut scene = Scene::new().await;
    let [stays, _] = scene.pair.members;
    let [first, second] = [scene.free[0], scene.free[1]];
    assert_eq!(scene.insist(stays, first).await, Ok(()));
    assert_bound(scene.insist(stays, second).await);
    let disk = scene.net.kill(&first);
    assert_bound(scene.propose(stays, second).await);
    assert_eq!(scene.insist(stays, second).await, Ok(()));
    scene.net.start_again(first, disk).await;
    assert_bound(scene.insist(stays, first).await);
}

#[tokio::test(start_paused = true)]
async fn a_witness_that_has_agreed_with_one_member_never_agrees_with_the_other() {
    let mut scene = Scene::new().await;
    let [stays, leaves] = scene.pair.members;
    let [first, second] = [scene.free[0], scene.free[1]];
    assert_eq!(scene.insist(stays, first).await, Ok(()));
    scene.net.kill(&first);
    // Whoever stayed may have closed the epoch with the first newcomer: nobody here can know.
    assert_bound(scene.insist(leaves, second).await);
}
