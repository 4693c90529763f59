//! Every span there is, declared once: a function each makes it, and [`all`] lists them for the
//! documentation.
//!
//! A span tells what was done, how long it took and whether it failed. It never tells the name
//! of a file, a key, a share or a lock: whoever runs the receiver of traces is not the owner.
//! Log lines are no part of it for the same reason.
//!
//! All have [`TARGET`] as target, which no log asks for. Where nobody collects traces, making
//! one costs a look at a flag.

use std::fmt::{self, Write as _};

use defs_core::ids::{NodeId, PairId};
use defs_core::wish::Want;
use tracing::field::Empty;
use tracing::{Span, info_span};

/// The target of all spans, by which whoever collects traces asks for them.
pub const TARGET: &str = "defs-trace";

/// Where a span may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Begins a trace where it isn't in one.
    Begins,
    /// Only in a trace; work that nobody asked for leaves none.
    Within,
    /// Only in the trace from which the work was asked for: of another process, or of a task
    /// that need not wait for its end.
    Follows,
}

impl fmt::Display for Stands {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Begins => "begins a trace",
            Self::Within => "in a trace",
            Self::Follows => "in the asker's trace",
        })
    }
}

/// A span's name and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredSpan {
    /// Dotted: `defs.shard.receive`.
    pub name: &'static str,
    /// As OpenTelemetry names it: `internal`, `client` or `server`.
    pub kind: &'static str,
    /// Where it may stand.
    pub stands: Stands,
    /// Its attributes, each `defs.` and this.
    pub attributes: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// `None` where a span that stands only in a trace would stand in none.
fn place(stands: Stands) -> Option<Span> {
    (stands == Stands::Within && Span::current().is_none()).then(Span::none)
}

macro_rules! spans {
    ($(
        $stands:ident $kind:ident $name:ident(
            $($field:ident: $type:ty),*; $($shown:ident: $shown_type:ty),*
        ) = $text:literal, $help:literal;
    )+) => {
        $(
            #[doc = $help]
            #[must_use]
            pub fn $name($($field: $type,)* $($shown: $shown_type,)*) -> Span {
                if let Some(none) = place(Stands::$stands) {
                    return none;
                }
                info_span!(
                    target: TARGET,
                    $text,
                    $(defs.$field = $field,)*
                    $(defs.$shown = %$shown,)*
                    defs.reason = Empty,
                    otel.kind = stringify!($kind),
                    otel.status_code = Empty,
                )
            }
        )+

        /// Every span there is.
        pub fn all() -> impl Iterator<Item = DeclaredSpan> {
            [$(DeclaredSpan {
                name: $text,
                kind: stringify!($kind),
                stands: Stands::$stands,
                attributes: &[$(stringify!($field),)* $(stringify!($shown),)*],
                help: $help,
            },)+].into_iter()
        }
    };
}

spans! {
    Begins internal put(;) = "defs.put", "An owner stores an object, until it has its name.";
    Within internal slice_cut(slice: u32;) = "defs.slice.cut", "A slice is read.";
    Within internal slice_seal(slice: u32;) = "defs.slice.seal", "A slice is encrypted under the owner's key.";
    Within internal slice_code(slice: u32;) = "defs.slice.code", "A sealed slice becomes sealed shards.";
    Within internal shard_send(slice: u32, index: u8; pair: PairId) = "defs.shard.send", "A shard goes to a pair, until both receipts are checked.";
    Within internal lease_renew(slices: u64;) = "defs.lease.renew", "The leases of all shards are renewed.";
    Within internal manifest_write(pages: u64;) = "defs.manifest.write", "The pages of a manifest go to their pairs, until a quorum keeps them.";
    Follows internal record_send(; pair: PairId) = "defs.record.send", "Records go to one pair, until both receipts are checked.";
    Within internal stripe_commit(slices: u64;) = "defs.stripe.commit", "All holders are told to keep the stripes.";
    Within internal object_name(;) = "defs.object.name", "The name goes into the owner's catalogue.";
    Within internal batch_store(files: u64;) = "defs.batch.store", "Small objects that wait together are stored; in the trace of the first of them.";
    Begins internal get(;) = "defs.get", "An owner reads an object.";
    Within internal manifest_read(;) = "defs.manifest.read", "A page of a manifest is looked for and opened.";
    Follows internal record_ask(; node: NodeId) = "defs.record.ask", "A node is asked for records, for all that wait for them.";
    Within internal slice_fetch(slice: u32;) = "defs.slice.fetch", "As many shards as needed are fetched, and decoded where one was missing.";
    Within internal shard_fetch(slice: u32, index: u8; pair: PairId) = "defs.shard.fetch", "A shard is fetched from its pair and opened.";
    Within internal slice_open(slice: u32;) = "defs.slice.open", "A slice is decrypted and compared with its digest.";
    Within internal slice_write(bytes: u64;) = "defs.slice.write", "A slice is written to where it was asked for.";
    Within client peer_call(ask: &'static str; node: NodeId) = "defs.peer.call", "A request to another peer, until its response has come.";
    Begins server peer_serve(ask: &'static str; node: NodeId) = "defs.peer.serve", "A request of another peer is answered. Only requests for shards and records begin a trace.";
    Within internal shard_receive(bytes: u64; pair: PairId) = "defs.shard.receive", "A primary takes a shard in, for both members.";
    Within internal shard_forward(bytes: u64; node: NodeId) = "defs.shard.forward", "A primary sends a shard on to its mirror, while it arrives.";
    Within internal shard_mirror(bytes: u64; pair: PairId) = "defs.shard.mirror", "A mirror takes a shard in.";
    Within internal record_write(records: u64; pair: PairId) = "defs.record.write", "A node takes records in.";
    Within internal receipt_sign(;) = "defs.receipt.sign", "A receipt is signed.";
    Within internal disk_store(bytes: u64;) = "defs.disk.store", "A shard is made durable, from its first byte to its index entry.";
    Within internal disk_write(bytes: u64;) = "defs.disk.write", "A shard's bytes are written as they arrive.";
    Within internal disk_sync(;) = "defs.disk.sync", "What was written is synced to the device.";
    Within internal disk_index(bytes: u64;) = "defs.disk.index", "Entries are written to the index, synced.";
    Begins internal reconcile(controller: &'static str; object: &str) = "defs.reconcile", "The operator looks at an object and does what it needs.";
    Within client node_call(method: &'static str; node: &str) = "defs.node.call", "The operator calls a node.";
    Follows server admin_serve(method: &'static str;) = "defs.admin.serve", "A node answers a call to its admin API.";
    Within internal wish_take(; want: Want) = "defs.wish.take", "A node takes a wish of the invite key in and tells the others.";
    Follows internal pair_form(; pair: PairId) = "defs.pair.form", "A node forms a pair that was wished.";
    Follows internal pair_copy(; pair: PairId) = "defs.pair.copy", "A node copies what a pair holds, since it was wished into it.";
    Follows internal pair_succeed(; pair: PairId) = "defs.pair.succeed", "A member works for the next epoch of its pair, as was wished.";
}

/// The table of all spans as Markdown, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "| span | kind | stands | attributes | what it says |\n|---|---|---|---|---|\n",
    );
    for DeclaredSpan { name, kind, stands, attributes, help } in all() {
        let attributes: Vec<_> =
            attributes.iter().map(|attribute| format!("`defs.{attribute}`")).collect();
        let attributes = attributes.join(", ");
        // Writing to a string never fails.
        writeln!(page, "| `{name}` | {kind} | {stands} | {attributes} | {help} |").ok();
    }
    page
}
