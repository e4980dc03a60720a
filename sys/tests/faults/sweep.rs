//! The helper of this binary: fail the nth call of an operation, for every n and every errno, and look for what is lost.
#![allow(dead_code, reason = "each module uses its part")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};

use crate::support::soon;

/// The errnos that any thin call may meet: a signal, no memory, no descriptor left, not now, not allowed.
pub const USUAL: [Errno; 5] = [Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN, Errno::PERM];

/// Holds the other tests of this binary back: descriptors and mappings are counted for the whole process.
///
/// A test that opens something outside of [`sweep`] and its like takes this first; taking it again in the same thread is
/// allowed.
#[must_use = "others run as soon as this is dropped"]
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    let mut held = HELD.take();
    held.1.get_or_insert_with(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    HELD.set((held.0 + 1, held.1));
    Alone(PhantomData)
}

thread_local! {
    /// How often this thread has taken [`alone`], and the lock from the first time on.
    static HELD: Cell<(u32, Option<MutexGuard<'static, ()>>)> = const { Cell::new((0, None)) };
}

/// What [`alone`] answers; stays in its thread.
pub struct Alone(PhantomData<*const ()>);

impl Drop for Alone {
    fn drop(&mut self) {
        let (depth, lock) = HELD.take();
        HELD.set((depth - 1, lock.filter(|_| depth > 1)));
    }
}

/// The open descriptors of this process and what each one leads to.
pub fn descriptors() -> BTreeMap<i32, String> {
    let mut open = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten() {
        let number = entry.file_name().to_string_lossy().parse().expect("descriptors are numbers");
        // The descriptor of this very listing is gone by the time its link is read.
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.to_string_lossy().into_owned();
            if !target.ends_with("/fd") {
                open.insert(number, target);
            }
        }
    }
    open
}

/// The pages of the thread stacks and heaps come and go as the harness likes; these are the mappings that an operation
/// of ours could leave behind: those of files and memfds by name, and of shared anonymous memory.
///
/// A test of private anonymous memory counts with [`anonymous_bytes`] as well.
pub fn mappings() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().unwrap_or_default();
        let name: Vec<&str> = fields.skip(4).collect();
        let name = name.join(" ");
        if name.starts_with("/dev/zero") || name.starts_with("/memfd:") || name.contains("(deleted)") {
            *found.entry(name).or_default() += span(range);
        }
    }
    found
}

/// Bytes of private anonymous memory whose size is at least `least`: choose a size that no allocator asks for.
pub fn anonymous_bytes(least: usize) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let anonymous = maps.lines().filter(|line| line.split_whitespace().count() == 5);
    anonymous.map(|line| span(line.split(' ').next().unwrap_or_default())).filter(|&size| size >= least).sum()
}

fn span(range: &str) -> usize {
    let (from, to) = range.split_once('-').expect("a range of addresses");
    let number = |text| usize::from_str_radix(text, 16).expect("addresses are hexadecimal");
    number(to) - number(from)
}

/// What a sweep saw, for a test that wants to say more about it.
#[derive(Debug, Default)]
pub struct Swept {
    /// Foreign calls of one undisturbed run.
    pub calls: u64,
    /// Runs in which the injected errno came back to the caller.
    pub refused: u64,
    /// Runs that ended well in spite of the injected errno.
    pub survived: u64,
}

/// Runs `operation` undisturbed, then once for each of its foreign calls and each of the [`USUAL`] errnos with that
/// call failing.
///
/// Asserts that the undisturbed run ends well and makes a foreign call at all, that every other run ends within the
/// house's patience, and that the same descriptors are open and the same memory is mapped after each run as before.
/// For each call of the C functions named in `retried` (those that can sleep, so a signal can interrupt them) it asserts
/// that EINTR is not the caller's concern: the operation ends well.
///
/// What `operation` opens it must close by itself before it returns: a value it hands back would be a leak.
#[track_caller]
pub fn sweep(name: &str, retried: &[&'static str], operation: impl FnMut() -> Result<()>) -> Swept {
    sweep_with(name, retried, &USUAL, operation)
}

/// [`sweep`] with a choice of errnos, for calls that know more of them.
#[track_caller]
pub fn sweep_with(
    name: &str,
    retried: &[&'static str],
    errnos: &[Errno],
    mut operation: impl FnMut() -> Result<()>,
) -> Swept {
    let _alone = alone();
    // The first run may set up what lasts for the life of the process (a lazily opened kernel object of libc's).
    soon(&mut operation).unwrap_or_else(|errno| panic!("{name}: undisturbed it ends in {errno:?}"));

    let before = (descriptors(), mappings());
    let mut run = |call: &'static str, nth: u64, fault: Fault| {
        let rule = Rule::on(call, fault).nth(nth).arm().expect("a rule is free");
        let answer = soon(&mut operation);
        let counted = (rule.seen(), rule.hits());
        drop(rule);
        let after = (descriptors(), mappings());
        assert_eq!(before, after, "{name}: left behind after {fault:?} at call {nth} of {call}");
        (answer, counted)
    };

    let (answer, (calls, _)) = run("*", 1, Fault::Count);
    assert_eq!(answer, Ok(()), "{name}: the second run");
    assert!(calls > 0, "{name} makes no foreign call that the hook can see");
    let mut swept = Swept { calls, ..Swept::default() };
    for nth in 1..=calls {
        for &errno in errnos {
            let (answer, (_, hits)) = run("*", nth, Fault::Fail(errno));
            assert_eq!(hits, 1, "{name}: there was no call {nth} of {calls} to fail with {errno:?}");
            match answer {
                Ok(()) => swept.survived += 1,
                Err(_) => swept.refused += 1,
            }
        }
    }
    for &call in retried {
        let (_, (times, _)) = run(call, 1, Fault::Count);
        assert!(times > 0, "{name} never calls {call}");
        for nth in 1..=times {
            let (answer, _) = run(call, nth, Fault::Fail(Errno::INTR));
            assert_eq!(answer, Ok(()), "{name}: EINTR at call {nth} of {call}");
        }
    }
    swept
}

/// Asserts that `operation` answers `errno` when every call of the C function `call` fails with it, and leaves nothing
/// behind.
#[track_caller]
pub fn fails_with<T>(call: &'static str, errno: Errno, operation: impl FnOnce() -> Result<T>) {
    let _alone = alone();
    let before = (descriptors(), mappings());
    let rule = Rule::on(call, Fault::Fail(errno)).arm().expect("a rule is free");
    let answer = operation().map(drop);
    assert_ne!(rule.hits(), 0, "{call} was never called");
    drop(rule);
    assert_eq!(answer, Err(errno), "{call} failing with {errno:?}");
    assert_eq!(before, (descriptors(), mappings()), "left behind after {call} failed with {errno:?}");
}

/// Asserts that `operation` ends well when the first call of the C function `call` fails with `errno`: EINTR that is
/// retried, ENOSYS that has a fallback.
#[track_caller]
pub fn survives<T>(call: &'static str, errno: Errno, operation: impl FnOnce() -> Result<T>) {
    let _alone = alone();
    let before = (descriptors(), mappings());
    let rule = Rule::on(call, Fault::Fail(errno)).nth(1).arm().expect("a rule is free");
    let answer = operation().map(drop);
    assert_ne!(rule.hits(), 0, "{call} was never called");
    drop(rule);
    assert_eq!(answer, Ok(()), "{call} failing once with {errno:?}");
    assert_eq!(before, (descriptors(), mappings()), "left behind after {call} failed with {errno:?}");
}
