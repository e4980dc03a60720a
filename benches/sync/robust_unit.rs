//! The least code for a unit that its holder's death gives back: one futex word, linked into the holder's robust list.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering::*;
use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicUsize, compiler_fence};

use ossature_benches::rivals::{futex_wait, futex_wake};

/// The kernel's bits of such a word.
const WAITERS: u32 = 0x8000_0000;
const OWNER: u32 = 0x3fff_ffff;

/// The distance of the word from its link, in the lists of 64-bit glibc.
const OFFSET: isize = -32;

/// The head of a thread's list (`struct robust_list_head`).
#[repr(C)]
struct Head {
    list: AtomicUsize,
    futex_offset: AtomicIsize,
    pending: AtomicUsize,
}

/// The calling thread's list and number. A forked child begins with an unknown one.
#[derive(Default)]
pub struct Here(Cell<Option<(&'static Head, u32)>>);

impl Here {
    #[inline(always)]
    fn get(&self) -> (&'static Head, u32) {
        self.0.get().unwrap_or_else(|| self.find())
    }

    #[cold]
    fn find(&self) -> (&'static Head, u32) {
        let (mut head, mut len) = (ptr::null::<Head>(), 0_usize);
        // SAFETY: get_robust_list(2) writes an address and a length to these two places.
        let failed = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
        assert!(failed == 0 && !head.is_null() && len == size_of::<Head>(), "the C library has registered no list");
        // SAFETY: the C library registered this head, which lives as long as the thread: the first one of the process.
        let head = unsafe { &*head };
        assert_eq!(head.futex_offset.load(Relaxed), OFFSET, "this row knows the lists of 64-bit glibc only");
        // SAFETY: gettid(2) has no arguments.
        let found = (head, unsafe { libc::gettid() } as u32);
        self.0.set(Some(found));
        found
    }
}

/// One unit: its word is 0, or the number of its holder, with [`WAITERS`] if a process may sleep.
///
/// It has less than a semaphore needs: one unit only, no limit, no place for a unit without an owner, and a list in
/// which nothing else is linked. A second death, of the sleeper that the first one woke, may leave others asleep.
#[repr(C)]
#[derive(Default)]
pub struct RobustUnit {
    word: AtomicU32,
    between: [u32; 7],
    next: AtomicUsize,
}

impl RobustUnit {
    #[inline(always)]
    fn entry(&self) -> usize {
        (&raw const self.next) as usize
    }

    /// Takes the unit, and waits for it.
    #[inline(always)]
    pub fn take(&self, here: &Here) {
        let (head, id) = here.get();
        head.pending.store(self.entry(), Relaxed);
        compiler_fence(SeqCst);
        if self.word.compare_exchange(0, id, Acquire, Relaxed).is_err() {
            self.take_slow(id);
        }
        self.next.store(ptr::from_ref(head) as usize, Relaxed);
        compiler_fence(SeqCst);
        head.list.store(self.entry(), Relaxed);
        compiler_fence(SeqCst);
        head.pending.store(0, Relaxed);
    }

    #[cold]
    fn take_slow(&self, id: u32) {
        loop {
            let seen = self.word.load(Relaxed);
            if seen & OWNER == 0 {
                if self.word.compare_exchange(seen, id | WAITERS, Acquire, Relaxed).is_ok() {
                    return;
                }
            } else if seen & WAITERS != 0 || self.word.compare_exchange(seen, seen | WAITERS, Relaxed, Relaxed).is_ok()
            {
                futex_wait(&self.word, seen | WAITERS);
            }
        }
    }

    /// Gives the unit back, and wakes a sleeper.
    #[inline(always)]
    pub fn give(&self, here: &Here) {
        let (head, _) = here.get();
        head.pending.store(self.entry(), Relaxed);
        compiler_fence(SeqCst);
        head.list.store(ptr::from_ref(head) as usize, Relaxed);
        compiler_fence(SeqCst);
        if self.word.swap(0, Release) & WAITERS != 0 {
            futex_wake(&self.word, 1);
        }
        compiler_fence(SeqCst);
        head.pending.store(0, Relaxed);
    }
}
