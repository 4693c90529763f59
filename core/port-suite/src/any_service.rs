//! A service whose type is forgotten, so that services of several types share a network.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::{Gossip, Request};
use defs_core::port::{Reply, Service, Verdict};
use futures::future::BoxFuture;

/// [`Service`] for whatever type of service a node has.
pub(crate) trait AnyService: Send + Sync {
    fn serve(
        self: Arc<Self>,
        caller: NodeId,
        ask: Request,
        body: Body,
    ) -> BoxFuture<'static, Reply>;
    fn hear(&self, message: Gossip) -> Verdict;
    fn gone(&self, peer: NodeId);
}

pub(crate) struct Whole<S>(pub(crate) Arc<S>);

impl<S: Service> AnyService for Whole<S> {
    fn serve(
        self: Arc<Self>,
        caller: NodeId,
        ask: Request,
        body: Body,
    ) -> BoxFuture<'static, Reply> {
        Box::pin(async move { self.0.serve(caller, ask, body).await })
    }

    fn hear(&self, message: Gossip) -> Verdict {
        self.0.hear(message)
    }

    fn gone(&self, peer: NodeId) {
        self.0.gone(peer);
    }
}
