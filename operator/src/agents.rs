//! The operator's connections to nodes: one task a node keeps one open, admits the node when it
//! asks to be, and keeps what it says of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::format::Format;
use defs_core::ids::NodeId;
use defs_core::network::Admission;
use defs_core::port::Clock as _;
use defs_core::reading::{READINGS_MAX, Reading};
use defs_core::statement::Statement;
use defs_core::wish::{SignedWish, Want, Wish};
use defs_crds::cluster::status::bucket;
use defs_launch::{SystemClock, carry};
use defs_telemetry::label::Controller;
use defs_telemetry::{OperatorMetrics, spans, trace};
use defs_wire::admin as pb;
use defs_wire::admin::admin_client::AdminClient;
use defs_wire::admin::enrolment_client::EnrolmentClient;
use kube::runtime::reflector::ObjectRef;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::authority::{NetworkKeys, Tls};
use crate::condition::system_time;
use defs_crds::{DefsCluster, DefsNode};

/// A node tells how it is every three seconds: one that is silent for longer than a stall has gone.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(10);

/// How long one exchange may take.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// Between two tries to reach a node.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Nodes that hear each wish: they tell the others.
const TOLD: usize = 3;

/// Objects that wait to be looked at. Beyond that they are looked at in their turn.
const NEWS_MAX: usize = 4096;

/// Of which node, by the names of its objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgentKey {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
    pub(crate) node: String,
}

/// Where a node is, and where its machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `IP:port` of its admin API.
    pub(crate) address: String,
    /// The name in its certificate.
    pub(crate) name: String,
    /// Of its machine; empty where that has none.
    pub(crate) zone: String,
    /// Of its machine; empty where that has none.
    pub(crate) region: String,
}

/// By what the operator is known to a cluster's nodes.
pub(crate) struct Credentials {
    pub(crate) tls: Tls,
    pub(crate) network: NetworkKeys,
}

/// What is known of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// What it said last.
    pub(crate) report: Option<Arc<pb::Report>>,
    /// What it has measured of others, as it said last.
    pub(crate) readings: Arc<Vec<Reading>>,
    /// When it was heard last.
    pub(crate) heard: Option<Instant>,
    /// Why it isn't heard now.
    pub(crate) problem: Option<String>,
}

impl Known {
    /// Whether it was heard lately.
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        self.problem.is_none()
            && self.heard.is_some_and(|heard| now.duration_since(heard) < SILENT_AFTER)
    }
}

struct Agent {
    target: Target,
    /// By what the operator is known there.
    by: Arc<Credentials>,
    stop: CancellationToken,
    known: Known,
    channel: Option<Channel>,
}

/// Why a node isn't heard.
#[derive(Debug, Error)]
enum AgentError {
    #[error("the certificates can't be used: {0}")]
    Certificates(String),
    #[error("no connection: {0}")]
    Connect(#[source] tonic::transport::Error),
    #[error("refused: {}", .0.message())]
    Refused(#[from] Status),
    #[error("it is a node of network {0}")]
    OtherNetwork(String),
    #[error("its id can't be read")]
    NoId,
    #[error("no word within {SILENT_AFTER:?}")]
    Silent,
}

/// All connections.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Shared>);

struct Shared {
    /// Before that, nobody could have been heard.
    began: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
    metrics: OperatorMetrics,
    agents: Mutex<BTreeMap<AgentKey, Agent>>,
    nodes: mpsc::Sender<ObjectRef<DefsNode>>,
    clusters: mpsc::Sender<ObjectRef<DefsCluster>>,
    members: mpsc::Sender<AgentKey>,
}

/// Which objects are to be looked at since a node said something.
pub(crate) struct News {
    pub(crate) nodes: mpsc::Receiver<ObjectRef<DefsNode>>,
    pub(crate) clusters: mpsc::Receiver<ObjectRef<DefsCluster>>,
    /// Nodes whose pairs are to be looked at.
    pub(crate) members: mpsc::Receiver<AgentKey>,
}

impl Agents {
    pub(crate) fn new(
        metrics: &OperatorMetrics,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> (Self, News) {
        let (nodes, node_news) = mpsc::channel(NEWS_MAX);
        let (clusters, cluster_news) = mpsc::channel(NEWS_MAX);
        let (members, member_news) = mpsc::channel(NEWS_MAX);
        let (tasks, stop) = (tasks.clone(), stop.clone());
        let began = Instant::now();
        let (metrics, agents) = (metrics.clone(), Mutex::default());
        let shared = Shared { began, tasks, stop, metrics, agents, nodes, clusters, members };
        let news = News { nodes: node_news, clusters: cluster_news, members: member_news };
        (Self(Arc::new(shared)), news)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentKey, Agent>> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection to the node from now on. Nothing changes if it is there already.
    pub(crate) fn follow(&self, key: &AgentKey, target: Target, by: &Arc<Credentials>) {
        let mut agents = self.lock();
        let known = match agents.get(key) {
            Some(agent) if agent.target == target && Arc::ptr_eq(&agent.by, by) => return,
            Some(agent) => {
                agent.stop.cancel();
                agent.known.clone()
            }
            None => Known::default(),
        };
        let stop = self.0.stop.child_token();
        let by = Arc::clone(by);
        let agent = Agent {
            target: target.clone(),
            by: Arc::clone(&by),
            stop: stop.clone(),
            known,
            channel: None,
        };
        agents.insert(key.clone(), agent);
        drop(agents);
        let (agents, key) = (self.clone(), key.clone());
        self.0.tasks.spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let ended = agents.session(&key, &target, &by).await;
                let problem = ended.err().map(|error| error.to_string());
                agents.note(&key, &target, problem);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }));
    }

    /// Closes the connection to a node that has no pod now; what it said last stays known.
    pub(crate) fn lose(&self, key: &AgentKey, why: &str) {
        let mut agents = self.lock();
        if let Some(agent) = agents.get_mut(key) {
            agent.stop.cancel();
            agent.target.address = String::new();
            agent.known.problem = Some(why.to_owned());
            agent.channel = None;
        }
        self.count(&agents);
    }

    /// Forgets a node.
    pub(crate) fn forget(&self, key: &AgentKey) {
        let mut agents = self.lock();
        if let Some(agent) = agents.remove(key) {
            agent.stop.cancel();
        }
        self.count(&agents);
    }

    /// What is known of a node.
    pub(crate) fn known(&self, key: &AgentKey) -> Known {
        self.lock().get(key).map(|agent| agent.known.clone()).unwrap_or_default()
    }

    /// Says `want` of `node` to the network of a cluster, by nodes that are heard. How many have
    /// taken it.
    pub(crate) async fn say(
        &self,
        (namespace, cluster): (&str, &str),
        by: &Credentials,
        node: NodeId,
        want: Want,
    ) -> usize {
        let sequence = SystemClock::new().now().0;
        let wish = Wish { node, want, sequence };
        let signature = by.network.invite.sign(&wish.statement(&by.network.genesis.network())).0;
        let request = pb::TakeWishRequest { wish: SignedWish { wish, signature }.encode() };
        let now = Instant::now();
        let channels: Vec<_> = {
            let agents = self.lock();
            let theirs = agents.iter().filter(|(key, agent)| {
                key.namespace == namespace && key.cluster == cluster && agent.known.is_heard(now)
            });
            let open =
                theirs.filter_map(|(key, agent)| Some((key.node.clone(), agent.channel.clone()?)));
            open.take(TOLD).collect()
        };
        let telling = channels.into_iter().map(|(name, channel)| {
            let request = request.clone();
            let span = spans::node_call("take_wish", &name);
            trace::within(span, async move {
                let mut admin = AdminClient::with_interceptor(channel, carry);
                match timeout(CALL_WITHIN, admin.take_wish(request)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) | Err(_) => Err(()),
                }
            })
        });
        let told = futures::future::join_all(telling).await;
        let taken = told.iter().filter(|it| it.is_ok()).count();
        let metrics = &self.0.metrics;
        metrics.calls_failed.add((told.len() - taken) as u64);
        if taken > 0 {
            metrics.wishes_said.one()
        } else {
            metrics.wishes_unheard.one()
        }
        tracing::info!(%node, %want, taken, "said to the network");
        taken
    }

    /// One connection, as long as it lasts.
    async fn session(
        &self,
        key: &AgentKey,
        target: &Target,
        by: &Credentials,
    ) -> Result<(), AgentError> {
        let channel = connect(target, by).await?;
        let mut admin = AdminClient::new(channel.clone());
        let mut reports = match timeout(CALL_WITHIN, admin.watch(pb::WatchRequest {})).await {
            Ok(Ok(reports)) => reports.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                return admit(channel, target, by).await;
            }
            Ok(Err(status)) => return Err(status.into()),
            Err(_elapsed) => return Err(AgentError::Silent),
        };
        let network = by.network.genesis.network().full();
        let mut is_known = false;
        loop {
            let report = timeout(SILENT_AFTER, reports.message()).await;
            let Some(report) = report.map_err(|_elapsed| AgentError::Silent)?? else {
                return Ok(());
            };
            if is_known && report == pb::Report::default() {
                self.heard_again(key, target);
                continue;
            }
            let said = report.status.as_ref().map(|status| status.network_id.clone());
            if said.as_ref() != Some(&network) {
                return Err(AgentError::OtherNetwork(said.unwrap_or_default()));
            }
            self.heard(key, target, report, &channel);
            is_known = true;
        }
    }

    /// Whether this process has begun to listen so lately that who is not heard yet may only not
    /// have been asked.
    pub(crate) fn has_just_begun(&self) -> bool {
        self.0.began.elapsed() < SILENT_AFTER
    }

    /// For how long a node was not heard, as far as this process can say.
    pub(crate) fn silence(&self, known: &Known, now: Instant) -> Duration {
        now.duration_since(known.heard.unwrap_or(self.0.began))
    }

    /// The node has nothing new to say.
    fn heard_again(&self, key: &AgentKey, target: &Target) {
        let mut agents = self.lock();
        if let Some(agent) = agents.get_mut(key).filter(|agent| agent.target == *target) {
            agent.known.heard = Some(Instant::now());
        }
    }

    fn heard(&self, key: &AgentKey, target: &Target, mut report: pb::Report, channel: &Channel) {
        let readings = report.readings.take();
        let is_news = {
            let mut agents = self.lock();
            let Some(agent) = agents.get_mut(key).filter(|agent| agent.target == *target) else {
                return;
            };
            if let Some(readings) = readings {
                agent.known.readings = Arc::new(decoded(&readings));
            }
            let before = agent.known.report.replace(Arc::new(report));
            let was_silent = agent.known.problem.take().is_some() || agent.channel.is_none();
            agent.known.heard = Some(Instant::now());
            agent.channel = Some(channel.clone());
            let after = agent.known.report.as_deref();
            let is_news = was_silent || before.as_deref().map(telling) != after.map(telling);
            self.count(&agents);
            is_news
        };
        if is_news {
            self.tell(key);
        }
    }

    fn note(&self, key: &AgentKey, target: &Target, problem: Option<String>) {
        let problem = problem.unwrap_or_else(|| "it has closed the connection".to_owned());
        {
            let mut agents = self.lock();
            let Some(agent) = agents.get_mut(key).filter(|agent| agent.target == *target) else {
                return;
            };
            agent.channel = None;
            let was_known = agent.known.problem.replace(problem.clone()).is_some();
            self.count(&agents);
            if was_known {
                return;
            }
        }
        tracing::info!(node = key.node, problem, "a node is not heard");
        self.tell(key);
    }

    /// Counts who is heard.
    fn count(&self, agents: &BTreeMap<AgentKey, Agent>) {
        let now = Instant::now();
        let heard = agents.values().filter(|agent| agent.known.is_heard(now)).count();
        self.0.metrics.nodes_heard.set(heard as u64);
    }

    /// A full queue is no loss: all objects are looked at now and then.
    fn tell(&self, key: &AgentKey) {
        let node = ObjectRef::new(&key.node).within(&key.namespace);
        let cluster = ObjectRef::new(&key.cluster).within(&key.namespace);
        let told = [
            (Controller::Node, self.0.nodes.try_send(node).is_ok()),
            (Controller::Cluster, self.0.clusters.try_send(cluster).is_ok()),
            (Controller::Pair, self.0.members.try_send(key.clone()).is_ok()),
        ];
        for (controller, _) in told.iter().filter(|(_, is_told)| *is_told) {
            self.0.metrics.queued.of(*controller).rise();
        }
        if told.iter().any(|(_, is_told)| !is_told) {
            tracing::debug!(node = key.node, "too much news");
        }
    }
}

/// What a node has measured; what can't be read is another version's.
fn decoded(readings: &pb::Readings) -> Vec<Reading> {
    let bounded = readings.readings.iter().take(READINGS_MAX);
    bounded.filter_map(|bytes| Reading::decode(bytes).ok()).collect()
}

/// What of a report objects are written by: not what grows with every second and every file.
fn telling(report: &pb::Report) -> impl PartialEq + use<> {
    let status = report.status.clone().map(|status| pb::StatusResponse {
        uptime_ms: 0,
        used_bytes: bucket(status.used_bytes),
        shards: 0,
        records: 0,
        peers: 0,
        ..status
    });
    let card = report.card.clone().map(|card| pb::NodeCard {
        sequence: 0,
        used_bytes: bucket(card.used_bytes),
        ..card
    });
    let healing = report.healing.as_ref().map(|healing| {
        let lost: Vec<_> = healing.lost_pairs.iter().map(|it| it.pair_id.clone()).collect();
        (healing.syncing, healing.may_heal, healing.queued == 0, lost)
    });
    (status, card, report.pair.clone(), report.partner_health.clone(), healing)
}

async fn connect(target: &Target, by: &Credentials) -> Result<Channel, AgentError> {
    let caller = by.tls.caller(system_time());
    let caller = caller.map_err(|error| AgentError::Certificates(error.to_string()))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(by.tls.authority()))
        .identity(Identity::from_pem(caller.certificate, caller.key.as_str()))
        .domain_name(&target.name);
    let endpoint = Endpoint::from_shared(format!("https://{}", target.address))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| AgentError::Certificates(error.to_string()))?;
    endpoint
        .connect_timeout(CALL_WITHIN)
        .http2_keep_alive_interval(CALL_WITHIN)
        .keep_alive_timeout(CALL_WITHIN)
        .connect()
        .await
        .map_err(AgentError::Connect)
}

/// Makes a node a member of the network. It goes on by itself then.
async fn admit(channel: Channel, target: &Target, by: &Credentials) -> Result<(), AgentError> {
    let mut enrolment = EnrolmentClient::new(channel);
    let asked = timeout(CALL_WITHIN, enrolment.identify(pb::IdentifyRequest {})).await;
    let asks = asked.map_err(|_elapsed| AgentError::Silent)??.into_inner();
    let network = by.network.genesis.network();
    if asks.network_id != network.full() {
        return Err(AgentError::OtherNetwork(asks.network_id));
    }
    let node: NodeId = asks.node_id.parse().map_err(|_malformed| AgentError::NoId)?;
    let signature = by.network.invite.sign(&Admission { node }.statement(&network)).0.to_vec();
    let (zone, region) = (target.zone.clone(), target.region.clone());
    let request = pb::AdmitRequest { signature, zone, region };
    let admitted = timeout(CALL_WITHIN, enrolment.admit(request)).await;
    admitted.map_err(|_elapsed| AgentError::Silent)??;
    tracing::info!(%node, name = target.name, "admitted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::metrics::Metrics;
    use defs_launch::OsRandom;

    #[tokio::test(start_paused = true)]
    async fn a_node_without_news_stays_heard_and_nothing_is_looked_at() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (agents, mut news) = Agents::new(&Metrics::new().operator, &tasks, &stop);
        let tls = Tls::Own(Authority::new("c", system_time()).unwrap());
        let by = Arc::new(Credentials { tls, network: NetworkKeys::new(&OsRandom) });
        let [namespace, cluster, node] = ["n", "c", "c-0"].map(str::to_owned);
        let key = AgentKey { namespace, cluster, node };
        let [address, name, zone, region] = ["192.0.2.1:1", "c-0", "", ""].map(str::to_owned);
        let target = Target { address, name, zone, region };
        let (known, channel) = (Known::default(), None);
        let agent = Agent { target: target.clone(), by, stop, known, channel };
        agents.lock().insert(key.clone(), agent);

        let status = Some(pb::StatusResponse { shards: 7, ..pb::StatusResponse::default() });
        let report = pb::Report { status, ..pb::Report::default() };
        let channel = Endpoint::from_static("http://192.0.2.1:1").connect_lazy();
        agents.heard(&key, &target, report.clone(), &channel);
        assert!(news.nodes.try_recv().is_ok(), "it was not heard before");
        for _ in 0..5 {
            tokio::time::advance(SILENT_AFTER * 4 / 5).await;
            agents.heard_again(&key, &target);
        }
        let known = agents.known(&key);
        assert!(known.is_heard(Instant::now()));
        assert_eq!(known.report.as_deref(), Some(&report));
        assert!(news.nodes.try_recv().is_err());
        tokio::time::advance(SILENT_AFTER).await;
        assert!(!agents.known(&key).is_heard(Instant::now()));
    }
}
