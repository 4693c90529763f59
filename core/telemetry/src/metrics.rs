//! Every metric there is, declared beside the field that counts it.

use defs_core::message::{Reason, Rung};
use defs_core::states::PairState;

use crate::Registry;
use crate::declared::Declared;
use crate::label::By;
use crate::measure::{Count, Level, Measure, Seconds};

macro_rules! declared {
    ($measure:ty, $name:literal, $unit:literal, $help:literal) => {
        Declared {
            name: $name,
            unit: $unit,
            help: $help,
            kind: <$measure as Measure>::KIND,
            label: <$measure as Measure>::LABEL,
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
        shards_stored: Count = "defs.shard.stored", "{shard}", "Shards made durable on this disk.";
        shards_read: Count = "defs.shard.read", "{shard}", "Shards or ranges of shards read for others.";
        bytes_received: Count = "defs.shard.received", "By", "Sealed bytes of shards taken in.";
        bytes_sent: Count = "defs.shard.sent", "By", "Sealed bytes of shards given out.";
        shards_forwarded: Count = "defs.shard.forwarded", "{shard}", "Shards sent on to the pair's other member.";
        shards_expired: Count = "defs.lease.expired", "{shard}", "Shards deleted since nobody committed them before their lease ended.";
        records_written: Count = "defs.record.written", "{record}", "Records made durable.";
        records_read: Count = "defs.record.read", "{record}", "Records read for others.";
        receipts: Count = "defs.receipt.signed", "{receipt}", "Receipts signed, several under one signature.";
        refused: By<Reason, Count> = "defs.request.refused", "{request}", "Requests that were refused.";
        store_fsync: Seconds = "defs.store.fsync", "s", "How long the disk took to make something durable.";
        store_used: Level = "defs.store.used", "By", "Bytes stored and reserved.";
        store_capacity: Level = "defs.store.capacity", "By", "Bytes that may be stored.";
        pairs: By<PairState, Level> = "defs.pair.members", "{pair}", "Pairs that this node is a member of.";
        heartbeats_missed: Count = "defs.heartbeat.missed", "{heartbeat}", "Heartbeats that the partner did not answer in time.";
    }

    /// What every peer measures.
    PeerMetrics {
        connections: Level = "defs.peer.connections", "{connection}", "Connections to other peers.";
        lookups: By<Rung, Count> = "defs.lookup.ended", "{lookup}", "Look-ups by the rung of the ladder that answered.";
        lookup_messages: Count = "defs.lookup.messages", "{message}", "Messages sent for look-ups.";
        lookup_round_trips: Count = "defs.lookup.round_trips", "{round_trip}", "Round trips that look-ups waited for.";
    }

    /// What the owner's side measures.
    ClientMetrics {
        uploaded: Count = "defs.client.uploaded", "By", "Bytes of files stored.";
        downloaded: Count = "defs.client.downloaded", "By", "Bytes of files read back.";
        hedged_reads: Count = "defs.client.hedged", "{read}", "Reads sent to a second node since the first was slow.";
        stripes_decoded: Count = "defs.client.decoded", "{stripe}", "Stripes that needed parity to be restored.";
        shards_damaged: Count = "defs.client.damaged", "{shard}", "Shards that arrived and were not what their name says.";
    }
}
