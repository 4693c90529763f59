//! By which way a lane is opened. Directly comes first. A client that gets no connection soon
//! tries to go by way of another node beside it, and remembers that it had to: then it goes
//! that way at once, and dials again once in a while.

use std::pin::pin;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::port::CallError;
use tokio::time::timeout;

use super::{OpenLane, Pool, lock};
use crate::family::Family;
use crate::via::{Code, Detoured, Detours, NoWay};

/// How long a dial has before another way is tried beside it: a connection over the internet
/// stands in less, and what a firewall swallows is not waited for longer.
const HEAD_START: Duration = Duration::from_millis(500);

impl Pool {
    /// A new lane to `to`, by whatever way there is.
    pub(super) async fn open(&self, to: NodeId, family: Family) -> Result<OpenLane, CallError> {
        let opened = match (&self.detours, Code::of(family)) {
            (Some(detours), Some(code)) => {
                Box::pin(self.open_somehow(detours, to, (family, code))).await
            }
            _ => self.open_directly(to, family).await,
        };
        opened.map_err(|why| CallError::Unreachable { to, why })
    }

    async fn open_somehow(
        &self,
        detours: &Detours,
        to: NodeId,
        (family, code): (Family, Code),
    ) -> Result<OpenLane, String> {
        if detours.is_needed(&to) {
            detours.dial_again(to, family);
            if let Ok(lane) = self.open_by_way(detours, to, code).await {
                return Ok(lane);
            }
        }
        let mut directly = pin!(self.open_directly(to, family));
        let failed = match timeout(HEAD_START, &mut directly).await {
            Ok(Ok(lane)) => {
                detours.reached(&to);
                return Ok(lane);
            }
            Ok(Err(why)) => Some(why),
            Err(_) => None,
        };
        let mut by_way = pin!(self.open_by_way(detours, to, code));
        let both = |why: String, no_way: NoWay| format!("{why}; {no_way}");
        let Some(why) = failed else {
            return tokio::select! {
                biased;
                opened = &mut directly => match opened {
                    Ok(lane) => Ok(lane),
                    Err(why) => by_way.await.map_err(|no_way| both(why, no_way)),
                },
                opened = &mut by_way => match opened {
                    Ok(lane) => Ok(lane),
                    Err(no_way) if no_way.is_the_nodes() => {
                        Err(both(format!("no connection within {HEAD_START:?}"), no_way))
                    }
                    Err(no_way) => directly.await.map_err(|why| both(why, no_way)),
                },
            };
        };
        by_way.await.map_err(|no_way| both(why, no_way))
    }

    async fn open_by_way(
        &self,
        detours: &Detours,
        to: NodeId,
        code: Code,
    ) -> Result<OpenLane, NoWay> {
        if detours.is_hopeless(&to) {
            return Err(NoWay::Lately);
        }
        let limit = self.timeouts.dial;
        let opened = timeout(limit, self.go_around(detours, to, code)).await;
        let opened = opened.unwrap_or(Err(NoWay::TimedOut(limit)));
        match &opened {
            Ok(_) => self.counters.detours.add(1),
            Err(no_way) => {
                tracing::debug!(%to, %no_way, "a node is not reached by way of another either");
                if no_way.is_the_nodes() {
                    detours.failed(to);
                }
            }
        }
        opened
    }

    async fn go_around(
        &self,
        detours: &Detours,
        to: NodeId,
        code: Code,
    ) -> Result<OpenLane, NoWay> {
        let place = match detours.place() {
            Some(place) => place,
            None => {
                self.close_idle_detours();
                detours.next_place().await?
            }
        };
        let Detoured { by, carrier } = detours.open(to, code, self.timeouts.dial).await?;
        let mut lane = self.on(carrier, Some(place));
        lane.lane.await_greeting().await.map_err(NoWay::NotServed)?;
        detours.worked(to, by);
        Ok(lane)
    }

    /// Idle lanes by way of others make room for those that are needed now.
    fn close_idle_detours(&self) {
        let peers: Vec<_> = lock(&self.peers).values().cloned().collect();
        for lanes in peers.iter().flat_map(|peer| peer.iter()) {
            lock(&lanes.idle).retain(|idle| idle.lane.detour.is_none());
        }
    }

    /// Whether a lane goes by way of another node although its peer is connected by now.
    pub(super) fn is_outdated(&self, to: NodeId, lane: &OpenLane) -> bool {
        let detours = self.detours.as_ref().filter(|_| lane.detour.is_some());
        detours.is_some_and(|detours| detours.is_connected(&to))
    }
}
