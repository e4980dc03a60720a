//! The start of a supervisor, and the recovery after its death: handling its workers' chunks, and starting another
//! supervisor.
//!
//! | step | with the lock |
//! | --- | --- |
//! | record that the supervisor has ended | yes |
//! | wait until its last worker has ended (the kernel kills them) | no |
//! | record that the owners of claimed chunks died | yes |
//! | start another supervisor | no |
//!
//! So a call with a limit returns in time, whatever the other processes do. Only the thread that starts the supervisor
//! completes the start, even beyond its limit.

use std::os::fd::OwnedFd;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::{Acquire, SeqCst};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::Interest;
use ossature_sys::fd::AboveStandard;
use ossature_sys::pipe;
use ossature_sys::process::{ExitStatus, Signal};
use ossature_sys::signal;

use super::board::WorkerEntry;
use super::exits::exit_to_number;
use super::failure::Failure;
use super::fallen::Fallen;
use super::ground::raise;
use super::hub::{Hub, Inner, Mode};
use super::supervisor;
use super::word::{SlotState, state as state_of};
use super::worker::Runner;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::logging::warning;
use crate::multiprocessing::process::Process;
use crate::multiprocessing::state::process_state;
use crate::multiprocessing::tasks::library_task;
use crate::multiprocessing::transfer::{Handle, pack};

impl Hub {
    /// Starts a supervisor. Returns the process, and the read end of the pipe that all processes of the pool hold open.
    pub(super) fn start_supervisor(&self, runner: Option<Runner<'_>>) -> Result<(Process, OwnedFd)> {
        if process_state().daemon && self.context != Context::Thread {
            let text = "daemonic processes are not allowed to have children: make the pool in the parent, and divide the \
                        work there";
            return Err(Error::new(ErrorKind::NotAllowed, text));
        }
        let failed = |errno| Error::os(errno, "cannot make a pool: no pipe to its supervisor");
        let (line, theirs) =
            pipe::pipe(pipe::Flags::NONBLOCK).and_then(AboveStandard::above_standard).map_err(failed)?;
        let mut builder = Process::builder().name("PoolSupervisor").supervises();
        let held = self.setup.held();
        if !held.is_empty() {
            builder = builder.signal_mask(signal::mask()?.without(Signal::TERM).union(held));
        }
        let process = match self.context {
            Context::Fork => {
                let mut arguments = None;
                if let Some(packed) = &self.initializer {
                    arguments = Some(packed.try_clone()?);
                }
                let run = || supervisor::run(&self.ground, &self.setup, arguments, runner, &theirs);
                match runner {
                    Some(_) => builder.fork(run)?, // the closure may borrow connections
                    None => builder.fork_with((), |()| run())?,
                }
            }
            context => {
                let task = library_task(supervisor::supervise)?;
                let arguments = pack(&(&self.ground.parts, &self.setup, &self.initializer, Handle(&theirs)))?;
                builder.order(context, &task, &arguments)?
            }
        };
        Ok((process, line))
    }

    /// Sets the supervisor of the pool.
    pub(super) fn enter(&self, inner: &mut Inner, (process, line): (Process, OwnedFd)) -> Result<()> {
        let watched = self.watch.get().map_or(Ok(()), |watch| watch.register(&process, Interest::IN, 1));
        inner.line = Some(line);
        inner.supervisor = Some(process);
        watched.map_err(|errno| Error::os(errno, "cannot watch the supervisor of a pool"))
    }

    /// Sleeps as the leader until the last worker of a dead supervisor has ended.
    pub(super) fn outwait<'h>(
        &'h self,
        mut inner: MutexGuard<'h, Inner>,
        deadline: Deadline,
    ) -> Result<MutexGuard<'h, Inner>> {
        let Some(fallen) = inner.fallen.as_ref().map(Fallen::again) else { return Ok(inner) };
        inner.led = true;
        drop(inner);
        fallen.outwait(deadline);
        let mut inner = self.lock()?;
        inner.led = false;
        self.wake_followers(&inner);
        self.succeed(inner)
    }

    /// If the supervisor has ended, replaces it as far as possible without a wait.
    pub(super) fn succeed<'h>(&'h self, mut inner: MutexGuard<'h, Inner>) -> Result<MutexGuard<'h, Inner>> {
        if inner.supervisor_has_ended() {
            if let Some(supervisor) = inner.supervisor.take() {
                let fallen = Fallen::new(supervisor, inner.line.take());
                if let Some(watch) = self.watch.get() {
                    let _ = watch.unregister(&fallen.supervisor); // it was closed with its end
                    let _ = fallen.line().map(|line| watch.register(line, Interest::IN, 1)); // without it the news tell
                }
                inner.fallen = Some(fallen);
            }
        }
        match inner.fallen.take_if(|fallen| fallen.outwait(Deadline::NOW)) {
            Some(fallen) => {
                if let (Some(watch), Some(line)) = (self.watch.get(), fallen.line()) {
                    let _ = watch.unregister(line); // a thread that waits in `outwait` may hold it open
                }
                self.replace(inner, &fallen)
            }
            None => Ok(inner),
        }
    }

    /// Handles the chunks of a dead supervisor's workers, and starts another supervisor.
    #[cold]
    fn replace<'h>(&'h self, mut inner: MutexGuard<'h, Inner>, fallen: &Fallen) -> Result<MutexGuard<'h, Inner>> {
        let exit = fallen.supervisor.join_timeout(Deadline::NOW).ok().flatten(); // `None` when somebody else has reaped it
        for (place, entry) in self.ground.entries().iter().enumerate() {
            let _ = self.drain(&mut inner, place); // an overwritten stream must not keep the next supervisor from its start
            self.ground.board().forget_sleeper(place);
            inner.resend |= entry.fetching.swap(0, SeqCst) != 0; // the packet that it received is lost
        }
        for slot in self.ground.slots() {
            let SlotState::Claimed(ticket) = state_of(slot.word.load(Acquire)) else { continue };
            if let Some(entry) = self.ground.entries().get(ticket as usize % self.workers()) {
                slot.record_death(entry, ticket, exit_to_number(ExitStatus::Unknown));
            }
        }
        self.ground.entries().iter().for_each(WorkerEntry::vacate);
        let collected = self.collect_dead(&mut inner); // as above
        self.wake_others(&inner);
        if inner.mode == Mode::Ended || inner.broken.is_some() || inner.mode == Mode::Closed && inner.is_finished() {
            return Ok(inner); // it has ended as it was to
        }
        let text = exit.map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
        warning!("the supervisor of a pool ended with {text}: starting another supervisor");
        inner.rising = true;
        drop(inner);
        let started = match self.closure {
            true => Err(Error::new(ErrorKind::StartFailed, "its closure was lost with it")),
            false => self.start_supervisor(None),
        };
        let mut inner = self.lock()?;
        inner.rising = false;
        if let Err(error) = started.and_then(|started| self.enter(&mut inner, started)) {
            let text = format!("the supervisor of the pool ended, and starting another supervisor failed: {error}");
            inner.fail_all(&Failure::Broken(text.clone()), self);
            inner.broken = Some(text);
        }
        raise(self.ground.news()); // whoever leads watches the new one
        self.wake_others(&inner);
        self.look_at_packets(&mut inner);
        self.publish(&mut inner)?;
        collected.map(|()| inner)
    }
}
