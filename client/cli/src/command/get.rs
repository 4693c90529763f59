//! `defs get`: a file back, whole or in part, or everything under a prefix.

use std::fs::OpenOptions;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use defs_client::{FileRef, GetError, GetOptions, Got, Sink, Ticket};
use serde_json::json;
use tokio::time::Instant;

use super::Context;
use super::put::{finish, speed};
use crate::args::{ByteRange, Get};
use crate::open::{self, Opened};
use crate::say::bytes;

pub(super) async fn run(context: &Context, get: &Get) -> Result<()> {
    let opened = open::open(&context.args, &context.home).await?;
    let outcome = if get.recursive {
        everything(context, get, &opened).await
    } else {
        let file = file_of(&get.name)?;
        one(context, &opened, (file, get.name.clone()), (get.output.as_deref(), get.range)).await
    };
    opened.client.close().await;
    outcome
}

/// A name, or a ticket where it looks like one.
pub(super) fn file_of(text: &str) -> Result<FileRef> {
    if Ticket::looks_like(text) {
        return Ok(FileRef::Ticket(text.parse()?));
    }
    Ok(FileRef::Name(text.to_owned()))
}

async fn everything(context: &Context, get: &Get, opened: &Opened) -> Result<()> {
    if get.range.is_some() {
        bail!("--range is for one file");
    }
    let folder = get.output.clone().unwrap_or_else(|| PathBuf::from("."));
    let entries = opened.client.list().await?;
    let names: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.starts_with(&get.name))
        .collect();
    if names.is_empty() {
        return Err(GetError::UnknownName { name: get.name.clone() }.into());
    }
    let mut failed = Vec::new();
    for name in names {
        let outcome = async {
            let target = folder.join(inside(&name)?);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)
                    .with_context(|| format!("failed to make {}", parent.display()))?;
            }
            let file = FileRef::Name(name.clone());
            one(context, opened, (file, name.clone()), (Some(target.as_path()), None)).await
        };
        failed.extend(outcome.await.err());
    }
    finish(context, failed)
}

/// The name as a path below a folder. One that would lead out of it is refused: names
/// come from whoever put the file.
fn inside(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !stays || name.is_empty() {
        bail!("the name {name:?} leads out of the folder: get it alone, with -o");
    }
    Ok(path.to_owned())
}

async fn one(
    context: &Context,
    opened: &Opened,
    (file, shown): (FileRef, String),
    (output, range): (Option<&Path>, Option<ByteRange>),
) -> Result<()> {
    let range = match range {
        None => None,
        Some(range) => {
            let last = match range.last {
                Some(last) => last.saturating_add(1),
                None => length_of(opened, &shown).await?,
            };
            Some(range.first..last)
        }
    };
    let shown = if Ticket::looks_like(&shown) { "ticket".to_owned() } else { shown };
    let (sink, to_stdout) = sink(output, &shown)?;
    let (watcher, shows) = context.say.watch("get", &shown);
    let options = GetOptions { range, watcher };
    let started = Instant::now();
    let (got, ()) = tokio::join!(opened.client.get(file, sink, options), shows);
    count(context, &got, started);
    let got = got?;
    warn(context, &got);
    if !to_stdout {
        tell(context, &got, started);
    }
    Ok(())
}

fn count(context: &Context, got: &Result<Got, GetError>, started: Instant) {
    let metrics = &context.metrics;
    match got {
        Ok(got) => {
            metrics.got.one();
            metrics.bytes_got.add(got.written);
            metrics.get_took.took(started.elapsed());
        }
        Err(_) => metrics.failed.one(),
    }
}

async fn length_of(opened: &Opened, text: &str) -> Result<u64> {
    let status = opened.client.stat(file_of(text)?, false).await?;
    Ok(status.length)
}

fn sink(output: Option<&Path>, name: &str) -> Result<(Sink, bool)> {
    let path = match output {
        Some(path) if path.as_os_str() == "-" => {
            return Ok((Sink::Writer(Box::new(tokio::io::stdout())), true));
        }
        Some(path) if path.is_dir() => path.join(base_name(name)?),
        Some(path) if is_special(path) => {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.with_context(|| format!("failed to open {}", path.display()))?;
            return Ok((Sink::Writer(Box::new(tokio::fs::File::from_std(file))), false));
        }
        Some(path) => path.to_owned(),
        None => base_name(name)?,
    };
    Ok((Sink::File(path), false))
}

/// Whether there is a device or a pipe: a file in its place would be the end of it.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn base_name(name: &str) -> Result<PathBuf> {
    if name == "ticket" {
        bail!("say with -o where the ticket's file shall go");
    }
    let base = Path::new(name).file_name().context("this name is no file name: say -o")?;
    Ok(PathBuf::from(base))
}

fn warn(context: &Context, got: &Got) {
    for shard in &got.damaged {
        context.say.event(
            &json!({
                "event": "damaged", "name": got.name, "slice": shard.slice.0,
                "index": shard.index.0, "pair": shard.pair.full(), "node": shard.node.full(),
            }),
            String::new,
        );
        context.say.note(&format!(
            "piece {} of slice {} came damaged from node {} of pair {}: read elsewhere",
            shard.index, shard.slice, shard.node, shard.pair
        ));
    }
}

fn tell(context: &Context, got: &Got, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let event = json!({
        "event": "got", "name": got.name, "length": got.length, "written": got.written,
        "digest": got.digest.full(), "seconds": seconds, "foundBy": got.lookup.by.to_string(),
        "messages": got.lookup.messages, "roundTrips": got.lookup.round_trips,
        "decodedSlices": got.decoded, "damagedShards": got.damaged.len(),
    });
    context.say.event(&event, || {
        let decoded = if got.decoded > 0 {
            format!("  {} slices decoded", got.decoded)
        } else {
            String::new()
        };
        format!("{}  {}  {}{decoded}", got.name, bytes(got.written), speed(got.written, seconds))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        assert_eq!(inside("a/b.txt").unwrap(), Path::new("a/b.txt"));
        for name in ["../a", "/etc/passwd", "a/../../b", ""] {
            assert!(inside(name).is_err(), "{name}");
        }
    }
}
