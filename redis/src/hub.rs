//! The client's side of a pool: its jobs, the chunks in flight, and the threads that wait for them.
//!
//! A pool has two connections. Over one, the *sender*, threads send calls that they do not wait for. Over the other,
//! the *reader*, one thread waits for answers, and sends new calls with the same request. A thread that waits for a
//! result without a limit does this itself: it *leads*, and no other thread has to wake it. Without such a thread the
//! receiver's thread reads; it also does the due work at each heartbeat.
//!
//! The order of the locks is: the reader's first, then the sender's, then the state's.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ossature::multiprocessing::pool::engine::{self, Packer};
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind, Result};

use crate::engine::{Client, Engine, Fault, Finished};
use crate::job::{Callback, Failure, Job, Manner, callbacks_run_here};
use crate::link::Link;
use crate::reader::Reader;
use crate::state::{HubState, Mode};
use crate::streams::Streams;
use crate::wire::{LONGEST, too_long};

/// The settings of a pool for failures.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long the server may be unavailable before calls end as `Closed`.
    pub(crate) outage: Duration,
    /// The silence after which a worker's host counts as lost.
    pub(crate) lease: Duration,
    /// How long all workers may be other builds before calls end as `Incompatible`.
    pub(crate) start: Duration,
}

/// A pool, which all its handles in this process share.
pub(crate) struct Hub {
    pub(crate) link: Link,
    pub(crate) me: Client,
    pub(crate) settings: Settings,
    process: u32,
    state: Mutex<HubState>,
    /// Notified when a chunk or job has ended.
    pub(crate) turn: Condvar,
    /// Notified when the receiver's thread has work.
    pub(crate) work: Condvar,
    pub(crate) sender: Mutex<Option<Streams>>,
    pub(crate) reader: Mutex<Reader>,
    callbacks: Mutex<Option<std::sync::mpsc::Sender<Callback>>>,
}

impl Hub {
    pub(crate) fn new(link: Link, me: Client, settings: Settings, sender: Streams, reader: Streams) -> Self {
        Self {
            link,
            me,
            settings,
            process: std::process::id(),
            state: Mutex::new(HubState::new()),
            turn: Condvar::new(),
            work: Condvar::new(),
            sender: Mutex::new(Some(sender)),
            reader: Mutex::new(Reader::new(reader)),
            callbacks: Mutex::new(None),
        }
    }

    /// Locks the state in any process: no change leaves the state inconsistent.
    pub(crate) fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sender(&self) -> MutexGuard<'_, Option<Streams>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state, in the process that made the pool.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, HubState>> {
        if self.process != std::process::id() {
            let text = "the pool belongs to the process that made it: make another pool in this process";
            return Err(engine::error(ErrorKind::NotAllowed, text.into()));
        }
        Ok(self.state())
    }

    /// Locks the state if the pool accepts calls.
    ///
    /// # Errors
    /// `ShutDown`; `Closed` when the server is unavailable for longer than an outage may last.
    pub(crate) fn check(&self) -> Result<MutexGuard<'_, HubState>> {
        self.check_for(Mode::Open)
    }

    /// Like [`check`](Self::check), but accepts the mode `begun` too, for a job that began before the pool was closed.
    fn check_for(&self, begun: Mode) -> Result<MutexGuard<'_, HubState>> {
        let state = self.lock()?;
        if state.mode != Mode::Open && state.mode != begun {
            return Err(engine::error(ErrorKind::ShutDown, "the pool is closed and takes no more tasks".into()));
        }
        match &state.away {
            Some((since, fault)) if since.elapsed() > self.settings.outage => Err(self.link.error(fault)),
            _ => Ok(state),
        }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn begin(&self, task: &'static str, manner: Manner, by_coming: bool) -> Result<u64> {
        let mut state = self.check()?;
        let number = state.next_job;
        state.next_job += 1;
        state.jobs.insert(number, Job::new(task, manner, by_coming));
        Ok(number)
    }

    /// Adds calls to a job and sends them.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn give(&self, job: u64, bytes: &[u8], ends: &[usize]) -> Result<()> {
        self.give_at_wait(job, bytes, ends)?;
        self.pump();
        self.work.notify_one();
        Ok(())
    }

    /// Adds calls to a job; the caller sends them in its [wait](Self::wait) without a limit.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn give_at_wait(&self, job: u64, bytes: &[u8], ends: &[usize]) -> Result<()> {
        let mut state = self.check_for(Mode::Closed)?;
        if let Some(found) = state.jobs.get_mut(&job) {
            found.give(bytes, ends);
            if !std::mem::replace(&mut found.ready, true) {
                state.ready.push_back(job);
            }
        }
        Ok(())
    }

    /// Sends as much as the window allows. Never waits for an unavailable server: the receiver sends the rest later.
    pub(crate) fn pump(&self) {
        loop {
            let mut sender = self.sender();
            let Some(engine) = sender.as_mut() else { return self.state().heal = true };
            let batch = self.state().batch();
            if batch.is_empty() {
                return;
            }
            match engine.submit(&self.me, &batch) {
                Ok(()) => self.state().full = false,
                Err(Fault::Gone(_)) => {
                    *sender = None;
                    return self.state().heal = true; // the receiver asks which of them came there
                }
                Err(Fault::Full(_)) => {
                    return self.state().is_full(&batch);
                }
                Err(fault) => {
                    let error = self.link.error(&fault);
                    return self.fail(&error);
                }
            }
        }
    }

    /// Ends all calls that have not ended.
    #[cold]
    pub(crate) fn fail(&self, error: &Error) {
        let failure = Failure::Over(error.kind(), error.to_string().into());
        let mut state = self.state();
        let all: Vec<u64> = state.jobs.keys().copied().collect();
        let due = all.into_iter().flat_map(|job| state.withdraw(job, &failure)).collect();
        drop(state);
        self.work.notify_one();
        self.tell(due);
    }

    /// Records the ends of chunks.
    pub(crate) fn accept(&self, ended: Vec<Finished>) {
        let mut state = self.state();
        let due = ended.into_iter().flat_map(|ended| state.accept(ended)).collect();
        state.progress = Instant::now();
        drop(state);
        self.tell(due);
    }

    /// Wakes the waiting threads and runs callbacks.
    pub(crate) fn tell(&self, due: Vec<Callback>) {
        self.turn.notify_all();
        let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(callbacks) = callbacks.as_ref() {
            due.into_iter().for_each(|callback| drop(callbacks.send(callback)));
        }
    }

    /// Runs a callback once the job is done, in the thread for callbacks.
    ///
    /// # Errors
    /// `EAGAIN` when the system has no room for the thread.
    pub(crate) fn call_back(self: &Arc<Self>, job: u64, callback: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if callbacks.is_none() {
            let (tell, hear) = std::sync::mpsc::channel::<Callback>();
            std::thread::Builder::new().name("PoolCallbacks".into()).spawn(move || {
                for callback in hear {
                    callbacks_run_here();
                    // A panic of one is printed by the hook, and the others are called.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback));
                }
            })?;
            *callbacks = Some(tell);
        }
        drop(callbacks);
        let mut state = self.state();
        state.callbacks += 1;
        let counted = Counted(self.clone());
        let callback: Callback = Box::new(move || {
            let _counted = counted; // until the callback has returned, also by a panic
            callback();
        });
        let due = match state.jobs.get_mut(&job) {
            Some(job) if !job.is_done() => {
                job.callbacks.push(callback);
                Vec::new()
            }
            _ => vec![callback],
        };
        drop(state);
        self.tell(due);
        Ok(())
    }

    /// Ends the thread for callbacks after the last of them.
    pub(crate) fn end_callbacks(&self) {
        *self.callbacks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Cancels the calls of a job that have not ended.
    pub(crate) fn cancel(&self, job: u64) -> Result<()> {
        let mut state = self.lock()?;
        if let Some(job) = state.jobs.get_mut(&job) {
            job.cancelled = true;
        }
        let due = state.withdraw(job, &Failure::Cancelled);
        drop(state);
        self.work.notify_one();
        self.tell(due);
        Ok(())
    }

    /// Waits until `find` returns a value; `None` at the deadline. A wait without a limit leads if no other thread
    /// does. A wait with a limit never leads, because a silent server would block it.
    pub(crate) fn wait<T>(
        &self,
        until: Deadline,
        mut find: impl FnMut(&mut HubState) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut state = self.lock()?;
        let mut sent = false;
        loop {
            if let Some(found) = find(&mut state) {
                return Ok(Some(found));
            }
            if until.has_passed() {
                return Ok(None);
            }
            state = match until.remaining() {
                Some(left) => self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => match self.free_reader(&state) {
                    Some(reader) => {
                        let (state, found) = self.lead(state, reader, &mut find);
                        if found.is_some() {
                            return Ok(found);
                        }
                        state
                    }
                    None if std::mem::replace(&mut sent, true) => {
                        self.turn.wait(state).unwrap_or_else(PoisonError::into_inner)
                    }
                    None => {
                        drop(state);
                        self.pump(); // whoever reads may sleep at the server by now
                        self.work.notify_one();
                        self.state()
                    }
                },
            };
        }
    }

    /// Waits until `is_ready`, for callbacks, which this process calls. Returns false if the time ran out.
    pub(crate) fn wait_here(&self, until: Deadline, is_ready: impl Fn(&mut HubState) -> bool) -> Result<bool> {
        let mut state = self.lock()?;
        while !is_ready(&mut state) {
            state = match until.remaining() {
                _ if until.has_passed() => return Ok(false),
                Some(left) => self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        Ok(true)
    }

    /// Locks the reader, if no thread has it and it has a connection.
    fn free_reader(&self, state: &HubState) -> Option<MutexGuard<'_, Reader>> {
        if state.led || state.mode == Mode::Ended {
            return None;
        }
        self.reader.try_lock().ok().filter(|reader| reader.is_connected())
    }

    /// Reads until `find` returns a value, or the connection fails.
    fn lead<'h, T>(
        &'h self,
        mut state: MutexGuard<'h, HubState>,
        mut reader: MutexGuard<'h, Reader>,
        mut find: impl FnMut(&mut HubState) -> Option<T>,
    ) -> (MutexGuard<'h, HubState>, Option<T>) {
        state.led = true;
        loop {
            drop(state);
            let reads = {
                let _leads = Leads(self);
                reader.read(self).is_ok()
            };
            state = self.state();
            let found = find(&mut state);
            if !reads || found.is_some() {
                drop(reader);
                state.led = false;
                if !state.is_idle() {
                    self.work.notify_one();
                }
                return (state, found);
            }
        }
    }

    /// Counts another handle of the job's result.
    pub(crate) fn hold(&self, number: u64) {
        if let Some(job) = self.state().jobs.get_mut(&number) {
            job.held += 1;
        }
    }

    /// Drops a handle of the job's result.
    pub(crate) fn let_go(&self, number: u64) {
        let mut state = self.state();
        if let Some(job) = state.jobs.get_mut(&number) {
            job.held = job.held.saturating_sub(1);
            if job.held == 0 && job.is_done() {
                state.jobs.remove(&number);
            }
        }
    }
}

/// A callback that has not returned.
struct Counted(Arc<Hub>);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.callbacks = state.callbacks.saturating_sub(1);
        drop(state);
        self.0.turn.notify_all();
    }
}

/// Lets another thread lead if the leading thread panics.
struct Leads<'h>(&'h Hub);

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().led = false;
            self.0.work.notify_one();
        }
    }
}

/// Encoded arguments of calls for a job.
pub(crate) struct Packed {
    packer: Packer,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
}

impl Packed {
    pub(crate) fn new() -> Self {
        Self { packer: Packer::begin(), bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds a call; a call that fails leaves nothing behind.
    ///
    /// # Errors
    /// The errors of `Packer::write`; `TooLong` above 512 MiB.
    pub(crate) fn push<A: ossature::multiprocessing::tasks::Arguments>(&mut self, task: &str, args: &A) -> Result<()> {
        let from = self.ends.last().copied().unwrap_or_default();
        self.bytes.truncate(from);
        self.packer.write(task, &mut self.bytes, args)?;
        let length = self.bytes.len() - from;
        if length > LONGEST {
            self.bytes.truncate(from);
            return Err(too_long(&format!("the arguments of {task}"), length));
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }
}
