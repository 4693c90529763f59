//! Owners who write and read while a case breaks things.

mod history;
mod owner;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use defs_core::port::Randomness;
use defs_e2e::noise;
use defs_launch::OsRandom;
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::Network;
use crate::wait::eventually;

pub use history::History;
use history::{Object, Read, Verdict};
pub use owner::Owner;

/// Between two tries of a read that failed.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A read that got nothing for so long is given up.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A write that takes longer is broken off. It may have been done, and nobody was told so.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// Objects that are read at once when all are read.
const SIDE_BY_SIDE: usize = 4;

/// How much is written and read.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Between two small objects, of up to 48 KiB: half of them lie inside their manifest.
    pub small_every: Duration,
    /// Between two objects of 4 MiB.
    pub large_every: Duration,
    /// Readers, each of which reads all the time.
    pub readers: usize,
    /// Small and large objects that are written at most.
    pub most: [usize; 2],
}

impl Load {
    /// What leaves two cores time for a Kubernetes.
    pub const USUAL: Self = Self {
        small_every: Duration::from_millis(250),
        large_every: Duration::from_secs(4),
        readers: 2,
        // As much as the longest case can write: what is written is copied at each repair.
        most: [1800, 120],
    };

    /// Between two reads of one reader.
    const READ_EVERY: Duration = Duration::from_millis(25);
}

const SMALL_MAX: u64 = 48 << 10;
const LARGE: usize = 4 << 20;

/// Owners at work. Ends with the value.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    owner: Owner,
    history: Mutex<History>,
    started: Instant,
}

impl Workload {
    /// Starts with the usual load.
    pub async fn start(network: &Network<'_>) -> Result<Self> {
        Self::with(network, Load::USUAL).await
    }

    /// Starts with another load.
    pub async fn with(network: &Network<'_>, load: Load) -> Result<Self> {
        let owner = Owner::of(network).await?;
        let history = Mutex::new(History::default());
        let shared = Arc::new(Shared { owner, history, started: Instant::now() });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let [small, large] = load.most;
        for (kind, every, most) in
            [(Kind::Small, load.small_every, small), (Kind::Large, load.large_every, large)]
        {
            let shared = Arc::clone(&shared);
            let writing = async move { shared.write(kind, every, most).await };
            tasks.spawn(stop.clone().run_until_cancelled_owned(writing));
        }
        for _ in 0..load.readers {
            let shared = Arc::clone(&shared);
            let reading = async move { shared.read_on().await };
            tasks.spawn(stop.clone().run_until_cancelled_owned(reading));
        }
        let _stop_on_drop = stop.clone().drop_guard();
        Ok(Self { shared, tasks, stop, _stop_on_drop })
    }

    /// Waits until so many small and large objects more than now are acknowledged.
    pub async fn has_written(&self, [small, large]: [usize; 2], within: Duration) -> Result<()> {
        let before = self.shared.history().written();
        let wanted = [before[0] + small, before[1] + large];
        eventually("objects are written", within, async || {
            let history = self.shared.history();
            let [small, large] = history.written();
            ensure!(
                small >= wanted[0] && large >= wanted[1],
                "{small} small and {large} large ones of {wanted:?}: {:?}",
                history.last_refusal()
            );
            Ok(())
        })
        .await
    }

    /// What has happened so far.
    #[must_use]
    pub fn so_far(&self) -> History {
        self.shared.history().clone()
    }

    /// Ends, and reads every acknowledged object once more.
    pub async fn finish(self) -> Result<History> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let objects = self.shared.history().objects().to_vec();
        let read_all = futures::stream::iter(objects).map(|object| self.shared.read(object));
        read_all.buffer_unordered(SIDE_BY_SIDE).collect::<Vec<()>>().await;
        let history = self.so_far();
        history.check()?;
        Ok(history)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Small,
    Large,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes objects of a kind, one after the other.
    async fn write(&self, kind: Kind, every: Duration, most: usize) {
        for number in 0..most {
            let seed = u64::from_le_bytes(OsRandom.array());
            let (name, length) = match kind {
                Kind::Small => (format!("small-{number}"), usize::try_from(seed % SMALL_MAX)),
                Kind::Large => (format!("large-{number}"), Ok(LARGE)),
            };
            let object = Object { name, seed, length: length.unwrap_or(LARGE) };
            let put = self.owner.put(&object.name, noise(seed, object.length));
            // Only what was acknowledged must be there.
            match timeout(WRITE_WITHIN, put).await {
                Ok(Ok(_)) => self.history().wrote(object),
                Ok(Err(error)) => self.history().was_refused(&format!("{error:#}")),
                Err(_elapsed) => self.history().was_refused("no answer"),
            }
            sleep(every).await;
        }
    }

    /// Reads objects that were acknowledged, any of them.
    async fn read_on(&self) {
        loop {
            let drawn = self.history().draw(u64::from_le_bytes(OsRandom.array()));
            if let Some(object) = drawn {
                self.read(object).await;
            }
            sleep(Load::READ_EVERY).await;
        }
    }

    /// Reads an object until it is there, as an application does that is told to try again.
    async fn read(&self, object: Object) {
        let began = Instant::now();
        let mut read = Read {
            name: object.name.clone(),
            at: began - self.started,
            lasted: Duration::ZERO,
            failures: Vec::new(),
            verdict: Verdict::Unreadable,
        };
        while began.elapsed() < READ_WITHIN {
            match timeout(READ_WITHIN, self.owner.get(&object.name)).await {
                Ok(Ok(bytes)) => {
                    let is_equal = bytes == noise(object.seed, object.length);
                    read.verdict = if is_equal { Verdict::Equal } else { Verdict::Differs };
                    break;
                }
                Ok(Err(error)) => read.failures.push(format!("{error:#}")),
                Err(_elapsed) => read.failures.push("no answer".to_owned()),
            }
            sleep(READ_AGAIN_AFTER).await;
        }
        read.lasted = began.elapsed();
        self.history().read(read);
    }
}
