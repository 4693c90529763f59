//! The steps of a check: each is timed and told, and what is waited for is told when it changes.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::api::ApiError;
use crate::figures::span;
use crate::say::{Say, told};

/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the times of steps stand.
const WIDTH: usize = 66;

/// A step that failed.
#[derive(Debug, Error)]
#[error("the check failed at this step: {step}")]
pub(crate) struct CheckFailed {
    /// What was tried.
    pub(crate) step: String,
    /// Why it failed.
    pub(crate) source: anyhow::Error,
}

/// What a look at something that is waited for has shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked<T> {
    /// It is there.
    Done(T),
    /// It isn't: what is waited for.
    Waits(String),
}

/// How steps are told.
pub(super) struct Steps {
    say: Say,
}

impl Steps {
    pub(super) fn new(say: Say) -> Self {
        Self { say }
    }

    /// Does a step, and tells how it went and how long it took.
    pub(super) async fn step<T>(
        &self,
        step: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let outcome = work.await;
        let seconds = started.elapsed().as_secs_f64();
        let is_ok = outcome.is_ok();
        let event = json!({ "event": "step", "step": step, "ok": is_ok, "seconds": seconds });
        self.say.event(&event, || {
            let word = if is_ok { "ok" } else { "FAILED" };
            format!("{word:<6}  {step:<WIDTH$}  {seconds:>6.1} s")
        });
        outcome.map_err(|source| CheckFailed { step, source }.into())
    }

    /// Something beside the steps.
    pub(super) fn note(&self, note: &str) {
        self.say.event(&json!({ "event": "note", "note": note }), || format!("        {note}"));
    }

    /// Looks again and again until it is there.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Result<Looked<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        loop {
            let waits = match Box::pin(look()).await {
                Ok(Looked::Done(found)) => return Ok(found),
                Ok(Looked::Waits(waits)) => waits,
                Err(error) if is_passing(&error) => told(&error),
                Err(error) => return Err(error),
            };
            if waits != last {
                self.waits(&waits);
            }
            if Instant::now() >= deadline {
                bail!("it was not so within {}: {waits}", span(limit.as_secs()));
            }
            last = waits;
            sleep(LOOK_EVERY).await;
        }
    }

    fn waits(&self, waits: &str) {
        self.say.event(&json!({ "event": "waits", "for": waits }), || format!("waits   {waits}"));
    }
}

/// An API server that doesn't answer for a moment ends no wait.
fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ApiError>().is_some_and(ApiError::is_passing)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::args::Output;

    fn steps() -> Steps {
        Steps::new(Say::new(Output::Json))
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_it_is_there_and_outlives_a_silent_api_server() {
        let mut looks = 0;
        let found = steps()
            .until(Duration::from_secs(60), async || {
                looks += 1;
                match looks {
                    1 => Ok(Looked::Waits("the first".to_owned())),
                    2 => {
                        Err(ApiError::Unreachable { url: String::new(), why: String::new() }.into())
                    }
                    _ => Ok(Looked::Done(looks)),
                }
            })
            .await;
        assert_eq!(found.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_takes_too_long_says_what_for_and_another_failure_ends_it() {
        let waits = async || Ok(Looked::<()>::Waits("a pod".to_owned()));
        let error = steps().until(Duration::from_secs(5), waits).await.unwrap_err();
        assert_eq!(error.to_string(), "it was not so within 5 s: a pod");
        let fails = async || Err::<Looked<()>, _>(anyhow!("another content"));
        let started = Instant::now();
        let error = steps().until(Duration::from_secs(5), fails).await.unwrap_err();
        assert_eq!(error.to_string(), "another content");
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_step_that_fails_is_named() {
        let steps = steps();
        let failed = steps.step("get, equal".to_owned(), async { Err::<(), _>(anyhow!("no")) });
        let error = failed.await.unwrap_err();
        assert_eq!(told(&error), "the check failed at this step: get, equal: no");
        assert!(error.is::<CheckFailed>());
    }
}
