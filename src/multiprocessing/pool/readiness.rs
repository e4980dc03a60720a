//! A result as a descriptor, for a poll together with other descriptors.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use ossature_sys::epoll::{Epoll, Interest};
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AboveStandard, AsFd, AsRawFd, BorrowedFd, RawFd};

use super::hub::Hub;
use super::job::Job;
use crate::error::{Error, Result};

/// A descriptor that is readable once a result is available. It may be readable earlier; then
/// [`ready`](super::AsyncResult::ready) returns false.
///
/// A program that finds the descriptor readable calls `ready`. That call receives the outcomes of the workers, and
/// makes the descriptor unreadable again if the result is not there.
///
/// While a callback that comes before the result is being called, the descriptor stays readable and `ready` returns
/// false, because inside that callback the result is available. During this time, call
/// [`wait`](super::AsyncResult::wait) in place of a poll. After the callback the event is raised again, for
/// edge-triggered polls.
///
/// # Examples
/// By poll(2), and by epoll(7):
///
/// ```standalone_crate
/// use ossature::multiprocessing::{Pool, Tasks, freeze_support, pool::Readiness, tasks};
/// use ossature::sys::epoll::{Epoll, Interest};
/// use ossature::sys::poll::{PollFd, PollFlags, poll};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// static TASKS: Tasks = tasks![square];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let pool = Pool::new(1)?;
///     let squared = pool.apply_async(square, (12,))?;
///     let readiness: Readiness = squared.readiness()?;
///     while !squared.ready()? {
///         poll(&mut [PollFd::new(&readiness, PollFlags::IN)], None)?; // beside sockets, timers, ...
///     }
///     assert_eq!(squared.get()?, 144);
///
///     let squares = pool.map_async(square, 0..3)?;
///     let (readiness, epoll) = (squares.readiness()?, Epoll::new()?);
///     epoll.register(&readiness, Interest::IN, 7)?;
///     let mut room = [std::mem::MaybeUninit::uninit(); 4];
///     while !squares.ready()? {
///         let events = epoll.poll(&mut room, None)?;
///         assert!(events.iter().all(|event| event.token() == 7));
///     }
///     assert_eq!(squares.get()?, [0, 1, 4]);
///     Ok(())
/// }
/// ```
pub struct Readiness {
    /// An epoll set with the pool's news and the event below.
    epoll: Epoll,
    /// The eventfd that is raised when the job has ended.
    _done: Arc<EventFd>,
    hub: Arc<Hub>,
}

impl Readiness {
    /// # Errors
    /// `EMFILE`; `NotAllowed` in another process than the pool's.
    pub(super) fn of(hub: &Arc<Hub>, job: &Job) -> Result<Self> {
        let failed = |errno| Error::os(errno, "cannot make a descriptor for a result");
        let done = EventFd::counter(0).and_then(AboveStandard::above_standard).map_err(failed)?;
        let epoll = Epoll::new().and_then(AboveStandard::above_standard).map_err(failed)?;
        epoll.register(hub.watch()?, Interest::IN, 0).map_err(failed)?;
        epoll.register(&done, Interest::IN, 1).map_err(failed)?;
        let done = Arc::new(done);
        hub.armed.fetch_add(1, SeqCst);
        let readiness = Self { epoll, _done: done.clone(), hub: hub.clone() };
        job.signal(done);
        hub.look()?; // from now on the workers tell of news
        Ok(readiness)
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.hub.armed.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.epoll).finish()
    }
}
