//! The machine's processors: a fixed number of threads for work that takes long.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use defs_core::port::Compute;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

/// A pool of `workers` threads. Work waits outside of it until a worker is free, so that
/// dropping the waiting future takes the work back and nothing piles up.
///
/// Rayon rather than Tokio's blocking threads: a hand-off and back costs 7 µs against 12
/// to 28, and work may split itself (`rayon::join`) over idle workers.
#[derive(Debug, Clone)]
pub struct CpuPool {
    threads: Arc<rayon::ThreadPool>,
    free: Arc<Semaphore>,
}

/// The operating system refused the threads.
#[derive(Debug, Error)]
#[error("failed to start {workers} worker threads")]
pub struct PoolError {
    workers: usize,
    source: rayon::ThreadPoolBuildError,
}

impl CpuPool {
    /// A pool of `workers` threads; `None`: one for each core this process may use.
    pub fn new(workers: Option<u32>) -> Result<Self, PoolError> {
        let workers = workers
            .and_then(|workers| usize::try_from(workers).ok().and_then(NonZeroUsize::new))
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|index| format!("compute-{index}"))
            .build()
            .map_err(|source| PoolError { workers, source })?;
        Ok(Self { threads: Arc::new(threads), free: Arc::new(Semaphore::new(workers)) })
    }

    /// Threads of the pool.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.current_num_threads()
    }
}

impl Compute for CpuPool {
    #[expect(clippy::expect_used, reason = "the semaphore is never closed, each work answers")]
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let free = Arc::clone(&self.free);
        let worker = free.acquire_owned().await.expect("nobody closes the semaphore");
        let (answer, answered) = oneshot::channel();
        self.threads.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            // The worker is free before whoever waits learns of it.
            drop(worker);
            // A caller that has gone away wants no answer.
            drop(answer.send(outcome));
        });
        match answered.await.expect("every work sends its outcome") {
            Ok(value) => value,
            // A bug in the work is a bug in the caller: it ends there, not in the pool.
            Err(panicked) => resume_unwind(panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn pool(workers: u32) -> CpuPool {
        CpuPool::new(Some(workers)).unwrap()
    }

    #[test]
    fn the_pool_has_the_workers_that_were_asked_for() {
        assert_eq!(pool(3).workers(), 3);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(CpuPool::new(None).unwrap().workers(), cores);
    }

    #[tokio::test]
    async fn work_runs_on_a_worker_and_its_value_comes_back() {
        let name = pool(1).run(|| std::thread::current().name().map(str::to_owned)).await;
        assert_eq!(name.as_deref(), Some("compute-0"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn never_more_works_run_than_there_are_workers() {
        let pool = pool(2);
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let works = (0..64).map(|_| {
            let (pool, running, most) = (pool.clone(), Arc::clone(&running), Arc::clone(&most));
            async move {
                pool.run(move || {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                })
                .await;
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        works.for_each(|work| {
            tasks.spawn(work);
        });
        tasks.join_all().await;
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn work_whose_caller_gave_up_waiting_never_runs() {
        let pool = pool(1);
        let (release, released) = mpsc::channel::<()>();
        let (began, has_began) = oneshot::channel();
        let busy = tokio::task::JoinSet::from_iter([{
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    began.send(()).unwrap();
                    released.recv().ok();
                })
                .await;
            }
        }]);
        has_began.await.unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        let waiting = pool.run(move || counted.fetch_add(1, Ordering::SeqCst));
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
        release.send(()).unwrap();
        tokio::time::timeout(SOON, busy.join_all()).await.unwrap();
        // The only worker has done everything that came before this.
        pool.run(|| ()).await;
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_panic_in_the_work_reaches_its_caller_and_spares_the_worker() {
        let pool = pool(1);
        let caller = pool.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { caller.run(|| panic!("a bug")).await });
        let outcome: Result<(), _> = tasks.join_next().await.unwrap();
        assert!(outcome.unwrap_err().is_panic());
        assert_eq!(pool.run(|| 7).await, 7);
    }
}
