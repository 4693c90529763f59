//! Metrics that are split by a label. The values of a label are those of an enum: their
//! number is known, and each stands in the output from the start, at nought.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use defs_core::message::{Reason, Request, Rung};
use defs_core::states::{PairState, State};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::Registry;
use crate::declared::{Declared, Kind};
use crate::measure::{Count, Level, Measure, add};

/// An enum that splits a metric.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;

    /// Every value.
    fn all() -> Vec<Self>;

    /// The value in snake case.
    fn text(self) -> String;
}

impl Label for Reason {
    const KEY: &'static str = "reason";

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn text(self) -> String {
        snake(&format!("{self:?}"))
    }
}

impl Label for Rung {
    const KEY: &'static str = "rung";

    fn all() -> Vec<Self> {
        vec![Self::Local, Self::Broadcast, Self::Kademlia, Self::Nowhere]
    }

    fn text(self) -> String {
        self.to_string()
    }
}

impl Label for PairState {
    const KEY: &'static str = "state";

    fn all() -> Vec<Self> {
        let moves = Self::MOVES.iter().flat_map(|(from, to)| [*from, *to]);
        moves.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn text(self) -> String {
        snake(&self.to_string())
    }
}

/// What was asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Hello and sessions.
    Session,
    /// A shard to store, from its owner or from the partner.
    Store,
    /// Sealed bytes.
    Read,
    /// Longer leases, commits and deletions.
    Keep,
    /// Records to write.
    WriteRecords,
    /// Records to read.
    ReadRecords,
    /// What a sibling knows of a stripe, proposals, heartbeats and witnesses' words.
    Node,
    /// Copies for the partner, parts for a rebuild, and challenges.
    Heal,
    /// The table of nodes and pairs.
    Table,
    /// Who holds something.
    Locate,
}

impl Ask {
    /// What a request asks for.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Hello(_) | Request::OpenSession(_) => Self::Session,
            Request::StoreShard(_) | Request::MirrorShard(_) => Self::Store,
            Request::ReadShard(_) => Self::Read,
            Request::Renew { .. } | Request::Commit { .. } | Request::Delete { .. } => Self::Keep,
            Request::WriteRecords { .. } => Self::WriteRecords,
            Request::ReadRecords { .. } => Self::ReadRecords,
            Request::StripeStatus { .. }
            | Request::Propose(_)
            | Request::Heartbeat { .. }
            | Request::Ping
            | Request::Probe { .. }
            | Request::Confirm { .. }
            | Request::History { .. }
            | Request::Readings { .. } => Self::Node,
            Request::Summary { .. }
            | Request::CopyShard { .. }
            | Request::CopyRecords { .. }
            | Request::CopyTombstones { .. }
            | Request::Release { .. }
            | Request::StandIn { .. }
            | Request::TakeRecords { .. }
            | Request::Moved(_)
            | Request::Challenge { .. } => Self::Heal,
            Request::Table { .. } => Self::Table,
            Request::Locate { .. } | Request::Found { .. } => Self::Locate,
        }
    }
}

impl Label for Ask {
    const KEY: &'static str = "ask";

    fn all() -> Vec<Self> {
        vec![
            Self::Session,
            Self::Store,
            Self::Read,
            Self::Keep,
            Self::WriteRecords,
            Self::ReadRecords,
            Self::Node,
            Self::Heal,
            Self::Table,
            Self::Locate,
        ]
    }

    fn text(self) -> String {
        snake(&format!("{self:?}"))
    }
}

/// `WrongNetwork` as `wrong_network`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

type Labels = [(&'static str, String); 1];

/// A metric for each value of a label.
pub struct By<L, M: Split> {
    family: Family<Labels, M::Inner>,
    label: PhantomData<fn(L) -> M>,
}

/// A metric that can be split.
pub trait Split: Measure {
    /// What the registry holds.
    type Inner: Clone + Default + Send + Sync + fmt::Debug + 'static;

    /// The handle on it.
    fn around(inner: Self::Inner) -> Self;

    /// Makes the whole family known.
    fn add(declared: &Declared, registry: &mut Registry, family: Family<Labels, Self::Inner>);
}

impl Split for Count {
    type Inner = Counter<u64>;

    fn around(inner: Self::Inner) -> Self {
        Self(inner)
    }

    fn add(declared: &Declared, registry: &mut Registry, family: Family<Labels, Self::Inner>) {
        add(declared, registry, family);
    }
}

impl Split for Level {
    type Inner = Gauge<u64, AtomicU64>;

    fn around(inner: Self::Inner) -> Self {
        Self(inner)
    }

    fn add(declared: &Declared, registry: &mut Registry, family: Family<Labels, Self::Inner>) {
        add(declared, registry, family);
    }
}

impl<L: Label, M: Split> By<L, M> {
    /// The metric of `value`.
    #[must_use]
    pub fn of(&self, value: L) -> M {
        M::around(self.family.get_or_create_owned(&[(L::KEY, value.text())]))
    }
}

impl<L: Label, M: Split> Measure for By<L, M> {
    const KIND: Kind = M::KIND;
    const LABEL: Option<&'static str> = Some(L::KEY);

    fn register(declared: &Declared, registry: &mut Registry) -> Self {
        let measure = Self::default();
        for value in L::all() {
            drop(measure.of(value));
        }
        M::add(declared, registry, measure.family.clone());
        measure
    }
}

impl<L, M: Split> Default for By<L, M> {
    fn default() -> Self {
        Self { family: Family::default(), label: PhantomData }
    }
}

impl<L, M: Split> Clone for By<L, M> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), label: PhantomData }
    }
}

impl<L: Label, M: Split> fmt::Debug for By<L, M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "By({})", L::KEY)
    }
}
