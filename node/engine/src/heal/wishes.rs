//! What persons want of nodes, under the network's invite key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use defs_core::format::Format;
use defs_core::ids::{NodeId, PairId};
use defs_core::message::Gossip;
use defs_core::network::PairRecord;
use defs_core::port::{Change, Disk, DiskError, Publish, StateKey, Verdict};
use defs_core::statement::Statement;
use defs_core::trace::TraceContext;
use defs_core::wish::{Forming, Place, SignedWish, Want};
use defs_identity::verify_node;
use defs_pairing::detector::Intent;
use defs_telemetry::{spans, trace};

use crate::config::World;
use crate::engine::Engine;

/// Nodes of which a wish is remembered.
const WISHES_MAX: usize = 10_000;

/// The newest wish for each node.
#[derive(Debug, Default)]
pub(crate) struct Wishes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<NodeId, SignedWish>,
    /// In which trace those came that came in one; never more than are known.
    traces: BTreeMap<NodeId, Followed>,
    /// Not on the disk yet.
    dirty: BTreeSet<NodeId>,
    /// Those that came in here: told again for who did not listen.
    mine: BTreeSet<NodeId>,
}

/// Steps that are noted in the trace of one wish: what is tried again and again doesn't fill
/// it. An operator says a wish again, in a new trace, long before.
const STEPS_MAX: u32 = 64;

/// The trace that a wish came in.
#[derive(Debug, Clone, Copy)]
struct Followed {
    trace: TraceContext,
    steps_left: u32,
}

impl Followed {
    fn step(&mut self) -> Option<TraceContext> {
        self.steps_left = self.steps_left.checked_sub(1)?;
        Some(self.trace)
    }
}

impl Wishes {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted of `node`.
    pub(crate) fn want(&self, node: &NodeId) -> Option<Want> {
        self.lock().known.get(node).map(|signed| signed.wish.want)
    }

    /// In which trace the wish for `node` came, for one step that follows from it.
    pub(crate) fn trace_step(&self, node: &NodeId) -> Option<TraceContext> {
        self.lock().traces.get_mut(node)?.step()
    }

    /// The same of the wish by which `heir` has or gets a place of `pair`.
    pub(crate) fn trace_step_of_heir(&self, heir: &NodeId, pair: &PairId) -> Option<TraceContext> {
        let mut state = self.lock();
        let is_it = |signed: &SignedWish| {
            signed.wish.want.place().is_some_and(|place| place.to == *heir && place.pair == *pair)
        };
        let leaver = *state.known.iter().find(|(_, signed)| is_it(signed))?.0;
        state.traces.get_mut(&leaver)?.step()
    }

    /// All places that are to be given to others, and who has them.
    pub(crate) fn places(&self) -> Vec<(NodeId, Place)> {
        let state = self.lock();
        let place =
            |(node, signed): (&NodeId, &SignedWish)| Some((*node, signed.wish.want.place()?));
        state.known.iter().filter_map(place).collect()
    }

    /// All pairs that are to form, and their primaries.
    pub(crate) fn forming(&self) -> Vec<(NodeId, Forming)> {
        let state = self.lock();
        let forming = |(node, signed): (&NodeId, &SignedWish)| match signed.wish.want {
            Want::Form(forming) => Some((*node, forming)),
            _ => None,
        };
        state.known.iter().filter_map(forming).collect()
    }

    /// As the failure detector of the pair `own` takes it: who is to be replaced is not waited
    /// for, but has to be silent for others too.
    pub(crate) fn intent(&self, node: &NodeId, own: &PairRecord) -> Option<Intent> {
        match self.want(node)? {
            Want::Drain => Some(Intent::Drain),
            Want::Lost => Some(Intent::Lost),
            Want::Replace(place) => is_of(&place, own).then_some(Intent::Drain),
            Want::Stay | Want::Yield(_) | Want::Form(_) => None,
        }
    }

    /// Whether it is news. That a node is lost is not taken back.
    fn learn(&self, signed: SignedWish, trace: Option<TraceContext>) -> bool {
        let mut state = self.lock();
        let node = signed.wish.node;
        let is_news = match state.known.get(&node) {
            None => state.known.len() < WISHES_MAX,
            Some(known) => {
                known.wish.want != Want::Lost && known.wish.sequence < signed.wish.sequence
            }
        };
        if is_news {
            state.known.insert(node, signed);
            state.dirty.insert(node);
            match trace {
                Some(trace) => {
                    state.traces.insert(node, Followed { trace, steps_left: STEPS_MAX });
                }
                None => {
                    state.traces.remove(&node);
                }
            }
        }
        is_news
    }
}

/// Whether `place` is in the present epoch of `pair`.
pub(crate) fn is_of(place: &Place, pair: &PairRecord) -> bool {
    place.pair == pair.pair && place.epoch == pair.epoch
}

fn key(node: &NodeId) -> StateKey {
    StateKey([b"wish/".as_slice(), &node.0].concat())
}

impl<W: World> Engine<W> {
    pub(crate) async fn recall_wishes(&self) -> Result<(), DiskError> {
        let stored = self.disk.scan(StateKey(b"wish/".to_vec()), WISHES_MAX).await?;
        for (_, bytes) in stored {
            if let Ok(signed) = SignedWish::decode(&bytes) {
                self.wishes.learn(signed, None);
            }
        }
        self.wishes.lock().dirty.clear();
        Ok(())
    }

    fn is_genuine_wish(&self, signed: &SignedWish) -> bool {
        let digest = signed.wish.statement(&self.network);
        let key = &self.config.genesis.invite_key;
        verify_node(key, &digest, &signed.signature, &self.checker).is_ok()
    }

    /// Takes in a person's word that came to this node, and tells everybody. Whether the
    /// invite key signed it.
    pub fn take_wish(&self, signed: SignedWish) -> bool {
        if !self.is_genuine_wish(&signed) {
            return false;
        }
        let _span = spans::wish_take(signed.wish.want).entered();
        self.wishes.learn(signed, trace::current());
        self.wishes.lock().mine.insert(signed.wish.node);
        self.tell_wishes();
        self.greet.notify_one();
        true
    }

    pub(crate) fn hear_wish(&self, signed: SignedWish, trace: Option<TraceContext>) -> Verdict {
        if !self.is_genuine_wish(&signed) {
            return Verdict::Reject;
        }
        if !self.wishes.learn(signed, trace) {
            return Verdict::Ignore;
        }
        if signed.wish.node == self.me {
            self.greet.notify_one();
        }
        Verdict::PassOn
    }

    /// Tells again what came in here.
    pub(crate) fn tell_wishes(&self) {
        let mine: Vec<_> = {
            let state = self.wishes.lock();
            let trace = |node| state.traces.get(node).map(|followed| followed.trace);
            let told = |node| Some((*state.known.get(node)?, trace(node)));
            state.mine.iter().filter_map(told).collect()
        };
        for (signed, trace) in mine {
            self.peers.publish(Gossip::Wish { wish: Box::new(signed), trace });
        }
    }

    /// Wishes that are not on the disk yet, as changes.
    pub(crate) fn unwritten_wishes(&self) -> Vec<Change> {
        let mut state = self.wishes.lock();
        let dirty = std::mem::take(&mut state.dirty);
        let wishes = dirty.iter().filter_map(|node| state.known.get(node));
        wishes.map(|signed| Change::Put(key(&signed.wish.node), signed.encode())).collect()
    }
}
