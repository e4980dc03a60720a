//! The semaphore between processes, and what a death leaves of it.

use ossature_sys::eventfd::EventFd;
use ossature_sys::process::{Child, Exit, fork};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::handover::{Conductor, PATIENCE, asleep, until};
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("semaphore_is_released_by_another_process", semaphore_is_released_by_another_process),
    ("killed_acquirer_loses_its_unit_and_no_other", killed_acquirer_loses_its_unit_and_no_other),
    ("killed_chosen_acquirer_leaves_the_unit_to_another", killed_chosen_acquirer_leaves_the_unit_to_another),
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
    assert_eq!(end, Some(Exit::Code(0)), "the child is not served");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(matches!(child.wait().unwrap(), Exit::Signal { .. }));
}

/// A child that runs `first`, says so, and then waits to be killed.
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

/// A child that sleeps in `wait`.
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

/// Two sleep, a release chooses the first, which is killed before it can run.
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
