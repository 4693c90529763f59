//! What this node's parts count, as one page for whoever collects it.

use defs_engine::Engine;
use defs_swarm::{SwarmHandle, SwarmStats};
use defs_telemetry::{ExportMetrics, NodeMetrics, PeerMetrics, Reading, Registry};

use crate::run::Real;

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) node: NodeMetrics,
    peer: PeerMetrics,
    pub(crate) export: ExportMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::new();
        let node = NodeMetrics::register(&mut registry);
        let peer = PeerMetrics::register(&mut registry);
        let export = ExportMetrics::register(&mut registry);
        Self { registry, node, peer, export }
    }

    /// The page as of now.
    pub(crate) fn page(&self, engine: &Engine<Real>, peers: &SwarmHandle) -> String {
        self.measure(engine, peers);
        self.registry.encode()
    }

    /// The same as values.
    pub(crate) fn read(&self, engine: &Engine<Real>, peers: &SwarmHandle) -> Vec<Reading> {
        self.measure(engine, peers);
        self.registry.read()
    }

    fn measure(&self, engine: &Engine<Real>, peers: &SwarmHandle) {
        engine.measure();
        self.follow(&peers.stats());
    }

    fn follow(&self, stats: &SwarmStats) {
        // Destructured, so that a new field can't be forgotten.
        let SwarmStats {
            connections,
            lanes_served,
            lanes_opened,
            lanes_refused,
            dial_failures,
            relay_places,
            relayed,
            punched,
            via_streams,
            via_opened,
            via_refused,
            via_bytes,
            via_served,
            // Of clients only.
            detours: _,
            gossip_sent: _,
            gossip_heard: _,
            gossip_dropped,
            families,
        } = stats;
        let peer = &self.peer;
        peer.connections.set(*connections);
        peer.lanes_served.set(*lanes_served);
        peer.lanes_opened.set(*lanes_opened);
        peer.lanes_refused.follow(*lanes_refused);
        peer.dials_failed.follow(*dial_failures);
        peer.relay_places.set(*relay_places);
        peer.relayed.follow(*relayed);
        peer.punched.follow(*punched);
        peer.via_streams.set(*via_streams);
        peer.via_opened.follow(*via_opened);
        peer.via_refused.follow(*via_refused);
        peer.via_bytes.follow(*via_bytes);
        peer.via_served.follow(*via_served);
        peer.gossip_dropped.follow(*gossip_dropped);
        peer.calls_failed.follow(families.iter().map(|family| family.calls_failed).sum());
        peer.bytes_sent.follow(families.iter().map(|family| family.bytes_out).sum());
        peer.bytes_received.follow(families.iter().map(|family| family.bytes_in).sum());
    }
}
