//! `defs put`: files, folders and the standard input.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use defs_client::{Put as Stored, PutError, PutOptions, Source};
use defs_core::manifest::NAME_MAX;
use defs_core::mode::Wish;
use futures::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::Context;
use crate::args::Put;
use crate::open::{self, Opened};
use crate::say::bytes;

/// Small files that are put side by side: the client packs those that wait into one write.
const SIDE_BY_SIDE: usize = 16;

/// Files up to this size count as small here; larger ones fill the machine alone.
const SMALL: u64 = 1 << 20;

/// One file to put.
#[derive(Debug)]
struct Item {
    /// `None`: the standard input.
    path: Option<PathBuf>,
    name: String,
    length: Option<u64>,
}

pub(super) async fn run(context: &Context, put: &Put) -> Result<()> {
    let items = items(put)?;
    let mut settings = context.args.settings.clone();
    for (name, value) in [
        ("storageMode", &put.mode),
        ("dataShards", &put.data),
        ("parityShards", &put.parity),
        ("durability", &put.durability),
    ] {
        settings.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    let settings = defs_launch::load_settings(
        context.args.config.as_deref(),
        defs_launch::environment(),
        settings,
    )?;
    let opened = open::open(&context.args, &context.home).await?;
    let wish = settings.wish(put.unsafe_placement);
    if put.explain {
        return explain(context, &opened, &items, &wish).await;
    }
    let (small, large): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| item.length.is_some_and(|length| length <= SMALL));
    let job = Job { context, opened: &opened, wish: &wish, replace: put.replace };
    let mut failed = Vec::new();
    let mut side_by_side =
        futures::stream::iter(small).map(|item| job.put(item)).buffer_unordered(SIDE_BY_SIDE);
    while let Some(outcome) = side_by_side.next().await {
        failed.extend(outcome.err());
    }
    drop(side_by_side);
    for item in large {
        failed.extend(job.put(item).await.err());
    }
    opened.client.close().await;
    finish(context, failed)
}

/// Several files may fail for different reasons: all are said, the last one ends the
/// command.
pub(super) fn finish(context: &Context, mut failed: Vec<anyhow::Error>) -> Result<()> {
    let Some(last) = failed.pop() else { return Ok(()) };
    for error in &failed {
        context.say.failed(error);
    }
    Err(last)
}

struct Job<'a> {
    context: &'a Context,
    opened: &'a Opened,
    wish: &'a Wish,
    replace: bool,
}

impl Job<'_> {
    async fn put(&self, item: Item) -> Result<()> {
        let source = match item.path {
            Some(path) => Source::File(path),
            None => Source::Stream(Box::new(tokio::io::stdin())),
        };
        let (watcher, shows) = self.context.say.watch("put", &item.name);
        let mut options = PutOptions::new(&item.name, self.wish.clone());
        options.replace = self.replace;
        options.watcher = watcher;
        let started = Instant::now();
        let (stored, ()) = tokio::join!(self.opened.client.put(source, options), shows);
        self.count(&stored, started);
        self.tell(&stored?, started);
        Ok(())
    }

    fn count(&self, stored: &Result<Stored, PutError>, started: Instant) {
        let metrics = &self.context.metrics;
        match stored {
            Ok(stored) => {
                metrics.put.one();
                metrics.bytes_put.add(stored.length);
                metrics.put_took.took(started.elapsed());
            }
            Err(_) => metrics.failed.one(),
        }
    }

    fn tell(&self, stored: &Stored, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        let event = json!({
            "event": "put", "name": stored.name, "length": stored.length,
            "mode": stored.mode.to_string(), "geometry": stored.geometry.to_string(),
            "file": stored.ticket.file.full(), "digest": stored.digest.full(),
            "replaced": stored.replaced, "seconds": seconds,
        });
        self.context.say.event(&event, || {
            format!(
                "{}  {}  {} {}  {}",
                stored.name,
                bytes(stored.length),
                stored.mode,
                stored.geometry,
                speed(stored.length, seconds)
            )
        });
    }
}

/// What was moved a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn speed(length: u64, seconds: f64) -> String {
    format!("{:.1} MB/s", length as f64 / seconds.max(1e-6) / 1e6)
}

async fn explain(context: &Context, opened: &Opened, items: &[Item], wish: &Wish) -> Result<()> {
    for item in items {
        let layout = opened.client.explain(item.length, wish).await?;
        let geometry = layout.geometry;
        let (reach, vanish) = (layout.nodes_that_reach_data(), layout.pairs_that_may_vanish());
        let event = json!({
            "event": "explain", "name": item.name, "length": item.length,
            "mode": layout.mode.to_string(), "data": geometry.data(), "parity": geometry.parity(),
            "perPair": layout.per_pair, "inline": layout.inline, "why": layout.why,
            "openPairs": layout.pairs, "nodesThatReachData": reach, "pairsThatMayVanish": vanish,
        });
        context.say.event(&event, || {
            format!(
                "{}: mode {} ({}), at most {} of {} pieces on a pair: {}. Any {} pieces restore \
                 it: over the {} pairs that are open now, no fewer than {} nodes that work \
                 together hold so many, and any {} whole pairs may vanish",
                item.name,
                layout.mode,
                geometry,
                layout.per_pair,
                geometry.total(),
                layout.why,
                geometry.data(),
                layout.pairs,
                reach,
                vanish
            )
        });
    }
    Ok(())
}

/// What is to be put, with the names that it gets.
fn items(put: &Put) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for path in &put.paths {
        if path.as_os_str() == "-" {
            let name = put.name.clone().context("the standard input needs a --name")?;
            items.push(Item { path: None, name, length: None });
        } else if path.is_dir() {
            if !put.recursive {
                bail!("{} is a folder: say -r to put all that is in it", path.display());
            }
            walk(path, put.name.as_deref(), &mut items)?;
        } else {
            let name = match &put.name {
                Some(name) => name.clone(),
                None => name_of(Path::new(path.file_name().unwrap_or_default()))?,
            };
            let length = std::fs::metadata(path).ok().map(|found| found.len());
            items.push(Item { path: Some(path.clone()), name, length });
        }
    }
    if put.name.is_some() && put.paths.len() > 1 {
        bail!("--name names one file or folder, {} were given", put.paths.len());
    }
    Ok(items)
}

fn walk(folder: &Path, name: Option<&str>, items: &mut Vec<Item>) -> Result<()> {
    let base = match name {
        Some(name) => PathBuf::from(name),
        None => PathBuf::from(std::path::absolute(folder)?.file_name().unwrap_or_default()),
    };
    for found in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let found = found?;
        if !found.file_type().is_file() {
            continue;
        }
        let name = name_of(&base.join(found.path().strip_prefix(folder)?))?;
        let length = found.metadata().ok().map(|found| found.len());
        items.push(Item { path: Some(found.into_path()), name, length });
    }
    Ok(())
}

fn name_of(path: &Path) -> Result<String> {
    let name = path.to_str().with_context(|| {
        format!("the name {} is not Unicode: give it one with --name", path.display())
    })?;
    if name.len() > NAME_MAX {
        bail!("the name {name:.80}… is longer than {NAME_MAX} bytes");
    }
    Ok(name.to_owned())
}
