//! A ring whose participants are killed or stopped.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature_sys::futex::Limit;
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{Child, ExitStatus, Signal, fork};
use ossature_sys::shm::Shm;
use ossature_sys::sync::ring::{Participant, Readiness, Ring};

use crate::barrier::deaths_are_seen;
use crate::handover::{asleep, until};
use crate::harness::{Test, begin_anew, stride};
use crate::still::{end, go_on, standing};

pub const TESTS: &[Test] = &[
    ("ring_goes_between_processes", ring_goes_between_processes),
    ("message_of_a_sender_killed_at_any_instruction_is_received_or_was_not_sent", sender_is_killed),
    ("message_of_a_receiver_killed_at_any_instruction_goes_to_another", receiver_is_killed),
    ("room_of_a_record_whose_writer_was_killed_is_given_to_who_waits", writer_is_killed),
    ("message_that_was_read_in_place_is_lost_with_its_reader", reader_is_killed),
    ("ring_goes_on_past_a_stopped_writer_and_names_it", writer_is_stopped),
    ("ring_calls_keep_their_limit_beside_one_that_stands_still", calls_keep_their_limit),
    ("numbers_of_the_dead_are_used_again", numbers_of_the_dead_are_used_again),
    ("forked_child_sends_as_itself", forked_child_sends_as_itself),
    ("fork_is_refused_beside_a_record_in_place", fork_is_refused_beside_a_record),
    ("death_that_the_kernel_did_not_report_is_found_when_asked", unreported_death_is_found),
    ("descriptor_is_readable_after_a_sender_was_killed_at_any_instruction", watched_sender_is_killed),
    ("descriptor_is_readable_after_a_receiver_was_killed_at_any_instruction", watched_receiver_is_killed),
    ("descriptor_is_readable_after_a_closer_was_killed_at_any_instruction", watched_closer_is_killed),
    ("ring_goes_on_after_one_was_killed_while_giving_memory_back", trimmer_is_killed),
    ("forked_child_has_a_descriptor_of_its_own", forked_child_has_a_descriptor_of_its_own),
];

const SMALL: usize = 64 << 10;
const LATE: Duration = Duration::from_secs(10);

fn ring() -> Ring {
    Ring::new(SMALL).unwrap()
}

fn next(user: &mut Participant<&Ring>) -> Option<u8> {
    user.read_timeout(Limit::NOW).unwrap().map(|message| message[0])
}

/// Starts a process that receives one message and exits with its first byte as code. On return it sleeps, or has a
/// message.
fn receiver(ring: &Ring) -> Child {
    let mut child = fork(|| {
        let mut bytes = [0; 2000];
        ring.join().unwrap().recv(&mut bytes).unwrap();
        bytes[0]
    })
    .unwrap();
    until("the receiver sleeps or has a message", || asleep(&child) || child.try_wait().unwrap().is_some());
    child
}

fn ended(child: &mut Child, within: Duration) -> Option<u8> {
    child.wait_timeout(within).unwrap().map(|status| status.code().expect("it ends by itself"))
}

fn ring_goes_between_processes() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let mut child = fork(|| {
        let mut user = ring.join().unwrap();
        for number in 0..1000_u32 {
            user.send(&number.to_ne_bytes()).unwrap();
        }
        0
    })
    .unwrap();
    let mut user = ring.join().unwrap();
    for number in 0..1000_u32 {
        let mut bytes = [0; 4];
        user.recv(&mut bytes).unwrap();
        assert_eq!(u32::from_ne_bytes(bytes), number);
    }
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

/// A receiver sleeps the whole time. A message that was sent wakes it, even if the sender could not.
fn sender_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    let (short, longer) = (&[1; 8][..], &[1; 100][..]);
    // The second time the message does not fit before the end of the memory, which becomes padding. Behind a whole lap
    // most messages are sent, and a short one lies beside its word.
    for (granules, message) in [(0, longer), (SMALL / 64 - 1, longer), (SMALL / 64, longer), (SMALL / 64, short)] {
        begin_anew();
        sender_behind_is_killed(granules, message);
    }
}

fn sender_behind_is_killed(granules: usize, message: &[u8]) {
    for steps in (0..).step_by(stride(17)) {
        let ring = ring();
        {
            let mut user = ring.join().unwrap();
            for _ in 0..granules {
                user.send(&[0]).unwrap();
                assert_eq!(next(&mut user), Some(0));
            }
        }
        let mut sleeper = receiver(&ring);
        let Some(mut doomed) = standing(|| {
            let mut user = ring.join().unwrap();
            user.send(message).unwrap();
        }) else {
            return end(sleeper);
        };
        let stands = go_on(&mut doomed, steps);
        if stands {
            end(doomed);
        }
        let mut user = ring.join().unwrap();
        if ring.len().unwrap() == 0 && ended(&mut sleeper, Duration::ZERO).is_none() {
            // It was not sent, or the sleeper is about to have it.
            user.send(&[2]).unwrap();
        }
        let got = ended(&mut sleeper, LATE);
        if got.is_none() {
            end(sleeper);
        }
        assert!(matches!(got, Some(1 | 2)), "{got:?} after {steps} instructions");
        assert!(ring.blocked_by().unwrap().is_none(), "after {steps} instructions");
        if !stands {
            assert!(steps > 100, "there was something to do");
            return;
        }
    }
}

/// The length of a message that is too long to be received in one step.
const LONG: usize = 1100;

/// The stride of a receiver of a long message. On 32-bit x86 each byte is copied alone, in eleven
/// instructions.
fn long_stride(usual: usize) -> usize {
    stride(if cfg!(target_arch = "x86") { 409 } else { usual })
}

/// Another receiver sleeps from the time when the first has taken the message.
fn receiver_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    // A short message is taken and given back at once, beside its word or not; a long one is copied in between.
    for message in [&[1; 1][..], &[1; 100], &[1; LONG]] {
        begin_anew();
        receiver_of_is_killed(message);
    }
}

fn receiver_of_is_killed(message: &[u8]) {
    let mut copied = 0;
    let stride = if message.len() < LONG { stride(17) } else { long_stride(17) };
    for steps in (0..).step_by(stride) {
        let (ring, has_it) = (ring(), Shm::place(AtomicU32::new(0)).unwrap());
        let mut user = ring.join().unwrap();
        user.send(message).unwrap();
        let Some(mut doomed) = standing(|| {
            let mut user = ring.join().unwrap();
            user.recv(&mut [0; LONG]).unwrap();
            has_it.store(1, SeqCst);
        }) else {
            return;
        };
        let stands = go_on(&mut doomed, steps);
        let mut second = receiver(&ring);
        // The record is the first one's: it has taken the message, and has not given the record back.
        let copies = ring.blocked_by().unwrap().is_some();
        copied += u32::from(copies);
        if stands {
            end(doomed);
        }
        let mut got = None;
        until("the second has it, or nobody can", || {
            got = ended(&mut second, Duration::ZERO);
            got.is_some() || ring.is_empty().unwrap() && asleep(&second)
        });
        assert!(got.is_none() || has_it.load(SeqCst) == 0, "received twice, after {steps} instructions");
        assert!(got.is_some() || !copies, "lost while it was copied, after {steps} instructions");
        if got.is_none() {
            user.send(&[2]).unwrap();
            assert_eq!(ended(&mut second, LATE), Some(2), "after {steps} instructions");
        }
        if !stands {
            assert!(steps > 100, "there was something to do");
            assert_eq!(copied > 0, message.len() == LONG, "whether a death met a message that was copied");
            return;
        }
    }
}

/// Starts a process that runs `body` and then sleeps until it is killed.
fn sleeping_after(body: impl FnOnce()) -> Child {
    let ready = Shm::place(AtomicU32::new(0)).unwrap();
    let child = fork(|| {
        body();
        ready.store(1, SeqCst);
        loop {
            let _ = poll(&mut [], Duration::from_secs(60));
        }
    })
    .unwrap();
    until("it has come far enough", || ready.load(SeqCst) == 1);
    child
}

fn writer_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let writer = sleeping_after(|| {
        let mut user = ring.join().unwrap();
        std::mem::forget(user.reserve(1000).unwrap());
        std::mem::forget(user);
    });
    let mut user = ring.join().unwrap();
    while user.send_timeout(&[7; 1000], Limit::NOW).unwrap() {}
    while next(&mut user).is_some() {}
    // All is read; but what stands before it is the writer's.
    assert!(!user.send_timeout(&[7; 1000], Limit::NOW).unwrap());
    assert_eq!(ring.blocked_by().unwrap().unwrap().0, writer.pid());
    let mut sleeper = fork(|| {
        ring.join().unwrap().send(&[9; 1000]).unwrap();
        9
    })
    .unwrap();
    until("the sender sleeps", || asleep(&sleeper));
    end(writer);
    assert_eq!(ended(&mut sleeper, LATE), Some(9));
    assert_eq!(next(&mut user), Some(9));
}

fn reader_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let mut user = ring.join().unwrap();
    user.send(&[1]).unwrap();
    user.send(&[2]).unwrap();
    end(sleeping_after(|| {
        let mut user = ring.join().unwrap();
        std::mem::forget(user.read().unwrap());
        std::mem::forget(user);
    }));
    assert_eq!([next(&mut user), next(&mut user)], [Some(2), None]);
    assert!(ring.blocked_by().unwrap().is_none());
}

fn writer_is_stopped() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let writer = sleeping_after(|| {
        let mut user = ring.join().unwrap();
        std::mem::forget(user.reserve(64).unwrap());
        std::mem::forget(user);
    });
    writer.signal(Signal::STOP).unwrap();
    let mut user = ring.join().unwrap();
    // As many as there is room for, less the record and what padding takes.
    for number in 0..900_u32 {
        user.send(&[number as u8]).unwrap();
        assert_eq!(next(&mut user), Some(number as u8));
    }
    while user.send_timeout(&[7; 64], Limit::NOW).unwrap() {}
    let (process, thread) = ring.blocked_by().unwrap().unwrap();
    assert_eq!((process, thread), (writer.pid(), writer.pid()));
    end(writer);
    assert!(user.send_timeout(&[7; 64], Limit::NOW).unwrap());
}

fn calls_keep_their_limit() {
    if !deaths_are_seen() {
        return;
    }
    for steps in (0..).step_by(stride(41)) {
        let (ring, go) = (ring(), Shm::place(AtomicU32::new(0)).unwrap());
        ring.join().unwrap().send(&[1]).unwrap();
        let mut other = fork(|| {
            let mut user = ring.join().unwrap();
            go.store(1, SeqCst);
            while go.load(SeqCst) == 1 {
                std::thread::yield_now();
            }
            let limit = Duration::from_millis(5);
            let sent = user.send_timeout(&[2], limit).unwrap();
            while user.recv_timeout(&mut [0; 64], limit).unwrap().is_some() {}
            let joined = ring.join_timeout(limit).map(|user| user.is_some());
            u8::from(!sent || joined.is_err())
        })
        .unwrap();
        until("the other one has joined", || go.load(SeqCst) == 1);
        let Some(mut still) = standing(|| {
            let mut user = ring.join().unwrap();
            user.recv(&mut [0; 64]).unwrap();
            user.send(&[3]).unwrap();
            drop(user.reserve(100).unwrap());
            drop(user.read().unwrap());
        }) else {
            return end(other);
        };
        let stands = go_on(&mut still, steps);
        go.store(2, SeqCst);
        let got = ended(&mut other, LATE);
        if stands {
            end(still);
        }
        if got.is_none() {
            end(other);
        }
        assert_eq!(got, Some(0), "beside one that stood still after {steps} instructions");
        if !stands {
            assert!(steps > 100, "there was something to do");
            return;
        }
    }
}

fn numbers_of_the_dead_are_used_again() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    for round in 0..300_u32 {
        let mut child = fork(|| {
            let mut user = ring.join().unwrap();
            match round % 3 {
                0 => std::mem::forget(user.reserve(100).unwrap()),
                1 => user.send(&[1; 100]).unwrap(),
                _ => drop(user.read_timeout(Limit::NOW).unwrap()),
            }
            ossature_sys::signal::raise(Signal::KILL).unwrap();
            0
        })
        .unwrap();
        child.wait().unwrap();
    }
    let mut user = ring.join().unwrap();
    while next(&mut user).is_some() {}
    assert!(format!("{user:?}").contains("number: 1,"), "{user:?}");
    assert!(ring.blocked_by().unwrap().is_none());
}

fn forked_child_sends_as_itself() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let mut user = ring.join().unwrap();
    let mut child = fork(|| {
        user.send(&[1]).unwrap();
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    user.send(&[2]).unwrap();
    assert_eq!([next(&mut user), next(&mut user)], [Some(1), Some(2)]);
}

fn fork_is_refused_beside_a_record() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let mut user = ring.join().unwrap();
    let record = user.reserve(10).unwrap();
    assert!(fork(|| 0).is_err(), "the child would have the same bytes to write");
    record.publish().unwrap();
    let message = user.read().unwrap();
    assert!(fork(|| 0).is_err());
    drop(message);
    assert_eq!(fork(|| 0).unwrap().wait(), Ok(ExitStatus::Code(0)));
}

/// The kernel never marks the lease of a thread whose list it does not know.
fn unreported_death_is_found() {
    if !deaths_are_seen() {
        return;
    }
    let ring = ring();
    let mut child = fork(|| {
        let mut user = ring.join().unwrap();
        std::mem::forget(user.reserve(64).unwrap());
        std::mem::forget(user);
        // SAFETY: the kernel forgets the list of this thread, which ends at once.
        unsafe {
            libc::syscall(libc::SYS_set_robust_list, core::ptr::null::<u8>().wrapping_add(8), 3 * size_of::<usize>())
        };
        ossature_sys::signal::raise(Signal::KILL).unwrap();
        0
    })
    .unwrap();
    child.wait().unwrap();
    assert!(ring.blocked_by().unwrap().is_some(), "nobody knows of the death");
    assert_eq!(ring.reclaim_lost(), Ok(1));
    assert!(ring.blocked_by().unwrap().is_none());
}

fn is_readable(readiness: &Readiness<&Ring>, within: Duration) -> bool {
    poll(&mut [PollFd::new(readiness, PollFlags::IN)], within).unwrap() == 1
}

/// No participant sleeps beside the ring, so only the dead sender itself can have made the descriptor readable.
fn watched_sender_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    let mut sent = 0;
    for steps in (0..).step_by(stride(37)) {
        let ring = Ring::pollable(SMALL).unwrap();
        let readiness = Readiness::new(&ring).unwrap();
        assert_eq!(readiness.clear(), Ok(true));
        let Some(mut doomed) = standing(|| {
            let mut user = ring.join().unwrap();
            user.send(&[1]).unwrap();
        }) else {
            return;
        };
        let stands = go_on(&mut doomed, steps);
        // A clearing in between, which the sender has to notice.
        let unread = ring.len().unwrap();
        assert!(unread == 0 || is_readable(&readiness, Duration::ZERO), "after {steps} instructions");
        assert_eq!(readiness.clear(), Ok(unread == 0));
        let stands = stands && go_on(&mut doomed, 7 + steps % 90);
        if stands {
            end(doomed);
        }
        let unread = ring.len().unwrap();
        sent += u32::from(stands && unread > 0);
        assert!(unread == 0 || is_readable(&readiness, Duration::ZERO), "missed after {steps} instructions");
        assert_eq!(readiness.clear(), Ok(unread == 0));
        ring.join().unwrap().send(&[2]).unwrap();
        assert!(is_readable(&readiness, Duration::ZERO), "a later message is missed after {steps} instructions");
        if !stands {
            assert!(steps > 100 && sent > 0, "there was something to do");
            return;
        }
    }
}

fn watched_receiver_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    for steps in (0..).step_by(long_stride(61)) {
        let ring = Ring::pollable(SMALL).unwrap();
        let readiness = Readiness::new(&ring).unwrap();
        ring.join().unwrap().send(&[1; LONG]).unwrap();
        let Some(mut doomed) = standing(|| {
            let mut user = ring.join().unwrap();
            user.recv(&mut [0; LONG]).unwrap();
        }) else {
            return;
        };
        let stands = go_on(&mut doomed, steps);
        // While the message is copied, it is nobody else's: the descriptor becomes unreadable for a while.
        let _ = readiness.clear().unwrap();
        if stands {
            end(doomed);
        }
        // SplitWord copied it counts as unread, and is there again when it is looked for.
        if ring.len().unwrap() > 0 {
            assert!(is_readable(&readiness, LATE), "missed after {steps} instructions");
            assert_eq!(readiness.clear(), Ok(false), "after {steps} instructions");
            assert_eq!(next(&mut ring.join().unwrap()), Some(1));
        }
        if !stands {
            assert!(steps > 100, "there was something to do");
            return;
        }
    }
}

fn watched_closer_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    // Each call asks for the planned faults: a closing is 300 instructions without them, and 1800 with them.
    for steps in (0..).step_by(stride(if cfg!(ossature_faults) { 17 } else { 1 })) {
        let ring = Ring::pollable(SMALL).unwrap();
        let readiness = Readiness::new(&ring).unwrap();
        assert_eq!(readiness.clear(), Ok(true));
        let Some(mut doomed) = standing(|| ring.close()) else { return };
        let stands = go_on(&mut doomed, steps);
        assert!(!ring.is_closed() || is_readable(&readiness, Duration::ZERO), "after {steps} instructions");
        let cleared = readiness.clear().unwrap();
        assert_ne!(cleared, ring.is_closed(), "after {steps} instructions");
        let stands = stands && go_on(&mut doomed, 1 + steps % 40);
        if stands {
            end(doomed);
        }
        assert!(!ring.is_closed() || is_readable(&readiness, Duration::ZERO), "missed after {steps} instructions");
        if !stands {
            assert!(steps > 20, "there was something to do");
            return;
        }
    }
}

fn forked_child_has_a_descriptor_of_its_own() {
    if !deaths_are_seen() {
        return;
    }
    let ring = Ring::pollable(SMALL).unwrap();
    let readiness = Readiness::new(&ring).unwrap();
    ring.join().unwrap().send(&[1]).unwrap();
    let mut child = fork(|| {
        let own = Readiness::new(&ring).unwrap();
        let mut user = ring.join().unwrap();
        let readable = is_readable(&own, Duration::ZERO);
        assert_eq!(next(&mut user), Some(1));
        // The parent's cannot be cleared here.
        assert_eq!([own.clear(), readiness.clear()], [Ok(true); 2]);
        u8::from(!readable || is_readable(&own, Duration::ZERO) || !is_readable(&readiness, Duration::ZERO))
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert!(is_readable(&readiness, Duration::ZERO) && readiness.clear() == Ok(true));
}

fn trimmer_is_killed() {
    if !deaths_are_seen() {
        return;
    }
    for steps in (0..).step_by(stride(97)) {
        let ring = Ring::new(2 << 20).unwrap();
        let mut user = ring.join().unwrap();
        let fill = |user: &mut Participant<&Ring>| {
            (0..).take_while(|_| user.send_timeout(&[7; 8000], Limit::NOW).unwrap()).count()
        };
        let all = fill(&mut user);
        while next(&mut user).is_some() {}
        let Some(mut doomed) = standing(|| {
            ring.join().unwrap().trim().unwrap();
        }) else {
            return;
        };
        let stands = go_on(&mut doomed, steps);
        // The others have the room of what is kept, and what they send there is not given back.
        for _ in 0..3 {
            assert!(user.send_timeout(&[8; 5000], Limit::NOW).unwrap(), "no room after {steps} instructions");
        }
        if stands && go_on(&mut doomed, 60 + steps % 700) {
            end(doomed);
        }
        for _ in 0..3 {
            let message = user.read_timeout(Limit::NOW).unwrap().unwrap();
            assert!(message.iter().all(|&byte| byte == 8), "given back after {steps} instructions");
        }
        assert_eq!(next(&mut user), None);
        let again = fill(&mut user);
        assert!(again + 1 >= all, "{again} instead of {all} after {steps} instructions");
        for _ in 0..again {
            assert!(user.read_timeout(Limit::NOW).unwrap().unwrap().iter().all(|&byte| byte == 7));
        }
        assert!(ring.blocked_by().unwrap().is_none());
        if !stands {
            assert!(steps > 100, "there was something to do");
            return;
        }
    }
}
