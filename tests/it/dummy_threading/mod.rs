//! Threads that run inside their start. The cases of CPython's `test_dummy_threading.py` are named where they are
//! asked.

mod frames;
mod hooks;
mod isolation;
mod local;
mod primitives;
mod thread;
mod timer;

use std::time::Duration;

use crate::support::soon;

const LONG: Duration = Duration::from_secs(3600);

/// Runs `body` in a thread of the system of its own, which has a world of its own here.
#[track_caller]
fn world(body: impl FnOnce() + Send) {
    soon(|| {
        std::thread::scope(|scope| {
            if let Err(panic) = scope.spawn(body).join() {
                std::panic::resume_unwind(panic);
            }
        });
    });
}
