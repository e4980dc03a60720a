//! The private lock, and the word of the lock that survives deaths.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use ossature_sys::model::{Private, Robust, Taken};

use crate::explore;

struct Guarded<L> {
    lock: L,
    data: UnsafeCell<u32>,
}

// SAFETY: the models touch the data only while they hold the lock, which loom itself checks.
unsafe impl<L> Sync for Guarded<L> {}
// SAFETY: as for Sync.
unsafe impl<L> Send for Guarded<L> {}

impl<L> Guarded<L> {
    fn new(lock: L) -> Arc<Self> {
        Arc::new(Self { lock, data: UnsafeCell::new(0) })
    }

    fn add_one(&self) {
        // SAFETY: the caller holds the lock; loom fails the model if another thread is here too.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    fn value(&self) -> u32 {
        // SAFETY: as above.
        self.data.with(|data| unsafe { *data })
    }
}

/// Starts a participant that takes the word, adds one and gives the word back.
fn one_turn(shared: &Arc<Guarded<Robust>>, id: u32) -> thread::JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || {
        assert_eq!(shared.lock.take(id), Taken::Yes);
        shared.add_one();
        shared.lock.release();
    })
}

#[test]
fn private_lock_excludes_and_wakes_everyone() {
    explore(|| {
        let shared = Guarded::new(Private::new());
        let others = [0; 2].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                assert!(shared.lock.take());
                shared.add_one();
                shared.lock.release();
            })
        });
        assert!(shared.lock.take());
        shared.add_one();
        shared.lock.release();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.value(), 3);
    });
}

#[test]
fn robust_word_excludes_and_wakes_everyone() {
    explore(|| {
        let shared = Guarded::new(Robust::new());
        let others = [2, 3].map(|id| one_turn(&shared, id));
        assert_eq!(shared.lock.take(1), Taken::Yes);
        shared.add_one();
        shared.lock.release();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.value(), 3);
        assert_eq!(shared.lock.take(1), Taken::Yes);
        shared.lock.release();
        assert!(!shared.lock.has_waiters(), "an uncontended release has settled the bit");
    });
}

#[test]
fn holder_that_dies_is_told_to_the_next() {
    explore(|| {
        let shared = Guarded::new(Robust::new());
        assert_eq!(shared.lock.take(1), Taken::Yes);
        let next = {
            let shared = shared.clone();
            thread::spawn(move || {
                assert_eq!(shared.lock.take(2), Taken::AfterDeath);
                shared.add_one();
                shared.lock.release();
            })
        };
        shared.add_one();
        shared.lock.die(1);
        next.join().unwrap();
        assert_eq!(shared.value(), 2);
    });
}

#[test]
fn holder_that_ends_by_itself_leaves_nobody_asleep() {
    explore(|| {
        let shared = Guarded::new(Robust::new());
        assert_eq!(shared.lock.take(1), Taken::Yes);
        let others = [2, 3].map(|id| {
            let shared = shared.clone();
            thread::spawn(move || {
                assert!(matches!(shared.lock.take(id), Taken::Yes | Taken::AfterDeath));
                shared.add_one();
                shared.lock.release();
            })
        });
        shared.lock.end(1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.value(), 2);
    });
}

#[test]
fn releaser_that_dies_before_its_wake_leaves_nobody_asleep() {
    explore(|| {
        let shared = Guarded::new(Robust::new());
        assert_eq!(shared.lock.take(1), Taken::Yes);
        let others = [2, 3].map(|id| one_turn(&shared, id));
        shared.lock.release_and_die_before_the_wake(1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(shared.value(), 2);
    });
}

#[test]
fn chosen_waiter_that_dies_passes_the_lock_on_even_past_a_barger() {
    explore(|| {
        let shared = Guarded::new(Robust::new());
        assert_eq!(shared.lock.take(1), Taken::Yes);
        let doomed = {
            let shared = shared.clone();
            thread::spawn(move || {
                if shared.lock.take_or_die_when_chosen(2) != Taken::KilledWhenChosen {
                    shared.lock.release();
                }
            })
        };
        let survivor = one_turn(&shared, 3);
        shared.lock.release();
        // The barger: takes it again before the chosen one can.
        assert_eq!(shared.lock.take(1), Taken::Yes);
        shared.lock.release();
        doomed.join().unwrap();
        survivor.join().unwrap();
        assert_eq!(shared.value(), 1);
    });
}
