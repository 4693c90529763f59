//! What a look-up costs in networks of several sizes.
//!
//! Full engines by the ten thousand don't fit a machine, so this is a model of the messages
//! that they send: delays are drawn for each, a broadcast spreads over a mesh as gossip
//! does, and the hash table is walked three nodes at a time towards the twenty nearest.
//! Nothing is lost here. What the model takes from the code is said at each constant.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;

use crate::chance::Chance;

/// Milliseconds that a message takes, at least and at most.
const DELAY_MS: (u64, u64) = (20, 100);

/// Nodes to which each passes a message of gossip on (gossipsub's mesh).
const MESH: usize = 6;

/// The engine's broadcast waits so long for an answer, see `Timings::broadcast`.
const BROADCAST_MS: u64 = 600;

/// Pairs that hold a file's records.
const RECORD_PAIRS: usize = 3;

/// Contacts in a bucket of the hash table, and questions at once (libp2p's Kademlia).
const BUCKET: usize = 20;
const AT_ONCE: usize = 3;

/// Bytes of each message, with the frame around it: a question by locator, asker and number;
/// an answer with a pair; a request for a record and one of 4 KiB; twenty contacts with
/// addresses.
const QUERY: u64 = 110;
const ANSWER: u64 = 100;
const ASK_RECORD: u64 = 120;
const RECORD: u64 = 4096;
const FIND: u64 = 90;
const CONTACTS: u64 = 20 * 90;

/// What one look-up cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// One after the other, as the asker sees them.
    pub round_trips: u64,
    /// All that were sent for it, by whomever.
    pub messages: u64,
    /// In them.
    pub bytes: u64,
    /// Until the record is there.
    pub millis: u64,
    /// Whether it was found.
    pub is_found: bool,
}

/// How it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The ticket names the pairs.
    Hints,
    /// One broadcast through a node, then the pairs.
    Broadcast,
    /// No broadcast is answered; then the hash table, then the pairs.
    Ladder,
    /// The hash table at once, as in systems that have nothing else.
    Plain,
}

const WAYS: &[(Way, &str)] = &[
    (Way::Hints, "hints"),
    (Way::Broadcast, "broadcast"),
    (Way::Ladder, "broadcast unanswered, then Kademlia"),
    (Way::Plain, "plain Kademlia"),
];

/// A network of nodes that know some others.
#[derive(Debug)]
pub struct Model {
    chance: Chance,
    mesh: Vec<Vec<usize>>,
    /// The names of the nodes, in order: a node's place is its number.
    names: Vec<u64>,
}

impl Model {
    /// A network of `nodes`.
    #[must_use]
    pub fn new(nodes: usize, seed: u64) -> Self {
        let chance = Chance::of(seed, &format!("look-ups among {nodes}"));
        let mut names: Vec<u64> = (0..nodes).map(|_| chance.next()).collect();
        names.sort_unstable();
        let mut mesh = vec![BTreeSet::new(); nodes];
        for node in 0..nodes {
            for _ in 0..MESH / 2 {
                let other = chance.place(nodes);
                if other != node {
                    mesh[node].insert(other);
                    mesh[other].insert(node);
                }
            }
        }
        let mesh = mesh.into_iter().map(|peers| peers.into_iter().collect()).collect();
        Self { chance, mesh, names }
    }

    /// One look-up from a node drawn at random.
    #[must_use]
    pub fn look_up(&self, way: Way) -> Cost {
        let asked = self.chance.place(self.names.len());
        let mut cost = Cost::default();
        match way {
            Way::Hints => {}
            Way::Broadcast => self.broadcast(asked, true, &mut cost),
            Way::Ladder => {
                self.broadcast(asked, false, &mut cost);
                self.walk(asked, &mut cost);
            }
            Way::Plain => self.walk(asked, &mut cost),
        }
        self.read(&mut cost);
        cost
    }

    fn delay(&self) -> u64 {
        DELAY_MS.0 + self.chance.below(DELAY_MS.1 - DELAY_MS.0 + 1)
    }

    /// A question and its answer.
    fn exchange(&self, cost: &mut Cost, asked: u64, answered: u64) -> u64 {
        cost.messages += 2;
        cost.bytes += asked + answered;
        self.delay() + self.delay()
    }

    /// A quorum of the record's pairs is asked at once.
    fn read(&self, cost: &mut Cost) {
        let quorum = RECORD_PAIRS / 2 + 1;
        let took: Vec<_> = (0..quorum).map(|_| self.exchange(cost, ASK_RECORD, RECORD)).collect();
        cost.round_trips += 1;
        cost.millis += took.into_iter().max().unwrap_or_default();
        cost.is_found = true;
    }

    /// The client asks a node, which asks everybody.
    fn broadcast(&self, from: usize, is_answered: bool, cost: &mut Cost) {
        cost.millis += self.exchange(cost, ASK_RECORD, ANSWER);
        cost.round_trips += 2;
        let heard = self.spread(from, cost);
        let holders: BTreeSet<_> =
            (0..RECORD_PAIRS * 2).map(|_| self.chance.place(self.names.len())).collect();
        if !is_answered {
            cost.millis += BROADCAST_MS;
            return;
        }
        let mut first = BROADCAST_MS;
        for at in holders.iter().filter_map(|holder| heard.get(holder)) {
            // Each holder answers, whether it is needed or not.
            first = first.min(at + self.exchange(cost, ANSWER, QUERY / 4));
        }
        cost.millis += first;
    }

    /// When each node hears what `from` publishes.
    fn spread(&self, from: usize, cost: &mut Cost) -> BTreeMap<usize, u64> {
        let mut heard = BTreeMap::new();
        let mut due = BinaryHeap::from([Reverse((0, from, from))]);
        while let Some(Reverse((at, node, teller))) = due.pop() {
            if heard.contains_key(&node) {
                continue;
            }
            heard.insert(node, at);
            for next in self.mesh[node].iter().filter(|next| **next != teller) {
                cost.messages += 1;
                cost.bytes += QUERY;
                due.push(Reverse((at + self.delay(), *next, node)));
            }
        }
        heard
    }

    /// Walks the hash table towards a name: three at a time, until the nearest known have
    /// been asked.
    fn walk(&self, from: usize, cost: &mut Cost) {
        let sought = self.chance.next();
        let mut known: BTreeSet<(u64, usize)> = self.contacts(from, sought).collect();
        let mut asked = BTreeSet::new();
        loop {
            let nearest = known.iter().take(BUCKET).map(|(_, node)| *node);
            let next: Vec<_> = nearest.filter(|node| !asked.contains(node)).take(AT_ONCE).collect();
            let is_better = |(near, _): &&(u64, usize)| {
                let asked_near = asked.iter().map(|node: &usize| self.names[*node] ^ sought).min();
                asked_near.is_none_or(|best| *near < best)
            };
            // Nobody nearer is known than was asked: those who keep the record were reached.
            if next.is_empty() || known.iter().next().filter(is_better).is_none() {
                return;
            }
            cost.round_trips += 1;
            let mut slowest = 0;
            for node in next {
                asked.insert(node);
                slowest = slowest.max(self.exchange(cost, FIND, CONTACTS));
                known.extend(self.contacts(node, sought));
            }
            cost.millis += slowest;
        }
    }

    /// The contacts of `node` that it tells of: of the bucket in which `sought` lies.
    fn contacts(&self, node: usize, sought: u64) -> impl Iterator<Item = (u64, usize)> {
        let name = self.names[node];
        let shared = (name ^ sought).leading_zeros();
        // Names that share one bit more with what is sought than this node does.
        let bits = 64 - (shared + 1).min(64);
        let low = sought.checked_shr(bits).unwrap_or(0).checked_shl(bits).unwrap_or(0);
        let high = low | 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1);
        let begin = self.names.partition_point(|other| *other < low);
        let end = self.names.partition_point(|other| *other <= high);
        // It knows a bucket's worth of them: others are known to others.
        let mut some: BTreeSet<usize> = BTreeSet::new();
        if end - begin <= BUCKET {
            some.extend(begin..end);
        } else {
            while some.len() < BUCKET {
                some.insert(begin + self.chance.place(end - begin));
            }
        }
        some.into_iter()
            .map(move |other| (self.names[other] ^ sought, other))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// The table, in Markdown: means over `count` look-ups of each way and size.
#[must_use]
pub fn table(sizes: &[usize], count: u64) -> String {
    let mut out = String::from(
        "| nodes | way | round trips | messages | bytes | ms, median | ms, 95 of 100 |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for nodes in sizes {
        let model = Model::new(*nodes, 1);
        for (way, name) in WAYS {
            let costs: Vec<_> = (0..count).map(|_| model.look_up(*way)).collect();
            let mean = |of: fn(&Cost) -> u64| {
                let sum: u64 = costs.iter().map(of).sum();
                tenths(sum * 10 / count.max(1))
            };
            let mut millis: Vec<_> = costs.iter().map(|cost| cost.millis).collect();
            millis.sort_unstable();
            let at = |percent: usize| {
                millis.get(millis.len() * percent / 100).copied().unwrap_or_default()
            };
            let (trips, messages) = (mean(|cost| cost.round_trips), mean(|cost| cost.messages));
            let bytes = costs.iter().map(|cost| cost.bytes).sum::<u64>() / count.max(1);
            let (half, most) = (at(50), at(95));
            // Writing to a string can't fail.
            writeln!(
                out,
                "| {nodes} | {name} | {trips} | {messages} | {bytes} | {half} | {most} |"
            )
            .ok();
        }
    }
    out
}

fn tenths(number: u64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_reaches_everybody_and_costs_a_mesh() {
        let model = Model::new(1000, 1);
        let mut cost = Cost::default();
        assert_eq!(model.spread(0, &mut cost).len(), 1000);
        let links: usize = model.mesh.iter().map(Vec::len).sum();
        // All links but those over which each heard it first.
        assert_eq!(cost.messages, links as u64 - 999);
    }

    #[test]
    fn a_walk_ends_near_what_is_sought_in_some_hops_by_the_logarithm() {
        let trips = |nodes| {
            let model = Model::new(nodes, 1);
            let costs = (0..50).map(|_| model.look_up(Way::Plain).round_trips);
            costs.sum::<u64>() / 50
        };
        let (small, large) = (trips(10), trips(10_000));
        assert!(small < large && large <= 8, "{small} and {large} round trips");
    }

    #[test]
    fn hints_cost_one_round_trip_whatever_the_size() {
        for nodes in [10, 10_000] {
            let cost = Model::new(nodes, 1).look_up(Way::Hints);
            assert_eq!((cost.round_trips, cost.messages), (1, 4));
        }
    }
}
