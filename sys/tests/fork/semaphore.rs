//! The semaphore between processes, after a death.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;

use ossature_sys::eventfd::EventFd;
use ossature_sys::futex::{Cancel, Limit};
use ossature_sys::process::{Child, ExitStatus, ForkError, fork};
use ossature_sys::ptrace::{self, State};
use ossature_sys::scope::{LockBackend, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::handover::{Conductor, PATIENCE, asleep, until};
use crate::harness::{self, Test};

pub const TESTS: &[Test] = &[
    ("semaphore_is_released_by_another_process", semaphore_is_released_by_another_process),
    ("killed_acquirer_loses_its_unit_and_no_other", killed_acquirer_loses_its_unit_and_no_other),
    ("killed_chosen_acquirer_leaves_the_unit_to_another", killed_chosen_acquirer_leaves_the_unit_to_another),
    ("killed_permit_holder_gives_its_unit_back_to_those_who_sleep", killed_permit_holder_gives_its_unit_back),
    ("killed_permit_holders_units_are_free_for_later", killed_permit_holders_units_are_free_for_later),
    ("killed_forgetful_holder_has_lost_its_unit", killed_forgetful_holder_has_lost_its_unit),
    ("killed_chosen_permit_taker_leaves_the_unit_to_another", killed_chosen_permit_taker_leaves_the_unit_to_another),
    ("kill_at_any_instant_keeps_a_permits_unit", kill_at_any_instant_keeps_a_permits_unit),
    ("kill_at_any_instant_of_a_forget_keeps_account", kill_at_any_instant_of_a_forget_keeps_account),
    ("kill_at_any_instant_of_a_bare_take_from_a_slot_keeps_account", kill_at_any_instant_of_a_bare_take),
    ("unit_that_comes_while_a_mover_is_stopped_is_taken", unit_that_comes_while_a_mover_is_stopped_is_taken),
    ("fork_refuses_while_a_permit_is_held", fork_refuses_while_a_permit_is_held),
    ("handoff_lock_is_released_by_another_process", handoff_lock_is_released_by_another_process),
];

fn place(value: u32) -> Shm<Semaphore<Shared>> {
    Shm::place(Semaphore::shared(value)).unwrap()
}

#[track_caller]
fn ends_well(child: &mut Child) {
    let end = child.wait_timeout(PATIENCE).unwrap();
    if end.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(end, Some(ExitStatus::Code(0)), "the child is not served");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(matches!(child.wait().unwrap(), ExitStatus::Signal { .. }));
}

/// Starts a child that runs `first`, reports it, and then waits to be killed.
fn child_after(first: impl FnOnce()) -> Child {
    let ready = EventFd::counter(0).unwrap();
    let child = fork(|| {
        first();
        ready.add(1, PATIENCE).unwrap();
        let _ = EventFd::counter(0).unwrap().take(None);
        0
    });
    assert_eq!(ready.take(PATIENCE), Ok(Some(1)));
    child.unwrap()
}

/// Starts a child that sleeps in `wait`.
fn sleeper(wait: impl FnOnce()) -> Child {
    let about = EventFd::counter(0).unwrap();
    let child = fork(|| {
        about.add(1, PATIENCE).unwrap();
        wait();
        0
    });
    let child = child.unwrap();
    assert_eq!(about.take(PATIENCE), Ok(Some(1)));
    until("a child sleeps", || asleep(&child));
    child
}

fn semaphore_is_released_by_another_process() {
    let semaphore = place(0);
    let mut waits = sleeper(|| semaphore.acquire().unwrap());
    let mut releases = fork(|| u8::from(semaphore.release(2).is_err())).unwrap();
    ends_well(&mut releases);
    ends_well(&mut waits);
    assert_eq!(semaphore.value(), 1);
}

fn killed_acquirer_loses_its_unit_and_no_other() {
    let semaphore = place(3);
    kill(child_after(|| semaphore.acquire().unwrap()));
    assert_eq!(semaphore.value(), 2);
    assert!(semaphore.try_acquire().unwrap() && semaphore.try_acquire().unwrap());
    assert!(!semaphore.try_acquire().unwrap());
}

/// Two processes sleep. A release chooses the first, which is killed before it can run.
fn killed_chosen_acquirer_leaves_the_unit_to_another() {
    let Some(conductor) = Conductor::new() else { return };
    for barge in [false, true] {
        let semaphore = place(0);
        let first = sleeper(|| semaphore.acquire().unwrap());
        let mut second = sleeper(|| semaphore.acquire().unwrap());
        conductor.conduct();
        semaphore.release(1).unwrap();
        if barge {
            assert!(semaphore.try_acquire().unwrap());
        }
        first.kill().unwrap();
        conductor.relax();
        kill(first);
        if barge {
            semaphore.release(1).unwrap();
        }
        ends_well(&mut second);
        assert_eq!(semaphore.value(), 0);
    }
}

/// Whether a permit's unit has an owner. It has none where the kernel hides the list, and then there is nothing to
/// test.
fn permits_have_owners() -> bool {
    let so = Shared::backend() == LockBackend::Node;
    if !so {
        println!("SKIPPED: permits have no owner here");
    }
    so
}

/// Three processes: one holds the only permit and is killed, two sleep.
fn killed_permit_holder_gives_its_unit_back() {
    if !permits_have_owners() {
        return;
    }
    let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
    let holder = child_after(|| core::mem::forget(semaphore.permit().unwrap()));
    let mut for_a_permit = sleeper(|| drop(semaphore.permit().unwrap()));
    let mut bare = sleeper(|| {
        semaphore.acquire().unwrap();
        semaphore.release(1).unwrap();
    });
    kill(holder);
    ends_well(&mut for_a_permit);
    ends_well(&mut bare);
    assert_eq!(semaphore.value(), 1);
    assert!(semaphore.release(1).is_err());
}

fn killed_permit_holders_units_are_free_for_later() {
    if !permits_have_owners() {
        return;
    }
    let semaphore = place(3);
    for _ in 0..3 {
        let holder = child_after(|| {
            for _ in 0..3 {
                core::mem::forget(semaphore.permit().unwrap());
            }
            assert!(semaphore.try_permit().unwrap().is_none());
        });
        assert_eq!(semaphore.value(), 0);
        kill(holder);
        assert_eq!(semaphore.value(), 3);
        let permit = semaphore.try_permit().unwrap().unwrap();
        assert!(semaphore.try_acquire().unwrap() && semaphore.try_acquire().unwrap());
        assert!(!semaphore.try_acquire().unwrap() && semaphore.try_permit().unwrap().is_none());
        semaphore.release(2).unwrap();
        drop(permit);
    }
}

fn killed_forgetful_holder_has_lost_its_unit() {
    let semaphore = place(2);
    kill(child_after(|| semaphore.permit().unwrap().forget()));
    assert_eq!(semaphore.value(), 1);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.value(), 2);
}

/// Two processes sleep for a permit. One permit is given back and chooses the first process, which is killed before it
/// can run.
fn killed_chosen_permit_taker_leaves_the_unit_to_another() {
    let Some(conductor) = Conductor::new() else { return };
    for barge in [false, true] {
        let semaphore = place(1);
        let turn = [0; 2].map(|_| EventFd::counter(0).unwrap());
        let arrived = Shm::place(AtomicU32::new(0)).unwrap();
        let mut children = [0, 1].map(|index| {
            let child = fork(|| {
                turn[index].take(PATIENCE).unwrap();
                arrived.fetch_add(1, SeqCst);
                drop(semaphore.permit().unwrap());
                0
            });
            child.unwrap()
        });
        let held = semaphore.permit().unwrap();
        for (before, (turn, child)) in turn.iter().zip(&children).enumerate() {
            turn.add(1, PATIENCE).unwrap();
            until("a child sleeps on the semaphore", || arrived.load(SeqCst) > before as u32 && asleep(child));
        }
        conductor.conduct();
        drop(held);
        let barged = barge.then(|| semaphore.try_permit().unwrap().unwrap());
        children[0].kill().unwrap();
        conductor.relax();
        assert!(matches!(children[0].wait().unwrap(), ExitStatus::Signal { .. }));
        drop(barged);
        ends_well(&mut children[1]);
        assert_eq!(semaphore.value(), 1);
    }
}

/// Runs `turn` in a child and kills it after 1, 1 + stride, ... instructions, each time with another semaphore of one
/// unit. `check` then checks the semaphore.
fn at_any_instant(
    stride: usize,
    prepare: impl Fn(&Semaphore<Shared>),
    turn: impl Fn(&Semaphore<Shared>),
    check: impl Fn(&Semaphore<Shared>),
) {
    for steps in (1..).step_by(harness::stride(stride)) {
        let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
        prepare(&semaphore);
        let mut child = fork(|| {
            ptrace::stop_for_tracer().unwrap();
            turn(&semaphore);
            0
        })
        .unwrap();
        assert!(matches!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(_)))));
        let ended = (0..steps).any(|_| {
            ptrace::single_step(&child).unwrap();
            !matches!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(_))))
        });
        if !ended {
            kill(child);
        }
        check(&semaphore);
        if ended {
            assert!(steps > 100, "there was something to kill");
            return;
        }
    }
}

/// Checks that the unit is there, once, and counts for the bound.
#[track_caller]
fn has_one_unit(semaphore: &Semaphore<Shared>) {
    let permit = semaphore.permit_timeout(PATIENCE).unwrap().expect("the unit is there");
    assert!(semaphore.try_permit().unwrap().is_none() && !semaphore.try_acquire().unwrap(), "it is there once");
    assert!(semaphore.release(1).is_err(), "a held permit counts for the bound");
    drop(permit);
    assert_eq!(semaphore.value(), 1);
    assert!(semaphore.try_acquire().unwrap());
    assert!(!semaphore.try_acquire().unwrap() && semaphore.try_permit().unwrap().is_none());
    semaphore.release(1).unwrap();
    assert!(semaphore.release(1).is_err());
}

/// Like [`has_one_unit`], if an acquirer without a permit was killed: a release then makes up for its lost unit.
#[track_caller]
fn has_one_unit_or_lost_it(semaphore: &Semaphore<Shared>) {
    if !semaphore.try_acquire().unwrap() {
        assert_eq!(semaphore.release(1), Ok(()), "a lost unit does not count for the bound");
    } else {
        semaphore.release(1).unwrap();
    }
    has_one_unit(semaphore);
}

fn kill_at_any_instant_keeps_a_permits_unit() {
    if !permits_have_owners() {
        return;
    }
    let other = Shm::place(Semaphore::shared(1)).unwrap();
    // The first permit moves the unit to a slot, the second finds it there, the third beside another one.
    at_any_instant(
        37,
        |_| {},
        |semaphore| {
            drop(semaphore.permit().unwrap());
            drop(semaphore.permit().unwrap());
            let beside = other.permit().unwrap();
            drop(semaphore.permit().unwrap());
            drop(beside);
        },
        has_one_unit,
    );
}

fn kill_at_any_instant_of_a_forget_keeps_account() {
    if !permits_have_owners() {
        return;
    }
    let in_a_slot = |semaphore: &Semaphore<Shared>| drop(semaphore.permit().unwrap());
    at_any_instant(7, in_a_slot, |semaphore| semaphore.permit().unwrap().forget(), has_one_unit_or_lost_it);
}

fn kill_at_any_instant_of_a_bare_take() {
    if !permits_have_owners() {
        return;
    }
    let in_a_slot = |semaphore: &Semaphore<Shared>| drop(semaphore.permit().unwrap());
    let turn = |semaphore: &Semaphore<Shared>| {
        semaphore.acquire().unwrap();
        semaphore.release(1).unwrap();
    };
    at_any_instant(7, in_a_slot, turn, has_one_unit_or_lost_it);
}

/// A child is stopped while it moves a unit, with the table's lock. A waiter waits for that lock. A unit comes that
/// needs no lock, and then the waiter's time is over.
fn unit_that_comes_while_a_mover_is_stopped_is_taken() {
    if !permits_have_owners() {
        return;
    }
    for is_bare in [false, true] {
        let semaphore = place(2);
        let mut child = fork(|| {
            ptrace::stop_for_tracer().unwrap();
            drop(semaphore.permit().unwrap());
            0
        })
        .unwrap();
        assert!(matches!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(_)))));
        let mut held = semaphore.permit().ok();
        while semaphore.value() == 1 {
            ptrace::single_step(&child).unwrap();
            assert!(matches!(ptrace::wait(&mut child, PATIENCE), Ok(Some(State::Stopped(_)))));
        }
        // The unit has left the count and is not in its slot yet.
        let (cancel, semaphore_of_all) = (Cancel::new(), &*semaphore);
        let (tell, told) = channel();
        let is_taken = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
                let limit = Limit::from(&cancel);
                if is_bare {
                    semaphore_of_all.acquire_timeout(limit).unwrap()
                } else {
                    semaphore_of_all.permit_timeout(limit).unwrap().is_some()
                }
            });
            let stat = std::path::Path::new("/proc").join(told.recv().unwrap()).join("stat");
            until("the waiter sleeps", || std::fs::read_to_string(&stat).unwrap().contains(") S "));
            if is_bare {
                semaphore.release(1).unwrap();
            } else {
                held = None;
            }
            cancel.cancel();
            waiter.join().unwrap()
        });
        assert!(is_taken, "bare: {is_bare}");
        drop(held);
        kill(child);
    }
}

fn fork_refuses_while_a_permit_is_held() {
    let semaphore = place(1);
    let permit = semaphore.permit().unwrap();
    if permits_have_owners() {
        assert!(matches!(fork(|| 0), Err(ForkError::LockHeld)));
    }
    drop(permit);
    ends_well(&mut fork(|| 0).unwrap());
}

fn handoff_lock_is_released_by_another_process() {
    let lock = Shm::place(HandoffLock::shared()).unwrap();
    lock.acquire().unwrap();
    let mut waits = sleeper(|| lock.acquire().unwrap());
    let mut releases = fork(|| u8::from(lock.release().is_err())).unwrap();
    ends_well(&mut releases);
    ends_well(&mut waits);
    assert!(lock.locked());
    kill(child_after(|| assert!(!lock.try_acquire().unwrap())));
    lock.release().unwrap();
}
