//! Everything that happened, in its order: as a hash, and to be read when one run is
//! replayed.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use defs_core::ids::hex;
use defs_port_suite::Nature;
use tokio::time::Instant;

use crate::chance::Chance;

/// Where a replayed trace is written.
pub type Reader = Box<dyn Write + Send>;

/// Chance, and the record of what came of it.
pub struct Trace {
    began: Instant,
    chance: Chance,
    inner: Mutex<Inner>,
}

struct Inner {
    hasher: blake3::Hasher,
    events: u64,
    line: String,
    reader: Option<Reader>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Trace({} events)", self.inner().events)
    }
}

impl Trace {
    /// The trace of a run that begins now.
    #[must_use]
    pub fn new(seed: u64, reader: Option<Reader>) -> Self {
        let (hasher, line) = (blake3::Hasher::new(), String::new());
        Self {
            began: Instant::now(),
            chance: Chance::of(seed, "nature"),
            inner: Mutex::new(Inner { hasher, events: 0, line, reader }),
        }
    }

    /// The hash of all that happened so far, and how much that was.
    #[must_use]
    pub fn hash(&self) -> (String, u64) {
        let inner = self.inner();
        (hex(&inner.hasher.finalize().as_bytes()[..16]), inner.events)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nature for Trace {
    fn draw(&self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    fn note(&self, event: fmt::Arguments<'_>) {
        let micros = self.began.elapsed().as_micros();
        let mut inner = self.inner();
        let Inner { hasher, events, line, reader } = &mut *inner;
        line.clear();
        // Writing to a string can't fail.
        writeln!(line, "{:>4}.{:06} {event}", micros / 1_000_000, micros % 1_000_000).ok();
        hasher.update(line.as_bytes());
        *events += 1;
        if let Some(reader) = reader {
            // Whoever reads may have seen enough.
            reader.write_all(line.as_bytes()).ok();
        }
    }
}
