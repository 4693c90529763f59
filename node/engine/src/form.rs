//! How two free nodes become a pair: both run the same planner over the nodes that they
//! see, the lower one proposes, and each signs only after its promise is on its disk.
//!
//! A node has one promise at a time. The primary is in the pair once the mirror has signed
//! too, the mirror once the primary's word shows that it got that signature. Until then
//! the primary may give its promise up when it sees another plan; the mirror only when the
//! primary says that it did: it may be in the pair already, and the answer have been lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Reason, Refusal, Request, Response};
use defs_core::network::{PairRecord, Role, SignedPairRecord};
use defs_core::port::{Change, Clock, Disk, DiskError, Peers, Randomness, StateKey};
use defs_core::settings::Pairing;
use defs_core::statement::Statement;
use defs_core::wish::Want;
use defs_pairing::planner::{Candidate, Match, plan};
use defs_pairing::witness;
use defs_telemetry::{spans, trace};
use tracing::{Instrument as _, Span};

use crate::beat::card_change;
use crate::config::World;
use crate::engine::Engine;
use crate::heal::history::pair_changes;
use crate::heal::superseded::not_left;
use crate::membership::check_pair;
use crate::refuse::{disk_refusal, refuse};
use crate::stamp::sign_as_node;

/// The proposal that this node has signed and not yet got back.
fn promise_key() -> StateKey {
    StateKey(b"promise".to_vec())
}

impl<W: World> Engine<W> {
    /// One look for a partner, if this node has none.
    pub(crate) async fn form(self: Arc<Self>) {
        if self.membership.own_pair().is_some() {
            return;
        }
        let promise = match self.promise().await {
            Ok(promise) => promise,
            Err(error) => return self.note_failure(Err(error)),
        };
        let Some(promise) = promise else { return self.begin_pair().await };
        let [primary, mirror] = promise.record.members;
        if promise.record.epoch != Epoch(1) {
            self.ask_for_epoch(&promise).await;
        } else if mirror == self.me {
            self.ask_primary(promise).await;
        } else if self.planned() != Some(Match(primary, mirror)) && self.is_settled() {
            self.forget_promise().await;
        } else {
            self.propose(promise).instrument(self.forming_span()).await;
        }
    }

    /// Proposes a pair if the plan is that this node does.
    async fn begin_pair(&self) {
        let Some(Match(primary, mirror)) = self.planned() else { return };
        if primary != self.me {
            return;
        }
        let begins = async {
            if let Some(proposal) = self.new_proposal(mirror).await {
                self.propose(proposal).await;
            }
        };
        begins.instrument(self.forming_span()).await;
    }

    /// In the trace of the wish that this node forms a pair, if there is one.
    fn forming_span(&self) -> Span {
        match self.wishes.want(&self.me) {
            Some(Want::Form(forming)) => {
                let trace = self.wishes.trace_step(&self.me);
                trace::following(trace, || spans::pair_form(forming.pair))
            }
            _ => Span::none(),
        }
    }

    /// As mirror: whether the primary is in the promised pair, or will never be.
    async fn ask_primary(&self, promise: SignedPairRecord) {
        let PairRecord { pair, epoch, .. } = promise.record;
        let primary = promise.record.primary();
        let asked = self.peers.call(primary, Request::Heartbeat { pair, epoch }, Body::empty());
        match asked.await {
            Ok(_) => self.adopt(promise).await,
            Err(error) if error.refusal().is_some_and(|why| why.reason == Reason::WrongEpoch) => {
                self.forget_promise().await;
            }
            Err(error) => tracing::debug!(%primary, %error, "a promise can't be settled yet"),
        }
    }

    /// What this node has signed and not yet heard back of.
    pub(crate) async fn promise(&self) -> Result<Option<SignedPairRecord>, DiskError> {
        let bytes = self.disk.get(promise_key()).await?;
        Ok(bytes.as_deref().and_then(|bytes| SignedPairRecord::decode(bytes).ok()))
    }

    pub(crate) async fn keep_promise(&self, promise: &SignedPairRecord) -> Result<(), Refusal> {
        let change = Change::Put(promise_key(), promise.encode());
        self.disk.apply(vec![change]).await.map_err(disk_refusal)
    }

    /// What becomes of a promise with the pair that it was for.
    pub(crate) fn promise_kept(&self) -> Change {
        Change::Remove(promise_key())
    }

    pub(crate) async fn forget_promise(&self) {
        if self.membership.own_pair().is_none() {
            self.syncing.store(false, Ordering::Relaxed);
        }
        self.note_failure(self.disk.apply(vec![Change::Remove(promise_key())]).await);
    }

    /// Whether the set of free nodes has been the same for long enough to plan by it.
    fn is_settled(&self) -> bool {
        let timings = &self.config.timings;
        let (_, settled) = self.membership.free(self.clock.elapsed(), timings.card_stale);
        settled >= timings.settle
    }

    /// This node's place in the plan over all free nodes, once their set has settled.
    fn planned(&self) -> Option<Match> {
        let matches = self.plan()?;
        matches.into_iter().find(|Match(a, b)| *a == self.me || *b == self.me)
    }

    fn plan(&self) -> Option<Vec<Match>> {
        let timings = &self.config.timings;
        let (free, settled) = self.membership.free(self.clock.elapsed(), timings.card_stale);
        if settled < timings.settle {
            return None;
        }
        Some(match self.config.pairing {
            Pairing::Own => plan(free, |_, _| None),
            Pairing::Assigned => self.assigned(&free),
        })
    }

    /// The pairs that are to form of free nodes, as the invite key's wishes say.
    fn assigned(&self, free: &[Candidate]) -> Vec<Match> {
        let is_free = |node: &NodeId| free.iter().any(|candidate| candidate.node == *node);
        let wanted = self.wishes.forming().into_iter().filter(|(primary, forming)| {
            let is_new = self.membership.pair(&forming.pair).is_none();
            is_new && is_free(primary) && is_free(&forming.mirror)
        });
        wanted.map(|(primary, forming)| Match(primary, forming.mirror)).collect()
    }

    /// The id of the pair that `primary` forms.
    fn pair_id(&self, primary: &NodeId) -> Option<PairId> {
        match self.config.pairing {
            Pairing::Own => Some(PairId(self.random.array())),
            Pairing::Assigned => match self.wishes.want(primary)? {
                Want::Form(forming) => Some(forming.pair),
                _ => None,
            },
        }
    }

    /// By node the lower member of its pair, also of those that are about to form.
    fn pairs_by_lower(&self) -> BTreeMap<NodeId, NodeId> {
        let planned = self.plan().unwrap_or_default().into_iter().map(|Match(a, b)| [a, b]);
        let formed = self.membership.all_pairs().into_iter().map(|pair| pair.members);
        let lower = |[one, other]: [NodeId; 2]| {
            let lower = one.min(other);
            [(one, lower), (other, lower)]
        };
        planned.chain(formed).flat_map(lower).collect()
    }

    /// A new pair with this node as primary, promised on the disk.
    async fn new_proposal(&self, mirror: NodeId) -> Option<SignedPairRecord> {
        let primary = self.me;
        // Somebody's proposal may just have been signed here.
        let _one_at_a_time = self.forming.lock().await;
        if self.membership.own_pair().is_some() || !matches!(self.promise().await, Ok(None)) {
            return None;
        }
        let members = [primary, mirror];
        let pair = self.pair_id(&primary)?;
        let candidates =
            [self.membership.candidate(&primary)?, self.membership.candidate(&mirror)?];
        let others = self.membership.others(&members);
        let pairs = self.pairs_by_lower();
        let rank = |node: &NodeId| self.witness_rank(&pair, node);
        let witnesses =
            witness::choose(&candidates, &others, rank, |node| pairs.get(node).copied());
        let record = PairRecord { pair, epoch: Epoch(1), members, witnesses, previous: None };
        let signature = sign_as_node(&self.key, &record.statement(&self.network));
        let promise = SignedPairRecord { record, signatures: vec![signature] };
        let written = self.disk.apply(vec![Change::Put(promise_key(), promise.encode())]).await;
        match written {
            Ok(()) => Some(promise),
            Err(error) => {
                self.note_failure(Err(error));
                None
            }
        }
    }

    async fn propose(&self, proposal: SignedPairRecord) {
        let mirror = proposal.record.mirror();
        let request = Request::Propose(Box::new(proposal.clone()));
        match self.peers.call(mirror, request, Body::empty()).await {
            Ok(reply) => {
                let Response::Pair(signed) = reply.response else { return };
                if signed.record == proposal.record {
                    self.adopt(*signed).await;
                    // The mirror waits for it.
                    self.send_heartbeat().await;
                }
            }
            // It is somebody else's now, and has not signed this: the promise is void.
            Err(error) if error.refusal().is_some_and(|why| why.reason == Reason::NotAllowed) => {
                self.forget_promise().await;
            }
            Err(error) => tracing::debug!(mirror = %mirror, %error, "a proposal got no answer"),
        }
    }

    /// What makes `signed` this node's own pair on its disk. The partner's card belongs to
    /// it: a pair is recalled after a restart only with its members' cards. So does what was
    /// heard of the pair that this node was in before, or it would be in both.
    fn own_pair_changes(&self, signed: &SignedPairRecord) -> Vec<Change> {
        let partner = signed.record.partner_of(&self.me);
        let card = partner.and_then(|partner| self.membership.card_of(&partner));
        let heard = self.membership.unwritten_pairs();
        let mut changes: Vec<_> = heard.iter().chain([signed]).flat_map(pair_changes).collect();
        changes.push(not_left(&signed.record.pair));
        changes.extend(card.as_ref().map(card_change));
        changes
    }

    /// Takes in a later epoch of which this node is a member, if it is news: on the disk
    /// before it counts, and one after the other, so that none is written over a later one.
    pub(crate) async fn take_own_epoch(
        &self,
        signed: &SignedPairRecord,
        with: impl IntoIterator<Item = Change>,
    ) -> Result<bool, DiskError> {
        let _one_at_a_time = self.forming.lock().await;
        self.write_own_epoch(signed, with).await
    }

    /// The same for whoever holds `forming`.
    pub(crate) async fn write_own_epoch(
        &self,
        signed: &SignedPairRecord,
        with: impl IntoIterator<Item = Change>,
    ) -> Result<bool, DiskError> {
        let known = self.membership.pair(&signed.record.pair);
        if known.is_some_and(|known| known.record.epoch >= signed.record.epoch) {
            return Ok(false);
        }
        let mut changes = self.own_pair_changes(signed);
        changes.extend(with);
        self.disk.apply(changes).await?;
        Ok(self.membership.learn_pair(signed.clone(), self.lease_clock()).unwrap_or(false))
    }

    /// Makes a pair that both have signed this node's own, durable before it is used.
    ///
    /// Whoever asks meanwhile waits: between the two it would find neither promise nor
    /// pair, and a mirror that is told so forgets a pair of which its primary is sure.
    async fn adopt(&self, signed: SignedPairRecord) {
        let _nobody_asks = self.forming.lock().await;
        let is_known = self.membership.own_pair().is_some();
        if is_known || check_pair(&self.network, None, &signed, &self.checker).is_err() {
            return;
        }
        let mut changes = self.own_pair_changes(&signed);
        changes.push(self.promise_kept());
        if let Err(error) = self.disk.apply(changes).await {
            return self.note_failure(Err(error));
        }
        let role = if signed.record.primary() == self.me { Role::Primary } else { Role::Mirror };
        tracing::info!(pair = %signed.record.pair, %role, "this node is now in a pair");
        self.enter(signed);
    }

    /// As mirror: sign the primary's proposal if this node is free and would have chosen
    /// the same, or has signed it before.
    pub(crate) async fn take_proposal(
        &self,
        caller: NodeId,
        mut proposal: SignedPairRecord,
    ) -> Result<Response, Refusal> {
        if proposal.record.epoch != Epoch(1) {
            return self.take_successor(caller, proposal).await;
        }
        let record = &proposal.record;
        if caller != record.primary() || record.mirror() != self.me {
            return Err(refuse(Reason::Malformed, "not a proposal of the caller to this node"));
        }
        // A node has one promise: two that come at once are looked at one after the other.
        let _one_at_a_time = self.forming.lock().await;
        if let Some(own) = self.membership.own_pair() {
            if own.record == *record {
                return Ok(Response::Pair(Box::new(own)));
            }
            let detail = format!("this node is in pair {} already", own.record.pair);
            return Err(refuse(Reason::NotAllowed, detail));
        }
        if let Some(promised) = self.promise().await.map_err(disk_refusal)? {
            if promised.record == *record {
                return Ok(Response::Pair(Box::new(promised)));
            }
            return Err(refuse(Reason::Busy, "this node has promised itself to another now"));
        }
        if !self.membership.is_admitted(&caller) {
            return Err(refuse(Reason::Busy, "the proposer's card has not arrived here yet"));
        }
        let is_assigned = self.config.pairing == Pairing::Assigned;
        if self.planned() != Some(Match(caller, self.me))
            || (is_assigned && self.pair_id(&caller) != Some(record.pair))
        {
            return Err(refuse(Reason::Busy, "this node sees another plan now"));
        }
        let digest = record.statement(&self.network);
        proposal.signatures.truncate(1);
        proposal.signatures.push(sign_as_node(&self.key, &digest));
        check_pair(&self.network, None, &proposal, &self.checker).map_err(|_error| {
            refuse(Reason::NotAuthorised, "the proposal is not signed by its primary")
        })?;
        let promise = Change::Put(promise_key(), proposal.encode());
        self.disk.apply(vec![promise]).await.map_err(disk_refusal)?;
        Ok(Response::Pair(Box::new(proposal)))
    }

    /// A heartbeat for the promised pair shows that its primary is in it: so is this node.
    /// To the mirror's heartbeat a primary that still waits for the signature says so.
    pub(crate) async fn confirm_promise(
        &self,
        caller: NodeId,
        pair: PairId,
    ) -> Result<(), Refusal> {
        let being_adopted = self.forming.lock().await;
        if self.membership.own_pair().is_some() {
            // A newcomer forgets its promise when it hears that there is no such proposal.
            if self.is_proposed(&caller).await.map_err(disk_refusal)? {
                return Err(refuse(Reason::Busy, "the pair's next epoch is being agreed on"));
            }
            return Ok(());
        }
        let promise = self.promise().await.map_err(disk_refusal)?;
        drop(being_adopted);
        let promise = promise.filter(|promise| promise.record.epoch == Epoch(1));
        let Some(promise) = promise.filter(|promise| promise.record.pair == pair) else {
            return Ok(());
        };
        if promise.record.mirror() == caller {
            return Err(refuse(Reason::Busy, "the pair is being formed"));
        }
        if promise.record.primary() == caller {
            self.adopt(promise).await;
        }
        Ok(())
    }
}
