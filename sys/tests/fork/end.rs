//! The end of a process: its callbacks, death together with the parent, and an empty standard input.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use ossature_sys::deadline::Deadline;
use ossature_sys::epoll::Epoll;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::EventFd;
use ossature_sys::fd::{AboveStandard, above_standard, duplicate};
use ossature_sys::flock::FileLock;
use ossature_sys::inotify::Inotify;
use ossature_sys::mmap::Memfd;
use ossature_sys::process::{
    self, Argument, ExitStatus, Plan, at_exit, detach_stdin, end_with_parent, fork, fork_unchecked, pidfd_wait,
};
use ossature_sys::signal::{self, SignalSet};
use ossature_sys::signalfd::SignalFd;
use ossature_sys::socket::{Kind, Socket};
use ossature_sys::timerfd::{Clock, TimerFd};

use crate::harness::{Test, has_children, pipe};

pub const TESTS: &[Test] = &[
    ("callbacks_come_at_the_normal_end_newest_first", callbacks_come_at_the_normal_end_newest_first),
    ("callbacks_do_not_come_at_the_end_of_a_forked_closure", callbacks_do_not_come_at_the_end_of_a_forked_closure),
    ("process_ends_with_its_killed_parent", process_ends_with_its_killed_parent),
    ("process_ends_at_once_when_its_parent_is_gone_already", process_ends_at_once_when_its_parent_is_gone_already),
    ("end_of_the_thread_that_forked_counts_as_the_parents", end_of_the_thread_that_forked_counts_as_the_parents),
    ("parent_outside_of_the_namespace_is_an_error", parent_outside_of_the_namespace_is_an_error),
    ("process_outlives_a_grandparent", process_outlives_a_grandparent),
    ("detached_standard_input_is_at_its_end", detached_standard_input_is_at_its_end),
    ("closed_standard_input_is_opened", closed_standard_input_is_opened),
    ("standard_input_without_devices_is_at_its_end", standard_input_without_devices_is_at_its_end),
    ("duplicates_and_pidfds_are_above_the_standard_streams", duplicates_and_pidfds_are_above_the_standard_streams),
    ("pidfd_of_a_child_reaps_it", pidfd_of_a_child_reaps_it),
    #[cfg(ossature_faults)]
    ("refusals_leave_what_was", faults::refusals_leave_what_was),
];

/// The descriptor to which the callbacks write, because they take no argument.
static TELL: AtomicI32 = AtomicI32::new(-1);

fn tell(word: &[u8]) {
    // SAFETY: the test that set the number keeps the file open.
    unsafe { libc::write(TELL.load(SeqCst), word.as_ptr().cast(), word.len()) };
}

extern "C" fn one() {
    tell(b"1");
}

extern "C" fn two() {
    tell(b"2");
}

/// Reads all bytes of the pipe, once no process has its write end open.
fn all(mut told: File, tell: File) -> String {
    drop(tell);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    text
}

fn callbacks_come_at_the_normal_end_newest_first() {
    let (told, teller) = pipe();
    TELL.store(teller.as_raw_fd(), SeqCst);
    let mut child = fork(|| {
        at_exit(one).unwrap();
        at_exit(two).unwrap();
        tell(b"0");
        std::process::exit(7)
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(7)));
    assert_eq!(all(told, teller), "021");
}

fn callbacks_do_not_come_at_the_end_of_a_forked_closure() {
    let (told, teller) = pipe();
    TELL.store(teller.as_raw_fd(), SeqCst);
    let mut child = fork(|| {
        at_exit(one).unwrap();
        let mut grandchild = fork(|| 0).unwrap();
        u8::from(grandchild.wait() != Ok(ExitStatus::Code(0)))
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(all(told, teller), "");
}

fn sleep() -> ! {
    crate::harness::rest()
}

fn process_ends_with_its_killed_parent() {
    let (mut told, tell) = pipe();
    let mut parent = fork(|| {
        let me = process::id();
        let child = fork(|| {
            end_with_parent(me).unwrap();
            // As a program has it that takes its signals from a descriptor.
            signal::set_mask(SignalSet::FULL).unwrap().keep();
            (&tell).write_all(b"r").unwrap();
            sleep()
        });
        let _child = child.unwrap();
        sleep()
    })
    .unwrap();
    told.read_exact(&mut [0]).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(all(told, tell), "", "and nobody has it open");
}

fn process_ends_at_once_when_its_parent_is_gone_already() {
    let (told, tell) = pipe();
    let mut parent = fork(|| {
        let me = process::id();
        let child = fork(|| {
            while process::parent_id() == Some(me) {
                std::thread::yield_now();
            }
            (&tell).write_all(b"before").unwrap();
            let _ = end_with_parent(me);
            (&tell).write_all(b" after").unwrap();
            0
        });
        std::mem::forget(child);
        0
    });
    assert_eq!(parent.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    assert_eq!(all(told, tell), "before");
}

fn end_of_the_thread_that_forked_counts_as_the_parents() {
    let (told, tell) = pipe();
    let mut tell = Some(tell);
    let (armed, arm) = pipe();
    let (see, seen) = pipe();
    let mut parent = fork(|| {
        let me = process::id();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the child makes system calls only and never returns.
                if let Some(child) = unsafe { fork_unchecked() }.unwrap() {
                    std::mem::forget(child);
                    (&armed).read_exact(&mut [0]).unwrap();
                    return;
                }
                let _ = end_with_parent(me);
                let _ = (&arm).write_all(b"a");
                sleep()
            });
        });
        drop(tell.take());
        (&see).read_exact(&mut [0]).unwrap();
        0
    })
    .unwrap();
    // Its end comes while the parent lives, and nobody has the pipe open any more.
    assert_eq!(all(told, tell.take().unwrap()), "");
    (&seen).write_all(b"s").unwrap();
    assert_eq!(parent.wait(), Ok(ExitStatus::Code(0)));
}

fn parent_outside_of_the_namespace_is_an_error() {
    let mut parent = fork(|| {
        // SAFETY: a call without pointers, in a process of its own.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) } != 0 {
            eprintln!("skipped: no new pid namespace here");
            return 0;
        }
        let me = process::id();
        let mut child = fork(|| u8::from(end_with_parent(me) != Err(Errno::SRCH))).unwrap();
        u8::from(child.wait() != Ok(ExitStatus::Code(0)))
    });
    assert_eq!(parent.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn process_outlives_a_grandparent() {
    let (mut told, tell) = pipe();
    let (go, gone) = pipe();
    let mut grandparent = fork(|| {
        let parent = fork(|| {
            let me = process::id();
            let child = fork(|| {
                end_with_parent(me).unwrap();
                (&tell).write_all(b"r").unwrap();
                (&go).read_exact(&mut [0]).unwrap();
                (&tell).write_all(b"lives").unwrap();
                0
            });
            u8::from(child.unwrap().wait() != Ok(ExitStatus::Code(0)))
        });
        let _parent = parent.unwrap();
        sleep()
    })
    .unwrap();
    told.read_exact(&mut [0]).unwrap();
    grandparent.kill().unwrap();
    grandparent.wait().unwrap();
    (&gone).write_all(b"g").unwrap();
    assert_eq!(all(told, tell), "lives");
}

fn is_null(number: i32) -> bool {
    let null = fs::metadata("/dev/null").unwrap().rdev();
    fs::metadata(format!("/proc/self/fd/{number}")).is_ok_and(|file| file.rdev() == null)
}

fn detached_standard_input_is_at_its_end() {
    let (reader, writer) = pipe();
    (&writer).write_all(b"unread").unwrap();
    let mut child = fork(|| {
        // SAFETY: a standard stream, which nobody in this child owns by its number.
        assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
        let before = crate::harness::descriptors().len();
        detach_stdin().unwrap();
        assert_eq!(crate::harness::descriptors().len(), before);
        assert_eq!(std::io::stdin().read(&mut [0; 8]).unwrap(), 0);
        // SAFETY: F_GETFD reads the flags of a number.
        assert_eq!(unsafe { libc::fcntl(0, libc::F_GETFD) }, 0, "kept open on exec");
        u8::from(!is_null(0))
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "unread");
}

fn standard_input_without_devices_is_at_its_end() {
    let (reader, _writer) = pipe();
    let mut child = fork(|| {
        // SAFETY: the path ends with a null; in a process of its own.
        let chroot = || unsafe { libc::chroot(c"/proc/self".as_ptr()) == 0 };
        // SAFETY: a call without pointers, in a process of its own.
        let unshare = || unsafe { libc::unshare(libc::CLONE_NEWUSER) == 0 };
        if !(chroot() || unshare() && chroot()) {
            println!("SKIPPED standard_input_without_devices_is_at_its_end: no new root here");
            return 0;
        }
        for closed in [false, true] {
            // SAFETY: a standard stream, which nobody in this child owns by its number.
            assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
            if closed {
                // SAFETY: as above.
                assert_eq!(unsafe { libc::close(0) }, 0);
            }
            detach_stdin().unwrap();
            assert_eq!(std::io::stdin().read(&mut [0; 8]).unwrap(), 0);
            // SAFETY: F_GETFD reads the flags of a number.
            assert_eq!(unsafe { libc::fcntl(0, libc::F_GETFD) }, 0, "kept open on exec");
        }
        0
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn duplicates_and_pidfds_are_above_the_standard_streams() {
    let mut child = fork(|| {
        let (reader, _writer) = pipe();
        for closed in 0..3 {
            // SAFETY: a standard stream, which nobody in this child owns by its number.
            assert_eq!(unsafe { libc::close(closed) }, 0);
            let low = File::open("/").unwrap();
            assert_eq!(low.as_raw_fd(), closed);
            assert!(duplicate(&low).unwrap().as_raw_fd() > 2);
            assert!(above_standard(low.into()).unwrap().as_raw_fd() > 2);
            assert!(FileLock::try_shared(c"/").unwrap().unwrap().as_fd().as_raw_fd() > 2);
            let made = || {
                let pair = Socket::pair(Kind::Stream)?.above_standard()?;
                let events =
                    (EventFd::counter(0)?.above_standard()?, TimerFd::new(Clock::Monotonic)?.above_standard()?);
                let notes = (SignalFd::new(SignalSet::EMPTY)?.above_standard()?, Inotify::new()?.above_standard()?);
                let memory = (Memfd::new(c"above")?.above_standard()?, Epoll::new()?.above_standard()?);
                Ok::<_, Errno>((pair, events, notes, memory))
            };
            let made = made().unwrap();
            // SAFETY: F_GETFD takes a number, and reads only.
            assert_eq!(unsafe { libc::fcntl(closed, libc::F_GETFD) }, -1, "a standard stream's number is taken");
            drop(made);
            let high = reader.as_raw_fd();
            assert_eq!(above_standard(reader.try_clone().unwrap().into()).unwrap().as_raw_fd(), high + 2);
            assert!(process::pidfd_open(process::id()).unwrap().as_raw_fd() > 2);
            assert!(fork(|| 0).unwrap().as_fd().as_raw_fd() > 2);
            let arguments = [Argument::new(c"true"), Argument::END];
            let mut program = Plan::new(c"/bin/true", &arguments).unwrap().start().unwrap();
            assert!(program.as_fd().as_raw_fd() > 2);
            program.wait().unwrap();
            // SAFETY: as above, and the number is free.
            assert_eq!(unsafe { libc::dup2(high, closed) }, closed);
        }
        0
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn closed_standard_input_is_opened() {
    let mut child = fork(|| {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::close(0) }, 0);
        detach_stdin().unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::fcntl(0, libc::F_GETFD) }, 0, "kept open on exec");
        u8::from(!is_null(0))
    });
    assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
}

fn pidfd_of_a_child_reaps_it() {
    let pidfd = OwnedFd::from(fork(|| 5).unwrap());
    let ends = std::thread::scope(|scope| {
        let wait = || pidfd_wait(&pidfd, Deadline::NEVER).unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(wait)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(ends.contains(&Some(ExitStatus::Code(5))), "{ends:?}");
    assert!(!has_children());
    // Unlike the child itself, its descriptor reaps nobody when it goes.
    let pidfd = OwnedFd::from(fork(|| 6).unwrap());
    let pid = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid: i32 = pid.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap();
    drop(pidfd);
    let mut status = 0;
    // SAFETY: waitpid(2) writes the status of our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(libc::WEXITSTATUS(status), 6);
}

#[cfg(ossature_faults)]
mod faults {
    use ossature_sys::faults::{Fault, Rule};

    use super::*;

    pub fn refusals_leave_what_was() {
        let mut child = fork(|| {
            let fail = |name, errno| Rule::on(name, Fault::Fail(errno)).nth(1).arm().unwrap();
            let me = process::parent_id().unwrap();
            let rule = fail("prctl", Errno::INVAL);
            assert_eq!((end_with_parent(me), rule.hits()), (Err(Errno::INVAL), 1));
            let rule = fail("atexit", Errno::NOMEM);
            assert_eq!((at_exit(one), rule.hits()), (Err(Errno::NOMEM), 1));
            drop(rule);
            let (reader, _writer) = pipe();
            let give = || {
                // SAFETY: a standard stream, which nobody in this child owns by its number.
                assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
            };
            give();
            let before = crate::harness::descriptors();
            for (call, errno) in
                [("open", Errno::MFILE), ("open", Errno::NFILE), ("dup2", Errno::MFILE), ("dup2", Errno::BUSY)]
            {
                let rule = fail(call, errno);
                assert_eq!((detach_stdin(), rule.hits()), (Err(errno), 1), "{call}");
                assert_eq!(crate::harness::descriptors(), before);
            }
            for call in ["open", "dup2"] {
                give();
                let rule = fail(call, Errno::INTR);
                assert_eq!((detach_stdin(), rule.hits()), (Ok(()), 1), "{call}");
            }
            // It is asked whether that is needed; an error there is no answer.
            let rule = fail("fstat", Errno::NOMEM);
            assert_eq!((detach_stdin(), rule.hits()), (Ok(()), 1));
            u8::from(!is_null(0))
        });
        assert_eq!(child.as_mut().unwrap().wait(), Ok(ExitStatus::Code(0)));
    }
}
