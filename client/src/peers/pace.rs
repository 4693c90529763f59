//! How fast each node answers, learned from its answers: which member of a pair is asked
//! first, and after how long somebody else is asked too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::NodeId;

/// Answers that are remembered a node: enough for a 95th percentile, few enough to forget
/// a bad minute within a second of work.
const REMEMBERED: usize = 32;

/// Nodes that are remembered; more than a client talks to.
const NODES_MAX: usize = 16_384;

/// Nobody is asked in another's place sooner: below this, waiting costs less than asking.
const HEDGE_MIN: Duration = Duration::from_millis(20);

/// Somebody else is asked after this time at the latest.
const HEDGE_MAX: Duration = Duration::from_secs(3);

/// The wait before anything is known of a node.
const HEDGE_UNKNOWN: Duration = Duration::from_millis(300);

/// How long a node that failed is asked last.
const SHUNNED: Duration = Duration::from_secs(5);

/// Shards of this size and above are compared by their time for each such piece.
const PIECE: u64 = 1 << 20;

/// What a time is for: records answer from memory, shards from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Record,
    /// With its bytes.
    Shard(u64),
}

impl Kind {
    fn pieces(self) -> f64 {
        match self {
            Self::Record => 1.0,
            #[expect(clippy::cast_precision_loss, reason = "a shard has at most 64 MiB")]
            Self::Shard(bytes) => bytes.max(PIECE) as f64 / PIECE as f64,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<BTreeMap<NodeId, Node>>);

#[derive(Debug, Default)]
struct Node {
    records: Times,
    shards: Times,
    outstanding: u32,
    /// By the clock's elapsed time.
    failed_at: Option<Duration>,
}

/// The last times in a ring.
#[derive(Debug, Default)]
struct Times {
    ring: Vec<Duration>,
    next: usize,
}

impl Times {
    fn add(&mut self, time: Duration) {
        if self.ring.len() < REMEMBERED {
            self.ring.push(time);
        } else {
            self.ring[self.next] = time;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// The 95th percentile: of few times, the longest.
    fn p95(&self) -> Option<Duration> {
        let mut sorted = self.ring.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1)).copied()
    }

    fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.ring.len()).ok().filter(|count| *count > 0)?;
        Some(self.ring.iter().sum::<Duration>() / count)
    }
}

impl Pace {
    pub(crate) fn begins(&self, node: NodeId) {
        self.with(node, |known| known.outstanding += 1);
    }

    pub(crate) fn answered(&self, node: NodeId, kind: Kind, took: Duration) {
        self.with(node, |known| {
            known.outstanding = known.outstanding.saturating_sub(1);
            known.failed_at = None;
            match kind {
                Kind::Record => known.records.add(took),
                Kind::Shard(_) => known.shards.add(took.div_f64(kind.pieces())),
            }
        });
    }

    /// Nobody learns from this exchange, but it is over.
    pub(crate) fn given_up(&self, node: NodeId) {
        self.with(node, |known| known.outstanding = known.outstanding.saturating_sub(1));
    }

    pub(crate) fn failed(&self, node: NodeId, now: Duration) {
        self.with(node, |known| {
            known.outstanding = known.outstanding.saturating_sub(1);
            known.failed_at = Some(now);
        });
    }

    /// It answered, and not with what was asked for: it is asked last for a while.
    pub(crate) fn distrusts(&self, node: NodeId, now: Duration) {
        self.with(node, |known| known.failed_at = Some(now));
    }

    /// How long to wait for `node` before asking another one too.
    pub(crate) fn hedge_after(&self, node: NodeId, kind: Kind) -> Duration {
        let learned = self.with(node, |known| match kind {
            Kind::Record => known.records.p95(),
            Kind::Shard(_) => known.shards.p95(),
        });
        let usual = learned.map_or(HEDGE_UNKNOWN, |p95| p95.mul_f64(2.0));
        usual.mul_f64(kind.pieces()).clamp(HEDGE_MIN, HEDGE_MAX)
    }

    /// `members` with the one to ask first in front: none that failed lately or that the
    /// table calls dead, then by queue and usual time.
    pub(crate) fn order(
        &self,
        members: [NodeId; 2],
        alive: [bool; 2],
        kind: Kind,
        now: Duration,
    ) -> [NodeId; 2] {
        let cost = |place: usize| {
            let (shunned, wait) = self.with(members[place], |known| {
                let shunned = known.failed_at.is_some_and(|at| now.saturating_sub(at) < SHUNNED);
                let mean = match kind {
                    Kind::Record => known.records.mean(),
                    Kind::Shard(_) => known.shards.mean(),
                };
                // Unknown nodes come first: they are tried once and then known.
                (shunned, mean.unwrap_or_default() * (1 + known.outstanding))
            });
            (shunned || !alive[place], wait)
        };
        if cost(1) < cost(0) { [members[1], members[0]] } else { members }
    }

    /// Whether `node` failed a moment ago.
    pub(crate) fn is_shunned(&self, node: NodeId, now: Duration) -> bool {
        self.with(node, |known| known.failed_at.is_some_and(|at| now.saturating_sub(at) < SHUNNED))
    }

    fn with<T>(&self, node: NodeId, ask: impl FnOnce(&mut Node) -> T) -> T {
        let mut nodes = self.lock();
        if nodes.len() >= NODES_MAX && !nodes.contains_key(&node) {
            nodes.pop_first();
        }
        ask(nodes.entry(node).or_default())
    }

    // Times half-written by a panic elsewhere are still times.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: NodeId = NodeId([1; 32]);
    const SLOW: NodeId = NodeId([2; 32]);
    const NOW: Duration = Duration::from_secs(100);

    fn after(pace: &Pace, node: NodeId, kind: Kind, millis: u64) {
        pace.begins(node);
        pace.answered(node, kind, Duration::from_millis(millis));
    }

    #[test]
    fn the_faster_member_is_asked_first_until_it_fails_or_queues() {
        let pace = Pace::default();
        after(&pace, FAST, Kind::Record, 10);
        after(&pace, SLOW, Kind::Record, 25);
        let order = || pace.order([SLOW, FAST], [true; 2], Kind::Record, NOW);
        assert_eq!(order(), [FAST, SLOW]);
        pace.begins(FAST);
        pace.begins(FAST);
        assert_eq!(order(), [SLOW, FAST]);
        pace.given_up(FAST);
        pace.failed(FAST, NOW);
        assert_eq!(order(), [SLOW, FAST]);
        // Of two that are likely away, the faster one.
        assert_eq!(pace.order([SLOW, FAST], [false, true], Kind::Record, NOW), [FAST, SLOW]);
        let later = NOW + SHUNNED;
        assert_eq!(pace.order([SLOW, FAST], [true; 2], Kind::Record, later), [FAST, SLOW]);
    }

    #[test]
    fn the_wait_before_asking_another_is_twice_the_95th_percentile_within_bounds() {
        let pace = Pace::default();
        assert_eq!(pace.hedge_after(SLOW, Kind::Record), HEDGE_UNKNOWN);
        after(&pace, FAST, Kind::Record, 1);
        assert_eq!(pace.hedge_after(FAST, Kind::Record), HEDGE_MIN);
        for millis in 1..=40 {
            after(&pace, SLOW, Kind::Record, millis);
        }
        // Of 9..=40 the 31st.
        assert_eq!(pace.hedge_after(SLOW, Kind::Record), Duration::from_millis(2 * 39));
        after(&pace, SLOW, Kind::Shard(4 << 20), 400);
        assert_eq!(pace.hedge_after(SLOW, Kind::Shard(1)), Duration::from_millis(200));
        assert_eq!(pace.hedge_after(SLOW, Kind::Shard(2 << 20)), Duration::from_millis(400));
        assert_eq!(pace.hedge_after(SLOW, Kind::Shard(64 << 20)), HEDGE_MAX);
    }
}
