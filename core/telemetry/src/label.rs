//! Metrics that are split by a label. The values of a label are those of an enum: their
//! number is known, and each stands in the output from the start, at nought.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

use defs_core::message::{Reason, Request, Rung};
use defs_core::states::{PairState, State};
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::Registry;
use crate::declared::{Declared, Kind};
use crate::measure::{Count, Level, Measure, Seconds, Single as _, Times, add};
use crate::reading::{Point, Value};

/// An enum that splits a metric, or several together.
pub trait Label: Copy + 'static {
    /// The labels' names.
    const KEYS: &'static [&'static str];

    /// Every value.
    fn all() -> Vec<Self>;

    /// The value of each label, in snake case.
    fn texts(self) -> Vec<String>;
}

impl Label for Reason {
    const KEYS: &'static [&'static str] = &["reason"];

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn texts(self) -> Vec<String> {
        vec![snake(&format!("{self:?}"))]
    }
}

impl Label for Rung {
    const KEYS: &'static [&'static str] = &["rung"];

    fn all() -> Vec<Self> {
        vec![Self::Local, Self::Broadcast, Self::Kademlia, Self::Nowhere]
    }

    fn texts(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl Label for PairState {
    const KEYS: &'static [&'static str] = &["state"];

    fn all() -> Vec<Self> {
        let moves = Self::MOVES.iter().flat_map(|(from, to)| [*from, *to]);
        moves.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn texts(self) -> Vec<String> {
        vec![snake(&self.to_string())]
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

impl Ask {
    /// Whether owners ask for it, so that it may begin a trace: what nodes say to each other
    /// by themselves, all the time, does not.
    #[must_use]
    pub fn is_work(self) -> bool {
        matches!(
            self,
            Self::Store | Self::Read | Self::Keep | Self::WriteRecords | Self::ReadRecords
        )
    }
}

impl Label for Ask {
    const KEYS: &'static [&'static str] = &["ask"];

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

    fn texts(self) -> Vec<String> {
        vec![snake(&format!("{self:?}"))]
    }
}

/// Which of the operator's controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Of DefsCluster objects.
    Cluster,
    /// Of DefsNode objects.
    Node,
    /// Of DefsPair objects.
    Pair,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Cluster, Self::Node, Self::Pair];

    /// Its name in metrics and spans: its kind's, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "defscluster",
            Self::Node => "defsnode",
            Self::Pair => "defspair",
        }
    }
}

impl Label for Controller {
    const KEYS: &'static [&'static str] = &["controller"];

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn texts(self) -> Vec<String> {
        vec![self.name().to_owned()]
    }
}

/// How a reconciliation ended, in the words of controller-runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is to be looked at again when something changes.
    Success,
    /// It failed, and is tried again.
    Error,
    /// It is to be looked at again after a while.
    RequeueAfter,
}

/// A controller, and how a reconciliation of it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled(pub Controller, pub Outcome);

impl Label for Reconciled {
    const KEYS: &'static [&'static str] = &["controller", "result"];

    fn all() -> Vec<Self> {
        let outcomes = [Outcome::Success, Outcome::Error, Outcome::RequeueAfter];
        let each = |controller| outcomes.map(|outcome| Self(controller, outcome));
        Controller::ALL.into_iter().flat_map(each).collect()
    }

    fn texts(self) -> Vec<String> {
        vec![self.0.name().to_owned(), snake(&format!("{:?}", self.1))]
    }
}

/// The lease of the operator that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorLease;

impl Label for OperatorLease {
    const KEYS: &'static [&'static str] = &["name"];

    fn all() -> Vec<Self> {
        vec![Self]
    }

    fn texts(self) -> Vec<String> {
        vec!["defs-operator".to_owned()]
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

type Labels = Vec<(&'static str, String)>;

/// A metric for each value of a label.
pub struct By<L, M: Split> {
    family: Family<Labels, M::Inner>,
    label: PhantomData<fn(L) -> M>,
}

/// A metric that can be split.
pub trait Split: Measure + 'static {
    /// What the registry holds.
    type Inner: EncodeMetric + TypedMetric + Clone + Default + Send + Sync + fmt::Debug + 'static;

    /// The handle on it.
    fn around(inner: Self::Inner) -> Self;

    /// The number now.
    fn read(&self) -> Value;
}

macro_rules! split {
    ($measure:ident, $inner:ty) => {
        impl Split for $measure {
            type Inner = $inner;

            fn around(inner: Self::Inner) -> Self {
                Self(inner)
            }

            fn read(&self) -> Value {
                self.value()
            }
        }
    };
}

split!(Count, Counter<u64>);
split!(Level, Gauge<u64, AtomicU64>);
split!(Seconds, Times);

impl<L: Label, M: Split> By<L, M> {
    /// The metric of `value`.
    #[must_use]
    pub fn of(&self, value: L) -> M {
        M::around(self.family.get_or_create_owned(&labels(value)))
    }

    fn points(&self) -> Vec<Point> {
        let point = |value| Point { labels: labels(value), value: self.of(value).read() };
        L::all().into_iter().map(point).collect()
    }
}

fn labels<L: Label>(value: L) -> Labels {
    L::KEYS.iter().copied().zip(value.texts()).collect()
}

impl<L: Label, M: Split> Measure for By<L, M> {
    const KIND: Kind = M::KIND;
    const LABELS: &'static [&'static str] = L::KEYS;

    fn register(declared: &Declared, registry: &mut Registry) -> Self {
        let measure = Self::default();
        for value in L::all() {
            drop(measure.of(value));
        }
        let read = measure.clone();
        add(declared, registry, measure.family.clone(), move || read.points());
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
        write!(out, "By({})", L::KEYS.join(", "))
    }
}
