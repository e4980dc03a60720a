//! The minimum cost of a message in each direction: on one cache line while both sides are awake, and by a sleep on two
//! words on one core.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ossature_benches::machine;
use ossature_benches::rivals::futex_wake;

/// A number that is both the message and its signal, because each message increments it.
#[derive(Default)]
#[repr(align(128))]
pub struct OneLine {
    number: AtomicU64,
}

/// One end of the line, in one process.
pub struct End {
    line: &'static OneLine,
    seen: Cell<u64>,
}

impl OneLine {
    pub fn shared() -> End {
        End { line: machine::shared(Self::default()), seen: Cell::new(0) }
    }
}

impl End {
    pub fn post(&self) {
        let next = self.seen.get() + 1;
        self.seen.set(next);
        self.line.number.store(next, Release);
    }

    pub fn take(&self) {
        let next = self.seen.get() + 1;
        while self.line.number.load(Acquire) != next {
            std::hint::spin_loop();
        }
        self.seen.set(next);
    }
}

/// A word on which a process sleeps until it is set, beside a second word, which never changes.
#[derive(Default)]
#[repr(align(128))]
pub struct TwoWords {
    word: AtomicU32,
    other: AtomicU32,
}

/// `struct futex_waitv` of linux/futex.h.
#[repr(C)]
struct Wait {
    expected: u64,
    word: u64,
    flags: u32,
    reserved: u32,
}

/// `FUTEX2_SIZE_U32`, without the private flag, for a word that processes share.
const WORD: u32 = 2;

impl TwoWords {
    pub fn shared() -> &'static Self {
        machine::shared(Self::default())
    }

    pub fn post(&self) {
        self.word.store(1, Release);
        futex_wake(&self.word, 1);
    }

    pub fn take(&self) {
        while self.word.swap(0, Acquire) == 0 {
            let wait = |word: &AtomicU32| Wait { expected: 0, word: word.as_ptr() as u64, flags: WORD, reserved: 0 };
            let waits = [wait(&self.word), wait(&self.other)];
            let (flags, until, clock) = (0, std::ptr::null::<libc::timespec>(), libc::CLOCK_MONOTONIC);
            // SAFETY: futex_waitv(2) reads a list of that length, whose words live; without a time it reads no more.
            unsafe { libc::syscall(libc::SYS_futex_waitv, waits.as_ptr(), waits.len(), flags, until, clock) };
        }
    }
}
