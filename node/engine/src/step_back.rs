//! A node that is about to stop says so first: its pair takes nothing new from then on, and who
//! reads asks its partner, so that nobody runs into a closed door.

use std::sync::atomic::Ordering;
use std::time::Duration;

use defs_core::port::Clock;

use crate::config::World;
use crate::engine::Engine;

/// How long a word takes to everybody, and requests that were on their way to come in.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl<W: World> Engine<W> {
    /// Tells everybody that this node is about to stop, and waits until that was heard. Only a
    /// start takes it back.
    pub async fn step_back(&self) {
        self.steps_back.store(true, Ordering::Relaxed);
        self.tell_card();
        self.clock.sleep(HEARD_WITHIN).await;
    }
}
