//! Packets beside a ring whose sender or receiver is killed or stopped at any instruction.
//!
//! Each packet has one end of a pair of sockets; the other tells when the descriptor is closed everywhere.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::fd::{AsFd, duplicate};
use ossature_sys::futex::Limit;
use ossature_sys::process::{ExitStatus, fork};
use ossature_sys::ptrace;
use ossature_sys::socket::Socket;
use ossature_sys::sync::ring::{Packets, Participant, Ring, RingError};

use crate::barrier::deaths_are_seen;
use crate::handover::{asleep, until};
use crate::harness::{self, Test};
use crate::still::{end, go_on, standing_behind};

pub const TESTS: &[Test] = &[
    ("packet_of_a_sender_killed_at_any_instruction_is_received_or_was_not_sent", sender_is_killed),
    ("packet_of_a_receiver_killed_at_any_instruction_is_its_own", receiver_is_killed),
    ("receivers_go_on_beside_a_sender_that_stands_still", receivers_go_on_beside_a_sender),
    ("receivers_go_on_beside_a_receiver_that_stands_still", receivers_go_on_beside_a_receiver),
    ("packets_wait_for_room_in_the_sockets", packets_wait_for_room),
    ("sender_sleeps_beside_a_packet_of_a_dead_receiver", sender_sleeps_beside_a_dead_receiver),
    ("packets_without_tokens_make_room", packets_without_tokens_make_room),
    ("packets_that_are_dropped_wake_those_that_wait_for_room", dropped_packets_wake),
];

const LATE: Duration = Duration::from_secs(10);

fn made() -> (Ring, Packets) {
    (Ring::new(64 << 10).unwrap(), Packets::new().unwrap())
}

/// Sends a packet with this number and a witness.
fn send(user: &mut Participant<&Ring>, packets: &Packets, number: u8, witness: &UnixStream) {
    assert!(user.send_packet(packets, &[number], &[witness.as_fd()], 0, LATE).unwrap());
}

/// Receives the next packet or message: returns its number; a packet also has its descriptor.
fn next(user: &mut Participant<&Ring>, packets: &Packets, limit: Limit<'_>) -> Option<u8> {
    next_into(user, packets, &mut [0; Packets::BUFFER], limit)
}

fn next_into(
    user: &mut Participant<&Ring>,
    packets: &Packets,
    bytes: &mut [u8; Packets::BUFFER],
    limit: Limit<'_>,
) -> Option<u8> {
    let mut parcel = None;
    let received = user.recv_packet(packets, bytes, &mut parcel, limit).unwrap()?;
    if let Some(parcel) = parcel {
        assert_eq!((received.len, parcel.descriptors.len()), (1, 1), "a packet is whole");
    }
    Some(bytes[0])
}

fn is_closed(mut kept: &UnixStream) -> bool {
    kept.set_nonblocking(true).unwrap();
    matches!(kept.read(&mut [0; 1]), Ok(0))
}

/// What the dead sender has sent comes first, if it was sent. Then come the packets of another sender, in their order:
/// no packet comes early, or for another packet's token. A packet without a token is dropped by the next sender if
/// there is no token at all. Otherwise the receiver of the next token drops it.
fn sender_is_killed() {
    if deaths_are_seen() {
        [true, false].into_iter().for_each(sender_is_killed_beside);
    }
}

/// Kills a sender beside another packet, whose token is there already if `has_token`.
fn sender_is_killed_beside(has_token: bool) {
    let (mut sent, mut untold) = (0, 0);
    for steps in (0..).step_by(harness::stride(139)) {
        let (ring, packets) = made();
        let ((one, kept), (two, _)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let mut user = ring.join().unwrap();
        if has_token {
            send(&mut user, &packets, 0, &two);
        }
        let begin = || ring.join().unwrap();
        let Some(mut doomed) = standing_behind(begin, |mut user| send(&mut user, &packets, 1, &one)) else { return };
        let stands = go_on(&mut doomed, steps);
        if stands {
            end(doomed);
        }
        drop(one);
        let is_in_the_sockets = !is_closed(&kept);
        send(&mut user, &packets, 2, &two);
        let is_dropped = is_closed(&kept);
        user.send(&[3]).unwrap();
        send(&mut user, &packets, 4, &two);
        let mut came: Vec<u8> = std::iter::from_fn(|| next(&mut user, &packets, Limit::NOW)).collect();
        assert!(!has_token || came.remove(0) == 0, "{came:?} after {steps} instructions");
        assert!(came == [2, 3, 4] || came == [1, 2, 3, 4], "{came:?} after {steps} instructions");
        assert!(has_token || is_dropped || came.len() == 4, "the next sender left it after {steps} instructions");
        untold += usize::from(is_in_the_sockets && came.len() == 3);
        sent += usize::from(came.len() == 4);
        assert!(ring.is_empty().unwrap() && ring.blocked_by().unwrap().is_none());
        assert!(is_closed(&kept), "its descriptor is open after {steps} instructions");
        assert_eq!(packets.clear().unwrap(), 0);
        if !stands {
            let met_all = steps > 100 && sent > 1 && untold > 0;
            assert!(met_all || !harness::tries_all_places(), "{sent} had sent, {untold} packets without a token");
            return;
        }
    }
}

/// The killed receiver takes at most the first of two packets. The second comes to another receiver, after the message
/// before it.
fn receiver_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    let (mut kept_by_death, mut lost) = (0, 0);
    for steps in (0..).step_by(harness::stride(397)) {
        let (ring, packets) = made();
        let mut user = ring.join().unwrap();
        let ((one, first), (two, second)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        send(&mut user, &packets, 1, &one);
        user.send(&[0]).unwrap();
        send(&mut user, &packets, 2, &two);
        drop((one, two));
        let begin = || (ring.join().unwrap(), [0; Packets::BUFFER]);
        let turn = |(mut user, mut bytes)| {
            next_into(&mut user, &packets, &mut bytes, LATE.into());
        };
        let Some(mut doomed) = standing_behind(begin, turn) else { return };
        let stands = go_on(&mut doomed, steps);
        if stands {
            end(doomed);
        }
        let came: Vec<u8> = std::iter::from_fn(|| next(&mut user, &packets, Limit::NOW)).collect();
        assert!(came == [1, 0, 2] || came == [0, 2], "{came:?} after {steps} instructions");
        kept_by_death += usize::from(came.len() == 3);
        lost += usize::from(came.len() == 2);
        assert!(is_closed(&first) && is_closed(&second), "after {steps} instructions");
        // A token without a packet is gone, and what follows finds its own.
        let (three, third) = UnixStream::pair().unwrap();
        send(&mut user, &packets, 3, &three);
        drop(three);
        assert_eq!(next(&mut user, &packets, Limit::NOW), Some(3), "after {steps} instructions");
        assert!(is_closed(&third) && ring.is_empty().unwrap());
        if !stands {
            let met_both = kept_by_death > 0 && lost > 1;
            assert!(met_both || !harness::tries_all_places(), "no deaths on both sides of the receipt");
            return;
        }
    }
}

/// A receiver that is stopped anywhere keeps no message from the others, and no call beyond its limit. If it dies
/// there, the rest arrives.
fn receivers_go_on_beside_a_receiver() {
    if !deaths_are_seen() {
        return;
    }
    let mut kept_from = 0;
    for steps in (0..).step_by(harness::stride(701)) {
        let (ring, packets) = made();
        let mut user = ring.join().unwrap();
        let (one, _kept) = UnixStream::pair().unwrap();
        send(&mut user, &packets, 1, &one);
        user.send(&[2]).unwrap();
        let begin = || (ring.join().unwrap(), [0; Packets::BUFFER]);
        let turn = |(mut user, mut bytes)| {
            next_into(&mut user, &packets, &mut bytes, LATE.into());
        };
        let Some(mut stopped) = standing_behind(begin, turn) else { return };
        let stands = go_on(&mut stopped, steps);
        let mut came: Vec<u8> = std::iter::from_fn(|| next(&mut user, &packets, Limit::NOW)).collect();
        assert!(came.ends_with(&[2]), "{came:?} after {steps} instructions");
        if ring.len().unwrap() > 0 {
            kept_from += 1;
            assert_eq!(next(&mut user, &packets, Duration::from_millis(5).into()), None);
            ring.close(); // and nobody waits longer at the end
            assert_eq!(next(&mut user, &packets, Duration::from_millis(5).into()), None);
        }
        if stands {
            end(stopped);
        }
        while let Ok(Some(number)) = next_or_closed(&mut user, &packets) {
            came.push(number);
        }
        came.sort_unstable();
        assert!(came == [1, 2] || came == [2], "{came:?} after {steps} instructions");
        if !stands {
            assert!(kept_from > 0 || !harness::tries_all_places(), "no stop met the receiver between its steps");
            return;
        }
    }
}

/// A sender that is stopped anywhere keeps no receiver from the messages of others, and no other sender beyond its
/// limit.
fn receivers_go_on_beside_a_sender() {
    if !deaths_are_seen() {
        return;
    }
    let mut refused = 0;
    for steps in (0..).step_by(harness::stride(701)) {
        let (ring, packets) = made();
        let (one, _kept) = UnixStream::pair().unwrap();
        let begin = || ring.join().unwrap();
        let Some(mut stopped) = standing_behind(begin, |mut user| send(&mut user, &packets, 1, &one)) else { return };
        let stands = go_on(&mut stopped, steps);
        let mut user = ring.join().unwrap();
        assert!(user.send_timeout(&[2], Duration::from_millis(5)).unwrap());
        let sent = user.send_packet(&packets, &[3], &[one.as_fd()], 0, Duration::from_millis(5)).unwrap();
        refused += usize::from(!sent);
        let came: Vec<u8> = std::iter::from_fn(|| next(&mut user, &packets, Limit::NOW)).collect();
        let mut others = came.clone();
        others.retain(|number| *number != 1);
        assert_eq!(others, if sent { vec![2, 3] } else { vec![2] }, "after {steps} instructions");
        if !stands {
            assert!(refused > 0 || !harness::tries_all_places(), "no stop met the sender with the lock");
            return;
        }
        end(stopped);
    }
}

/// Packets of senders that died before they published fill the sockets, and no receiver ever takes them.
fn packets_without_tokens_make_room() {
    let (ring, packets) = made();
    let (one, kept) = UnixStream::pair().unwrap();
    let near = Socket::try_from(duplicate(packets.ends()[0]).unwrap()).unwrap();
    let mut count = 0;
    while near.send_with(&[0; 9], &[one.as_fd()], Deadline::NOW).unwrap().is_some() {
        count += 1;
    }
    drop(one);
    let mut user = ring.join().unwrap();
    let (two, _) = UnixStream::pair().unwrap();
    assert!(count > 5 && user.send_packet(&packets, &[2], &[two.as_fd()], 0, Limit::NOW).unwrap());
    assert!(is_closed(&kept), "their descriptors are closed");
    assert_eq!(next(&mut user, &packets, Limit::NOW), Some(2));
    // A token that is ready holds them; whoever receives its packet drops those before.
    while near.send_with(&[0; 9], &[], Deadline::NOW).unwrap().is_some() {}
    packets.clear().unwrap();
    near.send_with(&[0; 9], &[], Deadline::NOW).unwrap();
    user.send_packet(&packets, &[3], &[two.as_fd()], 0, Limit::NOW).unwrap();
    assert_eq!(next(&mut user, &packets, Limit::NOW), Some(3));
    assert_eq!(packets.clear().unwrap(), 0);
}

/// No participant receives here, so only the sender that drops the packets of dead senders can report the room.
fn dropped_packets_wake() {
    let (ring, packets) = made();
    let near = Socket::try_from(duplicate(packets.ends()[0]).unwrap()).unwrap();
    while near.send_with(&[0; 9], &[], Deadline::NOW).unwrap().is_some() {}
    let mut waiter = fork(|| {
        let mut user = ring.join().unwrap();
        u8::from(!user.wait_for_packets(&packets, LATE).unwrap())
    })
    .unwrap();
    // The wait begins with a moment of a millisecond.
    let began = Instant::now();
    until("the waiter sleeps", || began.elapsed() > Duration::from_millis(30) && asleep(&waiter));
    let mut user = ring.join().unwrap();
    assert!(user.send_packet(&packets, &[2], &[], 0, Limit::NOW).unwrap());
    assert_eq!(waiter.wait_timeout(LATE / 2).unwrap(), Some(ExitStatus::Code(0)));
}

fn packets_wait_for_room() {
    let (ring, packets) = made();
    let mut user = ring.join().unwrap();
    let (one, kept) = UnixStream::pair().unwrap();
    let mut count = 0;
    while user.send_packet(&packets, &[1], &[one.as_fd()], 0, Limit::NOW).unwrap() {
        count += 1;
    }
    assert!(count > 50, "{count}");
    let began = Instant::now();
    assert!(!user.send_packet(&packets, &[1], &[one.as_fd()], 0, Duration::from_millis(20)).unwrap());
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert_eq!(ring.len().unwrap(), count, "what was not sent has no record");
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut user = ring.join().unwrap();
            user.send_packet(&packets, &[2], &[one.as_fd()], 0, LATE).unwrap()
        });
        let mut last = 0;
        for _ in 0..=count {
            last = next(&mut user, &packets, LATE.into()).expect("the sender goes on");
        }
        assert_eq!(last, 2);
        assert!(sender.join().unwrap());
    });
    user.send_packet(&packets, &[1], &[one.as_fd()], 0, Limit::NOW).unwrap();
    ring.close();
    assert_eq!(user.send_packet(&packets, &[1], &[one.as_fd()], 0, LATE), Err(RingError::Closed));
    assert_eq!(packets.clear().unwrap(), 1);
    assert_eq!(next_or_closed(&mut user, &packets), Err(RingError::Closed), "a token without a packet is nothing");
    drop(one);
    assert!(is_closed(&kept));
}

/// The only receiver is killed while it receives a packet, and nobody sleeps. Then the sockets become full. No thread
/// joins the ring after the death, because a thread that joins completes what the dead one left.
fn sender_sleeps_beside_a_dead_receiver() {
    if !deaths_are_seen() {
        return;
    }
    for steps in (0..).step_by(harness::stride(139)) {
        let (ring, packets) = made();
        let mut user = ring.join().unwrap();
        let (one, _kept) = UnixStream::pair().unwrap();
        send(&mut user, &packets, 1, &one);
        let begin = || (ring.join().unwrap(), [0; Packets::BUFFER]);
        let turn = |(mut user, mut bytes)| {
            next_into(&mut user, &packets, &mut bytes, LATE.into());
        };
        let Some(mut doomed) = standing_behind(begin, turn) else { return };
        let begin = || ring.join().unwrap();
        let Some(mut sender) = standing_behind(begin, |mut user| send(&mut user, &packets, 3, &one)) else { return };
        let stands = go_on(&mut doomed, steps);
        let is_receiving = stands && next(&mut user, &packets, Limit::NOW).is_none() && ring.len().unwrap() > 0;
        if stands {
            end(doomed);
        }
        if is_receiving {
            while user.send_packet(&packets, &[2], &[one.as_fd()], 0, Limit::NOW).unwrap() {}
            ptrace::resume(&sender).unwrap();
            until("the sender sleeps", || asleep(&sender));
            while next(&mut user, &packets, Limit::NOW) != Some(3) {}
            assert_eq!(sender.wait_timeout(LATE).unwrap(), Some(ExitStatus::Code(0)));
            return;
        }
        end(sender);
        if !stands {
            assert!(!harness::tries_all_places(), "no stop met the receiver between its steps");
            return;
        }
    }
}

fn next_or_closed(user: &mut Participant<&Ring>, packets: &Packets) -> Result<Option<u8>, RingError> {
    let mut bytes = [0; Packets::BUFFER];
    let received = user.recv_packet(packets, &mut bytes, &mut None, Limit::NOW);
    received.map(|delivery| delivery.map(|_| bytes[0]))
}
