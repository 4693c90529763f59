//! Watching the partner: every heartbeat and every answer goes into the failure detector,
//! witnesses are asked about silence, and what follows is written down with its evidence.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Request, Response};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Clock, Peers, Reply};
use defs_pairing::detector::{Change, Detector, Health, Hold, Observer, Report};
use defs_pairing::majority::{Agreed, FreezeAt, Leave, Standing};

use crate::config::World;
use crate::engine::Engine;

/// Conclusions about the partner that are kept for people.
const CONCLUSIONS_MAX: usize = 32;

/// What this node holds of its partner, and of how much of the network it reaches.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    partner: Option<Watched>,
    agreed: Agreed,
    /// Nodes that count no more, until they are heard again.
    left: BTreeSet<NodeId>,
    conclusions: Vec<Change>,
    /// Since when the pair has fewer witnesses than it could have.
    short_since: Option<Duration>,
    /// How often nodes had come or moved when that was last taken in.
    moves: Option<u64>,
}

#[derive(Debug)]
struct Watched {
    pair: PairId,
    epoch: Epoch,
    detector: Detector,
    hold: Option<Hold>,
    /// Witnesses to ask, and how long they have.
    ask: Option<(BTreeSet<NodeId>, Duration)>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_detector(&self, pair: &PairId, change: impl FnOnce(&mut Detector)) {
        if let Some(watched) = self.lock().partner.as_mut().filter(|one| one.pair == *pair) {
            change(&mut watched.detector);
        }
    }

    /// The partner of `pair` sent a heartbeat.
    pub(crate) fn beat(&self, pair: &PairId, now: Duration) {
        self.with_detector(pair, |detector| detector.beat(now));
    }

    /// The partner of `pair` answered a heartbeat after `took`.
    pub(crate) fn answered(&self, pair: &PairId, took: Duration, now: Duration) {
        self.with_detector(pair, |detector| detector.answered(took, now));
    }

    /// What is held of the partner; `None` before it was watched.
    pub(crate) fn health(&self) -> Option<Health> {
        self.lock().partner.as_ref().map(|watched| watched.detector.health())
    }

    /// Why what may be due waits.
    pub(crate) fn hold(&self) -> Option<Hold> {
        self.lock().partner.as_ref().and_then(|watched| watched.hold.clone())
    }

    /// What was concluded lately, oldest first.
    pub(crate) fn conclusions(&self) -> Vec<Change> {
        self.lock().conclusions.clone()
    }

    /// Since when the pair has been short of witnesses.
    pub(crate) fn short_of_witnesses(&self, is_short: bool, now: Duration) -> Option<Duration> {
        let mut state = self.lock();
        state.short_since = is_short.then(|| state.short_since.unwrap_or(now));
        state.short_since
    }

    /// Counts `node` no more, if the membership may shrink so fast.
    pub(crate) fn leave(&self, node: &NodeId, why: Leave, now: Duration) -> bool {
        let mut state = self.lock();
        let left = state.agreed.leave(node, why, now).is_ok();
        if left {
            state.left.insert(*node);
        }
        left
    }
}

impl<W: World> Engine<W> {
    /// How much of the agreed membership this node hears.
    pub(crate) fn standing(&self) -> Standing {
        let (now, patience) = (self.clock.elapsed(), self.config.timings.card_stale);
        let (alive, moves) = (self.membership.alive(now, patience), self.membership.moves());
        let mut state = self.watch.lock();
        let State { agreed, left, moves: known, .. } = &mut *state;
        let away = left.len();
        left.retain(|node| !alive.contains(node));
        if *known != Some(moves) || left.len() != away {
            *known = Some(moves);
            agreed.admit(self.me, self.config.labels.clone());
            for (node, labels) in self.membership.places() {
                if !left.contains(&node) {
                    agreed.admit(node, labels);
                }
            }
        }
        agreed.standing(FreezeAt::HALF, |node| *node == self.me || alive.contains(node))
    }

    /// One look at the partner. Has to come every heartbeat, so nothing here waits.
    pub(crate) fn look(&self) {
        let now = self.clock.elapsed();
        let standing = self.standing();
        self.metrics.healing_frozen.set(u64::from(!standing.may_heal()));
        let own = self.membership.own_pair().map(|own| own.record);
        let changes = self.conclude(own, standing, now);
        for change in &changes {
            tracing::info!(%change, "the partner's health changed");
            self.metrics.partner_away.set(u64::from(change.to != Health::Alive));
            if change.to == Health::Alive {
                // It may lack what happened meanwhile, and so may this node.
                self.sync_wanted.notify_one();
            }
        }
        self.judge_pairs(standing, now);
    }

    fn conclude(&self, own: Option<PairRecord>, standing: Standing, now: Duration) -> Vec<Change> {
        let partner = own.as_ref().and_then(|own| own.partner_of(&self.me));
        let mut state = self.watch.lock();
        let (Some(own), Some(partner)) = (own, partner) else {
            state.partner = None;
            return Vec::new();
        };
        let wish = self.wishes.intent(&partner, &own);
        let is_same = |one: &Watched| one.pair == own.pair && one.epoch == own.epoch;
        if !state.partner.as_ref().is_some_and(is_same) {
            let witnesses = own.witnesses.iter().copied().collect();
            let timings = self.config.timings.watch;
            let detector = Detector::new([self.me, partner], witnesses, timings, now);
            let (pair, epoch) = (own.pair, own.epoch);
            state.partner = Some(Watched { pair, epoch, detector, hold: None, ask: None });
            // Nobody knows what either of them missed before.
            self.sync_wanted.notify_one();
        }
        let Some(watched) = state.partner.as_mut() else { return Vec::new() };
        if let Some(intent) = wish {
            watched.detector.intend(intent, now);
        }
        let look = watched.detector.look(now, standing);
        watched.hold = look.hold;
        watched.ask = look.ask;
        state.conclusions.extend(look.changes.iter().cloned());
        let over = state.conclusions.len().saturating_sub(CONCLUSIONS_MAX);
        state.conclusions.drain(..over);
        look.changes
    }

    /// Asks the witnesses about a silent partner.
    pub(crate) async fn ask_witnesses(self: Arc<Self>) {
        let Some((witnesses, patience)) = self.take_ask() else { return };
        let Some(partner) = self.membership.partner() else { return };
        let ask = |witness: NodeId| {
            let request = Request::Probe { node: partner };
            // The witness waits as long for the partner as this node waits for the witness.
            let within = patience.saturating_add(self.config.timings.probe);
            let asked = self.call_within(witness, request, within);
            async move { (witness, asked.await) }
        };
        let answers = futures::future::join_all(witnesses.into_iter().map(ask)).await;
        let now = self.clock.elapsed();
        let Some(own) = self.membership.own_pair() else { return };
        for (witness, answer) in answers {
            let report = match answer.map(|reply| reply.response) {
                Ok(Response::Reached(true)) => Report::Reached,
                Ok(Response::Reached(false)) => Report::Unreachable,
                Ok(_) | Err(_) => continue,
            };
            self.watch.with_detector(&own.record.pair, |detector| {
                detector.witnessed(Observer::Node(witness), report, now);
            });
        }
    }

    fn take_ask(&self) -> Option<(BTreeSet<NodeId>, Duration)> {
        self.watch.lock().partner.as_mut().and_then(|watched| watched.ask.take())
    }

    /// One exchange that is broken off after `within`.
    pub(crate) async fn call_within(
        &self,
        to: NodeId,
        request: Request,
        within: Duration,
    ) -> Result<Reply, CallError> {
        tokio::select! {
            biased;
            answer = self.peers.call(to, request, Body::empty()) => answer,
            () = self.clock.sleep(within) => Err(CallError::TimedOut { to }),
        }
    }
}
