//! How fast it goes with ten engines in this process, on this machine's cores. Not a
//! test of a limit: run it by name to see figures.

use std::time::{Duration, Instant};

use bytes::Bytes;
use defs_client::{FileRef, GetOptions, PutOptions, Sink, Source};

use crate::net::Net;
use crate::together::{content, wish};

/// What has passed of wall time, and of all cores' time in this process.
struct Stopwatch(Instant, Duration);

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement")]
impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), Self::busy())
    }

    fn busy() -> Duration {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 =
            [11, 12].into_iter().map(|place| fields[place].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn says(&self, what: &str, count: f64, unit: &str) {
        let (wall, busy) = (self.0.elapsed().as_secs_f64(), (Self::busy() - self.1).as_secs_f64());
        let two_cores = 2.0 * count / busy;
        println!(
            "{what}: {:.0} {unit}/s; {busy:.1} core-s, {two_cores:.0} {unit}/s if two cores were free",
            count / wall
        );
    }
}

const CALLERS: u32 = 16;
const EACH: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rates_of_small_files() {
    let net = Net::with(10).await;
    let home = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let client = net.client(home.path(), 0xc1).await;
    let small: Bytes = content(4096, 1);
    client.view().await.unwrap();

    let watch = Stopwatch::start();
    let puts = (0..CALLERS).map(|caller| {
        let (client, small) = (client.clone(), small.clone());
        net.spawn(async move {
            for number in 0..EACH {
                let options = PutOptions::new(format!("{caller}/{number}"), wish());
                client.put(Source::Bytes(small.clone()), options).await.unwrap();
            }
        })
    });
    futures::future::join_all(puts.collect::<Vec<_>>()).await;
    let count = f64::from(CALLERS * EACH);
    watch.says("small puts", count, "files");

    for round in 0..2 {
        let watch = Stopwatch::start();
        let gets = (0..CALLERS).map(|caller| {
            let client = client.clone();
            net.spawn(async move {
                for number in 0..EACH {
                    let sink = Sink::Writer(Box::new(tokio::io::sink()));
                    let file = FileRef::Name(format!("{caller}/{number}"));
                    client.get(file, sink, GetOptions::default()).await.unwrap();
                }
            })
        });
        futures::future::join_all(gets.collect::<Vec<_>>()).await;
        watch.says(&format!("small gets, round {round}"), count, "files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn rates_of_a_large_file() {
    let net = Net::with(10).await;
    let home = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let client = net.client(home.path(), 0xc1).await;
    let path = home.path().join("large");
    let length = 512 << 20;
    std::fs::write(&path, content(length, 2)).unwrap();
    let mib = 512.0;
    let watch = Stopwatch::start();
    client.put(Source::File(path), PutOptions::new("large", wish())).await.unwrap();
    watch.says("large put", mib, "MiB");
    let watch = Stopwatch::start();
    let sink = Sink::File(home.path().join("back"));
    client.get(FileRef::Name("large".into()), sink, GetOptions::default()).await.unwrap();
    watch.says("large get", mib, "MiB");
}
