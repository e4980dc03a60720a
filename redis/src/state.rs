//! The state of a pool: its jobs, the chunks in flight, and the chunks to send.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ossature::ErrorKind;
use ossature::multiprocessing::pool::engine;

use crate::engine::{Chunk, Described, Fault, Finished};
use crate::job::{Callback, Failure, Job, Outcome};
use crate::wire::{Answer, Body, Calls};

/// The maximum number of chunks in one request, and their maximum length in bytes.
pub(crate) const BATCH: (usize, usize) = (64, 4 << 20);

/// A chunk in flight.
pub(crate) struct Out {
    job: u64,
    base: usize,
    count: usize,
    body: Arc<[u8]>,
    /// The number of workers or hosts that died in it.
    tries: u32,
}

/// Whether the pool accepts calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Open,
    Closed,
    /// Closed, and maps that began before give no more calls either.
    Terminated,
    Ended,
}

pub(crate) struct HubState {
    pub(crate) mode: Mode,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) next_job: u64,
    /// The chunks in flight, by number.
    pub(crate) chunks: HashMap<u64, Out>,
    next_chunk: u64,
    /// Jobs with calls that are in no chunk.
    pub(crate) ready: VecDeque<u64>,
    /// Chunks to send.
    pub(crate) unsent: VecDeque<u64>,
    /// Chunks whose results no caller awaits any more.
    pub(crate) unwanted: Vec<u64>,
    pub(crate) hosts: Vec<Described>,
    /// The number of callbacks that have not returned.
    pub(crate) callbacks: usize,
    /// Whether a thread that waits for a result leads.
    pub(crate) led: bool,
    /// Whether the server may have lost something.
    pub(crate) heal: bool,
    /// Whether the server is out of memory.
    pub(crate) full: bool,
    /// The time since when the server is unavailable, and the fault; `None` while it is available.
    pub(crate) away: Option<(Instant, Fault)>,
    /// The time when a chunk last ended, or when none was in flight.
    pub(crate) progress: Instant,
    /// The time since when all workers are other builds while there is work.
    pub(crate) strangers: Option<Instant>,
    /// Chunks that have lost the maximum number of hosts, and the description of the last host.
    pub(crate) dead: Vec<(Arc<[u8]>, String)>,
    /// The number of resubmissions of chunks that the server had lost.
    pub(crate) healed: u64,
}

impl HubState {
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::Open,
            jobs: BTreeMap::new(),
            next_job: 0,
            chunks: HashMap::new(),
            next_chunk: 0,
            ready: VecDeque::new(),
            unsent: VecDeque::new(),
            unwanted: Vec::new(),
            hosts: Vec::new(),
            callbacks: 0,
            led: false,
            heal: false,
            full: false,
            away: None,
            progress: Instant::now(),
            strangers: None,
            dead: Vec::new(),
            healed: 0,
        }
    }

    /// Whether there is nothing to send and nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        let sent = self.unsent.is_empty() && self.ready.is_empty() && self.chunks.is_empty();
        sent && self.unwanted.is_empty() && self.dead.is_empty() && !self.heal
    }

    pub(crate) fn job(&mut self, job: u64) -> Option<&mut Job> {
        self.jobs.get_mut(&job)
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.jobs.values().any(|job| !job.is_done())
    }

    /// The number of processes of all workers.
    pub(crate) fn processes(&self) -> usize {
        self.hosts.iter().map(|is| is.processes).sum()
    }

    /// The chunks to send: waiting ones, and new ones of each job in turn.
    pub(crate) fn batch(&mut self) -> Vec<Chunk> {
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
        let processes = self.processes();
        let mut full = 0;
        while batch.len() < BATCH.0 && bytes < BATCH.1 && full < self.ready.len() {
            let Some(number) = self.ready.pop_front() else { break };
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            if job.uncut() == 0 {
                job.ready = false;
                continue;
            }
            self.ready.push_back(number);
            // A job with room for only a few chunks waits until it has room for more, so that a request has several. A
            // batch that has begun continues.
            let window = job.window(processes);
            let begins = batch.is_empty() && job.chunks + window / 8 > window;
            if job.chunks >= window || begins {
                full += 1;
                continue;
            }
            full = 0;
            if let Some((base, count, body)) = job.cut(processes.max(1)) {
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

    /// Records that the server has no memory for these chunks.
    pub(crate) fn is_full(&mut self, batch: &[Chunk]) {
        self.full = true;
        batch.iter().rev().for_each(|chunk| self.unsent.push_front(chunk.number));
    }

    /// The chunks to submit again after the server has lost them.
    pub(crate) fn again(&self, numbers: &[u64]) -> Vec<Chunk> {
        let again = numbers.iter().filter_map(|number| {
            let out = self.chunks.get(number)?;
            Some(Chunk { number: *number, body: out.body.clone() })
        });
        again.collect()
    }

    /// Ends the calls of a job that have not ended; returns the callbacks that are due then.
    pub(crate) fn withdraw(&mut self, number: u64, failure: &Failure) -> Vec<Callback> {
        let Some(job) = self.jobs.get_mut(&number) else { return Vec::new() };
        for index in job.forget_inputs() {
            job.end(index, Outcome::failed(failure));
        }
        let unwanted = &mut self.unwanted;
        self.chunks.retain(|chunk, out| {
            if out.job != number {
                return true;
            }
            unwanted.push(*chunk);
            for index in out.base..out.base + out.count {
                job.end(index, Outcome::failed(failure));
            }
            false
        });
        job.chunks = 0;
        self.take_callbacks(number)
    }

    /// Takes the callbacks that are due after the end of calls of the job.
    fn take_callbacks(&mut self, number: u64) -> Vec<Callback> {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.is_done()) else { return Vec::new() };
        let due = std::mem::take(&mut job.callbacks);
        if job.held == 0 {
            self.jobs.remove(&number);
        }
        due
    }

    /// Records the end of a chunk. An end that is not awaited was recorded before, or its chunk was cancelled.
    pub(crate) fn accept(&mut self, ended: Finished) -> Vec<Callback> {
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
                        job.end(index, Outcome::Value(bytes.clone(), from as u32..to as u32));
                        continue;
                    }
                    let failed = bytes.get(from..to).unwrap_or_default();
                    if engine::unmade(failed).is_some() {
                        again.push((at, out.tries)); // that worker ends, and another makes the call
                    } else if out.tries < job.manner.retries && engine::is_death(failed) {
                        again.push((at, out.tries + 1));
                    } else {
                        job.end(index, Outcome::failed(&Failure::Reported(host.clone(), bytes.clone(), from..to)));
                    }
                }
            }
            Some(Answer::Lost(_)) if out.tries < job.manner.retries => {
                again.extend((0..out.count).map(|at| (at, out.tries + 1)));
            }
            Some(Answer::Lost(host)) => {
                self.dead.push((
                    out.body.clone(),
                    format!("its host was lost {} times, the last one {host}", out.tries + 1),
                ));
                let host: Arc<str> = host.into();
                for index in out.base..out.base + out.count {
                    job.end(index, Outcome::failed(&Failure::Lost(host.clone())));
                }
            }
            _ => {
                let text: Arc<str> =
                    format!("the answer to {} is of another version or another program", job.task).into();
                for index in out.base..out.base + out.count {
                    job.end(index, Outcome::failed(&Failure::Over(ErrorKind::Decode, text.clone())));
                }
            }
        }
        self.retry(&out, &again);
        self.take_callbacks(number)
    }

    /// Submits calls of a chunk again, each alone, so that a call that kills its worker is found. Each has the number
    /// of workers or hosts that died in it.
    fn retry(&mut self, out: &Out, again: &[(usize, u32)]) {
        let (Some(job), Some(calls)) = (self.jobs.get_mut(&out.job), Calls::read(&out.body)) else { return };
        for &(at, tries) in again {
            let Some(arguments) = calls.arguments.get(at) else { continue };
            let mut body = Body::new(job.task, job.manner.wants, job.manner.limit);
            body.push(arguments);
            let number = self.next_chunk;
            self.next_chunk += 1;
            job.chunks += 1;
            let (base, body) = (out.base + at, body.finish());
            self.chunks.insert(number, Out { job: out.job, base, count: 1, body, tries });
            self.unsent.push_back(number);
        }
    }
}
