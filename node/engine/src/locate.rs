//! Who holds this? One broadcast finds a pair, answered directly; the distributed hash
//! table is asked only when nobody answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::body::Body;
use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::message::{Gossip, Located, Reason, Refusal, Request, Response, Rung};
use defs_core::port::{Clock, Disk, Peers, Publish, Randomness};
use tokio::sync::{Notify, mpsc};

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, refuse};

/// Broadcasts that this node may have under way: each costs every node a look.
const LOOKUPS_MAX: usize = 256;

/// Pairs that an answer names at most.
const PAIRS_MAX: usize = 16;

/// How long a broadcast listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until somebody answers.
    FirstAnswer,
    /// Until the time is over.
    AllAnswers,
}

/// A broadcast question of another node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) locator: Locator,
    pub(crate) asker: NodeId,
    pub(crate) number: u64,
}

/// Broadcasts under way. Those who ask for the same thing share one.
#[derive(Debug, Default)]
pub(crate) struct Lookups(Mutex<BTreeMap<Locator, Arc<Lookup>>>);

#[derive(Debug)]
struct Lookup {
    number: u64,
    found: Mutex<Vec<PairId>>,
    answered: Notify,
}

impl Lookups {
    /// Takes in an answer. One that nobody asked for is dropped.
    pub(crate) fn answered(&self, locator: &Locator, number: u64, pair: PairId) {
        let lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lookup) = lookups.get(locator).filter(|lookup| lookup.number == number) else {
            return;
        };
        let mut found = lookup.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() < PAIRS_MAX && !found.contains(&pair) {
            found.push(pair);
        }
        lookup.answered.notify_waiters();
    }

    /// Joins the look-up of `locator`, or begins one. `true`: the caller began it and
    /// must end it.
    fn join(&self, locator: Locator, number: u64) -> Option<(Arc<Lookup>, bool)> {
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(&locator) {
            return Some((Arc::clone(lookup), false));
        }
        if lookups.len() >= LOOKUPS_MAX {
            return None;
        }
        let lookup = Arc::new(Lookup { number, found: Mutex::default(), answered: Notify::new() });
        lookups.insert(locator, Arc::clone(&lookup));
        Some((lookup, true))
    }

    fn end(&self, locator: &Locator) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(locator);
    }
}

/// Ends a look-up however its asker leaves.
struct Ending<'a>(&'a Lookups, Locator);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end(&self.1);
    }
}

impl<W: World> Engine<W> {
    pub(crate) async fn locate(&self, locator: Locator) -> Result<Response, Refusal> {
        if let Some(pair) = self.disk.holds(locator).await.map_err(disk_refusal)? {
            return Ok(located(vec![pair], Rung::Local, 0, 0));
        }
        let found = self.broadcast(locator, Patience::FirstAnswer).await?;
        if !found.is_empty() {
            // The question, and the answers.
            let messages = u32::try_from(found.len()).unwrap_or(u32::MAX).saturating_add(1);
            return Ok(located(found, Rung::Broadcast, messages, 1));
        }
        let mut known = self.peers.look_up(locator).await;
        known.truncate(PAIRS_MAX);
        let rung = if known.is_empty() { Rung::Nowhere } else { Rung::Kademlia };
        Ok(located(known, rung, 2, 2))
    }

    /// Asks all nodes who holds `locator`.
    pub(crate) async fn broadcast(
        &self,
        locator: Locator,
        patience: Patience,
    ) -> Result<Vec<PairId>, Refusal> {
        let number = u64::from_le_bytes(self.random.array());
        let (lookup, began) = self
            .lookups
            .join(locator, number)
            .ok_or_else(|| refuse(Reason::Busy, "too many look-ups are under way"))?;
        let _ending = began.then(|| Ending(&self.lookups, locator));
        let first = lookup.answered.notified();
        if began {
            self.peers.publish(Gossip::Query { locator, asker: self.me, query: number });
        }
        let time = self.clock.sleep(self.config.timings.broadcast);
        match patience {
            Patience::AllAnswers => time.await,
            Patience::FirstAnswer => {
                tokio::select! {
                    biased;
                    () = first => {}
                    () = time => {}
                }
            }
        }
        let found = lookup.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(found)
    }

    /// Answers other nodes' broadcasts, one at a time: a node's disk is not to be kept
    /// busy by questions.
    pub(crate) async fn answer_queries(&self, mut queries: mpsc::Receiver<Query>) {
        while let Some(query) = queries.recv().await {
            let Ok(Some(pair)) = self.disk.holds(query.locator).await else { continue };
            let found = Request::Found { locator: query.locator, query: query.number, pair };
            if let Err(error) = self.peers.call(query.asker, found, Body::empty()).await {
                tracing::debug!(asker = %query.asker, %error, "an answer did not arrive");
            }
        }
    }
}

fn located(pairs: Vec<PairId>, rung: Rung, messages: u32, round_trips: u32) -> Response {
    Response::Located(Located { pairs, rung, messages, round_trips })
}
