//! The admin API: gRPC on a Unix socket in the data folder, which only the node's user may
//! open.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId, StripeId};
use defs_core::message::PairView;
use defs_core::network::{NodeCard, PairRecord};
use defs_core::port::Disk;
use defs_core::statement::Statement;
use defs_core::states::PairState;
use defs_core::wish::{Place, SignedWish, Want, Wish};
use defs_engine::{Engine, Loss, Unrepaired};
use defs_identity::SecretKey;
use defs_launch::carried;
use defs_store::Store;
use defs_swarm::SwarmHandle;
use defs_telemetry::{Reading, spans, trace};
use defs_wire::admin as pb;
use defs_wire::admin::admin_server::{Admin, AdminServer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Span;

use crate::arrange;
use crate::metrics::Metrics;
use crate::run::Real;
use crate::secret_file;
use crate::tls::Tls;

/// The largest admin request: none carries data.
const REQUEST_MAX: usize = 64 << 10;

/// How long an admin request may run; verifying a full disk takes longer than any other.
const REQUEST_WITHIN: Duration = Duration::from_hours(24);

/// Stripes that are listed in one answer.
const LISTED_MAX: usize = 1000;

/// How often a watched node looks whether there is news of it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A watcher hears so often even without news. It may watch hundreds of nodes, and each word costs
/// it some tenths of a millisecond.
const REPORT_EVERY: Duration = Duration::from_secs(3);

/// A watcher hears so often what this node has measured of others: that changes slowly, and is
/// most of a report.
const READINGS_EVERY: Duration = Duration::from_mins(1);

/// Shards looked at between two breaths of a verification.
const VERIFY_PAGE: usize = 256;

/// What the outer doors show of the node.
pub(crate) struct Node {
    engine: Arc<Engine<Real>>,
    peers: SwarmHandle,
    store: Store,
    metrics: Metrics,
    /// Who is told how the node is.
    watchers: TaskTracker,
    stop: CancellationToken,
    started: Instant,
    ready: AtomicBool,
    /// Where the network's invite lies, if this node has it.
    invite: PathBuf,
}

impl Node {
    pub(crate) fn new(
        engine: Arc<Engine<Real>>,
        (peers, store): (SwarmHandle, Store),
        metrics: Metrics,
        (watchers, stop): (TaskTracker, CancellationToken),
        invite: PathBuf,
    ) -> Self {
        let (started, ready) = (Instant::now(), AtomicBool::new(false));
        Self { engine, peers, store, metrics, watchers, stop, started, ready, invite }
    }

    /// From now on the node serves.
    pub(crate) fn is_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the node serves now.
    pub(crate) fn serves(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.stop.is_cancelled()
    }

    /// What the node has counted, as Prometheus text.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.page(&self.engine, &self.peers)
    }

    /// The same as values.
    pub(crate) fn measured(&self) -> Vec<Reading> {
        self.metrics.read(&self.engine, &self.peers)
    }

    fn status(&self) -> pb::StatusResponse {
        let status = self.engine.status();
        pb::StatusResponse {
            node_id: status.node.full(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network_id: status.network.full(),
            addresses: status.contact.addresses,
            reach: status.contact.reach.to_string(),
            pair: status.pair.map(|(pair, epoch, role, state)| pb::OwnPair {
                pair_id: pair.full(),
                epoch: epoch.0,
                role: role.to_string(),
                state: state.to_string().to_lowercase(),
                partner_id: status.partner.map(|partner| partner.full()).unwrap_or_default(),
            }),
            capacity_bytes: status.usage.capacity,
            used_bytes: status.usage.used,
            shards: status.usage.shards,
            records: status.usage.records,
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peers: u32::try_from(self.peers.connected_peers().len()).unwrap_or(u32::MAX),
            state: status.state.to_string().to_lowercase(),
        }
    }

    fn nodes(&self) -> Vec<pb::NodeCard> {
        let alive = self.engine.alive();
        let card = |(node, card)| self.card(node, card, alive.contains(&node));
        self.engine.cards().into_iter().map(card).collect()
    }

    fn card(&self, node: NodeId, card: NodeCard, alive: bool) -> pb::NodeCard {
        pb::NodeCard {
            node_id: node.full(),
            addresses: card.addresses,
            reach: card.reach.to_string(),
            host: card.labels.host,
            zone: card.labels.zone,
            region: card.labels.region,
            capacity_bytes: card.capacity,
            used_bytes: card.used,
            sequence: card.sequence,
            alive,
            connected: self.peers.is_connected(&node),
        }
    }

    fn pairs(&self) -> Vec<pb::Pair> {
        self.engine.table().pairs.into_iter().map(pair).collect()
    }

    fn healing(&self) -> pb::HealingResponse {
        let standing = self.engine.reach();
        let (conclusions, hold) = self.engine.conclusions();
        let progress = self.engine.repairs();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let lost = |(pair, loss): (PairId, Loss)| pb::LostPair {
            pair_id: pair.full(),
            silent_ms: millis(loss.silent),
            observer_ids: loss.observers.iter().map(NodeId::full).collect(),
        };
        let unrepaired = |(stripe, failed): (StripeId, Unrepaired)| pb::Unrepaired {
            stripe_id: stripe.full(),
            why: failed.why,
            missing: failed.missing.iter().map(|index| index.0.into()).collect(),
            found: u32::try_from(failed.found).unwrap_or(u32::MAX),
            needed: u32::try_from(failed.needed).unwrap_or(u32::MAX),
            tries: failed.tries,
        };
        pb::HealingResponse {
            standing: standing.to_string(),
            may_heal: standing.may_heal(),
            conclusions: conclusions.iter().map(ToString::to_string).collect(),
            hold: hold.map(|hold| hold.to_string()).unwrap_or_default(),
            syncing: self.engine.status().is_syncing,
            lost_pairs: self.engine.losses().into_iter().map(lost).collect(),
            queued: progress.queued as u64,
            current_stripe_ids: progress.current.iter().map(StripeId::full).collect(),
            stripes_done: progress.stripes_done,
            shards_rebuilt: progress.shards_rebuilt,
            bytes_rebuilt: progress.bytes_rebuilt,
            bytes_read: progress.bytes_read,
            bytes_left: progress.bytes_left,
            bytes_per_second: progress.bytes_per_second,
            unrepaired: progress.unrepaired.into_iter().take(LISTED_MAX).map(unrepaired).collect(),
            at_risk_stripe_ids: progress
                .at_risk
                .iter()
                .take(LISTED_MAX)
                .map(StripeId::full)
                .collect(),
        }
    }

    /// All that one who watches this node hears of it, but what it has measured.
    fn report(&self) -> pb::Report {
        pb::Report {
            status: Some(self.status()),
            card: self.engine.own_card().map(|card| self.card(self.engine.me(), card, true)),
            pair: self.engine.own_view().map(pair),
            partner_health: self
                .engine
                .partner_health()
                .map(|it| it.to_string())
                .unwrap_or_default(),
            healing: Some(self.healing()),
            readings: None,
        }
    }

    fn readings(&self) -> pb::Readings {
        let readings = self.engine.readings(None);
        pb::Readings { readings: readings.iter().map(Format::encode).collect() }
    }

    /// Tells how this node is until nobody listens or it stops.
    async fn tell(&self, told: mpsc::Sender<Result<pb::Report, Status>>) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        let mut last: Option<(Instant, pb::Report)> = None;
        let mut measured: Option<Instant> = None;
        while self.stop.run_until_cancelled(every.tick()).await.is_some() {
            let report = self.report();
            let is_due = last
                .as_ref()
                .is_none_or(|(at, last)| at.elapsed() >= REPORT_EVERY || differs(&report, last));
            if is_due {
                let readings = measured
                    .is_none_or(|at| at.elapsed() >= READINGS_EVERY)
                    .then(|| self.readings());
                if readings.is_some() {
                    measured = Some(Instant::now());
                }
                let is_as_before = readings.is_none()
                    && last.as_ref().is_some_and(|(_, last)| is_same(&report, last));
                let word = match is_as_before {
                    true => pb::Report::default(),
                    false => pb::Report { readings, ..report.clone() },
                };
                if told.send(Ok(word)).await.is_err() {
                    return;
                }
                last = Some((Instant::now(), report));
            } else if told.is_closed() {
                return;
            }
        }
    }

    /// Signs a person's word with the invite and tells everybody.
    fn wish(&self, request: &pb::WishRequest) -> Result<(), Status> {
        let node = request.node_id.parse();
        let node: NodeId = node.map_err(|_text| Status::invalid_argument("not a node's id"))?;
        let want = want_of(request)?;
        let no_invite = || {
            let path = self.invite.display();
            Status::failed_precondition(format!("this node has no invite at {path}"))
        };
        let invite = secret_file::read(&self.invite).map_err(|_unreadable| no_invite())?;
        let invite = invite.ok_or_else(no_invite)?;
        let invite = SecretKey::from_bytes(&invite).map_err(|_malformed| no_invite())?;
        let wish = Wish { node, want, sequence: self.engine.now().0 };
        let network = self.engine.status().network;
        let signature = invite.sign(&wish.statement(&network)).0;
        if self.engine.take_wish(SignedWish { wish, signature }) {
            Ok(())
        } else {
            Err(Status::failed_precondition("the invite is another network's"))
        }
    }

    /// Takes a word that was signed elsewhere.
    fn take_wish(&self, wish: &[u8]) -> Result<(), Status> {
        let signed = SignedWish::decode(wish);
        let signed = signed.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if self.engine.take_wish(signed) {
            Ok(())
        } else {
            Err(Status::permission_denied("the invite key of this network has not signed that"))
        }
    }

    async fn verify(&self) -> Result<pb::VerifyResponse, defs_core::port::DiskError> {
        let mut report = pb::VerifyResponse::default();
        let mut after = None;
        loop {
            let page = self.store.shards_after(after, VERIFY_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(report) };
            after = Some(*last);
            for (key, stored) in page {
                report.checked += 1;
                report.checked_bytes += stored.length;
                if self.store.verify(key).await? {
                    continue;
                }
                report.damaged += 1;
                if report.damaged_shards.len() < pb::DAMAGED_SHARDS_MAX {
                    report.damaged_shards.push(pb::DamagedShard {
                        stripe_id: key.stripe.full(),
                        index: key.index.0.into(),
                        detail: "the stored bytes are not what their name says".to_owned(),
                    });
                }
            }
        }
    }
}

fn pair(view: PairView) -> pb::Pair {
    let PairRecord { pair, epoch, members, witnesses, previous: _ } = view.record.record;
    pb::Pair {
        pair_id: pair.full(),
        epoch: epoch.0,
        primary_id: members[0].full(),
        mirror_id: members[1].full(),
        witness_ids: witnesses.iter().map(NodeId::full).collect(),
        state: pair_state(view.alive).to_string().to_lowercase(),
        primary_alive: view.alive[0],
        mirror_alive: view.alive[1],
    }
}

/// Whether nothing but time has passed between the two.
fn is_same(report: &pb::Report, before: &pb::Report) -> bool {
    let timeless = |report: &pb::Report| {
        let status = report.status.clone();
        let status = status.map(|status| pb::StatusResponse { uptime_ms: 0, ..status });
        pb::Report { status, ..report.clone() }
    };
    timeless(report) == timeless(before)
}

/// Whether what a watcher acts on differs, and not only what is counted all the time.
fn differs(report: &pb::Report, before: &pb::Report) -> bool {
    let state = |report: &pb::Report| {
        let status = report.status.as_ref();
        let own = status.and_then(|status| status.pair.clone());
        let healing = report.healing.as_ref();
        let addresses = status.map(|status| status.addresses.clone());
        let lost = healing.map(|healing| {
            healing.lost_pairs.iter().map(|it| it.pair_id.clone()).collect::<Vec<_>>()
        });
        let syncs = healing.map(|healing| (healing.syncing, healing.may_heal, healing.queued == 0));
        (own, addresses, report.pair.clone(), report.partner_health.clone(), lost, syncs)
    };
    state(report) != state(before)
}

fn want_of(request: &pb::WishRequest) -> Result<Want, Status> {
    match (request.want.as_str(), &request.place) {
        ("stay", None) => Ok(Want::Stay),
        ("drain", None) => Ok(Want::Drain),
        ("lost", None) => Ok(Want::Lost),
        ("yield", Some(pb::Place { pair_id, epoch, to_id })) => {
            let no_id = |_| Status::invalid_argument("a place is a pair, an epoch and a node");
            let (pair, to) = (pair_id.parse().map_err(no_id)?, to_id.parse().map_err(no_id)?);
            Ok(Want::Yield(Place { pair, epoch: Epoch(*epoch), to }))
        }
        _ => {
            Err(Status::invalid_argument("a wish is to stay, to drain, lost, or to yield a place"))
        }
    }
}

/// What is known of a pair from who of it was heard lately.
fn pair_state(alive: [bool; 2]) -> PairState {
    match alive {
        [true, true] => PairState::Healthy,
        _ => PairState::Degraded,
    }
}

/// The socket, for the node's user only. One that a dead process left is replaced: the
/// data folder's lock has shown that nobody listens there.
pub(crate) fn listen(path: &Path) -> Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path)
            .with_context(|| format!("failed to remove the old socket {}", path.display()))?;
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("failed to listen at {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("failed to make {} private", path.display()))?;
    Ok(listener)
}

fn service(node: Arc<Node>) -> AdminServer<Door> {
    AdminServer::from_arc(Arc::new(Door(node))).max_decoding_message_size(REQUEST_MAX)
}

/// Serves the node's user until `stop`.
pub(crate) async fn serve(node: Arc<Node>, listener: UnixListener, stop: CancellationToken) {
    let callers = UnixListenerStream::new(listener);
    let router =
        tonic::transport::Server::builder().timeout(REQUEST_WITHIN).add_service(service(node));
    ended(router.serve_with_incoming_shutdown(callers, stop.cancelled_owned()).await);
}

/// Serves whoever shows a certificate, until `stop`.
pub(crate) async fn serve_tls(
    node: Arc<Node>,
    listener: TcpListener,
    tls: Tls,
    (tasks, stop): (TaskTracker, CancellationToken),
) {
    let callers = tls.callers(listener, &tasks, &stop);
    let router =
        tonic::transport::Server::builder().timeout(REQUEST_WITHIN).add_service(service(node));
    ended(router.serve_with_incoming_shutdown(callers, stop.cancelled_owned()).await);
}

fn ended(served: Result<(), tonic::transport::Error>) {
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn std::error::Error, "the admin API failed");
    }
}

/// In the caller's trace, if it said where it stands: other calls are only looks at the node.
fn served<T>(request: &Request<T>, method: &'static str) -> Span {
    trace::following(carried(request), || spans::admin_serve(method))
}

struct Door(Arc<Node>);

#[tonic::async_trait]
impl Admin for Door {
    async fn status(
        &self,
        _: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(self.0.status()))
    }

    async fn nodes(
        &self,
        _: Request<pb::NodesRequest>,
    ) -> Result<Response<pb::NodesResponse>, Status> {
        Ok(Response::new(pb::NodesResponse { nodes: self.0.nodes() }))
    }

    async fn pairs(
        &self,
        _: Request<pb::PairsRequest>,
    ) -> Result<Response<pb::PairsResponse>, Status> {
        Ok(Response::new(pb::PairsResponse { pairs: self.0.pairs() }))
    }

    async fn shutdown(
        &self,
        _: Request<pb::ShutdownRequest>,
    ) -> Result<Response<pb::ShutdownResponse>, Status> {
        tracing::info!("stopping, as the admin API asks");
        self.0.stop.cancel();
        Ok(Response::new(pb::ShutdownResponse {}))
    }

    async fn hand_over(
        &self,
        _: Request<pb::HandOverRequest>,
    ) -> Result<Response<pb::HandOverResponse>, Status> {
        tracing::info!("about to stop, as the admin API says");
        self.0.engine.step_back().await;
        Ok(Response::new(pb::HandOverResponse {}))
    }

    async fn healing(
        &self,
        _: Request<pb::HealingRequest>,
    ) -> Result<Response<pb::HealingResponse>, Status> {
        Ok(Response::new(self.0.healing()))
    }

    async fn wish(
        &self,
        request: Request<pb::WishRequest>,
    ) -> Result<Response<pb::WishResponse>, Status> {
        let span = served(&request, "wish");
        trace::within_blocking(&span, || self.0.wish(request.get_ref()))?;
        Ok(Response::new(pb::WishResponse {}))
    }

    async fn take_wish(
        &self,
        request: Request<pb::TakeWishRequest>,
    ) -> Result<Response<pb::TakeWishResponse>, Status> {
        let span = served(&request, "take_wish");
        trace::within_blocking(&span, || self.0.take_wish(&request.get_ref().wish))?;
        Ok(Response::new(pb::TakeWishResponse {}))
    }

    type WatchStream = ReceiverStream<Result<pb::Report, Status>>;

    async fn watch(
        &self,
        _: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (told, reports) = mpsc::channel(1);
        let node = Arc::clone(&self.0);
        self.0.watchers.spawn(async move { node.tell(told).await });
        Ok(Response::new(ReceiverStream::new(reports)))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        let node = request.get_ref().node_id.parse();
        let node: NodeId = node.map_err(|_text| Status::invalid_argument("not a node's id"))?;
        let explained = self.0.engine.explain(node).await;
        let explained = explained.ok_or_else(|| Status::not_found("no such node is known"))?;
        Ok(Response::new(arrange::explained(&explained)))
    }

    async fn arrange(
        &self,
        _: Request<pb::ArrangeRequest>,
    ) -> Result<Response<pb::ArrangeResponse>, Status> {
        Ok(Response::new(arrange::arranged(&self.0.engine.arrange().await)))
    }

    async fn verify(
        &self,
        _: Request<pb::VerifyRequest>,
    ) -> Result<Response<pb::VerifyResponse>, Status> {
        let report = self.0.verify().await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a verification failed");
            Status::internal(error.to_string())
        })?;
        Ok(Response::new(report))
    }
}
