//! What goes wrong in a run: drawn one after the other, and put right again after a while,
//! but for what is lost for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::message::ShardKey;
use defs_core::network::PairRecord;
use defs_port_suite::{DiskFaults, Nature as _};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::cluster::{Cluster, WRITE_MAX};
use crate::margin::Margin;
use crate::pace::Pace;
use crate::treason::Treason;
use crate::workload::ClientHosts;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A machine is switched off.
    Off,
    /// A machine ends in the middle of a write.
    OffAtWrite,
    /// All machines are switched off at once.
    AllOff,
    /// Both members of a pair are switched off.
    PairOff,
    /// Nothing on a machine gets on for up to five seconds.
    Stall,
    /// A machine's date is set up to six minutes wrong.
    Date,
    /// A machine is cut off from all others.
    CutOff,
    /// Messages pass in one direction only, between two machines.
    OneWay,
    /// The network falls into two parts.
    Split,
    /// A machine's messages take long.
    Slow,
    /// Messages get lost everywhere.
    Storm,
    /// A disk fails to read and to write now and then.
    FailingDisk,
    /// A disk is full.
    FullDisk,
    /// Stored bytes change.
    Rot,
    /// A machine is lost for ever, and another one comes.
    Lost,
    /// A whole pair is lost for ever.
    PairLost,
    /// Another machine joins.
    Join,
    /// A client's machine ends.
    ClientOff,
    /// A machine is off for so long that another one takes its place.
    Away,
    /// One member of some pairs, up to all of them, is cut off from all others for so long.
    Apart,
}

/// How often each happens, against the others.
const ODDS: &[(Fault, u64)] = &[
    (Fault::Off, 10),
    (Fault::OffAtWrite, 10),
    (Fault::AllOff, 1),
    (Fault::PairOff, 3),
    (Fault::Stall, 8),
    (Fault::Date, 4),
    (Fault::CutOff, 6),
    (Fault::OneWay, 6),
    (Fault::Split, 4),
    (Fault::Slow, 5),
    (Fault::Storm, 4),
    (Fault::FailingDisk, 5),
    (Fault::FullDisk, 3),
    (Fault::Rot, 5),
    (Fault::Lost, 4),
    (Fault::PairLost, 2),
    (Fault::Join, 2),
    (Fault::ClientOff, 4),
];

/// What happens besides in runs with long absences: three of five. The others are as they were
/// before there were these, so that the seeds which once failed stay what they are.
const LONG: &[(Fault, u64)] = &[(Fault::Away, 3), (Fault::Apart, 2)];

/// The most machines of a run.
const MACHINES_MAX: usize = 40;

/// How wrong a date may be: more than any check tolerates.
const AHEAD_MAX_MS: u64 = 360_000;

/// What puts a fault right.
#[derive(Debug)]
enum Remedy {
    On(NodeId),
    Joined(Vec<(NodeId, NodeId)>),
    FastAgain(NodeId),
    GoodWeather,
    GoodDisk(NodeId),
}

/// Draws what goes wrong.
#[derive(Debug)]
pub struct Faults {
    chance: Chance,
    pace: Pace,
    /// What may be destroyed.
    pub margin: Margin,
    clients: ClientHosts,
    remedies: BTreeMap<(Instant, u64), Remedy>,
    drawn: u64,
    /// Whether some are away for long.
    is_long: bool,
}

impl Faults {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new(seed: u64, pace: Pace, margin: Margin, clients: ClientHosts) -> Self {
        let chance = Chance::of(seed, "faults");
        let is_long = matches!(seed % 5, 0 | 1 | 3);
        Self { chance, pace, margin, clients, remedies: BTreeMap::new(), drawn: 0, is_long }
    }

    /// Turns as many nodes as may.
    pub fn turn(&mut self, cluster: &mut Cluster) {
        for _ in 0..self.margin.traitors() {
            let Some(pair) = self.pick_pair(cluster) else { return };
            cluster.betray(self.margin.fragile(&pair), Treason::drawn(&self.chance));
        }
    }

    fn odds(&self) -> impl Iterator<Item = &'static (Fault, u64)> + use<> {
        ODDS.iter().chain(if self.is_long { LONG } else { &[] })
    }

    /// Draws one fault and lets it happen.
    pub async fn strike(&mut self, cluster: &mut Cluster) {
        let total = self.odds().map(|(_, odds)| odds).sum();
        let mut draw = self.chance.below(total);
        for (fault, odds) in self.odds() {
            if draw < *odds {
                return self.happens(*fault, cluster).await;
            }
            draw -= odds;
        }
    }

    /// Lets `fault` happen to whom it hits.
    pub async fn happens(&mut self, fault: Fault, cluster: &mut Cluster) {
        let on = cluster.on();
        let Some(node) = self.chance.pick(&on).copied() else { return };
        match fault {
            Fault::Off => self.off(node, cluster),
            Fault::OffAtWrite => {
                let writes = u32::try_from(self.chance.below(6)).unwrap_or(0);
                note(cluster, fault, &format_args!("{node} at write {writes}"));
                if let Some(life) = cluster.life(node) {
                    life.host.switch_off_at_write(writes);
                }
            }
            Fault::AllOff => on.into_iter().for_each(|node| self.off(node, cluster)),
            Fault::PairOff => {
                let pair = self.pick_pair(cluster);
                let members = pair.into_iter().flat_map(|pair| pair.members);
                members.for_each(|node| self.off(node, cluster));
            }
            Fault::Stall => {
                let time = self.chance.between(Duration::from_millis(50), Duration::from_secs(5));
                note(cluster, fault, &format_args!("{node} for {} ms", time.as_millis()));
                if let Some(life) = cluster.life(node) {
                    life.host.stall(time);
                }
            }
            Fault::Date => self.set_date(node, cluster),
            Fault::CutOff | Fault::OneWay | Fault::Split => self.cut(fault, node, cluster),
            Fault::Slow => {
                let by = self.chance.between(Duration::from_millis(10), Duration::from_millis(400));
                note(cluster, fault, &format_args!("{node} by {} ms", by.as_millis()));
                cluster.network.slow_down(node, by);
                self.later(Remedy::FastAgain(node));
            }
            Fault::Storm => {
                let lost = 1 + self.chance.below(150);
                note(cluster, fault, &format_args!("{lost} of 1000 messages are lost"));
                let weather = defs_port_suite::Weather { lost, ..cluster.network.weather() };
                cluster.network.set_weather(weather);
                self.later(Remedy::GoodWeather);
            }
            Fault::FailingDisk | Fault::FullDisk => self.spoil_disk(fault, node, cluster),
            Fault::Rot => self.rot(cluster),
            Fault::Lost => self.lose_one(cluster).await,
            Fault::PairLost => self.lose_pair(cluster),
            Fault::Join => {
                if cluster.machines.len() < MACHINES_MAX {
                    cluster.add().await;
                }
            }
            Fault::ClientOff => self.client_off(),
            Fault::Away => {
                let Some(pair) = self.pick_pair(cluster) else { return };
                let node = self.margin.fragile(&pair);
                note(cluster, fault, &node);
                cluster.switch_off(node);
                self.after(self.until_given_up(), Remedy::On(node));
            }
            Fault::Apart => self.set_apart(cluster),
        }
    }

    /// Puts right what is due, and switches on again what ended by itself.
    pub async fn mend(&mut self, cluster: &mut Cluster) {
        let now = Instant::now();
        while let Some(entry) = self.remedies.first_entry().filter(|entry| entry.key().0 <= now) {
            let remedy = entry.remove();
            apply(remedy, cluster).await;
        }
        for node in cluster.off() {
            let is_planned =
                |remedy: &Remedy| matches!(remedy, Remedy::On(other) if *other == node);
            if !self.remedies.values().any(is_planned) {
                cluster.switch_off(node);
                self.later(Remedy::On(node));
            }
        }
    }

    /// Puts everything right that can be.
    pub async fn end(&mut self, cluster: &mut Cluster) {
        for (_, remedy) in std::mem::take(&mut self.remedies) {
            apply(remedy, cluster).await;
        }
        cluster.network.heal_all();
        for node in cluster.off() {
            cluster.switch_off(node);
            cluster.switch_on(node).await;
        }
        for (_, machine) in cluster.machines.iter_mut() {
            machine.ahead_ms = 0;
            if let Some(life) = &machine.life {
                life.host.set_ahead(0);
                life.host.bear_writes();
                life.disk.set(DiskFaults { write_max: WRITE_MAX, ..DiskFaults::default() });
            }
        }
        cluster.trace.note(format_args!("everything is put right that can be"));
    }

    fn later(&mut self, remedy: Remedy) {
        let most = match self.pace {
            Pace::Fast => Duration::from_secs(12),
            Pace::Usual => Duration::from_secs(30),
        };
        let time = self.chance.between(Duration::from_millis(200), most);
        self.after(time, remedy);
    }

    fn after(&mut self, time: Duration, remedy: Remedy) {
        self.drawn += 1;
        self.remedies.insert((Instant::now() + time, self.drawn), remedy);
    }

    /// Around the time after which a node's partner looks for another.
    fn until_given_up(&self) -> Duration {
        let replaced = self.pace.timings().watch.replace_after();
        self.chance.between(replaced / 2, replaced * 2)
    }

    /// Of each pair the member goes that may be destroyed: another may take its place.
    fn set_apart(&mut self, cluster: &mut Cluster) {
        let share = 20 + self.chance.below(81);
        let pairs: Vec<_> = cluster.pairs().values().cloned().collect();
        let mut part = Vec::new();
        for pair in pairs {
            if self.chance.percent(share) {
                part.push(self.margin.fragile(&pair));
            }
        }
        note(cluster, Fault::Apart, &format_args!("{part:?}"));
        let mut cut = Vec::new();
        for other in cluster.machines.keys().filter(|other| !part.contains(other)) {
            cut.extend(part.iter().flat_map(|one| [(*one, *other), (*other, *one)]));
        }
        cut.iter().for_each(|(from, to)| cluster.network.cut(*from, *to));
        self.after(self.until_given_up(), Remedy::Joined(cut));
    }

    fn client_off(&self) {
        let hosts = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let on: Vec<_> = hosts.iter().filter(|host| host.is_on()).collect();
        if let Some(host) = self.chance.pick(&on) {
            host.switch_off();
        }
    }

    fn off(&mut self, node: NodeId, cluster: &mut Cluster) {
        note(cluster, Fault::Off, &node);
        cluster.switch_off(node);
        self.later(Remedy::On(node));
    }

    fn set_date(&mut self, node: NodeId, cluster: &mut Cluster) {
        let wrong = self.chance.below(2 * AHEAD_MAX_MS + 1);
        let ahead = i64::try_from(wrong).unwrap_or(0) - i64::try_from(AHEAD_MAX_MS).unwrap_or(0);
        note(cluster, Fault::Date, &format_args!("{node} is {ahead} ms ahead"));
        if let Some(life) = cluster.life(node) {
            life.host.set_ahead(ahead);
        }
    }

    fn cut(&mut self, fault: Fault, node: NodeId, cluster: &mut Cluster) {
        let all: Vec<_> = cluster.machines.keys().copied().collect();
        let mut cut = Vec::new();
        match fault {
            Fault::OneWay => {
                cut.extend(self.chance.pick(&all).map(|other| (node, *other)));
            }
            Fault::CutOff => {
                cut.extend(all.iter().flat_map(|other| [(node, *other), (*other, node)]));
            }
            _ => {
                let part: Vec<_> = all.iter().filter(|_| self.chance.percent(50)).collect();
                for one in &part {
                    let others = all.iter().filter(|other| !part.contains(other));
                    cut.extend(others.flat_map(|other| [(**one, *other), (*other, **one)]));
                }
            }
        }
        note(cluster, fault, &format_args!("{node}, {} directions", cut.len()));
        let most = if fault == Fault::OneWay { 20 } else { 10 };
        let time = self.chance.between(Duration::from_millis(200), Duration::from_secs(most));
        cut.retain(|(from, to)| from != to);
        cut.iter().for_each(|(from, to)| cluster.network.cut(*from, *to));
        self.after(time, Remedy::Joined(cut));
    }

    fn spoil_disk(&mut self, fault: Fault, node: NodeId, cluster: &mut Cluster) {
        let Some(life) = cluster.life(node) else { return };
        let faults = DiskFaults {
            reads_failing: self.chance.below(200),
            writes_failing: self.chance.below(200),
            full: fault == Fault::FullDisk,
            ..life.disk.faults()
        };
        life.disk.set(faults);
        note(cluster, fault, &format_args!("{node} {faults:?}"));
        self.later(Remedy::GoodDisk(node));
    }

    /// Some bytes of a member's disk that its pair may do without.
    fn rot(&mut self, cluster: &mut Cluster) {
        let Some(pair) = self.pick_pair(cluster) else { return };
        let node = self.margin.fragile(&pair);
        let Some(machine) = cluster.machines.get(&node) else { return };
        let keys: Vec<ShardKey> = machine.disk.shards().into_iter().map(|(key, ..)| key).collect();
        for _ in 0..1 + self.chance.below(3) {
            let Some(key) = self.chance.pick(&keys) else { return };
            let rotten = cluster.rot(node, *key, self.chance.place(64));
            note(cluster, Fault::Rot, &format_args!("{node} {key:?} {rotten}"));
        }
    }

    async fn lose_one(&mut self, cluster: &mut Cluster) {
        let Some(pair) = self.pick_pair(cluster) else { return };
        let node = self.margin.fragile(&pair);
        if !self.margin.allows_loss() || self.margin.doomed() == Some(pair.pair) {
            return;
        }
        self.margin.lost(node);
        note(cluster, Fault::Lost, &node);
        cluster.lose(node);
        if cluster.machines.len() < MACHINES_MAX {
            cluster.add().await;
        }
    }

    fn lose_pair(&mut self, cluster: &mut Cluster) {
        let Some(pair) = self.pick_pair(cluster) else { return };
        if !self.margin.allows_whole_pair() {
            return;
        }
        self.margin.lost_pair(pair.pair);
        note(cluster, Fault::PairLost, &pair.pair);
        pair.members.into_iter().for_each(|node| cluster.lose(node));
    }

    fn pick_pair(&self, cluster: &mut Cluster) -> Option<PairRecord> {
        let pairs: Vec<_> = cluster.pairs().values().cloned().collect();
        self.chance.pick(&pairs).cloned()
    }
}

fn note(cluster: &Cluster, fault: Fault, what: &dyn fmt::Display) {
    cluster.trace.note(format_args!("fault {fault:?}: {what}"));
}

async fn apply(remedy: Remedy, cluster: &mut Cluster) {
    match remedy {
        Remedy::On(node) => cluster.switch_on(node).await,
        Remedy::Joined(cut) => {
            cluster.trace.note(format_args!("{} directions are open again", cut.len()));
            cut.into_iter().for_each(|(from, to)| cluster.network.heal(from, to));
        }
        Remedy::FastAgain(node) => cluster.network.speed_up(node),
        Remedy::GoodWeather => {
            let weather = defs_port_suite::Weather { lost: 0, ..cluster.network.weather() };
            cluster.network.set_weather(weather);
        }
        Remedy::GoodDisk(node) => {
            if let Some(life) = cluster.life(node) {
                life.disk.set(DiskFaults { write_max: WRITE_MAX, ..DiskFaults::default() });
            }
        }
    }
}
