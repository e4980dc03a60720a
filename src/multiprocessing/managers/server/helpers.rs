//! Threads for methods that may take their time: as many as are busy, up to a limit.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long an idle thread waits for another job.
const IDLE: Duration = Duration::from_secs(10);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The jobs, and how many threads there are.
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
    news: Condvar,
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
            let (woken, waited) = self.news.wait_timeout(inner, IDLE).unwrap_or_else(PoisonError::into_inner);
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

    /// Has a thread run the job, as soon as one is free. Answers with `false` if there is none and the system has no room for
    /// one; the job is dropped then.
    pub(super) fn run(&self, job: Job) -> bool {
        let mut inner = self.shared.lock();
        inner.jobs.push_back(job);
        if inner.idle >= inner.jobs.len() || inner.threads >= self.most {
            drop(inner);
            self.shared.news.notify_one();
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
        inner.threads > 0 || inner.jobs.pop_back().is_none() // the others get to it
    }
}

impl Drop for Helpers {
    /// Lets the threads end after their jobs. Does not wait for them.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.closed = true;
        inner.jobs.clear();
        drop(inner);
        self.shared.news.notify_all();
    }
}
