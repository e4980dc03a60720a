//! PROC: the exit of processes.

use std::process::Command;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::process::{self, Pid};

use super::{now, one, wait};

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(child.id() as i32).unwrap()
}

#[test]
fn the_end_of_a_child_is_told_with_its_status() {
    let queue = Kqueue::new().unwrap();
    for (script, status) in [("exit 3", 3 << 8), ("kill -9 $$", 9), ("exit 0", 0)] {
        let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        queue.change(&Kevent::exit(pid(&child)).with_udata(6)).unwrap();
        let event = one(&queue);
        assert_eq!(
            (event.ident(), event.notes(), event.data()),
            (child.id() as usize, Notes::EXIT, status),
            "{script}"
        );
        assert_eq!((event.udata(), event.flags()), (6, Flags::EOF | Flags::ONESHOT));
        assert_eq!((now(&queue).len(), queue.len()), (0, Ok(0)));
        child.wait().unwrap(); // it was left for its parent
    }
}

#[test]
fn a_child_that_has_ended_already_is_told_at_once() {
    let queue = Kqueue::new().unwrap();
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pidfd = process::pidfd_open(pid(&child)).unwrap();
    let mut poll = [ossature_sys::poll::PollFd::new(&pidfd, ossature_sys::poll::PollFlags::IN)];
    ossature_sys::poll::poll(&mut poll, Duration::from_secs(10)).unwrap();
    queue.change(&Kevent::exit(pid(&child))).unwrap();
    assert_eq!(now(&queue).len(), 1);
    child.wait().unwrap();
    assert_eq!(queue.change(&Kevent::exit(pid(&child))), Err(Errno::SRCH));
}

#[test]
fn a_disabled_end_is_kept_and_a_deleted_one_forgotten() {
    let queue = Kqueue::new().unwrap();
    let mut children: Vec<_> =
        (0..2).map(|_| Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap()).collect();
    for child in &children {
        queue.change(&Kevent::exit(pid(child)).with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
    }
    queue.change(&Kevent::exit(pid(&children[1])).with_flags(Flags::DELETE)).unwrap();
    let ids = [pid(&children[0]), pid(&children[1])];
    for child in &mut children {
        drop(child.stdin.take());
    }
    assert_eq!(wait(&queue, Duration::from_millis(20)), []);
    for child in &mut children {
        child.wait().unwrap();
    }
    queue.change(&Kevent::exit(ids[0]).with_flags(Flags::ENABLE)).unwrap();
    assert_eq!(one(&queue).ident(), ids[0].as_raw_nonzero().get() as usize);
}

#[test]
fn no_process_is_an_error() {
    let queue = Kqueue::new().unwrap();
    for ident in [0, 0x7fff_ffff, usize::MAX] {
        assert_eq!(
            queue.change(&Kevent::new(ident, Filter::PROC).with_notes(Notes::EXIT)),
            Err(Errno::SRCH),
            "{ident}"
        );
    }
}
