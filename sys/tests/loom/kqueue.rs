//! Sleepers of an event queue. The rules of `sleepers.rs` are the real ones, and the lock of the queue is loom's. The
//! state in the kernel is modelled: a word that says which sets are readable, and whether the time of the timers has
//! come.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use ossature_sys::model::queue_sleepers::{Sleepers, Wakeup};

use crate::explore;

/// The wake-up makes every set readable.
const WAKEUP: u32 = 1;
/// The bits for a ready descriptor in the first set and in the second set.
const READY: [u32; 2] = [2, 4];
/// The bit for the time of all timers. A thread that sleeps with an alarm wakes.
const TIME: u32 = 8;

struct State {
    sleepers: Sleepers,
    /// Active knotes in memory. Each is reported once.
    active: u32,
    /// Timers that expire once, all of them at the same instant.
    timers: u32,
    /// The set that the queue uses.
    set: usize,
}

struct Queue {
    state: Mutex<State>,
    /// The bits that poll(2) sees.
    readable: Mutex<u32>,
    /// Wakes the threads in poll(2).
    changed: Condvar,
}

impl Queue {
    fn new() -> Arc<Self> {
        let state = State { sleepers: Sleepers::new(), active: 0, timers: 0, set: 0 };
        Arc::new(Self { state: Mutex::new(state), readable: Mutex::new(0), changed: Condvar::new() })
    }

    /// Runs `body` under the lock, and then updates the wake-up, as each change and each collection does.
    fn locked<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        let answer = body(state);
        let next = (state.timers > 0).then_some(1);
        match state.sleepers.wakeup(state.active > 0, next, false) {
            Wakeup::Keep => {}
            Wakeup::Begin => {
                self.signal(WAKEUP);
                state.sleepers.set_rings(true);
            }
            Wakeup::End => {
                *self.readable.lock().unwrap() &= !WAKEUP;
                state.sleepers.set_rings(false);
            }
        }
        answer
    }

    fn signal(&self, bit: u32) {
        *self.readable.lock().unwrap() |= bit;
        self.changed.notify_all();
    }

    /// Models poll(2): sleeps until one of these bits is set.
    fn poll(&self, wakes: u32) {
        let mut seen = self.readable.lock().unwrap();
        while *seen & wakes == 0 {
            seen = self.changed.wait(seen).unwrap();
        }
    }

    /// Waits for one event. If the sleep fails, the wait ends.
    fn wait_for_one(&self, may_sleep: bool) {
        let mut slept = None;
        loop {
            let sleep = self.locked(|state| {
                if let Some(epoch) = slept {
                    state.sleepers.end(epoch);
                }
                let ready = READY[state.set];
                let mut seen = self.readable.lock().unwrap();
                if *seen & TIME != 0 {
                    state.active += std::mem::take(&mut state.timers);
                }
                if state.active > 0 {
                    state.active -= 1;
                } else if *seen & ready != 0 {
                    *seen &= !ready;
                } else {
                    let next = (state.timers > 0).then_some(1);
                    return Some((state.sleepers.begin(next), state.set, next.is_some()));
                }
                state.sleepers.leave((state.timers > 0).then_some(1));
                None
            });
            let Some((epoch, set, has_alarm)) = sleep else { return };
            slept = Some(epoch);
            if !may_sleep {
                return self.locked(|state| {
                    state.sleepers.end(epoch);
                    state.sleepers.leave((state.timers > 0).then_some(1));
                });
            }
            self.poll(WAKEUP | READY[set] | if has_alarm { TIME } else { 0 });
            // The wake-up may be for another sleeper, which has to run before it ends.
            thread::yield_now();
        }
    }
}

fn waiter(queue: &Arc<Queue>) -> JoinHandle<()> {
    let queue = queue.clone();
    thread::spawn(move || queue.wait_for_one(true))
}

/// Two waiters and two triggers: each waiter gets one.
#[test]
fn every_trigger_wakes_a_waiter() {
    explore(|| {
        let queue = Queue::new();
        let other = waiter(&queue);
        let trigger = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.locked(|state| state.active += 1);
                queue.locked(|state| state.active += 1);
            })
        };
        queue.wait_for_one(true);
        other.join().unwrap();
        trigger.join().unwrap();
    });
}

/// A timer is added while a waiter sleeps without an alarm, and a trigger frees the waiter that may have set one.
#[test]
fn a_timer_is_told_though_its_waiter_leaves() {
    explore(|| {
        let queue = Queue::new();
        let other = waiter(&queue);
        let changes = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.locked(|state| state.timers += 1);
                queue.locked(|state| state.active += 1);
                queue.signal(TIME);
            })
        };
        queue.wait_for_one(true);
        other.join().unwrap();
        changes.join().unwrap();
    });
}

/// The waiter that may have taken over the alarm cannot sleep, and leaves.
#[test]
fn a_timer_is_told_though_a_sleep_fails() {
    explore(|| {
        let queue = Queue::new();
        let failing = {
            let queue = queue.clone();
            thread::spawn(move || queue.wait_for_one(false))
        };
        let change = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.locked(|state| state.timers += 1);
                // The failing waiter may have this one.
                queue.locked(|state| state.timers += 1);
                queue.signal(TIME);
            })
        };
        queue.wait_for_one(true);
        failing.join().unwrap();
        change.join().unwrap();
    });
}

/// The sets are replaced while both waiters may sleep, and a descriptor is ready only in the new set.
#[test]
fn whoever_sleeps_on_an_old_set_looks_at_the_new_one() {
    explore(|| {
        let queue = Queue::new();
        let other = waiter(&queue);
        let renewer = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.locked(|state| {
                    state.set = 1;
                    state.sleepers.renew();
                });
                queue.signal(READY[1]);
                queue.locked(|state| state.active += 1);
            })
        };
        queue.wait_for_one(true);
        other.join().unwrap();
        renewer.join().unwrap();
    });
}
