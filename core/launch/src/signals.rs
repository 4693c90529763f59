//! How the operating system asks a process to stop.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// By convention, a process that a signal ended says so with 128 and the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

/// Watches for SIGTERM and SIGINT from now on. The first one cancels `stop`, a second one
/// ends the process at once. The future never ends by itself, so it stands beside the
/// work, not among the tasks that shutdown waits for:
///
/// ```text
/// tokio::select! {
///     never = signals::stop_requested(stop.clone())? => match never {},
///     outcome = run(settings, stop) => outcome,
/// }
/// ```
pub fn stop_requested(
    stop: CancellationToken,
) -> io::Result<impl Future<Output = Infallible> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let first = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = first.as_raw_value(), "stopping; a second signal ends at once");
        stop.cancel();
        let second = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = second.as_raw_value(), "ending at once");
        std::process::exit(ENDED_BY_SIGNAL + second.as_raw_value())
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn the_first_signal_cancels_and_the_second_ends_the_process() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals::tests::process_that_never_stops", "--ignored"])
            .arg("--nocapture")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("watching")));
        kill_process(pid, Signal::TERM).unwrap();
        assert!(lines.any(|line| line.ends_with("cancelled")));
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    }

    #[tokio::test]
    #[ignore = "a process that the test above starts and ends"]
    #[expect(clippy::print_stdout, reason = "the test above reads it")]
    async fn process_that_never_stops() {
        let stop = CancellationToken::new();
        let signals = stop_requested(stop.clone()).unwrap();
        println!("watching");
        let tells = async move {
            stop.cancelled().await;
            println!("cancelled");
        };
        tokio::join!(signals, tells);
    }
}
