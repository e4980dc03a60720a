//! The ways in which a pool ends: closed, terminated, interrupted, dropped; and the wait for its end.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ossature_sys::deadline::Deadline;

use super::asks::is_in_callback;
use super::board::{KILLED, TERMINATED};
use super::drawers::{CHECK, Drawer};
use super::failure::Failure;
use super::fallen::LAST;
use super::ground::raise;
use super::hub::{Hub, Inner, Mode};
use super::wanted::Waiting;
use super::wanted::Wanted;
use crate::error::{Error, ErrorKind, Result};

/// The time that the supervisor has for its end, beyond the time that it gives its workers.
const END: Duration = Duration::from_secs(10);

impl Hub {
    /// Refuses further tasks; workers end when no task is left.
    pub(super) fn close(&self) -> Result<()> {
        let mut inner = self.lock()?;
        if inner.mode == Mode::Open {
            inner.mode = Mode::Closed;
        }
        self.collect(&mut inner)
    }

    /// Ends the workers, whatever they do. Every unfinished call is cancelled.
    pub(super) fn terminate(&self) -> Result<()> {
        self.end_workers(TERMINATED)
    }

    /// Does what [`terminate`](Self::terminate) does, with `SIGKILL`.
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
        self.end_in(&mut inner, mode, &Failure::Cancelled);
        collected
    }

    pub(super) fn end_in(&self, inner: &mut Inner, mode: u32, failure: &Failure) {
        inner.mode = Mode::Ended;
        inner.drawers.cut_all();
        self.ground.board().mode.store(mode, SeqCst);
        self.ground.wake_all_workers();
        raise(self.ground.nudge());
        inner.fail_all(failure, self);
        self.over.store(true, SeqCst);
        self.wake_others(inner);
    }

    /// Waits until the workers of a closed or terminated pool have ended, and the callbacks; false when the time ran
    /// out.
    ///
    /// # Errors
    /// `InvalidInput` for a pool that still takes tasks.
    pub(super) fn join(&self, deadline: Deadline) -> Result<bool> {
        let joined = self.join_quietly(deadline);
        self.tell_logs();
        Ok(joined? && self.wait_for_callbacks(deadline)?)
    }

    fn join_quietly(&self, deadline: Deadline) -> Result<bool> {
        let mut inner = self.lock()?;
        if inner.mode == Mode::Open {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "cannot join the pool: it is still running; close or terminate it first",
            ));
        }
        if is_in_callback() {
            inner.drawers.cut_all(); // a thread that draws may wait for this callback
        }
        drop(inner);
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let mut inner = self.lock()?;
            inner.drawers.cut_own(); // each time, because a thread that drew may have ended meanwhile
            self.collect(&mut inner)?;
            self.heed(&mut inner)?;
            let succeeds = inner.fallen.is_some() || inner.rising;
            if (inner.is_finished() || inner.broken.is_some()) && !succeeds {
                let supervisor = inner.supervisor.clone();
                drop(inner);
                let Some(supervisor) = supervisor else { return Ok(true) };
                return Ok(supervisor.join_timeout(deadline)?.is_some());
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            let until = match inner.drawers.is_empty() {
                true => deadline,
                false => deadline.min(Deadline::after(CHECK)),
            };
            inner = match inner.led {
                true => self.follow(inner, until),
                false => self.lead(inner, until, Wanted::All)?,
            };
            drop(inner);
        }
    }

    /// Takes the right to publish calls from all drawers.
    pub(super) fn cut_all(&self) -> Result<()> {
        let mut inner = self.lock()?;
        inner.drawers.cut_all();
        self.wake_others(&inner); // one of them may join
        Ok(())
    }

    /// Removes a drawer that publishes no more calls.
    pub(super) fn leave(&self, drawer: &Arc<Drawer>) {
        let Ok(mut inner) = self.lock() else { return }; // another process's
        inner.drawers.end(drawer);
        inner.handles.clear(); // of an iterator that publishes nothing more
        if inner.mode == Mode::Closed && inner.drawers.is_empty() {
            self.wind_up(&inner, false);
            self.wake_others(&inner); // one of them may join
        }
    }

    /// Whether the pool has unfinished tasks.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_ok_and(|inner| !inner.is_idle())
    }

    /// Ends the pool when its last handle is dropped.
    pub(super) fn end(&self) {
        let _ = self.terminate(); // there is nobody to tell of an outcome that cannot be read
        let Ok(mut inner) = self.lock() else { return }; // another process's
        let (supervisor, fallen) = (inner.supervisor.take(), inner.fallen.take());
        drop(inner);
        if let Some(fallen) = fallen {
            fallen.outwait(Deadline::NEVER);
            fallen.reap();
        }
        let Some(supervisor) = supervisor else { return };
        if !matches!(supervisor.join_timeout(END), Ok(Some(_))) {
            let _ = supervisor.kill(); // the kernel kills its workers
            let _ = supervisor.join_timeout(LAST);
        }
        self.tell_logs();
    }
}
