//! Gossiped messages to bytes and back.

use bytes::Bytes;
use defs_core::format::Format;
use defs_core::ids::{Locator, NodeId};
use defs_core::message::Gossip;
use prost::Message;

use crate::error::WireError;
use crate::fields::{array, format, message, read_trace, trace_bytes};
use crate::peer;
use crate::peer::gossip::Gossip as Kind;

/// The bytes of `gossip`.
#[must_use]
pub fn encode_gossip(gossip: &Gossip) -> Bytes {
    let kind = match gossip {
        Gossip::Card(card) => Kind::Card(card.encode()),
        Gossip::Pair(pair) => Kind::Pair(pair.encode()),
        Gossip::Moved(notes) => Kind::Moved(notes.encode()),
        Gossip::Wish { wish, .. } => Kind::Wish(wish.encode()),
        Gossip::Query { locator, asker, query } => Kind::Query(peer::Query {
            locator: locator.0.to_vec(),
            asker: asker.0.to_vec(),
            query: *query,
        }),
    };
    let trace = match gossip {
        Gossip::Wish { trace, .. } => trace_bytes(*trace),
        Gossip::Card(_) | Gossip::Pair(_) | Gossip::Moved(_) | Gossip::Query { .. } => Vec::new(),
    };
    peer::Gossip { trace, gossip: Some(kind) }.encode_to_vec().into()
}

/// What somebody gossips.
pub fn decode_gossip(bytes: &[u8]) -> Result<Gossip, WireError> {
    let peer::Gossip { trace, gossip } = message(bytes)?;
    let trace = read_trace(&trace)?;
    Ok(match gossip.ok_or(WireError::UnknownKind("gossip"))? {
        Kind::Card(card) => Gossip::Card(Box::new(format(&card, "card")?)),
        Kind::Pair(pair) => Gossip::Pair(Box::new(format(&pair, "pair record")?)),
        Kind::Moved(notes) => Gossip::Moved(Box::new(format(&notes, "moved notes")?)),
        Kind::Wish(wish) => Gossip::Wish { wish: Box::new(format(&wish, "wish")?), trace },
        Kind::Query(query) => Gossip::Query {
            locator: Locator(array(&query.locator, "locator")?),
            asker: NodeId(array(&query.asker, "asker")?),
            query: query.query,
        },
    })
}
