//! A client that stays open: puts, gets and looks up small files and tells how long it
//! took. A process of its own, so that its memory and processor time are its own.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use defs_client::connect::{Connection, Sought, connect};
use defs_client::keys::open_key;
use defs_client::{
    Client, ClientConfig, FileRef, GetOptions, Ports, PutOptions, Sink, Source, Ticket,
};
use defs_core::ids::FileId;
use defs_core::mode::Wish;
use defs_core::port::Randomness as _;
use defs_launch::{CpuPool, OsRandom, SystemClock, environment, load_settings};
use defs_port_suite::disk::noise;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::OwnerArgs;

/// Bytes of a small file.
const LENGTH: usize = 4096;

/// Files that are moved side by side.
const AT_ONCE: u32 = 16;

/// Files that are looked for and aren't there: each takes as long as a broadcast listens.
const ABSENT: u32 = 5;

/// How long the first node may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

type Owner = Client<Connection, SystemClock, OsRandom, CpuPool>;

/// What the process tells, as one JSON object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) put_seconds: f64,
    pub(crate) get_seconds: f64,
    pub(crate) looked: Vec<Looked>,
}

/// One look-up and the opening of what it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looked {
    pub(crate) by: String,
    pub(crate) micros: f64,
    pub(crate) messages: Option<u32>,
    pub(crate) round_trips: Option<u32>,
}

/// What the process is started for.
pub(crate) async fn run(args: &OwnerArgs) -> Result<()> {
    let settings = load_settings(None, environment(), Vec::new())?;
    let key = open_key(&args.home.join("key"), None)?;
    let bootstrap = args.bootstrap.clone();
    let sought = Sought { bootstrap, network: None, within: CONNECT_WITHIN };
    let (peers, contacts) = connect(&settings, &OsRandom, sought).await?;
    let compute = CpuPool::new(settings.workers)?;
    let ports = Ports { peers, clock: SystemClock::new(), random: OsRandom, compute };
    let config = ClientConfig::new(args.home.join("open-client"), key, contacts);
    let client = Client::open(ports, config).await?;
    let wish = settings.wish(false);

    let put_seconds = side_by_side(&client, args.files, move |client, number| {
        let wish = wish.clone();
        async move { put(&client, number, wish).await }
    })
    .await?;
    let get_seconds =
        side_by_side(
            &client,
            args.files,
            |client, number| async move { get(&client, number).await },
        )
        .await?;
    let looked = look_up(&client, args.lookups).await?;
    client.close().await;
    serde_json::to_writer(std::io::stdout(), &Told { put_seconds, get_seconds, looked })?;
    std::io::stdout().flush()?;
    Ok(())
}

/// Runs `step` for each number below `count`; answers the seconds that all took.
async fn side_by_side<F: Future<Output = Result<()>> + Send + 'static>(
    client: &Owner,
    count: u32,
    step: impl Fn(Owner, u32) -> F + Clone + Send + 'static,
) -> Result<f64> {
    let next = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let mut workers: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, step, next) = (client.clone(), step.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                step(client.clone(), number).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn name(number: u32) -> String {
    format!("small/{number}")
}

fn content(number: u32) -> Bytes {
    noise(number.into(), LENGTH)
}

async fn put(client: &Owner, number: u32, wish: Wish) -> Result<()> {
    let source = Source::Bytes(content(number));
    client.put(source, PutOptions::new(name(number), wish)).await?;
    Ok(())
}

/// Reads a file back and compares it.
async fn get(client: &Owner, number: u32) -> Result<()> {
    // Takes the whole file without being read meanwhile.
    let (to, mut from) = tokio::io::duplex(LENGTH + 1);
    let file = FileRef::Name(name(number));
    client.get(file, Sink::Writer(Box::new(to)), GetOptions::default()).await?;
    let mut back = Vec::with_capacity(LENGTH);
    from.read_to_end(&mut back).await?;
    ensure!(back == content(number), "{} came back with other bytes than were put", name(number));
    Ok(())
}

/// One after the other: by what the ticket hints at, and without any hint.
async fn look_up(client: &Owner, count: u32) -> Result<Vec<Looked>> {
    let mut looked = Vec::new();
    for number in 0..count {
        let hinted = ticket(client, number).await?;
        let mut bare = ticket(client, number).await?;
        bare.hints.clear();
        looked.push(look(client, hinted).await?);
        looked.push(look(client, bare).await?);
    }
    for _ in 0..ABSENT.min(count) {
        let mut absent = ticket(client, 0).await?;
        absent.file = FileId(OsRandom.array());
        absent.hints.clear();
        let began = Instant::now();
        ensure!(look(client, absent).await.is_err(), "a file was found that nobody put");
        let micros = began.elapsed().as_secs_f64() * 1e6;
        let by = "nobody, it is not there".to_owned();
        looked.push(Looked { by, micros, messages: None, round_trips: None });
    }
    Ok(looked)
}

async fn ticket(client: &Owner, number: u32) -> Result<Ticket> {
    let entry = client.find(&name(number)).await?;
    Ok(entry.with_context(|| format!("{} has no name", name(number)))?.ticket)
}

async fn look(client: &Owner, ticket: Ticket) -> Result<Looked> {
    let began = Instant::now();
    let sink = Sink::Writer(Box::new(tokio::io::sink()));
    let got = client.get(FileRef::Ticket(ticket), sink, GetOptions::default()).await?;
    Ok(Looked {
        by: got.lookup.by.to_string(),
        micros: began.elapsed().as_secs_f64() * 1e6,
        messages: Some(got.lookup.messages),
        round_trips: Some(got.lookup.round_trips),
    })
}
