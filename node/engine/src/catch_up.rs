//! What somebody else knows of the network, taken over now and then: gossip is heard by
//! those only who listen when it is told, and a node that was away was not.

use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::{Request, Response, Table};
use defs_core::port::{CallError, Clock, Peers, Randomness};

use crate::config::World;
use crate::engine::Engine;
use crate::membership::check_card;

/// How often another node's table is asked for.
const EVERY: Duration = Duration::from_secs(30);

/// How soon it is asked for again while nobody has told one.
const EAGER: Duration = Duration::from_millis(500);

/// Parts of a table that are asked for: some 30,000 nodes.
const PARTS_MAX: usize = 64;

impl<W: World> Engine<W> {
    /// Asks somebody at random for their table, again and again.
    pub(crate) async fn catch_up(&self) {
        loop {
            let pause = if self.ask_somebody().await { EVERY } else { EAGER };
            self.clock.sleep(pause).await;
        }
    }

    /// Whether somebody told all they know.
    async fn ask_somebody(&self) -> bool {
        let patience = self.config.timings.card_stale;
        let alive = self.membership.alive(self.clock.elapsed(), patience);
        let others: Vec<_> = alive.into_iter().filter(|node| *node != self.me).collect();
        let draw = u64::from_le_bytes(self.random.array());
        let place = draw.checked_rem(others.len() as u64).and_then(|at| usize::try_from(at).ok());
        let Some(node) = place.and_then(|place| others.get(place)) else { return false };
        match self.take_table(*node).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%node, %error, "no table");
                false
            }
        }
    }

    async fn take_table(&self, node: NodeId) -> Result<(), CallError> {
        let mut from = Some(0);
        for _ in 0..PARTS_MAX {
            let Some(place) = from else { break };
            let reply =
                self.peers.call(node, Request::Table { from: place }, Body::empty()).await?;
            let Response::Table(part) = reply.response else { break };
            from = part.next;
            self.learn(*part);
        }
        Ok(())
    }

    /// Takes over what is signed as it must be. A card says nothing of whether its node
    /// lives: it is not heard from the node itself.
    fn learn(&self, part: Table) {
        for card in part.cards {
            let checked = check_card(&self.config.genesis, &self.network, &card, &self.checker);
            let Ok(node) = checked else { continue };
            if node != self.me {
                let addresses = card.card.addresses.clone();
                self.membership.learn_card(node, card, None);
                self.peers.learn(node, &addresses);
            }
        }
        for pair in part.pairs {
            self.hear_pair(pair.record);
        }
    }
}
