//! A process that stores, deletes and compacts is killed at a random moment, again and
//! again. What it had acknowledged must be there, what it had deleted must be gone, and
//! what was under way must be there whole or not at all.
//!
//! The process is this test binary, told on its standard input what to do. It says on
//! its standard output what it begins and what it was acknowledged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use defs_core::port::Disk;
use defs_port_suite::disk::{NETWORK, Sample, record};
use defs_store::Store;
use process::{Cut, Said, cut, open, random};

/// Each takes about half a second on two cores.
const CUTS: u64 = 20;

/// What the disk must hold after a cut.
#[derive(Debug, Default)]
struct Model {
    /// Seeds and lengths of shards that are there.
    shards: BTreeMap<u64, usize>,
    /// Shards that may or may not be there.
    open: BTreeMap<u64, usize>,
    /// The newest acknowledged version of each record, and the newest that was begun.
    records: BTreeMap<u64, (u64, u64)>,
}

impl Model {
    fn hear(&mut self, said: Said) {
        match said {
            Said::Storing { seed, length } => {
                self.open.insert(seed, length);
            }
            Said::Stored { seed } => {
                let length = self.open.remove(&seed).unwrap();
                self.shards.insert(seed, length);
            }
            Said::Deleting { seed } => {
                let length = self.shards.remove(&seed).unwrap();
                self.open.insert(seed, length);
            }
            Said::Deleted { seed } => {
                self.open.remove(&seed).unwrap();
            }
            Said::Writing { seed, counter } => {
                self.records.entry(seed).or_default().1 = counter;
            }
            Said::Written { seed, counter } => {
                self.records.entry(seed).or_default().0 = counter;
            }
        }
    }

    /// Compares the disk with the model; what was open is settled by what is there.
    async fn check(&mut self, store: &Store, folder: &Path, touched: &BTreeSet<u64>) {
        for (seed, length) in std::mem::take(&mut self.open) {
            let sample = Sample::alone(seed, length);
            if store.shard(sample.key()).await.unwrap().is_some() {
                self.shards.insert(seed, length);
            }
        }
        let mut keys = BTreeSet::new();
        let (mut used, mut files) = (0, 0);
        for (&seed, &length) in &self.shards {
            let sample = Sample::alone(seed, length);
            if touched.contains(&seed) {
                assert!(sample.is_whole_on(store).await.unwrap(), "shard {seed} of {length}");
                assert!(store.verify(sample.key()).await.unwrap(), "shard {seed} of {length}");
            }
            keys.insert(sample.key());
            used += sample.length();
            files += usize::from(sample.length() >= defs_store::FILE_MIN);
        }
        let listed = store.shards_after(None, usize::MAX).await.unwrap();
        let listed: BTreeSet<_> = listed.into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, keys);
        for (&seed, versions) in &mut self.records {
            used += check_record(store, seed, versions).await;
        }
        assert_eq!(store.usage().used, used);
        assert_eq!(store.usage().shards, keys.len() as u64);
        assert_eq!(process::count(&folder.join("tmp")), 0);
        assert_eq!(process::count_below(&folder.join("shards")), files);
    }
}

/// Answers with its sealed bytes.
async fn check_record(store: &Store, seed: u64, versions: &mut (u64, u64)) -> u64 {
    let version = |counter| record(seed, 0, counter, process::RECORD_LENGTH);
    let found = store.records(vec![version(1).body.key]).await.unwrap().remove(0);
    let (written, begun) = *versions;
    match found.first() {
        None => {
            assert_eq!(written, 0, "record {seed}");
            0
        }
        Some(head) => {
            let counter = head.body.counter;
            assert!((written..=begun).contains(&counter), "record {seed}: {counter}");
            assert_eq!(found, vec![version(counter)]);
            *versions = (counter, counter);
            process::RECORD_LENGTH as u64
        }
    }
}

/// Cuts one store again and again.
fn run(seed: u64) {
    process::tell(&format!("campaign seed {seed}\n"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).close();
    let (mut model, mut acknowledged) = (Model::default(), 0);
    for round in 0..CUTS {
        let cut = cut(folder.path(), &Cut::draw(&mut random(seed * 1000 + round), round));
        acknowledged += cut.iter().filter(|said| said.is_acknowledgement()).count();
        let touched = cut.iter().map(Said::seed).collect();
        cut.into_iter().for_each(|said| model.hear(said));
        let store = open(folder.path());
        runtime.block_on(model.check(&store, folder.path(), &touched));
        store.close();
    }
    let store = open(folder.path());
    let all = model.shards.keys().copied().collect();
    runtime.block_on(model.check(&store, folder.path(), &all));
    store.close();
    // A campaign that cuts nothing would prove nothing.
    assert!(acknowledged > 100, "{acknowledged} acknowledgements in {CUTS} cuts");
    let report = defs_store::fsck(folder.path(), NETWORK, false).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.whole, model.shards.len() as u64);
}

macro_rules! campaigns {
    ($($name:ident $seed:literal)*) => {
        $(
            #[test]
            fn $name() {
                run($seed);
            }
        )*
    };
}

campaigns! {
    campaign_01 1
    campaign_02 2
    campaign_03 3
    campaign_04 4
    campaign_05 5
    campaign_06 6
    campaign_07 7
    campaign_08 8
    campaign_09 9
    campaign_10 10
    campaign_11 11
}

/// What the campaigns start and kill; does nothing when it isn't told anything.
#[test]
#[ignore = "started by the campaigns"]
fn process_to_be_killed() {
    process::work_until_killed();
}
