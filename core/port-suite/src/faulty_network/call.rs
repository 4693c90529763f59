//! One exchange: the request's way, its service, and the answer's way back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::message::{Gossip, Request, Response};
use defs_core::port::{CallError, Peers, Publish, Reply};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::flow::{flow, kind};
use super::{FaultyNetwork, PROVIDERS_MAX, Place, link};
use crate::host::Host;

/// Hops to whom the hash table says it is kept, one after the other.
const TABLE_HOPS: u32 = 3;

/// The longest body that is sent twice: it is in memory for that.
const DOUBLED_MAX: u64 = 1 << 20;

/// One node's way to the others.
#[derive(Debug, Clone)]
pub struct FaultyPeers {
    me: NodeId,
    host: Arc<Host>,
    network: FaultyNetwork,
}

/// What becomes of a message.
enum Fate {
    Lost,
    Arrives(Duration),
}

/// The request's side of an exchange, which the caller can break off.
struct Sent {
    answer: oneshot::Receiver<(Reply, Duration)>,
    served_by: Arc<Host>,
    /// How long a word of the other's end takes to come here.
    far: Duration,
}

impl FaultyPeers {
    pub(super) fn new(me: NodeId, host: Arc<Host>, network: FaultyNetwork) -> Self {
        Self { me, host, network }
    }

    async fn exchange(
        &self,
        to: NodeId,
        request: Request,
        body: Body,
        broken_off: &CancellationToken,
    ) -> Result<Reply, CallError> {
        let patience = self.network.weather().patience;
        let over = Instant::now() + patience;
        let unreachable = |why: &str| CallError::Unreachable { to, why: why.to_owned() };
        let Some(place) = self.network.place(to) else {
            sleep(self.network.delay(self.me, to)).await;
            return Err(unreachable("it is switched off"));
        };
        self.network.connect(self.me, to);
        let Some(sent) = self.send(to, (request, body), place, broken_off).await else {
            sleep_until(over).await;
            return Err(CallError::TimedOut { to });
        };
        let answered = tokio::select! {
            biased;
            answer = sent.answer => answer,
            () = sent.served_by.life().cancelled() => {
                sleep(sent.far).await;
                return Err(unreachable("the connection broke"));
            }
            () = sleep_until(over) => return Err(CallError::TimedOut { to }),
        };
        // Without an answer it was lost on its way.
        let Ok((reply, delay)) = answered else {
            sleep_until(over).await;
            return Err(CallError::TimedOut { to });
        };
        sleep(delay).await;
        match reply {
            Reply { response: Response::Refused(refusal), .. } => {
                Err(CallError::Refused { to, refusal })
            }
            reply => Ok(reply),
        }
    }

    /// Sends the request, once or twice; `None` if it is lost.
    async fn send(
        &self,
        to: NodeId,
        (request, body): (Request, Body),
        place: Place,
        broken_off: &CancellationToken,
    ) -> Option<Sent> {
        let network = &self.network;
        let name = kind(&request);
        *network.world().asked.entry(name).or_default() += 1;
        let Fate::Arrives(delay) = network.fate(self.me, to, name) else { return None };
        let is_small = body.left() <= DOUBLED_MAX;
        let is_doubled = is_small && network.nature.happens(network.weather().doubled);
        let served_by = Arc::clone(&place.host);
        let body = if is_doubled {
            let (length, bytes) = (body.left(), gathered(body).await);
            let later = delay * 2 + network.delay(self.me, to);
            let twin = (request.clone(), network.again(length, bytes.clone()));
            drop(network.serve_one((self.me, to), place.clone(), twin, later));
            network.again(length, bytes)
        } else {
            network.carried(body, (self.me, to), &self.host, broken_off)
        };
        let answer = network.serve_one((self.me, to), place, (request, body), delay);
        Some(Sent { answer, served_by, far: delay })
    }
}

/// What came of a body, which may have broken off.
async fn gathered(mut body: Body) -> Bytes {
    let mut bytes = Vec::new();
    while let Ok(Some(frame)) = body.next().await {
        bytes.extend_from_slice(&frame);
    }
    bytes.into()
}

impl Peers for FaultyPeers {
    fn me(&self) -> NodeId {
        self.me
    }

    async fn call(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        self.host.gets_on().await;
        let broken_off = CancellationToken::new();
        let _guard = broken_off.clone().drop_guard();
        // What runs on a machine that is off hears of nothing.
        let exchange = self.exchange(to, request, body, &broken_off);
        let answer = self.host.life().run_until_cancelled(exchange).await;
        self.host.gets_on().await;
        answer.unwrap_or(Err(CallError::TimedOut { to }))
    }

    fn learn(&self, _: NodeId, _: &[String]) {}
}

impl Publish for FaultyPeers {
    fn publish(&self, message: Gossip) {
        if self.host.is_on() {
            self.network.spread(self.me, message);
        }
    }

    async fn look_up(&self, locator: Locator) -> Vec<PairId> {
        self.host.gets_on().await;
        for _ in 0..TABLE_HOPS * 2 {
            sleep(self.network.delay(self.me, self.me)).await;
        }
        self.host.gets_on().await;
        self.network.world().provided.get(&locator).cloned().unwrap_or_default()
    }

    fn provide(&self, locator: Locator, pair: PairId) {
        if !self.host.is_on() {
            return;
        }
        let mut world = self.network.world();
        let pairs = world.provided.entry(locator).or_default();
        pairs.retain(|known| *known != pair);
        pairs.insert(0, pair);
        pairs.truncate(PROVIDERS_MAX);
    }
}

impl FaultyNetwork {
    fn place(&self, node: NodeId) -> Option<Place> {
        self.world().places.get(&node).filter(|place| place.host.is_on()).cloned()
    }

    fn connect(&self, from: NodeId, to: NodeId) {
        let mut world = self.world();
        if world.passes(from, to) && world.passes(to, from) {
            world.connected.insert(link(from, to));
        }
    }

    pub(super) fn delay(&self, from: NodeId, to: NodeId) -> Duration {
        self.world().delay(self.nature.as_ref(), (from, to))
    }

    fn fate(&self, from: NodeId, to: NodeId, what: &str) -> Fate {
        let mut world = self.world();
        let lost = world.weather.lost;
        if !world.passes(from, to) || self.nature.happens(lost) {
            world.traffic.lost += 1;
            drop(world);
            self.nature.note(format_args!("{from} > {to} {what}: lost"));
            return Fate::Lost;
        }
        let delay = world.delay(self.nature.as_ref(), (from, to));
        drop(world);
        self.nature.note(format_args!("{from} > {to} {what} {}", delay.as_micros()));
        Fate::Arrives(delay)
    }

    /// Whether bytes still pass from `from` to `to`.
    pub(super) fn passes(&self, from: NodeId, to: NodeId) -> bool {
        self.world().passes(from, to)
    }

    /// `body` on its way: it breaks off when the way is cut, when either machine ends, or
    /// when the exchange is broken off.
    fn carried(
        &self,
        body: Body,
        way: (NodeId, NodeId),
        from: &Arc<Host>,
        broken_off: &CancellationToken,
    ) -> Body {
        if body.left() == 0 {
            return body;
        }
        let (writer, carried) = Body::channel(body.left());
        let (network, from, broken_off) = (self.clone(), Arc::clone(from), broken_off.clone());
        self.tasks.spawn(async move {
            let carrying = flow(&network, body, writer, way);
            let carrying = from.life().run_until_cancelled(carrying);
            broken_off.run_until_cancelled(carrying).await;
        });
        carried
    }

    /// A body of `length` bytes that breaks off after `bytes`, if they are fewer.
    fn again(&self, length: u64, bytes: Bytes) -> Body {
        if bytes.len() as u64 == length {
            return Body::whole(bytes);
        }
        let (writer, body) = Body::channel(length);
        // A reader that is gone wants no more.
        self.tasks.spawn(async move { writer.send(bytes).await.ok() });
        body
    }

    /// Serves one request after `delay`. The answer comes with the time that its way
    /// takes; none comes if it is lost.
    fn serve_one(
        &self,
        (from, to): (NodeId, NodeId),
        place: Place,
        (request, body): (Request, Body),
        delay: Duration,
    ) -> oneshot::Receiver<(Reply, Duration)> {
        let (answer, answered) = oneshot::channel();
        let network = self.clone();
        let Place { host, service, .. } = place;
        let name = kind(&request);
        self.tasks.spawn(async move {
            sleep(delay).await;
            if !network.passes(from, to) {
                network.nature.note(format_args!("{from} > {to} {name}: cut off on its way"));
                return;
            }
            let serving = async {
                host.gets_on().await;
                let _counted = network.counted(to);
                let reply = service.serve(from, request, body).await;
                host.gets_on().await;
                reply
            };
            let reply = host.life().run_until_cancelled(serving).await;
            let Some(Reply { response, body }) = reply else { return };
            let name = match &response {
                Response::Refused(refusal) => {
                    format!("{name} refused {:?}, {}:", refusal.reason, refusal.detail)
                }
                _ => format!("{name} answered"),
            };
            let Fate::Arrives(delay) = network.fate(to, from, &name) else { return };
            let gone = CancellationToken::new();
            let body = network.carried(body, (to, from), &host, &gone);
            // Nobody hears the answer if the caller gave up.
            drop(answer.send((Reply { response, body }, delay)));
        });
        answered
    }

    /// Counts a request as served as long as the value lives.
    fn counted(&self, node: NodeId) -> impl Drop + use<> {
        struct Served(FaultyNetwork, NodeId);
        impl Drop for Served {
            fn drop(&mut self) {
                self.0.count(self.1, -1);
            }
        }
        self.count(node, 1);
        Served(self.clone(), node)
    }

    fn count(&self, node: NodeId, change: isize) {
        let mut world = self.world();
        world.traffic.requests += u64::from(change > 0);
        let Some(place) = world.places.get_mut(&node) else { return };
        place.serving = place.serving.saturating_add_signed(change);
        let serving = place.serving;
        world.traffic.served_at_once = world.traffic.served_at_once.max(serving);
    }
}
