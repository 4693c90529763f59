//! Uploads and downloads as tasks: listed, resumed, paused, cancelled.

use std::future::Future;
use std::path::PathBuf;

use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::states::{State as _, TaskState};
use defs_telemetry::{spans, trace};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{Client, Got, Put, Shared};
use super::{GetError, PutError};
use crate::journal::{Claim, JournalError, Plan, Row, SliceRow, TaskId, TaskKind, UploadPlan};
use crate::pipeline::source::{SliceReader, Source, SourceError};
use crate::ports::World;
use crate::progress::Watcher;

/// A task, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    /// Names it.
    pub id: TaskId,
    /// Which way it goes.
    pub kind: TaskKind,
    /// Where it stands; one that was cut off is paused.
    pub state: TaskState,
    /// The file's name.
    pub name: String,
    /// The local file that is read or written, if there is one.
    pub path: Option<PathBuf>,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A task that was resumed to its end.
#[derive(Debug)]
pub enum Finished {
    /// An upload.
    Put(Put),
    /// A download.
    Got(Got),
}

/// Why a task was not listed, resumed or stopped.
#[derive(Debug, Clone, Error)]
pub enum TaskError {
    /// The journal failed, or doesn't have it, or somebody works on it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It ended.
    #[error("task {task} is {state}: it can't be {asked}")]
    Ended {
        /// The task.
        task: TaskId,
        /// Where it stands.
        state: TaskState,
        /// What was asked.
        asked: &'static str,
    },
    /// Its bytes came from a pipe or from memory.
    #[error("task {0} can't be resumed: what it put can't be read again")]
    NoSource(TaskId),
    /// The file is not the one that the task began with.
    #[error("{path} changed since task {task} began: put it anew")]
    Changed {
        /// The task.
        task: TaskId,
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read any more.
    #[error("failed to read what task {task} puts")]
    Source {
        /// The task.
        task: TaskId,
        /// Why.
        source: SourceError,
    },
    /// The upload failed again.
    #[error(transparent)]
    Put(Box<PutError>),
    /// The download failed again.
    #[error(transparent)]
    Get(Box<GetError>),
}

/// A task that this process works on.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    /// Where it goes when it is stopped.
    then: TaskState,
}

/// A task was stopped and goes to `state`.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) state: TaskState,
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// All tasks that have not ended, and the last ones that have; oldest first.
    pub async fn tasks(&self) -> Result<Vec<TaskInfo>, TaskError> {
        let journal = &self.shared.journal;
        Ok(journal.tasks().await?.into_iter().map(|row| self.shared.info(row)).collect())
    }

    /// Goes on with a task that was paused, cut off or failed, to its end.
    pub async fn resume(&self, task: TaskId, watcher: Watcher) -> Result<Finished, TaskError> {
        let shared = &self.shared;
        let claim = shared.journal.claim(task)?;
        let row = shared.journal.task(task).await?;
        let may_run = matches!(row.state, TaskState::Running | TaskState::Queued)
            || row.state.may_become(TaskState::Running);
        if !may_run {
            return Err(TaskError::Ended { task, state: row.state, asked: "resumed" });
        }
        shared.journal.move_to(&claim, TaskState::Running, None).await?;
        match row.plan {
            Plan::Upload(plan) => {
                let reader = shared.reopen(task, &plan).await?;
                let put = async {
                    shared.connect().await?;
                    shared.upload(&claim, &plan, reader, watcher).await
                };
                Box::pin(trace::within(spans::put(), put))
                    .await
                    .map(Finished::Put)
                    .map_err(|error| TaskError::Put(Box::new(error)))
            }
            Plan::Download(plan) => {
                let got = async {
                    let open = shared.open_ticket(&plan.ticket).await?;
                    shared.download_task(&claim, &plan, open, watcher).await
                };
                Box::pin(trace::within(spans::get(), got))
                    .await
                    .map(Finished::Got)
                    .map_err(|error| TaskError::Get(Box::new(error)))
            }
        }
    }

    /// Stops a task; it can be resumed.
    pub async fn pause(&self, task: TaskId) -> Result<(), TaskError> {
        if self.shared.stop(task, TaskState::Paused) {
            return Ok(());
        }
        let claim = self.shared.journal.claim(task)?;
        match self.shared.journal.task(task).await?.state {
            TaskState::Running => {
                Ok(self.shared.journal.move_to(&claim, TaskState::Paused, None).await?)
            }
            TaskState::Paused => Ok(()),
            state => Err(TaskError::Ended { task, state, asked: "paused" }),
        }
    }

    /// Gives a task up. What an upload has stored already expires at its holders.
    pub async fn cancel(&self, task: TaskId) -> Result<(), TaskError> {
        if self.shared.stop(task, TaskState::Cancelled) {
            return Ok(());
        }
        let claim = self.shared.journal.claim(task)?;
        let row = self.shared.journal.task(task).await?;
        if !row.state.may_become(TaskState::Cancelled) {
            return Err(TaskError::Ended { task, state: row.state, asked: "cancelled" });
        }
        if let Plan::Download(plan) = &row.plan {
            self.shared.remove_partial(plan).await;
        }
        Ok(self.shared.journal.move_to(&claim, TaskState::Cancelled, None).await?)
    }

    /// Slices of a task that are stored or written.
    pub async fn slices_done(&self, task: TaskId) -> Result<usize, TaskError> {
        let rows = self.shared.journal.slices(task).await?;
        Ok(rows.iter().filter(|(_, row)| matches!(row, SliceRow::Done(_))).count())
    }
}

impl<W: World> Shared<W> {
    fn info(&self, row: Row) -> TaskInfo {
        let Row { id, state, plan, done, total, error } = row;
        let kind = plan.kind();
        let (name, path) = match plan {
            Plan::Upload(plan) => (plan.name, plan.source.map(|(path, _)| path)),
            Plan::Download(plan) => (plan.name, Some(plan.target)),
        };
        // One that runs and that nobody holds was cut off.
        let cut_off = state == TaskState::Running && !self.journal.is_claimed(id);
        let state = if cut_off { TaskState::Paused } else { state };
        TaskInfo { id, kind, state, name, path, done, total, error }
    }

    async fn reopen(&self, task: TaskId, plan: &UploadPlan) -> Result<SliceReader, TaskError> {
        let Some((path, stamp)) = &plan.source else { return Err(TaskError::NoSource(task)) };
        let source = Source::File(path.clone());
        let reader = SliceReader::open(source, 0, self.buffer, &self.tasks).await;
        let reader = reader.map_err(|source| TaskError::Source { task, source })?;
        if reader.identity().map(|(_, now)| now) != Some(*stamp) {
            return Err(TaskError::Changed { task, path: path.clone() });
        }
        Ok(reader)
    }

    /// Runs `work` for a claimed task until it ends or is stopped.
    pub(crate) async fn until_stopped<T>(
        &self,
        claim: &Claim,
        work: impl Future<Output = T>,
    ) -> Result<T, Stopped> {
        let stop = self.closing.child_token();
        let running = Running { stop: stop.clone(), then: TaskState::Paused };
        self.running().insert(claim.task, running);
        let _listed = Listed { shared: self, task: claim.task };
        match stop.run_until_cancelled(work).await {
            Some(done) => Ok(done),
            None => {
                let state = self.running().get(&claim.task).map(|running| running.then);
                Err(Stopped { state: state.unwrap_or(TaskState::Paused) })
            }
        }
    }

    /// Whether this process works on `task` and was told to stop.
    fn stop(&self, task: TaskId, then: TaskState) -> bool {
        let mut all = self.running();
        let Some(running) = all.get_mut(&task) else { return false };
        running.then = then;
        running.stop.cancel();
        true
    }
}

/// Takes a task off the list of running ones, however it ends.
struct Listed<'a, W: World> {
    shared: &'a Shared<W>,
    task: TaskId,
}

impl<W: World> Drop for Listed<'_, W> {
    fn drop(&mut self) {
        self.shared.running().remove(&self.task);
    }
}
