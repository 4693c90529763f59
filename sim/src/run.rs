//! One run: a cluster, owners at work, faults, and what must be true of it all.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use defs_client::{FileRef, Ticket};
use defs_core::ids::PairId;
use defs_core::network::PairRecord;
use defs_port_suite::Nature as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::chance::Chance;
use crate::cluster::{CAPACITY, Cluster};
use crate::faults::Faults;
use crate::healing::{is_beyond_help, owed, work_done};
use crate::invariants::{
    Broken, History, all_that_hold_always, deleted_stays_deleted,
    no_acknowledged_byte_is_lost_while_losses_are_within_the_margin,
    no_disk_holds_what_it_never_got,
};
use crate::ledger::{Counts, SharedLedger, Standing};
use crate::margin::{Allowance, Margin};
use crate::owner::{Owner, get};
use crate::pace::Pace;
use crate::trace::{Reader, Trace};
use crate::workload::{ClientHosts, Worker, chain};

/// How long everything together goes on.
const RUN: Duration = Duration::from_secs(120);

/// How long before the end everything is put right.
const SETTLE: Duration = Duration::from_secs(45);

/// How long pairs may take to form in peace.
const FORMING: Duration = Duration::from_secs(20);

/// Between two looks at everything.
const LOOK: Duration = Duration::from_millis(500);

/// How long healing may take after everything was put right, and how long nothing is done
/// when it is over. At a run's usual times both are multiplied by what divides the others.
const HEALING: Duration = Duration::from_secs(120);
const IDLE: Duration = Duration::from_secs(5);

/// Sealed bytes that a node offers where there is little room.
const SMALL: u64 = 12 << 20;

/// How often a file is asked for before it counts as lost, and how long each may take.
const READS: usize = 4;
const READ: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of what.
    pub seed: u64,
    /// The claim that was false, if one was.
    pub broken: Option<Broken>,
    /// Of all that happened.
    pub hash: String,
    /// How much that was.
    pub events: u64,
    /// Machines at its beginning.
    pub nodes: usize,
    /// Virtual time.
    pub simulated: Duration,
    /// What clients did.
    pub counts: Counts,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, broken, hash, nodes, .. } = self;
        match broken {
            None => write!(out, "seed {seed}: well, {nodes} nodes, trace {hash}"),
            Some(broken) => write!(out, "seed {seed}: {broken}, {nodes} nodes, trace {hash}"),
        }
    }
}

thread_local! {
    /// Panics on this thread: a task that ends so would go unnoticed.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// From now on panics are counted where they happen.
pub fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panicked| {
            PANICS.set(PANICS.get() + 1);
            before(panicked);
        }));
    });
}

/// Runs `seed`. Whoever replays it gets the trace.
pub fn run(seed: u64, reader: Option<Reader>) -> Result<Outcome> {
    count_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("no runtime")?;
    let panics = PANICS.get();
    let outcome = runtime.block_on(Box::pin(whole_run(seed, reader)));
    // With it end all tasks of machines that are off.
    drop(runtime);
    let mut outcome = outcome?;
    if PANICS.get() > panics && outcome.broken.is_none() {
        let (claim, how) = ("nothing_panics", "a task panicked".to_owned());
        outcome.broken = Some(Broken { claim, how });
    }
    Ok(outcome)
}

struct Run {
    seed: u64,
    chance: Chance,
    pace: Pace,
    cluster: Cluster,
    ledger: SharedLedger,
    history: History,
    faults: Faults,
    clients: ClientHosts,
    tasks: TaskTracker,
    nodes: usize,
}

async fn whole_run(seed: u64, reader: Option<Reader>) -> Result<Outcome> {
    let mut run = Run::new(seed, reader);
    let broken = run.goes_on().await?.err();
    if let Some(broken) = &broken {
        run.cluster.trace.note(format_args!("BROKEN {broken}"));
    }
    let (hash, events) = run.cluster.trace.hash();
    run.cluster.network.end();
    Ok(Outcome {
        seed,
        broken,
        hash,
        events,
        nodes: run.nodes,
        simulated: run.cluster.began.elapsed(),
        counts: run.ledger.open().counts,
    })
}

impl Run {
    fn new(seed: u64, reader: Option<Reader>) -> Self {
        let (chance, pace) = (Chance::of(seed, "run"), Pace::of(seed));
        let nodes = 6 + chance.place(23);
        let mut cluster =
            Cluster::new(seed, Trace::new(seed, reader), pace.timings(), pace.weather());
        // Every fourth has so little room that some pairs are fuller than others.
        cluster.capacity = if chance.percent(25) { SMALL } else { CAPACITY };
        let margin = Margin::new(seed, Allowance::without_healing(nodes, &chance));
        let clients = ClientHosts::default();
        Self {
            seed,
            cluster,
            faults: Faults::new(seed, pace, margin, ClientHosts::clone(&clients)),
            chance,
            pace,
            ledger: SharedLedger::default(),
            history: History::default(),
            clients,
            tasks: TaskTracker::new(),
            nodes,
        }
    }

    /// All of it; the inner result says whether every claim held.
    async fn goes_on(&mut self) -> Result<Result<(), Broken>> {
        let over = Instant::now() + RUN;
        if let Err(broken) = self.begin().await {
            return Ok(Err(broken));
        }
        self.faults.turn(&mut self.cluster);
        let working = self.owners_work(over - SETTLE)?;
        if let Err(broken) = self.suffer(over - SETTLE).await {
            return Ok(Err(broken));
        }
        self.faults.end(&mut self.cluster).await;
        let mut owners = Vec::new();
        for worker in working {
            owners.push(worker.await.context("an owner's work panicked")??);
        }
        if let Err(broken) = self.settle(over).await {
            return Ok(Err(broken));
        }
        if let Err(broken) = self.healing_terminates().await {
            return Ok(Err(broken));
        }
        self.judge(&owners).await
    }

    async fn begin(&mut self) -> Result<(), Broken> {
        for _ in 0..self.nodes {
            self.cluster.add().await;
            sleep(self.chance.between(Duration::ZERO, Duration::from_millis(100))).await;
        }
        let have_formed = self.cluster.pairs_form(self.nodes / 2, FORMING).await;
        let known = self.cluster.pairs().len();
        if have_formed {
            return Ok(());
        }
        let mut how = format!("{known} of {}", self.nodes / 2);
        for (node, _, life) in self.cluster.running() {
            let pairs = life.engine.table().pairs;
            for pair in pairs.iter().filter(|pair| pair.alive != [true; 2]) {
                let PairRecord { pair: id, members, .. } = &pair.record.record;
                how.push_str(&format!("; {node} sees {id} of {members:?} as {:?}", pair.alive));
            }
            if pairs.len() != self.nodes / 2 {
                how.push_str(&format!(
                    "; {node} knows {} pairs, is {:?}",
                    pairs.len(),
                    life.engine.status().pair
                ));
            }
        }
        Err(Broken { claim: "all_pairs_form_in_peace", how })
    }

    fn owners_work(&self, over: Instant) -> Result<Vec<JoinHandle<Result<Owner>>>> {
        let mut working = Vec::new();
        for number in 1..=1 + self.chance.below(3) {
            let owner = Owner::new(number, &self.cluster)?;
            let (ledger, trace) = (self.ledger.clone(), std::sync::Arc::clone(&self.cluster.trace));
            let hosts = ClientHosts::clone(&self.clients);
            let worker = Worker::new(owner, self.seed, ledger, trace, hosts);
            working.push(self.tasks.spawn(worker.work(over)));
        }
        Ok(working)
    }

    /// Things go wrong until `over`.
    async fn suffer(&mut self, over: Instant) -> Result<(), Broken> {
        let (least, most) = match self.pace {
            Pace::Fast => (Duration::from_millis(100), Duration::from_secs(4)),
            Pace::Usual => (Duration::from_secs(1), Duration::from_secs(8)),
        };
        let mut next = Instant::now() + self.chance.between(least, most);
        while Instant::now() < over {
            sleep(LOOK).await;
            self.faults.mend(&mut self.cluster).await;
            if Instant::now() >= next {
                self.faults.strike(&mut self.cluster).await;
                next = Instant::now() + self.chance.between(least, most);
            }
            self.look()?;
        }
        Ok(())
    }

    async fn settle(&mut self, over: Instant) -> Result<(), Broken> {
        while Instant::now() < over {
            sleep(LOOK * 4).await;
            self.look()?;
        }
        Ok(())
    }

    /// After faults have stopped everything is whole again within a bounded time, and then
    /// nobody heals any more.
    async fn healing_terminates(&mut self) -> Result<(), Broken> {
        let claim = "healing_terminates";
        let over = Instant::now() + HEALING * self.pace.times_usual();
        let mut idle_since = Instant::now();
        let mut done = work_done(&self.cluster);
        loop {
            self.cluster.pairs();
            let owed = owed(&self.cluster, &self.ledger.open());
            let now = work_done(&self.cluster);
            if owed.is_some() || now != done {
                (idle_since, done) = (Instant::now(), now);
            }
            if idle_since.elapsed() >= IDLE * self.pace.times_usual() {
                return Ok(());
            }
            if Instant::now() >= over {
                let how = owed.unwrap_or_else(|| format!("{now} requests, and no end"));
                return Err(Broken { claim, how });
            }
            sleep(LOOK).await;
            self.look()?;
        }
    }

    fn look(&mut self) -> Result<(), Broken> {
        // What holds of a pair is asked of its members as they are now.
        self.cluster.pairs();
        let ledger = self.ledger.open();
        all_that_hold_always(&self.cluster, &ledger, &mut self.history)
    }

    /// Reads everything that was ever put, as on a new machine with the owner's key.
    async fn judge(&mut self, owners: &[Owner]) -> Result<Result<(), Broken>> {
        let mut read = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for owner in owners {
            let (client, _host) = owner.elsewhere()?.open().await?;
            let files: Vec<_> = {
                let ledger = self.ledger.open();
                let its = ledger.files.iter().filter(|(_, file)| file.owner == owner.number);
                its.map(|(number, file)| (*number, file.clone())).collect()
            };
            for (number, file) in files {
                let Some(ticket) = &file.ticket else { continue };
                let mut why = String::new();
                let tries = if file.standing == Standing::Stored { READS } else { 1 };
                for attempt in 0..tries {
                    if attempt > 0 {
                        sleep(Duration::from_secs(5)).await;
                    }
                    let ticket = Ticket::from_str(ticket).context("a ticket was not kept")?;
                    let getting = Box::pin(get(&client, FileRef::Ticket(ticket)));
                    match timeout(READ, getting).await {
                        Ok(Ok(bytes)) => {
                            self.ledger.open().read(&file, &bytes);
                            read.insert(number, true);
                            break;
                        }
                        Ok(Err(error)) => why = chain(&error),
                        Err(_) => "it took too long".clone_into(&mut why),
                    }
                }
                if !read.contains_key(&number) {
                    self.cluster.trace.note(format_args!("{} is not read: {why}", file.name));
                    unread.insert(number, why);
                }
            }
            client.close().await;
        }
        Ok(self.verdict(&read, &unread))
    }

    fn verdict(
        &mut self,
        read: &BTreeMap<u64, bool>,
        unread: &BTreeMap<u64, String>,
    ) -> Result<(), Broken> {
        self.look()?;
        no_disk_holds_what_it_never_got(&self.cluster, self.cluster.rotten())?;
        let ledger = self.ledger.open();
        // A manifest on two pairs does not bear the loss of one of them, and one on three not that
        // of two; one member whose witnesses are lost too speaks for its pair no more.
        let known = self.cluster.known_pairs();
        let speaks = |pair: &&PairId| {
            known.get(*pair).is_some_and(|record| !is_beyond_help(&self.cluster, record))
        };
        let is_too_much = |pairs: &[PairId]| {
            !pairs.is_empty() && pairs.iter().filter(speaks).count() < pairs.len() / 2 + 1
        };
        let excepted: BTreeSet<_> = ledger
            .files
            .iter()
            .filter(|(_, file)| is_too_much(&file.pairs))
            .map(|(number, _)| *number)
            .collect();
        deleted_stays_deleted(&self.cluster, &ledger, read)?;
        no_acknowledged_byte_is_lost_while_losses_are_within_the_margin(&ledger, unread, &excepted)
    }
}
