//! What is told to everybody. The publisher's message reaches each node over one to three
//! hops; who misses it that way may hear it from another who passed it on.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::ids::NodeId;
use defs_core::message::Gossip;
use defs_core::port::Verdict;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::FaultyNetwork;

/// Hops from a publisher to a node at most.
const HOPS_MAX: u64 = 3;

/// Messages on their way.
#[derive(Default)]
pub(super) struct Grapevine {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    is_running: bool,
    sent: u64,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    messages: std::collections::BTreeMap<u64, Whisper>,
}

/// One message on one way.
struct Whisper {
    from: NodeId,
    to: NodeId,
    rumour: Arc<Rumour>,
}

/// One message, and who has not been told yet.
struct Rumour {
    message: Gossip,
    untold: Mutex<BTreeSet<NodeId>>,
}

impl FaultyNetwork {
    /// Hands out what is gossiped, from the first node on.
    pub(super) fn begin_gossip(&self) {
        let was_running = self.waiting(|waiting| std::mem::replace(&mut waiting.is_running, true));
        if was_running {
            return;
        }
        let network = self.clone();
        self.tasks.spawn(async move {
            loop {
                let next = network.waiting(|waiting| waiting.due.peek().map(|next| next.0.0));
                tokio::select! {
                    biased;
                    () = network.grapevine.more.notified() => {}
                    () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                        network.hand_out();
                    }
                }
            }
        });
    }

    pub(super) fn spread(&self, from: NodeId, message: Gossip) {
        let others = self.world().places.keys().copied().filter(|node| *node != from).collect();
        let rumour = Arc::new(Rumour { message, untold: Mutex::new(others) });
        self.whisper(from, &rumour, HOPS_MAX);
    }

    /// `from` tells everybody who was not told yet.
    fn whisper(&self, from: NodeId, rumour: &Arc<Rumour>, hops_max: u64) {
        let mut untold = rumour.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.is_empty() {
            return;
        }
        let world = self.world();
        let mut told = Vec::new();
        for to in untold.iter().copied() {
            if !world.passes(from, to) || self.nature.happens(world.weather.lost) {
                continue;
            }
            let hops = 1 + self.nature.draw(hops_max);
            let delay = (0..hops).map(|_| world.delay(self.nature.as_ref(), (from, to))).sum();
            let at = Instant::now() + delay;
            told.push((at, Whisper { from, to, rumour: Arc::clone(rumour) }));
        }
        drop(world);
        for (_, whisper) in &told {
            untold.remove(&whisper.to);
        }
        drop(untold);
        let most = self.waiting(|waiting| {
            for (at, whisper) in told {
                waiting.sent += 1;
                waiting.due.push(Reverse((at, waiting.sent)));
                waiting.messages.insert(waiting.sent, whisper);
            }
            waiting.messages.len()
        });
        let mut world = self.world();
        world.traffic.gossip_at_once = world.traffic.gossip_at_once.max(most);
        drop(world);
        self.grapevine.more.notify_one();
    }

    /// Delivers what is due.
    fn hand_out(&self) {
        let now = Instant::now();
        loop {
            let next = self.waiting(|waiting| {
                let Reverse((_, number)) = *waiting.due.peek().filter(|next| next.0.0 <= now)?;
                waiting.due.pop();
                waiting.messages.remove(&number)
            });
            let Some(Whisper { from, to, rumour }) = next else { return };
            let mut world = self.world();
            let Some(place) = world.places.get(&to).filter(|place| place.host.is_on()).cloned()
            else {
                continue;
            };
            world.traffic.gossip += 1;
            drop(world);
            let verdict = place.service.hear(rumour.message.clone());
            self.nature.note(format_args!("{from} > {to} gossip {verdict:?}"));
            if verdict == Verdict::PassOn {
                self.whisper(to, &rumour, 1);
            }
        }
    }

    fn waiting<T>(&self, see: impl FnOnce(&mut Waiting) -> T) -> T {
        see(&mut self.grapevine.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
