//! Threads that run inside their start. The names of the cases of CPython's `test_dummy_threading.py` are given above
//! the code that covers them.

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

/// Runs `body` in a real thread of its own, which has its own dummy threads.
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
