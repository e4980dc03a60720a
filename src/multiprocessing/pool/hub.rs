//! The parent's side: it publishes chunks, collects outcomes and handles deaths. It has no thread of its own: a thread
//! that waits for a result does this work for all threads.
//!
//! One thread at a time, the *leader*, sleeps on the news of the workers and on the supervisor's end. The others sleep
//! on a condition variable. The leader wakes them when it has collected outcomes, and when it stops being the leader.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::eventfd::CancelFd;
use ossature_sys::fd::{self, AboveStandard, AsFd};
use ossature_sys::mmap::Memfd;
use ossature_sys::pipe;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::generation;

use super::arena::Arena;
use super::board::{EACH, INTERRUPTED};
use super::chunk::Chunk;
use super::drawers::{Drawer, Drawers};
use super::failure::Failure;
use super::fallen::Fallen;
use super::ground::{Ground, Setup, lower, raise};
use super::handles::Handles;
use super::job::{Due, Job, Outcome};
use super::logs::{LogRecord, Logs};
use super::looks::Looks;
use super::names::Names;
use super::stream::Next;
use super::wanted::Waiting;
use super::wanted::Wanted;
use super::worker::Runner;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::process::Process;
use crate::multiprocessing::transfer::{Descriptors, Packed};
use crate::thread;

/// The state of a pool, shared by all handles in this process.
pub(super) struct Hub {
    pub(super) ground: Ground,
    pub(super) setup: Setup,
    pub(super) initializer: Option<Packed>,
    pub(super) context: Context,
    /// Whether the workers run a closure, which a later supervisor would not have.
    pub(super) closure: bool,
    /// How many times a task is published again after its worker died.
    pub(super) retries: u32,
    pub(super) arena: Memfd,
    generation: u32,
    state: Mutex<Inner>,
    turn: Condvar,
    /// A counter that a thread increments when it finds outcomes, before the outcomes leave their stream.
    pub(super) collected: AtomicU32,
    /// Callbacks of jobs that have ended.
    pub(super) due: Arc<Due>,
    /// Whether the thread for callbacks has ended on an error. Whoever waits for a callback calls it then.
    pub(super) stranded: AtomicBool,
    /// Whether the pool has ended, for the thread of the callbacks.
    pub(super) over: AtomicBool,
    /// The number of results that are watched as descriptors, and the watched descriptors: the news and the supervisor.
    pub(super) armed: AtomicUsize,
    pub(super) watch: OnceLock<Epoll>,
    /// Readable while an interrupt is pending, in a program that uses interrupts.
    interrupts: Option<&'static CancelFd>,
    /// Log records of the workers.
    logs: Option<Logs>,
    /// The number of waiting threads.
    pub(super) waiting: AtomicUsize,
    /// The looks for news before the leader sleeps.
    looks: Looks,
}

/// The remaining time from which a limit is near.
const NEAR: Duration = Duration::from_millis(20);

/// Whether the pool accepts tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Open,
    Closed,
    Ended,
}

/// The call to which descriptors belong: the number of the chunk, and the index of the call in it.
pub(super) type Label = (u64, u32);

pub(super) struct Inner {
    pub(super) mode: Mode,
    pub(super) supervisor: Option<Process>,
    /// The end of a pipe that the supervisor and the workers hold open.
    pub(super) line: Option<OwnedFd>,
    /// A supervisor that has died, whose workers may still run, and whether its successor is being started.
    pub(super) fallen: Option<Fallen>,
    pub(super) rising: bool,
    /// The published chunks, by slot.
    pub(super) chunks: Vec<Option<Chunk>>,
    pub(super) free: usize,
    /// The chunks and the series of chunks that wait.
    pub(super) queue: VecDeque<Box<Chunk>>,
    /// A buffer for the bytes of a chunk that is taken off a series.
    pub(super) cut: Vec<u8>,
    /// The job of the series at the front of the queue, once for each of its chunks that have ended.
    pub(super) handles: Handles,
    pub(super) names: Names,
    /// The maps that continue to publish calls after the pool is closed.
    pub(super) drawers: Drawers,
    /// Whether the publishing thread will wait. Then workers that look may find the chunk, and no worker is woken.
    pub(super) waits: bool,
    /// Whether a chunk was published without a wake. The next leader that finds no news wakes a worker for it.
    pub(super) unwoken: bool,
    pub(super) sequence: u64,
    pub(super) arena: Arena,
    /// The received part of a long outcome, for each entry.
    pub(super) partial: Vec<Partial>,
    /// The descriptors of results whose records have not been read.
    pub(super) parcels: HashMap<Label, Descriptors>,
    /// Whether the packets of chunks must be sent again.
    pub(super) resend: bool,
    pub(super) scratch: Vec<u8>,
    pub(super) ends: u32,
    /// Whether a thread is the leader, and the number of threads that wait for it.
    pub(super) led: bool,
    followers: usize,
    /// Whether the thread for callbacks exists.
    pub(super) called: bool,
    pub(super) broken: Option<String>,
    /// Whether an interrupt has ended the pool.
    pub(super) interrupted: bool,
}

#[derive(Default)]
pub(super) struct Partial {
    pub(super) of: Option<(u64, u32)>,
    pub(super) bytes: Vec<u8>,
    /// The call to which the next value without a header belongs.
    pub(super) next: Next,
}

impl Hub {
    pub(super) fn start(
        workers: usize,
        context: Context,
        setup: Setup,
        initializer: Option<Packed>,
        retries: u32,
        runner: Option<Runner<'_>>,
    ) -> Result<Arc<Self>> {
        let hub = Self::without_supervisor(workers, context, setup, initializer, retries, runner.is_some())?;
        let started = hub.start_supervisor(runner);
        // The signal may have ended the new process too.
        let started = started.map_err(|error| if hub.is_interrupted() { interrupted() } else { error })?;
        hub.enter(&mut *hub.lock()?, started)?;
        Ok(Arc::new(hub))
    }

    fn without_supervisor(
        workers: usize,
        context: Context,
        setup: Setup,
        initializer: Option<Packed>,
        retries: u32,
        closure: bool,
    ) -> Result<Self> {
        let (logs, theirs) = match setup.log {
            Some(_) => Some(log_pipe()?).unzip(),
            None => (None, None),
        };
        let ground = Ground::new(workers, theirs)?;
        let arena = ground.arena_file()?;
        let slots = ground.slots().len();
        let inner = Inner {
            mode: Mode::Open,
            supervisor: None,
            line: None,
            fallen: None,
            rising: false,
            chunks: (0..slots).map(|_| None).collect(),
            free: slots,
            queue: VecDeque::new(),
            cut: Vec::new(),
            handles: Handles::default(),
            names: Names::default(),
            drawers: Drawers::default(),
            waits: false,
            unwoken: false,
            sequence: 0,
            arena: Arena::new(ground.arena.len()),
            partial: (0..workers).map(|_| Partial::default()).collect(),
            parcels: HashMap::new(),
            resend: false,
            scratch: Vec::new(),
            ends: 0,
            led: false,
            followers: 0,
            called: false,
            broken: None,
            interrupted: false,
        };
        Ok(Self {
            ground,
            setup,
            initializer,
            context,
            closure,
            retries,
            arena,
            generation: generation(),
            state: Mutex::new(inner),
            turn: Condvar::new(),
            collected: AtomicU32::new(0),
            due: Arc::default(),
            stranded: AtomicBool::new(false),
            over: AtomicBool::new(false),
            armed: AtomicUsize::new(0),
            watch: OnceLock::new(),
            waiting: AtomicUsize::new(0),
            looks: Looks::default(),
            interrupts: thread::interrupt_event(),
            logs: logs.map(Logs::new),
        })
    }

    pub(super) fn workers(&self) -> usize {
        self.ground.entries().len()
    }

    /// A descriptor that is readable while there are news, or once the supervisor has ended.
    pub(super) fn watch(&self) -> Result<impl AsFd + '_> {
        let failed = |errno| Error::os(errno, "cannot watch a pool");
        let inner = self.lock()?;
        if let Some(watch) = self.watch.get() {
            return Ok(watch);
        }
        let watch = Epoll::new().and_then(AboveStandard::above_standard).map_err(failed)?;
        watch.register(self.ground.news(), Interest::IN, 0).map_err(failed)?;
        if let Some(supervisor) = &inner.supervisor {
            watch.register(supervisor, Interest::IN, 1).map_err(failed)?;
        }
        if let Some(line) = inner.fallen.as_ref().and_then(Fallen::line) {
            watch.register(line, Interest::IN, 1).map_err(failed)?;
        }
        if let Some(interrupts) = self.interrupts {
            watch.register(interrupts, Interest::IN, 2).map_err(failed)?;
        }
        if let Some(logs) = &self.logs {
            watch.register(&logs.pipe, Interest::IN, 3).map_err(failed)?;
        }
        Ok(self.watch.get_or_init(|| watch))
    }

    /// Locks the state, in the process that made the pool.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Inner>> {
        if self.generation != generation() {
            return Err(Error::new(
                ErrorKind::NotAllowed,
                "the pool belongs to the process that made it: make another pool in this process",
            ));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner)) // nothing in here panics half-way
    }

    /// Checks that the pool accepts tasks.
    ///
    /// # Errors
    /// `ShutDown` after `close` or `terminate`, `StartFailed` when workers cannot be started, `NotAllowed` elsewhere.
    pub(super) fn check(&self) -> Result<()> {
        self.lock()?.check()
    }

    /// Whether an available result may be taken without looking for news: nothing ends the pool, and the pool belongs
    /// to this process.
    pub(super) fn is_undisturbed(&self) -> bool {
        self.generation == generation() && !self.is_interrupted() && self.logs.is_none()
    }

    /// Collects the available outcomes, without a wait.
    pub(super) fn look(&self) -> Result<()> {
        let looked = self.look_quietly();
        self.tell_logs();
        looked
    }

    fn look_quietly(&self) -> Result<()> {
        let mut inner = self.lock()?;
        self.collect(&mut inner)?;
        self.heed(&mut inner)?;
        self.succeed(inner).map(drop)
    }

    /// Whether an interrupt that ends pools is pending.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupts.is_some() && thread::interrupts().is_cancelled()
    }

    /// Ends the pool if an interrupt is pending.
    ///
    /// # Errors
    /// `Interrupted` then.
    pub(super) fn heed(&self, inner: &mut Inner) -> Result<()> {
        if inner.mode == Mode::Ended || !self.is_interrupted() {
            return Ok(());
        }
        inner.interrupted = true;
        self.end_in(inner, INTERRUPTED, &Failure::Interrupted);
        Err(interrupted())
    }

    /// Waits until `is_ready` is true; false when the time ran out. `wanted` names the outcomes that can make it true.
    pub(super) fn wait(&self, deadline: Deadline, wanted: Wanted<'_>, is_ready: impl Fn() -> bool) -> Result<bool> {
        let _waiting = Waiting::begin(&self.waiting);
        let waited = self.wait_quietly(deadline, wanted, is_ready);
        self.tell_logs();
        waited
    }

    /// Passes the log records of the workers to the logger. The caller holds no lock, because the logger may call the
    /// pool.
    pub(super) fn tell_logs(&self) {
        if let Some(logs) = &self.logs {
            logs.take().iter().for_each(LogRecord::log);
        }
    }

    fn wait_quietly(&self, deadline: Deadline, wanted: Wanted<'_>, is_ready: impl Fn() -> bool) -> Result<bool> {
        let mut inner = self.lock()?;
        loop {
            self.collect(&mut inner)?;
            self.heed(&mut inner)?;
            if is_ready() {
                self.wake_followers(&inner); // one of the others leads from now on
                return Ok(true);
            }
            if deadline.has_passed() {
                self.wake_followers(&inner);
                return Ok(false);
            }
            inner = match inner.led {
                true => {
                    // The leader may sleep already, and a worker that was woken may have been stopped.
                    self.ground.wake_for_unclaimed();
                    self.follow(inner, deadline)
                }
                false => self.lead(inner, deadline, wanted)?,
            };
        }
    }

    /// Sleeps until the leader has news.
    pub(super) fn follow<'h>(&'h self, mut inner: MutexGuard<'h, Inner>, deadline: Deadline) -> MutexGuard<'h, Inner> {
        inner.followers += 1;
        let mut inner = match deadline.remaining() {
            None => self.turn.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.turn.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
        };
        inner.followers -= 1;
        inner
    }

    /// Wakes the threads that [follow](Self::follow). Without such threads it skips the system call, which the standard
    /// library's condition variable would make.
    pub(super) fn wake_followers(&self, inner: &Inner) {
        if inner.followers > 0 {
            self.turn.notify_all();
        }
    }

    /// Sleeps as the leader until there is news.
    pub(super) fn lead<'h>(
        &'h self,
        mut inner: MutexGuard<'h, Inner>,
        deadline: Deadline,
        wanted: Wanted<'_>,
    ) -> Result<MutexGuard<'h, Inner>> {
        let told = self.logs.as_ref().map(Logs::take).unwrap_or_default();
        if !told.is_empty() {
            drop(inner);
            told.iter().for_each(LogRecord::log);
            return self.lock();
        }
        if inner.fallen.is_some() {
            return self.outwait(inner, deadline);
        }
        let supervisor = inner.supervisor.clone();
        let interrupts = self.interrupts.filter(|_| inner.mode != Mode::Ended);
        let (ends, collected) = (inner.ends, self.collected.load(SeqCst));
        let alone = self.first_of(&inner, wanted);
        let from = || if self.wants_each() { EACH } else { alone };
        let unwoken = std::mem::take(&mut inner.unwoken);
        inner.led = true;
        drop(inner);
        let board = self.ground.board();
        // Another thread may collect the outcome that this thread waits for before the workers see that it listens. The
        // streams are checked first: if such a thread has emptied a stream, `collected` has already changed.
        let has_news =
            || board.ends.load(SeqCst) != ends || self.has_outcomes(from()) || self.collected.load(SeqCst) != collected;
        // A yield may take long, so a wait does not yield if its limit is near.
        let may_yield = deadline.remaining().is_none_or(|left| left > NEAR);
        let is_shared = self.ground.parent_shares_processor();
        let found = self.looks.find(is_shared, may_yield, || has_news().then_some(())).is_some();
        let mut ended = false;
        let mut slept = Ok(0);
        let mut may_be_raised = !found;
        if !found {
            if unwoken {
                self.ground.wake_for_unclaimed(); // the worker that looked for the chunk may have been stopped
            }
            board.listen(from());
            if self.wants_each() {
                board.listen(EACH); // a thread that came meanwhile has done so, too, and it may have been first
            }
            if !has_news() {
                let mut fds = vec![PollFd::new(self.ground.news(), PollFlags::IN)];
                fds.extend(interrupts.map(|event| PollFd::new(event, PollFlags::IN)));
                fds.extend(self.logs.as_ref().map(|logs| PollFd::new(&logs.pipe, PollFlags::IN)));
                fds.extend(supervisor.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
                slept = self.sleep_on(&mut fds, deadline);
                ended = supervisor.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty());
            } else if self.armed.load(SeqCst) == 0 {
                may_be_raised = !board.stop_listening();
            }
        }
        let mut inner = self.lock()?;
        inner.led = false;
        inner.unwoken |= unwoken && found;
        // Otherwise nobody has raised it since this thread began to listen. What was raised before ends the next sleep
        // at once, and only that sleep.
        if may_be_raised {
            lower(self.ground.news());
        }
        self.wake_followers(&inner);
        slept.map_err(|errno| Error::os(errno, "cannot wait for a pool"))?;
        // Another thread may have seen to the next supervisor between the sleep and the lock.
        if ended { self.succeed(inner) } else { Ok(inner) }
    }

    /// Wakes the other waiting threads, after a change that no worker reports.
    pub(super) fn wake_others(&self, inner: &Inner) {
        self.wake_followers(inner);
        if inner.led {
            raise(self.ground.news());
        }
    }
}

impl Inner {
    pub(super) fn check(&self) -> Result<()> {
        self.check_for(None)
    }

    /// Like [`check`](Self::check), for a drawer that was admitted before the pool was closed.
    pub(super) fn check_for(&self, drawer: Option<&Drawer>) -> Result<()> {
        if self.interrupted {
            return Err(interrupted());
        }
        let is_open = match self.mode {
            Mode::Open => true,
            Mode::Closed => drawer.is_some_and(|drawer| !drawer.is_cut()),
            Mode::Ended => false,
        };
        match &self.broken {
            _ if !is_open => Err(Error::new(ErrorKind::ShutDown, "the pool is closed and takes no more tasks")),
            Some(text) => Err(Error::new(ErrorKind::StartFailed, text.clone())),
            None => Ok(()),
        }
    }

    /// The job and the number of the chunk in a slot.
    pub(super) fn at(&self, at: usize) -> Option<(Arc<Job>, u64)> {
        let chunk = self.chunks.get(at).and_then(Option::as_ref)?;
        Some((chunk.job.clone(), chunk.sequence))
    }

    /// The number of the chunk in a slot, if it belongs to this job.
    pub(super) fn published(&self, at: usize, job: &Arc<Job>) -> Option<u64> {
        self.at(at).filter(|(of, _)| Arc::ptr_eq(of, job)).map(|(_, sequence)| sequence)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.free == self.chunks.len()
    }

    /// Whether a closed pool has no work left.
    pub(super) fn is_finished(&self) -> bool {
        self.is_idle() && self.drawers.is_empty()
    }

    pub(super) fn supervisor_has_ended(&self) -> bool {
        let ended = |process: &Process| {
            poll(&mut [PollFd::new(process, PollFlags::IN)], Deadline::NOW).is_ok_and(|ready| ready > 0)
        };
        self.supervisor.as_ref().is_some_and(ended)
    }

    /// Ends every unfinished call with a failure.
    pub(super) fn fail_all(&mut self, failure: &Failure, hub: &Hub) {
        let waiting = std::mem::take(&mut self.queue);
        self.handles.clear();
        let published: Vec<_> = (0..self.chunks.len()).filter_map(|at| hub.free(self, at)).collect();
        for chunk in waiting.iter().map(Box::as_ref).chain(&published) {
            chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
        }
    }
}

/// Makes the pipe for log records. A worker waits while the pipe is full.
fn log_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let failed = |errno| Error::os(errno, "cannot make a pool: no pipe for the log records of its workers");
    let (ours, theirs) = pipe::pipe(pipe::Flags::empty()).and_then(AboveStandard::above_standard).map_err(failed)?;
    fd::set_nonblocking(&ours).map_err(failed)?;
    Ok((ours, theirs))
}

#[cold]
fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "a signal interrupted the wait and ended the pool: take_interrupt() returns the signal",
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::board::TERMINATED;
    use super::super::job::Keep;
    use super::*;
    use crate::multiprocessing::tasks::Form;
    use crate::multiprocessing::transfer::Writing;

    pub(in super::super) fn hub() -> Hub {
        hub_of(1)
    }

    pub(in super::super) fn hub_of(workers: usize) -> Hub {
        let setup = Setup::new("Worker");
        Hub::without_supervisor(workers, Context::Fork, setup, None, 0, false).unwrap()
    }

    #[test]
    fn a_stream_that_was_overwritten_does_not_keep_a_pool_from_its_end() {
        let hub = hub();
        hub.ground.entries()[0].written.store(u64::MAX, SeqCst);
        assert!(hub.terminate().is_err(), "it tells what could not be read");
        assert_eq!(hub.ground.board().mode.load(SeqCst), TERMINATED);
        assert_eq!(hub.lock().unwrap().mode, Mode::Ended);
    }

    #[test]
    fn the_last_workers_of_a_killed_supervisor_delay_no_call_with_a_limit() {
        use std::time::Instant;
        let hub = hub();
        let gone = Process::builder().thread(|| ()).unwrap();
        let (line, held) = pipe::pipe(pipe::Flags::NONBLOCK).unwrap(); // a worker holds the other end
        hub.lock().unwrap().fallen = Some(Fallen::new(gone, Some(line)));
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| hub.wait(Deadline::after(Duration::from_secs(3)), Wanted::Each, || false));
            while !hub.lock().unwrap().led {
                std::thread::yield_now();
            }
            let begun = Instant::now();
            assert!(!hub.wait(Deadline::after(Duration::from_millis(20)), Wanted::Each, || false).unwrap());
            hub.look().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            assert!(hub.lock().unwrap().fallen.is_some(), "its worker lives");
            hub.terminate().unwrap(); // so that nobody starts another supervisor
            drop(held);
            leader.join().unwrap().unwrap();
        });
        assert!(hub.lock().unwrap().fallen.is_none());
    }

    #[test]
    fn a_call_that_no_worker_gets_wakes_the_leader() {
        let hub = hub();
        let job = Arc::new(Job::new("a::task", Keep::All));
        let mut chunk = Chunk::new(&job, Form::Value);
        chunk.push(&Writing::begin(), &7).unwrap();
        job.give(1);
        job.cancel();
        hub.lock().unwrap().led = true; // as while another thread sleeps for all
        hub.submit([chunk]).unwrap();
        assert!(job.is_done());
        assert_eq!(poll(&mut [PollFd::new(hub.ground.news(), PollFlags::IN)], Deadline::NOW), Ok(1));
    }
}
