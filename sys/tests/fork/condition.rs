//! A condition when processes are killed while they wait in it.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::process::{Child, ExitStatus, fork};
use ossature_sys::ptrace::{self, State};
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;

use crate::handover::{asleep, until};
use crate::harness::{Test, stride};
use crate::still::{end, go_on, standing};

pub const TESTS: &[Test] = &[
    ("notification_of_one_who_dies_before_it_has_the_lock_goes_on", notification_of_one_who_dies_goes_on),
    ("death_that_reached_an_old_watcher_of_the_place_is_told_to_the_new_one", death_is_told_to_the_new_watcher),
    ("places_of_the_dead_are_used_again", places_of_the_dead_are_used_again),
    ("table_full_of_the_dead_has_room", table_full_of_the_dead_has_room),
    ("notification_of_the_dead_reaches_nobody", notification_of_the_dead_reaches_nobody),
    ("notification_that_the_last_waiter_left_goes_to_the_next_that_comes", notification_goes_to_the_next_that_comes),
    ("notification_that_the_last_waiter_left_in_a_full_table_goes_on", notification_in_a_full_table_goes_on),
    ("list_of_who_is_next_passes_over_the_killed", list_of_who_is_next_passes_over_the_killed),
    ("places_of_those_that_ran_out_of_time_are_used_again", places_of_those_that_ran_out_of_time_are_used_again),
    ("waiter_that_dies_on_its_way_into_a_used_place_notifies_nobody", waiter_that_dies_on_its_way_notifies_nobody),
    ("notification_of_all_does_not_reach_who_comes_meanwhile", notification_of_all_does_not_reach_who_comes_meanwhile),
    ("waiter_in_the_place_of_the_dead_is_not_taken_for_them", waiter_in_the_place_of_the_dead_is_not_taken_for_them),
];

shareable! {
    struct Stage {
        lock: Lock<u32, Shared>,
        condition: Condition<Shared>,
        /// 1 before the wait, 2 after it.
        states: [AtomicU32; 4],
    }
}

fn stage() -> Shm<Stage> {
    let states = array(|_| AtomicU32::new(0));
    Shm::place(Stage::init(Lock::shared(0), Condition::shared(), states)).unwrap()
}

/// Starts a process that waits, and returns when it sleeps.
fn waiter(stage: &Stage, index: usize) -> Child {
    let child = fork(|| {
        let guard = stage.lock.lock().unwrap();
        stage.states[index].store(1, SeqCst);
        drop(stage.condition.wait(guard).unwrap());
        stage.states[index].store(2, SeqCst);
        0
    })
    .unwrap();
    until("the waiter sleeps", || stage.states[index].load(SeqCst) == 1 && asleep(&child));
    child
}

fn notification_of_one_who_dies_goes_on() {
    let stage = stage();
    let mut children: Vec<_> = (0..3).map(|index| waiter(&stage, index)).collect();
    let guard = stage.lock.lock().unwrap();
    assert_eq!(stage.condition.notify(1), 1);
    // It is on its way to the lock, or there, and sleeps again.
    children[0].kill().unwrap();
    children[0].wait().unwrap();
    drop(guard);
    children[1].wait().unwrap();
    assert_eq!([0, 1, 2].map(|index| stage.states[index].load(SeqCst)), [1, 2, 1], "exactly one goes on");
    assert_eq!(stage.condition.notify(5), 1);
    children[2].wait().unwrap();
}

/// A sleeper still watches the lease of the waiter before it when another waiter takes that place. So the kernel
/// reports to it a death that concerns a later sleeper.
fn death_is_told_to_the_new_watcher() {
    let stage = stage();
    let [mut first, mut old] = [0, 1].map(|index| waiter(&stage, index));
    assert_eq!(stage.condition.notify(1), 1);
    first.wait().unwrap();
    let mut doomed = waiter(&stage, 2); // in the place of the first
    let mut new = waiter(&stage, 3);
    end_now(&mut doomed);
    until("the old watcher has looked, and sleeps anew", || asleep(&old));
    let guard = stage.lock.lock().unwrap();
    assert_eq!(stage.condition.notify(1), 1);
    end_now(&mut old);
    drop(guard);
    new.wait().unwrap();
    assert_eq!([1, 2, 3].map(|index| stage.states[index].load(SeqCst)), [1, 1, 2], "its notification goes on");
}

fn end_now(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn places_of_the_dead_are_used_again() {
    let stage = stage();
    for _ in 0..130 {
        stage.states[0].store(0, SeqCst);
        let mut child = waiter(&stage, 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut child = waiter(&stage, 1);
    assert_eq!(stage.condition.notify_all(), 1);
    child.wait().unwrap();
}

/// All of them die at once, so that no survivor saw the first death.
fn table_full_of_the_dead_has_room() {
    const PLACES: u32 = 120;
    let stage = stage();
    let mut crowd = fork(|| {
        std::thread::scope(|scope| {
            for _ in 0..PLACES {
                scope.spawn(|| {
                    let guard = stage.lock.lock().unwrap();
                    stage.states[0].fetch_add(1, SeqCst);
                    drop(stage.condition.wait(guard).unwrap());
                });
            }
        });
        0
    })
    .unwrap();
    until("all have asked for a place", || stage.states[0].load(SeqCst) == PLACES);
    // The last has its place before it lets the lock go.
    drop(stage.lock.lock().unwrap());
    crowd.kill().unwrap();
    crowd.wait().unwrap();
    let waited = stage.condition.wait_timeout(stage.lock.lock().unwrap(), Deadline::NOW);
    assert!(!waited.expect("the places of the dead are free").1);
}

fn notification_of_the_dead_reaches_nobody() {
    let stage = stage();
    let mut child = waiter(&stage, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stage.condition.notify(1), 0);
}

/// The dead waiter had the notification but not the lock, and there was no waiter behind it.
fn notification_goes_to_the_next_that_comes() {
    let stage = stage();
    let mut first = waiter(&stage, 0);
    let guard = stage.lock.lock().unwrap();
    assert_eq!(stage.condition.notify(1), 1);
    first.kill().unwrap();
    first.wait().unwrap();
    drop(guard);
    let mut next = fork(|| {
        drop(stage.condition.wait(stage.lock.lock().unwrap()).unwrap());
        0
    })
    .unwrap();
    assert_eq!(next.wait(), Ok(ExitStatus::Code(0)));
}

/// There is room for one waiter only.
fn notification_in_a_full_table_goes_on() {
    let (lock, condition) = (Shm::place(Lock::<u32, Shared>::shared(0)).unwrap(), small());
    let waiter = || {
        fork(|| {
            let mut guard = lock.lock().unwrap();
            *guard += 1;
            drop(condition.wait(guard).unwrap());
            0
        })
        .unwrap()
    };
    let mut first = waiter();
    until("it is in the queue", || *lock.lock().unwrap() == 1);
    let guard = lock.lock().unwrap();
    assert_eq!(condition.notify(1), 1);
    end_now(&mut first);
    drop(guard);
    assert_eq!(waiter().wait(), Ok(ExitStatus::Code(0)), "the next one has the notification");
    // It is used up.
    let waited = condition.wait_timeout(lock.lock().unwrap(), Duration::from_millis(1)).unwrap();
    assert!(!waited.1);
}

fn small() -> Shm<Condition<Shared, 1>> {
    Shm::place(Condition::shared_with_capacity()).unwrap()
}

/// With 24 waiters a notifier leaves a list of the next waiters.
fn list_of_who_is_next_passes_over_the_killed() {
    const WAITERS: usize = 24;
    let stage = stage();
    let start = |_| {
        stage.states[0].store(0, SeqCst);
        waiter(&stage, 0)
    };
    let mut waiters: Vec<_> = (0..WAITERS).map(start).collect();
    assert_eq!(stage.condition.notify(1), 1);
    waiters[0].wait().unwrap();
    for dead in (1..WAITERS).step_by(2) {
        end_now(&mut waiters[dead]);
    }
    for next in (2..WAITERS).step_by(2) {
        assert_eq!(stage.condition.notify(1), 1);
        waiters[next].wait().unwrap();
    }
    assert_eq!(stage.condition.notify(1), 0);
    // Others come to the places of the dead.
    let mut later = waiter(&stage, 1);
    assert_eq!(stage.condition.notify_all(), 1);
    later.wait().unwrap();
}

fn places_of_those_that_ran_out_of_time_are_used_again() {
    let stage = stage();
    for _ in 0..130 {
        let waited = stage.condition.wait_timeout(stage.lock.lock().unwrap(), Deadline::NOW);
        assert!(!waited.expect("the places are free").1);
    }
}

/// The waiter is killed at any instruction of its wait, in the place of a waiter that was notified before.
fn waiter_that_dies_on_its_way_notifies_nobody() {
    // Between the claim of the place and its ticket are some fifty.
    for steps in (0..).step_by(stride(11)) {
        let stage = stage();
        let mut served = waiter(&stage, 0);
        assert_eq!(stage.condition.notify(1), 1);
        served.wait().unwrap();
        let turn = || drop(stage.condition.wait_timeout(stage.lock.lock().unwrap(), Deadline::NOW));
        let Some(mut doomed) = standing(turn) else { return };
        let stands = go_on(&mut doomed, steps);
        if stands {
            end(doomed);
        }
        let guard = stage.lock.lock().unwrap_or_else(|refused| panic!("{refused:?} after {steps} instructions"));
        let waited = stage.condition.wait_timeout(guard, Duration::from_millis(1)).unwrap();
        assert!(!waited.1, "nobody was to be notified, after {steps} instructions");
        if !stands {
            assert!(steps > 20, "there was something to do");
            return;
        }
    }
}

/// The notifier is stopped after it has notified the first waiter.
fn notification_of_all_does_not_reach_who_comes_meanwhile() {
    let stage = stage();
    let mut first = waiter(&stage, 0);
    let Some(mut notifier) = standing(|| stage.states[2].store(stage.condition.notify(5), SeqCst)) else {
        return end(first);
    };
    while first.wait_timeout(Duration::from_millis(2)).unwrap().is_none() {
        assert!(go_on(&mut notifier, 1), "it has notified nobody");
    }
    let second = waiter(&stage, 1);
    while go_on(&mut notifier, 1) {}
    assert_eq!(stage.states[2].load(SeqCst), 1, "the second came later");
    assert_eq!(stage.states[1].load(SeqCst), 1);
    end(second);
}

/// Lets the child run `steps` instructions. Returns false if it sleeps or has ended before.
fn go_on_awake(child: &mut Child, steps: usize) -> bool {
    (0..steps).all(|_| {
        ptrace::single_step(child).unwrap();
        matches!(ptrace::wait(child, Duration::from_millis(100)), Ok(Some(State::Stopped(_))))
    })
}

/// A waiter finds that the waiter before it died, and is stopped before it has dealt with the death. Meanwhile another
/// waiter deals with it, and the next waiter takes the same place.
fn waiter_in_the_place_of_the_dead_is_not_taken_for_them() {
    // Some two thousand, of which one or two lie between the look at the lease and the look at the word.
    for steps in (0..).step_by(stride(13)) {
        let stage = stage();
        for _ in 0..4 {
            // They learn that looking does not pay, so the others do not look before they sleep.
            drop(stage.condition.wait_timeout(stage.lock.lock().unwrap(), Duration::from_micros(200)).unwrap());
        }
        end(waiter(&stage, 0));
        let turn = || {
            let guard = stage.lock.lock().unwrap();
            stage.states[2].store(1, SeqCst);
            drop(stage.condition.wait(guard).unwrap());
        };
        let Some(mut still) = standing(turn) else { return };
        let stands = go_on_awake(&mut still, steps);
        if stage.states[2].load(SeqCst) == 0 || stage.lock.try_lock().unwrap().is_none() {
            end(still); // before it waits
            continue;
        }
        if !stands {
            assert!(steps > 200, "there was something to do");
            return end(still);
        }
        assert_eq!(stage.condition.notify(1), 1, "the one that stands still");
        let mut next = waiter(&stage, 1);
        while go_on(&mut still, 1) {}
        assert_eq!(stage.condition.notify(1), 1, "the next one waits, after {steps} instructions");
        next.wait().unwrap();
    }
}
