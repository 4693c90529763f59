//! Who holds this? One broadcast finds a pair, answered directly; the distributed hash
//! table is asked only when nobody answered. In a large network it is the other way round: a
//! broadcast costs five messages for each node there is, the table some twenty in all.
//!
//! The first answer ends a broadcast, and it may be a lie: a node can claim to hold what
//! it doesn't, though only in the name of its own pair. Whoever asks again soon has found
//! the answer to be none, so the next broadcast listens for as long as it may, the hash
//! table is asked too, and everybody's answers are handed on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Who asks for the same within this time was not served by what it got.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);

/// In a network of more nodes the hash table is asked before all nodes are: there a
/// broadcast costs the network fifty times as many messages, and saves half a second.
const BROADCAST_FIRST_MAX: usize = 256;

/// Broadcast questions of one asker that are answered and passed on at once, and how long
/// it is until it may have one more. Its own node asks no more than that either.
const QUESTIONS_MAX: u32 = 256;
const QUESTION_EVERY: Duration = Duration::from_millis(5);

/// Askers whose questions are counted.
const ASKERS_MAX: usize = 16_384;

/// Answered locators that are remembered for that.
const ANSWERED_MAX: usize = 4096;

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

/// How many questions each node has broadcast lately: a gossiped question names its asker and
/// is not signed, so this is also what a node named by others may be answered.
#[derive(Debug, Default)]
pub(crate) struct Askers(Mutex<BTreeMap<NodeId, Duration>>);

impl Askers {
    /// Whether a question of `asker` is heard now. What is kept is the time at which it may
    /// have all its questions again.
    pub(crate) fn may_ask(&self, asker: NodeId, now: Duration) -> bool {
        let mut askers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if askers.len() >= ASKERS_MAX && !askers.contains_key(&asker) {
            askers.retain(|_, full_at| *full_at > now);
            if askers.len() >= ASKERS_MAX {
                return false;
            }
        }
        let full_at = askers.entry(asker).or_default();
        let next = now.max(*full_at).saturating_add(QUESTION_EVERY);
        let is_heard = next.saturating_sub(now) <= QUESTION_EVERY.saturating_mul(QUESTIONS_MAX);
        if is_heard {
            *full_at = next;
        }
        is_heard
    }
}

/// Broadcasts under way, and those that were answered lately.
#[derive(Debug, Default)]
pub(crate) struct Lookups(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: BTreeMap<Locator, Shared>,
    /// When each was answered.
    answered: BTreeMap<Locator, Duration>,
}

/// Those who ask for the same thing share one broadcast, which lasts as long as one of
/// them listens.
#[derive(Debug)]
struct Shared {
    lookup: Arc<Lookup>,
    listeners: usize,
}

#[derive(Debug)]
struct Lookup {
    number: u64,
    found: Mutex<Vec<PairId>>,
    answered: Notify,
}

impl Lookups {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an answer. One that nobody asked for is dropped.
    fn hear(&self, locator: &Locator, number: u64, pair: PairId) {
        let state = self.lock();
        let shared = state.under_way.get(locator);
        let Some(Shared { lookup, .. }) = shared.filter(|one| one.lookup.number == number) else {
            return;
        };
        let mut found = lookup.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() < PAIRS_MAX && !found.contains(&pair) {
            found.push(pair);
        }
        lookup.answered.notify_waiters();
    }

    /// Joins the look-up of `locator`, or begins one (`true`). `None`: too many.
    fn join(&self, locator: Locator, number: u64) -> Option<(Listening<'_>, bool)> {
        let mut state = self.lock();
        if let Some(shared) = state.under_way.get_mut(&locator) {
            shared.listeners += 1;
            let lookup = Arc::clone(&shared.lookup);
            return Some((Listening { lookups: self, locator, lookup }, false));
        }
        if state.under_way.len() >= LOOKUPS_MAX {
            return None;
        }
        let lookup = Arc::new(Lookup { number, found: Mutex::default(), answered: Notify::new() });
        let shared = Shared { lookup: Arc::clone(&lookup), listeners: 1 };
        state.under_way.insert(locator, shared);
        Some((Listening { lookups: self, locator, lookup }, true))
    }

    /// How long to listen for answers on `locator`.
    fn patience(&self, locator: &Locator, now: Duration) -> Patience {
        let state = self.lock();
        match state.answered.get(locator) {
            Some(then) if now.saturating_sub(*then) < AGAIN_WITHIN => Patience::AllAnswers,
            Some(_) | None => Patience::FirstAnswer,
        }
    }

    fn remember(&self, locator: Locator, now: Duration) {
        let mut state = self.lock();
        if state.answered.len() >= ANSWERED_MAX {
            state.answered.retain(|_, then| now.saturating_sub(*then) < AGAIN_WITHIN);
        }
        if state.answered.len() < ANSWERED_MAX {
            state.answered.insert(locator, now);
        }
    }
}

/// One who listens; the look-up ends with the last, however it leaves.
#[derive(Debug)]
struct Listening<'a> {
    lookups: &'a Lookups,
    locator: Locator,
    lookup: Arc<Lookup>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut state = self.lookups.lock();
        if let Some(shared) = state.under_way.get_mut(&self.locator) {
            shared.listeners = shared.listeners.saturating_sub(1);
            if shared.listeners == 0 {
                state.under_way.remove(&self.locator);
            }
        }
    }
}

impl<W: World> Engine<W> {
    pub(crate) async fn locate(&self, locator: Locator) -> Result<Response, Refusal> {
        let located = self.climb(locator).await?;
        self.metrics.lookups.of(located.rung).one();
        self.metrics.lookup_messages.add(located.messages.into());
        self.metrics.lookup_round_trips.add(located.round_trips.into());
        Ok(Response::Located(located))
    }

    /// From rung to rung, the cheapest first.
    async fn climb(&self, locator: Locator) -> Result<Located, Refusal> {
        let held = self.disk.holds(locator).await.map_err(disk_refusal)?;
        let patience = self.lookups.patience(&locator, self.clock.elapsed());
        if let Some(pair) = held.filter(|_| patience == Patience::FirstAnswer) {
            self.lookups.remember(locator, self.clock.elapsed());
            return Ok(located(vec![pair], Rung::Local, 0, 0));
        }
        let hinted = self.hints.pairs(&locator);
        if !hinted.is_empty() && patience == Patience::FirstAnswer {
            // Who asks again was not served by them.
            self.lookups.remember(locator, self.clock.elapsed());
            let pairs = hinted.into_iter().take(PAIRS_MAX).collect();
            return Ok(located(pairs, Rung::Local, 0, 0));
        }
        let is_large = self.membership.size() > BROADCAST_FIRST_MAX;
        if is_large && patience == Patience::FirstAnswer {
            let found = self.peers.look_up(locator).await;
            if !found.is_empty() {
                self.lookups.remember(locator, self.clock.elapsed());
                return Ok(located(found, Rung::Kademlia, 1, 1));
            }
        }
        let mut found = self.broadcast(locator, patience).await?;
        // The question, and the answers.
        let messages = u32::try_from(found.len()).unwrap_or(u32::MAX).saturating_add(1);
        let was_answered = !found.is_empty();
        if was_answered {
            self.lookups.remember(locator, self.clock.elapsed());
            if patience == Patience::FirstAnswer {
                return Ok(located(found, Rung::Broadcast, messages, 1));
            }
        }
        for pair in self.peers.look_up(locator).await {
            if found.len() < PAIRS_MAX && !found.contains(&pair) {
                found.push(pair);
            }
        }
        let rung = match (was_answered, found.is_empty()) {
            (true, _) => Rung::Broadcast,
            (false, false) => Rung::Kademlia,
            (false, true) => Rung::Nowhere,
        };
        Ok(located(found, rung, messages.saturating_add(1), 2))
    }

    /// Asks all nodes who holds `locator`.
    pub(crate) async fn broadcast(
        &self,
        locator: Locator,
        patience: Patience,
    ) -> Result<Vec<PairId>, Refusal> {
        let number = u64::from_le_bytes(self.random.array());
        let (listening, began) = self
            .lookups
            .join(locator, number)
            .ok_or_else(|| refuse(Reason::Busy, "too many look-ups are under way"))?;
        let lookup = &listening.lookup;
        let first = lookup.answered.notified();
        if began {
            if !self.askers.may_ask(self.me, self.clock.elapsed()) {
                return Err(refuse(Reason::Busy, "this node has broadcast too many questions"));
            }
            self.peers.publish(Gossip::Query { locator, asker: self.me, query: number });
        }
        let found = || lookup.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let time = self.clock.sleep(self.config.timings.broadcast);
        match patience {
            Patience::AllAnswers => time.await,
            // Whom it joined may have heard one already.
            Patience::FirstAnswer if !found().is_empty() => {}
            Patience::FirstAnswer => {
                tokio::select! {
                    biased;
                    () = first => {}
                    () = time => {}
                }
            }
        }
        Ok(found())
    }

    /// An answer to a broadcast: from a member of the pair that it names, or it is none.
    pub(crate) fn take_found(
        &self,
        caller: &NodeId,
        locator: &Locator,
        number: u64,
        pair: PairId,
    ) -> Result<Response, Refusal> {
        let known = self.membership.pair(&pair);
        if known.is_none_or(|known| known.record.role_of(caller).is_none()) {
            return Err(refuse(Reason::NotAllowed, "a node answers for its own pair only"));
        }
        self.lookups.hear(locator, number, pair);
        Ok(Response::Done)
    }

    /// Answers other nodes' broadcasts, one at a time: a node's disk is not to be kept
    /// busy by questions.
    pub(crate) async fn answer_queries(&self, mut queries: mpsc::Receiver<Query>) {
        while let Some(query) = queries.recv().await {
            let Ok(Some(_)) = self.disk.holds(query.locator).await else { continue };
            let Some(pair) = self.membership.own_pair().map(|own| own.record.pair) else {
                continue;
            };
            let found = Request::Found { locator: query.locator, query: query.number, pair };
            if let Err(error) = self.peers.call(query.asker, found, Body::empty()).await {
                tracing::debug!(asker = %query.asker, %error, "an answer did not arrive");
            }
        }
    }
}

fn located(pairs: Vec<PairId>, rung: Rung, messages: u32, round_trips: u32) -> Located {
    Located { pairs, rung, messages, round_trips }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: NodeId = NodeId([1; 32]);

    #[test]
    fn an_asker_has_a_burst_of_questions_and_then_one_at_a_time() {
        let askers = Askers::default();
        let now = Duration::from_secs(1);
        assert!((0..QUESTIONS_MAX).all(|_| askers.may_ask(ASKER, now)));
        assert!(!askers.may_ask(ASKER, now));
        assert!(askers.may_ask(NodeId([2; 32]), now), "others are not held to it");
        let later = now + QUESTION_EVERY;
        assert!(askers.may_ask(ASKER, later));
        assert!(!askers.may_ask(ASKER, later));
    }

    #[test]
    fn askers_that_were_quiet_are_forgotten_and_a_crowd_is_not_heard() {
        let askers = Askers::default();
        let node = |number: u32| {
            let mut node = [0; 32];
            node[..4].copy_from_slice(&number.to_le_bytes());
            NodeId(node)
        };
        let all = u32::try_from(ASKERS_MAX).unwrap();
        assert!((0..all).all(|number| askers.may_ask(node(number), Duration::ZERO)));
        assert!(!askers.may_ask(node(all), Duration::ZERO));
        assert!(askers.may_ask(node(all), Duration::from_secs(1)));
        assert_eq!(askers.0.lock().unwrap().len(), 1);
    }
}
