//! The next epoch of a pair: with a new member where one is lost or leaves, or with new
//! witnesses. The newcomer signs first, then whoever must agree, and the member that proposes
//! signs last: from then on the epoch before gives no receipts, and the next one is whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Gossip, Reason, Refusal, Request, Response};
use defs_core::network::{Activity, PairRecord, SignedPairRecord, WITNESSES_MAX};
use defs_core::port::{Change, Clock, Disk, DiskError, Peers, Publish, StateKey};
use defs_core::receipt::NodeSignature;
use defs_core::settings::Pairing;
use defs_core::wish::Want;
use defs_pairing::detector::Health;
use defs_pairing::majority::Leave;
use defs_pairing::planner::Candidate;
use defs_pairing::replacement::{self, Substitute, Survivor};
use defs_pairing::score::measured::Capacity;
use defs_pairing::witness;
use defs_telemetry::{spans, trace};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::confirm::Parting;
use crate::heal::promise::Agreed;
use crate::heal::sync::sync_change;
use crate::membership::{self, check_pair};
use crate::refuse::{disk_refusal, refuse};

/// Of an epoch's witnesses, so many must agree to a change that one member doesn't sign.
pub(crate) const WITNESSES_NEEDED: usize = 2;

/// The successor with a new member that this node proposes, with the signatures it has so
/// far.
fn proposal_key() -> StateKey {
    StateKey(b"successor".to_vec())
}

/// The successor with other witnesses that this node proposes, or was asked to sign. Who has
/// signed it signs no other: it is kept until its epoch has come, whatever happens.
fn renewal_key() -> StateKey {
    StateKey(b"renewal".to_vec())
}

const ASKED: &[u8] = b"asked/";

/// The successor that `newcomer` was asked to sign. It may have, and signs no other of that
/// epoch then, whatever becomes of the proposal meanwhile.
fn asked_key(newcomer: &NodeId) -> StateKey {
    StateKey([ASKED, &newcomer.0].concat())
}

/// Newcomers that are asked in one epoch, at most.
const ASKED_MAX: usize = 1024;

/// What this node is to the pair of which it is asked to sign the next epoch.
enum Part {
    Newcomer,
    Member,
    Witness,
}

impl<W: World> Engine<W> {
    /// Whether `record` would make this node a member of a pair in which it wasn't: it
    /// becomes one by its own promise only.
    pub(crate) fn would_join(&self, before: Option<&PairRecord>, record: &PairRecord) -> bool {
        let is_in = |record: &PairRecord| record.role_of(&self.me).is_some();
        is_in(record) && !before.is_some_and(is_in)
    }

    /// Proposes the next epoch of this node's pair, if one is due.
    pub(crate) async fn succeed(self: Arc<Self>) {
        let Some(own) = self.membership.own_pair() else { return self.sync_no_more().await };
        let Some(partner) = own.record.partner_of(&self.me) else { return };
        if self.lost.is_lost(&own.record.pair) {
            // Too few are left to agree: who has promised to come is free for another pair.
            return self.note_failure(self.drop_proposal().await);
        }
        let health = self.watch.health();
        let is_leaving = self.wishes.want(&partner) == Some(Want::Drain)
            || self.yields_to(&partner, &own.record).is_some();
        let result = if health == Some(Health::Lost) || is_leaving {
            let trace = self.wishes.trace_step(&partner);
            let span = trace::following(trace, || spans::pair_succeed(own.record.pair));
            trace::within(span, self.replace(&own.record, partner)).await
        } else if health == Some(Health::Alive) {
            self.renew_witnesses(&own.record, partner).await
        } else {
            Ok(())
        };
        self.note_failure(result);
    }

    /// One try to get the epoch in which another node stands for `partner`.
    async fn replace(&self, own: &PairRecord, partner: NodeId) -> Result<(), DiskError> {
        if let Some(renewal) = self.renewal(own).await?
            && (self.has_signed(&renewal.record).await? || self.witnesses_of(own, &renewal) > 0)
        {
            return self.renew_alone(own, partner, renewal).await;
        }
        let asked = self.asked(own).await?;
        let bound = self.bound_witnesses(own, &asked);
        let proposal = match self.agreed_or_current(own, asked).await? {
            Some(proposal) => proposal,
            None => {
                let Some(proposal) = self.propose_newcomer(own, partner).await? else {
                    return self.renew_in_time(own, partner).await;
                };
                proposal
            }
        };
        let signed = self.gather(own, proposal, &bound).await?;
        if check_pair_but_me(self, own, &signed) {
            return self.part_and_complete(own, partner, signed).await;
        }
        if self.is_hopeless(own, &signed, &bound).await {
            return self.drop_proposal().await;
        }
        Ok(())
    }

    /// The proposal that this node works on. One to which a witness has agreed goes before one to
    /// which none has, as soon as its newcomer is heard again: while that one lives, the witness
    /// agrees to no other.
    async fn agreed_or_current(
        &self,
        own: &PairRecord,
        asked: Vec<SignedPairRecord>,
    ) -> Result<Option<SignedPairRecord>, DiskError> {
        let current = self.proposal(own).await?;
        let is_agreed = |proposal: &SignedPairRecord| self.witnesses_of(own, proposal) > 0;
        if current.as_ref().is_some_and(is_agreed) {
            return Ok(current);
        }
        let newcomer = |proposal: &SignedPairRecord| proposal.record.partner_of(&self.me);
        let is_free =
            |node: NodeId| self.is_heard(&node) && self.membership.pair_of(&node).is_none();
        let mut agreed = asked.into_iter().filter(|one| newcomer(one).is_some_and(is_free));
        let Some(agreed) = agreed.find(is_agreed) else { return Ok(current) };
        let Some(joins) = newcomer(&agreed) else { return Ok(current) };
        // It may have promised itself to another pair meanwhile.
        let Some(agreed) = self.ask_signature(joins, agreed).await else { return Ok(current) };
        self.keep(own, &agreed).await?;
        Ok(Some(agreed))
    }

    /// Whether another newcomer is to be proposed. With the signatures of two witnesses this one
    /// will have its place. With one, where the others are not enough, it is waited for until
    /// that witness would agree to another.
    async fn is_hopeless(
        &self,
        own: &PairRecord,
        signed: &SignedPairRecord,
        bound: &[NodeId],
    ) -> bool {
        let Some(newcomer) = signed.record.partner_of(&self.me) else { return true };
        let signers = self.signers(signed);
        let agreed = own.witnesses.iter().filter(|witness| signers.contains(witness)).count();
        if self.is_heard(&newcomer) || agreed >= WITNESSES_NEEDED {
            return false;
        }
        let is_free = |witness: &&NodeId| {
            self.is_heard(witness) && !signers.contains(witness) && !bound.contains(witness)
        };
        if agreed == 0 || own.witnesses.iter().filter(is_free).count() >= WITNESSES_NEEDED {
            return true;
        }
        self.is_gone_for(newcomer, self.config.timings.watch.replace_after()).await
    }

    /// Whether `node` is not reached now, nor was in unbroken tries for so long.
    async fn is_gone_for(&self, node: NodeId, time: Duration) -> bool {
        !self.reaches(node).await && self.tries.absent_for(&node) >= time
    }

    /// The successor of `own` with other witnesses, noted before anybody is asked to sign it.
    async fn propose_renewal(
        &self,
        own: &PairRecord,
        witnesses: Vec<NodeId>,
    ) -> Result<SignedPairRecord, DiskError> {
        let _one_at_a_time = self.renewing.lock().await;
        // The partner may have asked for others just now, and this node have signed them.
        if let Some(renewal) = self.renewal(own).await? {
            return Ok(renewal);
        }
        let record = PairRecord {
            epoch: Epoch(own.epoch.0.saturating_add(1)),
            witnesses,
            previous: Some(own.digest()),
            ..own.clone()
        };
        let proposal = SignedPairRecord { record, signatures: Vec::new() };
        // A signature closes the epoch for who gives it: this must not be forgotten.
        self.keep(own, &proposal).await?;
        Ok(proposal)
    }

    /// This node has signed new witnesses and signs nothing else now, but the partner is gone
    /// before it signed them too: the present witnesses agree in its stead. In the epoch that
    /// begins so the partner can be replaced.
    async fn renew_alone(
        &self,
        own: &PairRecord,
        partner: NodeId,
        renewal: SignedPairRecord,
    ) -> Result<(), DiskError> {
        let bound = self.bound_witnesses(own, &self.asked(own).await?);
        let signed = self.gather(own, renewal, &bound).await?;
        let is_agreed = self.has_signature(&signed, &partner)
            || self.witnesses_of(own, &signed) >= WITNESSES_NEEDED;
        if is_agreed {
            return self.part_and_complete(own, partner, signed).await;
        }
        Ok(())
    }

    /// Nobody can come now, and a witness is silent. As long as two speak they agree to others;
    /// with one, nobody could ever come, and nobody would say any more that this member may speak
    /// for its pair.
    async fn renew_in_time(&self, own: &PairRecord, partner: NodeId) -> Result<(), DiskError> {
        let (speaking, silent) = self.speaking_witnesses(own);
        if silent.is_empty() || speaking < WITNESSES_NEEDED || !self.standing().may_heal() {
            return Ok(());
        }
        let without = [&silent[..], &[partner]].concat();
        let witnesses = self.choose_witnesses(own, own.members, &without);
        if witnesses.len() <= speaking {
            return Ok(());
        }
        let renewal = self.propose_renewal(own, witnesses).await?;
        tracing::info!(pair = %own.pair, lost = %partner, "other witnesses are proposed");
        self.renew_alone(own, partner, renewal).await
    }

    /// Closes the epoch once `partner` goes by no word of this node any more.
    async fn part_and_complete(
        &self,
        own: &PairRecord,
        partner: NodeId,
        signed: SignedPairRecord,
    ) -> Result<(), DiskError> {
        let _parting = match self.parting(partner, &signed) {
            Ok(parting) => parting,
            Err(refusal) => {
                tracing::debug!(%partner, %refusal, "the next epoch waits");
                return Ok(());
            }
        };
        self.complete(own, signed).await
    }

    /// To be held while a successor is signed to which `gone` hasn't agreed.
    fn parting(
        &self,
        gone: NodeId,
        signed: &SignedPairRecord,
    ) -> Result<Option<Parting<'_>>, Refusal> {
        if self.has_signature(signed, &gone) {
            return Ok(None);
        }
        self.part_from(gone).map(Some)
    }

    /// A successor with a new member, which has signed it already.
    async fn propose_newcomer(
        &self,
        own: &PairRecord,
        partner: NodeId,
    ) -> Result<Option<SignedPairRecord>, DiskError> {
        let heir = self.heir_of(&partner, own);
        let Some(newcomer) = heir.or_else(|| self.substitute(partner)) else { return Ok(None) };
        let proposal = match self.successor_at(asked_key(&newcomer), own).await? {
            Some(asked) => asked,
            None => {
                let members = [self.me, newcomer];
                let record = PairRecord {
                    pair: own.pair,
                    epoch: Epoch(own.epoch.0.saturating_add(1)),
                    members,
                    witnesses: self.choose_witnesses(own, members, &[partner]),
                    previous: Some(own.digest()),
                };
                let proposal = SignedPairRecord { record, signatures: Vec::new() };
                self.keep_proposal(asked_key(&newcomer), &proposal).await?;
                proposal
            }
        };
        let Some(signed) = self.ask_signature(newcomer, proposal).await else { return Ok(None) };
        self.keep(own, &signed).await?;
        tracing::info!(pair = %own.pair, lost = %partner, %newcomer, "a new member is proposed");
        Ok(Some(signed))
    }

    /// Who takes the place of `lost`, if that is for this node to choose.
    fn substitute(&self, lost: NodeId) -> Option<NodeId> {
        if self.config.pairing == Pairing::Assigned {
            return None;
        }
        let timings = &self.config.timings;
        let (free, _) = self.membership.free(self.clock.elapsed(), timings.card_stale);
        let survivor = Survivor {
            node: self.me,
            labels: self.config.labels.clone(),
            reach: self.contact().reach,
            held: self.disk.usage().used,
        };
        let candidates: Vec<_> = free
            .into_iter()
            .map(|candidate| {
                let free = self.membership.room_of(&candidate.node);
                let room = Capacity { total: candidate.capacity, free };
                let score = self.own_score(&candidate.node, room);
                let Candidate { node, labels, reach, .. } = candidate;
                Substitute { node, labels, reach, free, score, is_spare: true }
            })
            .collect();
        match replacement::choose(&survivor, &lost, &candidates) {
            Ok(replacement) => {
                tracing::debug!(%lost, %replacement, "a substitute is chosen");
                Some(replacement.chosen.node)
            }
            Err(error) => {
                tracing::debug!(%lost, %error, "no substitute");
                None
            }
        }
    }

    /// Witnesses for the next epoch: nodes that are heard now.
    fn choose_witnesses(
        &self,
        own: &PairRecord,
        members: [NodeId; 2],
        without: &[NodeId],
    ) -> Vec<NodeId> {
        let candidates = members.map(|member| self.membership.candidate(&member));
        let [Some(one), Some(other)] = candidates else { return Vec::new() };
        let mut others = self.membership.others(&members);
        others.retain(|other| !without.contains(&other.node) && self.is_heard(&other.node));
        let rank = |node: &NodeId| self.witness_rank(&own.pair, node);
        witness::choose(&[one, other], &others, rank, |node| self.membership.pair_of(node))
    }

    pub(crate) fn is_heard(&self, node: &NodeId) -> bool {
        let patience = self.config.timings.card_stale;
        *node == self.me || self.membership.is_heard(node, self.clock.elapsed(), patience)
    }

    /// Asks all who have not signed yet, and keeps what they sign. Where it takes one of the
    /// witnesses that are `bound` by another proposal, they come first: while none of them agrees
    /// to this one, only that other one can get enough of them.
    async fn gather(
        &self,
        own: &PairRecord,
        mut signed: SignedPairRecord,
        bound: &[NodeId],
    ) -> Result<SignedPairRecord, DiskError> {
        let asked = own.witnesses.iter().chain(&own.members).chain(&signed.record.members);
        let mut asked: Vec<_> = asked.copied().filter(|node| *node != self.me).collect();
        asked.sort_unstable();
        asked.dedup();
        let signers = self.signers(&signed);
        asked.retain(|node| !signers.contains(node) && self.is_heard(node));
        let (bound, free): (Vec<_>, Vec<_>) = own
            .witnesses
            .iter()
            .partition(|witness| bound.contains(witness) && !signers.contains(witness));
        let could_agree = |node: &&NodeId| signers.contains(node) || self.is_heard(node);
        if !bound.is_empty() && free.iter().filter(could_agree).count() < WITNESSES_NEEDED {
            asked.retain(|node| !free.contains(node));
        }
        let asking = asked.into_iter().map(|node| self.ask_signature(node, signed.clone()));
        let answers = futures::future::join_all(asking).await;
        let before = signed.signatures.len();
        for answer in answers.into_iter().flatten() {
            for signature in answer.signatures {
                if !signed.signatures.iter().any(|known| known.key == signature.key) {
                    signed.signatures.push(signature);
                }
            }
        }
        if signed.signatures.len() != before {
            self.keep(own, &signed).await?;
        }
        Ok(signed)
    }

    /// `proposal` with the signature of `node` added, if it gives it.
    async fn ask_signature(
        &self,
        node: NodeId,
        proposal: SignedPairRecord,
    ) -> Option<SignedPairRecord> {
        let request = Request::Propose(Box::new(proposal.clone()));
        let within = self.config.timings.probe.saturating_mul(3);
        match self.call_within(node, request, within).await {
            Ok(reply) => match reply.response {
                Response::Pair(signed)
                    if signed.record == proposal.record && self.has_signature(&signed, &node) =>
                {
                    Some(*signed)
                }
                _ => None,
            },
            Err(error) => {
                let why =
                    error.refusal().map_or_else(|| error.to_string(), |one| one.detail.clone());
                tracing::debug!(%node, why, "no signature for the next epoch");
                None
            }
        }
    }

    /// Who has signed it; nobody where a signature is not valid.
    fn signers(&self, signed: &SignedPairRecord) -> BTreeSet<NodeId> {
        membership::signers(&self.network, signed, &self.checker).unwrap_or_default()
    }

    fn has_signature(&self, signed: &SignedPairRecord, node: &NodeId) -> bool {
        self.signers(signed).contains(node)
    }

    fn witnesses_of(&self, own: &PairRecord, signed: &SignedPairRecord) -> usize {
        let signers = self.signers(signed);
        own.witnesses.iter().filter(|witness| signers.contains(witness)).count()
    }

    /// The witnesses of `own` that have agreed to one of its successors in `asked`.
    fn bound_witnesses(&self, own: &PairRecord, asked: &[SignedPairRecord]) -> Vec<NodeId> {
        let signers: BTreeSet<_> = asked.iter().flat_map(|one| self.signers(one)).collect();
        own.witnesses.iter().copied().filter(|witness| signers.contains(witness)).collect()
    }

    /// Everybody else has signed what must be signed: this node closes the epoch and begins
    /// the next.
    async fn complete(
        &self,
        own: &PairRecord,
        mut signed: SignedPairRecord,
    ) -> Result<(), DiskError> {
        match self.sign_once(&signed.record).await {
            Ok(signature) => signed.signatures.push(signature),
            Err(refusal) => {
                tracing::warn!(pair = %own.pair, %refusal, "this node can't sign its successor");
                return self.drop_proposal().await;
            }
        }
        if check_pair(&self.network, Some(own), &signed, &self.checker).is_err() {
            return Ok(());
        }
        let done = self.notes_of_proposals().await?;
        self.take_own_epoch(&signed, done.into_iter().map(Change::Remove)).await?;
        self.tell_epoch(own, &signed.record);
        self.enter(signed.clone());
        self.count_on_partner(&signed.record);
        self.tell_partner(signed).await;
        Ok(())
    }

    fn tell_epoch(&self, own: &PairRecord, record: &PairRecord) {
        tracing::info!(pair = %record.pair, epoch = %record.epoch, primary = %record.primary(),
            mirror = %record.mirror(), "the pair has a new epoch");
        self.metrics.epochs_begun.one();
        for gone in own.members.iter().filter(|member| !record.members.contains(member)) {
            self.watch.leave(gone, Leave::Replaced, self.clock.elapsed());
        }
    }

    /// The epoch has just begun with this node's signature. The other member can't go on
    /// without this node before it has entered the epoch, and gives its word when it does.
    fn count_on_partner(&self, record: &PairRecord) {
        if let Some(partner) = record.partner_of(&self.me) {
            self.confirmations.got(record, partner, self.clock.elapsed());
        }
    }

    /// The other member need not wait for the gossip.
    async fn tell_partner(&self, signed: SignedPairRecord) {
        let Some(other) = signed.record.partner_of(&self.me) else { return };
        let tell = Request::Propose(Box::new(signed));
        if let Err(error) = self.peers.call(other, tell, Body::empty()).await {
            tracing::debug!(%other, %error, "the new epoch was not told directly");
        }
    }

    /// New witnesses where too few of the present ones are heard, or where some can sign no
    /// other successor any more: both members sign.
    async fn renew_witnesses(&self, own: &PairRecord, partner: NodeId) -> Result<(), DiskError> {
        let proposal = match self.renewal(own).await? {
            Some(proposal) => proposal,
            None => {
                // The partner is back. What witnesses have signed stays signed.
                let asked = self.asked(own).await?;
                let is_due = !self.bound_witnesses(own, &asked).is_empty() || {
                    self.drop_proposal().await?;
                    own.primary() == self.me && self.needs_witnesses(own)
                };
                if !is_due || !self.standing().may_heal() {
                    return Ok(());
                }
                let witnesses = self.choose_witnesses(own, own.members, &[]);
                self.propose_renewal(own, witnesses).await?
            }
        };
        let Some(signed) = self.ask_signature(partner, proposal).await else { return Ok(()) };
        self.complete(own, signed).await
    }

    /// Whether witnesses have been missing for long, and there are others. While this node hears
    /// no majority it is this node that is away.
    fn needs_witnesses(&self, own: &PairRecord) -> bool {
        let now = self.clock.elapsed();
        let heard = own.witnesses.iter().filter(|witness| self.is_heard(witness)).count();
        let others = self.membership.hearing(now, self.config.timings.card_stale);
        let is_fit = |(node, is_heard): &&(NodeId, bool)| *is_heard && own.role_of(node).is_none();
        let could_be = others.iter().filter(is_fit).take(WITNESSES_MAX).count();
        let is_short = heard < could_be && self.standing().may_heal();
        let since = self.watch.short_of_witnesses(is_short, now);
        since.is_some_and(|since| now.saturating_sub(since) >= self.config.timings.renew_witnesses)
    }

    /// The new member that this node has proposed after `own` and not yet got.
    async fn proposal(&self, own: &PairRecord) -> Result<Option<SignedPairRecord>, DiskError> {
        self.successor_at(proposal_key(), own).await
    }

    /// The new witnesses that this node has proposed or was asked to sign.
    async fn renewal(&self, own: &PairRecord) -> Result<Option<SignedPairRecord>, DiskError> {
        self.successor_at(renewal_key(), own).await
    }

    async fn successor_at(
        &self,
        key: StateKey,
        own: &PairRecord,
    ) -> Result<Option<SignedPairRecord>, DiskError> {
        let bytes = self.disk.get(key).await?;
        let proposal = bytes.and_then(|bytes| SignedPairRecord::decode(&bytes).ok());
        Ok(proposal.filter(|proposal| proposal.record.previous == Some(own.digest())))
    }

    async fn keep_proposal(
        &self,
        key: StateKey,
        proposal: &SignedPairRecord,
    ) -> Result<(), DiskError> {
        self.disk.apply(vec![Change::Put(key, proposal.encode())]).await
    }

    /// Keeps the successor of `own` that this node works on from now, with its signatures.
    async fn keep(&self, own: &PairRecord, proposal: &SignedPairRecord) -> Result<(), DiskError> {
        let newcomer = proposal.record.partner_of(&self.me);
        let keys = match newcomer.filter(|node| own.role_of(node).is_none()) {
            Some(newcomer) => vec![proposal_key(), asked_key(&newcomer)],
            None => vec![renewal_key()],
        };
        let put = |key| Change::Put(key, proposal.encode());
        self.disk.apply(keys.into_iter().map(put).collect()).await
    }

    /// Every successor of `own` that a newcomer was asked to sign, with the signatures it got.
    async fn asked(&self, own: &PairRecord) -> Result<Vec<SignedPairRecord>, DiskError> {
        let notes = self.disk.scan(StateKey(ASKED.to_vec()), ASKED_MAX).await?;
        let asked = notes.into_iter().filter_map(|(_, note)| SignedPairRecord::decode(&note).ok());
        Ok(asked.filter(|asked| asked.record.previous == Some(own.digest())).collect())
    }

    /// All that is kept of successors until one of them has come.
    async fn notes_of_proposals(&self) -> Result<Vec<StateKey>, DiskError> {
        let asked = self.disk.scan(StateKey(ASKED.to_vec()), ASKED_MAX).await?;
        let asked = asked.into_iter().map(|(key, _)| key);
        Ok(asked.chain([proposal_key(), renewal_key()]).collect())
    }

    async fn drop_proposal(&self) -> Result<(), DiskError> {
        if self.disk.get(proposal_key()).await?.is_none() {
            return Ok(());
        }
        self.disk.apply(vec![Change::Remove(proposal_key())]).await
    }

    /// As a member that is asked to sign new witnesses: they are kept before the signature is
    /// given. Where both members propose some, the primary's count.
    async fn keep_renewal(
        &self,
        before: &PairRecord,
        asked: &SignedPairRecord,
    ) -> Result<(), Refusal> {
        let _one_at_a_time = self.renewing.lock().await;
        let kept = self.renewal(before).await.map_err(disk_refusal)?;
        if let Some(kept) = kept.filter(|kept| kept.record != asked.record) {
            let is_signed = self.has_signed(&kept.record).await.map_err(disk_refusal)?;
            if is_signed || before.primary() == self.me {
                return Err(refuse(Reason::Busy, "this node has proposed other witnesses"));
            }
        }
        self.keep_proposal(renewal_key(), asked).await.map_err(disk_refusal)
    }

    /// Whether `node` waits for the epoch that this node proposes.
    pub(crate) async fn is_proposed(&self, node: &NodeId) -> Result<bool, DiskError> {
        let Some(own) = self.membership.own_pair() else { return Ok(false) };
        let proposal = self.proposal(&own.record).await?;
        Ok(proposal.is_some_and(|proposal| proposal.record.role_of(node).is_some()))
    }

    /// Signs a successor of a pair's epoch, or takes in one that is whole.
    pub(crate) async fn take_successor(
        &self,
        caller: NodeId,
        mut proposal: SignedPairRecord,
    ) -> Result<Response, Refusal> {
        let record = &proposal.record;
        let known = self.membership.pair(&record.pair);
        if let Some(known) = known.as_ref().filter(|known| known.record == *record) {
            return Ok(Response::Pair(Box::new(known.clone())));
        }
        let Some(before) = known.map(|known| known.record).filter(|before| follows(before, record))
        else {
            self.is_behind(proposal);
            return Err(refuse(Reason::Busy, "this node knows another epoch of the pair"));
        };
        if check_pair(&self.network, Some(&before), &proposal, &self.checker).is_ok() {
            return self.take_whole(&before, proposal).await;
        }
        let is_members = before.role_of(&caller).is_some() && record.role_of(&caller).is_some();
        if !is_members {
            return Err(refuse(Reason::NotAllowed, "a member proposes its pair's next epoch"));
        }
        let part = self.part_in(&before, record)?;
        // Of two who propose at once one is promised something: till that is written down.
        let _promising = match part {
            Part::Newcomer => Some(self.forming.lock().await),
            Part::Member | Part::Witness => None,
        };
        let _parting = match part {
            Part::Newcomer => {
                self.may_join(&before, record).await?;
                None
            }
            Part::Member => {
                self.may_change(caller, &before, record)?;
                if before.members == record.members {
                    self.keep_renewal(&before, &proposal).await?;
                }
                None
            }
            Part::Witness => Some(self.may_evict(caller, &before, record).await?),
        };
        let signature = match part {
            Part::Witness => self.agree(caller, &before, &proposal.record).await?,
            Part::Newcomer | Part::Member => self.sign_once(&proposal.record).await?,
        };
        proposal.signatures.retain(|known| known.key != signature.key);
        proposal.signatures.truncate(6);
        proposal.signatures.push(signature);
        if self.would_join(Some(&before), &proposal.record) {
            self.keep_promise(&proposal).await?;
            // Whoever hears of the epoch is not to believe that this node has everything.
            self.syncing.store(true, Ordering::Relaxed);
            self.tell_card();
        }
        Ok(Response::Pair(Box::new(proposal)))
    }

    async fn take_whole(
        &self,
        before: &PairRecord,
        signed: SignedPairRecord,
    ) -> Result<Response, Refusal> {
        if self.would_join(Some(before), &signed.record) {
            self.join(signed.clone()).await?;
        } else if signed.record.role_of(&self.me).is_some() {
            self.take_own_epoch(&signed, []).await.map_err(disk_refusal)?;
        } else {
            self.hear_pair(signed.clone());
        }
        Ok(Response::Pair(Box::new(signed)))
    }

    fn part_in(&self, before: &PairRecord, record: &PairRecord) -> Result<Part, Refusal> {
        if before.role_of(&self.me).is_some() {
            Ok(Part::Member)
        } else if record.role_of(&self.me).is_some() {
            Ok(Part::Newcomer)
        } else if before.witnesses.contains(&self.me) {
            Ok(Part::Witness)
        } else {
            Err(refuse(Reason::NotAllowed, "this node has no part in that epoch"))
        }
    }

    async fn may_join(&self, before: &PairRecord, record: &PairRecord) -> Result<(), Refusal> {
        if let Some(own) = self.membership.own_pair() {
            let detail = format!("this node is in pair {} already", own.record.pair);
            return Err(refuse(Reason::NotAllowed, detail));
        }
        if self.activity() == Activity::Draining {
            return Err(refuse(Reason::NotAllowed, "this node is leaving"));
        }
        let stays = record.members.iter().any(|member| before.role_of(member).is_some());
        if !stays {
            return Err(refuse(Reason::NotAllowed, "no member of the pair would stay"));
        }
        self.may_take_place(before)?;
        match self.promise().await.map_err(disk_refusal)? {
            Some(promised) if promised.record != *record => {
                Err(refuse(Reason::Busy, "this node has promised itself to another now"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// As member: other witnesses whenever the partner wants them, and to leave only when a
    /// person wants it.
    fn may_change(
        &self,
        caller: NodeId,
        before: &PairRecord,
        record: &PairRecord,
    ) -> Result<(), Refusal> {
        if before.partner_of(&self.me) != Some(caller) {
            return Err(refuse(Reason::NotAllowed, "only the partner may propose that"));
        }
        let is_renewal = before.members == record.members;
        let heir = self.yields_to(&self.me, before);
        let is_wished = match record.partner_of(&caller) {
            Some(newcomer) if heir.is_some() => heir == Some(newcomer),
            _ => self.wishes.want(&self.me) == Some(Want::Drain),
        };
        if is_renewal || is_wished {
            return Ok(());
        }
        Err(refuse(Reason::NotAllowed, "this node lives, and nobody asked it to leave"))
    }

    /// As witness: only who is gone for this node too may be replaced, or left unasked.
    async fn may_evict(
        &self,
        caller: NodeId,
        before: &PairRecord,
        record: &PairRecord,
    ) -> Result<Parting<'_>, Refusal> {
        let is_renewal = before.members == record.members;
        let partner = before.partner_of(&caller);
        let Some(gone) = partner.filter(|gone| is_renewal || record.role_of(gone).is_none()) else {
            return Err(refuse(Reason::NotAllowed, "both members can sign that themselves"));
        };
        let standing = self.standing();
        if !standing.may_heal() {
            return Err(refuse(Reason::Busy, format!("{standing}")));
        }
        if self.reaches(gone).await {
            return Err(refuse(Reason::NotAllowed, format!("this node reaches {gone}")));
        }
        let newcomer = record.partner_of(&caller);
        let is_fit = |node: &NodeId| {
            self.membership.is_admitted(node) && self.membership.pair_of(node).is_none()
        };
        if !is_renewal && !newcomer.as_ref().is_some_and(is_fit) {
            return Err(refuse(Reason::NotAllowed, "the new member is not free"));
        }
        let is_wanted = self.wishes.intent(&gone, before).is_some();
        let absent = self.tries.absent_for(&gone);
        if is_wanted || absent >= self.patience_of_witness() {
            return self.part_from(gone);
        }
        let detail = format!("{gone} was not reached by this node for {absent:.1?} only");
        Err(refuse(Reason::Busy, detail))
    }

    /// How long a witness must have missed whom it agrees to do without. The member began to ask
    /// when it suspected: the witness has seen nearly as much.
    fn patience_of_witness(&self) -> Duration {
        self.config.timings.watch.replace_after() / 2
    }

    /// As witness: signs a successor that `stays` proposes, one of an epoch. Only if the newcomer of
    /// one signed before is gone, as a member would have to be to be replaced, `stays` may have
    /// another: itself it signs one at most, and only that one comes.
    async fn agree(
        &self,
        stays: NodeId,
        before: &PairRecord,
        record: &PairRecord,
    ) -> Result<NodeSignature, Refusal> {
        let joins = record.partner_of(&stays).filter(|node| before.role_of(node).is_none());
        let agreed = self.agreed(&record.pair).await.map_err(disk_refusal)?;
        let others = agreed.filter(|one| one.stays == stays && one.record != record.digest());
        let instead = match others {
            Some(one) if self.is_gone_for(one.joins, self.patience_of_witness()).await => Some(one),
            Some(_) | None => None,
        };
        let agreed = joins.map(|joins| Agreed { record: record.digest(), stays, joins });
        self.sign_instead(record, instead.map(|one| one.record), agreed).await
    }

    /// Becomes a member of a pair that was there before: durable, with the mark that all is
    /// still to be taken over.
    pub(crate) async fn join(&self, signed: SignedPairRecord) -> Result<(), Refusal> {
        let _promising = self.forming.lock().await;
        let is_promised = match self.promise().await.map_err(disk_refusal)? {
            Some(promised) => promised.record == signed.record,
            // Its signature counts though the promise was forgotten: the pair relies on it.
            None => self.has_signed(&signed.record).await.map_err(disk_refusal)?,
        };
        if !is_promised || self.membership.own_pair().is_some() {
            return Err(refuse(Reason::NotAllowed, "this node has not promised to join"));
        }
        if let Some(partner) = signed.record.partner_of(&self.me) {
            // It counts on that since it signed, see `count_on_partner`.
            self.give_word(partner)?;
        }
        let marks = [sync_change(signed.record.epoch), self.promise_kept()];
        if !self.write_own_epoch(&signed, marks).await.map_err(disk_refusal)? {
            return Err(refuse(Reason::WrongEpoch, "the pair is in a later epoch already"));
        }
        let record = &signed.record;
        tracing::info!(pair = %record.pair, epoch = %record.epoch, "this node takes a lost one's place");
        self.syncing.store(true, Ordering::Relaxed);
        self.tell_card();
        self.enter(signed);
        self.begin_sync();
        Ok(())
    }

    /// As a newcomer that has signed: the whole record from whoever proposed it.
    pub(crate) async fn ask_for_epoch(&self, promise: &SignedPairRecord) {
        let PairRecord { pair, epoch, .. } = promise.record;
        let known = self.membership.pair(&pair).map(|known| known.record);
        if known.is_some_and(|known| known.epoch >= epoch && known != promise.record) {
            // Another successor: this one will never be.
            return self.forget_promise().await;
        }
        let proposer = promise.record.primary();
        let after = Epoch(epoch.0.saturating_sub(1));
        let Some(records) = self.history_of(proposer, pair, after).await else {
            if self.lost.is_lost(&pair) {
                self.forget_promise().await;
            }
            return;
        };
        let before = self.membership.pair(&pair).map(|known| known.record);
        let settled = records.into_iter().find(|signed| {
            let is_valid = check_pair(&self.network, before.as_ref(), signed, &self.checker);
            is_valid.is_ok() && (signed.record == promise.record || signed.record.epoch >= epoch)
        });
        match settled {
            Some(signed) if signed.record == promise.record => {
                if let Err(error) = self.join(signed).await {
                    tracing::warn!(%pair, %error, "failed to join");
                }
            }
            // Another successor: this one will never be.
            Some(_) => self.forget_promise().await,
            None if self.still_proposes(proposer, pair, epoch).await => {}
            None => self.forget_promise().await,
        }
    }

    /// What `node` knows of the pair's epochs after `after`, if it answers.
    async fn history_of(
        &self,
        node: NodeId,
        pair: PairId,
        after: Epoch,
    ) -> Option<Vec<SignedPairRecord>> {
        let request = Request::History { pair, after };
        match self.call_within(node, request, self.config.timings.probe).await {
            Ok(reply) => match reply.response {
                Response::History(records) => Some(records),
                _ => None,
            },
            Err(error) => {
                tracing::debug!(%node, %error, "a pair's epochs can't be asked for");
                None
            }
        }
    }

    /// Whether the proposer still works on the epoch. Silence is no answer.
    async fn still_proposes(&self, proposer: NodeId, pair: PairId, epoch: Epoch) -> bool {
        let asked = Request::Heartbeat { pair, epoch };
        match self.call_within(proposer, asked, self.config.timings.probe).await {
            Ok(_) => true,
            Err(error) => {
                error.refusal().is_none_or(|refusal| refusal.reason != Reason::WrongEpoch)
            }
        }
    }

    /// Takes a pair as this node's own, and tells everybody.
    pub(crate) fn enter(&self, signed: SignedPairRecord) {
        if self.membership.learn_pair(signed.clone(), self.lease_clock()).is_ok() {
            self.membership.heard_partner(self.clock.elapsed());
            self.peers.publish(Gossip::Pair(Box::new(signed)));
            self.entered.notify_one();
        }
    }
}

fn follows(before: &PairRecord, record: &PairRecord) -> bool {
    before.epoch.0.checked_add(1) == Some(record.epoch.0)
        && record.previous == Some(before.digest())
}

/// Whether only this node's own signature is missing.
fn check_pair_but_me<W: World>(
    engine: &Engine<W>,
    own: &PairRecord,
    signed: &SignedPairRecord,
) -> bool {
    let has = |node: Option<NodeId>| node.is_some_and(|node| engine.has_signature(signed, &node));
    let agreed =
        has(own.partner_of(&engine.me)) || engine.witnesses_of(own, signed) >= WITNESSES_NEEDED;
    has(signed.record.partner_of(&engine.me)) && agreed
}
