//! Audits: each member of a pair challenges the other on a range of a shard that both hold,
//! which it can answer only from the bytes. Who fails is a worse partner in every plan.

use std::ops::Range;
use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::{NodeId, ShardIndex, StripeId};
use defs_core::message::{Reason, Refusal, Request, Response, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Clock, Disk, Peers, Randomness, StoredShard};
use defs_pairing::detector::Health;
use defs_pairing::score::audit::{Challenge, RANGE_MAX, Verdict};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::scrub::Found;
use crate::refuse::{disk_refusal, refuse};

/// Shards among which one that is fit for an audit is looked for.
const DRAWN: usize = 16;

impl<W: World> Engine<W> {
    /// Answers a challenge from the bytes on this node's disk.
    pub(crate) async fn prove(
        &self,
        caller: NodeId,
        key: ShardKey,
        nonce: &[u8; 32],
        range: Range<u64>,
    ) -> Result<Response, Refusal> {
        if !self.membership.is_admitted(&caller) {
            return Err(refuse(Reason::NotAllowed, "only nodes may challenge"));
        }
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let stored = stored.ok_or_else(|| refuse(Reason::NotFound, "the shard is not here"))?;
        let is_within = range.start <= range.end
            && range.end <= stored.length
            && range.end - range.start <= RANGE_MAX;
        if !is_within {
            return Err(refuse(
                Reason::Malformed,
                "a challenge is about 64 KiB of a shard at most",
            ));
        }
        let challenge = Challenge { key, nonce: *nonce, range };
        let bytes = self.read_range(&challenge).await?;
        Ok(Response::Proof(challenge.answer(&bytes)))
    }

    /// One audit of the partner, while all is well: what goes wrong otherwise says nothing.
    pub(crate) async fn audit_partner(self: Arc<Self>) {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return };
        let Some(partner) = own.partner_of(&self.me) else { return };
        let is_calm = self.watch.health() == Some(Health::Alive)
            && !self.is_syncing()
            && !self.membership.is_syncing(&partner);
        if !is_calm {
            return;
        }
        match self.audit(&own, partner).await {
            Ok(None) => {}
            Ok(Some(verdict)) => {
                self.gauges.of(partner, |meters| meters.audits.add(verdict));
                if verdict == Verdict::Fails {
                    self.metrics.audits_failed.one();
                    tracing::warn!(pair = %own.pair, %partner, "the partner failed an audit");
                } else {
                    self.metrics.audits_passed.one();
                }
            }
            Err(refusal) => tracing::debug!(%partner, %refusal, "no audit"),
        }
    }

    async fn audit(&self, own: &PairRecord, partner: NodeId) -> Result<Option<Verdict>, Refusal> {
        let Some((key, stored)) = self.drawn_shard(own).await? else { return Ok(None) };
        let place = u64::from_le_bytes(self.random.array());
        let challenge = Challenge::draw(key, stored.length, self.random.array(), place);
        let verdict = self.challenge(partner, &challenge).await?;
        match verdict {
            Some(Verdict::Fails) => self.is_to_blame(key, &stored).await,
            Some(Verdict::Holds) | None => Ok(verdict),
        }
    }

    /// What `node` makes of a challenge that this node can judge; nothing if it gives no
    /// answer.
    pub(crate) async fn challenge(
        &self,
        node: NodeId,
        challenge: &Challenge,
    ) -> Result<Option<Verdict>, Refusal> {
        let Challenge { key, nonce, range } = challenge.clone();
        let request = Request::Challenge { key, nonce, range };
        let answer = self.peers.call(node, request, Body::empty()).await;
        self.note_load(node, &answer);
        match answer.map(|reply| reply.response) {
            Ok(Response::Proof(proof)) => {
                let bytes = self.read_range(challenge).await?;
                Ok(Some(challenge.judge(&bytes, &proof)))
            }
            Ok(_) => Ok(Some(Verdict::Fails)),
            Err(CallError::Refused { refusal, .. }) if refusal.reason == Reason::NotFound => {
                Ok(Some(Verdict::Fails))
            }
            Err(_) => Ok(None),
        }
    }

    /// The other one failed, unless the shard was deleted meanwhile, or is rotten here.
    async fn is_to_blame(
        &self,
        key: ShardKey,
        stored: &StoredShard,
    ) -> Result<Option<Verdict>, Refusal> {
        // A deletion that reached the partner first comes here at once.
        self.clock.sleep(self.config.timings.probe).await;
        match self.look_at(key, stored).await {
            Found::Whole => Ok(Some(Verdict::Fails)),
            Found::Rotten | Found::Unreadable => {
                self.scrub_shard(key, stored.clone()).await?;
                Ok(None)
            }
            Found::Gone => Ok(None),
        }
    }

    /// A shard that both members are to hold, drawn so that neither can foresee it.
    async fn drawn_shard(
        &self,
        own: &PairRecord,
    ) -> Result<Option<(ShardKey, StoredShard)>, Refusal> {
        let drawn = ShardKey { stripe: StripeId(self.random.array()), index: ShardIndex(0) };
        for from in [Some(drawn), None] {
            let page = self.disk.shards_after(from, DRAWN).await.map_err(disk_refusal)?;
            let is_fit = |(_, stored): &(ShardKey, StoredShard)| {
                stored.state.pair == own.pair && stored.state.commit.is_some()
            };
            if let Some(found) = page.into_iter().find(is_fit) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn read_range(&self, challenge: &Challenge) -> Result<Vec<u8>, Refusal> {
        let Challenge { key, range, .. } = challenge;
        let body = self.disk.read(*key, range.clone()).await.map_err(disk_refusal)?;
        body.collect().await.map_err(|error| refuse(Reason::Disk, error.to_string()))
    }
}
