//! Every metric there is, declared beside the field that counts it.

use defs_core::message::{Reason, Rung};
use defs_core::states::PairState;

use crate::Registry;
use crate::declared::Declared;
use crate::label::{Ask, By, Controller, OperatorLease, Reconciled};
use crate::measure::{Count, Level, Measure, Seconds};

macro_rules! declared {
    ($measure:ty, $name:literal, $unit:literal, $help:literal) => {
        Declared {
            name: $name,
            unit: $unit,
            help: $help,
            kind: <$measure as Measure>::KIND,
            labels: <$measure as Measure>::LABELS,
        }
    };
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $group:ident { $($field:ident: $measure:ty = $name:literal, $unit:literal, $help:literal;)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default)]
            pub struct $group {
                $(#[doc = $help] pub $field: $measure,)+
            }

            impl $group {
                /// The declarations, in the order of the fields.
                pub const DECLARED: &'static [Declared] =
                    &[$(declared!($measure, $name, $unit, $help),)+];

                /// Known to `registry`. `default()` gives metrics that nobody reads, for tests.
                #[must_use]
                pub fn register(registry: &mut Registry) -> Self {
                    Self {
                        $($field: <$measure>::register(
                            &declared!($measure, $name, $unit, $help),
                            registry,
                        ),)+
                    }
                }
            }
        )+

        /// Every metric there is.
        pub fn all() -> impl Iterator<Item = &'static Declared> {
            [$($group::DECLARED,)+].into_iter().flatten()
        }
    };
}

metrics! {
    /// What a storage node measures.
    NodeMetrics {
        answered: By<Ask, Count> = "defs.request.answered", "{request}", "Requests that were done or answered.";
        refused: By<Reason, Count> = "defs.request.refused", "{request}", "Requests that were refused.";
        shards_stored: Count = "defs.shard.stored", "{shard}", "Shards made durable on this disk, those sent again included.";
        shards_forwarded: Count = "defs.shard.forwarded", "{shard}", "Shards sent on to the pair's other member.";
        shards_read: Count = "defs.shard.read", "{shard}", "Shards or ranges of shards given out.";
        bytes_received: Count = "defs.shard.received", "By", "Sealed bytes of the shards made durable.";
        bytes_sent: Count = "defs.shard.sent", "By", "Sealed bytes of the shards and ranges given out.";
        shards_committed: Count = "defs.shard.committed", "{shard}", "Shards that an owner said to keep.";
        shards_deleted: Count = "defs.shard.deleted", "{shard}", "Shards deleted since their owner said so.";
        shards_expired: Count = "defs.lease.expired", "{shard}", "Shards deleted since nobody committed them before their lease ended.";
        records_written: Count = "defs.record.written", "{record}", "Versions of records made durable.";
        records_read: Count = "defs.record.read", "{record}", "Versions of records given out.";
        receipts: Count = "defs.receipt.signed", "{receipt}", "Receipts signed, several under one signature.";
        lookups: By<Rung, Count> = "defs.lookup.ended", "{lookup}", "Look-ups by the rung of the ladder that answered.";
        lookup_messages: Count = "defs.lookup.messages", "{message}", "Messages that look-ups took.";
        lookup_round_trips: Count = "defs.lookup.round_trips", "{round_trip}", "Round trips that look-ups waited for.";
        heartbeats_missed: Count = "defs.heartbeat.missed", "{heartbeat}", "Heartbeats that the partner did not answer.";
        epochs_begun: Count = "defs.epoch.begun", "{epoch}", "Epochs of its pair that this node completed.";
        pairs_lost: Count = "defs.pair.lost", "{pair}", "Pairs that this node has judged to be lost.";
        partner_away: Level = "defs.partner.away", "{node}", "1 while the partner is suspected, down or lost.";
        healing_frozen: Level = "defs.healing.frozen", "{node}", "1 while this node hears no majority, and so heals nothing.";
        shards_copied: Count = "defs.sync.shards", "{shard}", "Shards taken over from the partner.";
        bytes_copied: Count = "defs.sync.bytes", "By", "Sealed bytes of these.";
        shares_released: Count = "defs.repair.released", "{share}", "Shares given to a node that rebuilds.";
        shards_rebuilt: Count = "defs.repair.shards", "{shard}", "Shards rebuilt and stored at other pairs.";
        records_rehomed: Count = "defs.repair.records", "{record}", "Records for which another pair stands in for a lost one.";
        scrubbed_bytes: Count = "defs.scrub.read", "By", "Sealed bytes read back and found to be right.";
        shards_given: Count = "defs.shards.given", "{shard}", "Shards given to pairs that are less full.";
        shards_superseded: Count = "defs.shards.superseded", "{shard}", "Copies removed that both members of the pair which took over hold.";
        audits_passed: Count = "defs.audit.passed", "{audit}", "Audits of the partner that it passed.";
        audits_failed: Count = "defs.audit.failed", "{audit}", "Audits of the partner that it failed.";
        shards_rotten: Count = "defs.scrub.rotten", "{shard}", "Shards that were not what their name says.";
        repair_bytes_read: Count = "defs.repair.read", "By", "Sealed bytes read to rebuild shards.";
        repair_bytes_written: Count = "defs.repair.written", "By", "Sealed bytes of rebuilt shards.";
        repair_queued: Level = "defs.repair.queued", "{stripe}", "Stripes that wait to be made whole.";
        stripes_unrepaired: Level = "defs.repair.unrepaired", "{stripe}", "Stripes that could not be made whole so far.";
        stripes_at_risk: Level = "defs.repair.at_risk", "{stripe}", "Stripes that do not survive the loss of any one pair.";
        pairs: By<PairState, Level> = "defs.pair.members", "{pair}", "Pairs that this node is a member of.";
        nodes_alive: Level = "defs.node.alive", "{node}", "Nodes heard lately, this one included.";
        store_used: Level = "defs.store.used", "By", "Bytes stored and reserved.";
        store_capacity: Level = "defs.store.capacity", "By", "Bytes that may be stored.";
        store_free: Level = "defs.store.free", "By", "Bytes that may still be stored.";
        store_shards: Level = "defs.store.shards", "{shard}", "Shards held.";
        store_records: Level = "defs.store.records", "{record}", "Records held.";
        store_fsync: Seconds = "defs.store.fsync", "s", "How long the disk took to make files durable.";
        store_compacted: Count = "defs.store.compacted", "By", "Bytes that compaction gave back to the device.";
    }

    /// What every peer measures.
    PeerMetrics {
        connections: Level = "defs.peer.connections", "{connection}", "Connections to other peers.";
        lanes_served: Level = "defs.peer.lanes_served", "{lane}", "Lanes that other peers have open here.";
        lanes_opened: Level = "defs.peer.lanes_opened", "{lane}", "Lanes open to other peers.";
        lanes_refused: Count = "defs.peer.lanes_refused", "{lane}", "Lanes refused for a limit.";
        dials_failed: Count = "defs.peer.dials_failed", "{dial}", "Dials that failed.";
        relay_places: Level = "defs.relay.places", "{relay}", "Relays that keep a place for this node, since nobody can dial it.";
        relayed: Count = "defs.relay.relayed", "{connection}", "Connections between others that this node has relayed.";
        punched: Count = "defs.relay.punched", "{connection}", "Relayed connections of this node that it replaced by a direct one.";
        via_streams: Level = "defs.via.streams", "{stream}", "Streams between a client and another node that this node forwards.";
        via_opened: Count = "defs.via.opened", "{stream}", "Such streams opened.";
        via_refused: Count = "defs.via.refused", "{stream}", "Such streams not opened: for a limit, or since the other node is no member or was not reached.";
        via_bytes: Count = "defs.via.carried", "By", "Bytes forwarded between clients and other nodes, both ways.";
        via_served: Count = "defs.via.served", "{lane}", "Lanes of clients served here that another node forwarded.";
        calls_failed: Count = "defs.peer.calls_failed", "{call}", "Requests to other peers that got no answer.";
        bytes_sent: Count = "defs.peer.sent", "By", "Bytes of messages and bodies sent.";
        bytes_received: Count = "defs.peer.received", "By", "Bytes of messages and bodies received.";
        gossip_dropped: Count = "defs.gossip.dropped", "{message}", "Gossiped messages dropped since the queue was full.";
    }
    /// What whoever exports spans and metrics by OTLP counts.
    ExportMetrics {
        spans_sent: Count = "defs.export.spans", "{span}", "Spans that the receiver of OTLP took.";
        spans_dropped: Count = "defs.export.spans_dropped", "{span}", "Spans dropped since the queue was full or the receiver took none.";
        failed: Count = "defs.export.failed", "{export}", "Exports by OTLP that failed.";
    }

    /// What an owner's command measures, while it runs.
    ClientMetrics {
        put: Count = "defs.client.put", "{object}", "Objects stored.";
        got: Count = "defs.client.got", "{object}", "Objects read.";
        failed: Count = "defs.client.failed", "{object}", "Objects that could not be stored or read.";
        bytes_put: Count = "defs.client.stored", "By", "Bytes of the objects stored.";
        bytes_got: Count = "defs.client.read", "By", "Bytes of the objects read.";
        put_took: Seconds = "defs.client.put_time", "s", "How long storing an object took.";
        get_took: Seconds = "defs.client.get_time", "s", "How long reading an object took.";
    }

    /// What the operator measures.
    OperatorMetrics {
        reconciled: By<Reconciled, Count> = "controller_runtime.reconcile", "{reconciliation}", "Reconciliations by how they ended.";
        failed: By<Controller, Count> = "controller_runtime.reconcile.errors", "{reconciliation}", "Reconciliations that failed.";
        took: By<Controller, Seconds> = "controller_runtime.reconcile.time", "s", "How long reconciliations took.";
        active: By<Controller, Level> = "controller_runtime.active_workers", "{object}", "Objects that are looked at now.";
        queued: By<Controller, Level> = "workqueue.depth", "{object}", "Objects of which there is news from nodes and that wait to be looked at.";
        leads: By<OperatorLease, Level> = "leader_election.master_status", "{process}", "1 while this process leads.";
        nodes_heard: Level = "defs.operator.nodes_heard", "{node}", "Nodes that this operator hears.";
        wishes_said: Count = "defs.operator.wishes_said", "{wish}", "Words to networks that some node has taken.";
        wishes_unheard: Count = "defs.operator.wishes_unheard", "{wish}", "Words to networks that no node has taken.";
        calls_failed: Count = "defs.operator.calls_failed", "{call}", "Calls to nodes that failed.";
    }
}
