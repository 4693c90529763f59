//! What is told to everybody: cards and pair records under one topic, queries under
//! another, so that a flood of queries can't hold the table of pairs back.

use defs_core::message::Gossip;
use defs_core::port::{Service, Verdict};
use defs_wire::{decode_gossip, encode_gossip};
use libp2p::gossipsub::{Behaviour, Event, IdentTopic, MessageAcceptance, PublishError};

use crate::stats::Counters;

fn pairs() -> IdentTopic {
    IdentTopic::new("defs/pairs/1")
}

fn index() -> IdentTopic {
    IdentTopic::new("defs/index/1")
}

fn topic_of(message: &Gossip) -> IdentTopic {
    match message {
        Gossip::Card(_) | Gossip::Pair(_) | Gossip::Wish { .. } => pairs(),
        Gossip::Query { .. } | Gossip::Moved(_) => index(),
    }
}

/// Listens to both topics.
pub(crate) fn subscribe(
    gossip: &mut Behaviour,
) -> Result<(), libp2p::gossipsub::SubscriptionError> {
    gossip.subscribe(&pairs())?;
    gossip.subscribe(&index())?;
    Ok(())
}

/// Sends `message` to everybody, best effort.
pub(crate) fn publish(gossip: &mut Behaviour, message: &Gossip, counters: &Counters) {
    match gossip.publish(topic_of(message), encode_gossip(message)) {
        Ok(_) => counters.gossip_sent.add(1),
        // Alone, or told before: nobody misses anything.
        Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
        Err(error) => {
            counters.gossip_dropped.add(1);
            tracing::debug!(%error, "a message could not be gossiped");
        }
    }
}

/// Has the service judge a message, and passes it on if that says so.
pub(crate) fn hear(
    gossip: &mut Behaviour,
    event: Event,
    service: &impl Service,
    counters: &Counters,
) {
    let Event::Message { propagation_source, message_id, message } = event else { return };
    counters.gossip_heard.add(1);
    let verdict = match decode_gossip(&message.data) {
        Ok(heard) if topic_of(&heard).hash() == message.topic => service.hear(heard),
        _ => Verdict::Reject,
    };
    let acceptance = match verdict {
        Verdict::PassOn => MessageAcceptance::Accept,
        Verdict::Ignore => MessageAcceptance::Ignore,
        Verdict::Reject => MessageAcceptance::Reject,
    };
    gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
}
