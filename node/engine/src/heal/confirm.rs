//! Whether a member may still speak for its pair. A member that was cut off doesn't know that
//! the others went on without it, and would answer reads of records with what was true before.
//! So it answers them only while somebody without whom nobody goes on has lately said that its
//! epoch is the newest: its partner, or two of the epoch's witnesses. Whoever said so signs no
//! epoch without that member until the word is stale.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Reason, Refusal, Request, Response};
use defs_core::network::PairRecord;
use defs_core::port::Clock;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::successor::WITNESSES_NEEDED;
use crate::refuse::refuse;

/// With so many words remembered, those that are stale are forgotten.
const GIVEN_KEPT: usize = 4096;

/// Words that this node got of its own epoch, and those that it gave of others.
#[derive(Debug)]
pub(crate) struct Confirmations {
    /// When this process began: what it said before, it doesn't know.
    began: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of which epoch the words in `got` are.
    of: Option<(PairId, Epoch)>,
    /// When each was asked for, by who gave it.
    got: BTreeMap<NodeId, Duration>,
    given: BTreeMap<NodeId, Duration>,
    /// Members without whom this node is just about to sign an epoch.
    parting: Vec<NodeId>,
}

/// As long as this lives, its member gets no word of this node.
#[derive(Debug)]
pub(crate) struct Parting<'a> {
    from: &'a Confirmations,
    member: NodeId,
}

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        let mut state = self.from.lock();
        if let Some(place) = state.parting.iter().position(|member| *member == self.member) {
            state.parting.swap_remove(place);
        }
    }
}

impl Confirmations {
    pub(crate) fn new(began: Duration) -> Self {
        Self { began, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `by` says that `own` is the newest epoch; it was asked at `asked`.
    pub(crate) fn got(&self, own: &PairRecord, by: NodeId, asked: Duration) {
        let mut state = self.lock();
        let of = Some((own.pair, own.epoch));
        if state.of != of {
            state.of = of;
            state.got.clear();
        }
        let latest = state.got.entry(by).or_default();
        *latest = asked.max(*latest);
    }

    /// Whether `by` said so of `own` not longer than `window` ago.
    fn is_fresh(&self, own: &PairRecord, by: &NodeId, window: Duration, now: Duration) -> bool {
        let state = self.lock();
        state.of == Some((own.pair, own.epoch))
            && state.got.get(by).is_some_and(|asked| now.saturating_sub(*asked) < window)
    }

    /// This node is about to tell `member` that its epoch is the newest. False: it must not.
    /// Whether that is true has to be looked at afterwards.
    pub(crate) fn give(&self, member: NodeId, now: Duration, window: Duration) -> bool {
        let mut state = self.lock();
        if state.parting.contains(&member) {
            return false;
        }
        if state.given.len() >= GIVEN_KEPT && !state.given.contains_key(&member) {
            state.given.retain(|_, given| now.saturating_sub(*given) < window.saturating_mul(2));
        }
        state.given.insert(member, now);
        true
    }

    /// Before this node signs an epoch without `member`; refused with the time for which the
    /// member may still go by a word of this node. Twice the window: clocks run apart.
    pub(crate) fn part(
        &self,
        member: NodeId,
        now: Duration,
        window: Duration,
    ) -> Result<Parting<'_>, Duration> {
        let mut state = self.lock();
        let given = state.given.get(&member).copied().unwrap_or(self.began);
        let left = given.saturating_add(window.saturating_mul(2)).saturating_sub(now);
        if left > Duration::ZERO {
            return Err(left);
        }
        state.parting.push(member);
        drop(state);
        Ok(Parting { from: self, member })
    }
}

impl<W: World> Engine<W> {
    /// Where the partner is silent, asks the witnesses before the last word is stale.
    pub(crate) async fn keep_confirmed(self: Arc<Self>) {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return };
        let Some(partner) = own.partner_of(&self.me) else { return };
        let window = self.config.timings.confirm_window();
        let now = self.clock.elapsed();
        let is_fresh = |node: &NodeId| self.confirmations.is_fresh(&own, node, window / 2, now);
        if is_fresh(&partner) {
            return;
        }
        let asked = own.witnesses.iter().copied().filter(|witness| !is_fresh(witness));
        let ask = |witness: NodeId| {
            let request = Request::Confirm { pair: own.pair, epoch: own.epoch };
            let asked = self.call_within(witness, request, self.config.timings.probe);
            async move { (witness, asked.await) }
        };
        let mut answers: FuturesUnordered<_> = asked.map(ask).collect();
        let all = async {
            while let Some((witness, answer)) = answers.next().await {
                match answer {
                    Ok(reply) if reply.response == Response::Done => {
                        self.confirmations.got(&own, witness, now);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%witness, %error, "the epoch was not confirmed"),
                }
            }
        };
        // Whoever hangs must not keep the others from being asked again in time.
        tokio::select! {
            () = all => {}
            () = self.clock.sleep(window / 4) => {}
        }
    }

    /// How many witnesses have lately confirmed the epoch, and which have not.
    pub(crate) fn speaking_witnesses(&self, own: &PairRecord) -> (usize, Vec<NodeId>) {
        let (now, window) = (self.clock.elapsed(), self.config.timings.confirm_window());
        let is_fresh = |node: &NodeId| self.confirmations.is_fresh(own, node, window, now);
        let silent: Vec<_> = own.witnesses.iter().copied().filter(|it| !is_fresh(it)).collect();
        (own.witnesses.len().saturating_sub(silent.len()), silent)
    }

    /// Whether this member's word on records may be stale.
    pub(crate) async fn check_confirmed(&self) -> Result<(), Refusal> {
        let own = self.membership.own_pair().map(|own| own.record);
        let partner = own.as_ref().and_then(|own| own.partner_of(&self.me));
        let (Some(own), Some(partner)) = (own, partner) else {
            return Err(refuse(Reason::WrongEpoch, "this node is in no pair now"));
        };
        if self.wishes.want(&self.me).is_some_and(|want| want.leaves())
            && self.has_signed_after(&own.pair, own.epoch).await?
        {
            return Err(refuse(Reason::WrongEpoch, "this node has left its pair"));
        }
        // One member and too few witnesses never make an epoch.
        if own.witnesses.len() < WITNESSES_NEEDED {
            return Ok(());
        }
        let (now, window) = (self.clock.elapsed(), self.config.timings.confirm_window());
        let is_heard = self.confirmations.is_fresh(&own, &partner, window, now);
        if is_heard || self.speaking_witnesses(&own).0 >= WITNESSES_NEEDED {
            return Ok(());
        }
        Err(refuse(Reason::Busy, "nobody has lately confirmed this pair's epoch"))
    }

    /// To be held while an epoch without `member` is signed.
    pub(crate) fn part_from(&self, member: NodeId) -> Result<Parting<'_>, Refusal> {
        let window = self.config.timings.confirm_window();
        self.confirmations.part(member, self.clock.elapsed(), window).map_err(|left| {
            let detail = format!("{member} may go by this node's word for {left:.1?} yet");
            refuse(Reason::Busy, detail)
        })
    }

    /// Tells `member` that its epoch is the newest, if what is looked at afterwards agrees.
    pub(crate) fn give_word(&self, member: NodeId) -> Result<(), Refusal> {
        let window = self.config.timings.confirm_window();
        if self.confirmations.give(member, self.clock.elapsed(), window) {
            Ok(())
        } else {
            Err(refuse(Reason::Busy, "this node is about to sign an epoch without you"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const NODE: NodeId = NodeId([1; 32]);

    fn epoch(number: u64) -> PairRecord {
        PairRecord {
            pair: PairId([1; 16]),
            epoch: Epoch(number),
            members: [NodeId([8; 32]), NodeId([9; 32])],
            witnesses: vec![NODE],
            previous: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_word_counts_from_when_it_was_asked_for_and_for_its_own_epoch() {
        let confirmations = Confirmations::new(at(0));
        confirmations.got(&epoch(1), NODE, at(10));
        confirmations.got(&epoch(1), NODE, at(5));
        assert!(confirmations.is_fresh(&epoch(1), &NODE, WINDOW, at(69)));
        assert!(!confirmations.is_fresh(&epoch(1), &NODE, WINDOW, at(70)));
        assert!(!confirmations.is_fresh(&epoch(2), &NODE, WINDOW, at(11)));
        confirmations.got(&epoch(2), NODE, at(20));
        assert!(!confirmations.is_fresh(&epoch(1), &NODE, WINDOW, at(21)));
    }

    #[test]
    fn a_word_is_stale_after_two_windows_and_a_restart_forgets_none() {
        let confirmations = Confirmations::new(at(100));
        assert_eq!(confirmations.part(NODE, at(219), WINDOW).unwrap_err(), at(1));
        assert!(confirmations.part(NODE, at(220), WINDOW).is_ok());
        assert!(confirmations.give(NODE, at(300), WINDOW));
        assert_eq!(confirmations.part(NODE, at(301), WINDOW).unwrap_err(), at(119));
        assert!(confirmations.part(NODE, at(420), WINDOW).is_ok());
    }

    #[test]
    fn nobody_is_told_while_an_epoch_without_it_is_signed() {
        let confirmations = Confirmations::new(at(0));
        let signing = confirmations.part(NODE, at(200), WINDOW).unwrap();
        let again = confirmations.part(NODE, at(200), WINDOW).unwrap();
        drop(signing);
        assert!(!confirmations.give(NODE, at(200), WINDOW));
        assert!(confirmations.give(NodeId([2; 32]), at(200), WINDOW));
        drop(again);
        assert!(confirmations.give(NODE, at(200), WINDOW));
    }

    #[test]
    fn words_that_are_stale_make_room() {
        let confirmations = Confirmations::new(at(0));
        let node = |number: u64| {
            let mut node = [0; 32];
            node[..8].copy_from_slice(&number.to_le_bytes());
            NodeId(node)
        };
        for number in 0..4 * GIVEN_KEPT as u64 {
            confirmations.give(node(number), Duration::from_secs(number), WINDOW);
        }
        assert!(confirmations.lock().given.len() <= GIVEN_KEPT);
    }
}
