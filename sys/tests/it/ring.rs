//! A ring of messages, between the threads of one process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ossature_sys::fd::duplicate;
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::scope::Refused;
use ossature_sys::shm::AttachError;
use ossature_sys::sync::ring::{PARTICIPANTS, Participant, Received, Ring, RingError};

use crate::support::{soon, thread_id, until_asleep};

const SMALL: usize = 64 << 10;

fn ring() -> Ring {
    Ring::new(SMALL).unwrap()
}

fn next(user: &mut Participant<&Ring>) -> Option<Vec<u8>> {
    user.read_timeout(Limit::NOW).unwrap().map(|message| message.to_vec())
}

#[test]
fn messages_come_in_the_order_of_their_sending() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    for round in 0..100_u8 {
        for len in [0, 1, 63, 64, 65, 1000, 5000] {
            user.send_tagged(&vec![round; len], u32::from(round), Limit::NEVER).unwrap();
        }
        for len in [0, 1, 63, 64, 65, 1000, 5000] {
            let mut bytes = [0; 5000];
            assert_eq!(user.recv(&mut bytes), Ok(Received { len, tag: u32::from(round) }));
            assert!(bytes[..len].iter().all(|&byte| byte == round));
        }
        assert!(next(&mut user).is_none() && ring.is_empty().unwrap());
    }
}

#[test]
fn capacity_is_rounded_up_and_pages_come_as_they_are_needed() {
    needs!(own_nodes);
    assert_eq!([1, SMALL, SMALL + 1].map(|bytes| Ring::new(bytes).unwrap().capacity()), [SMALL, SMALL, 2 * SMALL]);
    let ring = Ring::new(64 << 20).unwrap();
    let mut user = ring.join().unwrap();
    assert_eq!(ring.max_message(), (4 << 20) - 640);
    // As little as a few messages need, however often they go round.
    for _ in 0..10_000 {
        user.send(&[1; 100]).unwrap();
        user.recv(&mut [0; 100]).unwrap();
    }
    assert_eq!(ring.backed(), 16 << 10);
    for _ in 0..1000 {
        user.send(&[1; 100]).unwrap();
    }
    assert!((128_000..512_000).contains(&ring.backed()), "{}", ring.backed());
    assert_eq!(ring.len(), Ok(1000));
}

#[test]
fn longest_message_fits_wherever_the_ring_stands() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let mut bytes = vec![0; SMALL];
    for round in 0..40 {
        user.send(&vec![round; 64 * 7]).unwrap();
        user.recv(&mut bytes).unwrap();
        user.send(&vec![round; SMALL]).unwrap();
        assert_eq!(user.recv(&mut bytes).unwrap().len, SMALL);
        assert!(bytes.iter().all(|&byte| byte == round));
    }
    assert_eq!(user.send(&vec![0; SMALL + 1]), Err(RingError::TooLong { len: SMALL + 1, max: SMALL }));
}

#[test]
fn full_ring_takes_nothing_until_there_is_room() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let mut sent = 0;
    while user.send_timeout(&[7; 1000], Limit::NOW).unwrap() {
        sent += 1;
    }
    assert_eq!(sent, SMALL / 1024);
    assert_eq!(ring.len(), Ok(sent));
    assert!(ring.blocked_by().unwrap().is_none(), "messages are nobody's");
    user.recv(&mut [0; 1000]).unwrap();
    assert_eq!(user.send_timeout(&[7; 1000], Limit::NOW), Ok(true));
    assert_eq!(user.send_timeout(&[7; 1000], Duration::from_millis(5)), Ok(false));
}

#[test]
fn small_buffer_leaves_the_message() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    user.send(b"first").unwrap();
    user.send(b"second").unwrap();
    assert_eq!(user.recv(&mut [0; 4]), Err(RingError::TooSmall { needed: 5 }));
    let mut bytes = [0; 6];
    assert_eq!(user.recv(&mut bytes).unwrap().len, 5);
    assert_eq!(&bytes[..5], b"first");
    assert_eq!(next(&mut user).unwrap(), b"second");
}

#[test]
fn record_that_is_dropped_or_forgotten_is_not_sent() {
    needs!(own_nodes);
    let ring = ring();
    let (mut user, mut other) = (ring.join().unwrap(), ring.join().unwrap());
    drop(user.reserve(100).unwrap());
    std::mem::forget(user.reserve(100).unwrap());
    other.send(b"behind it").unwrap();
    assert_eq!(next(&mut other).unwrap(), b"behind it");
    assert!(ring.blocked_by().unwrap().is_some());
    assert!(next(&mut user).is_none(), "which gives the forgotten record up");
    assert!(ring.blocked_by().unwrap().is_none());
    user.send(b"read in part").unwrap();
    std::mem::forget(other.read().unwrap());
    assert!(ring.blocked_by().unwrap().is_some());
    drop(other);
    assert!(ring.blocked_by().unwrap().is_none());
    let mut filled = 0;
    while user.send_timeout(&[1; 1000], Limit::NOW).unwrap() {
        filled += 1;
    }
    assert_eq!(filled, SMALL / 1024 - 1, "what is left before the end of the memory is too short");
}

#[test]
fn record_is_written_and_read_in_place() {
    needs!(own_nodes);
    let ring = ring();
    let (mut sender, mut receiver) = (ring.join().unwrap(), ring.join().unwrap());
    let mut record = sender.reserve_timeout(300, Limit::NOW).unwrap().unwrap();
    record.copy_from_slice(&[5; 300]);
    record.truncate(200);
    record.set_tag(77);
    record.publish().unwrap();
    let message = receiver.read().unwrap();
    assert_eq!((&*message, message.tag()), (&[5; 200][..], 77));
}

/// The first record is reserved and not published, while other senders go past it.
#[test]
fn order_of_one_sender_holds_past_a_record_that_is_late() {
    needs!(own_nodes);
    let ring = ring();
    let (mut late, mut other, mut receiver) = (ring.join().unwrap(), ring.join().unwrap(), ring.join().unwrap());
    for _ in 0..1000 {
        let mut record = late.reserve(1).unwrap();
        record[0] = 1;
        other.send(&[0]).unwrap();
        assert_eq!(next(&mut receiver), Some(vec![0]), "the receiver goes past the record in writing");
        other.send(&[0]).unwrap();
        record.publish().unwrap();
        late.send(&[2]).unwrap();
        let mut got: Vec<_> = std::iter::from_fn(|| next(&mut receiver)).flatten().collect();
        got.retain(|&byte| byte != 0);
        assert_eq!(got, [1, 2]);
    }
}

#[test]
fn batch_is_visible_at_once_and_in_order() {
    needs!(own_nodes);
    let ring = ring();
    let mut user = ring.join().unwrap();
    let messages: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![number; usize::from(number)]).collect();
    for _ in 0..20 {
        assert_eq!(user.send_batch(&messages, Limit::NEVER), Ok(200));
        for message in &messages {
            assert_eq!(next(&mut user).as_ref(), Some(message));
        }
    }
    let large = vec![vec![1; 1000]; 100];
    assert_eq!(user.send_batch(&large, Limit::NOW), Ok(63), "what the ring has room for");
    assert_eq!(user.send_batch(&large, Limit::NOW), Ok(0));
    assert!(matches!(user.send_batch(&[vec![0; SMALL + 1]], Limit::NOW), Err(RingError::TooLong { .. })));
}

#[test]
fn sleeping_receiver_is_woken_by_a_message_and_by_a_cancel() {
    needs!(own_nodes);
    let (ring, stop) = (&ring(), &Cancel::new());
    soon(|| {
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let receiver = scope.spawn(move || {
                let mut user = ring.join().unwrap();
                tell.send(thread_id()).unwrap();
                let got = user.recv(&mut [0; 8]).unwrap();
                tell.send(thread_id()).unwrap();
                (got.len, user.recv_timeout(&mut [0; 8], stop))
            });
            until_asleep(told.recv().unwrap());
            ring.join().unwrap().send(b"abc").unwrap();
            until_asleep(told.recv().unwrap());
            stop.cancel();
            assert_eq!(receiver.join().unwrap(), (3, Ok(None)));
        });
    });
}

#[test]
fn sleeping_sender_is_woken_by_room() {
    needs!(own_nodes);
    let ring = ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        while user.send_timeout(&[7; 1000], Limit::NOW).unwrap() {}
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let ring = &ring;
            scope.spawn(move || {
                let mut user = ring.join().unwrap();
                tell.send(thread_id()).unwrap();
                user.send(&[8; 30_000]).unwrap();
            });
            until_asleep(told.recv().unwrap());
            while user.recv(&mut [0; 30_000]).unwrap().len != 30_000 {}
        });
    });
}

/// Each message names its sender and its number. Nothing may be lost, repeated or out of order.
#[test]
fn many_send_and_many_receive() {
    needs!(own_nodes);
    const SENDERS: usize = 3;
    const EACH: u32 = 20_000;
    for receivers in [1, 3] {
        let ring = ring();
        let left = AtomicU32::new(SENDERS as u32 * EACH);
        let counts: Vec<AtomicU32> = (0..SENDERS).map(|_| AtomicU32::new(0)).collect();
        soon(|| {
            thread::scope(|scope| {
                for sender in 0..SENDERS {
                    let ring = &ring;
                    scope.spawn(move || {
                        let mut user = ring.join().unwrap();
                        for number in 0..EACH {
                            let mut message = vec![sender as u8; 8 + number as usize % 300];
                            message[4..8].copy_from_slice(&number.to_ne_bytes());
                            user.send(&message).unwrap();
                        }
                    });
                }
                for _ in 0..receivers {
                    scope.spawn(|| {
                        let mut user = ring.join().unwrap();
                        let mut last = [None; SENDERS];
                        while left.load(SeqCst) != 0 {
                            let Some(message) = user.read_timeout(Duration::from_millis(1)).unwrap() else { continue };
                            let sender = usize::from(message[0]);
                            let number = u32::from_ne_bytes(message[4..8].try_into().unwrap());
                            assert_eq!(message.len(), 8 + number as usize % 300);
                            assert!(last[sender] < Some(number), "{number} of {sender} after {:?}", last[sender]);
                            last[sender] = Some(number);
                            counts[sender].fetch_add(1, SeqCst);
                            left.fetch_sub(1, SeqCst);
                        }
                    });
                }
            });
        });
        assert!(counts.iter().all(|count| count.load(SeqCst) == EACH));
    }
}

#[test]
fn numbers_of_threads_that_left_are_used_again() {
    needs!(own_nodes);
    let ring = ring();
    for _ in 0..5000 {
        drop(ring.join().unwrap());
    }
    let participants: Vec<_> = (0..1800).map(|_| ring.join().unwrap()).collect();
    drop(participants);
}

#[test]
fn thread_that_ends_with_a_record_gives_it_up() {
    needs!(own_nodes);
    needs!(robust_lists);
    let ring = ring();
    thread::scope(|scope| {
        let ends = scope.spawn(|| {
            let mut user = ring.join().unwrap();
            std::mem::forget(user.reserve(100).unwrap());
            std::mem::forget(user);
        });
        ends.join().unwrap(); // the scope itself does not wait for the end of the thread
    });
    let mut user = ring.join().unwrap();
    for _ in 0..SMALL / 1024 * 3 {
        assert!(user.send_timeout(&[1; 1000], Limit::NOW).unwrap(), "the record's room was given back");
        user.recv(&mut [0; 1000]).unwrap();
    }
}

#[test]
fn ring_is_attached_as_a_ring_of_its_size() {
    needs!(own_nodes);
    let ring = ring();
    ring.join().unwrap().send(b"here").unwrap();
    // SAFETY: the descriptor stays in this program.
    let memory = duplicate(unsafe { ring.descriptor() }).unwrap();
    // SAFETY: as above.
    let there = unsafe { Ring::from_fd(memory) }.unwrap();
    assert_eq!(there.capacity(), SMALL);
    assert_eq!(next(&mut there.join().unwrap()).unwrap(), b"here");
    // SAFETY: as above.
    let memory = duplicate(unsafe { ring.descriptor() }).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { ossature_sys::shm::Shm::<u64>::from_fd(memory) }.unwrap_err(), AttachError::OtherType);
    let number = ossature_sys::shm::Shm::place(1_u64).unwrap();
    // SAFETY: as above.
    let memory = duplicate(unsafe { number.descriptor() }).unwrap();
    // SAFETY: as above.
    assert!(unsafe { Ring::from_fd(memory) }.is_err());
}

#[test]
fn pointer_that_turns_to_another_ring_is_refused() {
    needs!(own_nodes);
    struct Fickle<'f>(&'f [Ring; 2], &'f std::cell::Cell<usize>);
    impl std::ops::Deref for Fickle<'_> {
        type Target = Ring;
        fn deref(&self) -> &Ring {
            &self.0[self.1.get()]
        }
    }
    let (rings, turn) = ([ring(), ring()], std::cell::Cell::new(0));
    let mut user = Participant::new(Fickle(&rings, &turn)).unwrap();
    user.send(b"here").unwrap();
    let record = user.reserve(8).unwrap();
    turn.set(1);
    assert!(record.is_empty(), "nothing of another ring is lent");
    drop(record);
    assert_eq!(user.send(b"there"), Err(RingError::OtherRing));
    assert_eq!(user.recv(&mut [0; 8]), Err(RingError::OtherRing));
    turn.set(0);
    assert_eq!(user.recv(&mut [0; 8]).unwrap().len, 4);
    turn.set(1);
}

#[test]
fn errors_name_the_remedy() {
    let text = RingError::TooLong { len: 9, max: 8 }.to_string();
    assert!(text.contains("make the ring larger"), "{text}");
    assert!(RingError::TooSmall { needed: 5 }.to_string().contains("receive it into a larger one"));
    assert!(RingError::from(Refused::TooMany).to_string().starts_with("ring: "));
}

#[test]
fn closed_ring_is_read_to_its_end() {
    needs!(own_nodes);
    let ring = &ring();
    soon(|| {
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let mut user = ring.join().unwrap();
            let mut other = ring.join().unwrap();
            let record = other.reserve(3).unwrap();
            user.send(b"first").unwrap();
            let receiver = scope.spawn(move || {
                let mut user = ring.join().unwrap();
                let first = user.recv(&mut [0; 8]).unwrap().len;
                tell.send(thread_id()).unwrap();
                (first, user.recv(&mut [0; 8]).unwrap().len, user.recv(&mut [0; 8]))
            });
            until_asleep(told.recv().unwrap());
            ring.close();
            assert_eq!(user.send(b"late"), Err(RingError::Closed));
            record.publish().unwrap();
            assert_eq!(
                receiver.join().unwrap(),
                (5, 3, Err(RingError::Closed)),
                "what was reserved before is received"
            );
        });
    });
}

#[test]
fn closing_wakes_a_sender_that_waits_for_room() {
    needs!(own_nodes);
    let ring = &ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        while user.send_timeout(&[7; 1000], Limit::NOW).unwrap() {}
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let sender = scope.spawn(move || {
                let mut user = ring.join().unwrap();
                tell.send(thread_id()).unwrap();
                user.send(&[8; 30_000])
            });
            until_asleep(told.recv().unwrap());
            ring.close();
            assert_eq!(sender.join().unwrap(), Err(RingError::Closed));
        });
    });
}

#[test]
fn tasks_count_until_they_are_done_or_their_thread_ends() {
    needs!(own_nodes);
    needs!(robust_lists);
    let ring = &ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        for _ in 0..3 {
            user.send(b"task").unwrap();
        }
        let take = |user: &mut Participant<&Ring>| user.recv_task_timeout(&mut [0; 8], Limit::NEVER).unwrap().unwrap();
        take(&mut user);
        assert_eq!(ring.unfinished(), Ok(3));
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let waits = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                ring.wait_until_done(Limit::NEVER)
            });
            until_asleep(told.recv().unwrap());
            scope.spawn(move || {
                let mut user = ring.join().unwrap();
                take(&mut user);
                // The thread ends with its task.
                std::mem::forget(user);
            });
            take(&mut user);
            assert_eq!((user.task_done(), user.task_done(), user.task_done()), (Ok(true), Ok(true), Ok(false)));
            assert_eq!(waits.join().unwrap(), Ok(true));
        });
        assert_eq!(ring.unfinished(), Ok(0));
    });
}

#[test]
fn few_enough_messages_are_waited_for() {
    needs!(own_nodes);
    let ring = &ring();
    soon(|| {
        let mut user = ring.join().unwrap();
        for _ in 0..3 {
            user.send(b"one").unwrap();
        }
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let waits = scope.spawn(move || {
                tell.send(thread_id()).unwrap();
                (ring.wait_until_below(2, Limit::NEVER), ring.len())
            });
            until_asleep(told.recv().unwrap());
            user.recv(&mut [0; 8]).unwrap();
            user.recv(&mut [0; 8]).unwrap();
            assert_eq!(waits.join().unwrap(), (Ok(true), Ok(1)));
        });
        ring.close();
        assert_eq!(ring.wait_until_below(2, Limit::NOW), Err(RingError::Closed));
    });
}

#[test]
fn ring_has_thousands_of_participants_and_says_when_it_has_all() {
    needs!(own_nodes);
    const THREADS: usize = 8; // the kernel follows a list of 2,048 nodes for each
    let ring = ring();
    let all = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut users: Vec<_> = (0..PARTICIPANTS / THREADS).map(|_| ring.join().unwrap()).collect();
                all.wait();
                all.wait();
                users.last_mut().unwrap().send(&[7]).unwrap();
            });
        }
        all.wait();
        assert_eq!(ring.join().map(drop), Err(RingError::Refused(Refused::TableFull)));
        all.wait();
    });
    let mut user = ring.join().unwrap();
    assert!((0..THREADS).all(|_| next(&mut user).unwrap() == [7]) && next(&mut user).is_none());
}

/// Only participants write these words. Whatever else is written there, no call reads beyond the memory, and every call
/// ends.
#[test]
fn words_that_no_participant_writes_lead_nowhere() {
    needs!(own_nodes);
    let whole = |file: &File| {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let mut refused = 0;
    for bit in 0..128_u64 {
        let ring = ring();
        // SAFETY: the file is read, and what is written there is this test.
        let file = File::from(duplicate(unsafe { ring.descriptor() }).unwrap());
        let mut user = ring.join().unwrap();
        let before = whole(&file);
        user.send(&[3; 200]).unwrap();
        let after = whole(&file);
        // The record's word and its info lie behind the table of participants; the word is the first there that has
        // changed.
        let table = PARTICIPANTS * 64;
        let word = (table..after.len() - 8).step_by(8).find(|&at| before[at..at + 8] != after[at..at + 8]).unwrap();
        let at = word as u64 + bit / 64 * 8;
        let mut number = [0; 8];
        file.read_exact_at(&mut number, at).unwrap();
        let changed = u64::from_ne_bytes(number) ^ 1 << (bit % 64);
        file.write_all_at(&changed.to_ne_bytes(), at).unwrap();
        let counted = ring.len();
        let blocked = ring.blocked_by();
        let got = user.recv_timeout(&mut [0; 300], Limit::NOW);
        let read = user.read_timeout(Limit::NOW).map(|message| message.map(|message| message.len()));
        let sent = user.send_timeout(&[4; 100], Limit::NOW);
        refused += u32::from(counted.is_err() || blocked.is_err() || got.is_err() || read.is_err() || sent.is_err());
    }
    assert!(refused > 10, "{refused}");
}

/// The pointer leads to one ring and to the other, in turns.
#[test]
fn pointer_that_alternates_lends_nothing_of_another_ring() {
    needs!(own_nodes);
    struct Alternating<'r>(&'r [Ring; 2], &'r AtomicU32);
    impl std::ops::Deref for Alternating<'_> {
        type Target = Ring;
        fn deref(&self) -> &Ring {
            let turn = self.1.load(SeqCst);
            self.1.store(turn + turn.min(1), SeqCst);
            &self.0[usize::from(turn % 2 == 0 && turn > 0)]
        }
    }
    let (rings, turn) = ([Ring::new(16 << 20).unwrap(), ring()], AtomicU32::new(0));
    let mut user = Participant::new(Alternating(&rings, &turn)).unwrap();
    for first in 1..3 {
        let mut record = user.reserve(SMALL).unwrap();
        turn.store(first, SeqCst);
        record.fill(9);
        let _ = record.publish();
        turn.store(0, SeqCst);
        let _ = user.read_timeout(Limit::NOW).map(drop);
    }
    let mut other = rings[1].join().unwrap();
    let record = other.reserve(SMALL - 64).unwrap();
    assert!(record.iter().all(|&byte| byte == 0), "nothing was written there");
}
