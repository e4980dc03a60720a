//! Calls every thin function once, with its awaited event ready.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::no_alloc;
use crate::sys::deadline::Deadline;
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::errno::Errno;
use crate::sys::eventfd::EventFd;
use crate::sys::fd::{self, AsFd};
use crate::sys::futex::{self, Reach, Waiter};
use crate::sys::kqueue::{self, Filter, Kevent, Kqueue, Notes};
use crate::sys::mmap::{Memfd, Region, Seals};
use crate::sys::pipe::{self, Flags};
use crate::sys::poll::{PollFd, PollFlags, poll};
use crate::sys::process;
use crate::sys::pthread::Options;
use crate::sys::select::{FdSet, select, select_slice};
use crate::sys::signal::{self, Signal, SignalSet};
use crate::sys::timerfd::{Clock, TimerFd};

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(1);

#[test]
fn deadlines_and_descriptors() -> Result<(), Errno> {
    no_alloc!("Deadline", Deadline::after(SOON).or_sooner(Deadline::NEVER).remaining());
    let (reader, writer) = no_alloc!("pipe", pipe::pipe(Flags::empty()))?;
    no_alloc!("capacity", pipe::set_capacity(&writer, pipe::capacity(&writer)?))?;
    no_alloc!("write", fd::write(&writer, b"four"))?;
    no_alloc!("unread", pipe::unread(&reader))?;
    no_alloc!("read", fd::read(&reader, &mut [0; 8]))?;
    let copy = no_alloc!("duplicate", fd::duplicate(&reader))?;
    no_alloc!("cloexec", fd::set_cloexec(&copy))?;
    no_alloc!("set_nonblocking", fd::set_nonblocking(&copy))?;
    no_alloc!("close", drop((copy, reader, writer)));
    Ok(())
}

#[test]
fn readiness() -> Result<(), Errno> {
    let counter = EventFd::counter(1)?;
    let mut fds = [PollFd::new(&counter, PollFlags::IN)];
    assert_eq!(no_alloc!("poll", poll(&mut fds, SOON))?, 1);
    assert_eq!(no_alloc!("select_slice", select_slice(&mut fds, SOON))?, 1);
    let mut words = [0; 64];
    let mut read = no_alloc!("FdSet", FdSet::new(&mut words));
    no_alloc!("FdSet::insert", read.insert(counter.as_fd()))?;
    assert_eq!(no_alloc!("select", select(&mut read, &mut FdSet::none(), &mut FdSet::none(), SOON))?, 1);
    assert_eq!(no_alloc!("FdSet::iter", read.iter().count()), 1);

    let epoll = no_alloc!("Epoll::new", Epoll::new())?;
    no_alloc!("register", epoll.register(&counter, Interest::IN, 7))?;
    no_alloc!("modify", epoll.modify(&counter, Interest::IN | Interest::ET, 8))?;
    let mut room = [const { MaybeUninit::<Event>::uninit() }; 4];
    let ready = no_alloc!("Epoll::poll", epoll.poll(&mut room, SOON))?;
    assert_eq!(ready.iter().map(Event::token).collect::<Vec<_>>(), [8]);
    assert!(no_alloc!("Epoll::poll that times out", epoll.poll(&mut room, SHORT))?.is_empty());
    no_alloc!("unregister", epoll.unregister(&counter))?;
    no_alloc!("Epoll::close", epoll.close())
}

#[test]
fn words_to_wait_on() -> Result<(), Errno> {
    let word = AtomicU32::new(1);
    for reach in [Reach::Private, Reach::Shared] {
        let _ = no_alloc!("futex::wait that does not sleep", futex::wait(&word, 0, reach, SOON))?;
        let _ = no_alloc!("futex::wait that times out", futex::wait(&word, 1, reach, SHORT))?;
        no_alloc!("futex::wake", futex::wake(&word, 1, reach))?;
        let waiters = [Waiter::new(&word, 1, reach)];
        let _ = no_alloc!("futex::wait_any", futex::wait_any(&waiters, SHORT))?;
    }
    Ok(())
}

#[test]
fn counters_and_timers() -> Result<(), Errno> {
    let counter = no_alloc!("EventFd", EventFd::counter(0))?;
    assert!(no_alloc!("add", counter.add(3, SOON))?);
    assert_eq!(no_alloc!("take", counter.take(SOON))?, Some(3));
    assert_eq!(no_alloc!("take that times out", counter.take(SHORT))?, None);
    let timer = no_alloc!("TimerFd", TimerFd::new(Clock::Monotonic))?;
    no_alloc!("set_once", timer.set_once(SHORT))?;
    assert_eq!(no_alloc!("expirations", timer.expirations(SOON))?, Some(1));
    no_alloc!("set_every", timer.set_every(SOON, SOON))?;
    assert!(no_alloc!("remaining", timer.remaining())?.is_some());
    no_alloc!("disarm", timer.disarm())
}

#[test]
fn memory() -> Result<(), Errno> {
    let file = no_alloc!("Memfd", Memfd::new(c"no_alloc"))?;
    no_alloc!("reserve", file.reserve(8192))?;
    no_alloc!("add_seals", file.add_seals(Seals::SHRINK))?;
    let region = no_alloc!("Region::shared", Region::shared(&file, 8192))?;
    no_alloc!("copy_in", region.copy_in(10, b"text"))?;
    no_alloc!("copy_out", region.copy_out(10, &mut [0; 4]))?;
    no_alloc!("sync", region.sync(0, 8192))?;
    let mut own = no_alloc!("Region::private", Region::private(8192))?;
    no_alloc!("remap", own.remap(16384))?;
    no_alloc!("unmap", drop((own, region)));
    Ok(())
}

#[test]
fn event_queues() -> Result<(), Errno> {
    let queue = no_alloc!("Kqueue::new", Kqueue::new())?;
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let program = File::open("/proc/self/exe").expect("it runs");
    let blocked = signal::block(SignalSet::from(Signal::USR2))?;
    let changes = [
        Kevent::read(&near),
        Kevent::write(&near).with_flags(kqueue::Flags::ADD | kqueue::Flags::CLEAR),
        Kevent::vnode(&program, Notes::ATTRIB),
        Kevent::timer(1, SHORT),
        Kevent::new(2, Filter::TIMER).with_notes(Notes::ABSTIME | Notes::SECONDS).with_data(1),
        Kevent::signal(Signal::USR2),
        Kevent::exit(process::id()),
    ];
    for change in &changes {
        no_alloc!("a change that adds", queue.change(change))?;
    }
    // The table grows several times.
    for ident in 0..1000 {
        no_alloc!("a USER knote", queue.change(&Kevent::user(ident)))?;
        no_alloc!("a trigger", queue.change(&Kevent::trigger(ident)))?;
    }
    far.write_all(b"x").expect("there is room");
    signal::raise(Signal::USR2)?;
    let mut room = [const { MaybeUninit::uninit() }; 64];
    let mut told = 0;
    // All but VNODE and PROC.
    while told < 1005 {
        let events = no_alloc!("Kqueue::wait", queue.wait(&mut room, SOON))?;
        told += events.len();
        for event in events.iter().filter(|event| [Filter::READ, Filter::TIMER].contains(&event.filter())) {
            no_alloc!("a change that deletes", queue.change(&event.with_flags(kqueue::Flags::DELETE)))?;
        }
    }
    assert!(no_alloc!("a wait that times out", queue.wait(&mut room, SHORT))?.is_empty());
    no_alloc!("descriptor", queue.descriptor().map(drop))?;
    assert_eq!(no_alloc!("a change that fails", queue.change(&Kevent::trigger(5000))), Err(Errno::NOENT));
    // An entry that loses its name, because a duplicate of its descriptor lives: new sets are made.
    queue.change(&Kevent::read(&near))?;
    let _keeper = near.try_clone().expect("a descriptor");
    drop(near);
    let _ = no_alloc!("a wait that makes new sets", queue.wait(&mut room, SHORT))?;
    no_alloc!("drop", drop(queue));
    drop(blocked);
    Ok(())
}

#[test]
fn pthread_mutexes() -> Result<(), Errno> {
    let mutex = no_alloc!("a robust mutex", Options::new().robust().leak())?;
    no_alloc!("lock and unlock", mutex.lock().map(drop))?;
    no_alloc!("lock_timeout", mutex.lock_timeout(SOON).map(drop))
}
