//! What an operator or the admin API may know of one node.

use std::collections::{BTreeMap, BTreeSet};

use defs_core::ids::{Epoch, NetworkId, NodeId, PairId};
use defs_core::network::{Labels, Role};
use defs_core::port::{Clock, Disk, Usage};
use defs_core::reading::Reading;
use defs_core::states::{NodeState, PairState};
use defs_pairing::detector::{Change, Health, Hold};
use defs_pairing::majority::Standing;
use defs_telemetry::label::Label;

use crate::config::World;
use crate::contact::Contact;
use crate::engine::Engine;
use crate::heal::lost::Loss;
use crate::heal::rebuild::Progress;

/// One node, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// Who.
    pub node: NodeId,
    /// Of which network.
    pub network: NetworkId,
    /// Where it stands.
    pub labels: Labels,
    /// How others reach it.
    pub contact: Contact,
    /// In its life.
    pub state: NodeState,
    /// Its pair, if it is in one.
    pub pair: Option<(PairId, Epoch, Role, PairState)>,
    /// The other member of its pair.
    pub partner: Option<NodeId>,
    /// Room used and offered.
    pub usage: Usage,
    /// Whether it still takes over what its partner has.
    pub is_syncing: bool,
}

impl<W: World> Engine<W> {
    /// The admitted nodes that were heard lately, this one included.
    pub fn alive(&self) -> BTreeSet<NodeId> {
        self.membership.alive(self.clock.elapsed(), self.config.timings.card_stale)
    }

    /// How much of the agreed membership this node hears: it heals only with a majority.
    pub fn reach(&self) -> Standing {
        self.standing()
    }

    /// What this node is repairing, and what it can't.
    pub fn repairs(&self) -> Progress {
        let is_back = |stripe, index| {
            self.hints.moved(stripe, index).is_some_and(|pair| !self.lost.is_lost(&pair))
        };
        self.repairs.progress(self.clock.elapsed(), is_back)
    }

    /// Pairs that this node holds to be lost, and why.
    pub fn losses(&self) -> BTreeMap<PairId, Loss> {
        self.lost.all()
    }

    /// What this node has concluded of its partner lately, and why what may be due waits.
    pub fn conclusions(&self) -> (Vec<Change>, Option<Hold>) {
        (self.watch.conclusions(), self.watch.hold())
    }

    /// What this node makes of its partner, if it has one.
    pub fn partner_health(&self) -> Option<Health> {
        self.watch.health()
    }

    /// What this node has measured of others, a page of it.
    pub fn readings(&self, after: Option<NodeId>) -> Vec<Reading> {
        self.gauges.readings(after)
    }

    /// Brings the metrics that are levels up to date.
    pub fn measure(&self) {
        let EngineStatus { pair, usage, .. } = self.status();
        for state in PairState::all() {
            let is_mine = pair.is_some_and(|(.., mine)| mine == state);
            self.metrics.pairs.of(state).set(u64::from(is_mine));
        }
        let progress = self.repairs();
        self.metrics.repair_queued.set(progress.queued as u64);
        self.metrics.stripes_unrepaired.set(progress.unrepaired.len() as u64);
        self.metrics.stripes_at_risk.set(progress.at_risk.len() as u64);
        self.metrics.nodes_alive.set(self.alive().len() as u64);
        self.metrics.store_used.set(usage.used);
        self.metrics.store_capacity.set(usage.capacity);
        self.metrics.store_free.set(usage.capacity.saturating_sub(usage.used));
        self.metrics.store_shards.set(usage.shards);
        self.metrics.store_records.set(usage.records);
    }

    /// One node, now.
    pub fn status(&self) -> EngineStatus {
        let own = self.membership.own_pair().map(|own| own.record);
        let now = self.clock.elapsed();
        let alive = self.membership.partner_alive(now, self.config.timings.watch.suspect_after());
        let pair_state = match (alive, self.is_syncing()) {
            (true, false) => PairState::Healthy,
            (true, true) => PairState::Migrating,
            (false, _) => PairState::Degraded,
        };
        let pair = own.and_then(|own| {
            let role = own.role_of(&self.me)?;
            Some((own.pair, own.epoch, role, pair_state))
        });
        let state = match (&pair, self.membership.is_admitted(&self.me)) {
            (Some(_), _) => NodeState::Serving,
            (None, true) => NodeState::Spare,
            (None, false) => NodeState::Joining,
        };
        EngineStatus {
            node: self.me,
            network: self.network,
            labels: self.config.labels.clone(),
            contact: self.contact(),
            state,
            pair,
            partner: self.membership.partner(),
            usage: self.disk.usage(),
            is_syncing: self.is_syncing(),
        }
    }
}
