//! The number of pages of a ring, and when it gives them back.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::Duration;

use ossature_sys::fd::duplicate;
use ossature_sys::futex::Limit;
use ossature_sys::scope::Refused;
use ossature_sys::sync::ring::{Participant, Ring, RingError};

use crate::support::soon;

fn next(user: &mut Participant<&Ring>) -> Option<Vec<u8>> {
    user.read_timeout(Limit::NOW).unwrap().map(|message| message.to_vec())
}

/// The number of bytes of the ring's file that have pages.
fn resident(ring: &Ring) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: the descriptor stays here.
    let memory = duplicate(unsafe { ring.descriptor() }).unwrap();
    std::fs::File::from(memory).metadata().unwrap().blocks() * 512
}

/// Sends `count` messages of a thousand bytes, each with its number.
fn fill(user: &mut Participant<&Ring>, count: u32) {
    for number in 0..count {
        let mut message = [number as u8; 1000];
        message[..4].copy_from_slice(&number.to_ne_bytes());
        assert!(user.send_timeout(&message, Limit::NOW).unwrap(), "no room for the {number}th");
    }
}

fn drain(user: &mut Participant<&Ring>, count: u32) {
    for number in 0..count {
        let message = next(user).expect("all are there");
        assert!(message[..4] == number.to_ne_bytes() && message[4..].iter().all(|&byte| byte == number as u8));
    }
    assert!(next(user).is_none());
}

#[test]
fn drained_memory_is_given_back_and_taken_again() {
    needs!(own_nodes);
    let ring = Ring::new(16 << 20).unwrap();
    let (mut user, mut other) = (ring.join().unwrap(), ring.join().unwrap());
    for round in 0..4 {
        fill(&mut user, 12_000);
        assert!(resident(&ring) > 12 << 20);
        assert!(!other.trim().unwrap(), "messages are there");
        drain(&mut user, 12_000);
        assert!(other.trim().unwrap(), "in round {round}");
        assert!(resident(&ring) < 2 << 20 && ring.backed() == 1 << 20, "{} stay", resident(&ring));
        assert!(!other.trim().unwrap() && ring.blocked_by().unwrap().is_none());
        fill(&mut user, 3);
        drain(&mut user, 3);
    }
}

#[test]
fn receiver_that_sleeps_gives_memory_back() {
    needs!(own_nodes);
    let ring = &Ring::new(16 << 20).unwrap();
    soon(|| {
        let mut user = ring.join().unwrap();
        fill(&mut user, 8000);
        drain(&mut user, 8000);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| ring.join().unwrap().recv(&mut [0; 8]).unwrap().len);
            while resident(ring) > 2 << 20 {
                thread::sleep(Duration::from_millis(10));
            }
            user.send(b"news").unwrap();
            assert_eq!(sleeper.join().unwrap(), 4);
        });
    });
}

/// A burst took much memory once. Later messages use the first part of it.
#[test]
fn ring_that_is_empty_now_and_then_goes_round_in_its_first_part() {
    needs!(own_nodes);
    let ring = Ring::new(16 << 20).unwrap();
    let mut user = ring.join().unwrap();
    fill(&mut user, 8000);
    drain(&mut user, 8000);
    let mut places = Vec::new();
    for _ in 0..20_000 {
        let record = user.reserve(1000).unwrap();
        places.push(record.as_ptr() as usize);
        record.publish().unwrap();
        drop(user.read().unwrap());
        assert!(next(&mut user).is_none());
    }
    let (first, last) = (places[1..].iter().min().unwrap(), places[1..].iter().max().unwrap());
    assert!(last - first <= (1 << 20) + 1024, "they span {} bytes", last - first);
}

#[test]
fn giving_back_disturbs_nobody() {
    needs!(own_nodes);
    let ring = &Ring::new(4 << 20).unwrap();
    let (over, trims) = (&AtomicBool::new(false), &AtomicU32::new(0));
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut user = ring.join().unwrap();
                while !over.load(SeqCst) {
                    trims.fetch_add(u32::from(user.trim().unwrap()), SeqCst);
                    thread::yield_now();
                }
            });
            let sender = scope.spawn(|| {
                let mut user = ring.join().unwrap();
                for number in 0..3000_u32 {
                    let len = 4 + (number as usize * 7919) % 200_000;
                    let mut message = vec![number as u8; len];
                    message[..4].copy_from_slice(&number.to_ne_bytes());
                    user.send(&message).unwrap();
                    if number % 50 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            let mut user = ring.join().unwrap();
            while ring.backed() <= 1 << 20 {
                thread::yield_now(); // until there is something to give back
            }
            for number in 0..3000_u32 {
                let message = user.read().unwrap();
                assert_eq!(message[..4], number.to_ne_bytes());
                // At once: byte by byte, 300 MB take seconds without optimisation.
                assert!(message[4..] == vec![number as u8; message.len() - 4], "message {number} is torn");
            }
            sender.join().unwrap();
            // The ring may have been empty for a moment only, or never before now, while no processor was left for the
            // trims.
            while trims.load(SeqCst) == 0 {
                thread::yield_now();
            }
            over.store(true, SeqCst);
        });
    });
}

/// A longer message is taken before its length is known.
#[test]
fn message_with_a_damaged_length_does_not_stay_with_its_receiver() {
    use std::os::unix::fs::FileExt;
    needs!(own_nodes);
    const LEN: usize = 2000;
    let ring = Ring::new(64 << 10).unwrap();
    let mut user = ring.join().unwrap();
    assert!(user.send_tagged(&[1; LEN], 0x1234_5678, Limit::NOW).unwrap());
    // SAFETY: the descriptor stays here.
    let memory = std::fs::File::from(duplicate(unsafe { ring.descriptor() }).unwrap());
    let mut bytes = vec![0; memory.metadata().unwrap().len() as usize];
    memory.read_exact_at(&mut bytes, 0).unwrap();
    let info = ((LEN as u64) << 32 | 0x1234_5678).to_ne_bytes();
    let at = bytes.chunks(8).position(|word| word == info).expect("the record has its length") * 8;
    memory.write_all_at(&u64::MAX.to_ne_bytes(), at as u64).unwrap();
    let damaged = Err(RingError::Refused(Refused::Unrecoverable));
    assert_eq!(user.recv_timeout(&mut [0; LEN], Limit::NOW), damaged);
    assert!(ring.blocked_by().unwrap().is_none(), "no participant has the message");
    assert_eq!(user.recv_timeout(&mut [0; LEN], Limit::NOW), damaged);
}
