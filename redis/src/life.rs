//! The life of a worker. Three threads, each with its own connection: one claims chunks, one answers, and one sends
//! heartbeats.
//!
//! | the worker | the claiming thread | the answering thread |
//! | --- | --- | --- |
//! | has room, and no chunk waits | waits at the server, and runs new chunks | ends chunks |
//! | has no room | sleeps | ends chunks, begins chunks claimed ahead and claims others: one request for all of these |
//! | has room again, because the answering thread found too few chunks | claims returned chunks, then waits | ends chunks |
//!
//! So one thread claims at a time, and each chunk costs a busy worker only a part of one request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::Pool;
use ossature::multiprocessing::pool::engine::{self, CallEnd, Run};
use ossature::sys::deadline::Deadline;
use ossature::sys::signal::{self, Signal};

use crate::engine::{Claim, Described, Engine, Fault, Outcome, Serving, Turn};
use crate::link::Link;
use crate::receiver::BEATS;
use crate::streams::Streams;
use crate::wire::{Calls, Outcomes};

/// How long the worker waits at the server before it checks for other work.
const WAIT: Duration = Duration::from_millis(500);
/// The limits for short chunks. A chunk that takes less than the first value is claimed ahead and waits in the local
/// pool. The second value is the maximum number of such chunks per process.
const SHORT: (Duration, u128) = (Duration::from_millis(5), 32);
/// The number of short chunks per process below which some more are claimed, which do not run yet.
const FEW: u128 = 8;
/// The maximum number of chunks in one claim.
const MOST: usize = 128;
/// The time above which chunks are not claimed ahead at all.
const LONG: Duration = Duration::from_millis(50);
/// How often a worker with free processes looks for returned chunks, even while new ones keep arriving.
const LOOK: Duration = Duration::from_millis(100);
/// How long a chunk that was claimed ahead waits for a process before it is returned.
const PATIENCE: Duration = Duration::from_millis(200);

/// A chunk in the local pool.
struct Running {
    claim: Claim,
    /// The run or, if the pool could not accept the chunk, the number of its calls and the failure of each.
    run: Result<Run, (usize, Vec<u8>)>,
    begun: Instant,
    /// The number of chunks that each process had at that time, including this one.
    depth: u32,
    limit: Option<(Duration, Instant)>,
    task: String,
    late: bool,
    /// The number of successive heartbeats at which no client waited for the chunk.
    unwanted: u32,
}

impl Running {
    fn is_done(&self) -> bool {
        self.run.as_ref().map_or(true, Run::is_done)
    }
}

#[derive(Default)]
struct WorkerState {
    running: Vec<Running>,
    /// The chunks that were claimed ahead, and the time of each claim.
    ahead: VecDeque<(Claim, Instant)>,
    /// The records that are being answered.
    answering: Vec<String>,
    /// The number of turns of the claiming thread in which it was not claiming.
    turns: u64,
    /// Whether a thread claims chunks, or waits for them.
    taking: bool,
    /// Whether a chunk with a limit arrived.
    news: bool,
    /// The time that a chunk takes.
    takes: Option<Duration>,
    /// Whether no more chunks are to be claimed, whether none will be, and whether all are answered.
    ends: bool,
    taken: bool,
    over: bool,
    /// The reason why the local pool cannot run anything.
    broken: Option<String>,
}

/// A running worker.
pub(crate) struct Life {
    link: Link,
    me: Serving,
    is: Described,
    outage: Duration,
    pool: Pool,
    state: Mutex<WorkerState>,
    /// Notified when there is room for another chunk.
    turn: Condvar,
    calls: AtomicU64,
}

impl Life {
    pub(crate) fn new(link: Link, me: Serving, is: Described, outage: Duration, pool: Pool) -> Self {
        let (state, turn, calls) = (Mutex::new(WorkerState::default()), Condvar::new(), AtomicU64::new(0));
        Self { link, me, is, outage, pool, state, turn, calls }
    }

    /// The reason why the local pool cannot run anything, if it cannot.
    pub(crate) fn broken(&self) -> Option<String> {
        self.state().broken.take()
    }

    fn state(&self) -> MutexGuard<'_, WorkerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no change leaves it half made
    }

    /// Runs `ask` at the server, again after each outage.
    fn with<T>(&self, engine: &mut Option<Streams>, mut ask: impl FnMut(&mut Streams) -> Outcome<T>) -> Outcome<T> {
        let until = Instant::now() + self.outage;
        loop {
            if engine.is_none() {
                let left = until.saturating_duration_since(Instant::now());
                *engine = Some(self.link.open_within(left, || self.state().over)?);
            }
            let Some(there) = engine.as_mut() else { continue };
            match ask(there) {
                Err(fault @ Fault::Gone(_)) => {
                    *engine = None;
                    if Instant::now() >= until {
                        return Err(fault);
                    }
                    std::thread::sleep(WAIT / 50); // a server that answers, and refuses for now
                }
                Err(Fault::Full(_)) if Instant::now() < until => std::thread::sleep(WAIT / 10),
                done => return done,
            }
        }
    }

    /// Stops claiming, and wakes all waiting threads.
    fn end(&self) {
        self.state().ends = true;
        self.turn.notify_all();
        let _ = self.pool.wake();
    }

    /// Waits for the signals that end the worker.
    pub(crate) fn heed<const N: usize>(&self, ends: [Signal; N]) {
        while !self.state().ends {
            if !matches!(signal::wait(ends, WAIT), Ok(None)) {
                self.end();
            }
        }
    }

    /// How many more chunks may run, and how many more may be claimed ahead.
    fn room(&self, state: &WorkerState) -> (usize, usize) {
        let processes = self.is.processes;
        let (most, ahead) = match state.takes {
            Some(takes) if takes < SHORT.0 => {
                let each = (SHORT.0.as_nanos() / takes.as_nanos().max(1)).clamp(2, SHORT.1);
                (processes.saturating_mul(each as usize), if each < FEW { processes } else { 0 })
            }
            Some(takes) if takes < LONG => (processes, processes.div_ceil(2)),
            _ => (processes, 0),
        };
        let run = most.saturating_sub(state.running.len()).min(MOST);
        (run, ahead.saturating_sub(state.ahead.len().saturating_sub(run)))
    }

    /// Chooses the chunks to begin among those claimed ahead. Returns them, with how many more may run and be claimed
    /// ahead.
    fn plan(&self, state: &mut WorkerState) -> (Vec<Claim>, usize, usize) {
        let (mut run, ahead) = self.room(state);
        let mut begins = Vec::new();
        while run > 0 {
            let Some((claim, _)) = state.ahead.pop_front() else { break };
            begins.push(claim);
            run -= 1;
        }
        (begins, run, ahead)
    }

    /// Runs the thread that claims chunks.
    pub(crate) fn take(&self) -> Outcome<()> {
        let _last = Last(self);
        let mut engine = None;
        let taken = self.take_until_end(&mut engine);
        self.end();
        let ahead: Vec<_> = self.state().ahead.drain(..).map(|(claim, _)| (claim.label, claim.id)).collect();
        let released =
            if ahead.is_empty() { Ok(()) } else { self.with(&mut engine, |engine| engine.release(&self.me, &ahead)) };
        self.state().taken = true;
        let _ = self.pool.wake();
        taken.and(released)
    }

    fn take_until_end(&self, engine: &mut Option<Streams>) -> Outcome<()> {
        // The time of the last look for returned chunks; `None` to look at once.
        let mut looked: Option<Instant> = None;
        loop {
            let mut to_release = Vec::new();
            let (begins, run, ahead) = {
                let mut state = self.state();
                if state.ends {
                    return Ok(());
                }
                state.turns += u64::from(!state.taking);
                while state.ahead.front().is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
                    to_release.extend(state.ahead.pop_front().map(|(claim, _)| (claim.label, claim.id)));
                }
                let (run, ahead) = self.room(&state);
                if state.taking || run + ahead == 0 {
                    let rests = |state: &mut WorkerState| {
                        let (run, ahead) = self.room(state);
                        !state.ends && (state.taking || run + ahead == 0)
                    };
                    if to_release.is_empty() {
                        let waited = self.turn.wait_timeout_while(state, PATIENCE, rests);
                        drop(waited.unwrap_or_else(PoisonError::into_inner));
                        looked = None;
                        continue;
                    }
                    (Vec::new(), 0, 0)
                } else {
                    state.taking = true;
                    self.plan(&mut state)
                }
            };
            let taking = Taking(self, run + ahead + begins.len() > 0);
            if !to_release.is_empty() {
                self.with(engine, |engine| engine.release(&self.me, &to_release))?;
            }
            if !taking.1 {
                continue;
            }
            if run > 0 && begins.is_empty() && looked.is_some_and(|then| then.elapsed() < LOOK) {
                let wait = WAIT.min(self.me.lease / BEATS);
                let claims = self.with(engine, |engine| engine.wait(&self.me, &self.is.labels, run, wait))?;
                if claims.is_empty() {
                    looked = None;
                }
                self.run_all(engine, claims)?;
            } else {
                looked = Some(Instant::now());
                self.turn(engine, &[], begins, run, ahead)?;
            }
        }
    }

    /// Ends chunks, begins some and claims others. Returns whether it found as many to run as it requested.
    fn turn(
        &self,
        engine: &mut Option<Streams>,
        ended: &[(Claim, Vec<u8>)],
        begins: Vec<Claim>,
        run: usize,
        ahead: usize,
    ) -> Outcome<bool> {
        let turn = Turn { ended, begins: &begins, run, ahead };
        let mut taken = self.with(engine, |engine| engine.turn(&self.me, &self.is.labels, &turn))?;
        let may = std::mem::take(&mut taken.may);
        let begun = begins.into_iter().zip(may).filter(|(_, may)| *may).map(|(claim, _)| claim).collect();
        self.run_all(engine, begun)?;
        let Some((to_run, taken_ahead)) = taken.claims else {
            // The server does not know this worker any more, and the next heartbeat is too late.
            self.with(engine, |engine| engine.beat(&self.me, &self.described(), &[]))?;
            return Ok(false);
        };
        let found = to_run.len();
        self.run_all(engine, to_run)?;
        let now = Instant::now();
        self.state().ahead.extend(taken_ahead.into_iter().map(|claim| (claim, now)));
        Ok(found >= run)
    }

    /// Submits chunks to the local pool. A chunk that the pool cannot accept is answered as failed.
    fn run_all(&self, engine: &mut Option<Streams>, claims: Vec<Claim>) -> Outcome<()> {
        let mut claims = claims.into_iter();
        while let Some(claim) = claims.next() {
            let begun = Instant::now();
            let (mut limit, mut task) = (None, String::new());
            let run = match Calls::read(&claim.body) {
                None => {
                    let why = "not a chunk of calls of this version of ossature-redis";
                    self.with(engine, |engine| engine.put_dead_letter(&claim.label, why, &claim.client, &claim.body))?;
                    Err((1, engine::unreadable("the bytes are not calls of this version of ossature-redis")))
                }
                Some(calls) => {
                    limit = calls.limit.map(|limit| (limit, begun + limit));
                    task = calls.task.to_owned();
                    match self.pool.give_calls(calls.task, calls.wants, calls.arguments.iter().copied()) {
                        Err(error) if error.kind() == ErrorKind::StartFailed => {
                            // Others can make these calls.
                            self.state().broken = Some(error.to_string());
                            self.end();
                            let back = std::iter::once(claim).chain(claims).map(|claim| (claim.label, claim.id));
                            let back: Vec<_> = back.collect();
                            return self.with(engine, |engine| engine.release(&self.me, &back));
                        }
                        given => given.map_err(|error| (calls.arguments.len(), engine::unreadable(&error.to_string()))),
                    }
                }
            };
            let mut state = self.state();
            state.news |= limit.is_some();
            let depth = (state.running.len() / self.is.processes.max(1)) as u32 + 1;
            let running = Running { claim, run, begun, depth, limit, task, late: false, unwanted: 0 };
            let unseen = state.news || running.is_done();
            state.running.push(running);
            drop(state);
            if unseen {
                let _ = self.pool.wake(); // the thread that answers may sleep, and did not know of it
            }
        }
        Ok(())
    }

    /// Runs the thread that answers.
    pub(crate) fn answer(&self) -> Outcome<()> {
        let _last = Last(self);
        let mut engine = None;
        let answered = self.answer_until_end(&mut engine);
        let mut state = self.state();
        (state.ends, state.over) = (true, true);
        drop(state);
        self.turn.notify_all();
        answered
    }

    fn answer_until_end(&self, engine: &mut Option<Streams>) -> Outcome<()> {
        loop {
            let (soon, over) = {
                let mut state = self.state();
                state.news = false;
                let limits = state.running.iter().filter(|running| !running.late).filter_map(|running| running.limit);
                (limits.map(|(_, at)| at).min(), state.taken && state.running.is_empty())
            };
            if over {
                return Ok(());
            }
            let wait = soon.map_or(WAIT, |at| at.saturating_duration_since(Instant::now()).min(WAIT));
            let is_ready = || {
                let state = self.state();
                state.news || state.running.iter().any(Running::is_done) || (state.taken && state.running.is_empty())
            };
            if self.pool.wait_until(Deadline::after(wait), is_ready).is_err() {
                std::thread::sleep(WAIT / 10); // the pool is broken; what it had has ended
            }
            self.kill_the_late();
            let ended = self.ended();
            if ended.is_empty() {
                continue;
            }
            let (takes, (begins, run, ahead)) = {
                let mut state = self.state();
                let takes = !(state.taking || state.ends);
                state.taking |= takes;
                (takes, if takes { self.plan(&mut state) } else { Default::default() })
            };
            let taking = Taking(self, takes);
            let found = self.turn(engine, &ended, begins, run, ahead)?;
            self.state().answering.clear();
            drop(taking);
            if takes && !found {
                self.turn.notify_all();
            }
        }
    }

    /// Ends calls that exceed their time limit.
    fn kill_the_late(&self) {
        let now = Instant::now();
        let mut late = Vec::new();
        for (at, running) in self.state().running.iter_mut().enumerate() {
            if running.limit.is_some_and(|(_, until)| until <= now) && !running.late && !running.is_done() {
                running.late = true;
                late.push(at);
            }
        }
        for at in late {
            self.cancel(at);
        }
    }

    /// Cancels a run. The caller must not hold the state's lock during a call of the pool.
    fn cancel(&self, at: usize) {
        let run = {
            let state = self.state();
            let running = state.running.get(at);
            running.and_then(|running| running.run.as_ref().ok()).map(Run::handle)
        };
        if let Some(run) = run {
            let _ = run.cancel();
        }
    }

    /// Takes the runs that have ended, with their answers.
    fn ended(&self) -> Vec<(Claim, Vec<u8>)> {
        let mut done = Vec::new();
        let mut state = self.state();
        for running in std::mem::take(&mut state.running) {
            if !running.is_done() {
                state.running.push(running);
                continue;
            }
            let took = running.begun.elapsed() / running.depth; // the others came first
            state.takes = Some(state.takes.map_or(took, |before| (before * 3 + took) / 4));
            state.answering.push(running.claim.id.clone()); // as long as it is pending
            done.push((running, took));
        }
        drop(state);
        done.into_iter().map(|(running, took)| self.answer_to(running, took)).collect()
    }

    /// Returns the answer to a chunk that has ended.
    fn answer_to(&self, running: Running, took: Duration) -> (Claim, Vec<u8>) {
        let Running { claim, run, limit, task, late, .. } = running;
        let late = limit.filter(|_| late).map(|(limit, _)| engine::late(&task, limit));
        let calls = run.as_ref().map_or_else(|(calls, _)| *calls, Run::count);
        let (mut answer, mut broken) = (Outcomes::new(took, &self.is.host, calls), None);
        let mut tell = |end: CallEnd<'_>| match (&late, end) {
            (Some(late), CallEnd::Failed(_)) => answer.push(CallEnd::Failed(late)),
            (_, CallEnd::Value(_)) => answer.push(end),
            (None, CallEnd::Failed(failed)) => {
                broken = engine::unmade(failed).or(broken.take());
                answer.push(end);
            }
        };
        match &run {
            Ok(run) => run.take(tell),
            Err((calls, why)) => (0..*calls).for_each(|_| tell(CallEnd::Failed(why))),
        }
        if broken.is_some() {
            self.state().broken = broken;
            self.end();
        }
        self.calls.fetch_add(calls as u64, Relaxed); // a count
        (claim, answer.finish())
    }

    fn described(&self) -> Described {
        let running = self.state().running.len();
        Described { calls: self.calls.load(Relaxed), running, ..self.is.clone() }
    }

    /// Runs the thread that sends heartbeats.
    pub(crate) fn beat(&self) -> Outcome<()> {
        let _last = Last(self);
        let (mut engine, mut strays) = (None, HashMap::new());
        loop {
            let runs: Vec<_> = {
                let state = self.state();
                if state.over {
                    return Ok(());
                }
                let name = |running: &Running| (running.claim.client.clone(), running.claim.number.clone());
                state.running.iter().map(name).collect()
            };
            let is = self.described();
            let beat = self.with(&mut engine, |engine| engine.beat(&self.me, &is, &runs));
            match beat {
                Ok(heard) => {
                    self.drop_unwanted(&runs, &heard.wanted);
                    let forgotten = self.forgotten(heard.claimed, &mut strays);
                    if !forgotten.is_empty() {
                        self.with(&mut engine, |engine| engine.release(&self.me, &forgotten))?;
                    }
                }
                Err(_) if self.state().over => return Ok(()),
                Err(fault) => {
                    self.end();
                    return Err(fault);
                }
            }
            let state = self.state();
            let waited = self.turn.wait_timeout_while(state, self.me.lease / BEATS, |state| !state.over);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns the chunks that the server counts as this worker's but that the worker does not have. Either the answer
    /// to a claim was lost, or a replica took over before it knew of the end. The claiming thread must have taken two
    /// turns since such a chunk was first seen.
    fn forgotten(
        &self,
        claimed: Vec<(String, String)>,
        strays: &mut HashMap<(String, String), u64>,
    ) -> Vec<(String, String)> {
        let state = self.state();
        let has = |id: &String| {
            state.running.iter().any(|running| running.claim.id == *id)
                || state.ahead.iter().any(|(claim, _)| claim.id == *id)
                || state.answering.contains(id)
        };
        let unknown: HashSet<_> = claimed.into_iter().filter(|(_, id)| !has(id)).collect();
        strays.retain(|stray, _| unknown.contains(stray));
        for stray in unknown {
            strays.entry(stray).or_insert(state.turns);
        }
        let over = |since: &u64| state.turns >= since + 2;
        strays.iter().filter(|(_, since)| over(since)).map(|(stray, _)| stray.clone()).collect()
    }

    /// Ends runs for which no client waits, at the second such report, because a client needs a moment after a
    /// fail-over.
    fn drop_unwanted(&self, runs: &[(String, String)], wanted: &[bool]) {
        let mut unwanted = Vec::new();
        let mut state = self.state();
        for ((client, number), wanted) in runs.iter().zip(wanted) {
            let is_it = |running: &&mut Running| running.claim.client == *client && running.claim.number == *number;
            let Some(running) = state.running.iter_mut().find(is_it) else { continue };
            running.unwanted = if *wanted { 0 } else { running.unwanted + 1 };
            if running.unwanted >= 2 {
                unwanted.extend(running.run.as_ref().ok().map(Run::handle));
            }
        }
        drop(state);
        for run in unwanted {
            let _ = run.cancel();
        }
    }
}

/// Lets the other thread claim chunks, if this thread did.
struct Taking<'l>(&'l Life, bool);

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.state().taking = false;
        }
    }
}

/// Ends the worker when one of its threads panics, so that it sends no more heartbeats.
struct Last<'l>(&'l Life);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state();
            (state.ends, state.taken, state.over) = (true, true, true);
            drop(state);
            self.0.end();
        }
    }
}
