//! Thread-local values, where threads are nested frames of one OS thread.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::frames::living;
use crate::error::{Error, ErrorKind, Result};

/// A value for each thread, made in the thread by its first use. A started thread does not see the value of its
/// starter, which is visible again afterwards. A thread's values are dropped at its end, those of the main thread with
/// the OS thread.
///
/// Differs from [`threading::Local`](crate::threading::Local): when it is dropped, values in other OS threads stay
/// until those threads end, so they need not be `Send`.
///
/// ```
/// use std::cell::Cell;
/// use ossature::dummy_threading::{Local, Thread};
///
/// static CALLS: Local<Cell<u32>> = Local::new(|| Cell::new(0));
///
/// CALLS.with(|calls| calls.set(7));
/// Thread::spawn(|| CALLS.with(|calls| assert_eq!(calls.get(), 0)))?.result()?;
/// CALLS.with(|calls| assert_eq!(calls.get(), 7));
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use std::cell::Cell;
/// use ossature::dummy_threading::{Local, Thread};
///
/// static CALLS: Local<Cell<u32>> = Local::new(|| Cell::new(0));
/// CALLS.try_with(|calls| calls.set(7))?;
/// let during = Thread::spawn(|| {
///     CALLS.with(|calls| calls.set(1));
///     CALLS.threads()
/// })?;
/// assert_eq!((during.result()?, CALLS.threads()), (2, 1));
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Local<T: 'static, F = fn() -> T> {
    init: F,
    key: OnceLock<u64>,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static, F: Fn() -> T> Local<T, F> {
    /// Creates a value for each thread, made by `init`.
    pub const fn new(init: F) -> Self {
        Self { init, key: OnceLock::new(), value: PhantomData }
    }

    /// Passes the current thread's value to `look`, which may call `with` again.
    ///
    /// # Panics
    /// When the OS thread has already ended: in a destructor of another thread-local value. Use
    /// [`try_with`](Self::try_with) there.
    #[track_caller]
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        match self.try_with(look) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// Passes the current thread's value to `look`.
    ///
    /// # Errors
    /// [`ErrorKind::NoResult`] when the OS thread has already ended.
    pub fn try_with<R>(&self, look: impl FnOnce(&T) -> R) -> Result<R> {
        let over = || Error::new(ErrorKind::NoResult, "the thread is ending: it has no local values any more");
        let key = self.key.get_or_init(|| {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            NEXT.fetch_add(1, Relaxed)
        });
        let inner = living().ok_or_else(over)?.current();
        let found = inner.values.borrow().get(key).cloned().and_then(|value| value.downcast::<T>().ok());
        let value = match found {
            Some(value) => value,
            None => {
                // The initialiser may use other values of this kind, or this one: the outer one is it then.
                let value = Rc::new((self.init)());
                let before = inner.values.borrow_mut().insert(*key, value.clone());
                drop(before); // no longer borrowed: its destructor may come back here
                value
            }
        };
        Ok(look(&value))
    }
}

impl<T: 'static, F> Local<T, F> {
    /// The number of threads that have a value and have not ended.
    pub fn threads(&self) -> usize {
        let (Some(key), Some(frames)) = (self.key.get(), living()) else { return 0 };
        frames.all().iter().filter(|inner| inner.values.borrow().contains_key(key)).count()
    }
}

impl<T: 'static, F> Drop for Local<T, F> {
    /// Drops the values in this OS thread.
    fn drop(&mut self) {
        let (Some(key), Some(frames)) = (self.key.take(), living()) else { return };
        let values: Vec<Rc<dyn Any>> =
            frames.all().iter().filter_map(|inner| inner.values.borrow_mut().remove(&key)).collect();
        drop(values); // no longer borrowed: their destructors may come back here
    }
}

impl<T: 'static, F> fmt::Debug for Local<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("threads", &self.threads()).finish_non_exhaustive()
    }
}
