//! The far side: serves clients that another node forwards, under their own keys.

use std::sync::Arc;

use defs_core::ids::NodeId;
use defs_core::port::Service;
use futures::AsyncReadExt as _;
use libp2p::swarm::Stream;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::rights::OwnersOnly;
use super::sealing::{NotSealed, Sealing};
use super::words::family_of;
use crate::entrance::Seats;
use crate::family::Family;
use crate::lane::{Lane, Pipe};
use crate::served::{Server, serve_lane};

/// The part of all lanes that may come forwarded: one in four, so that clients that nobody
/// saw dial in never keep those out that did, nor the node's partner.
const SHARE: usize = 4;

/// Why a forwarded client was not served.
#[derive(Debug, Error)]
enum NotServed {
    #[error("it said nothing in time")]
    Silent,
    #[error("{0}")]
    NotSealed(#[from] NotSealed),
    #[error("it is a member, and members speak for themselves")]
    Member,
    #[error("it asked for what is not forwarded")]
    NoFamily,
    #[error("too many lanes are open")]
    Full,
}

/// Serves forwarded clients.
pub(crate) struct Guests<S> {
    server: Arc<Server<OwnersOnly<S>>>,
    sealing: Sealing,
    seats: Seats,
    share: Arc<Semaphore>,
}

impl<S: Service> Guests<S> {
    pub(crate) fn new(server: &Server<S>, sealing: Sealing, seats: Seats) -> Arc<Self> {
        let share = Arc::new(Semaphore::new(server.limits.lanes / SHARE));
        let server = Arc::new(Server {
            service: Arc::new(OwnersOnly(Arc::clone(&server.service))),
            tasks: server.tasks.clone(),
            shutdown: server.shutdown.clone(),
            limits: server.limits,
            timeouts: server.timeouts,
            counters: Arc::clone(&server.counters),
            frames: server.frames.clone(),
        });
        Arc::new(Self { server, sealing, seats, share })
    }

    /// Takes a stream on which `forwarder` forwards somebody. Only members may: a stranger
    /// could come as many clients over one connection.
    pub(crate) fn accept(self: &Arc<Self>, forwarder: NodeId, stream: Stream) {
        let place = Arc::clone(&self.share).try_acquire_owned();
        let (Ok(place), true) = (place, self.server.service.is_member(&forwarder)) else {
            return self.server.counters.lanes_refused.add(1);
        };
        let guests = Arc::clone(self);
        self.server.tasks.spawn(async move { guests.serve(forwarder, stream, place).await });
    }

    async fn serve(&self, forwarder: NodeId, stream: Stream, _place: OwnedSemaphorePermit) {
        if let Err(why) = self.serve_guest(stream).await {
            self.server.counters.lanes_refused.add(1);
            tracing::debug!(%forwarder, %why, "a forwarded client was not served");
        }
    }

    async fn serve_guest(&self, stream: Stream) -> Result<(), NotServed> {
        let Server { timeouts, counters, frames, service, .. } = self.server.as_ref();
        let sealing = timeout(timeouts.dial, self.sealing.answer(stream));
        let (caller, mut sealed) = sealing.await.or(Err(NotServed::Silent))??;
        // A node's rights are for what comes from it directly.
        if service.is_member(&caller) {
            return Err(NotServed::Member);
        }
        let asking = timeout(timeouts.progress, asked_family(&mut sealed));
        let family = asking.await.or(Err(NotServed::Silent))??;
        let seat = self.seats.enter(caller).ok_or(NotServed::Full)?;
        counters.via_served.add(1);
        let lane = Lane::new(sealed, timeouts.progress, frames.clone());
        serve_lane(&self.server, caller, family, lane).await;
        drop(seat);
        // No connection closes when such a client leaves: its last lane is its end here.
        if !self.seats.has(&caller) {
            service.gone(caller);
        }
        Ok(())
    }
}

async fn asked_family(sealed: &mut impl Pipe) -> Result<Family, NotServed> {
    let mut code = [0];
    sealed.read_exact(&mut code).await.or(Err(NotServed::Silent))?;
    family_of(code[0]).ok_or(NotServed::NoFamily)
}
