//! Record reads that travel together: what is asked of a node while it answers is asked
//! at once when it has answered.
//!
//! An answer is one message, which may be too small for all the records that were asked
//! for. A node answers the first of them then, and of each of the rest that it is busy:
//! those are asked for again. One that refuses the whole is asked for half as many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::{BATCH_ITEMS_MAX, ItemResult, Reason, Request, Response};
use defs_core::port::{CallError, Clock as _};
use defs_core::record::{RecordKey, SignedRecord};
use defs_telemetry::{spans, trace};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::links::{Links, session_is_gone, unexpected};
use super::pace::Kind;
use crate::keys::FileLock;
use crate::ports::World;

/// Requests to one node at a time: two, so that the node has the next one when it has
/// answered the last.
const REQUESTS: u8 = 2;

/// Keys that may wait in all; more callers wait for room.
const WAITING_MAX: usize = 4096;

/// The heads of one record at one node.
type Heads = ItemResult<Vec<Arc<SignedRecord>>>;

struct Waiting {
    key: RecordKey,
    reply: oneshot::Sender<Result<Heads, CallError>>,
}

impl Waiting {
    fn reply_with(self, answer: Result<Heads, CallError>) {
        // Whoever waited may have been answered by another node.
        drop(self.reply.send(answer));
    }
}

struct Queue {
    waiting: VecDeque<Waiting>,
    busy: u8,
    /// Keys of one request: fewer while the node's answers would be too long.
    at_once: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), busy: 0, at_once: BATCH_ITEMS_MAX }
    }
}

/// Asks nodes for records, many at once.
pub(crate) struct Asking<W> {
    world: Arc<W>,
    links: Arc<Links<W>>,
    tasks: TaskTracker,
    room: Semaphore,
    queues: Mutex<BTreeMap<NodeId, Queue>>,
}

impl<W: World> Asking<W> {
    pub(crate) fn new(world: Arc<W>, links: Arc<Links<W>>, tasks: TaskTracker) -> Self {
        let (room, queues) = (Semaphore::new(WAITING_MAX), Mutex::default());
        Self { world, links, tasks, room, queues }
    }

    /// What `node` knows of `key`.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        node: NodeId,
        lock: &FileLock,
        key: RecordKey,
    ) -> Result<Vec<Arc<SignedRecord>>, CallError> {
        self.links.open_session(node, lock).await?;
        let first = self.queued(node, key).await?;
        let answer = match first {
            Err(refusal) if session_is_gone(refusal.reason) => {
                self.links.forget_session(node, lock).await;
                self.links.open_session(node, lock).await?;
                self.queued(node, key).await?
            }
            other => other,
        };
        answer.map_err(|refusal| CallError::Refused { to: node, refusal })
    }

    async fn queued(self: &Arc<Self>, node: NodeId, key: RecordKey) -> Result<Heads, CallError> {
        let gone = || CallError::Unreachable { to: node, why: "the client is closing".to_owned() };
        let _room = self.room.acquire().await.map_err(|_closed| gone())?;
        let (reply, answer) = oneshot::channel();
        if self.enqueue(node, Waiting { key, reply }) {
            let (asking, trace) = (Arc::clone(self), trace::current());
            self.tasks.spawn(async move {
                // What others ask for meanwhile goes with it, in the trace of who came first.
                let span = trace::following(trace, || spans::record_ask(node));
                asking.answer_all(node).instrument(span).await;
            });
        }
        answer.await.map_err(|_dropped| gone())?
    }

    /// Whether somebody has to start asking.
    fn enqueue(&self, node: NodeId, waiting: Waiting) -> bool {
        let mut queues = self.lock();
        let queue = queues.entry(node).or_default();
        queue.waiting.push_back(waiting);
        let free = queue.busy < REQUESTS;
        queue.busy += u8::from(free);
        free
    }

    /// Asks until nothing waits.
    async fn answer_all(self: Arc<Self>, node: NodeId) {
        while let Some(batch) = self.next_batch(node) {
            let keys: Vec<_> = batch.iter().map(|waiting| waiting.key).collect();
            match self.exchange(node, keys).await {
                Ok(answers) => self.hand_out(node, batch, answers),
                Err(error) if batch.len() > 1 && is_too_much(&error) => {
                    let half = batch.len() / 2;
                    self.ask_again(node, batch, |_| half);
                }
                Err(error) => {
                    batch.into_iter().for_each(|waiting| waiting.reply_with(Err(error.clone())));
                }
            }
        }
    }

    /// Gives each its answer, but for those to be asked for again. If the node is busy for
    /// all of them, that is the answer.
    fn hand_out(&self, node: NodeId, batch: Vec<Waiting>, answers: Vec<Heads>) {
        let gets_on = answers.iter().any(|answer| !is_later(answer));
        let mut later = Vec::new();
        for (waiting, answer) in batch.into_iter().zip(answers) {
            if gets_on && is_later(&answer) {
                later.push(waiting);
            } else {
                waiting.reply_with(Ok(answer));
            }
        }
        let double = |at_once: usize| at_once.saturating_mul(2).min(BATCH_ITEMS_MAX);
        self.ask_again(node, later, double);
    }

    /// What waited longest comes first again.
    fn ask_again(&self, node: NodeId, batch: Vec<Waiting>, at_once: impl Fn(usize) -> usize) {
        let mut queues = self.lock();
        let queue = queues.entry(node).or_default();
        queue.at_once = at_once(queue.at_once);
        batch.into_iter().rev().for_each(|waiting| queue.waiting.push_front(waiting));
    }

    fn next_batch(&self, node: NodeId) -> Option<Vec<Waiting>> {
        let mut queues = self.lock();
        let queue = queues.get_mut(&node)?;
        // Some were answered by another node meanwhile.
        queue.waiting.retain(|waiting| !waiting.reply.is_closed());
        let count = queue.waiting.len().min(queue.at_once);
        if count == 0 {
            queue.busy -= 1;
            return None;
        }
        Some(queue.waiting.drain(..count).collect())
    }

    async fn exchange(&self, node: NodeId, keys: Vec<RecordKey>) -> Result<Vec<Heads>, CallError> {
        let (asked, began) = (keys.len(), self.world.clock().elapsed());
        self.links.pace.begins(node);
        let reply = self.links.call(node, Request::ReadRecords { keys }, Body::empty()).await;
        let now = self.world.clock().elapsed();
        match reply.map(|reply| reply.response) {
            Ok(Response::Records(heads)) if heads.len() == asked => {
                self.links.pace.answered(node, Kind::Record, now.saturating_sub(began));
                Ok(heads)
            }
            Ok(_) => {
                self.links.pace.failed(node, now);
                Err(unexpected(node, "records were asked for and something else answered"))
            }
            Err(error) => {
                if is_too_much(&error) {
                    self.links.pace.given_up(node);
                } else {
                    self.links.pace.failed(node, now);
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this record did not fit the answer.
fn is_later(answer: &Heads) -> bool {
    answer.as_ref().is_err_and(|refusal| refusal.reason == Reason::Busy)
}

/// Whether the whole answer was too long to be sent.
fn is_too_much(error: &CallError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.reason == Reason::NotAllowed)
}

impl<W> std::fmt::Debug for Asking<W> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Asking")
    }
}
