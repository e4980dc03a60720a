//! The end of a child: any thread can wait for it, once, with a deadline.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ossature_sys::errno::Errno;
use ossature_sys::process::{self, Child, ExitStatus, Pid, Signal, Usage, fork};

use crate::harness::{Test, has_children, pipe};

pub const TESTS: &[Test] = &[
    ("signal_that_ends_a_child_is_told_as_such", signal_that_ends_a_child_is_told_as_such),
    ("wait_tells_the_same_again", wait_tells_the_same_again),
    ("wait_gives_up_at_the_deadline", wait_gives_up_at_the_deadline),
    ("try_wait_does_not_wait", try_wait_does_not_wait),
    ("child_is_readable_once_it_has_ended", child_is_readable_once_it_has_ended),
    ("kill_of_an_ended_child_is_no_error_and_signal_is", kill_of_an_ended_child_is_no_error_and_signal_is),
    ("child_reaped_by_somebody_else_is_not_invented", child_reaped_by_somebody_else_is_not_invented),
    ("drop_reaps_an_ended_child", drop_reaps_an_ended_child),
    ("drop_leaves_a_running_child_alone", drop_leaves_a_running_child_alone),
    ("inherited_child_is_left_to_its_parent", inherited_child_is_left_to_its_parent),
    ("grandchild_is_seen_ending_through_its_pidfd", grandchild_is_seen_ending_through_its_pidfd),
    ("descriptor_is_taken_from_a_child", descriptor_is_taken_from_a_child),
    ("usage_of_a_reaped_child_is_told", usage_of_a_reaped_child_is_told),
    ("signals_do_not_end_a_wait", signals_do_not_end_a_wait),
    ("thousand_children_leave_nothing_behind", thousand_children_leave_nothing_behind),
];

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a child that waits to be killed.
fn sleeper() -> Child {
    fork(|| crate::harness::rest()).unwrap()
}

/// Waits until the child is a zombie, without reaping it.
fn zombie(child: &Child) {
    let mut list =
        [libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&child.as_fd()), events: libc::POLLIN, revents: 0 }];
    // SAFETY: poll(2) reads and writes one entry.
    assert_eq!(unsafe { libc::poll(list.as_mut_ptr(), 1, 20_000) }, 1);
}

fn signal_that_ends_a_child_is_told_as_such() {
    let mut child = sleeper();
    child.kill().unwrap();
    let exit = child.wait().unwrap();
    assert_eq!((exit.signal(), exit.code(), exit.python_code()), (Some(9), None, Some(-9)));
    assert!(!exit.success() && !exit.core_dumped());

    let mut child = sleeper();
    child.terminate().unwrap();
    assert_eq!(child.wait().unwrap().python_code(), Some(-15));

    assert_eq!(fork(|| 200).unwrap().wait().unwrap().python_code(), Some(200));
    assert_eq!(ExitStatus::Unknown.python_code(), None);
}

fn wait_tells_the_same_again() {
    let mut child = fork(|| 9).unwrap();
    assert_eq!(child.exit_status(), None);
    for _ in 0..3 {
        assert_eq!(child.wait(), Ok(ExitStatus::Code(9)));
        assert_eq!(child.try_wait(), Ok(Some(ExitStatus::Code(9))));
        assert_eq!(child.exit_status(), Some(ExitStatus::Code(9)));
    }
}

fn wait_gives_up_at_the_deadline() {
    let mut child = sleeper();
    let start = Instant::now();
    assert_eq!(child.wait_timeout(Duration::from_millis(30)), Ok(None));
    assert!(start.elapsed() >= Duration::from_millis(30));
    child.kill().unwrap();
    assert_eq!(child.wait_timeout(PATIENCE).unwrap().unwrap().signal(), Some(9));
}

fn try_wait_does_not_wait() {
    let mut child = sleeper();
    assert_eq!(child.try_wait(), Ok(None));
    child.kill().unwrap();
    zombie(&child);
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
}

fn child_is_readable_once_it_has_ended() {
    let (mut reader, writer) = pipe();
    let mut child = fork(|| reader.read(&mut [0]).unwrap() as u8).unwrap();
    let mut list =
        [libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&child.as_fd()), events: libc::POLLIN, revents: 0 }];
    // SAFETY: poll(2) reads and writes one entry.
    assert_eq!(unsafe { libc::poll(list.as_mut_ptr(), 1, 0) }, 0);
    (&writer).write_all(b"x").unwrap();
    zombie(&child);
    assert_eq!(child.wait(), Ok(ExitStatus::Code(1)));
}

fn kill_of_an_ended_child_is_no_error_and_signal_is() {
    let mut child = fork(|| 0).unwrap();
    child.wait().unwrap();
    assert_eq!(child.kill(), Ok(()));
    assert_eq!(child.terminate(), Ok(()));
    assert_eq!(child.signal(Signal::USR1), Err(Errno::SRCH));
}

fn child_reaped_by_somebody_else_is_not_invented() {
    let mut child = fork(|| 42).unwrap();
    // SAFETY: waitpid(2) may be given a null pointer for the status.
    unsafe { libc::waitpid(child.pid().as_raw_nonzero().get(), std::ptr::null_mut(), 0) };
    let exit = child.wait_timeout(PATIENCE).unwrap().unwrap();
    // Since Linux 6.15 the kernel remembers for the holders of a pidfd.
    assert!(matches!(exit, ExitStatus::Code(42) | ExitStatus::Unknown), "{exit:?}");
    if kernel() >= (6, 15) {
        assert_eq!(exit, ExitStatus::Code(42));
    }
    assert_eq!(child.wait(), Ok(exit));
    assert_eq!(child.usage(), None);
}

pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap())
}

fn drop_reaps_an_ended_child() {
    let child = fork(|| 0).unwrap();
    zombie(&child);
    drop(child);
    assert!(!has_children());
}

fn drop_leaves_a_running_child_alone() {
    let child = sleeper();
    let pid = child.pid();
    let pidfd = process::pidfd_open(pid).unwrap();
    drop(child);
    // Signal 0 only asks whether it is there.
    // SAFETY: kill(2) has no preconditions.
    assert_eq!(unsafe { libc::kill(pid.as_raw_nonzero().get(), 0) }, 0);
    process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    assert_eq!(process::pidfd_wait(&pidfd, PATIENCE).unwrap().unwrap().signal(), Some(9));
}

fn inherited_child_is_left_to_its_parent() {
    let mut first = fork(|| 6).unwrap();
    zombie(&first);
    let inherited = &mut first;
    let mut second = fork(move || {
        // Sees the end, but neither reaps nor settles on a status that it cannot know.
        let seen = inherited.wait_timeout(PATIENCE).unwrap();
        u8::from(seen == Some(ExitStatus::Unknown) && inherited.exit_status().is_none())
    })
    .unwrap();
    assert_eq!(second.wait(), Ok(ExitStatus::Code(1)));
    assert_eq!(first.wait(), Ok(ExitStatus::Code(6)));
}

fn grandchild_is_seen_ending_through_its_pidfd() {
    let (mut reader, writer) = pipe();
    let (mut gate, open) = pipe();
    let mut child = fork(|| {
        let mut grandchild = fork(|| {
            gate.read_exact(&mut [0]).unwrap();
            33
        })
        .unwrap();
        (&writer).write_all(&grandchild.pid().as_raw_nonzero().get().to_ne_bytes()).unwrap();
        grandchild.wait().unwrap().code().unwrap()
    })
    .unwrap();
    let mut pid = [0; 4];
    reader.read_exact(&mut pid).unwrap();
    let pidfd = process::pidfd_open(Pid::from_raw(i32::from_ne_bytes(pid)).unwrap()).unwrap();
    assert_eq!(process::pidfd_wait(&pidfd, Duration::from_millis(10)), Ok(None));
    (&open).write_all(b"x").unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(33)));
    let seen = process::pidfd_wait(&pidfd, PATIENCE).unwrap().unwrap();
    assert!(matches!(seen, ExitStatus::Code(33) | ExitStatus::Unknown), "{seen:?}");
    if kernel() >= (6, 15) {
        assert_eq!(seen, ExitStatus::Code(33));
    }
}

fn descriptor_is_taken_from_a_child() {
    let (mut reader, writer) = pipe();
    let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let mut child = sleeper();
    drop(writer);
    // SAFETY: it is the end of a pipe, which no memory and no protocol is behind.
    let taken = match unsafe { process::pidfd_getfd(&child, number) } {
        Ok(taken) => taken,
        Err(Errno::PERM | Errno::NOSYS) => {
            println!("SKIPPED: descriptor_is_taken_from_a_child may not trace here");
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        Err(errno) => panic!("{errno}"),
    };
    // SAFETY: there is no such descriptor.
    assert_eq!(unsafe { process::pidfd_getfd(&child, 10_000) }.unwrap_err(), Errno::BADF);
    ossature_sys::fd::write(&taken, b"through").unwrap();
    let mut text = [0; 7];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"through");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn usage_of_a_reaped_child_is_told() {
    let before = Usage::of_children().unwrap();
    let mut child = fork(|| {
        let start = Usage::of_self().unwrap();
        let mut sum = 0_u64;
        while Usage::of_self().unwrap().user < start.user + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        0
    })
    .unwrap();
    assert_eq!(child.usage(), None);
    child.wait().unwrap();
    let usage = child.usage().unwrap();
    assert!(usage.user >= Duration::from_millis(30), "{usage:?}");
    assert!(usage.max_rss_kib > 0, "{usage:?}");
    let after = Usage::of_children().unwrap();
    assert!(after.user >= before.user + Duration::from_millis(30), "{before:?} {after:?}");
    assert!(Usage::of_thread().unwrap().user <= Usage::of_self().unwrap().user + Duration::from_millis(20));
}

fn signals_do_not_end_a_wait() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a sigaction; without SA_RESTART the kernel restarts nothing by itself.
    unsafe { action.assume_init_mut() }.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: sigaction(2) reads one action, whose handler does nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, action.as_ptr(), std::ptr::null_mut()) };
    let parent = process::pidfd_open(process::id()).unwrap();
    let hail = || {
        for _ in 0..20 {
            process::pidfd_send_signal(&parent, Signal::USR1).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        4
    };
    assert_eq!(fork(hail).unwrap().wait(), Ok(ExitStatus::Code(4)));
    assert_eq!(fork(hail).unwrap().wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(4))));
    let start = Instant::now();
    let mut child = fork(|| {
        hail();
        std::thread::sleep(PATIENCE);
        0
    })
    .unwrap();
    assert_eq!(child.wait_timeout(Duration::from_millis(100)), Ok(None));
    assert!(start.elapsed() >= Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn thousand_children_leave_nothing_behind() {
    let mut children: Vec<Child> = (0..100).map(|code| fork(|| code).unwrap()).collect();
    for (code, child) in children.iter_mut().enumerate() {
        assert_eq!(child.wait(), Ok(ExitStatus::Code(code as u8)));
    }
    for round in 0..900_u32 {
        assert_eq!(fork(|| round as u8).unwrap().wait(), Ok(ExitStatus::Code(round as u8)));
    }
    assert!(!has_children());
}
