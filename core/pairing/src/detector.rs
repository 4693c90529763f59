//! Whether the partner is alive, as far as one node can tell: Alive → Suspect → Down →
//! Lost, each step with who saw what, when.
//!
//! **Suspect** is cheap and quick: silence that is unlikely for this partner's rhythm
//! (phi-accrual), or that lasts for `suspectAfter` in any case. Reads go to the mirror at
//! once and nothing moves. **Down** is slow: `failAfter` has passed, it is unlikely for
//! this partner, another observer doesn't reach it and none does. **Lost** is a decision:
//! down for `replaceAfter`, or a person's word. All silence counts only while this
//! node itself was looking, and nothing but a person's word makes it worse than Suspect
//! while no majority is reachable.
//!
//! Rejected: one threshold for all. What is cheap to undo may be guessed early, what moves
//! terabytes may not.

use std::collections::BTreeSet;
use std::time::Duration;

use defs_core::ids::NodeId;

use self::attention::Attention;
use self::evidence::Reports;
pub use self::evidence::{Change, Evidence, Health, Intent, Observer, Report, Saw};
pub use self::hold::Hold;
use self::rhythm::Rhythm;
pub use self::timings::{NotTimings, Timings};
pub(crate) use self::trust::Returns;
use crate::majority::Standing;

mod attention;
mod evidence;
mod hold;
mod judge;
mod rhythm;
#[cfg(test)]
mod tests;
mod timings;
mod trust;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What changed, in order.
    pub changes: Vec<Change>,
    /// Why what may be due waits.
    pub hold: Option<Hold>,
    /// Witnesses to ask now whether they reach the partner, and how long to wait for the
    /// partner's answer.
    pub ask: Option<(BTreeSet<NodeId>, Duration)>,
}

/// Watches one partner for one epoch of their pair.
#[derive(Debug, Clone)]
pub struct Detector {
    me: NodeId,
    partner: NodeId,
    timings: Timings,
    witnesses: BTreeSet<NodeId>,
    attention: Attention,
    rhythm: Rhythm,
    returns: Returns,
    reports: Reports,
    intent: Option<(Intent, Duration)>,
    health: Health,
    /// The last beat, and the last beat or answer, in attended time.
    last_beat: Option<Duration>,
    last_heard: Duration,
    /// Since when it was heard without a gap, in attended time.
    heard_since: Duration,
    /// How long it was down while a majority was reachable and this node was looking.
    absent: Duration,
    stalled: Duration,
}

impl Detector {
    /// Of `partner`, held to be alive at `now`. Only `witnesses` are believed; they are
    /// admitted nodes outside of the pair.
    #[must_use]
    pub fn new(
        [me, partner]: [NodeId; 2],
        witnesses: BTreeSet<NodeId>,
        timings: Timings,
        now: Duration,
    ) -> Self {
        let mut detector = Self {
            me,
            partner,
            timings,
            witnesses: BTreeSet::new(),
            attention: Attention::new(timings.heartbeat(), now),
            rhythm: Rhythm::new(timings.heartbeat(), timings.suspect_after()),
            returns: Returns::default(),
            reports: Reports::default(),
            intent: None,
            health: Health::Alive,
            last_beat: None,
            last_heard: Duration::ZERO,
            heard_since: Duration::ZERO,
            absent: Duration::ZERO,
            stalled: Duration::ZERO,
        };
        detector.believe(witnesses);
        detector
    }

    /// Believes these witnesses from now on, and forgets what others said.
    pub fn believe(&mut self, mut witnesses: BTreeSet<NodeId>) {
        witnesses.remove(&self.me);
        witnesses.remove(&self.partner);
        self.witnesses = witnesses;
        let known = &self.witnesses;
        self.reports.keep(|observer| match observer {
            Observer::Node(node) => known.contains(node),
            Observer::Operator => true,
        });
    }

    /// What is held of the partner.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// The partner's smoothed count of returns, in thousandths: what its score needs.
    #[must_use]
    pub fn flaps_milli(&self) -> u32 {
        self.returns.milli_at(self.attention.attended())
    }

    /// The learned round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.rhythm.round_trip()
    }

    /// A beat of the partner came in: of this pair and epoch, which the caller has checked.
    pub fn beat(&mut self, now: Duration) {
        let at = self.attention.at(now);
        self.hear(at);
        if let Some(last) = self.last_beat.replace(at) {
            self.rhythm.beat_after(at.saturating_sub(last));
        }
    }

    /// The partner answered a beat of this node after `took`.
    pub fn answered(&mut self, took: Duration, now: Duration) {
        self.hear(self.attention.at(now));
        self.rhythm.answered_after(took);
    }

    /// An observer tried to reach the partner. The word of others than the operator and
    /// the witnesses is nothing.
    pub fn witnessed(&mut self, observer: Observer, report: Report, now: Duration) {
        let is_believed = match observer {
            Observer::Node(node) => self.witnesses.contains(&node),
            Observer::Operator => true,
        };
        if is_believed {
            self.reports.add(observer, report, self.attention.at(now), now);
        }
    }

    /// A person's word; that a node is lost is not taken back.
    pub fn intend(&mut self, intent: Intent, now: Duration) {
        if self.intent.is_none_or(|(before, _)| before < intent) {
            self.intent = Some((intent, now));
        }
    }

    /// Concludes. To be called at least once a heartbeat; a longer pause is taken for a
    /// stall of this node.
    pub fn look(&mut self, now: Duration, standing: Standing) -> Look {
        let before = self.attention.attended();
        if let Some(stalled) = self.attention.look(now) {
            self.stalled = stalled;
        }
        let looked = self.attention.attended().saturating_sub(before);
        if self.health == Health::Down && standing.may_heal() && self.is_silent() {
            self.absent = self.absent.saturating_add(looked);
        }
        let mut changes = Vec::new();
        let mut hold = None;
        // At most one step a state: Alive → Suspect → Down → Lost by a person's word.
        for _ in 0..3 {
            match self.step(now, standing) {
                Ok(Some((to, evidence))) => changes.push(self.become_of(to, now, evidence)),
                Ok(None) => break,
                Err(why) => {
                    hold = Some(why);
                    break;
                }
            }
        }
        let ask = (self.health != Health::Alive && self.is_silent())
            .then(|| (self.witnesses.clone(), self.rhythm.answer_timeout()));
        Look { changes, hold, ask }
    }

    fn hear(&mut self, at: Duration) {
        if self.is_silence(at.saturating_sub(self.last_heard)) {
            self.heard_since = at;
        }
        self.last_heard = at;
    }

    fn become_of(&mut self, to: Health, at: Duration, evidence: Vec<Evidence>) -> Change {
        let from = std::mem::replace(&mut self.health, to);
        if to == Health::Alive {
            self.returns.count(self.attention.attended());
        }
        self.absent = Duration::ZERO;
        Change { from, to, at, evidence }
    }
}
