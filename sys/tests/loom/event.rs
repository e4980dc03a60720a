//! The event: setting it frees all waiters, whatever happens meanwhile to the flag, to the setter and to other waiters.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use ossature_sys::futex::Cancel;
use ossature_sys::model::{Killable, doomed, sleepers, stopped, urgent};
use ossature_sys::scope::Private;
use ossature_sys::sync::event::Event;

use crate::explore;

fn waiter(event: &Arc<Event<Private>>) -> JoinHandle<()> {
    let event = event.clone();
    thread::spawn(move || event.wait())
}

#[test]
fn set_frees_everybody() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waiters = [(); 2].map(|()| waiter(&event));
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.is_set());
    });
}

#[test]
fn two_setters_are_not_in_each_others_way() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waiter = waiter(&event);
        let other = {
            let event = event.clone();
            thread::spawn(move || event.set())
        };
        event.set();
        waiter.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn set_followed_by_clear_frees_one_that_slept() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waiter = waiter(&event);
        while sleepers() == 0 {
            thread::yield_now();
        }
        event.set();
        event.clear();
        waiter.join().unwrap();
        assert!(!event.is_set());
    });
}

#[test]
fn two_sets_with_a_clear_between_them_free_a_waiter() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waiter = waiter(&event);
        let clears = {
            let event = event.clone();
            thread::spawn(move || event.clear())
        };
        event.set();
        clears.join().unwrap();
        event.set();
        waiter.join().unwrap();
        assert!(event.is_set());
    });
}

struct Written {
    event: Event,
    data: UnsafeCell<u32>,
}

// SAFETY: the data is written before the set and read after the wait, which loom itself checks.
unsafe impl Sync for Written {}
// SAFETY: as for Sync.
unsafe impl Send for Written {}

#[test]
fn what_was_written_before_the_set_is_seen_after_the_wait() {
    explore(|| {
        let shared = Arc::new(Written { event: Event::new(), data: UnsafeCell::new(0) });
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.event.wait();
                // SAFETY: nobody writes after the set; loom fails the model otherwise.
                shared.data.with(|data| unsafe { *data })
            })
        };
        // SAFETY: the reader waits for the set; loom fails the model if it is here too.
        shared.data.with_mut(|data| unsafe { *data = 5 });
        shared.event.set();
        assert_eq!(reader.join().unwrap(), 5);
    });
}

#[test]
fn two_that_take_turns_never_wait_for_each_other() {
    explore(|| {
        let both = Arc::new([Event::new(), Event::new()]);
        let other = {
            let both = both.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    both[0].wait();
                    both[0].clear();
                    both[1].set();
                }
            })
        };
        for _ in 0..2 {
            both[0].set();
            both[1].wait();
            both[1].clear();
        }
        other.join().unwrap();
    });
}

#[test]
fn cancelled_waiter_takes_nobody_s_wake() {
    explore(|| {
        let (event, cancel) = (Arc::new(Event::new()), Arc::new(Cancel::new()));
        let cancelled = {
            let (event, cancel) = (event.clone(), cancel.clone());
            thread::spawn(move || event.wait_timeout(&*cancel))
        };
        let waiter = waiter(&event);
        cancel.cancel();
        event.set();
        waiter.join().unwrap();
        cancelled.join().unwrap();
    });
}

/// More steps than any participant makes in these models, so that the last of them does not die.
const STEPS: u32 = 8;

fn killable_waiter(event: &Arc<Event<Killable>>, steps: Option<u32>) -> JoinHandle<()> {
    let event = event.clone();
    thread::spawn(move || {
        let wait = || event.wait().unwrap();
        match steps {
            Some(steps) => drop(doomed(steps, wait)),
            None => wait(),
        }
    })
}

#[test]
fn what_a_killed_setter_has_raised_is_heard_by_all() {
    for steps in 0..STEPS {
        explore(move || {
            let event = Arc::new(Event::killable());
            let waiters = [(); 2].map(|()| killable_waiter(&event, None));
            if doomed(steps, || event.set()).is_none() && !event.is_set() {
                event.set();
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn killed_waiter_takes_nobody_s_wake() {
    for steps in 0..STEPS {
        explore(move || {
            let event = Arc::new(Event::killable());
            let waiters = [Some(steps), None].map(|steps| killable_waiter(&event, steps));
            event.set();
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn heir_of_a_killed_setter_may_be_killed_too() {
    for steps in 0..STEPS {
        explore(move || {
            let event = Arc::new(Event::killable());
            let waiters = [Some(steps), None].map(|steps| killable_waiter(&event, steps));
            // Covered, raised, and killed before the wake.
            if doomed(1, || event.set()).is_none() && !event.is_set() {
                event.set();
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn killed_setter_is_not_in_the_way_of_a_clear_and_another_set() {
    for steps in 0..STEPS {
        explore(move || {
            let event = Arc::new(Event::killable());
            let waiters = [(); 2].map(|()| killable_waiter(&event, None));
            let _ = doomed(steps, || event.set());
            event.clear();
            event.set();
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn set_before_the_cancel_is_an_answer() {
    explore(|| {
        let (event, cancel) = (Arc::new(Event::new()), Arc::new(Cancel::new()));
        let waiter = {
            let (event, cancel) = (event.clone(), cancel.clone());
            thread::spawn(move || event.wait_timeout(&*cancel))
        };
        event.set();
        cancel.cancel();
        assert!(waiter.join().unwrap(), "the flag was up before the wait was cancelled");
    });
}

fn until_sleep(count: usize) {
    while sleepers() < count {
        thread::yield_now();
    }
}

#[test]
fn set_of_a_raised_flag_wakes_whom_a_stopped_setter_has_left() {
    for steps in 0..STEPS {
        explore(move || {
            let event = Arc::new(Event::killable());
            let waiters = [(); 2].map(|()| killable_waiter(&event, None));
            let _ = stopped(steps, || event.set());
            event.set();
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn heir_of_a_killed_setter_wakes_the_sleepers_of_two_raises() {
    explore(|| {
        let event = Arc::new(Event::killable());
        let first = killable_waiter(&event, None);
        until_sleep(1);
        // Covered, raised, and stopped or killed before the wake.
        assert_eq!(stopped(1, || event.set()), None);
        event.clear();
        let second = killable_waiter(&event, None);
        until_sleep(2);
        assert_eq!(doomed(1, || event.set()), None);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn urgent_sleeper_passes_on_the_wake_of_those_before_it() {
    explore(|| {
        let event = Arc::new(Event::killable());
        let first = killable_waiter(&event, None);
        until_sleep(1);
        let setter = {
            let event = event.clone();
            thread::spawn(move || assert_eq!(doomed(1, || event.set()), None))
        };
        while !event.is_set() {
            thread::yield_now();
        }
        event.clear();
        let late = {
            let event = event.clone();
            thread::spawn(move || urgent(|| event.wait().unwrap()))
        };
        setter.join().unwrap();
        first.join().unwrap();
        event.set();
        late.join().unwrap();
    });
}
