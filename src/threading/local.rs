//! Values of which each thread has its own: [`Local`].
//!
//! ```
//! use std::cell::Cell;
//! use ossature::threading::{Local, Thread};
//!
//! static CALLS: Local<Cell<u32>> = Local::new(|| Cell::new(0));
//!
//! CALLS.with(|calls| calls.set(7));
//! Thread::spawn(|| CALLS.with(|calls| assert_eq!(calls.get(), 0)))?.result()?;
//! CALLS.with(|calls| assert_eq!(calls.get(), 7));
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! Unlike std's `thread_local!` it is a value like any other: it can be made at run time, be a field, and die. When it
//! does, the values of all threads die with it, in the thread that drops it; therefore they are `Send`. When a thread
//! ends, its values die in that thread, before a thread that joins it continues.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, Weak};

use ossature_sys::process::generation;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

use crate::error::{Error, ErrorKind, Result};
use crate::thread::report_panics;

/// The value of one thread. Only that thread takes the lock while it uses the value, so no thread ever waits for it.
type Slot<T> = Arc<RLock<RefCell<Option<T>>>>;

/// The values of all threads by number, each with the process of its thread.
type Slots<T> = Lock<BTreeMap<u64, (u32, Slot<T>)>>;

/// A value for each thread, made at the thread's first use.
///
/// Differs from Python: it holds one value of a type, not a bag of attributes. What a subclass does in `__init__` is
/// what `init` does, in each thread anew; state that all threads share is kept outside.
///
/// # Examples
/// ```
/// use std::cell::RefCell;
/// use ossature::threading::{Local, Thread};
///
/// static LINES: Local<RefCell<Vec<u32>>> = Local::new(RefCell::default);
///
/// LINES.with(|lines| lines.borrow_mut().push(1));
/// LINES.try_with(|lines| lines.borrow_mut().push(2))?;
/// Thread::spawn(|| LINES.with(|lines| assert!(lines.borrow().is_empty())))?.result()?;
/// assert_eq!(LINES.with(|lines| lines.borrow().clone()), [1, 2]);
/// assert_eq!(LINES.threads(), 1, "the value of the other thread has died with it");
/// # Ok::<(), ossature::Error>(())
/// ```
pub struct Local<T: Send + 'static, F = fn() -> T> {
    init: F,
    /// The list of the values, and the key under which each thread finds its own.
    made: OnceLock<(u64, Arc<Slots<T>>)>,
}

/// A new number for a `Local` or a value, unique in the process.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// The entry that a thread keeps for one `Local`.
trait Kept {
    /// The [`Slot`].
    fn slot(&self) -> &dyn Any;
    fn number(&self) -> u64;
    /// Removes the value from the list, so that the value is dropped together with this entry.
    fn leave(&self);
    /// Whether the `Local` was dropped, and the value with it.
    fn is_orphan(&self) -> bool;
}

struct Keep<T: Send + 'static> {
    slot: Slot<T>,
    number: u64,
    slots: Weak<Slots<T>>,
}

impl<T: Send + 'static> Kept for Keep<T> {
    fn slot(&self) -> &dyn Any {
        &self.slot
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn leave(&self) {
        if let Some(slots) = self.slots.upgrade() {
            let listed = slots.lock().remove(&self.number);
            drop(listed);
        }
    }

    fn is_orphan(&self) -> bool {
        self.slots.strong_count() == 0
    }
}

/// The values of one thread, by the number of their `Local`.
#[derive(Default)]
struct Mine {
    kept: RefCell<BTreeMap<u64, Box<dyn Kept>>>,
}

impl Mine {
    /// Drops all values, and the values that their destructors make, in at most 4 rounds.
    fn clear(&self) {
        const ROUNDS: u32 = 4;
        for _ in 0..ROUNDS {
            let kept = self.kept.take();
            if kept.is_empty() {
                return;
            }
            for one in kept.into_values() {
                one.leave();
                report_panics(|| drop(one));
            }
        }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.clear();
    }
}

thread_local! {
    static MINE: Mine = const { Mine { kept: RefCell::new(BTreeMap::new()) } };
    /// Whether the thread ever had a value. The first access to `MINE` registers its destructor, which this check
    /// avoids.
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Drops the calling thread's values when the thread ends.
pub(super) fn clear() {
    if USED.get() {
        let _ = MINE.try_with(Mine::clear);
    }
}

impl<T: Send + 'static, F: Fn() -> T> Local<T, F> {
    /// A value for each thread, made by `init`.
    pub const fn new(init: F) -> Self {
        Self { init, made: OnceLock::new() }
    }

    /// Lends the calling thread's value to `look`, which may use the same `Local` again.
    ///
    /// # Panics
    /// When the thread has already ended: in a destructor of another thread-local value, in a thread that was started
    /// elsewhere. Use [`try_with`](Self::try_with) there.
    #[track_caller]
    pub fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        match self.try_with(look) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// Lends the calling thread's value to `look`.
    ///
    /// # Errors
    /// [`ErrorKind::NoResult`] when the thread has already ended.
    pub fn try_with<R>(&self, look: impl FnOnce(&T) -> R) -> Result<R> {
        let over = || Error::new(ErrorKind::NoResult, "the thread is ending: it has no local values any more");
        let (key, slots) = self.made.get_or_init(|| (fresh(), Arc::default()));
        let find = |mine: &Mine| Some(mine.kept.borrow().get(key)?.slot().downcast_ref::<Slot<T>>()?.clone());
        let slot = match MINE.try_with(find).map_err(|_| over())? {
            Some(slot) => slot,
            None => {
                // The initialiser may use other values of this kind, or this one.
                let made = (self.init)();
                MINE.try_with(|mine| mine.keep(*key, slots, made)).map_err(|_| over())?
            }
        };
        let guard = slot.lock();
        let value = guard.borrow();
        value.as_ref().map(look).ok_or_else(over)
    }

    /// The number of threads that have a value now.
    pub fn threads(&self) -> usize {
        let Some((key, slots)) = self.made.get() else { return 0 };
        // In a forked child the values of other threads belong to no thread.
        let (now, mine) = (generation(), mine(*key));
        slots.lock().iter().filter(|(number, (process, _))| *process == now || mine == Some(**number)).count()
    }
}

impl Mine {
    fn keep<T: Send + 'static>(&self, key: u64, slots: &Arc<Slots<T>>, value: T) -> Slot<T> {
        USED.set(true);
        let (number, slot) = (fresh(), Arc::new(RLock::new(RefCell::new(Some(value)))));
        slots.lock().insert(number, (generation(), slot.clone()));
        let mut kept = self.kept.borrow_mut();
        // The values of dropped keys are removed whenever their number may have doubled.
        let mut dead = Vec::new();
        if kept.len().is_power_of_two() {
            let orphans: Vec<u64> = kept.iter().filter(|(_, one)| one.is_orphan()).map(|(key, _)| *key).collect();
            dead.extend(orphans.into_iter().filter_map(|key| kept.remove(&key)));
        }
        let before = kept.insert(key, Box::new(Keep { slot: slot.clone(), number, slots: Arc::downgrade(slots) }));
        drop(kept);
        if let Some(before) = before {
            // The initialiser used the value that it was to make: the outer one is it.
            before.leave();
        }
        drop(dead);
        slot
    }
}

/// The number of the calling thread's value of one `Local`.
fn mine(key: u64) -> Option<u64> {
    MINE.try_with(|mine| Some(mine.kept.borrow().get(&key)?.number())).ok()?
}

impl<T: Send + 'static, F> Drop for Local<T, F> {
    /// Drops the values of all threads.
    fn drop(&mut self) {
        let Some((key, slots)) = self.made.take() else { return };
        let mine = mine(key);
        // Once the list is taken from here, ending threads do not touch it.
        let all = std::mem::take(&mut *slots.lock());
        for (number, (process, slot)) in all {
            if process != generation() && mine != Some(number) {
                // A value of a thread that stayed in the parent, which may have been looking at it.
                std::mem::forget(slot);
                continue;
            }
            let value = slot.lock().take();
            drop(value);
        }
    }
}

impl<T: Send + fmt::Debug + 'static, F: Fn() -> T> fmt::Debug for Local<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("threads", &self.threads()).finish_non_exhaustive()
    }
}
