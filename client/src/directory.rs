//! What the client knows of the network: admitted nodes and signed pairs, as a node it
//! trusts for nothing but the freshness of this told it. Asked for again when it is old
//! or when a pair says that its epoch is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, NetworkId, NodeId, PairId};
use defs_core::message::{PairView, Request, Response, Table};
use defs_core::network::{
    Admission, Genesis, Labels, NodeCard, PairRecord, SignedCard, SignedPairRecord,
};
use defs_core::port::{CallError, Clock as _, Compute as _, Peers as _, Randomness as _};
use defs_core::record::RECORD_PAIRS;
use defs_core::statement::Statement as _;
use defs_identity::{CachedChecker, verify_node};
use thiserror::Error;

use crate::peers::{Links, unexpected};
use crate::ports::World;

/// A table is asked for at most this often, whoever wants it.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// A table older than this is asked for again before anything is placed.
const STALE: Duration = Duration::from_secs(5);

/// A pair that said it was full is left alone for so long.
const FULL: Duration = Duration::from_secs(60);

/// A pair that couldn't take a shard is left alone for so long.
const AVOIDED: Duration = Duration::from_secs(10);

/// Nodes that are asked for the table, one after the other, before giving up.
const CONTACTS_TRIED: usize = 8;

/// Parts in which a node may tell its table: some 30,000 nodes.
const TABLE_PARTS_MAX: usize = 64;

/// A pair as it is now.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Its newest record.
    pub record: PairRecord,
    /// Whether each member answers.
    pub alive: [bool; 2],
    /// Bytes that both members have left.
    pub free: u64,
    /// Where its members stand.
    pub labels: [Labels; 2],
}

impl Pair {
    /// Whether it takes new shards.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.alive == [true; 2]
    }
}

/// The network at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Pairs whose members are both admitted.
    pub pairs: BTreeMap<PairId, Pair>,
    /// Admitted nodes.
    pub nodes: BTreeMap<NodeId, NodeCard>,
}

impl View {
    /// Whether a member of `pair` lives.
    pub(crate) fn answers(&self, pair: &PairId) -> bool {
        self.pairs.get(pair).is_some_and(|pair| pair.alive.contains(&true))
    }
}

/// Nobody told what the network looks like.
#[derive(Debug, Clone, Error)]
pub enum Unreachable {
    /// There is nobody to ask.
    #[error("no node of the network is known: name one to connect to")]
    NobodyKnown,
    /// All that were asked failed; the last error is the cause.
    #[error("none of {asked} nodes told what the network looks like")]
    NobodyAnswered {
        /// How many were asked.
        asked: usize,
        /// Why the last one didn't.
        source: CallError,
    },
}

#[derive(Debug)]
pub(crate) struct Directory<W> {
    world: Arc<W>,
    links: Arc<Links<W>>,
    view: RwLock<Arc<View>>,
    contacts: Mutex<BTreeSet<NodeId>>,
    /// When the table was last asked for; locked while it is.
    asked_at: tokio::sync::Mutex<Option<Duration>>,
    avoided: Mutex<BTreeMap<PairId, Avoided>>,
}

impl<W: World> Directory<W> {
    pub(crate) fn new(world: Arc<W>, links: Arc<Links<W>>, contacts: Vec<NodeId>) -> Self {
        Self {
            world,
            links,
            view: RwLock::default(),
            contacts: Mutex::new(contacts.into_iter().collect()),
            asked_at: tokio::sync::Mutex::new(None),
            avoided: Mutex::default(),
        }
    }

    /// The network as it was last seen.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_contact(&self, node: NodeId) {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
    }

    /// The network as it was a few seconds ago at the latest.
    pub(crate) async fn fresh(&self) -> Result<Arc<View>, Unreachable> {
        self.not_older_than(STALE).await
    }

    /// The network as it is now, as far as anybody may ask that often.
    pub(crate) async fn refresh(&self) -> Result<Arc<View>, Unreachable> {
        self.not_older_than(REFRESH_MIN).await
    }

    async fn not_older_than(&self, age: Duration) -> Result<Arc<View>, Unreachable> {
        let mut asked_at = self.asked_at.lock().await;
        let now = self.world.clock().elapsed();
        if asked_at.is_some_and(|at| now.saturating_sub(at) < age) {
            return Ok(self.view());
        }
        let view = self.ask_around().await?;
        *asked_at = Some(self.world.clock().elapsed());
        Ok(view)
    }

    async fn ask_around(&self) -> Result<Arc<View>, Unreachable> {
        let mut failed = None;
        let (mut asked, mut told) = (0, BTreeSet::new());
        while asked < CONTACTS_TRIED
            && let Some(node) = self.next_contact(&told)
        {
            asked += 1;
            told.insert(node);
            match self.ask(node).await {
                Ok(table) => return Ok(self.merge(table)),
                Err(error) => {
                    tracing::debug!(%node, error = &error as &dyn std::error::Error, "no table");
                    self.links.pace.failed(node, self.world.clock().elapsed());
                    failed = Some(error);
                }
            }
        }
        Err(failed.map_or(Unreachable::NobodyKnown, |source| Unreachable::NobodyAnswered {
            asked,
            source,
        }))
    }

    /// Somebody who was not asked yet: at random among those that did not fail lately.
    fn next_contact(&self, told: &BTreeSet<NodeId>) -> Option<NodeId> {
        let now = self.world.clock().elapsed();
        let contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<_> = contacts.iter().filter(|node| !told.contains(node)).copied().collect();
        let well: Vec<_> =
            left.iter().filter(|node| !self.links.pace.is_shunned(**node, now)).copied().collect();
        let choice = if well.is_empty() { left } else { well };
        let draw = u64::from_le_bytes(self.world.random().array());
        let place = draw.checked_rem(choice.len() as u64)?;
        choice.get(usize::try_from(place).ok()?).copied()
    }

    async fn ask(&self, node: NodeId) -> Result<View, CallError> {
        let table = self.ask_whole(node).await?;
        let Some(genesis) = self.links.genesis().copied() else {
            return Err(unexpected(node, "it told a table and no network"));
        };
        let checker = Arc::clone(&self.links.checker);
        let checking = move || verified(&genesis, table, &checker);
        Ok(self.world.compute().run(checking).await)
    }

    /// Every part of the table that `node` knows.
    async fn ask_whole(&self, node: NodeId) -> Result<Table, CallError> {
        let mut whole = Table::default();
        let mut from = Some(0);
        for _ in 0..TABLE_PARTS_MAX {
            let Some(place) = from else { return Ok(whole) };
            let request = Request::Table { from: place };
            let reply = self.links.call(node, request, Body::empty()).await?;
            let Response::Table(part) = reply.response else {
                return Err(unexpected(
                    node,
                    "the table was asked for and something else answered",
                ));
            };
            whole.cards.extend(part.cards);
            whole.pairs.extend(part.pairs);
            from = part.next;
        }
        Err(unexpected(node, "its table of the network doesn't end"))
    }

    /// Takes what is newer; a node that lags takes nothing back.
    fn merge(&self, mut told: View) -> Arc<View> {
        let known = self.view();
        for (id, pair) in &known.pairs {
            let kept = match told.pairs.remove(id) {
                Some(again) => newest(pair.clone(), again),
                None => pair.clone(),
            };
            told.pairs.insert(*id, kept);
        }
        for (id, card) in &known.nodes {
            told.nodes.entry(*id).or_insert_with(|| card.clone());
        }
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, card) in &told.nodes {
            if known.nodes.get(node).is_none_or(|before| before.addresses != card.addresses) {
                self.world.peers().learn(*node, &card.addresses);
            }
            contacts.insert(*node);
        }
        let told = Arc::new(told);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&told);
        told
    }

    /// Nothing new is put on `pair` for a while, while others will do.
    pub(crate) fn avoid(&self, pair: PairId, is_full: bool) {
        let until = self.world.clock().elapsed() + if is_full { FULL } else { AVOIDED };
        let avoided = Avoided { until, is_full };
        self.avoided.lock().unwrap_or_else(PoisonError::into_inner).insert(pair, avoided);
    }

    /// Pairs that take new things now, as far as is known.
    pub(crate) fn open_pairs(&self, view: &View) -> OpenPairs {
        let now = self.world.clock().elapsed();
        let mut avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        avoided.retain(|_, avoided| avoided.until > now);
        let mut open = OpenPairs::default();
        for (id, pair) in view.pairs.iter().filter(|(_, pair)| pair.is_open()) {
            match avoided.get(id) {
                None => open.first.push((*id, pair.clone())),
                Some(Avoided { is_full: false, .. }) => open.last.push((*id, pair.clone())),
                Some(Avoided { is_full: true, .. }) => open.full += 1,
            }
        }
        open
    }
}

/// Until when a pair is left alone, and why.
#[derive(Debug, Clone, Copy)]
struct Avoided {
    until: Duration,
    is_full: bool,
}

/// Pairs that take new things.
#[derive(Debug, Default)]
pub(crate) struct OpenPairs {
    /// Those to try first.
    pub(crate) first: Vec<(PairId, Pair)>,
    /// Those that failed a moment ago.
    pub(crate) last: Vec<(PairId, Pair)>,
    /// How many more would take something, if they had room.
    pub(crate) full: usize,
}

impl OpenPairs {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.first.len() + self.last.len()
    }

    /// Those that a record's set is drawn from: the ones to try first, if they are enough.
    pub(crate) fn for_records(self) -> Vec<PairId> {
        let is_enough = self.first.len() >= RECORD_PAIRS;
        let last = self.last.into_iter().filter(|_| !is_enough);
        self.first.into_iter().chain(last).map(|(id, _)| id).collect()
    }
}

/// What of a table is signed as it must be. The rest is left out without a word: a node
/// can't make the client believe anything by telling more.
fn verified(genesis: &Genesis, table: Table, checker: &CachedChecker) -> View {
    let network = genesis.network();
    let nodes: BTreeMap<_, _> = table
        .cards
        .into_iter()
        .filter_map(|card| admitted(genesis, &network, card, checker))
        .collect();
    let pairs = table.pairs.into_iter().filter_map(|pair| {
        let cards = pair.record.record.members.map(|member| nodes.get(&member));
        let [Some(primary), Some(mirror)] = cards else { return None };
        is_signed(&network, &pair, &nodes, checker).then(|| {
            let id = pair.record.record.pair;
            let free = room(primary).min(room(mirror));
            let labels = [primary.labels.clone(), mirror.labels.clone()];
            (id, Pair { record: pair.record.record, alive: pair.alive, free, labels })
        })
    });
    let mut view = View { pairs: BTreeMap::new(), nodes: BTreeMap::new() };
    for (id, pair) in pairs {
        let kept = match view.pairs.remove(&id) {
            Some(before) => newest(before, pair),
            None => pair,
        };
        view.pairs.insert(id, kept);
    }
    View { nodes, ..view }
}

/// Which of two tellings of a pair counts. An epoch has one record: of two, the one that
/// was known first stays. A later epoch counts if it follows the known one.
fn newest(known: Pair, told: Pair) -> Pair {
    let (old, new) = (&known.record, &told.record);
    if old == new {
        return told;
    }
    if new.epoch < old.epoch {
        return known;
    }
    if new.epoch > old.epoch && follows(old, new) {
        return told;
    }
    tracing::warn!(pair = %old.pair, known = old.epoch.0, told = new.epoch.0,
        "a node told of a pair what contradicts what is known of it");
    known
}

/// The next epoch names the record before it. Where epochs between were missed, a member
/// has to have stayed: strangers can't take a pair over by counting higher.
fn follows(old: &PairRecord, new: &PairRecord) -> bool {
    if old.epoch.0.checked_add(1) == Some(new.epoch.0) {
        return new.previous == Some(old.digest());
    }
    new.members.iter().any(|member| old.members.contains(member))
}

fn room(card: &NodeCard) -> u64 {
    card.capacity.saturating_sub(card.used)
}

fn admitted(
    genesis: &Genesis,
    network: &NetworkId,
    signed: SignedCard,
    checker: &CachedChecker,
) -> Option<(NodeId, NodeCard)> {
    let SignedCard { card, signature } = signed;
    let node = verify_node(&card.key, &card.statement(network), &signature, checker).ok()?;
    let admission = Admission { node }.statement(network);
    verify_node(&genesis.invite_key, &admission, &card.admission, checker).ok()?;
    Some((node, card))
}

/// Whether both members signed, or one and two other nodes of the network: new witnesses
/// begin an epoch so where the other member is gone. Which nodes were its witnesses is known
/// to those who have the pair's earlier epochs.
fn is_signed(
    network: &NetworkId,
    pair: &PairView,
    nodes: &BTreeMap<NodeId, NodeCard>,
    checker: &CachedChecker,
) -> bool {
    let PairView { record: SignedPairRecord { record, signatures }, .. } = pair;
    let said = record.statement(network);
    let signers: BTreeSet<_> = signatures
        .iter()
        .filter_map(|by| verify_node(&by.key, &said, &by.signature, checker).ok())
        .collect();
    let members = record.members.iter().filter(|member| signers.contains(member)).count();
    let others = signers.iter().filter(|node| nodes.contains_key(node)).count() - members;
    members == 2 || (members == 1 && record.epoch > Epoch(1) && others >= 2)
}

#[cfg(test)]
mod tests {
    use defs_core::ids::Digest;

    use super::*;

    fn pair(epoch: u64, members: [u8; 2], previous: Option<Digest>) -> Pair {
        Pair {
            record: PairRecord {
                pair: PairId([1; 16]),
                epoch: Epoch(epoch),
                members: members.map(|member| NodeId([member; 32])),
                witnesses: vec![],
                previous,
            },
            alive: [true; 2],
            free: 1,
            labels: [Labels::default(), Labels::default()],
        }
    }

    fn counts(known: &Pair, told: &Pair) -> bool {
        newest(known.clone(), told.clone()).record == told.record
    }

    #[test]
    fn an_epoch_has_the_record_that_was_known_first_and_none_goes_back() {
        let first = pair(3, [1, 2], Some(Digest([9; 32])));
        assert!(!counts(&first, &pair(3, [1, 3], Some(Digest([9; 32])))));
        assert!(!counts(&first, &pair(2, [1, 3], Some(Digest([9; 32])))));
        // The same record again tells who is alive now.
        let again = Pair { alive: [true, false], ..first.clone() };
        assert_eq!(newest(first, again).alive, [true, false]);
    }

    #[test]
    fn a_later_epoch_counts_if_it_follows_the_known_one() {
        let first = pair(1, [1, 2], None);
        let named = Some(first.record.digest());
        assert!(counts(&first, &pair(2, [1, 3], named)));
        assert!(!counts(&first, &pair(2, [1, 3], Some(Digest([9; 32])))));
        assert!(counts(&first, &pair(5, [3, 2], Some(Digest([9; 32])))));
        assert!(!counts(&first, &pair(u64::MAX, [3, 4], Some(Digest([9; 32])))));
    }
}
