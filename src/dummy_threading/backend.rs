//! The primitives of both modules under one name, from which generic code makes its locks.

use ossature_sys::scope::{Local, Private, Scope};
use ossature_sys::sync::barrier::Barrier;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;
use ossature_sys::sync::semaphore::Semaphore;

/// The primitives of [`threading`](crate::threading), for OS threads.
pub type Native = Private;
/// The primitives of [`dummy_threading`](crate::dummy_threading), for code that runs inside `start`.
pub type Inline = Local;

/// [`Native`] or [`Inline`]: makes the primitives of one of the two modules. In both, [`settle`](Scope::settle) turns
/// the result of a wait into a `Result`.
///
/// ```
/// use ossature::dummy_threading::{Backend, Inline, Native};
/// use ossature::sys::{scope::Refused, sync::semaphore::Semaphore};
///
/// struct Pool<B: Backend> {
///     seats: Semaphore<B>,
/// }
///
/// impl<B: Backend> Pool<B> {
///     fn new(seats: u32) -> Self {
///         Self { seats: B::bounded_semaphore(seats) }
///     }
///     fn sit(&self) -> Result<(), Refused> {
///         B::settle(self.seats.acquire())
///     }
/// }
///
/// assert_eq!(Pool::<Native>::new(1).sit(), Ok(()));
/// let pool = Pool::<Inline>::new(1);
/// assert_eq!((pool.sit(), pool.sit()), (Ok(()), Err(Refused::WouldDeadlock)));
/// ```
///
/// A closure that is started in a thread has to be `Send` for one backend and not for the other. A trait cannot express
/// that, so the import chooses the functions that start threads.
pub trait Backend: Scope + Sized {
    /// Returns a free lock around `data`.
    fn lock<T>(data: T) -> Lock<T, Self>;
    /// Returns a free lock around `data` that its holder may take again.
    fn rlock<T>(data: T) -> RLock<T, Self>;
    /// Returns a free lock that any thread may release.
    fn handoff_lock() -> HandoffLock<Self>;
    /// Returns a condition without waiters.
    fn condition() -> Condition<Self>;
    /// Returns an event whose flag is clear.
    fn event() -> Event<Self>;
    /// Returns a semaphore with `value` units.
    fn semaphore(value: u32) -> Semaphore<Self>;
    /// Returns a semaphore with `value` units, and never more.
    fn bounded_semaphore(value: u32) -> Semaphore<Self>;
    /// Returns a barrier for `parties` parties.
    ///
    /// # Panics
    /// If `parties` is zero.
    fn barrier(parties: u32) -> Barrier<Self>;
}

macro_rules! backend {
    ($scope:ty, $make:ident, $make_bounded:ident) => {
        impl Backend for $scope {
            fn lock<T>(data: T) -> Lock<T, Self> {
                Lock::<T, Self>::$make(data)
            }
            fn rlock<T>(data: T) -> RLock<T, Self> {
                RLock::<T, Self>::$make(data)
            }
            fn handoff_lock() -> HandoffLock<Self> {
                HandoffLock::<Self>::$make()
            }
            fn condition() -> Condition<Self> {
                Condition::<Self>::$make()
            }
            fn event() -> Event<Self> {
                Event::<Self>::$make()
            }
            fn semaphore(value: u32) -> Semaphore<Self> {
                Semaphore::<Self>::$make(value)
            }
            fn bounded_semaphore(value: u32) -> Semaphore<Self> {
                Semaphore::<Self>::$make_bounded(value)
            }
            fn barrier(parties: u32) -> Barrier<Self> {
                Barrier::<Self>::$make(parties)
            }
        }
    };
}

backend!(Private, new, bounded);
backend!(Local, local, local_bounded);
