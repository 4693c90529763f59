//! How others reach this node: found out by the network below, told with the node's card.

use std::sync::PoisonError;

use defs_core::network::Reach;

use crate::config::World;
use crate::engine::Engine;

/// How others reach a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// Where it can be dialled, as multiaddresses.
    pub addresses: Vec<String>,
    /// Whether it can be.
    pub reach: Reach,
}

impl<W: World> Engine<W> {
    /// How others reach this node; what is new is told to everybody at once.
    pub fn set_contact(&self, contact: Contact) {
        let mut known = self.contact.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != contact {
            *known = contact;
            self.greet.notify_one();
        }
    }

    pub(crate) fn contact(&self) -> Contact {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
