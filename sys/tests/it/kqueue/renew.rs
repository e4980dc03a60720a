//! Sets with entries that no descriptor refers to any more, which the queue replaces by new sets.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::AsRawFd;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue};
use ossature_sys::poll::{PollFd, PollFlags, poll};

use super::{now, one, sleeps, wait_for};
use crate::support::soon;

/// Leaves an entry in the queue's set whose descriptor was closed while a duplicate exists. Bytes wait at once, or come
/// later.
pub(super) fn nameless(queue: &Kqueue, bytes: &[u8]) -> (UnixStream, UnixStream) {
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    let (keeper, number) = (near.try_clone().unwrap(), near.as_raw_fd() as usize);
    drop(near);
    // ENOENT where another test has the number by now.
    let gone = queue.change(&Kevent::new(number, Filter::READ).with_flags(Flags::DELETE));
    assert!(matches!(gone, Err(Errno::BADF | Errno::NOENT)), "{gone:?}");
    far.write_all(bytes).unwrap();
    (keeper, far)
}

fn clear(change: Kevent) -> Kevent {
    change.with_flags(Flags::ADD | Flags::CLEAR)
}

#[test]
fn no_edge_is_told_again() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&clear(Kevent::read(&near))).unwrap();
    queue.change(&clear(Kevent::write(&near))).unwrap();
    far.write_all(b"one").unwrap();
    assert_eq!(now(&queue).len(), 2);
    for _ in 0..3 {
        let _kept = nameless(&queue, b"x");
        assert_eq!(now(&queue), [], "nothing is new");
        sleeps(&queue);
    }
    far.write_all(b"two").unwrap();
    assert_eq!((one(&queue).data(), now(&queue)), (6, vec![]));
    // What is told as long as it is the case, and what is told once, are told as before.
    let (level, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"x").unwrap();
    queue.change(&Kevent::read(&level)).unwrap();
    queue.change(&Kevent::write(&level).with_flags(Flags::ADD | Flags::DISPATCH)).unwrap();
    let _kept = nameless(&queue, b"x");
    assert_eq!((now(&queue).len(), now(&queue).len()), (2, 1));
    let _kept = nameless(&queue, b"x");
    assert_eq!([one(&queue), one(&queue)].map(|event| event.ident()), [level.as_raw_fd() as usize; 2]);
    queue.change(&Kevent::write(&level).with_flags(Flags::ENABLE)).unwrap();
    assert_eq!(now(&queue).len(), 2);
}

#[test]
fn every_edge_that_waits_is_told_once() {
    let queue = Kqueue::new().unwrap();
    // More than are taken from a set at once.
    let pairs: Vec<_> = (0..150).map(|_| UnixStream::pair().unwrap()).collect();
    for (near, far) in &pairs {
        (&mut &*far).write_all(b"x").unwrap();
        queue.change(&clear(Kevent::read(near))).unwrap();
        queue.change(&clear(Kevent::write(near))).unwrap();
    }
    let mut seen = Vec::new();
    soon(|| {
        for room in [1, 2, 3, 50, 7].into_iter().cycle() {
            let _kept = [(); 3].map(|()| nameless(&queue, b"x"));
            seen.extend(
                wait_for(&queue, room, Duration::from_secs(5)).iter().map(|event| (event.ident(), event.filter())),
            );
            if seen.len() >= 2 * pairs.len() {
                break;
            }
        }
    });
    assert_eq!(now(&queue), []);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2 * pairs.len(), "each once");
}

/// Another thread writes a byte after each event, so each event reports one more byte.
#[test]
fn edges_that_come_meanwhile_are_told_once() {
    const BYTES: i64 = 150;
    let queue = Kqueue::new().unwrap();
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    for (n, (near, _)) in pairs.iter().enumerate() {
        queue.change(&clear(Kevent::read(near)).with_udata(n)).unwrap();
    }
    let told = [const { AtomicI64::new(0) }; 3];
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut written = [0; 3];
                while written != [BYTES; 3] {
                    for (n, (_, far)) in pairs.iter().enumerate() {
                        if told[n].load(SeqCst) == written[n] && written[n] < BYTES {
                            written[n] += 1;
                            (&mut &*far).write_all(b"x").unwrap();
                        }
                    }
                    thread::yield_now();
                }
            });
            while told.iter().any(|told| told.load(SeqCst) < BYTES) {
                let _kept = nameless(&queue, b"x");
                for event in wait_for(&queue, 8, Duration::from_millis(1)) {
                    let before = told[event.udata()].swap(event.data(), SeqCst);
                    assert_eq!(event.data(), before + 1);
                }
            }
        });
    });
}

#[test]
fn an_entry_without_a_name_keeps_nobody_awake_when_the_last_knote_goes() {
    let queue = Kqueue::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    queue.change(&Kevent::read(&near)).unwrap();
    let (_keeper, mut far) = nameless(&queue, b"");
    queue.change(&Kevent::read(&near).with_flags(Flags::DELETE)).unwrap();
    far.write_all(b"x").unwrap();
    sleeps(&queue);
    queue.change(&Kevent::user(1)).unwrap();
    queue.change(&Kevent::trigger(1)).unwrap();
    assert_eq!(one(&queue).filter(), Filter::USER);
}

#[test]
fn the_queues_descriptor_tells_of_the_new_sets() {
    let queue = Kqueue::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    queue.change(&clear(Kevent::read(&near))).unwrap();
    let readable = |timeout: Duration| {
        let face = queue.descriptor().unwrap();
        poll(&mut [PollFd::new(&face, PollFlags::IN)], timeout).unwrap() == 1
    };
    assert!(!readable(Duration::ZERO));
    for _ in 0..2 {
        let _kept = nameless(&queue, b"x");
        assert_eq!(now(&queue), []);
        assert!(!readable(Duration::ZERO));
        far.write_all(b"x").unwrap();
        assert!(readable(Duration::from_secs(5)));
        one(&queue);
    }
}

/// Makes three streams; two of them were reported as writable. With room for two, the edge of the third, which is
/// readable, is kept in memory.
fn with_a_kept_edge(queue: &Kqueue) -> Vec<(UnixStream, UnixStream)> {
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    for (near, _) in &pairs[..2] {
        queue.change(&clear(Kevent::write(near))).unwrap();
    }
    let (near, far) = &pairs[2];
    queue.change(&clear(Kevent::read(near))).unwrap();
    (&mut &*far).write_all(b"x").unwrap();
    let first = wait_for(queue, 2, Duration::from_secs(5));
    assert!(first.iter().all(|event| event.filter() == Filter::WRITE), "{first:?}");
    pairs
}

#[test]
fn a_kept_edge_whose_cause_has_gone_is_not_told() {
    let queue = Kqueue::new().unwrap();
    let pairs = with_a_kept_edge(&queue);
    let (near, far) = &pairs[2];
    (&mut &*near).read_exact(&mut [0]).unwrap();
    assert_eq!(now(&queue), []);
    (&mut &*far).write_all(b"yz").unwrap();
    assert_eq!((one(&queue).data(), now(&queue)), (2, vec![]));
}

#[test]
fn an_edge_that_is_kept_and_comes_again_is_told_once() {
    for memory_first in [false, true] {
        let queue = Kqueue::new().unwrap();
        if memory_first {
            assert_eq!(now(&queue), [], "memory and the kernel take turns");
        }
        let pairs = with_a_kept_edge(&queue);
        (&mut &pairs[2].1).write_all(b"y").unwrap();
        let mut room = [MaybeUninit::uninit(); 8];
        let told = queue.wait(&mut room, Duration::from_secs(5)).unwrap().to_vec();
        assert_eq!(told.iter().map(Kevent::data).collect::<Vec<_>>(), [2]);
        assert_eq!(queue.wait(&mut room, Deadline::NOW), Ok(&[][..]), "memory first: {memory_first}");
    }
}
