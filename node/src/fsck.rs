//! `defs-node fsck`: reads every byte that a stopped node stores and compares it with the
//! index; with `--repair` it mends the index, or rebuilds it where it is lost.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use defs_core::message::ShardKey;
use defs_core::settings::Settings;
use defs_store::{FsckReport, IndexHealth};

use crate::data_folder::DataFolder;
use crate::membership::read_genesis;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is nothing to complain of.
    Clean = 0,
    /// Something is wrong and still is.
    Wrong = 3,
    /// Something was wrong with the index, and is no more.
    Mended = 4,
}

/// Checks the store of the node whose folder `settings` name.
pub(crate) fn run(settings: &Settings, repair: bool) -> Result<Verdict> {
    let (report, verdict) = check(&settings.data_dir, repair)?;
    print(&Findings(&report).to_string());
    Ok(verdict)
}

#[expect(clippy::print_stdout, reason = "the findings are what the command is for")]
fn print(text: &str) {
    print!("{text}");
}

fn check(data_dir: &Path, repair: bool) -> Result<(FsckReport, Verdict)> {
    let folder = DataFolder::open_existing(data_dir)?;
    let network = read_genesis(&folder.network())?.network();
    let report = defs_store::fsck(&folder.store(), network, repair)
        .with_context(|| format!("failed to check {}", folder.store().display()))?;
    let verdict = verdict(&report, repair);
    Ok((report, verdict))
}

fn verdict(report: &FsckReport, repair: bool) -> Verdict {
    if report.is_clean() {
        Verdict::Clean
    } else if repair && report.damaged.is_empty() && report.unreadable.is_empty() {
        Verdict::Mended
    } else {
        Verdict::Wrong
    }
}

/// A report for people: a line for each count, then one for each thing by name.
struct Findings<'a>(&'a FsckReport);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Destructured, so that a new field can't be forgotten.
        let FsckReport {
            index,
            whole,
            damaged,
            missing,
            unindexed,
            leftovers,
            unreadable,
            records,
            repaired,
        } = self.0;
        writeln!(out, "index       {}", health(*index))?;
        writeln!(out, "whole       {whole} shards")?;
        writeln!(out, "records     {records}")?;
        writeln!(out, "leftovers   {leftovers}, nothing to do")?;
        writeln!(out, "damaged     {}", damaged.len())?;
        writeln!(out, "missing     {}", missing.len())?;
        writeln!(out, "unindexed   {}", unindexed.len())?;
        writeln!(out, "unreadable  {}", unreadable.len())?;
        writeln!(out, "repaired    {repaired} index entries")?;
        for (what, shards) in [("damaged", damaged), ("missing", missing), ("unindexed", unindexed)]
        {
            shards.iter().try_for_each(|key| name(out, what, key))?;
        }
        unreadable.iter().try_for_each(|path| writeln!(out, "unreadable: {}", path.display()))
    }
}

fn name(out: &mut fmt::Formatter<'_>, what: &str, key: &ShardKey) -> fmt::Result {
    writeln!(out, "{what}: shard {} of stripe {}", key.index, key.stripe.full())
}

fn health(index: IndexHealth) -> &'static str {
    match index {
        IndexHealth::Readable => "readable",
        IndexHealth::Incomplete => "incomplete: it has lost shards",
        IndexHealth::Missing => "missing",
        IndexHealth::Unreadable => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use defs_core::format::Format;
    use defs_core::ids::{NetworkId, hex};
    use defs_core::network::Genesis;
    use defs_store::{Store, StoreConfig};

    use super::*;

    /// The data folder of a node that has run and stored nothing.
    fn used() -> (tempfile::TempDir, NetworkId) {
        let folder = tempfile::tempdir().unwrap();
        let genesis = Genesis { random: [1; 32], invite_key: [2; 33] };
        fs::write(folder.path().join("network"), hex(&genesis.encode())).unwrap();
        let store = StoreConfig::new(folder.path().join("store"), 1 << 20, genesis.network());
        Store::open(store).unwrap().close();
        (folder, genesis.network())
    }

    #[test]
    fn a_sound_folder_is_clean_and_a_lost_index_is_told_and_then_rebuilt() {
        let (folder, network) = used();
        assert_eq!(check(folder.path(), false).unwrap().1, Verdict::Clean);
        fs::remove_dir_all(folder.path().join("store/index")).unwrap();
        let (report, verdict) = check(folder.path(), false).unwrap();
        assert_eq!((report.index, verdict), (IndexHealth::Missing, Verdict::Wrong));
        assert!(Findings(&report).to_string().starts_with("index       missing\n"));
        assert_eq!(check(folder.path(), true).unwrap().1, Verdict::Mended);
        assert_eq!(check(folder.path(), false).unwrap().1, Verdict::Clean);
        let store = StoreConfig::new(folder.path().join("store"), 1 << 20, network);
        assert!(Store::open(store).is_ok());
    }

    #[test]
    fn a_folder_in_use_and_one_that_is_not_there_are_refused_with_words() {
        let (folder, network) = used();
        let node = DataFolder::open(folder.path()).unwrap();
        let refused = format!("{:#}", check(folder.path(), true).unwrap_err());
        assert!(refused.contains("is in use by another process"), "{refused}");
        drop(node);
        // One of a program that does not take the data folder's own lock.
        let config = StoreConfig::new(folder.path().join("store"), 1 << 20, network);
        let store = Store::open(config).unwrap();
        let refused = format!("{:#}", check(folder.path(), true).unwrap_err());
        assert!(refused.contains("is in use by another process"), "{refused}");
        store.close();
        let absent = folder.path().join("absent");
        let refused = format!("{:#}", check(&absent, false).unwrap_err());
        assert!(refused.contains("absent"), "{refused}");
        assert!(!absent.exists());
    }

    #[test]
    fn every_finding_has_its_line() {
        let key = ShardKey {
            stripe: defs_core::ids::StripeId([7; 32]),
            index: defs_core::ids::ShardIndex(3),
        };
        let report = FsckReport {
            index: IndexHealth::Incomplete,
            damaged: vec![key],
            unreadable: vec!["x.seg".into()],
            ..FsckReport::default()
        };
        let text = Findings(&report).to_string();
        assert!(text.contains(&format!("damaged: shard 3 of stripe {}\n", key.stripe.full())));
        assert!(text.ends_with("unreadable: x.seg\n"), "{text}");
        assert_eq!(verdict(&report, true), Verdict::Wrong);
    }
}
