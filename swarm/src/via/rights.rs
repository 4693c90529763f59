//! What may come by way of another node.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::{Gossip, Reason, Refusal, Request, Response};
use defs_core::port::{Reply, Service, Verdict};

/// A node's service as clients meet it that another node forwards. Nodes speak to each other
/// themselves: what only they ask for is refused here, whoever asks.
pub(crate) struct OwnersOnly<S>(pub(crate) Arc<S>);

impl<S: Service> Service for OwnersOnly<S> {
    async fn serve(&self, caller: NodeId, request: Request, body: Body) -> Reply {
        if !is_owners(&request) {
            let refusal = Refusal::new(Reason::NotAllowed, "only what owners ask is forwarded");
            return Reply::bare(Response::Refused(refusal));
        }
        self.0.serve(caller, request, body).await
    }

    fn hear(&self, message: Gossip) -> Verdict {
        self.0.hear(message)
    }

    fn gone(&self, peer: NodeId) {
        self.0.gone(peer);
    }

    fn is_member(&self, node: &NodeId) -> bool {
        self.0.is_member(node)
    }
}

/// Whether clients ask for it. Every request is named, so that a new one is thought of.
fn is_owners(request: &Request) -> bool {
    match request {
        Request::Hello(_)
        | Request::OpenSession(_)
        | Request::Table { .. }
        | Request::Ping
        | Request::StoreShard(_)
        | Request::ReadShard(_)
        | Request::Renew { .. }
        | Request::Commit { .. }
        | Request::Delete { .. }
        | Request::ReadRecords { .. }
        | Request::Locate { .. } => true,
        // Without it, a primary sends them to its mirror.
        Request::WriteRecords { forward, .. } => *forward,
        Request::MirrorShard(_)
        | Request::StripeStatus { .. }
        | Request::Propose(_)
        | Request::Heartbeat { .. }
        | Request::Probe { .. }
        | Request::Confirm { .. }
        | Request::History { .. }
        | Request::Readings { .. }
        | Request::Found { .. }
        | Request::Summary { .. }
        | Request::CopyShard { .. }
        | Request::CopyRecords { .. }
        | Request::CopyTombstones { .. }
        | Request::Release { .. }
        | Request::StandIn { .. }
        | Request::TakeRecords { .. }
        | Request::Moved(_)
        | Request::Challenge { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::{Epoch, Locator, PairId};
    use defs_port_suite::peers::Echo;

    use super::*;

    const PAIR: PairId = PairId([1; 16]);

    fn write(forward: bool) -> Request {
        Request::WriteRecords { pair: PAIR, epoch: Epoch(1), records: Vec::new(), forward }
    }

    #[tokio::test]
    async fn what_owners_ask_is_served_and_what_nodes_ask_is_refused_unheard() {
        let echo = Arc::<Echo>::default();
        let (service, client) = (OwnersOnly(Arc::clone(&echo)), NodeId([7; 32]));
        let answered = |request| service.serve(client, request, Body::empty());
        let owners = [
            Request::Ping,
            Request::Table { from: 0 },
            write(true),
            Request::ReadRecords { keys: Vec::new() },
        ];
        let served = owners.len();
        for request in owners {
            assert_eq!(answered(request).await.response, Response::Alive);
        }
        let (pair, epoch) = (PAIR, Epoch(1));
        let nodes = [
            Request::Heartbeat { pair, epoch },
            Request::Probe { node: client },
            Request::Confirm { pair, epoch },
            Request::History { pair, after: epoch },
            Request::Found { locator: Locator([1; 32]), query: 1, pair },
            Request::CopyRecords { pair, epoch, keys: Vec::new() },
            Request::StandIn { keys: Vec::new(), lost: pair, by: pair, both: true },
            Request::Readings { after: None },
            write(false),
        ];
        for request in nodes {
            let Response::Refused(refusal) = answered(request.clone()).await.response else {
                panic!("{request:?} was served");
            };
            assert_eq!(refusal.reason, Reason::NotAllowed);
        }
        assert_eq!(echo.callers(), vec![client; served]);
    }
}
