//! The helper of this binary: fails the nth call of an operation, for every n and every errno, and searches for leaks.
#![allow(dead_code, reason = "each module uses its part")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::sweep::{Sweep, Swept};
use ossature_sys::faults::{Fault, Rule};

use crate::support::soon;

/// The errnos that any thin call may return: a signal, no memory, no free descriptor, try again, no permission.
pub const USUAL: [Errno; 5] = [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM];

/// The minimum size of the anonymous mappings that the sweep counts: no allocator makes mappings this large.
const LARGE: u64 = 100 << 20;

/// Excludes the other tests of this binary, because descriptors and mappings are counted for the whole process.
///
/// A test that opens something outside of [`sweep`] and its like takes this first; taking it again in the same thread
/// is allowed.
#[must_use = "others run as soon as this is dropped"]
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    let mut held = HELD.take();
    held.1.get_or_insert_with(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    HELD.set((held.0 + 1, held.1));
    Alone(PhantomData)
}

thread_local! {
    /// How often this thread has called [`alone`], and the lock since the first call.
    static HELD: Cell<(u32, Option<MutexGuard<'static, ()>>)> = const { Cell::new((0, None)) };
}

/// The result of [`alone`]; it stays in its thread.
pub struct Alone(PhantomData<*const ()>);

impl Drop for Alone {
    fn drop(&mut self) {
        let (depth, lock) = HELD.take();
        HELD.set((depth - 1, lock.filter(|_| depth > 1)));
    }
}

/// Runs `operation` undisturbed, then once for each of its foreign calls and each of the [`USUAL`] errnos with that
/// call failing.
///
/// Asserts that the undisturbed run ends well and makes a foreign call at all, that every other run ends within the
/// patience of these tests, and that the same descriptors are open and the same memory is mapped after each run as
/// before. For each call of the C functions named in `retried` (those that can sleep, so a signal can interrupt them)
/// it asserts that EINTR is not the caller's concern: the operation ends well.
///
/// What `operation` opens it must close by itself before it returns: a value it hands back would be a leak.
#[track_caller]
pub fn sweep(name: &str, retried: &[&'static str], operation: impl FnMut() -> Result<()>) -> Swept {
    sweep_with(name, retried, &USUAL, operation)
}

/// Like [`sweep`], with a choice of errnos, for calls that return further ones.
#[track_caller]
pub fn sweep_with(
    name: &str,
    retried: &[&'static str],
    errnos: &[Errno],
    mut operation: impl FnMut() -> Result<()>,
) -> Swept {
    let _alone = alone();
    let mut operation = || soon(&mut operation);
    let mut run = |errnos: &[Errno], call| {
        // The harness has threads of its own.
        let swept = Sweep::new(errnos).of(call).anonymous(LARGE).ignore_threads().run(&mut operation);
        swept.unwrap_or_else(|failure| panic!("{name}: {call}: {failure}"))
    };
    let swept = run(errnos, "*");
    for &call in retried {
        assert_eq!(run(&[Errno::INTR], call).refused, 0, "{name}: EINTR at a call of {call} came back");
    }
    swept
}

/// Asserts that `operation` returns `errno` when every call of the C function `call` fails with it, and that it leaves
/// nothing behind.
#[track_caller]
pub fn fails_with<T>(call: &'static str, errno: Errno, operation: impl FnOnce() -> Result<T>) {
    let mut answer = None;
    once(call, errno, Rule::on(call, Fault::Fail(errno)), || answer = Some(operation().map(drop)));
    assert_eq!(answer, Some(Err(errno)), "{call} failing with {errno:?}");
}

/// Asserts that `operation` succeeds when the first call of the C function `call` fails with `errno`: EINTR that is
/// retried, ENOSYS that has a fallback.
#[track_caller]
pub fn survives<T>(call: &'static str, errno: Errno, operation: impl FnOnce() -> Result<T>) {
    let mut answer = None;
    once(call, errno, Rule::on(call, Fault::Fail(errno)).nth(1), || answer = Some(operation().map(drop)));
    assert_eq!(answer, Some(Ok(())), "{call} failing once with {errno:?}");
}

/// Runs `operation` under a rule. The rule must match a call, and nothing may be left behind.
#[track_caller]
fn once(call: &str, errno: Errno, rule: Rule, operation: impl FnOnce()) {
    let _alone = alone();
    let watched = Sweep::new(&[]).ignore_threads().watch(|| {
        let rule = rule.arm().expect("a rule is free");
        operation();
        assert_ne!(rule.hits(), 0, "{call} was never called");
    });
    watched.unwrap_or_else(|failure| panic!("{call} failing with {errno:?}: {failure}"));
}
