//! Calls beside a participant that is stopped at any instruction. A call with a limit ends in time, and a call that may
//! not sleep does not sleep.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ossature_sys::errno::Errno;
use ossature_sys::futex::Limit;
use ossature_sys::process::{Child, ExitStatus, Signal, fork};
use ossature_sys::ptrace::{self, State};
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::{Shareable, Shm};
use ossature_sys::sync::barrier::Barrier;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::event::Event;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::ring::{Participant, Ring};
use ossature_sys::sync::rwlock::RwLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::barrier::deaths_are_seen;
use crate::handover::until;
use crate::harness::{self, Test};

pub const TESTS: &[Test] = &[
    ("wait_at_a_barrier_keeps_its_limit_beside_a_party_that_stands_still", waits_keep_their_limit),
    ("party_inside_leaves_in_time_beside_one_that_stands_still", party_inside_leaves_in_time),
    ("actor_at_a_barrier_ends_beside_one_that_stands_still", actor_ends_beside_one_that_stands_still),
    ("permit_keeps_its_limit_beside_a_taker_that_stands_still", permit_keeps_its_limit),
    ("bare_unit_keeps_its_limit_beside_a_mover_that_stands_still", bare_unit_keeps_its_limit),
    ("forgetting_keeps_its_limit_beside_a_mover_that_stands_still", forgetting_keeps_its_limit),
    ("lock_keeps_its_limit_beside_a_holder_that_stands_still", lock_keeps_its_limit),
    ("event_keeps_its_limit_beside_a_setter_that_stands_still", event_keeps_its_limit),
    ("handoff_lock_keeps_its_limit_beside_a_taker_that_stands_still", handoff_lock_keeps_its_limit),
    ("rwlock_keeps_its_limit_beside_one_that_stands_still", rwlock_keeps_its_limit),
    ("condition_keeps_its_limit_beside_one_that_stands_still", condition_keeps_its_limit),
    ("waiter_whose_generation_came_round_finds_the_unit", waiter_whose_generation_came_round_finds_the_unit),
    ("sender_that_stands_still_for_several_laps_sends_its_message_once", sender_stands_still_for_laps),
    ("sender_that_stands_still_while_memory_is_given_back_sends_its_message", sender_stands_still_beside_a_trim),
    ("memory_that_is_found_while_memory_is_given_back_is_there", memory_is_found_beside_a_trim),
];

const PATIENCE: Duration = Duration::from_secs(20);
/// The limit of the calls beside the stopped participant.
const LIMIT: Duration = Duration::from_millis(5);
/// A time limit: a process that has not ended by then is waiting for the stopped participant.
const LATE: Duration = Duration::from_secs(10);

/// Starts a child that is stopped before `turn`. Returns `None`, and prints a note, if the processor cannot
/// single-step.
pub fn standing(turn: impl FnOnce()) -> Option<Child> {
    standing_behind(|| {}, |()| turn())
}

/// Like [`standing`], but the child is stopped after `begin` and before `turn`.
pub fn standing_behind<S>(begin: impl FnOnce() -> S, turn: impl FnOnce(S)) -> Option<Child> {
    let mut child = fork(|| {
        let begun = begin();
        ptrace::stop_for_tracer().unwrap();
        turn(begun);
        0
    })
    .unwrap();
    assert_eq!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(Signal::STOP.as_raw()))));
    if ptrace::single_step(&child) == Err(Errno::IO) {
        println!("SKIPPED: this processor does not step");
        end(child);
        return None;
    }
    assert!(matches!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(_)))));
    Some(child)
}

/// Lets the child run `steps` instructions. Returns false if it ended before.
pub fn go_on(child: &mut Child, steps: usize) -> bool {
    (0..steps).all(|_| {
        ptrace::single_step(child).unwrap();
        matches!(ptrace::wait(child, PATIENCE), Ok(Some(State::Stopped(_))))
    })
}

/// Lets the child run, and checks that it ends well and in time.
fn goes_on_to_its_end(mut child: Child, which: &str) {
    ptrace::resume(&child).unwrap();
    let ended = child.wait_timeout(LATE).unwrap();
    if ended.is_none() {
        end(child);
    }
    assert_eq!(ended, Some(ExitStatus::Code(0)), "{which}");
}

pub fn end(mut child: Child) {
    let _ = child.kill();
    child.wait().unwrap();
}

/// Stops a child after 0, `stride`, ... instructions of `turn`, each time with a new `place`, while another child runs
/// `others`, which must end in time. The other child begins when the first is stopped. Or it begins earlier, and
/// `ready` returns whether it has come far enough.
fn beside_one_that_stands_still<T: Shareable>(
    stride: usize,
    place: impl Fn() -> Shm<T>,
    turn: impl Fn(&T),
    others: impl Fn(&T),
    ready: Option<fn(&T) -> bool>,
) {
    for steps in (0..).step_by(harness::stride(stride)) {
        let object = place();
        let begin = || {
            let body = || {
                others(&object);
                0
            };
            fork(body).unwrap()
        };
        let mut other = ready.map(|ready| {
            let other = begin();
            until("the other one has come", || ready(&object));
            other
        });
        let Some(mut still) = standing(|| turn(&object)) else {
            return other.into_iter().for_each(end);
        };
        let stands = go_on(&mut still, steps);
        let mut other = other.take().unwrap_or_else(begin);
        let ended = other.wait_timeout(LATE).unwrap();
        if stands {
            end(still);
        }
        if ended.is_none() {
            end(other);
        }
        assert_eq!(ended, Some(ExitStatus::Code(0)), "beside one that stood still after {steps} instructions");
        if !stands {
            assert!(steps > 20, "there was something to do");
            return;
        }
    }
}

/// The number of times that this thread has slept.
fn sleeps() -> i64 {
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the place is valid for writes of what the call writes.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) }, 0);
    // SAFETY: the call has written it.
    unsafe { usage.assume_init() }.ru_nvcsw as i64
}

/// Makes a call that may not sleep, and checks that it has not slept.
fn awake<R>(body: impl FnOnce() -> R) -> R {
    let before = sleeps();
    let answer = body();
    assert_eq!(sleeps(), before, "it has slept");
    answer
}

fn barrier(parties: u32) -> impl Fn() -> Shm<Barrier<Shared>> {
    move || Shm::place(Barrier::shared(parties)).unwrap()
}

fn waits_keep_their_limit() {
    let turn = |barrier: &Barrier<Shared>| {
        // It does not look for others long, which would be many instructions of the same kind.
        let _ = barrier.wait_timeout(Limit::NOW);
        let _ = barrier.reset();
        drop(barrier.join());
    };
    let others = |barrier: &Barrier<Shared>| {
        let _ = barrier.wait_timeout(LIMIT).unwrap_err();
        let _ = awake(|| barrier.wait_timeout(Limit::NOW)).unwrap_err();
        drop(barrier.join_timeout(LIMIT).unwrap());
        awake(|| drop(barrier.join_timeout(Limit::NOW).unwrap()));
        barrier.reset_timeout(LIMIT).unwrap();
        awake(|| barrier.reset_timeout(Limit::NOW).unwrap());
        awake(|| barrier.abort());
        assert!(barrier.is_broken());
    };
    beside_one_that_stands_still(37, barrier(3), turn, others, None);
}

fn party_inside_leaves_in_time() {
    let turn = |barrier: &Barrier<Shared>| {
        let _ = barrier.wait();
    };
    let others = |barrier: &Barrier<Shared>| {
        // Whatever it is told, the barrier is that for all: it ends a cycle with everybody, or breaks.
        match barrier.wait_timeout(Duration::from_millis(60)) {
            Ok(number) => assert_eq!(number, 0),
            Err(_) => assert!(barrier.is_broken()),
        }
    };
    beside_one_that_stands_still(37, barrier(2), turn, others, Some(|barrier| barrier.waiting() == 1));
}

fn actor_ends_beside_one_that_stands_still() {
    let turn = |barrier: &Barrier<Shared>| {
        drop(barrier.join());
        let _ = barrier.reset();
    };
    let others = |barrier: &Barrier<Shared>| {
        let mut acted = false;
        let answer = barrier.wait_with_timeout(LIMIT, || acted = true);
        assert_eq!(answer.is_ok(), acted && !barrier.is_broken(), "{answer:?}");
        let limit = LIMIT;
        let panic = std::panic::AssertUnwindSafe(|| {
            barrier.wait_with_timeout(limit, || std::panic::resume_unwind(Box::new(5)))
        });
        let _ = std::panic::catch_unwind(panic);
        assert!(barrier.is_broken());
    };
    beside_one_that_stands_still(37, barrier(1), turn, others, None);
}

fn permit_keeps_its_limit() {
    let turn = |semaphore: &Semaphore<Shared>| drop(semaphore.permit());
    let others = |semaphore: &Semaphore<Shared>| {
        drop(awake(|| semaphore.try_permit()).unwrap());
        drop(semaphore.permit_timeout(LIMIT).unwrap());
        assert!(awake(|| semaphore.try_acquire()).unwrap(), "a bare unit is there at any instant");
    };
    beside_one_that_stands_still(11, || Shm::place(Semaphore::shared(5)).unwrap(), turn, others, None);
}

fn in_slots() -> Shm<Semaphore<Shared>> {
    let semaphore = Shm::place(Semaphore::shared(2)).unwrap();
    drop([semaphore.permit().unwrap(), semaphore.permit().unwrap()]);
    semaphore
}

fn bare_unit_keeps_its_limit() {
    let turn = |semaphore: &Semaphore<Shared>| {
        let _ = semaphore.acquire();
    };
    let others = |semaphore: &Semaphore<Shared>| {
        let _ = awake(|| semaphore.try_acquire()).unwrap();
        let _ = semaphore.acquire_timeout(LIMIT).unwrap();
        awake(|| semaphore.release(1)).unwrap();
    };
    beside_one_that_stands_still(11, in_slots, turn, others, None);
}

fn forgetting_keeps_its_limit() {
    let turn = |semaphore: &Semaphore<Shared>| {
        let _ = semaphore.acquire();
    };
    let others = |semaphore: &Semaphore<Shared>| {
        let Some(permit) = semaphore.permit_timeout(LIMIT).unwrap() else { return };
        if let Err(permit) = awake(|| permit.forget_timeout(Limit::NOW)) {
            if let Err(permit) = permit.forget_timeout(LIMIT) {
                awake(|| drop(permit));
            }
        }
    };
    beside_one_that_stands_still(11, in_slots, turn, others, None);
}

fn lock_keeps_its_limit() {
    let turn = |lock: &Lock<u32, Shared>| *lock.lock().unwrap() += 1;
    let others = |lock: &Lock<u32, Shared>| {
        drop(awake(|| lock.try_lock()).unwrap());
        drop(lock.lock_timeout(LIMIT).unwrap());
        let held = lock.lock_timeout(LIMIT).unwrap();
        let again = awake(|| lock.try_lock()).unwrap().is_none() && lock.lock_timeout(LIMIT).unwrap().is_none();
        assert!(again, "by its holder, if this is the one");
        drop(held);
    };
    beside_one_that_stands_still(11, || Shm::place(Lock::shared(0)).unwrap(), turn, others, None);
}

fn event_keeps_its_limit() {
    let turn = |event: &Event<Shared>| {
        event.set();
        event.clear();
        let _ = event.wait_timeout(Limit::NOW);
    };
    let others = |event: &Event<Shared>| {
        let _ = awake(|| event.wait_timeout(Limit::NOW)).unwrap();
        let _ = event.wait_timeout(LIMIT).unwrap();
        awake(|| event.set());
        awake(|| event.clear());
    };
    beside_one_that_stands_still(5, || Shm::place(Event::shared()).unwrap(), turn, others, None);
}

fn handoff_lock_keeps_its_limit() {
    let turn = |lock: &HandoffLock<Shared>| {
        let _ = lock.try_acquire();
        let _ = lock.release();
        let _ = lock.acquire();
    };
    let others = |lock: &HandoffLock<Shared>| {
        let _ = awake(|| lock.try_acquire()).unwrap();
        let _ = lock.acquire_timeout(LIMIT).unwrap();
        let _ = awake(|| lock.release());
    };
    beside_one_that_stands_still(5, || Shm::place(HandoffLock::shared()).unwrap(), turn, others, None);
}

fn rwlock_keeps_its_limit() {
    let turn = |lock: &RwLock<u32, Shared>| {
        drop(lock.read().unwrap());
        *lock.write().unwrap() += 1;
    };
    let others = |lock: &RwLock<u32, Shared>| {
        drop(awake(|| lock.try_read()).unwrap());
        drop(awake(|| lock.try_write()).unwrap());
        drop(lock.read_timeout(LIMIT).unwrap());
        drop(lock.write_timeout(LIMIT).unwrap());
        let reads = lock.read_timeout(LIMIT).unwrap();
        let refused = awake(|| lock.try_write()).unwrap().is_none() && lock.write_timeout(LIMIT).unwrap().is_none();
        assert!(refused || reads.is_none(), "beside its own share");
        drop(reads);
    };
    beside_one_that_stands_still(11, || Shm::place(RwLock::shared(0)).unwrap(), turn, others, None);
}

shareable! {
    struct Desk {
        lock: Lock<(), Shared>,
        condition: Condition<Shared>,
    }
}

fn condition_keeps_its_limit() {
    let turn = |desk: &Desk| {
        let held = desk.lock.lock().unwrap();
        drop(desk.condition.wait_timeout(held, Limit::NOW));
        desk.condition.notify_all();
    };
    let others = |desk: &Desk| {
        awake(|| desk.condition.notify_all());
        let Some(held) = desk.lock.lock_timeout(LIMIT).unwrap() else { return };
        let (held, _) = desk.condition.wait_timeout(held, LIMIT).unwrap();
        let (held, _) = awake(|| desk.condition.wait_timeout(held, Limit::NOW)).unwrap();
        drop(held);
    };
    let place = || Shm::place(Desk::init(Lock::shared(()), Condition::shared())).unwrap();
    beside_one_that_stands_still(31, place, turn, others, None);
}

/// A waiter is stopped before its sleep until the futex half has the value again that it saw, now with a unit there.
fn waiter_whose_generation_came_round_finds_the_unit() {
    let with_a_slot = || {
        let semaphore = Shm::place(Semaphore::shared(1)).unwrap();
        semaphore.permit().unwrap().forget();
        semaphore
    };
    for semaphore in [Shm::place(Semaphore::shared(0)).unwrap(), with_a_slot()] {
        // SAFETY: the state is the first field of what is `repr(C)`, made of atomics, and outlives this.
        let state = unsafe { &*core::ptr::from_ref::<Semaphore<Shared>>(&semaphore).cast::<AtomicU64>() };
        let Some(mut still) = standing(|| assert_eq!(semaphore.acquire_timeout(PATIENCE), Ok(true))) else { return };
        // Its bit is its last step before the sleep.
        while (state.load(SeqCst) >> 32) & 1 == 0 {
            assert!(go_on(&mut still, 1), "it waits");
        }
        state.fetch_add(1, SeqCst);
        ptrace::resume(&still).unwrap();
        let ended = still.wait_timeout(LATE).unwrap();
        if ended.is_none() {
            end(still);
        }
        assert_eq!((ended, semaphore.value()), (Some(ExitStatus::Code(0)), 0));
    }
}

/// The ring wraps around beside a sender that has read the words of an earlier lap.
fn sender_stands_still_for_laps() {
    const CAPACITY: usize = 64 << 10;
    if !deaths_are_seen() {
        return;
    }
    for steps in (0..).step_by(harness::stride(53)) {
        let ring = Ring::new(CAPACITY).unwrap();
        let mut user = ring.join().unwrap();
        let next = |user: &mut Participant<&Ring>| user.read_timeout(Limit::NOW).unwrap().map(|message| message[0]);
        let Some(mut late) = standing(|| ring.join().unwrap().send(&[1]).unwrap()) else { return };
        let stands = go_on(&mut late, steps);
        let (mut sent, mut came) = (0_u32, [0_u32; 3]);
        for _ in 0..3 * CAPACITY / 64 {
            // There is no room a lap behind a record that is in writing.
            sent += u32::from(user.send_timeout(&[2], Limit::NOW).unwrap());
            while let Some(number) = next(&mut user) {
                came[usize::from(number)] += 1;
            }
        }
        if stands {
            goes_on_to_its_end(late, &format!("stopped after {steps} instructions"));
        }
        while let Some(number) = next(&mut user) {
            came[usize::from(number)] += 1;
        }
        assert_eq!(came, [0, 1, sent], "after {steps} instructions");
        if !stands {
            assert!(steps > 100, "there was something to do");
            return;
        }
    }
}

/// The words of the memory that is given back are unused again, which is what the sender has seen.
fn sender_stands_still_beside_a_trim() {
    if !deaths_are_seen() {
        return;
    }
    for (trims, steps) in (0..).step_by(harness::stride(3)).enumerate() {
        let ring = Ring::new(2 << 20).unwrap();
        let mut user = ring.join().unwrap();
        // It ends behind what is kept. As it is unread, the sender does not begin the next lap.
        user.send(&[1; 1_200_000]).unwrap();
        let begin = || ring.join().unwrap();
        let Some(mut late) = standing_behind(begin, |mut user| user.send(&[2]).unwrap()) else { return };
        let stands = go_on(&mut late, steps);
        assert_eq!(user.read().unwrap()[0], 1);
        let is_given_back = user.trim().unwrap();
        if stands {
            goes_on_to_its_end(late, &format!("stopped after {steps} instructions"));
        }
        let came = user.read_timeout(Limit::NOW).unwrap().map(|message| message[0]);
        assert_eq!(came, Some(2), "after {steps} instructions");
        if !is_given_back {
            // It has reserved its record.
            assert!(steps > 100 && trims > 10, "{trims} times memory was given back, {steps} instructions");
            return;
        }
    }
}

/// The number of bytes of the ring's file that have memory.
fn allocated(ring: &Ring) -> usize {
    // SAFETY: the descriptor is asked for the file's size, and not kept.
    let memory = unsafe { ring.descriptor() };
    rustix::fs::fstat(memory).unwrap().st_blocks as usize * 512
}

/// Lets the child run until `come` returns true. Returns false if the child ended before.
fn go_until(child: &mut Child, come: impl Fn() -> bool) -> bool {
    while !come() {
        if !go_on(child, 1) {
            return false;
        }
    }
    true
}

/// A sender allocates memory between two steps of a participant that gives memory back, which ends or is killed
/// afterwards.
fn memory_is_found_beside_a_trim() {
    if !deaths_are_seen() {
        return;
    }
    for killed in [false, true] {
        let ring = Ring::new(16 << 20).unwrap();
        let long = vec![1; 4_000_000];
        let mut user = ring.join().unwrap();
        user.send(&long).unwrap();
        let backed = ring.backed();
        let before = allocated(&ring);
        let begin = || ring.join().unwrap();
        // There is no memory behind the first message. The sender is stopped when it has found some, before it says so.
        let send = |mut user: Participant<&Ring>| assert!(!user.send_timeout(&long, Limit::NOW).unwrap());
        let Some(mut sender) = standing_behind(begin, send) else { return };
        assert!(go_until(&mut sender, || allocated(&ring) > before), "it asks for memory");
        assert_eq!(user.read().unwrap().len(), long.len());
        let trim = |mut user: Participant<&Ring>| assert!(user.trim().unwrap());
        let Some(mut giver) = standing_behind(begin, trim) else { return end(sender) };
        assert!(go_until(&mut giver, || ring.backed() < backed), "it says what it gives back");
        goes_on_to_its_end(sender, "the sender");
        assert!(ring.backed() >= 2 * long.len(), "the sender has found memory");
        if killed {
            let full = allocated(&ring);
            assert!(go_until(&mut giver, || allocated(&ring) + long.len() / 2 < full), "it punches");
            end(giver);
            user.send(&[3]).unwrap();
            assert_eq!(user.read().unwrap()[0], 3, "which looks at what the dead one left");
        } else {
            goes_on_to_its_end(giver, "the one that gives back");
        }
        assert!(allocated(&ring) >= ring.backed(), "{} bytes have memory of {}", allocated(&ring), ring.backed());
        user.send(&long).unwrap();
        assert_eq!(user.read().unwrap().len(), long.len());
    }
}
