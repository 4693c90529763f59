//! What this node knows of the network: verified cards of admitted nodes, verified
//! records of pairs, and who was heard lately.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::{Digest, Epoch, NetworkId, NodeId, PairId};
use defs_core::message::{PairView, Table};
use defs_core::network::{
    Activity, Admission, Genesis, Labels, NodeCard, PairRecord, SignedCard, SignedPairRecord,
};
use defs_core::statement::Statement;
use defs_identity::{SignatureChecker, verify_node};
use defs_pairing::planner::Candidate;

/// Nodes whose cards are kept: 2,000 nodes are the largest cluster foreseen, and a card
/// is under 5 KiB.
const CARDS_MAX: usize = 10_000;

/// Why a card is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardError {
    /// The node's own signature is wrong.
    Signature,
    /// The invite key did not admit the node.
    NotAdmitted,
}

/// Why a pair record is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairError {
    /// A signature is wrong, or of nobody concerned.
    Signature,
    /// Too few of members and witnesses signed.
    TooFewSignatures,
    /// It does not follow the record that is known.
    NotASuccessor,
    /// A member is not admitted here, as far as is known.
    UnknownMember,
}

/// Whose card this is, if it is genuine and the node is admitted.
pub fn check_card(
    genesis: &Genesis,
    network: &NetworkId,
    card: &SignedCard,
    checker: &impl SignatureChecker,
) -> Result<NodeId, CardError> {
    let digest = card.card.statement(network);
    let Ok(node) = verify_node(&card.card.key, &digest, &card.signature, checker) else {
        return Err(CardError::Signature);
    };
    let admission = Admission { node }.statement(network);
    match verify_node(&genesis.invite_key, &admission, &card.card.admission, checker) {
        Ok(_) => Ok(node),
        Err(_) => Err(CardError::NotAdmitted),
    }
}

/// Whether `record` is valid after `known`, the newest record of this pair here.
///
/// Epoch 1 needs both members. A successor needs both its members if one of them is new, and
/// of the epoch before it both members, or one member and two witnesses.
pub fn check_pair(
    network: &NetworkId,
    known: Option<&PairRecord>,
    signed: &SignedPairRecord,
    checker: &impl SignatureChecker,
) -> Result<(), PairError> {
    let signers = signers(network, signed, checker)?;
    let record = &signed.record;
    let both = |members: &[NodeId; 2]| members.iter().all(|member| signers.contains(member));
    if record.epoch == Epoch(1) {
        return if both(&record.members) { Ok(()) } else { Err(PairError::TooFewSignatures) };
    }
    let Some(before) = known else { return Err(PairError::NotASuccessor) };
    let follows = before.epoch.0.checked_add(1) == Some(record.epoch.0)
        && record.previous == Some(before.digest());
    if !follows {
        return Err(PairError::NotASuccessor);
    }
    if record.members != before.members && !both(&record.members) {
        return Err(PairError::TooFewSignatures);
    }
    let one = before.members.iter().any(|member| signers.contains(member));
    let witnesses = before.witnesses.iter().filter(|witness| signers.contains(witness)).count();
    if both(&before.members) || (one && witnesses >= 2) {
        Ok(())
    } else {
        Err(PairError::TooFewSignatures)
    }
}

/// Who signed `signed`; wrong if any signature is.
pub(crate) fn signers(
    network: &NetworkId,
    signed: &SignedPairRecord,
    checker: &impl SignatureChecker,
) -> Result<BTreeSet<NodeId>, PairError> {
    let digest = signed.record.statement(network);
    signed
        .signatures
        .iter()
        .map(|by| verify_node(&by.key, &digest, &by.signature, checker))
        .collect::<Result<_, _>>()
        .map_err(|_wrong| PairError::Signature)
}

/// The table behind one lock, held for look-ups only.
#[derive(Debug)]
pub(crate) struct Membership {
    me: NodeId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cards: BTreeMap<NodeId, Known>,
    /// How often a node came, or stood elsewhere than before.
    moves: u64,
    pairs: BTreeMap<PairId, SignedPairRecord>,
    own: Option<PairId>,
    /// When this node learnt that a pair's members had changed, by the lease clock.
    changed: BTreeMap<PairId, Duration>,
    /// New members, and the sequence of the card that each had before it was one: what that
    /// card says of its activity counts no more.
    joining: BTreeMap<NodeId, u64>,
    partner_heard: Option<Duration>,
    /// When the set of free nodes last changed.
    free: (BTreeSet<NodeId>, Duration),
    /// Cards and pair records that are not on the disk yet.
    dirty_cards: BTreeSet<NodeId>,
    dirty_pairs: BTreeSet<PairId>,
}

/// For how long a node counts as alive after it was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hearing {
    pub(crate) now: Duration,
    /// Since its last card.
    pub(crate) card: Duration,
    /// The partner, since it last answered.
    pub(crate) partner: Duration,
}

/// A pair that takes new shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenPair {
    pub(crate) pair: PairId,
    /// Bytes that both members may still take.
    pub(crate) room: u64,
    /// Region and zone of its primary.
    pub(crate) domain: (String, String),
}

#[derive(Debug)]
struct Known {
    card: SignedCard,
    /// When it was last heard, by this node's clock; `None`: not since this start.
    heard: Option<Duration>,
}

/// What a card changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// An older card than the known one, or the same.
    Stale,
    /// A newer card of a known node.
    Fresh,
    /// A node that wasn't known.
    NewNode,
}

impl Membership {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a card that [`check_card`] found genuine.
    pub(crate) fn learn_card(
        &self,
        node: NodeId,
        card: SignedCard,
        heard: Option<Duration>,
    ) -> News {
        let mut state = self.lock();
        if state.cards.len() >= CARDS_MAX && !state.cards.contains_key(&node) {
            return News::Stale;
        }
        let news = match state.cards.get(&node) {
            None => News::NewNode,
            Some(known) if known.card.card.sequence >= card.card.sequence => News::Stale,
            Some(_) => News::Fresh,
        };
        if news == News::Stale {
            return news;
        }
        let known = state.cards.get(&node).map(|known| &known.card.card);
        let stands_elsewhere = known.is_none_or(|known| known.labels != card.card.labels);
        let moved = known.is_none_or(|known| known.addresses != card.card.addresses);
        if stands_elsewhere {
            state.moves = state.moves.wrapping_add(1);
        }
        if (moved || stands_elsewhere) && heard.is_some() {
            state.dirty_cards.insert(node);
        }
        state.cards.insert(node, Known { card, heard });
        news
    }

    /// The newest record of `pair` known here.
    pub(crate) fn pair(&self, pair: &PairId) -> Option<SignedPairRecord> {
        self.lock().pairs.get(pair).cloned()
    }

    /// Takes in a pair record that [`check_pair`] found valid, at `now` by the lease clock.
    /// Whether it was news.
    pub(crate) fn learn_pair(
        &self,
        signed: SignedPairRecord,
        now: Duration,
    ) -> Result<bool, PairError> {
        let mut state = self.lock();
        let record = &signed.record;
        let known = |member: &NodeId| *member == self.me || state.cards.contains_key(member);
        if !record.members.iter().all(known) {
            return Err(PairError::UnknownMember);
        }
        let pair = record.pair;
        if state.pairs.get(&pair).is_some_and(|known| known.record.epoch >= record.epoch) {
            return Ok(false);
        }
        let before = state.pairs.get(&pair).map(|known| known.record.members);
        let is_new = |member: &NodeId| before.is_some_and(|before| !before.contains(member));
        for member in record.members.iter().filter(|member| is_new(member)) {
            if let Some(known) = state.cards.get(member) {
                let sequence = known.card.card.sequence;
                state.joining.insert(*member, sequence);
            }
        }
        if record.members.iter().any(is_new) {
            state.changed.insert(pair, now);
        }
        if record.role_of(&self.me).is_some() {
            // On the disk it is already, see `take_own_epoch`.
            state.own = Some(pair);
        } else {
            state.dirty_pairs.insert(pair);
            if state.own == Some(pair) {
                state.own = None;
            }
        }
        state.pairs.insert(pair, signed);
        Ok(true)
    }

    /// The newest card of `node` known here.
    pub(crate) fn card_of(&self, node: &NodeId) -> Option<SignedCard> {
        self.lock().cards.get(node).map(|known| known.card.clone())
    }

    /// This node's pair.
    pub(crate) fn own_pair(&self) -> Option<SignedPairRecord> {
        let state = self.lock();
        state.own.and_then(|pair| state.pairs.get(&pair).cloned())
    }

    /// The other member of this node's pair.
    pub(crate) fn partner(&self) -> Option<NodeId> {
        self.lock().partner(self.me)
    }

    /// Whether `node` is admitted, as far as is known here.
    pub(crate) fn is_admitted(&self, node: &NodeId) -> bool {
        self.lock().cards.contains_key(node)
    }

    /// The partner was heard.
    pub(crate) fn heard_partner(&self, now: Duration) {
        self.lock().partner_heard = Some(now);
    }

    /// Whether the partner was heard within `patience`.
    pub(crate) fn partner_alive(&self, now: Duration, patience: Duration) -> bool {
        self.lock().partner_heard.is_some_and(|heard| now.saturating_sub(heard) < patience)
    }

    /// The last connection to `node` closed: it counts as away until it is heard again.
    pub(crate) fn gone(&self, node: &NodeId) {
        let mut state = self.lock();
        if let Some(known) = state.cards.get_mut(node) {
            known.heard = None;
        }
        if state.partner(self.me) == Some(*node) {
            state.partner_heard = None;
        }
    }

    /// Admitted nodes that were heard within `patience` and are in no known pair, and for
    /// how long there have been just these.
    pub(crate) fn free(&self, now: Duration, patience: Duration) -> (Vec<Candidate>, Duration) {
        let mut state = self.lock();
        let paired: BTreeSet<_> =
            state.pairs.values().flat_map(|pair| pair.record.members).collect();
        let free: Vec<_> = state
            .cards
            .iter()
            .filter(|(node, known)| !paired.contains(*node) && known.is_alive(now, patience))
            .filter(|(_, known)| known.card.card.activity == Activity::Ready)
            .map(|(node, known)| candidate(*node, known))
            .collect();
        let names: BTreeSet<_> = free.iter().map(|candidate| candidate.node).collect();
        let (known, since) = &state.free;
        // Those that found a partner change nothing for the others, or pairs would form
        // one after the other.
        let is_as_planned =
            names.is_subset(known) && known.difference(&names).all(|gone| paired.contains(gone));
        let since = if is_as_planned { *since } else { now };
        state.free = (names, since);
        (free, now.saturating_sub(since))
    }

    /// Whether `node` was heard within `patience`.
    pub(crate) fn is_heard(&self, node: &NodeId, now: Duration, patience: Duration) -> bool {
        self.lock().cards.get(node).is_some_and(|known| known.is_alive(now, patience))
    }

    /// Every other admitted node in order, and whether it was heard within `patience`.
    pub(crate) fn hearing(&self, now: Duration, patience: Duration) -> Vec<(NodeId, bool)> {
        let state = self.lock();
        let others = state.cards.iter().filter(|(node, _)| **node != self.me);
        others.map(|(node, known)| (*node, known.is_alive(now, patience))).collect()
    }

    /// Whether `node` still takes over what its partner has, as far as is known.
    pub(crate) fn is_syncing(&self, node: &NodeId) -> bool {
        self.lock().is_syncing(node)
    }

    /// The newest card of every admitted node.
    pub(crate) fn cards(&self) -> BTreeMap<NodeId, NodeCard> {
        let state = self.lock();
        state.cards.iter().map(|(node, known)| (*node, known.card.card.clone())).collect()
    }

    /// When the members of `pair` last changed, if they did.
    pub(crate) fn changed(&self, pair: &PairId) -> Option<Duration> {
        self.lock().changed.get(pair).copied()
    }

    /// Remembers when the members of `pair` last changed.
    pub(crate) fn recall_change(&self, pair: PairId, at: Duration) {
        self.lock().changed.insert(pair, at);
    }

    /// How often a node came, or stood elsewhere than before: when that grows,
    /// [`Self::places`] has news.
    pub(crate) fn moves(&self) -> u64 {
        self.lock().moves
    }

    /// Where every admitted node stands.
    pub(crate) fn places(&self) -> Vec<(NodeId, Labels)> {
        let state = self.lock();
        state.cards.iter().map(|(node, known)| (*node, known.card.card.labels.clone())).collect()
    }

    /// Nodes that are known.
    pub(crate) fn size(&self) -> usize {
        self.lock().cards.len()
    }

    /// Bytes that `node` may still take, as it said last.
    pub(crate) fn room_of(&self, node: &NodeId) -> u64 {
        self.lock().cards.get(node).map_or(0, Known::room)
    }

    /// The pair of which `node` is a member, as far as is known here.
    pub(crate) fn pair_of(&self, node: &NodeId) -> Option<PairId> {
        let state = self.lock();
        let mut pairs = state.pairs.values();
        pairs.find(|pair| pair.record.role_of(node).is_some()).map(|pair| pair.record.pair)
    }

    /// The zone of the pair's primary, as far as that is known: its region and its name.
    pub(crate) fn zone_of(&self, pair: &PairId) -> Option<(String, String)> {
        let state = self.lock();
        let primary = state.pairs.get(pair)?.record.primary();
        Some(state.cards.get(&primary)?.domain())
    }

    /// Pairs of which both members are heard and ready.
    pub(crate) fn open_pairs(&self, now: Duration, patience: Duration) -> Vec<OpenPair> {
        let state = self.lock();
        let open = |signed: &SignedPairRecord| {
            let members = signed.record.members.each_ref();
            let [Some(one), Some(other)] = members.map(|member| state.cards.get(member)) else {
                return None;
            };
            let is_open =
                [one, other].iter().all(|known| {
                    known.is_alive(now, patience) && known.card.card.activity == Activity::Ready
                }) && !signed.record.members.iter().any(|member| state.is_syncing(member));
            is_open.then(|| OpenPair {
                pair: signed.record.pair,
                room: one.room().min(other.room()),
                domain: one.domain(),
            })
        };
        state.pairs.values().filter_map(open).collect()
    }

    /// Every admitted node but `members`, as candidates for witnesses.
    pub(crate) fn others(&self, members: &[NodeId; 2]) -> Vec<Candidate> {
        let state = self.lock();
        let other = |(node, _): &(&NodeId, &Known)| !members.contains(node);
        state.cards.iter().filter(other).map(|(node, known)| candidate(*node, known)).collect()
    }

    pub(crate) fn candidate(&self, node: &NodeId) -> Option<Candidate> {
        self.lock().cards.get(node).map(|known| candidate(*node, known))
    }

    /// The table as clients ask for it.
    pub(crate) fn table(&self, hearing: Hearing) -> Table {
        let state = self.lock();
        let view = |signed| state.view(signed, self.me, hearing);
        Table {
            cards: state.cards.values().map(|known| known.card.clone()).collect(),
            pairs: state.pairs.values().map(view).collect(),
            next: None,
        }
    }

    /// What the table says of this node's pair.
    pub(crate) fn own_view(&self, hearing: Hearing) -> Option<PairView> {
        let state = self.lock();
        let own = state.pairs.get(&state.own?)?;
        Some(state.view(own, self.me, hearing))
    }

    /// Everybody who was heard within `patience`.
    pub(crate) fn alive(&self, now: Duration, patience: Duration) -> BTreeSet<NodeId> {
        let state = self.lock();
        let alive =
            |(node, known): &(&NodeId, &Known)| **node == self.me || known.is_alive(now, patience);
        state.cards.iter().filter(alive).map(|(node, _)| *node).collect()
    }

    /// What has changed since the last call and belongs on the disk.
    pub(crate) fn take_dirty(&self) -> (Vec<SignedCard>, Vec<SignedPairRecord>) {
        let mut state = self.lock();
        let cards = std::mem::take(&mut state.dirty_cards);
        let pairs = std::mem::take(&mut state.dirty_pairs);
        let cards = cards.iter().filter_map(|node| Some(state.cards.get(node)?.card.clone()));
        let cards = cards.collect();
        let pairs = pairs.iter().filter_map(|pair| state.pairs.get(pair).cloned()).collect();
        (cards, pairs)
    }

    /// Pair records that are not on the disk yet.
    pub(crate) fn unwritten_pairs(&self) -> Vec<SignedPairRecord> {
        let state = self.lock();
        state.dirty_pairs.iter().filter_map(|pair| state.pairs.get(pair).cloned()).collect()
    }

    /// Puts back what could not be written.
    pub(crate) fn mark_dirty(&self, cards: &[SignedCard], pairs: impl IntoIterator<Item = PairId>) {
        let mut state = self.lock();
        let keys: BTreeSet<_> = cards.iter().map(|card| card.card.key).collect();
        let known = state.cards.iter().filter(|(_, known)| keys.contains(&known.card.card.key));
        let nodes: Vec<_> = known.map(|(node, _)| *node).collect();
        state.dirty_cards.extend(nodes);
        state.dirty_pairs.extend(pairs);
    }

    /// The sequence of this node's newest card, 0 before the first.
    pub(crate) fn own_sequence(&self) -> u64 {
        self.lock().cards.get(&self.me).map_or(0, |known| known.card.card.sequence)
    }

    /// Every pair that is known.
    pub(crate) fn all_pairs(&self) -> Vec<PairRecord> {
        self.lock().pairs.values().map(|pair| pair.record.clone()).collect()
    }
}

impl State {
    /// Whether `node` still takes over what its partner has, as far as is known.
    fn is_syncing(&self, node: &NodeId) -> bool {
        self.cards.get(node).is_some_and(|known| {
            let card = &known.card.card;
            let before = self.joining.get(node).copied();
            card.activity == Activity::Syncing
                || before.is_some_and(|before| card.sequence <= before)
        })
    }

    /// A pair, and which of its members live as far as `me` knows.
    fn view(&self, signed: &SignedPairRecord, me: NodeId, hearing: Hearing) -> PairView {
        let Hearing { now, card, partner } = hearing;
        let alive = |node: &NodeId| {
            let known = self.cards.get(node);
            // Who still takes over what its partner has can't be read from, nor be relied on.
            let is_syncing = self.is_syncing(node);
            let heard = *node == me || known.is_some_and(|known| known.is_alive(now, card));
            heard && !is_syncing
        };
        let partner_heard =
            self.partner_heard.is_some_and(|heard| now.saturating_sub(heard) < partner);
        let is_own = signed.record.role_of(&me).is_some();
        let lives = |member: &NodeId| alive(member) && (!is_own || *member == me || partner_heard);
        PairView { record: signed.clone(), alive: signed.record.members.each_ref().map(lives) }
    }

    fn partner(&self, me: NodeId) -> Option<NodeId> {
        self.own.and_then(|pair| self.pairs.get(&pair)?.record.partner_of(&me))
    }
}

impl Known {
    /// Region and zone.
    fn domain(&self) -> (String, String) {
        let labels = &self.card.card.labels;
        (labels.region.clone(), labels.zone.clone())
    }

    fn room(&self) -> u64 {
        self.card.card.capacity.saturating_sub(self.card.card.used)
    }

    fn is_alive(&self, now: Duration, patience: Duration) -> bool {
        self.heard.is_some_and(|heard| now.saturating_sub(heard) < patience)
    }
}

fn candidate(node: NodeId, known: &Known) -> Candidate {
    let card = &known.card.card;
    let labels = card.labels.clone();
    Candidate { node, labels, capacity: card.capacity, reach: card.reach }
}

/// Orders equals differently for each pair, without asking for randomness.
pub(crate) fn draw(pair: &PairId, node: &NodeId) -> u64 {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(&pair.0);
    bytes.extend_from_slice(&node.0);
    let Digest(digest) = defs_core::digest("defs 2026 witness draw", &bytes);
    u64::from_le_bytes(std::array::from_fn(|place| digest[place]))
}
