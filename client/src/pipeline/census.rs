//! Who holds what now, without moving a byte: each member of each pair is asked by itself.

use std::collections::BTreeMap;

use defs_core::ids::{NodeId, ShardIndex};
use defs_core::manifest::SliceEntry;
use defs_core::message::{BATCH_ITEMS_MAX, Request, Response, ShardKey};
use futures::StreamExt as _;

use crate::keys::FileLock;
use crate::nodes::Nodes;
use crate::ports::World;

/// Nodes that are asked at once.
const NODES_AT_ONCE: usize = 16;

/// What each member of a shard's pair says: held, not held, or nothing.
pub(crate) type HeldByMembers = [Option<bool>; 2];

impl<W: World> Nodes<W> {
    /// For each slice, for each of its shards, what the members of its pair say.
    pub(crate) async fn held_shards(
        &self,
        lock: &FileLock,
        slices: &[SliceEntry],
    ) -> Vec<Vec<HeldByMembers>> {
        let mut held: Vec<Vec<HeldByMembers>> =
            slices.iter().map(|slice| vec![[None; 2]; slice.pairs.len()]).collect();
        let mut questions: BTreeMap<NodeId, Vec<Question>> = BTreeMap::new();
        for (place, slice) in slices.iter().enumerate() {
            for (index, pair) in (0_u8..).zip(&slice.pairs) {
                let Ok(record) = self.pair(*pair).await else { continue };
                let key = ShardKey { stripe: slice.stripe, index: ShardIndex(index) };
                for (member, node) in record.members.into_iter().enumerate() {
                    questions.entry(node).or_default().push(Question { key, place, member });
                }
            }
        }
        let mut asks = Vec::new();
        for (node, questions) in &questions {
            let node = *node;
            for part in questions.chunks(BATCH_ITEMS_MAX) {
                let keys = part.iter().map(|question| question.key).collect();
                asks.push(async move { (part, self.holds(node, lock, keys).await) });
            }
        }
        let mut answers = futures::stream::iter(asks).buffer_unordered(NODES_AT_ONCE);
        while let Some((part, answer)) = answers.next().await {
            for (question, is_held) in part.iter().zip(answer.unwrap_or_default()) {
                held[question.place][usize::from(question.key.index.0)][question.member] =
                    Some(is_held);
            }
        }
        held
    }

    /// Which of `shards` a node says that it holds: a renewal by no time at all asks and
    /// changes nothing.
    pub(super) async fn holds(
        &self,
        node: NodeId,
        lock: &FileLock,
        shards: Vec<ShardKey>,
    ) -> Option<Vec<bool>> {
        let asked = shards.len();
        let request = Request::Renew { shards, lease_ms: 0, both: false };
        let answer = self.links.call_as_owner(node, lock, request).await;
        match answer.map(|reply| reply.response) {
            Ok(Response::Held(held)) if held.len() == asked => Some(held),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Whether member `member` of a pair holds shard `key` of the slice at `place`.
#[derive(Debug, Clone, Copy)]
struct Question {
    key: ShardKey,
    place: usize,
    member: usize,
}
