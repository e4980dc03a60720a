//! The lower half at work without std and without an allocator: an event loop over a pipe, an event counter, a timer
//! and a signal, then memory that is shared, and a lock in it. Prints `OK` and ends with 0; otherwise prints what
//! failed and ends with 1.
#![no_std]
#![no_main]

use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use core::time::Duration;

use ossature_sys::epoll::{Epoll, Event, Interest};
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd;
use ossature_sys::mmap::{Memfd, Region, Seals};
use ossature_sys::pipe::{Flags, pipe};
use ossature_sys::scope::{LockBackend, Shared};
use ossature_sys::shm::{Racy, Shm};
use ossature_sys::signal::{self, Signal, SignalSet};
use ossature_sys::signalfd::SignalFd;
use ossature_sys::sync::lock::Lock;
use ossature_sys::timerfd::{Clock, TimerFd};

const PIPE: u64 = 1;
const COUNTER: u64 = 2;
const TIMER: u64 = 3;
const SIGNAL: u64 = 4;

/// Waits for all four in one set until each has come.
fn events() -> Result<()> {
    let epoll = Epoll::new()?;
    let (reader, writer) = pipe(Flags::empty())?;
    let counter = EventFd::counter(0)?;
    let timer = TimerFd::new(Clock::Monotonic)?;
    epoll.register(&reader, Interest::IN, PIPE)?;
    epoll.register(&counter, Interest::IN, COUNTER)?;
    epoll.register(&timer, Interest::IN, TIMER)?;
    let wanted = SignalSet::from(Signal::USR1);
    let _blocked = signal::block(wanted)?;
    let signals = SignalFd::new(wanted)?;
    epoll.register(&signals, Interest::IN, SIGNAL)?;

    fd::write(&writer, b"ossature")?;
    counter.add(42, Duration::ZERO)?;
    timer.set_once(Duration::from_millis(5))?;
    signal::raise(Signal::USR1)?;

    let mut come = [false; 5];
    while come != [false, true, true, true, true] {
        let mut room = [const { MaybeUninit::<Event>::uninit() }; 8];
        let ready = epoll.poll(&mut room, Duration::from_secs(10))?;
        if ready.is_empty() {
            return Err(Errno::TIMEDOUT);
        }
        for event in ready {
            let right = match event.token() {
                PIPE => {
                    let mut text = [0; 16];
                    let len = fd::read(&reader, &mut text)?;
                    text.get(..len) == Some(b"ossature")
                }
                COUNTER => counter.try_take()? == Some(42),
                TIMER => timer.expirations(Duration::ZERO)? == Some(1),
                SIGNAL => signals.read_one(Duration::ZERO)?.and_then(|info| info.signal()) == Some(Signal::USR1),
                _ => false,
            };
            match come.get_mut(event.token() as usize) {
                Some(seen) if right => *seen = true,
                _ => return Err(Errno::PROTO),
            }
        }
    }
    Ok(())
}

/// Maps one sealed memory file twice: what goes in at one place comes out at the other.
fn memory() -> Result<()> {
    let file = Memfd::new(c"shared")?;
    file.reserve(4096)?;
    file.add_seals(Seals::SHRINK | Seals::GROW)?;
    let (here, there) = (Region::shared(&file, 4096)?, Region::shared(&file, 4096)?);
    here.copy_in(100, b"seen from everywhere")?;
    let mut seen = [0; 20];
    there.copy_out(100, &mut seen)?;
    if &seen == b"seen from everywhere" && file.set_len(0).is_err() { Ok(()) } else { Err(Errno::PROTO) }
}

/// An array of cells that anybody may read and write, seen through two mappings.
fn cells() -> Result<()> {
    let here = Shm::place_slice(16, |_| Racy::new(0_u32))?;
    let there = here.try_clone()?;
    for (n, cell) in here.iter().enumerate() {
        cell.set(n as u32 * 3);
    }
    if there.iter().enumerate().all(|(n, cell)| cell.get() == n as u32 * 3) { Ok(()) } else { Err(Errno::PROTO) }
}

/// A lock that every process can take and any holder may die with.
fn lock() -> Result<()> {
    // An emulator may lack the list by which the kernel tells of a holder's death.
    if Shared::backend() == LockBackend::Unsupported {
        say("no lock: the kernel keeps no robust list\n");
        return Ok(());
    }
    let here = Shm::place(Lock::<u64, Shared>::shared(40))?;
    let there = here.try_clone()?;
    for shm in [&here, &there] {
        let Ok(mut guard) = shm.lock() else { return Err(Errno::PROTO) };
        *guard += 1;
        // Through the other mapping too it is this thread's already.
        if !matches!(there.try_lock(), Ok(None)) {
            return Err(Errno::PROTO);
        }
    }
    let Ok(sum) = here.lock() else { return Err(Errno::PROTO) };
    if *sum == 42 && !sum.abandoned() { Ok(()) } else { Err(Errno::PROTO) }
}

fn say(text: &str) {
    // Nobody is left to hear that standard output is gone, or that nobody reads it.
    let _ = fd::write_all(fd::stdout(), text.as_bytes(), Duration::from_secs(5));
}

/// What the C library's start-up code calls.
// SAFETY: this program defines no other `main`, and the C library calls this one with its signature, once.
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _words: *const *const c_char) -> c_int {
    if fd::open_standard_streams().is_err() {
        return 1;
    }
    let parts: [(&str, fn() -> Result<()>); 4] =
        [("events\n", events), ("memory\n", memory), ("cells\n", cells), ("lock\n", lock)];
    for (name, part) in parts {
        if part().is_err() {
            say("failed: ");
            say(name);
            return 1;
        }
    }
    say("OK\n");
    0
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    say("failed: panic\n");
    loop {
        core::hint::spin_loop();
    }
}
