//! The backend of the locks between processes: the place of libc's robust list, and whether this crate's nodes fit into
//! it.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicUsize};

use static_assertions::const_assert_eq;

use super::node::FUTEX_OFFSET;
use crate::raw;

#[cfg(not(target_env = "musl"))]
const GLIBC_32: bool = cfg!(all(not(target_env = "musl"), target_pointer_width = "32"));

/// `struct robust_list_head` of the kernel, in libc's thread descriptor.
#[repr(C)]
pub(super) struct Head {
    pub(super) list: AtomicUsize,
    pub(super) futex_offset: AtomicIsize,
    pub(super) pending: AtomicUsize,
}
const_assert_eq!(size_of::<Head>(), 3 * size_of::<usize>());

/// The way in which the shared locks of this process survive a death.
///
/// # Examples
/// ```
/// use ossature_sys::scope::{LockBackend, Shared};
///
/// match Shared::backend() {
///     LockBackend::Unsupported => println!("no lock survives a death here"),
///     backend => println!("{backend:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockBackend {
    /// A node of this crate in libc's robust list: any participant may die at any instruction.
    Node,
    /// A pthread robust mutex, because the form of libc's list is not known. A dead holder is reported. But a waiter
    /// may be killed after a wake has chosen it and before it takes the lock; then the other waiters sleep on.
    ///
    /// Some emulators (qemu's of user space) have no robust lists, and the C library makes the mutex anyway. No process
    /// sees a death there. On 32-bit machines glibc searches its list for the address of the release. A thread that
    /// releases a lock through another mapping than the mapping of the take never returns.
    Pthread,
    /// No backend: the kernel has no robust lists, and the C library makes no robust mutex (glibc for riscv64 under an
    /// emulator). A type with a lock cannot be placed in shared memory: the error is `EOPNOTSUPP`.
    Unsupported,
}

/// The distance from the thread pointer to the head, once it is known and if the id beside it was right; [`UNKNOWN`]
/// before.
pub(super) static HEAD: AtomicIsize = AtomicIsize::new(UNKNOWN);
/// The same distance, even if the id was not right. The kernel then supplies the id.
pub(super) static HEAD_WITHOUT_ID: AtomicIsize = AtomicIsize::new(UNKNOWN);
/// A distance inside every descriptor that never holds a pointer to itself. So the word there never looks like the head
/// of an empty list, or of a list with a node of ours. This is the second word. With glibc, and with musl where the
/// descriptor is below the thread pointer, it is the vector of dynamic modules. Otherwise it is a link to another
/// descriptor.
pub(super) const UNKNOWN: isize = size_of::<usize>() as isize;
/// The backend as a number; 0 until it is known.
static FORM: AtomicU8 = AtomicU8::new(0);
const NODE: u8 = 1;
const PTHREAD: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// An address at a constant distance from the thread's descriptor.
#[inline(always)]
pub(crate) fn thread_pointer() -> *const u8 {
    #[cfg(target_arch = "x86_64")]
    {
        let this: *const u8;
        // SAFETY: the System V ABI for x86-64 stores the thread pointer at %fs:0.
        unsafe {
            core::arch::asm!("mov {}, fs:[0]", out(reg) this, options(nostack, preserves_flags, readonly, pure));
        }
        this
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // SAFETY: pthread_self(3) has no preconditions. In glibc and musl its value is the descriptor's address.
        let this = unsafe { libc::pthread_self() };
        this as usize as *const u8
    }
}

/// The place of the thread's id in libc: 16 or 8 bytes before glibc's head, after the fixed beginning of musl's
/// descriptor.
#[inline(always)]
pub(super) fn id_place(this: *const u8, head: &Head) -> *const u32 {
    let _ = (this, head);
    #[cfg(not(target_env = "musl"))]
    return (core::ptr::from_ref(head).cast::<u8>().wrapping_sub(if GLIBC_32 { 8 } else { 16 })).cast();
    #[cfg(target_env = "musl")]
    {
        // self, (dtv,) prev, next, sysinfo, (canary,) id: the two in brackets are elsewhere if the descriptor is
        // below the thread pointer.
        let words = if cfg!(any(target_arch = "x86_64", target_arch = "x86", target_arch = "s390x")) { 6 } else { 4 };
        this.wrapping_add(words * size_of::<usize>()).cast()
    }
}

/// The backend of this process, determined at the first call.
#[inline]
pub(crate) fn lock_backend() -> LockBackend {
    // Acquire: a thread that sees the form also sees the distance, which was stored before.
    match FORM.load(Acquire) {
        NODE => LockBackend::Node,
        form => other_backend(form),
    }
}

#[cold]
fn other_backend(form: u8) -> LockBackend {
    match form {
        PTHREAD => LockBackend::Pthread,
        UNSUPPORTED => LockBackend::Unsupported,
        _ => learn(),
    }
}

#[cold]
fn learn() -> LockBackend {
    let found = find_head().or_else(|| {
        register_thread();
        find_head()
    });
    let (number, form) = match found {
        // SAFETY: the kernel returned the head that libc registered for this thread: it is in the descriptor.
        Some(head) if unsafe { &*head }.futex_offset.load(Relaxed) == FUTEX_OFFSET => {
            let this = thread_pointer();
            let distance = (head as isize).wrapping_sub(this as isize);
            HEAD_WITHOUT_ID.store(distance, Relaxed);
            // SAFETY: as above.
            let place = id_place(this, unsafe { &*head });
            // SAFETY: the place is inside the descriptor, between its beginning and its head, in every version of
            // this libc, and is readable whatever it contains.
            if unsafe { *place } == gettid() {
                HEAD.store(distance, Relaxed);
            }
            #[cfg(target_env = "musl")]
            forget_the_parents_list_after_a_fork();
            (NODE, LockBackend::Node)
        }
        _ if super::fallback::can_be_made() => (PTHREAD, LockBackend::Pthread),
        _ => (UNSUPPORTED, LockBackend::Unsupported),
    };
    PASSES_ON.store(kernel_passes_wakes_on(), Relaxed);
    FORM.store(number, Release);
    form
}

/// `get_robust_list(0, &head, &len)`.
pub(super) fn find_head() -> Option<*const Head> {
    let mut head: *const Head = core::ptr::null();
    let mut len = 0_usize;
    raw::call_long("get_robust_list", || {
        // SAFETY: pid 0 is the calling thread; both pointers are valid for the writes that the call makes.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) }
    })
    .ok()?;
    (!head.is_null() && len == size_of::<Head>()).then_some(head)
}

/// Whether a thread that dies with a pending word of waiters but no owner wakes one of them; false until it is known.
static PASSES_ON: AtomicBool = AtomicBool::new(false);

/// Whether the kernel wakes a waiter of a word that has waiters but no owner, when a thread dies. If it does not,
/// sleeps are sliced.
pub(crate) fn wakes_are_passed_on() -> bool {
    PASSES_ON.load(Relaxed)
}

/// Decides by the kernel's version: from 6.2 on it passes wakes on. Older kernels with the backported change count as
/// kernels without it. A sleeper there wakes up periodically and checks the word.
fn kernel_passes_wakes_on() -> bool {
    let Ok(system) = raw::call("uname", || Ok(rustix::system::uname())) else { return false };
    let mut numbers = system.release().to_bytes().split(|byte| !byte.is_ascii_digit());
    let mut next = || {
        let digits = numbers.next().unwrap_or_default();
        digits.iter().fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    };
    (next(), next()) >= (6, 2)
}

/// Makes musl register the calling thread's head, which it does when the thread first takes a robust mutex.
pub(super) fn register_thread() {
    super::fallback::take_one_robust_mutex();
}

/// `gettid()`.
pub(crate) fn gettid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// Clears the list in a forked child. musl leaves the parent's entries in the list, and the child would write into
/// memory that it may no longer have. The child has one thread, the thread that forked, so there is only one list.
#[cfg(target_env = "musl")]
fn forget_the_parents_list_after_a_fork() {
    extern "C" fn forget() {
        let head = thread_pointer().wrapping_offset(HEAD_WITHOUT_ID.load(Relaxed)).cast::<Head>();
        // SAFETY: the handler is registered once the distance is known, so this is the thread's own head.
        let head = unsafe { &*head };
        head.list.store(core::ptr::from_ref(head) as usize, Relaxed);
    }
    // If there is no memory for the handler, the registration cuts the list by the ids in its entries.
    let _ = crate::raw::process::atfork(None, Some(forget));
}
