//! System calls that the kernel itself refuses. A seccomp filter on one thread makes chosen system calls fail with an
//! errno, however the crate makes them. The fault hook acts before the call; the filter acts in the kernel.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::futex::{Reach, Wait, Waiter, wait_any};
use ossature_sys::mmap::Memfd;
use ossature_sys::pipe::{Flags, pipe};
use ossature_sys::signal::{self, Signal, SignalSet};
use ossature_sys::stream::{Stream, write_without_sigpipe};
use ossature_sys::timerfd::{Clock, TimerFd};

#[macro_use]
#[path = "it/needs.rs"]
mod needs;

#[path = "seccomp/filter.rs"]
mod filter;
#[path = "seccomp/memory.rs"]
mod memory;

use filter::refused;

#[test]
fn refusals_of_the_kernel_come_back_as_they_are() {
    needs!(seccomp_filters);
    for errno in [Errno::MFILE, Errno::NOMEM, Errno::PERM] {
        assert_eq!(refused(&[libc::SYS_epoll_create1], errno, || Epoll::new().err()), Some(errno));
        assert_eq!(refused(&[libc::SYS_eventfd2], errno, || EventFd::counter(0).err()), Some(errno));
        assert_eq!(refused(&[libc::SYS_timerfd_create], errno, || TimerFd::new(Clock::Monotonic).err()), Some(errno));
        assert_eq!(refused(&[libc::SYS_pipe2], errno, || pipe(Flags::empty()).err()), Some(errno));
        assert_eq!(refused(&[libc::SYS_memfd_create], errno, || Memfd::new(c"refused").err()), Some(errno));
    }
}

#[test]
fn epoll_waits_without_epoll_pwait2() {
    needs!(seccomp_filters);
    let epoll = Epoll::new().unwrap();
    let counter = EventFd::counter(1).unwrap();
    epoll.register(&counter, Interest::IN, 5).unwrap();
    let wait = |timeout: Deadline| {
        let mut room = [const { MaybeUninit::<Event>::uninit() }; 2];
        epoll.poll(&mut room, timeout).map(|ready| ready.iter().map(Event::token).collect::<Vec<_>>())
    };
    let timeouts = [Duration::ZERO, Duration::from_micros(1500), Duration::from_secs(3600)];
    for timeout in timeouts {
        let ready = refused(&[libc::SYS_epoll_pwait2], Errno::NOSYS, || wait(timeout.into()));
        assert_eq!(ready, Ok(vec![5]), "{timeout:?}");
    }
    epoll.unregister(&counter).unwrap();
    let ready = refused(&[libc::SYS_epoll_pwait2], Errno::NOSYS, || wait(Duration::from_micros(1500).into()));
    assert_eq!(ready, Ok(vec![]));
}

#[test]
fn several_words_are_waited_on_without_futex_waitv() {
    needs!(seccomp_filters);
    let words = [AtomicU32::new(1), AtomicU32::new(2)];
    let waiters = [Waiter::new(&words[0], 1, Reach::Private), Waiter::new(&words[1], 2, Reach::Private)];
    // futex_waitv(2) has this number on every architecture.
    let wait = || wait_any(&waiters, Duration::from_millis(5));
    assert_eq!(refused(&[449], Errno::NOSYS, wait), Ok(Wait::TimedOut));
    words[1].store(3, SeqCst);
    assert!(matches!(refused(&[449], Errno::NOSYS, wait), Ok(answer) if answer != Wait::TimedOut));
}

/// The number of SIGPIPE signals received.
static BROKEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    BROKEN.fetch_add(1, SeqCst);
}

/// Writes to a pipe without a reader in every way, in this thread.
fn write_in_vain() -> [Result<Option<usize>, Errno>; 4] {
    let (reader, writer) = pipe(Flags::empty()).unwrap();
    drop(reader);
    let alone = write_without_sigpipe(&writer, b"x").map(Some);
    let stream = Stream::new(writer).unwrap();
    let soon = Duration::from_secs(5);
    [
        alone,
        stream.write([b"x", b""], None),
        stream.write([b"x", b"y"], soon),
        stream.write([&[0; 100_000], b"y"], Deadline::NEVER),
    ]
}

#[test]
fn a_pipe_without_a_reader_raises_no_signal_with_and_without_pwritev2() {
    // SAFETY: the handler only adds to an atomic.
    unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
    let broken = SignalSet::from(Signal::PIPE);
    let check = || {
        assert_eq!(write_in_vain(), [Err(Errno::PIPE); 4]);
        assert!(!signal::mask().unwrap().contains(Signal::PIPE), "the mask is as before");
        // One that this thread held back before is not taken from it.
        let _blocked = signal::block(broken).unwrap();
        assert_eq!(write_in_vain(), [Err(Errno::PIPE); 4]);
        assert!(!signal::pending().unwrap().contains(Signal::PIPE), "none is left behind");
        // SAFETY: raise(3) has no preconditions.
        unsafe { libc::raise(libc::SIGPIPE) };
        assert_eq!(write_in_vain(), [Err(Errno::PIPE); 4]);
        assert!(signal::wait(broken, Deadline::NOW).unwrap().is_some(), "it is still pending");
        assert!(signal::wait(broken, Deadline::NOW).unwrap().is_none());
        assert!(signal::mask().unwrap().contains(Signal::PIPE));
    };
    thread::scope(|scope| scope.spawn(check).join()).unwrap();
    needs!(seccomp_filters);
    // What kernels before 6.18 answer to the flag, those before 4.6 to the call, and a sandbox.
    for errno in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::PERM] {
        refused(&[libc::SYS_pwritev2], errno, check);
    }
    assert_eq!(BROKEN.load(SeqCst), 0);
}
