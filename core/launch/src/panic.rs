//! What a panic means: a bug in this process, which ends.

use std::panic;

/// From now on a panic anywhere ends the process, after it was logged: no task may die
/// alone while the others go on as if it lived. (A hook and not `panic = "abort"`: the
/// tests unwind, and every dependency would be compiled a second time for them.)
pub fn abort_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        // The usual report with a backtrace, to the standard error stream.
        tell(what);
        tracing::error!(panic = %what, "a bug: the process ends");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const ABORTED: i32 = 6;

    #[test]
    fn a_panic_on_any_thread_ends_the_process() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panic::tests::process_that_panics_on_a_thread", "--ignored"])
            .arg("--nocapture")
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(ABORTED));
        let told = String::from_utf8_lossy(&child.stderr);
        assert!(told.contains("a bug of this test"), "{told}");
    }

    #[test]
    #[ignore = "a process that the test above starts"]
    fn process_that_panics_on_a_thread() {
        abort_on_panic();
        // Without the hook the join would succeed in telling that the thread panicked.
        let thread = std::thread::spawn(|| panic!("a bug of this test"));
        assert!(thread.join().is_err());
    }
}
