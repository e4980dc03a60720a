//! Helpers of several test files: a deadline that reports where a test hung.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Runs `body` under a deadline. If `body` still runs then, it hangs. The stacks cannot be unwound from outside. So
/// this prints the name of the test, the wait channel of each of its threads and the place of this call, and aborts the
/// process.
#[track_caller]
pub fn within<R>(limit: Duration, body: impl FnOnce() -> R) -> R {
    let limit = limit * slowness();
    let place = std::panic::Location::caller();
    let name = thread::current().name().unwrap_or("?").to_owned();
    let (done, watch) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // Not eprintln!, which the harness would capture and lose with the process.
                let mut err = std::io::stderr();
                let _ = writeln!(err, "HANG: {name} did not end within {limit:?} ({place})");
                for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                    let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
                    let _ = writeln!(
                        err,
                        "  {} {} at {}",
                        read("comm").trim(),
                        read("syscall").trim(),
                        read("wchan").trim()
                    );
                }
                std::process::abort();
            }
        });
        let result = body();
        drop(done);
        result
    })
}

/// The factor by which the tests run slower here than on a machine without other load. The script that sets up an
/// emulator sets this variable. The time after which a test counts as hung grows by this factor.
pub fn slowness() -> u32 {
    std::env::var("OSSATURE_TEST_SLOWNESS").map_or(1, |factor| factor.parse().expect("a number"))
}

/// The kernel's number of the calling thread.
pub fn thread_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Waits until thread `thread` of this process sleeps.
#[track_caller]
pub fn until_asleep(thread: i32) {
    soon(|| {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
            // `id (name) state ...`, and the name may hold anything.
            if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) {
                return;
            }
            thread::yield_now();
        }
    });
}

/// Runs [`within`] with ten seconds, the time limit of these tests.
#[track_caller]
pub fn soon<R>(body: impl FnOnce() -> R) -> R {
    within(Duration::from_secs(10), body)
}

/// Makes a pipe as files: its read end and its write end.
pub fn pipe() -> std::io::Result<(File, File)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}
