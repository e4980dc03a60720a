//! The client's side of a pool: its jobs, the chunks that are under way, and whoever waits for them.
//!
//! Two connections: threads that give calls send them over one, and the receiver's thread waits at the other. Whoever
//! needs both locks takes the sender's first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ossature::multiprocessing::pool::engine::{self, Packer};
use ossature::sys::deadline::Deadline;
use ossature::{Error, ErrorKind, Result};

use crate::engine::{Chunk, Client, Described, Engine, Fault, Finished};
use crate::job::{Callback, Failure, Job, Manner, Outcome};
use crate::link::Link;
use crate::streams::Streams;
use crate::wire::{Answer, Body, Calls, LONGEST, too_long};

/// How many chunks one request has at most, and how many bytes.
const BATCH: (usize, usize) = (64, 4 << 20);

/// How a pool meets trouble.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long the server may be away before calls end as `Closed`.
    pub(crate) outage: Duration,
    /// After how much silence a worker's host is lost.
    pub(crate) lease: Duration,
    /// How long workers of other builds alone may be there before calls end as `Incompatible`.
    pub(crate) start: Duration,
}

/// A pool, for all handles in this process.
pub(crate) struct Hub {
    pub(crate) link: Link,
    pub(crate) me: Client,
    pub(crate) settings: Settings,
    process: u32,
    state: Mutex<State>,
    pub(crate) turn: Condvar,
    pub(crate) sender: Mutex<Option<Streams>>,
    callbacks: Mutex<Option<std::sync::mpsc::Sender<Callback>>>,
}

/// A chunk that was given out.
pub(crate) struct Out {
    job: u64,
    base: usize,
    count: usize,
    body: Arc<[u8]>,
    /// How many workers or hosts have died in it.
    tries: u32,
}

/// Whether calls are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Open,
    Closed,
    Ended,
}

pub(crate) struct State {
    pub(crate) mode: Mode,
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
    /// What is given out, by number.
    pub(crate) chunks: HashMap<u64, Out>,
    next_chunk: u64,
    /// Jobs with calls that no chunk has.
    ready: VecDeque<u64>,
    /// Chunks to be sent.
    pub(crate) unsent: VecDeque<u64>,
    /// Chunks that nobody wants any more.
    pub(crate) unwanted: Vec<u64>,
    pub(crate) hosts: Vec<Described>,
    /// Whether the server may have lost something.
    pub(crate) heal: bool,
    /// Whether the server has no memory left.
    pub(crate) full: bool,
    /// Since when the server is away, and why; `None` while it is there.
    pub(crate) away: Option<(Instant, Fault)>,
    /// When a chunk last ended, or none was under way.
    pub(crate) progress: Instant,
    /// Since when only workers of other builds are there while something is to do.
    pub(crate) strangers: Option<Instant>,
    /// Chunks that have lost as many hosts as they may, and what became of the last.
    pub(crate) buried: Vec<(Arc<[u8]>, String)>,
    /// How often chunks were given out again that the server had lost.
    pub(crate) healed: u64,
}

impl Hub {
    pub(crate) fn new(link: Link, me: Client, settings: Settings, sender: Streams) -> Self {
        let state = State {
            mode: Mode::Open,
            jobs: BTreeMap::new(),
            next_job: 0,
            chunks: HashMap::new(),
            next_chunk: 0,
            ready: VecDeque::new(),
            unsent: VecDeque::new(),
            unwanted: Vec::new(),
            hosts: Vec::new(),
            heal: false,
            full: false,
            away: None,
            progress: Instant::now(),
            strangers: None,
            buried: Vec::new(),
            healed: 0,
        };
        Self {
            link,
            me,
            settings,
            process: std::process::id(),
            state: Mutex::new(state),
            turn: Condvar::new(),
            sender: Mutex::new(Some(sender)),
            callbacks: Mutex::new(None),
        }
    }

    /// The state, for whoever has no choice of process: no change leaves it half made.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sender(&self) -> MutexGuard<'_, Option<Streams>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for the process that made the pool.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, State>> {
        if self.process != std::process::id() {
            let text = "the pool belongs to the process that made it: make another one in this process";
            return Err(engine::error(ErrorKind::NotAllowed, text.into()));
        }
        Ok(self.state())
    }

    /// Whether calls are taken.
    ///
    /// # Errors
    /// `ShutDown`; `Closed` when the server is away for longer than an outage may last.
    pub(crate) fn check(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock()?;
        if state.mode != Mode::Open {
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

    /// Gives calls of a job out.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn give(&self, job: u64, bytes: &[u8], ends: &[usize]) -> Result<()> {
        let mut state = self.check()?;
        if let Some(found) = state.jobs.get_mut(&job) {
            found.give(bytes, ends);
            if !std::mem::replace(&mut found.ready, true) {
                state.ready.push_back(job);
            }
        }
        drop(state);
        self.pump();
        Ok(())
    }

    /// Sends what there is room for. Never waits for a server that is away: the receiver sends it later.
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
                    let mut state = self.state();
                    state.full = true;
                    batch.iter().rev().for_each(|chunk| state.unsent.push_front(chunk.number));
                    return;
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
        self.tell(due);
    }

    /// Takes in the ends of chunks.
    pub(crate) fn accept(&self, ended: Vec<Finished>) {
        let mut state = self.state();
        let due = ended.into_iter().flat_map(|ended| state.accept(ended)).collect();
        state.progress = Instant::now();
        drop(state);
        self.tell(due);
    }

    /// Wakes whoever waits, and calls back.
    pub(crate) fn tell(&self, due: Vec<Callback>) {
        self.turn.notify_all();
        let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(callbacks) = callbacks.as_ref() {
            due.into_iter().for_each(|callback| drop(callbacks.send(callback)));
        }
    }

    /// Has a callback called once the job is done, in the thread for callbacks.
    ///
    /// # Errors
    /// `EAGAIN` when the system has no room for the thread.
    pub(crate) fn call_back(&self, job: u64, callback: Callback) -> Result<()> {
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if callbacks.is_none() {
            let (tell, hear) = std::sync::mpsc::channel::<Callback>();
            std::thread::Builder::new().name("PoolCallbacks".into()).spawn(move || {
                for callback in hear {
                    // A panic of one is printed by the hook, and the others are called.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback));
                }
            })?;
            *callbacks = Some(tell);
        }
        drop(callbacks);
        let mut state = self.state();
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

    /// Lets the thread for callbacks end behind the last of them.
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
        self.tell(due);
        Ok(())
    }

    /// Waits until `find` finds something; `None` when the time ran out.
    pub(crate) fn wait<T>(&self, until: Deadline, mut find: impl FnMut(&mut State) -> Option<T>) -> Result<Option<T>> {
        let mut state = self.lock()?;
        loop {
            if let Some(found) = find(&mut state) {
                return Ok(Some(found));
            }
            if until.has_passed() {
                return Ok(None);
            }
            state = match until.remaining() {
                None => self.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// There is another handle of the job's result.
    pub(crate) fn hold(&self, number: u64) {
        if let Some(job) = self.state().jobs.get_mut(&number) {
            job.held += 1;
        }
    }

    /// A handle of the job's result is gone.
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

impl State {
    pub(crate) fn job(&mut self, job: u64) -> Option<&mut Job> {
        self.jobs.get_mut(&job)
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.jobs.values().any(|job| !job.is_done())
    }

    /// How many chunks of one job may be under way.
    pub(crate) fn window(&self) -> usize {
        let known: usize = self.hosts.iter().map(|is| is.processes).sum();
        known.saturating_mul(3).max(8)
    }

    /// Chunks to be sent: those that wait for it, and new ones of each job in turn.
    fn batch(&mut self) -> Vec<Chunk> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH.0 && bytes < BATCH.1 {
            let Some(number) = self.unsent.pop_front() else { break };
            if let Some(out) = self.chunks.get(&number) {
                bytes += out.body.len();
                batch.push(Chunk { number, body: out.body.clone() });
            }
        }
        if self.full && !batch.is_empty() {
            return batch; // the first that did not fit, before there are more
        }
        let (window, processes) = (self.window(), self.hosts.iter().map(|is| is.processes).sum::<usize>().max(1));
        let mut full = 0;
        while batch.len() < BATCH.0 && bytes < BATCH.1 && full < self.ready.len() {
            let Some(number) = self.ready.pop_front() else { break };
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            if job.uncut() == 0 {
                job.ready = false;
                continue;
            }
            self.ready.push_back(number);
            if job.chunks >= window {
                full += 1;
                continue;
            }
            full = 0;
            if let Some((base, count, body)) = job.cut(processes) {
                job.chunks += 1;
                bytes += body.len();
                let chunk = self.next_chunk;
                self.next_chunk += 1;
                self.chunks.insert(chunk, Out { job: number, base, count, body: body.clone(), tries: 0 });
                batch.push(Chunk { number: chunk, body });
            }
        }
        batch
    }

    /// The chunks that are given out again after the server has lost them.
    pub(crate) fn again(&self, numbers: &[u64]) -> Vec<Chunk> {
        let again = numbers.iter().filter_map(|number| {
            let out = self.chunks.get(number)?;
            Some(Chunk { number: *number, body: out.body.clone() })
        });
        again.collect()
    }

    /// Ends the calls of a job that have not ended; what is to be called then.
    fn withdraw(&mut self, number: u64, failure: &Failure) -> Vec<Callback> {
        let Some(job) = self.jobs.get_mut(&number) else { return Vec::new() };
        for index in job.forget_inputs() {
            job.end(index, Outcome::Failed(failure.clone()));
        }
        let unwanted = &mut self.unwanted;
        self.chunks.retain(|chunk, out| {
            if out.job != number {
                return true;
            }
            unwanted.push(*chunk);
            for index in out.base..out.base + out.count {
                job.end(index, Outcome::Failed(failure.clone()));
            }
            false
        });
        job.chunks = 0;
        self.settle(number)
    }

    /// What is to be called now that calls of the job have ended.
    fn settle(&mut self, number: u64) -> Vec<Callback> {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.is_done()) else { return Vec::new() };
        let due = std::mem::take(&mut job.callbacks);
        if job.held == 0 {
            self.jobs.remove(&number);
        }
        due
    }

    /// Takes in the end of a chunk. One that is not awaited has come before, or was withdrawn.
    fn accept(&mut self, ended: Finished) -> Vec<Callback> {
        let Some(out) = self.chunks.remove(&ended.number) else { return Vec::new() };
        let number = out.job;
        let Some(job) = self.jobs.get_mut(&number) else { return Vec::new() };
        job.chunks = job.chunks.saturating_sub(1);
        let bytes: Arc<[u8]> = ended.answer.into();
        let mut again = Vec::new();
        match Answer::read(&bytes) {
            Some(Answer::Outcomes { took, host, ends }) if ends.len() == out.count => {
                job.took(took, out.count);
                let host: Arc<str> = host.into();
                for (at, (is_value, from, to)) in ends.into_iter().enumerate() {
                    let index = out.base + at;
                    if is_value {
                        job.end(index, Outcome::Value(bytes.clone(), from..to));
                    } else if out.tries < job.manner.retries
                        && engine::is_death(bytes.get(from..to).unwrap_or_default())
                    {
                        again.push(at);
                    } else {
                        job.end(index, Outcome::Failed(Failure::Told(host.clone(), bytes.clone(), from..to)));
                    }
                }
            }
            Some(Answer::Lost(_)) if out.tries < job.manner.retries => again.extend(0..out.count),
            Some(Answer::Lost(host)) => {
                self.buried.push((
                    out.body.clone(),
                    format!("its host was lost {} times, the last one {host}", out.tries + 1),
                ));
                let host: Arc<str> = host.into();
                for index in out.base..out.base + out.count {
                    job.end(index, Outcome::Failed(Failure::Lost(host.clone())));
                }
            }
            _ => {
                let text: Arc<str> =
                    format!("the answer to {} is of another version or of a stranger", job.task).into();
                for index in out.base..out.base + out.count {
                    job.end(index, Outcome::Failed(Failure::Over(ErrorKind::Decode, text.clone())));
                }
            }
        }
        self.retry(&out, &again);
        self.settle(number)
    }

    /// Gives calls of a chunk out again, each alone, so that one that kills its worker is found.
    fn retry(&mut self, out: &Out, again: &[usize]) {
        let (Some(job), Some(calls)) = (self.jobs.get_mut(&out.job), Calls::read(&out.body)) else { return };
        for at in again {
            let Some(arguments) = calls.arguments.get(*at) else { continue };
            let mut body = Body::new(job.task, job.manner.wants, job.manner.limit);
            body.push(arguments);
            let number = self.next_chunk;
            self.next_chunk += 1;
            job.chunks += 1;
            let (base, body, tries) = (out.base + at, body.finish(), out.tries + 1);
            self.chunks.insert(number, Out { job: out.job, base, count: 1, body, tries });
            self.unsent.push_back(number);
        }
    }
}

/// Arguments of calls on their way into a job.
pub(crate) struct Packed {
    packer: Packer,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
}

impl Packed {
    pub(crate) fn new() -> Self {
        Self { packer: Packer::begin(), bytes: Vec::new(), ends: Vec::new() }
    }

    /// Adds a call; nothing of one that fails stays.
    ///
    /// # Errors
    /// Those of `Packer::write`; `TooLong` above 512 MiB.
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
