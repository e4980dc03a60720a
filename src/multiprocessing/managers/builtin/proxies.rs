//! Typed proxies of the types that wait: locks, queues and the like.
//!
//! A call that waits is parked by the server. When the server ends, the call ends with
//! [`Closed`](crate::ErrorKind::Closed) at once.

use std::time::{Duration, Instant};

use super::containers::Element;
use super::typed::{calls, typed, unless};
use crate::error::Result;
use crate::multiprocessing::Manager;

/// The limit in seconds.
pub(super) fn seconds(limit: Duration) -> f64 {
    limit.as_secs_f64()
}

typed! {
    /// A proxy of a lock on a server.
    ///
    /// The lock belongs to the thread that has acquired it. When that thread, or its process, ends or is killed, the
    /// next waiter gets the lock.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let lock = manager.lock()?;
    /// {
    ///     let _guard = lock.lock()?;
    ///     assert!(lock.locked()? && !lock.try_acquire()?);
    /// } // released
    /// assert!(lock.acquire_timeout(Duration::from_secs(1))?);
    /// lock.release()?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AcquirerProxy")]
    LockProxy
}

typed! {
    /// A proxy of a reentrant lock on a server: the thread that holds the lock may acquire it again.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let lock = manager.rlock()?;
    /// let (_outer, _inner) = (lock.lock()?, lock.lock()?);
    /// let other = std::thread::spawn({ let lock = lock.clone(); move || lock.try_acquire() });
    /// assert!(!other.join().unwrap()?);
    /// # Ok(()) }
    /// ```
    RLockProxy
}

typed! {
    /// A proxy of a semaphore on a server, bounded or not. It has no owners: the units that a killed process had
    /// acquired stay acquired.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let two = manager.bounded_semaphore(2)?;
    /// two.acquire()?;
    /// assert!(two.try_acquire()? && !two.try_acquire()?);
    /// two.release()?;
    /// two.release()?;
    /// assert!(two.release().is_err(), "released too many times");
    /// let any = manager.semaphore(0)?;
    /// any.release()?;
    /// assert!(any.try_acquire()?);
    /// # Ok(()) }
    /// ```
    SemaphoreProxy
}

typed! {
    /// A proxy of a condition on a server, with a reentrant lock of its own.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let (condition, ready) = (manager.condition()?, manager.value("i", &0)?);
    /// let waiter = std::thread::spawn({
    ///     let (condition, ready) = (condition.clone(), ready.clone());
    ///     move || {
    ///         let _guard = condition.lock()?;
    ///         condition.wait_for(|| Ok(ready.get()? == 1), Duration::from_secs(60))
    ///     }
    /// });
    /// let guard = condition.lock()?;
    /// ready.set(&1)?;
    /// condition.notify_all()?;
    /// drop(guard);
    /// assert!(waiter.join().unwrap()?);
    /// # Ok(()) }
    /// ```
    ConditionProxy
}

/// A lock of a server, held until this guard is dropped. The guard stays in its thread, which the server knows as the
/// owner.
///
/// # Examples
/// See the example of [`LockProxy`].
#[must_use = "the lock is released when this is dropped"]
#[derive(Debug)]
pub struct LockProxyGuard<'p> {
    proxy: &'p crate::multiprocessing::managers::Proxy,
    /// Prevents a move to another thread, which has another connection.
    here: std::marker::PhantomData<*const ()>,
}

impl Drop for LockProxyGuard<'_> {
    fn drop(&mut self) {
        let _ = self.proxy.call_within::<()>("release", (), Duration::ZERO); // a server that is gone has no lock
    }
}

macro_rules! acquires {
    ($($Proxy:ident)*) => {$(
        impl $Proxy {
            calls! {
                /// Waits until this thread has acquired the object.
                acquire() -> bool = "acquire"() waits;
                /// Acquires the object if that needs no wait; otherwise `false`.
                try_acquire() -> bool = "acquire"(false);
                /// Waits for the object for at most `limit`; `false` when the time ran out.
                acquire_timeout(limit: Duration) -> bool = "acquire"(true, seconds(limit)) within limit;
                /// Releases the object; an error if it is not held.
                release() -> () = "release"();
            }
        }
    )*};
}

macro_rules! locks {
    ($($Proxy:ident)*) => {$(
        impl $Proxy {
            /// Waits for the lock, and holds it until the guard is dropped.
            ///
            /// # Errors
            /// As for [`Proxy::call`](crate::multiprocessing::managers::Proxy::call).
            #[doc(alias = "__enter__")]
            pub fn lock(&self) -> Result<LockProxyGuard<'_>> {
                self.acquire()?;
                Ok(LockProxyGuard { proxy: &self.proxy, here: std::marker::PhantomData })
            }
        }
    )*};
}

acquires! { LockProxy RLockProxy SemaphoreProxy ConditionProxy }
locks! { LockProxy RLockProxy ConditionProxy }

impl LockProxy {
    calls! {
        /// Whether a client holds the lock.
        locked() -> bool = "locked"();
    }
}

impl ConditionProxy {
    calls! {
        /// Releases the lock, waits for a notification and takes the lock again.
        wait() -> bool = "wait"() waits;
        /// Does what [`wait`](Self::wait) does for at most `limit`; `false` when the time ran out. The limit does not
        /// include the wait for the lock.
        wait_timeout(limit: Duration) -> bool = "wait"(seconds(limit)) waits;
        /// Wakes at most `n` waiters.
        notify(n: u32) -> () = "notify"(n);
        /// Wakes all waiters.
        notify_all() -> () = "notify_all"();
    }

    /// Waits until `ready` returns true; `false` when the time ran out. `ready` runs here, with the lock held.
    ///
    /// # Errors
    /// As for [`Proxy::call`](crate::multiprocessing::managers::Proxy::call), and those of `ready`.
    pub fn wait_for(&self, mut ready: impl FnMut() -> Result<bool>, limit: Duration) -> Result<bool> {
        let until = Instant::now().checked_add(limit);
        while !ready()? {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ok(false),
                Some(left) => self.wait_timeout(left)?,
                None => self.wait()?,
            };
        }
        Ok(true)
    }
}

typed! {
    /// A proxy of an event on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let event = manager.event()?;
    /// assert!(!event.is_set()? && !event.wait_timeout(Duration::from_millis(1))?);
    /// event.set()?;
    /// assert!(event.wait()?);
    /// event.clear()?;
    /// # Ok(()) }
    /// ```
    EventProxy
}

impl EventProxy {
    calls! {
        /// Whether the event is set.
        is_set() -> bool = "is_set"();
        /// Sets the event, and wakes all waiters.
        set() -> () = "set"();
        /// Clears the event.
        clear() -> () = "clear"();
        /// Waits until the event is set.
        wait() -> bool = "wait"() waits;
        /// Does what [`wait`](Self::wait) does for at most `limit`; `false` when the time ran out.
        wait_timeout(limit: Duration) -> bool = "wait"(seconds(limit)) within limit;
    }
}

typed! {
    /// A proxy of a barrier on a server. A party that is killed while it waits breaks the barrier.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let barrier = manager.barrier(2)?;
    /// let other = std::thread::spawn({ let barrier = barrier.clone(); move || barrier.wait() });
    /// let numbers = [barrier.wait()?, other.join().unwrap()?];
    /// assert_eq!(numbers.iter().sum::<u64>(), 1);
    /// assert_eq!((barrier.parties()?, barrier.n_waiting()?, barrier.broken()?), (2, 0, false));
    /// barrier.abort()?;
    /// let error = barrier.wait().unwrap_err();
    /// assert_eq!(error.to_string(), "threading.BrokenBarrierError");
    /// barrier.reset()?;
    /// # Ok(()) }
    /// ```
    BarrierProxy
}

impl BarrierProxy {
    calls! {
        /// Waits for the other parties, and returns the number of this party. The exception is
        /// `threading.BrokenBarrierError` if the barrier is or becomes broken.
        wait() -> u64 = "wait"() waits;
        /// Does what [`wait`](Self::wait) does for at most `limit`. The barrier breaks when the time runs out.
        wait_timeout(limit: Duration) -> u64 = "wait"(seconds(limit)) within limit;
        /// Breaks the barrier.
        abort() -> () = "abort"();
        /// Makes the barrier usable again; parties that wait receive the exception.
        reset() -> () = "reset"();
        /// The number of parties.
        parties() -> u64 = "__getattribute__"("parties");
        /// The number of parties that wait.
        n_waiting() -> u64 = "__getattribute__"("n_waiting");
        /// Whether the barrier is broken.
        broken() -> bool = "__getattribute__"("broken");
    }
}

typed! {
    /// A proxy of a queue on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let jobs = manager.queue::<String>(1)?;
    /// jobs.put(&"first".to_owned())?;
    /// assert!(!jobs.put_timeout(&"second".to_owned(), Duration::ZERO)?, "it is full");
    /// assert!(jobs.full()? && jobs.qsize()? == 1);
    /// assert_eq!(jobs.get()?, "first");
    /// assert_eq!(jobs.get_timeout(Duration::from_millis(1))?, None);
    /// jobs.task_done()?;
    /// jobs.join()?;
    /// jobs.shutdown()?;
    /// assert!(jobs.get().is_err() && jobs.empty()?);
    /// jobs.shutdown_now()?;
    /// # Ok(()) }
    /// ```
    QueueProxy<T>
}

impl<T: Element> QueueProxy<T> {
    calls! {
        /// Waits for room, and puts an item.
        put(item: &T) -> () = "put"(item) waits;
        /// Waits for an item, and takes the oldest.
        get() -> T = "get"() waits;
        /// The approximate number of items.
        qsize() -> u64 = "qsize"();
        /// Whether the queue has no items.
        empty() -> bool = "empty"();
        /// Whether the queue has no room for another item.
        full() -> bool = "full"();
        /// Reports that an item that was taken is finished.
        task_done() -> () = "task_done"();
        /// Waits until every item that was put is finished.
        join() -> () = "join"() waits;
        /// Refuses new items. Every later `get` on an empty queue raises `queue.ShutDown`. CPython's queues have this
        /// method since 3.13.
        shutdown() -> () = "shutdown"(false);
        /// Shuts the queue down and removes its items: Python's `shutdown(immediate=True)`.
        shutdown_now() -> () = "shutdown"(true);
    }

    /// Puts an item within the limit; `false` if there was no room.
    ///
    /// # Errors
    /// As for [`Proxy::call`](crate::multiprocessing::managers::Proxy::call).
    #[doc(alias = "put_nowait")]
    pub fn put_timeout(&self, item: &T, limit: Duration) -> Result<bool> {
        let put = self.proxy.call_within::<()>("put", (item, !limit.is_zero(), seconds(limit)), limit);
        Ok(unless(put, "queue.Full")?.is_some())
    }

    /// Takes an item within the limit; `None` if there was no item.
    ///
    /// # Errors
    /// As for [`Proxy::call`](crate::multiprocessing::managers::Proxy::call).
    #[doc(alias = "get_nowait")]
    pub fn get_timeout(&self, limit: Duration) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("get", (!limit.is_zero(), seconds(limit)), limit), "queue.Empty")
    }
}

/// The built-in types that wait.
impl Manager {
    /// Makes a queue on the server; with a `most` of 0 it has no limit.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    #[doc(alias = "Queue")]
    #[doc(alias = "JoinableQueue")]
    pub fn queue<T: Element>(&self, most: u32) -> Result<QueueProxy<T>> {
        self.create("Queue", (most,)).map(Into::into)
    }

    /// Makes a lock on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn lock(&self) -> Result<LockProxy> {
        self.create("Lock", ()).map(Into::into)
    }

    /// Makes a reentrant lock on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn rlock(&self) -> Result<RLockProxy> {
        self.create("RLock", ()).map(Into::into)
    }

    /// Makes a semaphore on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn semaphore(&self, value: u32) -> Result<SemaphoreProxy> {
        self.create("Semaphore", (value,)).map(Into::into)
    }

    /// Makes a semaphore on the server that cannot be released more often than it is acquired.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn bounded_semaphore(&self, value: u32) -> Result<SemaphoreProxy> {
        self.create("BoundedSemaphore", (value,)).map(Into::into)
    }

    /// Makes a condition on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn condition(&self) -> Result<ConditionProxy> {
        self.create("Condition", ()).map(Into::into)
    }

    /// Makes an event on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn event(&self) -> Result<EventProxy> {
        self.create("Event", ()).map(Into::into)
    }

    /// Makes a barrier on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn barrier(&self, parties: u32) -> Result<BarrierProxy> {
        self.create("Barrier", (parties,)).map(Into::into)
    }
}
