//! An event queue with failing system calls: nothing leaks, and no event stays half registered.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::eventfd::EventFd;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::fd::{AsFd, AsRawFd};
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process;
use ossature_sys::signal::{self, SignalSet, realtime};

use crate::support::soon;
use crate::sweep::{alone, fails_with, sweep, sweep_with};

/// One change of every filter; the file is watched as well as read.
fn changes(stream: &UnixStream, file: &File, signal: signal::Signal) -> Vec<Kevent> {
    vec![
        Kevent::read(stream),
        Kevent::write(stream).with_flags(Flags::ADD | Flags::CLEAR),
        Kevent::read(file),
        Kevent::vnode(file, Notes::WRITE),
        Kevent::timer(1, Duration::from_secs(60)),
        Kevent::new(2, Filter::TIMER).with_notes(Notes::ABSTIME | Notes::SECONDS).with_data(1 << 33),
        Kevent::signal(signal),
        Kevent::exit(process::id()),
        Kevent::user(1),
    ]
}

fn file() -> File {
    let path = std::env::temp_dir().join(format!("ossature-kqueue-faults-{}", std::process::id()));
    std::fs::write(&path, b"").unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn a_change_that_fails_registers_nothing() {
    let _alone = alone();
    let signal = realtime(10).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let ((stream, _peer), file) = (UnixStream::pair().unwrap(), file());
    for (n, change) in changes(&stream, &file, signal).into_iter().enumerate() {
        sweep(&format!("kqueue change {n}"), &[], || {
            let queue = Kqueue::new()?;
            match queue.change(&change) {
                Ok(()) => assert_eq!(queue.len()?, 1, "{change:?}"),
                Err(errno) => {
                    assert_eq!(queue.len()?, 0, "{change:?} failed");
                    return Err(errno);
                }
            }
            // A kernel that cannot forget the entry says so, and the knote is gone all the same.
            let removed = queue.change(&change.with_flags(Flags::DELETE));
            assert_eq!(queue.len()?, 0, "{change:?}");
            removed
        });
    }
}

#[test]
fn a_knote_survives_a_change_that_fails() {
    let _alone = alone();
    let signal = realtime(11).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let ((stream, _peer), file) = (UnixStream::pair().unwrap(), file());
    // The others change in memory alone.
    for (n, change) in changes(&stream, &file, signal).into_iter().take(4).enumerate() {
        let queue = Kqueue::new().unwrap();
        queue.change(&change.with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
        sweep(&format!("kqueue second change {n}"), &[], || {
            let flags = Flags::ADD | Flags::DISABLE;
            let changed = queue.change(&change.with_flags(flags).with_udata(n));
            assert_eq!(queue.len()?, 1, "{change:?}: {changed:?}");
            changed
        });
    }
}

#[test]
fn a_life_with_every_event_leaks_nothing() {
    let _alone = alone();
    let signal = realtime(12).unwrap();
    let _blocked = signal::block(SignalSet::from(signal)).unwrap();
    let ((stream, mut peer), file) = (UnixStream::pair().unwrap(), file());
    peer.write_all(b"x").unwrap();
    sweep("kqueue", &["ppoll"], || {
        let queue = Kqueue::new()?;
        let mut room = [MaybeUninit::uninit(); 16];
        for change in changes(&stream, &file, signal) {
            queue.change(&change)?;
        }
        queue.descriptor()?;
        queue.change(&Kevent::trigger(1))?;
        queue.change(&Kevent::timer(3, Duration::from_micros(1)))?;
        (&file).write_all(b"x").unwrap();
        while !queue.wait(&mut room, Duration::from_millis(1))?.is_empty() {
            queue.change(&Kevent::timer(3, Duration::ZERO).with_flags(Flags::DELETE)).or_else(gone)?;
            queue.change(&Kevent::read(&stream).with_flags(Flags::DELETE)).or_else(gone)?;
            queue.change(&Kevent::read(&file).with_flags(Flags::DELETE)).or_else(gone)?;
        }
        Ok(())
    });
}

fn gone(errno: Errno) -> Result<()> {
    if errno == Errno::NOENT { Ok(()) } else { Err(errno) }
}

#[test]
fn the_table_says_when_there_is_no_memory_for_one_more() {
    let _alone = alone();
    let queue = Kqueue::new().unwrap();
    let failed = {
        let _rule = Rule::on("mremap", Fault::Fail(Errno::NOMEM)).arm().unwrap();
        (0..).find(|&ident| queue.change(&Kevent::user(ident)).is_err()).unwrap()
    };
    assert_eq!(queue.len(), Ok(failed));
    queue.change(&Kevent::user(failed)).unwrap();
    queue.change(&Kevent::trigger(failed)).unwrap();
    let mut room = [MaybeUninit::uninit(); 2];
    assert_eq!(queue.wait(&mut room, Deadline::NOW).unwrap()[0].ident(), failed);
}

fn clear(change: Kevent) -> Kevent {
    change.with_flags(Flags::ADD | Flags::CLEAR)
}

/// The events that a wait returns, by the number of each knote.
fn told(queue: &Kqueue) -> Result<Vec<usize>> {
    let mut room = [MaybeUninit::uninit(); 8];
    Ok(queue.wait(&mut room, Deadline::NOW)?.iter().map(Kevent::udata).collect())
}

#[test]
fn sets_that_cannot_be_made_anew_lose_no_edge() {
    let _alone = alone();
    // EPERM of epoll says that the number is another file's by now.
    sweep_with("kqueue renew", &[], &[Errno::INTR, Errno::NOMEM, Errno::MFILE, Errno::AGAIN], || {
        let queue = Kqueue::new()?;
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        for (n, (near, far)) in pairs.iter().enumerate() {
            queue.change(&clear(Kevent::read(near)).with_udata(n))?;
            queue.change(&clear(Kevent::write(near)).with_flags(Flags::ADD | Flags::DISABLE))?;
            (&mut &*far).write_all(b"x").unwrap();
        }
        queue.descriptor()?;
        // The first is closed while a duplicate lives, so its entry loses its name.
        let [(near, _), rest @ ..] = pairs;
        let (_keeper, number) = (near.try_clone().unwrap(), near.as_raw_fd() as usize);
        drop(near);
        let gone = queue.change(&Kevent::new(number, Filter::READ).with_flags(Flags::DELETE));
        if gone != Err(Errno::BADF) {
            return gone; // the fault's answer
        }
        // New sets are made in the first of these waits, or in the next one that finds such an entry.
        let (first, second) = (told(&queue), told(&queue));
        let mut seen: Vec<_> = [&first, &second].into_iter().flatten().flatten().copied().collect();
        seen.sort();
        seen.dedup();
        assert!(seen.ends_with(&[1, 2]), "{first:?} {second:?}");
        for (_, far) in &rest {
            (&mut &*far).write_all(b"x").unwrap();
        }
        // The queue's own descriptor tells of the sets that there are.
        let face = queue.descriptor()?;
        assert_eq!(poll(&mut [PollFd::new(&face, PollFlags::IN)], Duration::from_secs(5))?, 1);
        assert_eq!(told(&queue)?.len(), 2);
        first.and(second).map(drop)
    });
}

/// One waiter has not begun to sleep when a timer is added. Another waiter sees the timer, and leaves before it
/// expires.
#[test]
fn a_timer_is_told_to_a_waiter_that_did_not_hear_of_it() {
    let _alone = alone();
    let queue = Kqueue::new().unwrap();
    let late = Rule::on("ppoll", Fault::Delay(Duration::from_millis(400))).times(1).everywhere().arm().unwrap();
    // The waiter has no limit of its own, at whose end it would meet the timer.
    soon(|| {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut room = [MaybeUninit::uninit(); 2];
                queue.wait(&mut room, Deadline::NEVER).unwrap().to_vec()
            });
            while late.hits() == 0 {
                thread::yield_now();
            }
            let timer = Kevent::timer(1, Duration::from_millis(600)).with_flags(Flags::ADD | Flags::ONESHOT);
            queue.change(&timer).unwrap();
            let mut room = [MaybeUninit::uninit(); 2];
            assert_eq!(queue.wait(&mut room, Duration::from_millis(10)), Ok(&[][..]));
            assert_eq!(waiter.join().unwrap().len(), 1);
        });
    });
}

/// More bytes arrive between the report from memory and the kernel's reply. The report does not include them.
#[test]
fn an_edge_after_the_report_of_the_same_wait_is_told() {
    let _alone = alone();
    let queue = Kqueue::new().unwrap();
    let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
    assert_eq!(told(&queue), Ok(vec![]), "memory and the kernel take turns: the third wait looks at memory first");
    for (near, _) in &pairs[..2] {
        queue.change(&clear(Kevent::write(near))).unwrap();
    }
    let (near, far) = &pairs[2];
    queue.change(&clear(Kevent::read(near))).unwrap();
    (&mut &*far).write_all(b"x").unwrap();
    // Without room for it, the edge is kept in memory.
    let mut room = [MaybeUninit::uninit(); 2];
    assert_eq!(queue.wait(&mut room, Deadline::NOW).map(<[Kevent]>::len), Ok(2));
    let slow = Rule::on("epoll_wait", Fault::Delay(Duration::from_millis(300))).nth(1).arm().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while slow.hits() == 0 {
                thread::yield_now();
            }
            (&mut &*far).write_all(b"more").unwrap();
        });
        assert_eq!(queue.wait(&mut room, Deadline::NOW).unwrap()[0].data(), 1);
    });
    drop(slow);
    let second = queue.wait(&mut room, Duration::from_secs(5)).unwrap();
    assert_eq!(second.iter().map(Kevent::data).collect::<Vec<_>>(), [5]);
    assert_eq!(told(&queue), Ok(vec![]));
}

/// A wait makes one call to epoll, and one for each ready descriptor.
#[test]
fn each_ready_descriptor_is_asked_once() {
    let _alone = alone();
    let event = EventFd::counter(1).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    (&mut &far).write_all(b"x").unwrap();
    for fd in [event.as_fd(), near.as_fd()] {
        let queue = Kqueue::new().unwrap();
        queue.change(&Kevent::read(fd)).unwrap();
        for _ in 0..3 {
            let calls = Rule::on("*", Fault::Delay(Duration::ZERO)).arm().unwrap();
            assert_eq!(queue.wait(&mut [MaybeUninit::uninit(); 8], Deadline::NEVER).unwrap()[0].data(), 1);
            assert_eq!((calls.seen(), &*calls.met()), (2, "ioctl"));
        }
    }
}

#[test]
fn refusals_come_back() {
    let _alone = alone();
    fails_with("epoll_create1", Errno::MFILE, Kqueue::new);
    let queue = Kqueue::new().unwrap();
    let (stream, _peer) = UnixStream::pair().unwrap();
    fails_with("epoll_ctl", Errno::NOSPC, || queue.change(&Kevent::read(&stream)));
    fails_with("pidfd_open", Errno::MFILE, || queue.change(&Kevent::exit(process::id())));
    fails_with("eventfd", Errno::MFILE, || {
        queue.wait(&mut [MaybeUninit::uninit()], Duration::from_millis(1)).map(drop)
    });
    assert_eq!(queue.len(), Ok(0));
}

/// Whether the kernel reports forks to this process.
fn is_told_of_forks() -> bool {
    let told = Kqueue::new().unwrap().follow_processes();
    if let Err(errno) = told {
        println!("LEFT OUT: no news of processes here: {errno}");
    }
    told.is_ok()
}

#[test]
fn a_subscription_that_fails_leaves_nothing() {
    let _alone = alone();
    if !is_told_of_forks() {
        return;
    }
    sweep("kqueue follow_processes", &[], || {
        let queue = Kqueue::new()?;
        queue.follow_processes()?;
        let forks = Kevent::exit(process::id()).with_notes(Notes::FORK | Notes::TRACK);
        let added = queue.change(&forks);
        assert_eq!(queue.len()?, usize::from(added.is_ok()));
        added
    });
}

#[test]
fn news_that_is_lost_is_told() {
    let _alone = alone();
    if !is_told_of_forks() {
        return;
    }
    let queue = Kqueue::new().unwrap();
    queue.follow_processes().unwrap();
    queue.change(&Kevent::exit(process::id()).with_notes(Notes::EXIT | Notes::FORK)).unwrap();
    let lost = Rule::on("recvfrom", Fault::Fail(Errno::NOBUFS)).times(1).arm().unwrap();
    std::process::Command::new("/bin/true").status().unwrap();
    let mut room = [MaybeUninit::uninit(); 2];
    let events = queue.wait(&mut room, Duration::from_secs(10)).unwrap();
    assert_eq!(events[0].notes(), Notes::TRACKERR | Notes::FORK, "what had come is told too: {events:?}");
    drop(lost);
    assert_eq!(queue.len(), Ok(1), "the process lives");
}
