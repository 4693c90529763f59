//! The conclusions of a detector: what follows from what it has seen, and why it waits.

use std::time::Duration;

use super::evidence::{Evidence, Health, Intent, Observer, Report, Saw};
use super::{Detector, Hold};
use crate::majority::Standing;

/// The phi from which silence counts, in thousandths: one false alarm in 10⁸ beats, six
/// years of beats every two seconds.
const PHI_MILLI: u64 = 8000;

/// However irregular the partner, so many times `failAfter` is silence enough.
const PATIENCE: u32 = 2;

/// The next state and why, nothing, or why it waits.
type Step = Result<Option<(Health, Vec<Evidence>)>, Hold>;

impl Detector {
    /// The next state and why, or why it waits.
    pub(super) fn step(&self, now: Duration, standing: Standing) -> Step {
        let next = match self.health {
            Health::Alive => Health::Suspect,
            Health::Suspect => Health::Down,
            Health::Down => Health::Lost,
            Health::Lost if self.declared_lost().is_some() => return Ok(None),
            Health::Lost => Health::Alive,
        };
        if let Some(declared) = self.declared_lost() {
            return Ok(Some((next, vec![declared])));
        }
        if !self.is_silent() {
            return self.returned(now);
        }
        if next == Health::Alive {
            return Ok(None);
        }
        if self.attention.is_graced() {
            return Err(Hold::Stalled(self.stalled));
        }
        match next {
            Health::Suspect => Ok(Some((next, vec![self.silence_seen(now)]))),
            Health::Down => self.downed(now, standing),
            _ => self.given_up(now, standing),
        }
    }

    /// Back among the living, if it was heard for long enough.
    fn returned(&self, now: Duration) -> Step {
        if self.health == Health::Alive {
            return Ok(None);
        }
        let attended = self.attention.attended();
        let probation = self.returns.probation(self.timings.heartbeat(), attended);
        let heard_for = self.last_heard.saturating_sub(self.heard_since);
        match probation.checked_sub(heard_for) {
            Some(left) if !left.is_zero() => Err(Hold::Probation(left)),
            _ => {
                let observer = Observer::Node(self.me);
                let heard = Evidence { observer, saw: Saw::Life, at: now };
                Ok(Some((Health::Alive, vec![heard])))
            }
        }
    }

    fn downed(&self, now: Duration, standing: Standing) -> Step {
        let silence = self.silence();
        let fail_after = self.timings.fail_after();
        let is_unlikely = self.rhythm.phi_milli(silence) >= PHI_MILLI
            || silence >= fail_after.saturating_mul(PATIENCE);
        if silence < fail_after || !is_unlikely {
            return Ok(None);
        }
        let mut evidence = self.confirmed(standing)?;
        evidence.insert(0, self.silence_seen(now));
        Ok(Some((Health::Down, evidence)))
    }

    fn given_up(&self, now: Duration, standing: Standing) -> Step {
        let is_leaving = matches!(self.intent, Some((Intent::Drain, _)));
        if !is_leaving && self.absent < self.timings.replace_after() {
            return Ok(None);
        }
        let mut evidence = self.confirmed(standing)?;
        let observer = Observer::Node(self.me);
        evidence.insert(0, Evidence { observer, saw: Saw::Absence(self.absent), at: now });
        evidence.extend(self.wish());
        Ok(Some((Health::Lost, evidence)))
    }

    /// That a majority is reachable, and among others at least one doesn't reach the partner
    /// and none does. A report counts for `failAfter`, and only if it came in this silence.
    fn confirmed(&self, standing: Standing) -> Result<Vec<Evidence>, Hold> {
        if !standing.may_heal() {
            return Err(Hold::Frozen(standing));
        }
        let recent = self.attention.attended().saturating_sub(self.timings.fail_after());
        let since = recent.max(self.last_heard);
        let reached = self.reports.of(Report::Reached, since);
        if !reached.is_empty() {
            return Err(Hold::Reached(reached));
        }
        let unreachable = self.reports.of(Report::Unreachable, since);
        if unreachable.is_empty() { Err(Hold::NoSecondWitness) } else { Ok(unreachable) }
    }

    fn silence(&self) -> Duration {
        self.attention.attended().saturating_sub(self.last_heard)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silence(self.silence())
    }

    /// Whether so long a silence is one.
    pub(super) fn is_silence(&self, lasting: Duration) -> bool {
        lasting >= self.timings.suspect_after() || self.rhythm.phi_milli(lasting) >= PHI_MILLI
    }

    fn silence_seen(&self, at: Duration) -> Evidence {
        let lasting = self.silence();
        let saw = Saw::Silence { lasting, phi_milli: self.rhythm.phi_milli(lasting) };
        Evidence { observer: Observer::Node(self.me), saw, at }
    }

    fn wish(&self) -> Option<Evidence> {
        let (intent, at) = self.intent?;
        Some(Evidence { observer: Observer::Operator, saw: Saw::Wish(intent), at })
    }

    fn declared_lost(&self) -> Option<Evidence> {
        self.wish().filter(|wish| wish.saw == Saw::Wish(Intent::Lost))
    }
}
