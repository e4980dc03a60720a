//! Connections and listeners with failing system calls: empty except under `--cfg ossature_faults`. The program is
//! separate from `it`, which would take minutes to build a second time.
#![cfg(ossature_faults)]

#[path = "../../sys/tests/it/support.rs"]
mod support;

mod connection;
mod listener;
mod mmap;
mod queue;
mod shared_memory;

use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ossature::multiprocessing::connection::{Access, Connection};
use ossature::{ErrorKind, Result};

/// Excludes other tests. A sweep checks the descriptors and the maps of the whole process, so no other test may have
/// any for a while. It does not check the threads, because the test harness starts some meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner) // a test that failed is over
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A connection and the bare socket at its other end.
fn bare() -> (Connection, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Connection::from_fd(near.into(), Access::Both).unwrap(), far)
}
