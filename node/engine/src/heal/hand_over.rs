//! A member gives its place to another node, as a person wished: the other one first takes over
//! all that the pair holds while both members serve, and only then the epoch changes. So the
//! pair is never left with one copy for the sake of a better pair.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Reason, Refusal};
use defs_core::network::PairRecord;
use defs_core::port::Clock;
use defs_core::settings::Pairing;
use defs_core::wish::Want;
use defs_telemetry::{spans, trace};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::sync::Brought;
use crate::heal::wishes::is_of;
use crate::refuse::refuse;

/// Before a copy that broke off goes on.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How far this node is with what it takes over before it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Preparing {
    /// It takes nothing over.
    #[default]
    Not,
    /// It copies for this epoch of a pair.
    Copies(PairId, Epoch),
    /// It has all that the pair held when it last looked.
    Ready(PairId, Epoch),
}

impl<W: World> Engine<W> {
    /// The epoch of which a member is to give its place to `node`, if it is still the newest.
    pub(crate) fn awaited_at(&self, node: &NodeId) -> Option<PairRecord> {
        let (leaver, pair) = self.meant_for(node)?;
        self.yields_to(&leaver, &pair).map(|_heir| pair)
    }

    /// Whose place `node` is to have, and the epoch of it if it is still the newest.
    fn meant_for(&self, node: &NodeId) -> Option<(NodeId, PairRecord)> {
        self.wishes.places().into_iter().find_map(|(leaver, place)| {
            let known = self.membership.pair(&place.pair)?.record;
            let is_meant = place.to == *node
                && known.epoch == place.epoch
                && known.role_of(&leaver).is_some()
                && known.role_of(node).is_none();
            is_meant.then_some((leaver, known))
        })
    }

    /// Who is to have the place of `leaver` in the pair `own`.
    pub(crate) fn heir_of(&self, leaver: &NodeId, own: &PairRecord) -> Option<NodeId> {
        let place = self.wishes.want(leaver)?.place()?;
        is_of(&place, own).then_some(place.to)
    }

    /// The same where `leaver` is there to hand it over.
    pub(crate) fn yields_to(&self, leaver: &NodeId, own: &PairRecord) -> Option<NodeId> {
        let heir = self.heir_of(leaver, own);
        heir.filter(|_| matches!(self.wishes.want(leaver), Some(Want::Yield(_))))
    }

    pub(crate) fn is_preparing(&self) -> bool {
        self.preparing() != Preparing::Not
    }

    fn preparing(&self) -> Preparing {
        *self.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare(&self, to: Preparing) {
        let mut state = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        let was_free = *state == Preparing::Not;
        *state = to;
        drop(state);
        if was_free != (to == Preparing::Not) {
            // Others are not to count on this node meanwhile.
            self.greet.notify_one();
        }
    }

    /// Takes over, while free, what the pair holds that this node is to join.
    pub(crate) async fn take_over(self: Arc<Self>) {
        let awaited = self.awaited_at(&self.me);
        let Some(pair) = awaited.filter(|_| self.membership.own_pair().is_none()) else {
            self.prepare(Preparing::Not);
            return;
        };
        if self.preparing() != Preparing::Ready(pair.pair, pair.epoch) {
            self.prepare(Preparing::Copies(pair.pair, pair.epoch));
            self.copy_for(&pair).await;
        }
    }

    /// One comparison with the member that stays; when it brings nothing more, this node is
    /// ready.
    async fn copy_for(&self, pair: &PairRecord) {
        let leaves = |node: &NodeId| self.yields_to(node, pair) == Some(self.me);
        let Some(stays) = pair.members.into_iter().find(|member| !leaves(member)) else { return };
        let trace = self.wishes.trace_step_of_heir(&self.me, &pair.pair);
        let span = trace::following(trace, || spans::pair_copy(pair.pair));
        match trace::within(span, self.compare(pair, stays)).await {
            Ok(brought) => {
                tracing::info!(pair = %pair.pair, ?brought, "taken over before joining");
                if brought == Brought::default() {
                    self.prepare(Preparing::Ready(pair.pair, pair.epoch));
                }
            }
            Err(error) => {
                tracing::debug!(pair = %pair.pair, %error, "not taken over to the end");
                self.clock.sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// As a newcomer: whoever is to have a place takes it when it has what comes with it.
    pub(crate) fn may_take_place(&self, before: &PairRecord) -> Result<(), Refusal> {
        let meant = self.meant_for(&self.me).filter(|(_, pair)| pair == before);
        let Some((leaver, _)) = meant else {
            return match self.config.pairing {
                Pairing::Own => Ok(()),
                Pairing::Assigned => {
                    Err(refuse(Reason::NotAllowed, "nobody has given this node that place"))
                }
            };
        };
        let is_ready = self.preparing() == Preparing::Ready(before.pair, before.epoch);
        if self.yields_to(&leaver, before).is_some() && !is_ready {
            return Err(refuse(Reason::Busy, "this node still copies what the pair holds"));
        }
        Ok(())
    }
}
