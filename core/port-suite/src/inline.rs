//! Computing where one stands.

use defs_core::port::Compute;

/// Runs work at once on the thread that asks for it: the same order on every run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

impl Compute for Inline {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
}
