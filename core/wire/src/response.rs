//! Responses to bytes and back.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::format::Format;
use defs_core::ids::{Digest, PairId};
use defs_core::message::{
    BATCH_ITEMS_MAX, HISTORY_MAX, ITEM_NAME_MAX, Item, ItemResult, Located, PairView, Response,
    Rung, SUMMARY_PARTS, ShardCopy, Summary, Table,
};
use defs_core::reading::READINGS_MAX;
use defs_core::receipt::SignedReceipt;
use defs_core::record::{HEADS_MAX, SignedRecord};
use prost::Message;

use crate::error::WireError;
use crate::fields::{
    array, encodings, format, formats, item, list, message, read_indices, read_refusal, refusal,
};
use crate::peer;
use crate::peer::response::Response as Kind;
use crate::peer::{records_item, written_item};

/// The most receipts for one thing: one a member.
const RECEIPTS_MAX: usize = 2;

/// The most candidates of an answered look-up.
const LOCATED_MAX: usize = 16;

/// The most cards or pairs of a table: more than fit a message.
const TABLE_MAX: usize = 8192;

/// The most items of a summary: more than fit a message.
const ITEMS_MAX: usize = 16_384;

/// The bytes of `response`, after which a body of `body_length` bytes will come.
#[must_use]
pub fn encode_response(response: &Response, body_length: u64) -> Bytes {
    let response = Some(kind(response));
    peer::Response { body_length, response }.encode_to_vec().into()
}

/// The response and the length of the body that follows it.
pub fn decode_response(bytes: &[u8]) -> Result<(Response, u64), WireError> {
    let peer::Response { body_length, response } = message(bytes)?;
    Ok((read(response.ok_or(WireError::UnknownKind("response"))?)?, body_length))
}

fn kind(response: &Response) -> Kind {
    match response {
        Response::Hello { genesis, version, challenge } => Kind::Hello(peer::Agreed {
            genesis: genesis.encode(),
            version: *version,
            challenge: challenge.to_vec(),
        }),
        Response::Done => Kind::Done(peer::Empty {}),
        Response::Receipts(receipts) => Kind::Receipts(write_receipts(receipts)),
        Response::Shard { length } => Kind::Shard(*length),
        Response::Held(held) => Kind::Held(peer::Held { held: held.clone() }),
        Response::Written(items) => {
            Kind::Written(peer::Written { items: items.iter().map(written).collect() })
        }
        Response::Records(items) => {
            Kind::Records(peer::Records { items: items.iter().map(heads).collect() })
        }
        Response::Stripe { indices, commit, tombstone } => Kind::Stripe(peer::Stripe {
            indices: indices.iter().map(|index| index.0).collect(),
            commit: commit.as_ref().map(Format::encode),
            tombstone: tombstone.as_ref().map(Format::encode),
        }),
        Response::Table(table) => Kind::Table(peer::Table {
            cards: encodings(&table.cards),
            pairs: table.pairs.iter().map(pair_view).collect(),
            next: table.next,
        }),
        Response::Pair(pair) => Kind::Pair(pair.encode()),
        Response::Alive => Kind::Alive(peer::Empty {}),
        Response::Located(located) => Kind::Located(peer::Located {
            pairs: located.pairs.iter().map(|pair| pair.0.to_vec()).collect(),
            rung: rung(located.rung).into(),
            messages: located.messages,
            round_trips: located.round_trips,
        }),
        Response::Reached(reached) => Kind::Reached(*reached),
        Response::History(records) => Kind::History(peer::History { records: encodings(records) }),
        Response::Summary(summary) => Kind::Summary(write_summary(summary)),
        Response::Copy(copy) => Kind::Copy(peer::ShardCopy {
            head: copy.head.encode(),
            lease_ms: copy.lease_ms,
            commit: copy.commit.as_ref().map(Format::encode),
        }),
        Response::Tombstones(tombstones) => {
            Kind::Tombstones(peer::Tombstones { tombstones: encodings(tombstones) })
        }
        Response::Released { share } => Kind::Released(share.to_vec()),
        Response::Proof(proof) => Kind::Proof(proof.0.to_vec()),
        Response::Readings(readings) => {
            Kind::Readings(peer::Readings { readings: encodings(readings) })
        }
        Response::Refused(reason) => Kind::Refused(refusal(reason)),
    }
}

fn write_summary(summary: &Summary) -> peer::Summary {
    use peer::summary::Summary as Kind;
    let item = |item: &Item| peer::Item { name: item.name.clone(), digest: item.digest.to_vec() };
    let kind = match summary {
        Summary::Items(items) => {
            Kind::Items(peer::Items { items: items.iter().map(item).collect() })
        }
        Summary::Parts(parts) => Kind::Parts(parts.concat()),
    };
    peer::Summary { summary: Some(kind) }
}

fn write_receipts(receipts: &[SignedReceipt]) -> peer::Receipts {
    peer::Receipts { receipts: encodings(receipts) }
}

fn written(result: &ItemResult<Vec<SignedReceipt>>) -> peer::WrittenItem {
    use written_item::Item;
    let item = item(result, |receipts| Item::Receipts(write_receipts(receipts)), Item::Refused);
    peer::WrittenItem { item: Some(item) }
}

fn heads(result: &ItemResult<Vec<Arc<SignedRecord>>>) -> peer::RecordsItem {
    use records_item::Item;
    let write = |heads: &Vec<Arc<SignedRecord>>| {
        Item::Heads(peer::Heads { records: encodings(heads.iter().map(Arc::as_ref)) })
    };
    peer::RecordsItem { item: Some(item(result, write, Item::Refused)) }
}

fn pair_view(view: &PairView) -> peer::PairView {
    let [primary_alive, mirror_alive] = view.alive;
    peer::PairView { record: view.record.encode(), primary_alive, mirror_alive }
}

fn rung(rung: Rung) -> peer::Rung {
    match rung {
        Rung::Local => peer::Rung::Local,
        Rung::Broadcast => peer::Rung::Broadcast,
        Rung::Kademlia => peer::Rung::Kademlia,
        Rung::Nowhere => peer::Rung::Nowhere,
    }
}

fn read(kind: Kind) -> Result<Response, WireError> {
    Ok(match kind {
        Kind::Hello(agreed) => Response::Hello {
            genesis: format(&agreed.genesis, "genesis")?,
            version: agreed.version,
            challenge: array(&agreed.challenge, "challenge")?,
        },
        Kind::Done(peer::Empty {}) => Response::Done,
        Kind::Receipts(receipts) => Response::Receipts(read_receipts(receipts)?),
        Kind::Shard(length) => Response::Shard { length },
        Kind::Held(peer::Held { held }) => Response::Held(list(held, "held", BATCH_ITEMS_MAX, Ok)?),
        Kind::Written(written) => {
            Response::Written(list(written.items, "written", BATCH_ITEMS_MAX, read_written)?)
        }
        Kind::Records(records) => {
            Response::Records(list(records.items, "records", BATCH_ITEMS_MAX, read_heads)?)
        }
        Kind::Stripe(stripe) => read_stripe(stripe)?,
        Kind::Table(table) => Response::Table(Box::new(Table {
            cards: formats(table.cards, "cards", TABLE_MAX)?,
            pairs: list(table.pairs, "pairs", TABLE_MAX, |view| read_pair_view(&view))?,
            next: table.next,
        })),
        Kind::Pair(pair) => Response::Pair(Box::new(format(&pair, "pair record")?)),
        Kind::Alive(peer::Empty {}) => Response::Alive,
        Kind::Located(located) => Response::Located(read_located(located)?),
        Kind::Reached(reached) => Response::Reached(reached),
        Kind::History(history) => {
            Response::History(formats(history.records, "pair records", HISTORY_MAX)?)
        }
        Kind::Summary(summary) => Response::Summary(read_summary(summary)?),
        Kind::Copy(copy) => Response::Copy(Box::new(ShardCopy {
            head: Arc::new(format(&copy.head, "shard head")?),
            lease_ms: copy.lease_ms,
            commit: copy.commit.map(|commit| format(&commit, "commit")).transpose()?,
        })),
        Kind::Tombstones(found) => {
            Response::Tombstones(formats(found.tombstones, "tombstones", BATCH_ITEMS_MAX)?)
        }
        Kind::Released(share) => Response::Released { share: array(&share, "share")? },
        Kind::Proof(proof) => Response::Proof(Digest(array(&proof, "proof")?)),
        Kind::Readings(said) => {
            Response::Readings(formats(said.readings, "readings", READINGS_MAX)?)
        }
        Kind::Refused(reason) => Response::Refused(read_refusal(reason)?),
    })
}

fn read_summary(summary: peer::Summary) -> Result<Summary, WireError> {
    use peer::summary::Summary as Kind;
    match summary.summary.ok_or(WireError::UnknownKind("summary"))? {
        Kind::Items(items) => Ok(Summary::Items(list(items.items, "items", ITEMS_MAX, |item| {
            if item.name.len() > ITEM_NAME_MAX {
                return Err(WireError::Invalid("item name"));
            }
            Ok(Item { name: item.name, digest: array(&item.digest, "item digest")? })
        })?)),
        Kind::Parts(parts) => {
            let (parts, rest) = parts.as_chunks::<16>();
            if parts.len() != SUMMARY_PARTS || !rest.is_empty() {
                return Err(WireError::Invalid("summary parts"));
            }
            Ok(Summary::Parts(parts.to_vec()))
        }
    }
}

fn read_receipts(receipts: peer::Receipts) -> Result<Vec<SignedReceipt>, WireError> {
    formats(receipts.receipts, "receipts", RECEIPTS_MAX)
}

fn read_written(item: peer::WrittenItem) -> Result<ItemResult<Vec<SignedReceipt>>, WireError> {
    use written_item::Item;
    match item.item {
        Some(Item::Receipts(receipts)) => Ok(Ok(read_receipts(receipts)?)),
        Some(Item::Refused(reason)) => Ok(Err(read_refusal(reason)?)),
        None => Err(WireError::UnknownKind("written")),
    }
}

fn read_heads(item: peer::RecordsItem) -> Result<ItemResult<Vec<Arc<SignedRecord>>>, WireError> {
    use records_item::Item;
    match item.item {
        Some(Item::Heads(heads)) => Ok(Ok(list(heads.records, "heads", HEADS_MAX, |record| {
            format(&record, "record").map(Arc::new)
        })?)),
        Some(Item::Refused(reason)) => Ok(Err(read_refusal(reason)?)),
        None => Err(WireError::UnknownKind("records")),
    }
}

fn read_pair_view(view: &peer::PairView) -> Result<PairView, WireError> {
    let record = format(&view.record, "pair record")?;
    Ok(PairView { record, alive: [view.primary_alive, view.mirror_alive] })
}

fn read_stripe(stripe: peer::Stripe) -> Result<Response, WireError> {
    let commit = stripe.commit.map(|commit| format(&commit, "commit")).transpose()?;
    let tombstone = stripe.tombstone.map(|one| format(&one, "tombstone")).transpose()?;
    Ok(Response::Stripe { indices: read_indices(&stripe.indices)?, commit, tombstone })
}

fn read_located(located: peer::Located) -> Result<Located, WireError> {
    let rung = match located.rung() {
        peer::Rung::Unspecified => return Err(WireError::UnknownKind("rung")),
        peer::Rung::Local => Rung::Local,
        peer::Rung::Broadcast => Rung::Broadcast,
        peer::Rung::Kademlia => Rung::Kademlia,
        peer::Rung::Nowhere => Rung::Nowhere,
    };
    Ok(Located {
        pairs: list(located.pairs, "pairs", LOCATED_MAX, |pair| Ok(PairId(array(&pair, "pair")?)))?,
        rung,
        messages: located.messages,
        round_trips: located.round_trips,
    })
}
