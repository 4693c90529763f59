//! `defs tasks`: uploads and downloads that were cut off.

use anyhow::Result;
use defs_client::{Finished, TaskId, TaskInfo, TaskKind};
use defs_core::states::TaskState;
use serde_json::json;

use super::Context;
use super::put::finish;
use crate::args::TaskCommand;
use crate::open;
use crate::say::{bytes, table};

pub(super) async fn run(context: &Context, command: Option<&TaskCommand>) -> Result<()> {
    match command {
        None | Some(TaskCommand::List) => list(context).await,
        Some(TaskCommand::Resume { task }) => resume(context, *task).await,
        Some(TaskCommand::Cancel { task }) => cancel(context, *task).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let client = open::offline(&context.args, &context.home).await?;
    let mut rows = Vec::new();
    for task in client.tasks().await? {
        if context.say.json() {
            let event = json!({
                "event": "task", "id": task.id.0, "kind": kind(&task),
                "state": task.state.to_string().to_lowercase(), "name": task.name,
                "path": task.path, "done": task.done, "total": task.total, "error": task.error,
            });
            context.say.event(&event, String::new);
        }
        rows.push(vec![
            task.id.to_string(),
            kind(&task).to_owned(),
            task.state.to_string().to_lowercase(),
            task.total.map_or_else(
                || bytes(task.done),
                |total| format!("{} of {}", bytes(task.done), bytes(total)),
            ),
            task.name.clone(),
            task.error.unwrap_or_default(),
        ]);
    }
    if !context.say.json() {
        context.say.event(&json!({}), || {
            table(&["TASK", "KIND", "STATE", "DONE", "NAME", "ERROR"], &rows)
        });
    }
    Ok(())
}

fn kind(task: &TaskInfo) -> &'static str {
    match task.kind {
        TaskKind::Upload => "put",
        TaskKind::Download => "get",
    }
}

async fn resume(context: &Context, task: Option<i64>) -> Result<()> {
    let opened = open::open(&context.args, &context.home).await?;
    let wanted: Vec<_> = match task {
        Some(task) => vec![TaskId(task)],
        None => {
            let can_go_on = |task: &TaskInfo| {
                matches!(task.state, TaskState::Paused | TaskState::Queued | TaskState::Failed)
            };
            opened.client.tasks().await?.into_iter().filter(can_go_on).map(|task| task.id).collect()
        }
    };
    let mut failed = Vec::new();
    for task in wanted {
        let (watcher, shows) = context.say.watch("resume", &format!("task {task}"));
        let (finished, ()) = tokio::join!(opened.client.resume(task, watcher), shows);
        match finished {
            Ok(Finished::Put(put)) => tell(context, task, ("put", &put.name, put.length)),
            Ok(Finished::Got(got)) => tell(context, task, ("got", &got.name, got.length)),
            Err(error) => failed.push(error.into()),
        }
    }
    opened.client.close().await;
    finish(context, failed)
}

fn tell(context: &Context, task: TaskId, (what, name, length): (&str, &str, u64)) {
    let event = json!({ "event": what, "task": task.0, "name": name, "length": length });
    context.say.event(&event, || format!("task {task} is done: {name}  {}", bytes(length)));
}

async fn cancel(context: &Context, task: i64) -> Result<()> {
    let client = open::offline(&context.args, &context.home).await?;
    client.cancel(TaskId(task)).await?;
    context.say.event(&json!({ "event": "cancelled", "task": task }), || {
        format!("task {task} is cancelled")
    });
    Ok(())
}
