//! Waiting for what shall come about, and watching over what must never happen. Nothing sleeps
//! for a time that somebody guessed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks: an API server on a busy machine answers in a few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One look may take so long. A look that hangs is as good as one that failed.
const LOOK_WITHIN: Duration = Duration::from_secs(20);

/// `seconds` as a duration.
#[must_use]
pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Looks until `look` finds what was waited for. An error is what it found instead: the last
/// one is told when `within` is over.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let last = match timeout_at(Instant::now() + LOOK_WITHIN, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_elapsed) => anyhow::anyhow!("no answer within {LOOK_WITHIN:?}"),
        };
        if Instant::now() >= deadline {
            return Err(last).with_context(|| format!("{what}: not within {within:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Runs `work` while `holds` is looked at again and again; the first time that it doesn't, the
/// work is broken off.
pub async fn throughout<T>(
    what: &str,
    work: impl Future<Output = Result<T>>,
    mut holds: impl AsyncFnMut() -> Result<()>,
) -> Result<T> {
    let watch = async {
        loop {
            if let Err(error) = holds().await {
                return error;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        done = work => done,
        broken = watch => Err(broken).with_context(|| format!("{what}: not throughout")),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{bail, ensure};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_about_is_answered_and_what_does_not_is_told_with_the_last_look() {
        let mut looks = 0;
        let found = eventually("three looks", seconds(5), async || {
            looks += 1;
            ensure!(looks >= 3, "only {looks}");
            Ok(looks)
        });
        assert_eq!(found.await.unwrap(), 3);
        let never =
            eventually("the pair", seconds(5), async || -> Result<()> { bail!("it is Degraded") });
        let error = never.await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the pair: not within 5s: it is Degraded");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_ends_too() {
        let hangs = eventually("an answer", seconds(30), async || {
            std::future::pending::<()>().await;
            Ok(())
        });
        let error = format!("{:#}", hangs.await.unwrap_err());
        assert_eq!(error, "an answer: not within 30s: no answer within 20s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_is_broken_off_when_what_must_hold_does_not() {
        let work = async {
            sleep(seconds(60)).await;
            Ok("done")
        };
        assert_eq!(throughout("peace", work, async || Ok(())).await.unwrap(), "done");
        let mut looks = 0;
        let work = std::future::pending::<Result<()>>();
        let broken = throughout("one pod", work, async || {
            looks += 1;
            ensure!(looks < 4, "there are two");
            Ok(())
        });
        let error = format!("{:#}", broken.await.unwrap_err());
        assert_eq!(error, "one pod: not throughout: there are two");
    }
}
