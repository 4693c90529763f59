//! The client's side: which nodes have to be reached by way of others, and by whose.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::NodeId;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::Stream;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::sealing::{Carrier, NotSealed, Sealing};
use super::words::{Answer, Code};
use crate::channel::Channel;
use crate::event_loop::{Command, View};
use crate::family::Family;
use crate::lane::LaneError;
use crate::opening::NotOpened;

/// Lanes by way of others that a client has open at once; further calls wait. A node forwards
/// 256 of one client.
pub(super) const LANES_MAX: usize = 192;

/// Nodes that are asked to forward, one after the other.
const FORWARDERS_TRIED: usize = 3;

/// A node that had to be reached by way of another is dialled again after so long: a dial
/// into a void costs the network a few packets, and the line may be another one since.
const DIAL_AGAIN: Duration = Duration::from_secs(60);

/// How long a node that nobody reached is not asked for again.
const NO_WAY: Duration = Duration::from_secs(1);

/// How long to wait for somebody who may forward, when the last one is gone.
const COMPANY_WITHIN: Duration = Duration::from_secs(2);

/// How often at most the bootstrap addresses are dialled for that.
const SEEK_EVERY: Duration = Duration::from_secs(1);

/// Nodes that are remembered; more than a client talks to.
const NODES_MAX: usize = 16_384;

/// Why there is no way to a node.
#[derive(Debug, Error)]
pub(crate) enum NoWay {
    #[error("nobody is connected who could forward to it")]
    Nobody,
    #[error("nobody reached it a moment ago")]
    Lately,
    #[error("not by way of {by}: {why}")]
    By { by: NodeId, why: Blocked },
    #[error("not by way of others within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    NotServed(LaneError),
}

impl NoWay {
    /// Whether somebody who may know says that the node is not to be had. Whose dial has been
    /// silent as well need not wait for it to end.
    pub(crate) fn is_the_nodes(&self) -> bool {
        match self {
            Self::Lately => true,
            Self::By { why, .. } => matches!(why, Blocked::Refused(Answer::Unreachable)),
            Self::Nobody | Self::TimedOut(_) | Self::NotServed(_) => false,
        }
    }
}

/// Why it didn't go by way of one node.
#[derive(Debug, Error)]
pub(crate) enum Blocked {
    #[error("{0}")]
    NotOpened(#[from] NotOpened),
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Refused(Answer),
    #[error("it broke the protocol")]
    Unknown,
    #[error("{0}")]
    NotSealed(#[from] NotSealed),
    #[error("nothing came of it within {0:?}")]
    TimedOut(Duration),
}

impl Blocked {
    /// Whether who was asked to forward answered as it should.
    fn is_an_answer(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::NotOpened(_)
            | Self::Broken(_)
            | Self::Unknown
            | Self::NotSealed(_)
            | Self::TimedOut(_) => false,
        }
    }
}

/// A stream by way of another node.
pub(crate) struct Detoured {
    pub(crate) by: NodeId,
    pub(crate) carrier: Carrier,
}

/// A client's ways around.
pub(crate) struct Detours {
    me: NodeId,
    sealing: Sealing,
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<View>,
    /// Whether there are addresses to look for company at.
    has_bootstrap: bool,
    places: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Nodes that could not be dialled, and when that was last tried.
    needed: HashMap<NodeId, Instant>,
    /// When those who were asked did not reach them.
    no_way: HashMap<NodeId, Instant>,
    /// Who forwarded last.
    last: Option<NodeId>,
    /// Who was to forward last and didn't answer.
    silent: Option<NodeId>,
    sought: Option<Instant>,
}

impl Detours {
    pub(crate) fn new(
        me: NodeId,
        sealing: Sealing,
        (commands, view): (mpsc::Sender<Command>, watch::Receiver<View>),
        has_bootstrap: bool,
    ) -> Self {
        let (places, known) = (Arc::new(Semaphore::new(LANES_MAX)), Mutex::default());
        Self { me, sealing, commands, view, has_bootstrap, places, known }
    }

    /// Whether a connection to `node` stands.
    pub(crate) fn is_connected(&self, node: &NodeId) -> bool {
        self.view.borrow().peers.contains(node)
    }

    /// Whether `node` could not be dialled when that was last tried.
    pub(crate) fn is_needed(&self, node: &NodeId) -> bool {
        !self.is_connected(node) && self.known().needed.contains_key(node)
    }

    /// Whether nobody reached `node` a moment ago.
    pub(crate) fn is_hopeless(&self, node: &NodeId) -> bool {
        self.known().no_way.get(node).is_some_and(|when| when.elapsed() < NO_WAY)
    }

    /// Dials `node` again once in a while. The connection counts, and nobody waits for it.
    pub(crate) fn dial_again(&self, node: NodeId, family: Family) {
        let is_due = {
            let mut known = self.known();
            let dialled = known.needed.get_mut(&node);
            dialled.is_some_and(|at| {
                let is_due = at.elapsed() >= DIAL_AGAIN;
                if is_due {
                    *at = Instant::now();
                }
                is_due
            })
        };
        if is_due {
            let (answer, _unheard) = oneshot::channel();
            let command = Command::Open { to: node, channel: Channel::Lane(family), answer };
            if let Err(full) = self.commands.try_send(command) {
                tracing::trace!(%full, "the swarm is busy");
            }
        }
    }

    /// It was reached directly.
    pub(crate) fn reached(&self, node: &NodeId) {
        self.known().needed.remove(node);
    }

    /// It went by way of `by`, and not directly.
    pub(crate) fn worked(&self, node: NodeId, by: NodeId) {
        let mut known = self.known();
        make_room(&mut known.needed);
        known.last = Some(by);
        known.silent = known.silent.filter(|silent| *silent != by);
        if let Entry::Vacant(entry) = known.needed.entry(node) {
            entry.insert(Instant::now());
            tracing::debug!(%node, %by, "a node that can't be dialled is reached by way of another");
        }
    }

    /// Nobody who was asked reached it.
    pub(crate) fn failed(&self, node: NodeId) {
        let mut known = self.known();
        make_room(&mut known.no_way);
        known.no_way.insert(node, Instant::now());
        known.needed.remove(&node);
    }

    /// A place for one more lane, if there is one now.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A place for one more lane, when there is one.
    pub(crate) async fn next_place(&self) -> Result<OwnedSemaphorePermit, NoWay> {
        Arc::clone(&self.places).acquire_owned().await.or(Err(NoWay::Nobody))
    }

    /// A stream for a lane to `node`, by way of whoever manages, within `limit`.
    pub(crate) async fn open(
        &self,
        node: NodeId,
        code: Code,
        limit: Duration,
    ) -> Result<Detoured, NoWay> {
        let forwarders = self.forwarders(&node).await;
        // Two get their time, so that a line that is dead and doesn't say so leaves another way.
        let each = if forwarders.len() > 1 { limit / 2 } else { limit };
        let mut no_way = NoWay::Nobody;
        for by in forwarders {
            let opened = timeout(each, self.open_by(by, node, code)).await;
            match opened.unwrap_or(Err(Blocked::TimedOut(each))) {
                Ok(carrier) => return Ok(Detoured { by, carrier }),
                Err(why) => {
                    if !why.is_an_answer() {
                        self.mistrust(by);
                    }
                    no_way = NoWay::By { by, why };
                }
            }
        }
        Err(no_way)
    }

    /// `by` is the last one to be asked from now on.
    fn mistrust(&self, by: NodeId) {
        let mut known = self.known();
        known.last = known.last.filter(|last| *last != by);
        known.silent = Some(by);
    }

    /// Who may forward to `node`: who did so last comes first, and the others not in the same
    /// order for all clients.
    async fn forwarders(&self, node: &NodeId) -> Vec<NodeId> {
        let mut found = self.connected_besides(node);
        if found.is_empty() && self.has_bootstrap {
            self.seek_company();
            let mut view = self.view.clone();
            let somebody = view.wait_for(|view| view.peers.iter().any(|peer| peer != node));
            if timeout(COMPANY_WITHIN, somebody).await.is_ok() {
                found = self.connected_besides(node);
            }
        }
        let (last, silent) = {
            let known = self.known();
            (known.last, known.silent)
        };
        let rank = |peer: &NodeId| (Some(*peer) == silent, Some(*peer) != last);
        found.sort_by_key(|peer| (rank(peer), peer.0[0] ^ self.me.0[0]));
        found.truncate(FORWARDERS_TRIED);
        found
    }

    fn connected_besides(&self, node: &NodeId) -> Vec<NodeId> {
        self.view.borrow().peers.iter().filter(|peer| *peer != node).copied().collect()
    }

    /// Dials the bootstrap addresses: one of them may lead to somebody else by now.
    fn seek_company(&self) {
        let mut known = self.known();
        if known.sought.is_none_or(|at| at.elapsed() >= SEEK_EVERY) {
            known.sought = Some(Instant::now());
            if let Err(full) = self.commands.try_send(Command::SeekCompany) {
                tracing::trace!(%full, "the swarm is busy");
            }
        }
    }

    async fn open_by(&self, by: NodeId, node: NodeId, code: Code) -> Result<Carrier, Blocked> {
        let mut stream = self.stream_to(by).await?;
        stream.write_all(&node.0).await?;
        stream.flush().await?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await?;
        match Answer::of(answer[0]) {
            Some(Answer::Open) => {}
            Some(refused) => return Err(Blocked::Refused(refused)),
            None => return Err(Blocked::Unknown),
        }
        let mut sealed = self.sealing.ask(node, stream).await?;
        sealed.write_all(&[code.byte()]).await?;
        sealed.flush().await?;
        Ok(Carrier::Forwarded(sealed))
    }

    async fn stream_to(&self, by: NodeId) -> Result<Stream, NotOpened> {
        let gone = |what: &str| NotOpened::Unreachable(what.to_owned());
        let (answer, opened) = oneshot::channel();
        let command = Command::Open { to: by, channel: Channel::Via, answer };
        self.commands.send(command).await.map_err(|_stopped| gone("this swarm has stopped"))?;
        opened.await.map_err(|_dropped| gone("the connection closed"))?
    }

    // Times half-written by a panic elsewhere are still times.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is forgotten is found out again.
fn make_room(nodes: &mut HashMap<NodeId, Instant>) {
    if nodes.len() >= NODES_MAX {
        nodes.clear();
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::identity::keypair;

    const NODE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    struct World {
        detours: Detours,
        commands: mpsc::Receiver<Command>,
        view: watch::Sender<View>,
    }

    fn world(has_bootstrap: bool) -> World {
        let key = keypair(&Zeroizing::new([7; 32])).unwrap();
        let (sender, commands) = mpsc::channel(8);
        let (view, reader) = watch::channel(View::default());
        let (me, sealing) = (NodeId([7; 32]), Sealing::new(&key).unwrap());
        World {
            detours: Detours::new(me, sealing, (sender, reader), has_bootstrap),
            commands,
            view,
        }
    }

    impl World {
        fn connects(&self, node: NodeId) {
            self.view.send_modify(|view| {
                view.peers.insert(node);
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_could_not_be_dialled_is_dialled_again_once_in_a_while() {
        let mut world = world(true);
        assert!(!world.detours.is_needed(&NODE));
        world.detours.worked(NODE, OTHER);
        assert!(world.detours.is_needed(&NODE));
        world.detours.dial_again(NODE, Family::Shard);
        assert!(world.commands.try_recv().is_err());
        tokio::time::sleep(DIAL_AGAIN).await;
        for _ in 0..3 {
            world.detours.dial_again(NODE, Family::Shard);
        }
        let dialled = world.commands.try_recv().unwrap();
        assert!(matches!(dialled, Command::Open { to: NODE, .. }), "{dialled:?}");
        assert!(world.commands.try_recv().is_err());
        // The dial succeeded: it goes directly from now on, also after a while without one.
        world.connects(NODE);
        assert!(!world.detours.is_needed(&NODE));
        world.detours.reached(&NODE);
        world.view.send_modify(|view| view.peers.clear());
        assert!(!world.detours.is_needed(&NODE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_nobody_reached_is_left_alone_for_a_moment_and_then_dialled_first() {
        let world = world(true);
        world.detours.worked(NODE, OTHER);
        world.detours.failed(NODE);
        assert!(world.detours.is_hopeless(&NODE) && !world.detours.is_needed(&NODE));
        tokio::time::sleep(NO_WAY).await;
        assert!(!world.detours.is_hopeless(&NODE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_forwarded_last_is_asked_first_and_never_the_node_itself() {
        let world = world(true);
        let peers = [1, 2, 3, 4, 5].map(|number| NodeId([number; 32]));
        for peer in peers {
            world.connects(peer);
        }
        let [node, .., last] = peers;
        world.detours.worked(node, last);
        let asked = world.detours.forwarders(&node).await;
        assert_eq!(asked.len(), FORWARDERS_TRIED);
        assert_eq!(asked[0], last);
        assert!(!asked.contains(&node));
        // Whoever doesn't answer is asked after all others.
        world.detours.mistrust(last);
        assert!(!world.detours.forwarders(&node).await.contains(&last));
        world.detours.worked(node, last);
        assert_eq!(world.detours.forwarders(&node).await[0], last);
    }

    #[tokio::test(start_paused = true)]
    async fn with_nobody_connected_the_bootstrap_addresses_are_dialled_and_waited_for() {
        let mut world = world(true);
        let began = Instant::now();
        assert!(world.detours.forwarders(&NODE).await.is_empty());
        assert_eq!(began.elapsed(), COMPANY_WITHIN);
        assert!(matches!(world.commands.try_recv(), Ok(Command::SeekCompany)));
        let World { detours, view, mut commands } = world;
        let connecting = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            view.send_modify(|view| {
                view.peers.insert(OTHER);
            });
        };
        let (found, ()) = tokio::join!(detours.forwarders(&NODE), connecting);
        assert_eq!(found, [OTHER]);
        assert!(matches!(commands.try_recv(), Ok(Command::SeekCompany)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_addresses_there_is_nobody_to_wait_for() {
        let world = world(false);
        let began = Instant::now();
        assert!(world.detours.forwarders(&NODE).await.is_empty());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
