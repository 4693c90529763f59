//! What owners do: put, get and delete files, one after the other, each for itself.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use defs_client::{FileRef, PutOptions, SliceStatus, Source};
use defs_core::ids::PairId;
use defs_core::message::ShardKey;
use defs_core::mode::{Durability, Mode, Wish};
use defs_core::size::Size;
use defs_port_suite::{Host, Nature as _};
use tokio::time::{Instant, sleep, timeout};

use crate::chance::Chance;
use crate::ledger::{File, SharedLedger, Standing};
use crate::owner::{Owner, get};
use crate::ports::SimClient;
use crate::trace::Trace;

/// How long an owner waits for one thing before it gives it up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two things that an owner does.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(2500));

/// How long an owner's machine is off.
const OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// Files of an owner: later ones are only read and deleted.
const FILES_MAX: usize = 30;

/// The largest file.
const LENGTH_MAX: u64 = 160 << 10;

/// The machines on which clients run now, to be switched off by whoever likes.
pub type ClientHosts = Arc<Mutex<Vec<Arc<Host>>>>;

/// One owner at work.
#[derive(Debug)]
pub struct Worker {
    owner: Owner,
    chance: Chance,
    ledger: SharedLedger,
    trace: Arc<Trace>,
    hosts: ClientHosts,
}

impl Worker {
    /// An owner who will work on `ledger`.
    pub fn new(
        owner: Owner,
        seed: u64,
        ledger: SharedLedger,
        trace: Arc<Trace>,
        hosts: ClientHosts,
    ) -> Self {
        let chance = Chance::of(seed, &format!("work of owner {}", owner.number));
        Self { owner, chance, ledger, trace, hosts }
    }

    /// Works until `over`, through all ends of its machine, and gives the owner back.
    pub async fn work(mut self, over: Instant) -> anyhow::Result<Owner> {
        while Instant::now() < over {
            let (client, host) = self.owner.open().await?;
            self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&host));
            let number = self.owner.number;
            self.trace.note(format_args!("owner {number} begins"));
            // Its machine may end while it waits for what it writes in the background, too.
            let working = async {
                self.work_with(&client, over).await;
                client.close().await;
            };
            if host.life().run_until_cancelled(working).await.is_some() {
                break;
            }
            self.trace.note(format_args!("owner {number} ended in the middle"));
            self.ledger.open().counts.clients_ended += 1;
            sleep(self.chance.between(OFF.0, OFF.1)).await;
        }
        Ok(self.owner)
    }

    async fn work_with(&self, client: &SimClient, over: Instant) {
        while Instant::now() < over {
            sleep(self.chance.between(PAUSE.0, PAUSE.1)).await;
            let stored = self.ledger.open().of(self.owner.number, Standing::Stored);
            let mine = self.ledger.open().files.len();
            match (self.chance.below(100), self.chance.pick(&stored)) {
                (0..50, _) if mine < FILES_MAX => self.put(client).await,
                (_, None) => self.put(client).await,
                (0..80, Some(number)) => self.get(client, *number).await,
                (_, Some(number)) => self.remove(client, *number).await,
            }
        }
    }

    async fn put(&self, client: &SimClient) {
        let (wish, length) = self.draw_wish();
        let number = self.ledger.open().begin(self.owner.number, length);
        let Some(file) = self.file(number) else { return };
        let (mode, data, parity) = (wish.mode, wish.data, wish.parity);
        let options = PutOptions::new(file.name.clone(), wish);
        let source = Source::Bytes(file.content.bytes());
        let put = in_time(client.put(source, options)).await;
        let how = format!("puts {} of {length} bytes as {mode} {data:?}+{parity:?}", file.name);
        let shards = match &put {
            Some(Ok(_)) => shards_of(client, &file.name).await,
            _ => Vec::new(),
        };
        let mut ledger = self.ledger.open();
        match put {
            Some(Ok(put)) => {
                ledger.counts.puts += 1;
                let slot = ledger.files.get_mut(&number);
                if let Some(file) = slot {
                    file.ticket = Some(put.ticket.to_text().to_string());
                    file.pairs.clone_from(&put.ticket.hints);
                    file.shards = shards;
                    file.standing = Standing::Stored;
                }
                self.note(&how, "stored");
            }
            Some(Err(error)) => {
                ledger.counts.puts_failed += 1;
                self.note(&how, &chain(&error));
            }
            None => {
                ledger.counts.puts_failed += 1;
                self.note(&how, "given up");
            }
        }
    }

    async fn get(&self, client: &SimClient, number: u64) {
        let Some(file) = self.file(number) else { return };
        let got = in_time(get(client, FileRef::Name(file.name.clone()))).await;
        let how = format!("gets {}", file.name);
        let mut ledger = self.ledger.open();
        match got {
            Some(Ok(bytes)) => {
                ledger.counts.gets += 1;
                ledger.read(&file, &bytes);
                self.note(&how, "there");
            }
            Some(Err(error)) => {
                ledger.counts.gets_failed += 1;
                self.note(&how, &chain(&error));
            }
            None => {
                ledger.counts.gets_failed += 1;
                self.note(&how, "given up");
            }
        }
    }

    async fn remove(&self, client: &SimClient, number: u64) {
        let Some(file) = self.file(number) else { return };
        self.ledger.open().stands(number, Standing::Leaving);
        let removed = in_time(client.remove(&file.name)).await;
        let how = format!("removes {}", file.name);
        let mut ledger = self.ledger.open();
        match removed {
            Some(Ok(removed)) => {
                ledger.counts.removes += 1;
                if let Some(file) = ledger.files.get_mut(&number) {
                    file.standing = Standing::Deleted;
                    file.all_told = removed.not_told == 0;
                }
                self.note(&how, "removed");
            }
            Some(Err(error)) => {
                ledger.counts.removes_failed += 1;
                self.note(&how, &chain(&error));
            }
            None => {
                ledger.counts.removes_failed += 1;
                self.note(&how, "given up");
            }
        }
    }

    fn file(&self, number: u64) -> Option<File> {
        self.ledger.open().files.get(&number).cloned()
    }

    fn note(&self, how: &str, outcome: &str) {
        self.trace.note(format_args!("owner {} {how}: {outcome}", self.owner.number));
    }

    fn draw_wish(&self) -> (Wish, usize) {
        let length = match self.chance.below(4) {
            0 => self.chance.below(16 << 10),
            1 => self.chance.below(64 << 10),
            _ => self.chance.below(LENGTH_MAX),
        };
        let (mode, coded) = match self.chance.below(5) {
            0 => (Mode::Auto, None),
            1 => (Mode::File, None),
            2 => (Mode::Slice, None),
            3 => (Mode::RsProportion, None),
            _ => (Mode::RsSize, self.chance.pick(&[(2, 1), (2, 2), (4, 2), (3, 3)]).copied()),
        };
        let wish = Wish {
            mode,
            data: coded.map(|(data, _)| data),
            parity: coded.map(|(_, parity)| parity),
            parity_permille: 400,
            durability: Durability::ONE_PAIR,
            shard_size: Size::kib(64),
            slice_min: Size::kib(64),
            slice_max: Size::kib(if mode == Mode::File { 256 } else { 64 }),
            unsafe_placement: false,
        };
        (wish, usize::try_from(length).unwrap_or(0))
    }
}

/// Where the shards of what stands under `name` are; none if that can't be learnt now.
async fn shards_of(client: &SimClient, name: &str) -> Vec<(ShardKey, PairId)> {
    let asking = client.stat(FileRef::Name(name.to_owned()), false);
    let Some(Ok(status)) = in_time(asking).await else { return Vec::new() };
    let of = |slice: SliceStatus| {
        let stripe = slice.stripe;
        let key = move |index| ShardKey { stripe, index };
        slice.shards.into_iter().map(move |shard| (key(shard.index), shard.named))
    };
    status.slices.into_iter().flat_map(of).collect()
}

async fn in_time<T>(doing: impl Future<Output = T>) -> Option<T> {
    timeout(PATIENCE, Box::pin(doing)).await.ok()
}

/// An error and its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(" < ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
