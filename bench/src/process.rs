//! What Linux says of a process in `/proc`: processor time, memory. And a command that is
//! run to its end while it is watched.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, interval};

/// Linux tells times to user space in hundredths of a second, whatever its own clock is.
const TICKS_A_SECOND: f64 = 100.0;

/// How often a running command's memory is looked at. Its peak only grows, so at most
/// what it grew in the last of these is missed.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Processor seconds of this process so far.
pub(crate) fn own_cpu() -> Result<f64> {
    Ok(times_of("self")?.own)
}

/// Processor seconds of a process so far.
pub(crate) fn cpu_of(pid: i64) -> Result<f64> {
    Ok(times_of(&pid.to_string())?.own)
}

/// Processor seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    /// Of the process.
    own: f64,
    /// Of its children that have ended.
    children: f64,
}

fn times_of(process: &str) -> Result<Times> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    times(&stat).with_context(|| format!("{path} says something else than expected"))
}

/// The fields 14 to 17 of a `stat`: user, system, children's user, children's system.
fn times(stat: &str) -> Option<Times> {
    // The second field is the name, which may hold anything.
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut ticks = behind_name.split_whitespace().skip(11).map(str::parse::<u32>);
    let mut two = || Some(f64::from(ticks.next()?.ok()?) + f64::from(ticks.next()?.ok()?));
    Some(Times { own: two()? / TICKS_A_SECOND, children: two()? / TICKS_A_SECOND })
}

/// A process's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) now: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
}

/// `None` of one that has ended.
pub(crate) fn memory_of(pid: i64) -> Option<Memory> {
    memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn memory(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    };
    Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// What a command took.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) output: Vec<u8>,
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    /// The most memory that was resident.
    pub(crate) peak: u64,
}

/// What becomes of a command's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Kept,
    Dropped,
}

/// Runs a command to its end; if it is broken off, so is the command. Nothing else may be
/// run meanwhile: its processor time is that of the children that ended.
pub(crate) async fn run(mut command: Command, output: Output) -> Result<Ended> {
    let name = format!("{command:?}");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(if output == Output::Kept { Stdio::piped() } else { Stdio::null() });
    let before = times_of("self")?.children;
    let began = Instant::now();
    let mut command = tokio::process::Command::from(command);
    let child =
        command.kill_on_drop(true).spawn().with_context(|| format!("failed to run {name}"))?;
    let pid = child.id().map(i64::from);
    let mut peak = 0;
    let mut looks = interval(LOOK_EVERY);
    let mut ending = Box::pin(child.wait_with_output());
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended?,
            _ = looks.tick() => peak = peak.max(pid.and_then(memory_of).unwrap_or_default().peak),
        }
    };
    let wall = began.elapsed().as_secs_f64();
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        bail!(
            "{name} failed ({}):\n{said}{}",
            ended.status,
            String::from_utf8_lossy(&ended.stdout)
        );
    }
    let cpu = times_of("self")?.children - before;
    Ok(Ended { output: ended.stdout, wall, cpu, peak })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_fields_behind_a_name_that_may_hold_anything() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 200 0 0 150 50 300 100 20 0 4 0 99 8192 42";
        assert_eq!(times(stat), Some(Times { own: 2.0, children: 4.0 }));
        assert_eq!(times("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tdefs\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory(status), Some(Memory { now: 1 << 20, peak: 2 << 20 }));
        assert_eq!(memory("Name:\tdefs\nState:\tZ (zombie)\n"), None);
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken >&2; exit 3"]);
        let error = run(command, Output::Kept).await.unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }
}
