//! The parent's side: publishes chunks, collects outcomes, hears of deaths. Nothing here has a thread of its own: whoever
//! waits for a result does it for everybody.
//!
//! One thread at a time, the *leader*, sleeps on the news of the workers and on the supervisor's end. The others sleep on a
//! condition variable, and the leader wakes them when it has collected, and when it leaves.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::fd::{AboveStandard, AsFd};
use ossature_sys::mmap::Memfd;
use ossature_sys::pipe;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{ExitStatus, generation};

use super::arena::Arena;
use super::board::{EACH, KILLED, TERMINATED, exit_to_number};
use super::chunk::Chunk;
use super::ground::{Ground, Setup, lower, raise};
use super::job::{Due, Failure, Job, Outcome};
use super::supervisor::{self, Runner};
use super::waits::{Waiting, Wanted};
use super::word::{State as Word, state as state_of};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::logging::warning;
use crate::multiprocessing::process::Process;
use crate::multiprocessing::tasks::of_the_house;
use crate::multiprocessing::transfer::{Handle, Packed, pack};

/// How often the leader looks for news before it sleeps.
const LOOKS: u32 = 200;
/// How long the last processes of a killed supervisor may take to end.
const LAST: Duration = Duration::from_secs(5);
/// How long the supervisor may take to end, above what it gives its workers.
const END: Duration = Duration::from_secs(10);

/// A pool, for all handles in this process.
pub(super) struct Hub {
    pub(super) ground: Ground,
    setup: Setup,
    initializer: Option<Packed>,
    context: Context,
    /// Whether the workers run a closure, of which a later supervisor would have no copy.
    closure: bool,
    /// How often a task is given out again whose worker died.
    pub(super) retries: u32,
    pub(super) arena: Memfd,
    generation: u32,
    state: Mutex<Inner>,
    pub(super) turn: Condvar,
    /// Changes, before the outcomes leave their stream, with each look of a thread that finds some.
    pub(super) collected: AtomicU32,
    /// Callbacks of jobs that are done.
    pub(super) due: Arc<Due>,
    /// Whether the pool has ended, for the thread of the callbacks.
    pub(super) over: AtomicBool,
    /// How many results are watched as descriptors, and what is watched: the news and the supervisor.
    pub(super) armed: AtomicUsize,
    watch: OnceLock<Epoll>,
    /// How many threads wait.
    pub(super) waiting: AtomicUsize,
}

/// Whether tasks are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Open,
    Closed,
    Ended,
}

pub(super) struct Inner {
    pub(super) mode: Mode,
    pub(super) supervisor: Option<Process>,
    /// The end of a pipe that the supervisor and the workers hold open.
    pub(super) line: Option<OwnedFd>,
    /// What is published, by slot.
    pub(super) chunks: Vec<Option<Chunk>>,
    pub(super) free: usize,
    pub(super) queue: VecDeque<Chunk>,
    pub(super) sequence: u64,
    pub(super) arena: Arena,
    /// The beginning of a long outcome of each seat.
    pub(super) partial: Vec<Partial>,
    pub(super) scratch: Vec<u8>,
    pub(super) ends: u32,
    /// Whether a thread sleeps for all.
    pub(super) led: bool,
    /// Whether there is a thread for callbacks.
    pub(super) called: bool,
    pub(super) broken: Option<String>,
}

#[derive(Default)]
pub(super) struct Partial {
    pub(super) of: Option<(u64, u32)>,
    pub(super) bytes: Vec<u8>,
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
        let mut inner = hub.lock()?;
        hub.supervise(&mut inner, runner)?;
        drop(inner);
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
        let ground = Ground::new(workers)?;
        let arena = ground.arena_file()?;
        let slots = ground.slots().len();
        let inner = Inner {
            mode: Mode::Open,
            supervisor: None,
            line: None,
            chunks: (0..slots).map(|_| None).collect(),
            free: slots,
            queue: VecDeque::new(),
            sequence: 0,
            arena: Arena::new(ground.arena.len()),
            partial: (0..workers).map(|_| Partial::default()).collect(),
            scratch: Vec::new(),
            ends: 0,
            led: false,
            called: false,
            broken: None,
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
            over: AtomicBool::new(false),
            armed: AtomicUsize::new(0),
            watch: OnceLock::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(super) fn workers(&self) -> usize {
        self.ground.seats().len()
    }

    /// Starts the supervisor.
    fn supervise(&self, inner: &mut Inner, runner: Option<Runner<'_>>) -> Result<()> {
        let failed = |errno| Error::os(errno, "cannot make a pool: no pipe to its supervisor");
        let (line, theirs) =
            pipe::pipe(pipe::Flags::NONBLOCK).and_then(AboveStandard::above_standard).map_err(failed)?;
        let builder = Process::builder().name("PoolSupervisor").supervises();
        let process = match self.context {
            Context::Fork => {
                let mut arguments = None;
                if let Some(packed) = &self.initializer {
                    arguments = Some(packed.try_clone()?);
                }
                builder.fork(|| supervisor::run(&self.ground, &self.setup, arguments, runner))?
            }
            context => {
                let task = of_the_house(supervisor::supervise)?;
                let theirs = Handle(&theirs);
                let arguments = pack(&(&self.ground.parts, &self.setup, &self.initializer, theirs))?;
                builder.order(context, &task, &arguments)?
            }
        };
        drop(theirs);
        if let Some(watch) = self.watch.get() {
            watch.register(&process, Interest::IN, 1).map_err(failed)?;
        }
        inner.line = Some(line);
        inner.supervisor = Some(process);
        Ok(())
    }

    /// What is readable while there are news, or once the supervisor has ended.
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
        Ok(self.watch.get_or_init(|| watch))
    }

    /// The state, for the process that made the pool.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Inner>> {
        if self.generation != generation() {
            return Err(Error::new(
                ErrorKind::NotAllowed,
                "the pool belongs to the process that made it: make another one in this process",
            ));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner)) // nothing in here panics half-way
    }

    /// Whether tasks are taken.
    ///
    /// # Errors
    /// `ShutDown` after `close` or `terminate`, `StartFailed` when workers cannot be started, `NotAllowed` elsewhere.
    pub(super) fn check(&self) -> Result<()> {
        self.lock()?.check()
    }

    /// Gives out chunks.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn submit(&self, chunks: impl IntoIterator<Item = Chunk>) -> Result<()> {
        let mut inner = self.lock()?;
        inner.check()?;
        inner.queue.extend(chunks);
        self.collect(&mut inner)
    }

    /// Collects what has come, without a wait.
    pub(super) fn look(&self) -> Result<()> {
        let mut inner = self.lock()?;
        self.collect(&mut inner)?;
        if inner.supervisor_has_ended(Deadline::NOW) {
            self.revive(&mut inner)?;
        }
        Ok(())
    }

    /// Waits until `is_ready`; false when the time ran out. `wanted` says after which outcomes that can be.
    pub(super) fn wait(&self, deadline: Deadline, wanted: Wanted<'_>, is_ready: impl Fn() -> bool) -> Result<bool> {
        let _waiting = Waiting::begin(&self.waiting);
        let mut inner = self.lock()?;
        loop {
            self.collect(&mut inner)?;
            if is_ready() {
                self.turn.notify_all(); // one of the others leads from now on
                return Ok(true);
            }
            if deadline.has_passed() {
                self.turn.notify_all();
                return Ok(false);
            }
            inner = match inner.led {
                true => self.follow(inner, deadline),
                false => self.lead(inner, deadline, wanted)?,
            };
        }
    }

    /// Sleeps until the leader has news.
    fn follow<'h>(&'h self, inner: MutexGuard<'h, Inner>, deadline: Deadline) -> MutexGuard<'h, Inner> {
        match deadline.remaining() {
            None => self.turn.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.turn.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Sleeps, for everybody, until there is news.
    fn lead<'h>(
        &'h self,
        mut inner: MutexGuard<'h, Inner>,
        deadline: Deadline,
        wanted: Wanted<'_>,
    ) -> Result<MutexGuard<'h, Inner>> {
        let supervisor = inner.supervisor.clone();
        let (ends, collected) = (inner.ends, self.collected.load(SeqCst));
        let alone = self.first_of(&inner, wanted);
        let from = || if self.wants_each() { EACH } else { alone };
        inner.led = true;
        drop(inner);
        let board = self.ground.board();
        // Another thread may take in what this one waits for, before the workers know that anybody listens. The streams
        // come first: a stream that such a thread has emptied shows that `collected` has changed.
        let has_news =
            || board.ends.load(SeqCst) != ends || self.has_outcomes(from()) || self.collected.load(SeqCst) != collected;
        let found = (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            has_news()
        });
        let mut ended = false;
        let mut slept = Ok(0);
        if !found {
            board.listen(from());
            if self.wants_each() {
                board.listen(EACH); // a thread that came meanwhile has done so, too, and it may have been first
            }
            if !has_news() {
                let mut fds = vec![PollFd::new(self.ground.news(), PollFlags::IN)];
                fds.extend(supervisor.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
                slept = poll(&mut fds, deadline);
                ended = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
            }
        }
        let mut inner = self.lock()?;
        inner.led = false;
        lower(self.ground.news());
        self.turn.notify_all();
        slept.map_err(|errno| Error::os(errno, "cannot wait for a pool"))?;
        // Another thread may have started the next supervisor between the sleep and the lock.
        if ended && inner.supervisor_has_ended(Deadline::NOW) {
            self.revive(&mut inner)?;
        }
        Ok(inner)
    }

    /// After the supervisor's end: accounts for what its workers had, and starts another one.
    fn revive(&self, inner: &mut Inner) -> Result<()> {
        let Some(supervisor) = inner.supervisor.clone() else { return Ok(()) };
        let exit = match supervisor.join_timeout(LAST) {
            Ok(None) => return Ok(()),   // it lives
            exit => exit.ok().flatten(), // with an error it has ended, and how is not known
        };
        inner.supervisor = None;
        if let Some(watch) = self.watch.get() {
            let _ = watch.unregister(&supervisor); // it was closed with its end
        }
        // The kernel kills its workers. They hold the other end of the line.
        if let Some(line) = inner.line.take() {
            let _ = poll(&mut [PollFd::new(&line, PollFlags::IN)], LAST);
        }
        for place in 0..self.workers() {
            let _ = self.drain(inner, place); // a stream that was overwritten must not keep the next supervisor from its start
            self.ground.board().forget_sleeper(place);
        }
        for slot in self.ground.slots() {
            let Word::Claimed(ticket) = state_of(slot.word.load(Acquire)) else { continue };
            if let Some(seat) = self.ground.seats().get(ticket as usize % self.workers()) {
                slot.bury(seat, ticket, exit_to_number(ExitStatus::Unknown));
            }
        }
        let buried = self.bury(inner); // as above
        if inner.mode == Mode::Ended || inner.broken.is_some() || inner.mode == Mode::Closed && inner.is_idle() {
            return Ok(()); // it has ended as it was to
        }
        let text = exit.map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
        warning!("the supervisor of a pool ended with {text}: starting another one");
        let again = match self.closure {
            true => Err(Error::new(ErrorKind::StartFailed, "its closure is gone with it")),
            false => self.supervise(inner, None),
        };
        if let Err(error) = again {
            let text = format!("the supervisor of the pool ended, and no other could be started: {error}");
            inner.fail_all(&Failure::Broken(text.clone()), self);
            inner.broken = Some(text);
            return Ok(());
        }
        self.publish(inner)?;
        buried
    }

    /// Takes no more tasks; workers end when there is none left.
    pub(super) fn close(&self) -> Result<()> {
        let mut inner = self.lock()?;
        if inner.mode == Mode::Open {
            inner.mode = Mode::Closed;
        }
        self.collect(&mut inner)
    }

    /// Ends the workers, whatever they do. Every call that has not ended is cancelled.
    pub(super) fn terminate(&self) -> Result<()> {
        self.end_workers(TERMINATED)
    }

    /// As [`terminate`](Self::terminate), by `SIGKILL`.
    pub(super) fn kill(&self) -> Result<()> {
        self.end_workers(KILLED)
    }

    fn end_workers(&self, mode: u32) -> Result<()> {
        let mut inner = self.lock()?;
        if inner.mode == Mode::Ended {
            let mode_word = &self.ground.board().mode;
            if mode == KILLED && mode_word.compare_exchange(TERMINATED, KILLED, SeqCst, SeqCst).is_ok() {
                raise(self.ground.nudge()); // the supervisor may be giving the workers time
            }
            return Ok(());
        }
        let collected = self.collect(&mut inner); // whatever could not be read, the workers end
        inner.mode = Mode::Ended;
        self.ground.board().mode.store(mode, SeqCst);
        self.ground.board().wake_all_workers();
        raise(self.ground.nudge());
        inner.fail_all(&Failure::Cancelled, self);
        self.over.store(true, SeqCst);
        self.wake_others(&inner);
        collected
    }

    /// Wakes the other threads that wait, after something that no worker told of.
    pub(super) fn wake_others(&self, inner: &Inner) {
        self.turn.notify_all();
        if inner.led {
            raise(self.ground.news());
        }
    }

    /// Waits until the workers of a closed or terminated pool have ended; false when the time ran out.
    ///
    /// # Errors
    /// `InvalidInput` for a pool that still takes tasks.
    pub(super) fn join(&self, deadline: Deadline) -> Result<bool> {
        if self.lock()?.mode == Mode::Open {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the pool is still running: close or terminate it before the join",
            ));
        }
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let mut inner = self.lock()?;
            self.collect(&mut inner)?;
            if inner.is_idle() || inner.broken.is_some() {
                let supervisor = inner.supervisor.clone();
                drop(inner);
                let Some(supervisor) = supervisor else { return Ok(true) };
                return Ok(supervisor.join_timeout(deadline)?.is_some());
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            inner = match inner.led {
                true => self.follow(inner, deadline),
                false => self.lead(inner, deadline, Wanted::All)?,
            };
            drop(inner);
        }
    }

    /// Whether tasks are taken, and whether any has not ended.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_ok_and(|inner| !inner.is_idle())
    }

    /// Ends everything, for the last handle.
    pub(super) fn end(&self) {
        let _ = self.terminate(); // there is nobody to tell of an outcome that cannot be read
        let Ok(mut inner) = self.lock() else { return }; // another process's
        let Some(supervisor) = inner.supervisor.take() else { return };
        drop(inner);
        if !matches!(supervisor.join_timeout(END), Ok(Some(_))) {
            let _ = supervisor.kill(); // the kernel kills its workers
            let _ = supervisor.join_timeout(LAST);
        }
    }
}

impl Inner {
    pub(super) fn check(&self) -> Result<()> {
        match (&self.broken, self.mode) {
            (_, Mode::Closed | Mode::Ended) => {
                Err(Error::new(ErrorKind::ShutDown, "the pool is closed and takes no more tasks"))
            }
            (Some(text), Mode::Open) => Err(Error::new(ErrorKind::StartFailed, text.clone())),
            (None, Mode::Open) => Ok(()),
        }
    }

    /// The job and the number of what is published in a slot.
    pub(super) fn at(&self, at: usize) -> Option<(Arc<Job>, u64)> {
        let chunk = self.chunks.get(at).and_then(Option::as_ref)?;
        Some((chunk.job.clone(), chunk.sequence))
    }

    /// The number of what is published in a slot, if it is of this job.
    pub(super) fn published(&self, at: usize, job: &Arc<Job>) -> Option<u64> {
        self.at(at).filter(|(of, _)| Arc::ptr_eq(of, job)).map(|(_, sequence)| sequence)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.free == self.chunks.len()
    }

    fn supervisor_has_ended(&self, deadline: Deadline) -> bool {
        let ended =
            |process: &Process| poll(&mut [PollFd::new(process, PollFlags::IN)], deadline).is_ok_and(|ready| ready > 0);
        self.supervisor.as_ref().is_some_and(ended)
    }

    /// Ends every call that has not ended.
    pub(super) fn fail_all(&mut self, failure: &Failure, hub: &Hub) {
        let waiting = std::mem::take(&mut self.queue);
        let published: Vec<_> = (0..self.chunks.len()).filter_map(|at| hub.free(self, at)).collect();
        for chunk in waiting.into_iter().chain(published) {
            chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::job::Keep;
    use super::*;
    use crate::multiprocessing::tasks::Form;
    use crate::multiprocessing::transfer::Writing;

    pub(in super::super) fn hub() -> Hub {
        let setup = Setup { prefix: "Worker".into(), initializer: None, max_chunks: None, timeout: None, depth: 100 };
        Hub::without_supervisor(1, Context::Fork, setup, None, 0, false).unwrap()
    }

    #[test]
    fn a_stream_that_was_overwritten_does_not_keep_a_pool_from_its_end() {
        let hub = hub();
        hub.ground.seats()[0].written.store(u64::MAX, SeqCst);
        assert!(hub.terminate().is_err(), "it tells what could not be read");
        assert_eq!(hub.ground.board().mode.load(SeqCst), TERMINATED);
        assert_eq!(hub.lock().unwrap().mode, Mode::Ended);
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
