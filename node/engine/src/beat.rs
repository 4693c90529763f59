//! The pulse of a node: heartbeats between partners, and cards and pair records told to
//! everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Gossip, PairView, Reason, Refusal, Request, Response, Table};
use defs_core::network::{NodeCard, SignedCard};
use defs_core::port::{Change, Clock, Disk, Publish, StateKey};
use defs_core::statement::Statement;

use crate::config::World;
use crate::contact::Contact;
use crate::engine::Engine;
use crate::heal::history::{changed_change, pair_changes};
use crate::membership::Hearing;
use crate::refuse::refuse;

/// After its start a node tells its card faster, since its first words may be said
/// before anybody listens.
const EAGER_CARDS: u32 = 10;

/// Between two cards of an eager node, and at least between any two.
const EAGER_PAUSE: Duration = Duration::from_millis(500);

/// A card as it is kept.
pub(crate) fn card_change(card: &SignedCard) -> Change {
    let key = [b"card/".as_slice(), &card.card.key].concat();
    Change::Put(StateKey(key), card.encode())
}

impl<W: World> Engine<W> {
    /// One heartbeat to the partner, if there is one.
    pub(crate) async fn beat(self: Arc<Self>) {
        self.send_heartbeat().await;
    }

    /// A heartbeat as soon as this node is in an epoch: it speaks for its pair only once its
    /// partner has answered.
    pub(crate) async fn beat_on_entering(&self) {
        loop {
            self.entered.notified().await;
            self.send_heartbeat().await;
        }
    }

    pub(crate) async fn send_heartbeat(&self) {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return };
        let Some(partner) = own.partner_of(&self.me) else { return };
        let request = Request::Heartbeat { pair: own.pair, epoch: own.epoch };
        let began = self.clock.elapsed();
        match self.call_within(partner, request, self.config.timings.watch.suspect_after()).await {
            Ok(_) => {
                let now = self.clock.elapsed();
                let took = now.saturating_sub(began);
                self.watch.answered(&own.pair, took, now);
                self.gauges.of(partner, |meters| meters.answers.add(took));
                self.membership.heard_partner(now);
                self.confirmations.got(&own, partner, began);
                self.pay_owed().await;
            }
            Err(error) => {
                let is_behind =
                    error.refusal().is_some_and(|refusal| refusal.reason == Reason::WrongEpoch);
                if is_behind {
                    self.learn_epochs(partner, own.pair).await;
                }
                self.metrics.heartbeats_missed.one();
                tracing::debug!(pair = %own.pair, partner = %partner, %error, "no heartbeat");
            }
        }
    }

    pub(crate) async fn take_heartbeat(
        &self,
        caller: NodeId,
        pair: PairId,
        epoch: Epoch,
    ) -> Result<Response, Refusal> {
        self.confirm_promise(caller, pair).await?;
        let known = self.membership.own_pair().map(|own| own.record);
        if known.is_some_and(|own| own.pair == pair && own.epoch < epoch) {
            self.learn_epochs(caller, pair).await;
        }
        let own = self.own_pair_at(pair, epoch)?;
        if own.partner_of(&self.me) != Some(caller) {
            return Err(refuse(Reason::NotAllowed, "only the partner may send heartbeats"));
        }
        let now = self.clock.elapsed();
        self.watch.beat(&pair, now);
        self.membership.heard_partner(now);
        self.give_word(caller)?;
        // Now, as the next epoch may have begun before that.
        self.own_pair_at(pair, epoch)?;
        Ok(Response::Alive)
    }

    /// Tells this node's card and pair, again and again.
    pub(crate) async fn tell_cards(&self) {
        let mut eager = EAGER_CARDS;
        loop {
            self.tell_card();
            let pause = if eager > 0 { EAGER_PAUSE } else { self.config.timings.card };
            eager = eager.saturating_sub(1);
            tokio::select! {
                biased;
                () = self.greet.notified() => self.clock.sleep(EAGER_PAUSE).await,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    pub(crate) fn tell_card(&self) {
        let card = self.card();
        if let Ok(node) =
            crate::check_card(&self.config.genesis, &self.network, &card, &self.checker)
        {
            // Its own card is in its table too: clients ask for the whole.
            self.membership.learn_card(node, card.clone(), Some(self.clock.elapsed()));
        }
        self.peers.publish(Gossip::Card(Box::new(card)));
        if let Some(own) = self.membership.own_pair() {
            self.peers.publish(Gossip::Pair(Box::new(own)));
        }
        self.tell_wishes();
    }

    /// This node's card as of now.
    pub(crate) fn card(&self) -> SignedCard {
        let usage = self.disk.usage();
        let Contact { addresses, reach } = self.contact();
        let card = NodeCard {
            key: self.key.public().to_bytes(),
            // Grows even if the date was set back.
            sequence: self.clock.now().0.max(self.membership.own_sequence().saturating_add(1)),
            addresses,
            labels: self.config.labels.clone(),
            capacity: usage.capacity,
            used: usage.used,
            activity: self.activity(),
            reach,
            admission: self.config.admission,
        };
        let signature = self.key.sign(&card.statement(&self.network)).0;
        SignedCard { card, signature }
    }

    /// What this node knows of the network now.
    pub fn table(&self) -> Table {
        self.membership.table(self.hearing())
    }

    fn hearing(&self) -> Hearing {
        let timings = &self.config.timings;
        let partner = timings.watch.suspect_after();
        Hearing { now: self.clock.elapsed(), card: timings.card_stale, partner }
    }

    /// What [`Engine::table`] says of this node's pair, without the table: it is as large as the
    /// network.
    pub fn own_view(&self) -> Option<PairView> {
        self.membership.own_view(self.hearing())
    }

    /// The newest card of every admitted node.
    pub fn cards(&self) -> BTreeMap<NodeId, NodeCard> {
        self.membership.cards()
    }

    /// This node's newest card, once it has one.
    pub fn own_card(&self) -> Option<NodeCard> {
        self.membership.card_of(&self.me).map(|signed| signed.card)
    }

    fn change_of(&self, pair: &PairId) -> Option<Change> {
        self.membership.changed(pair).map(|at| changed_change(pair, at))
    }

    /// Writes what was learnt of the network, so that a restart begins with it.
    pub(crate) async fn flush_membership(self: Arc<Self>) {
        let (cards, pairs) = self.membership.take_dirty();
        let wishes = self.unwritten_wishes();
        if cards.is_empty() && pairs.is_empty() && wishes.is_empty() {
            return;
        }
        let changes = cards
            .iter()
            .map(card_change)
            .chain(pairs.iter().flat_map(pair_changes))
            .chain(pairs.iter().filter_map(|pair| self.change_of(&pair.record.pair)))
            .chain(wishes)
            .collect();
        let written = self.disk.apply(changes).await;
        if written.is_err() {
            self.membership.mark_dirty(&cards, pairs.iter().map(|pair| pair.record.pair));
        }
        self.note_failure(written);
    }
}
