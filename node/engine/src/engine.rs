//! The engine: one node's parts, how a request finds its way to them, and the tasks that
//! run beside the requests.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::{Format, FormatError};
use defs_core::ids::{Epoch, NetworkId, NodeId};
use defs_core::message::{Gossip, Refusal, Request, Response};
use defs_core::network::{SignedCard, SignedPairRecord};
use defs_core::port::{
    Clock, Disk, DiskError, Peers, Reply, Service, StateKey, UnixMillis, Verdict,
};
use defs_identity::{CachedChecker, SecretKey, UnixTime};
use defs_telemetry::{Ask, NodeMetrics};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::announce::Untold;
use crate::arrivals::Arrivals;
use crate::config::{EngineConfig, World};
use crate::connection::Connections;
use crate::contact::Contact;
use crate::elapsed::Elapsed;
use crate::gate::Gate;
use crate::gauge::Gauges;
use crate::heal::confirm::Confirmations;
use crate::heal::doubles::Doubles;
use crate::heal::hand_over::Preparing;
use crate::heal::history::Behind;
use crate::heal::lost::LostPairs;
use crate::heal::notes::Hints;
use crate::heal::pace::Pace;
use crate::heal::rebuild::Repairs;
use crate::heal::release::Rebuilders;
use crate::heal::scrub::BadShards;
use crate::heal::sync::Given;
use crate::heal::watch::Watch;
use crate::heal::wishes::Wishes;
use crate::heal::witness::Tries;
use crate::locate::{Askers, Lookups, Query};
use crate::membership::{CardError, Membership, News, PairError, check_card, check_pair};
use crate::records::KeyLocks;
use crate::refuse::reply;

/// Broadcast questions that may wait to be answered: more than that is somebody's flood,
/// and their askers have other nodes to hear from.
const QUERIES_MAX: usize = 1024;

/// Pair records and cards that are read back at a start.
pub(crate) const STATE_MAX: usize = 20_000;

/// One node's logic over its ports.
pub struct Engine<W: World> {
    pub(crate) config: EngineConfig,
    pub(crate) network: NetworkId,
    pub(crate) me: NodeId,
    pub(crate) key: SecretKey,
    pub(crate) peers: W::Peers,
    pub(crate) disk: W::Disk,
    pub(crate) clock: W::Clock,
    pub(crate) random: W::Random,
    pub(crate) compute: W::Compute,
    pub(crate) elapsed: Elapsed,
    pub(crate) checker: Arc<CachedChecker>,
    pub(crate) connections: Connections,
    pub(crate) membership: Membership,
    pub(crate) key_locks: KeyLocks,
    /// Held while a promise is made, and while it becomes a pair.
    pub(crate) forming: tokio::sync::Mutex<()>,
    pub(crate) lookups: Lookups,
    pub(crate) askers: Askers,
    pub(crate) gate: Gate,
    pub(crate) metrics: NodeMetrics,
    pub(crate) untold: Untold,
    /// Shards on their way in, by stripe.
    pub(crate) arrivals: Arrivals,
    /// What the partner got last.
    pub(crate) given: Given,
    pub(crate) contact: Mutex<Contact>,
    queries: mpsc::Sender<Query>,
    queries_in: Mutex<Option<mpsc::Receiver<Query>>>,
    pub(crate) watch: Watch,
    /// This node's own tries to reach others.
    pub(crate) tries: Tries,
    pub(crate) confirmations: Confirmations,
    pub(crate) lost: LostPairs,
    pub(crate) bad: BadShards,
    pub(crate) rebuilders: Rebuilders,
    pub(crate) repairs: Repairs,
    pub(crate) hints: Hints,
    pub(crate) doubles: Doubles,
    pub(crate) wishes: Wishes,
    pub(crate) pace: Pace,
    /// What was measured of others.
    pub(crate) gauges: Gauges,
    /// What this node takes over before it joins a pair.
    pub(crate) preparing: Mutex<Preparing>,
    /// Pairs of which earlier epochs are missing here.
    pub(crate) behind: Mutex<Behind>,
    /// Held while an epoch is signed.
    pub(crate) signing: tokio::sync::Mutex<()>,
    /// Held while other witnesses are proposed, or a proposal of them is taken from the partner.
    pub(crate) renewing: tokio::sync::Mutex<()>,
    /// Whether this node knows of any stand-in: else no write has to look.
    pub(crate) has_stand_ins: AtomicBool,
    pub(crate) postponed: crate::heal::standin::Postponed,
    /// Whether this node lacks what its partner has.
    pub(crate) syncing: AtomicBool,
    /// Whether it is about to stop.
    pub(crate) steps_back: AtomicBool,
    /// Wakes the comparison with the partner.
    pub(crate) sync_wanted: tokio::sync::Notify,
    /// This node has just entered an epoch.
    pub(crate) entered: tokio::sync::Notify,
    /// Wakes the telling of this node's card when somebody new was heard.
    pub(crate) greet: tokio::sync::Notify,
}

impl<W: World> std::fmt::Debug for Engine<W> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine").field("me", &self.me).finish_non_exhaustive()
    }
}

/// Why an engine can't begin.
#[derive(Debug)]
pub enum OpenError {
    /// What it stored can't be read.
    Disk(DiskError),
    /// What it stored is not what it should be.
    Format(FormatError),
    /// Its key is not the one by which its peers know it.
    WrongKey,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Disk(_) => "failed to read this node's state from its disk",
            Self::Format(_) => "this node's stored state is damaged",
            Self::WrongKey => "this node's key is not the one that its peers know it by",
        })
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(source) => Some(source),
            Self::Format(source) => Some(source),
            Self::WrongKey => None,
        }
    }
}

impl<W: World> Engine<W> {
    /// An engine whose counts nobody reads, see [`Engine::open_measured`].
    pub async fn open(
        config: EngineConfig,
        key: SecretKey,
        ports: (W::Peers, W::Disk),
        chance: (W::Clock, W::Random, W::Compute),
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_measured(config, key, ports, chance, NodeMetrics::default()).await
    }

    /// An engine with these counts, and a memory of good signatures of its own.
    pub async fn open_measured(
        config: EngineConfig,
        key: SecretKey,
        ports: (W::Peers, W::Disk),
        chance: (W::Clock, W::Random, W::Compute),
        metrics: NodeMetrics,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_with(config, key, ports, chance, (metrics, Arc::default())).await
    }

    /// An engine that shares its memory of good signatures with others in this process:
    /// the curve says the same to all.
    pub async fn open_sharing(
        config: EngineConfig,
        key: SecretKey,
        ports: (W::Peers, W::Disk),
        chance: (W::Clock, W::Random, W::Compute),
        checker: Arc<CachedChecker>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_with(config, key, ports, chance, (NodeMetrics::default(), checker)).await
    }

    /// Reads back what the node knew when it stopped.
    async fn open_with(
        config: EngineConfig,
        key: SecretKey,
        (peers, disk): (W::Peers, W::Disk),
        (clock, random, compute): (W::Clock, W::Random, W::Compute),
        (metrics, checker): (NodeMetrics, Arc<CachedChecker>),
    ) -> Result<Arc<Self>, OpenError> {
        let me = key.public().node_id();
        if me != peers.me() {
            return Err(OpenError::WrongKey);
        }
        let elapsed = Elapsed::load(&disk, &clock).await.map_err(OpenError::Disk)?;
        let (queries, queries_in) = mpsc::channel(QUERIES_MAX);
        let confirmations = Confirmations::new(clock.elapsed());
        let engine = Self {
            network: config.genesis.network(),
            pace: Pace::new(config.repair_rate),
            config,
            me,
            key,
            peers,
            disk,
            clock,
            random,
            compute,
            elapsed,
            checker,
            connections: Connections::default(),
            membership: Membership::new(me),
            key_locks: KeyLocks::default(),
            forming: tokio::sync::Mutex::default(),
            lookups: Lookups::default(),
            askers: Askers::default(),
            gate: Gate::default(),
            metrics,
            untold: Untold::default(),
            arrivals: Arrivals::default(),
            given: Given::default(),
            contact: Mutex::default(),
            watch: Watch::default(),
            tries: Tries::default(),
            confirmations,
            lost: LostPairs::default(),
            bad: BadShards::default(),
            rebuilders: Rebuilders::default(),
            repairs: Repairs::default(),
            hints: Hints::default(),
            doubles: Doubles::default(),
            wishes: Wishes::default(),
            gauges: Gauges::default(),
            preparing: Mutex::default(),
            behind: Mutex::default(),
            signing: tokio::sync::Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            has_stand_ins: AtomicBool::new(false),
            postponed: crate::heal::standin::Postponed::default(),
            syncing: AtomicBool::new(false),
            steps_back: AtomicBool::new(false),
            sync_wanted: tokio::sync::Notify::new(),
            entered: tokio::sync::Notify::new(),
            queries,
            queries_in: Mutex::new(Some(queries_in)),
            greet: tokio::sync::Notify::new(),
        };
        engine.recall().await?;
        Ok(Arc::new(engine))
    }

    async fn recall(&self) -> Result<(), OpenError> {
        self.recall_cards().await?;
        self.recall_pairs().await?;
        self.recall_changes().await.map_err(OpenError::Disk)?;
        self.recall_meters().await.map_err(OpenError::Disk)?;
        self.recall_wishes().await.map_err(OpenError::Disk)?;
        self.recall_stand_ins().await.map_err(OpenError::Disk)?;
        self.recall_sync().await.map_err(OpenError::Disk)?;
        Ok(())
    }

    async fn recall_cards(&self) -> Result<(), OpenError> {
        let cards = self.disk.scan(StateKey(b"card/".to_vec()), STATE_MAX);
        for (_, bytes) in cards.await.map_err(OpenError::Disk)? {
            let card = match SignedCard::decode(&bytes) {
                Ok(card) => card,
                Err(error @ FormatError::Newer { .. }) => return Err(OpenError::Format(error)),
                // Of an earlier version: its node tells its present one.
                Err(error) => {
                    tracing::warn!(%error, "a stored card is left out");
                    continue;
                }
            };
            if let Ok(node) = check_card(&self.config.genesis, &self.network, &card, &self.checker)
            {
                self.peers.learn(node, &card.card.addresses);
                self.membership.learn_card(node, card, None);
            }
        }
        Ok(())
    }

    async fn recall_pairs(&self) -> Result<(), OpenError> {
        let pairs = self.disk.scan(StateKey(b"pair/".to_vec()), STATE_MAX);
        for (_, bytes) in pairs.await.map_err(OpenError::Disk)? {
            let pair = SignedPairRecord::decode(&bytes).map_err(OpenError::Format)?;
            // It was valid when it was written: its predecessor need not be here any more.
            if self.membership.learn_pair(pair, Duration::ZERO).is_err() {
                tracing::warn!("a stored pair record names a node whose card is not stored");
            }
        }
        Ok(())
    }

    /// The time by this node's clock.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Runs what a node does beside answering: every task is `tasks`' and ends with
    /// `stop`.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let timings = self.config.timings;
        self.every(tasks, stop, timings.watch.heartbeat(), Self::beat);
        self.every(tasks, stop, timings.watch.heartbeat(), |engine: Arc<Self>| async move {
            engine.look()
        });
        self.every(tasks, stop, timings.watch.heartbeat(), Self::ask_witnesses);
        let confirm = timings.watch.heartbeat().min(timings.confirm_window() / 4);
        self.every(tasks, stop, confirm, Self::keep_confirmed);
        self.every(tasks, stop, timings.watch.heartbeat(), Self::confirm_losses);
        self.every(tasks, stop, timings.form, Self::succeed);
        self.every(tasks, stop, timings.form, Self::close_gaps);
        self.every(tasks, stop, timings.form, Self::take_over);
        self.every(tasks, stop, timings.watch.heartbeat(), Self::measure_others);
        self.every(tasks, stop, timings.audit, Self::audit_partner);
        self.every(tasks, stop, crate::gauge::PERSIST_EVERY, Self::persist_meters);
        self.every(tasks, stop, timings.repair, Self::repair);
        self.every(tasks, stop, timings.balance, Self::even_out);
        self.every(tasks, stop, timings.form, Self::form);
        self.every(tasks, stop, timings.expire, Self::expire);
        self.every(tasks, stop, timings.expire, Self::drop_superseded);
        self.every(tasks, stop, crate::elapsed::PERSIST_EVERY, Self::persist_elapsed);
        self.every(tasks, stop, Duration::from_secs(1), Self::flush_membership);
        self.every(tasks, stop, crate::pass_on::EVERY, Self::pass_on);
        let engine = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { engine.announce().await }));
        let engine = Arc::clone(self);
        let news = async move { engine.announce_news().await };
        tasks.spawn(stop.clone().run_until_cancelled_owned(news));
        let engine = Arc::clone(self);
        tasks.spawn(
            stop.clone().run_until_cancelled_owned(async move { engine.tell_cards().await }),
        );
        let engine = Arc::clone(self);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { engine.catch_up().await }));
        let engine = Arc::clone(self);
        let scrub = async move { engine.scrub().await };
        tasks.spawn(stop.clone().run_until_cancelled_owned(scrub));
        let engine = Arc::clone(self);
        let greeting = async move { engine.beat_on_entering().await };
        tasks.spawn(stop.clone().run_until_cancelled_owned(greeting));
        let engine = Arc::clone(self);
        let sync = async move { engine.keep_in_sync().await };
        tasks.spawn(stop.clone().run_until_cancelled_owned(sync));
        let queries = self.queries_in.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queries) = queries {
            let engine = Arc::clone(self);
            let answer = async move { engine.answer_queries(queries).await };
            tasks.spawn(stop.clone().run_until_cancelled_owned(answer));
        }
    }

    /// Runs `step` again and again. A step is never cut short: `stop` is heard between
    /// two of them.
    fn every<F, Fut>(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        pause: Duration,
        step: F,
    ) where
        F: Fn(Arc<Self>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (engine, stop) = (Arc::clone(self), stop.clone());
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                step(Arc::clone(&engine)).await;
                stop.run_until_cancelled(engine.clock.sleep(pause)).await;
            }
        });
    }

    async fn persist_elapsed(self: Arc<Self>) {
        let (key, value) = self.elapsed.to_store(&self.clock);
        self.note_failure(self.disk.apply(vec![defs_core::port::Change::Put(key, value)]).await);
    }

    /// The time by which leases run.
    pub(crate) fn lease_clock(&self) -> Duration {
        self.elapsed.now(&self.clock)
    }

    pub(crate) fn unix_time(&self) -> UnixTime {
        UnixTime::from_millis(self.clock.now().0)
    }

    /// A background write failed: the store has logged why, and what was to be written is
    /// written again with the next change.
    pub(crate) fn note_failure(&self, result: Result<(), DiskError>) {
        if let Err(error) = result {
            tracing::warn!(error = &error as &dyn std::error::Error, "a background write failed");
        }
    }

    fn hear_card(&self, card: SignedCard) -> Verdict {
        let node = match check_card(&self.config.genesis, &self.network, &card, &self.checker) {
            Ok(node) => node,
            Err(CardError::Signature) => return Verdict::Reject,
            Err(CardError::NotAdmitted) => return Verdict::Ignore,
        };
        if node == self.me {
            return Verdict::Ignore;
        }
        let addresses = card.card.addresses.clone();
        let news = self.membership.learn_card(node, card, Some(self.clock.elapsed()));
        match news {
            News::Stale => return Verdict::Ignore,
            News::Fresh => {}
            News::NewNode => self.greet.notify_one(),
        }
        self.tries.heard(&node);
        self.peers.learn(node, &addresses);
        Verdict::PassOn
    }

    pub(crate) fn hear_pair(&self, pair: SignedPairRecord) -> Verdict {
        let known = self.membership.pair(&pair.record.pair);
        if known.as_ref().is_some_and(|known| known.record.epoch >= pair.record.epoch) {
            return Verdict::Ignore;
        }
        let before = known.as_ref().map(|known| &known.record);
        if self.would_join(before, &pair.record) {
            // This node joins a pair by its own word only, which it may have forgotten.
            if pair.record.epoch != Epoch(1) {
                self.is_behind(pair);
            }
            return Verdict::PassOn;
        }
        let checked = check_pair(&self.network, before, &pair, &self.checker);
        if checked.is_ok() && pair.record.role_of(&self.me).is_some() {
            // Its own pair's epochs a node goes by when they are on its disk.
            self.is_behind(pair);
            return Verdict::PassOn;
        }
        match checked.and_then(|()| self.membership.learn_pair(pair.clone(), self.lease_clock())) {
            Ok(_) => Verdict::PassOn,
            Err(PairError::Signature | PairError::TooFewSignatures) => Verdict::Reject,
            Err(PairError::NotASuccessor) => {
                self.is_behind(pair);
                Verdict::Ignore
            }
            Err(PairError::UnknownMember) => Verdict::Ignore,
        }
    }

    #[expect(clippy::cognitive_complexity, reason = "one arm for each request, and nothing else")]
    async fn answer(&self, caller: NodeId, request: Request, body: Body) -> Reply {
        match request {
            Request::Hello(hello) => reply(self.hello(caller, &hello)),
            Request::OpenSession(session) => reply(self.open_session(caller, &session)),
            Request::StoreShard(store) => reply(self.store_shard(caller, store, body).await),
            Request::MirrorShard(store) => reply(self.mirror_shard(caller, store, body).await),
            Request::ReadShard(read) => whole(self.read_shard(caller, read).await),
            Request::Renew { shards, lease_ms, both } => {
                reply(self.renew(caller, shards, Duration::from_millis(lease_ms), both).await)
            }
            Request::Commit { stripes, both } => reply(self.commit(stripes, both).await),
            Request::Delete { tombstones, both } => reply(self.delete(tombstones, both).await),
            Request::WriteRecords { pair, epoch, records, forward } => {
                reply(self.write_records(caller, (pair, epoch), records, forward).await)
            }
            Request::ReadRecords { keys } => reply(self.read_records(caller, keys).await),
            Request::StripeStatus { stripe } => reply(self.stripe_status(caller, stripe).await),
            Request::Table { from } => {
                Reply::bare(Response::Table(Box::new(self.table().part(from))))
            }
            Request::Propose(proposal) => reply(self.take_proposal(caller, *proposal).await),
            Request::Heartbeat { pair, epoch } => {
                reply(self.take_heartbeat(caller, pair, epoch).await)
            }
            Request::Locate { locator } => reply(self.locate(locator).await),
            Request::Found { locator, query, pair } => {
                reply(self.take_found(&caller, &locator, query, pair))
            }
            Request::Ping => Reply::bare(Response::Alive),
            Request::Probe { node } => reply(self.probe(caller, node).await),
            Request::Confirm { pair, epoch } => reply(self.confirm(caller, pair, epoch).await),
            Request::History { pair, after } => reply(self.history(pair, after).await),
            Request::Summary { pair, epoch, kind, prefix } => {
                reply(self.summarise(caller, (pair, epoch), kind, &prefix).await)
            }
            Request::CopyShard { pair, epoch, key } => {
                whole(self.copy_shard(caller, (pair, epoch), key).await)
            }
            Request::CopyRecords { pair, epoch, keys } => {
                reply(self.copy_records(caller, (pair, epoch), keys).await)
            }
            Request::CopyTombstones { pair, epoch, stripes } => {
                reply(self.copy_tombstones(caller, (pair, epoch), stripes).await)
            }
            Request::Release { key, lost } => whole(self.release(caller, key, lost).await),
            Request::StandIn { keys, lost, by, both } => {
                reply(self.take_stand_in(caller, keys, (lost, by), both).await)
            }
            Request::TakeRecords { pair, epoch, lost, records, forward } => {
                reply(self.take_records_for(caller, (pair, epoch, lost), records, forward).await)
            }
            Request::Challenge { key, nonce, range } => {
                reply(self.prove(caller, key, &nonce, range).await)
            }
            Request::Readings { after } => reply(self.tell_readings(caller, after)),
            Request::Moved(notes) => reply(self.take_moved(caller, &notes).await),
        }
    }
}

fn whole(result: Result<Reply, Refusal>) -> Reply {
    result.unwrap_or_else(|refusal| Reply::bare(Response::Refused(refusal)))
}

impl<W: World> Service for Engine<W> {
    async fn serve(&self, caller: NodeId, request: Request, body: Body) -> Reply {
        let ask = Ask::of(&request);
        let reply = self.answer(caller, request, body).await;
        match &reply.response {
            Response::Refused(refusal) => self.metrics.refused.of(refusal.reason).one(),
            _ => self.metrics.answered.of(ask).one(),
        }
        reply
    }

    fn hear(&self, message: Gossip) -> Verdict {
        match message {
            Gossip::Card(card) => self.hear_card(*card),
            Gossip::Pair(pair) => self.hear_pair(*pair),
            Gossip::Moved(notes) => self.hear_notes(&notes),
            Gossip::Wish { wish, trace } => self.hear_wish(*wish, trace),
            Gossip::Query { locator, asker, query } => {
                if !self.membership.is_admitted(&asker) || asker == self.me {
                    return Verdict::Ignore;
                }
                if !self.askers.may_ask(asker, self.clock.elapsed()) {
                    return Verdict::Ignore;
                }
                let question = Query { locator, asker, number: query };
                match self.queries.try_send(question) {
                    Ok(()) => Verdict::PassOn,
                    Err(_) => Verdict::Ignore,
                }
            }
        }
    }

    fn gone(&self, peer: NodeId) {
        self.connections.forget(&peer);
        self.membership.gone(&peer);
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.membership.is_admitted(node)
    }
}
