//! An event queue when the system says no: nothing leaks, and nothing is half registered.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{Errno, Result};
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::process;
use ossature_sys::signal::{self, SignalSet, realtime};

use crate::sweep::{alone, fails_with, sweep};

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

/// Whether the kernel tells this process of forks.
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
