//! Event queues beside fork, without /proc, and signals sent to the whole process.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{self, AsRawFd};
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{ExitStatus, Signal, fork};
use ossature_sys::signal::{self, SignalSet};
use ossature_sys::{pipe, process};

use crate::harness::Test;
use crate::surroundings::jailed;

pub const TESTS: &[Test] = &[
    ("a_forked_child_cannot_use_the_queue", a_forked_child_cannot_use_the_queue),
    ("a_forked_child_ends_no_subscription", a_forked_child_ends_no_subscription),
    ("a_thread_is_not_a_fork", a_thread_is_not_a_fork),
    ("timers_of_one_clock_share_one_descriptor", timers_of_one_clock_share_one_descriptor),
    ("a_childs_copy_of_an_old_set_is_not_heard", a_childs_copy_of_an_old_set_is_not_heard),
    ("a_new_set_may_get_the_number_of_a_closed_file", a_new_set_may_get_the_number_of_a_closed_file),
    ("a_child_makes_a_queue_of_its_own", a_child_makes_a_queue_of_its_own),
    ("without_proc_a_file_is_refused", without_proc_a_file_is_refused),
    ("signals_from_outside_are_counted", signals_from_outside_are_counted),
];

const PATIENCE: Duration = Duration::from_secs(20);

fn wait(queue: &Kqueue, timeout: impl Into<Deadline>) -> Vec<Kevent> {
    let mut room = [MaybeUninit::uninit(); 8];
    queue.wait(&mut room, timeout).unwrap().to_vec()
}

fn a_forked_child_cannot_use_the_queue() {
    let mut kept = Some(Kqueue::new().unwrap());
    let queue = kept.as_ref().unwrap();
    let (reader, writer) = pipe::pipe(pipe::Flags::empty()).unwrap();
    queue.change(&Kevent::read(&reader).with_udata(4)).unwrap();
    queue.change(&Kevent::exit(process::id())).unwrap();
    assert!(!queue.is_inherited());
    let mut child = fork(|| {
        let queue = kept.as_ref().unwrap();
        assert!(queue.is_inherited());
        let mut room = [MaybeUninit::uninit(); 1];
        assert_eq!(queue.change(&Kevent::user(1)), Err(Errno::BADF));
        assert_eq!(queue.wait(&mut room, Deadline::NEVER), Err(Errno::BADF));
        assert_eq!(queue.descriptor().map(|fd| fd.as_raw_fd()), Err(Errno::BADF));
        assert_eq!(queue.len(), Err(Errno::BADF));
        // Dropping it closes the child's copies, and the parent's entries stay.
        drop(kept.take());
        0
    })
    .unwrap();
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
    let queue = kept.as_ref().unwrap();
    fd::write(&writer, b"x").unwrap();
    let events = wait(queue, PATIENCE);
    assert_eq!((events.len(), events[0].udata()), (1, 4));
}

fn a_forked_child_ends_no_subscription() {
    let mut kept = Some(Kqueue::new().unwrap());
    let queue = kept.as_ref().unwrap();
    if let Err(errno) = queue.follow_processes() {
        println!("SKIPPED: no news of processes here: {errno}");
        return;
    }
    queue.change(&Kevent::exit(process::id()).with_notes(Notes::FORK)).unwrap();
    for _ in 0..2 {
        // The second child is told of after the first one dropped its copy.
        let mut child = fork(|| {
            drop(kept.take());
            0
        })
        .unwrap();
        assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
        let events = wait(kept.as_ref().unwrap(), PATIENCE);
        assert_eq!(events.iter().map(Kevent::notes).collect::<Vec<_>>(), [Notes::FORK]);
    }
}

fn a_thread_is_not_a_fork() {
    let queue = Kqueue::new().unwrap();
    if let Err(errno) = queue.follow_processes() {
        println!("SKIPPED: no news of processes here: {errno}");
        return;
    }
    queue.change(&Kevent::exit(process::id()).with_notes(Notes::FORK)).unwrap();
    std::thread::spawn(|| ()).join().unwrap();
    assert_eq!(wait(&queue, Duration::from_millis(20)), []);
    let mut child = fork(|| 0).unwrap();
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
    assert_eq!(wait(&queue, PATIENCE).len(), 1, "the news was on");
}

fn timers_of_one_clock_share_one_descriptor() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let queue = Kqueue::new().unwrap();
    let made = open();
    let timer = |ident| Kevent::timer(ident, Duration::from_secs(60 + ident as u64));
    (0..1000).for_each(|ident| queue.change(&timer(ident)).unwrap());
    assert_eq!((made - before, open()), (1, made), "the set alone, and no descriptor for a timer");
    let instant =
        |ident| Kevent::new(ident, Filter::TIMER).with_notes(Notes::ABSTIME | Notes::SECONDS).with_data(1 << 33);
    (1000..2000).for_each(|ident| queue.change(&instant(ident)).unwrap());
    assert_eq!(open(), made + 1, "the wall clock");
    queue.descriptor().unwrap();
    let shown = open();
    (2000..3000).for_each(|ident| queue.change(&timer(ident)).unwrap());
    assert_eq!((shown, open()), (made + 4, shown), "the face, a clock and a counter that end its sleep");
}

/// The child's copy keeps a set alive that the parent has replaced, because no descriptor refers to one of its entries
/// any more.
fn a_childs_copy_of_an_old_set_is_not_heard() {
    let queue = Kqueue::new().unwrap();
    let is_readable = || {
        let face = queue.descriptor().unwrap();
        poll(&mut [PollFd::new(&face, PollFlags::IN)], Deadline::NOW).map(|ready| ready == 1)
    };
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    assert_eq!(is_readable(), Ok(false));
    let (wait_for_end, end) = pipe::pipe(pipe::Flags::empty()).unwrap();
    let mut ends = Some(end);
    let mut child = fork(|| {
        drop(ends.take());
        fd::read(&wait_for_end, &mut [0]).map_or(1, |_| 0)
    })
    .unwrap();
    // The child's copy of the stream keeps the entry, too.
    let number = near.as_raw_fd() as usize;
    drop(near);
    assert_eq!(queue.change(&Kevent::new(number, Filter::READ).with_flags(Flags::DELETE)), Err(Errno::BADF));
    far.write_all(b"x").unwrap();
    assert_eq!(is_readable(), Ok(true), "an entry without a name is ready");
    assert_eq!(wait(&queue, Duration::ZERO), []);
    assert_eq!(is_readable(), Ok(false));
    queue.change(&Kevent::user(1)).unwrap();
    queue.change(&Kevent::trigger(1)).unwrap();
    assert_eq!((is_readable(), wait(&queue, PATIENCE).len(), is_readable()), (Ok(true), 1, Ok(false)));
    drop(ends);
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
}

/// The queue makes four descriptors while it checks which knotes still have their file. They take the lowest free
/// numbers, so each of them once has the number of the silent knote. No other thread takes a number meanwhile.
fn a_new_set_may_get_the_number_of_a_closed_file() {
    for lower in 0..6 {
        for silent in [Filter::READ, Filter::WRITE] {
            let queue = Kqueue::new().unwrap();
            let (other, _peer) = UnixStream::pair().unwrap();
            queue.change(&Kevent::write(&other)).unwrap();
            let below: Vec<File> = (0..lower).map(|_| File::open("/dev/null").unwrap()).collect();
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(b"x").unwrap();
            let number = near.as_raw_fd() as usize;
            queue.change(&Kevent::new(number, silent).with_flags(Flags::ADD | Flags::CLEAR)).unwrap();
            assert_eq!(wait(&queue, PATIENCE).len(), 2);
            // The entry of this knote is met once the number is closed, and new sets are made.
            let loud = if silent == Filter::READ { Filter::WRITE } else { Filter::READ };
            queue.change(&Kevent::new(number, loud)).unwrap();
            let _keeper = near.try_clone().unwrap();
            drop((below, near));
            for _ in 0..3 {
                let idents: Vec<usize> = wait(&queue, PATIENCE).iter().map(|event| event.ident()).collect();
                assert_eq!(idents, [other.as_raw_fd() as usize], "{lower} numbers below, {silent:?}");
            }
            assert_eq!(queue.len(), Ok(1));
        }
    }
}

fn a_child_makes_a_queue_of_its_own() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::user(1)).unwrap();
    let mut child = fork(|| {
        let own = Kqueue::new().unwrap();
        own.change(&Kevent::user(1)).unwrap();
        own.change(&Kevent::trigger(1)).unwrap();
        wait(&own, PATIENCE).len() as u8
    })
    .unwrap();
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(1))));
    assert_eq!(wait(&queue, Duration::ZERO), []);
}

fn without_proc_a_file_is_refused() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let null = File::open("/dev/null").unwrap();
    jailed(|| {
        let queue = Kqueue::new().unwrap();
        assert_eq!(queue.change(&Kevent::vnode(&file, Notes::WRITE)), Err(Errno::OPNOTSUPP));
        assert_eq!(queue.change(&Kevent::read(&file)), Err(Errno::OPNOTSUPP));
        assert_eq!(queue.len(), Ok(0), "nothing is half registered");
        // The rest needs none.
        let changes = [
            Kevent::write(&file),
            Kevent::read(&null),
            Kevent::timer(1, Duration::from_millis(1)),
            Kevent::exit(process::id()),
            Kevent::user(1),
        ];
        for change in changes {
            queue.change(&change).unwrap();
        }
        assert_eq!(wait(&queue, PATIENCE).len(), 2);
    });
}

fn signals_from_outside_are_counted() {
    let _blocked = signal::block(SignalSet::from(Signal::USR1)).unwrap();
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::signal(Signal::USR1)).unwrap();
    let parent = process::pidfd_open(process::id()).unwrap();
    let mut child = fork(|| {
        process::pidfd_send_signal(&parent, Signal::USR1).unwrap();
        0
    })
    .unwrap();
    let events = wait(&queue, PATIENCE);
    assert_eq!((events.len(), events[0].data()), (1, 1));
    assert_eq!(child.wait_timeout(PATIENCE), Ok(Some(ExitStatus::Code(0))));
}
