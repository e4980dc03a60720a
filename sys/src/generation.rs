//! The fork generation: lets a destructor detect that it runs in a child, without a system call.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use crate::raw::process as raw;

/// The value before the fork handler is registered.
const UNSET: u32 = 0;
/// The value after the registration failed: the process id replaces the generation.
const ASK_THE_KERNEL: u32 = u32::MAX;

static GENERATION: AtomicU32 = AtomicU32::new(UNSET);

/// The number of forks that have begun in this process and in its ancestors.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number of this copy of the program, which differs between a process and the children that it forks.
///
/// For destructors: keep the number beside what a process owns. In a process with another number do not unlink, unlock
/// or reap it, because the parent still owns it. Costs one load; the first call registers a handler with
/// pthread_atfork(3), and [`fork`](crate::process::fork()) makes it if no other call did. Counts forks that go through
/// libc (this crate's all do) after that; a raw clone(2) is not seen.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::{fork, generation};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let before = generation();
/// let mut child = fork(|| u8::from(generation() != before))?;
/// assert_eq!(child.wait()?.code(), Some(1));
/// assert_eq!(generation(), before);
/// # Ok(()) }
/// ```
#[inline]
pub fn generation() -> u32 {
    match GENERATION.load(SeqCst) {
        UNSET | ASK_THE_KERNEL => first(),
        generation => generation,
    }
}

#[cold]
fn first() -> u32 {
    if GENERATION.load(SeqCst) == UNSET {
        // Two threads may both register: the count then goes up by two at a fork, which still differs. The second
        // thread leaves the count alone, so that no thread sees it change outside a fork.
        let start = if raw::atfork(Some(count), Some(bump)).is_ok() { 1 } else { ASK_THE_KERNEL };
        let _ = GENERATION.compare_exchange(UNSET, start, SeqCst, SeqCst);
    }
    match GENERATION.load(SeqCst) {
        // Distinct from counted generations, which stay far below.
        ASK_THE_KERNEL => rustix::process::getpid().as_raw_nonzero().get() as u32 | 1 << 31,
        generation => generation,
    }
}

extern "C" fn bump() {
    let generation = GENERATION.load(SeqCst);
    if generation != ASK_THE_KERNEL {
        GENERATION.store(generation.wrapping_add(1), SeqCst);
    }
}

extern "C" fn count() {
    FORKS.fetch_add(1, SeqCst);
}

/// The number of forks that have begun in this process and in its ancestors. `None` if forks cannot be counted.
///
/// While two calls return the same number, no child has a copy of state that this process had since the first call.
///
/// Counts the forks that [`generation`] counts.
#[inline]
pub(crate) fn forks() -> Option<u32> {
    match GENERATION.load(SeqCst) {
        UNSET | ASK_THE_KERNEL => counted(),
        _ => Some(FORKS.load(SeqCst)),
    }
}

#[cold]
fn counted() -> Option<u32> {
    let _ = first();
    (GENERATION.load(SeqCst) != ASK_THE_KERNEL).then(|| FORKS.load(SeqCst))
}
