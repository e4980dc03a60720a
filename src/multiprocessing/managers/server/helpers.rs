//! Threads for methods that may take long: as many threads as busy methods, up to a limit.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long an idle thread waits for another job.
const IDLE: Duration = Duration::from_secs(10);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The jobs, and the numbers of threads.
#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// The helper threads of a server.
pub(super) struct Helpers {
    shared: Arc<Shared>,
    most: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner) // no job runs under the lock
    }

    fn work(&self) {
        let mut inner = self.lock();
        loop {
            if let Some(job) = inner.jobs.pop_front() {
                drop(inner);
                job();
                inner = self.lock();
                continue;
            }
            if inner.closed {
                break;
            }
            inner.idle += 1;
            let (woken, waited) = self.changed.wait_timeout(inner, IDLE).unwrap_or_else(PoisonError::into_inner);
            inner = woken;
            inner.idle -= 1;
            if waited.timed_out() && inner.jobs.is_empty() {
                break;
            }
        }
        inner.threads -= 1;
    }
}

impl Helpers {
    pub(super) fn new(most: usize) -> Self {
        Self { shared: Arc::default(), most: most.max(1) }
    }

    /// Makes a thread run the job as soon as one is free. Returns `false` and drops the job if there is no thread and
    /// the system cannot start one.
    pub(super) fn run(&self, job: Job) -> bool {
        let mut inner = self.shared.lock();
        inner.jobs.push_back(job);
        if inner.idle >= inner.jobs.len() || inner.threads >= self.most {
            drop(inner);
            self.shared.changed.notify_one();
            return true;
        }
        inner.threads += 1;
        drop(inner);
        let shared = self.shared.clone();
        let started = thread::Builder::new().name("manager-helper".to_owned()).spawn(move || shared.work());
        if started.is_ok() {
            return true;
        }
        let mut inner = self.shared.lock();
        inner.threads -= 1;
        let refused = if inner.threads > 0 { None } else { inner.jobs.pop_back() }; // the others get to it
        drop(inner);
        // Dropped without the lock: a destructor of the program may take long, and may request a helper.
        refused.is_none()
    }
}

impl Drop for Helpers {
    /// Lets the threads end after their jobs. Does not wait for them.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.closed = true;
        let left = std::mem::take(&mut inner.jobs);
        drop(inner);
        self.shared.changed.notify_all();
        drop(left); // without the lock, as above
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_that_are_left_are_dropped_without_the_lock() {
        /// Reports whether the lock was free during its drop.
        struct Probe(Arc<Shared>, std::sync::mpsc::Sender<bool>);
        impl Drop for Probe {
            fn drop(&mut self) {
                self.1.send(self.0.inner.try_lock().is_ok()).unwrap();
            }
        }

        let helpers = Helpers::new(1);
        let (go, wait) = channel::<()>();
        assert!(helpers.run(Box::new(move || {
            let _ = wait.recv(); // until `go` is gone
        })));
        let (sender, receiver) = channel();
        let probe = Probe(helpers.shared.clone(), sender);
        assert!(helpers.run(Box::new(move || drop(probe))), "waits behind the first");
        drop(helpers);
        assert_eq!(receiver.try_recv(), Ok(true));
        drop(go);
    }
}
