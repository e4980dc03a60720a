//! The condition where its behaviour does not depend on the participants, which `tests/sync` covers: the size of its
//! table.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Builder};
use std::time::Duration;

use ossature_sys::fd::duplicate;

use ossature_sys::scope::{Local, NotOwner, Private, Refused, Scope, Shared};
use ossature_sys::shm::{AttachError, Shm};
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::{Guard, Lock};
use ossature_sys::sync::rlock::{RLock, RLockGuard};

use crate::support::{soon, thread_id, until_asleep, within};

static_assertions::assert_impl_all!(Guard<'static, u32, Private>: Sync);
static_assertions::assert_impl_all!(Guard<'static, u32, Shared>: Sync);
static_assertions::assert_impl_all!(RLockGuard<'static, u32, Private>: Sync);
static_assertions::assert_impl_all!(RLockGuard<'static, u32, Shared>: Sync);
// Who asks such a guard asks a `Cell`.
static_assertions::assert_not_impl_any!(Guard<'static, u32, Local>: Sync, Send);
static_assertions::assert_not_impl_any!(RLockGuard<'static, u32, Local>: Sync, Send);

#[test]
fn table_that_is_full_is_an_error_and_the_lock_is_free_again() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let condition = Shm::place(Condition::shared()).unwrap();
    soon(|| {
        thread::scope(|scope| {
            for _ in 0..120 {
                let (tell, told) = channel();
                let (lock, condition) = (&lock, &condition);
                scope.spawn(move || {
                    let guard = lock.lock().unwrap();
                    tell.send(thread_id()).unwrap();
                    drop(condition.wait(guard).unwrap());
                });
                until_asleep(told.recv().unwrap());
            }
            assert_eq!(condition.wait(lock.lock().unwrap()).err(), Some(Refused::TableFull));
            assert!(!lock.is_locked());
            assert_eq!(condition.notify_all(), 120);
        });
    });
}

#[test]
fn room_for_waiters_is_part_of_the_type() {
    needs!(shared_locks);
    assert!(size_of::<Condition<Shared, 8>>() <= 512);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let small = Shm::place(Condition::<Shared, 2>::shared_with_capacity()).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let wait = || {
                let mut guard = lock.lock().unwrap();
                *guard += 1;
                drop(small.wait(guard).unwrap());
            };
            let waiters = [(); 2].map(|()| scope.spawn(wait));
            // Each lets the lock go when it is in the queue.
            while *lock.lock().unwrap() != 2 {
                thread::yield_now();
            }
            assert_eq!(small.wait(lock.lock().unwrap()).err(), Some(Refused::TableFull));
            assert_eq!(small.notify_all(), 2);
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    });
    // SAFETY: the descriptor stays in this test, which uses the memory through `Shm`.
    let memory = duplicate(unsafe { small.descriptor() }).unwrap();
    // SAFETY: as above.
    let other = unsafe { Shm::<Condition<Shared, 3>>::from_fd(memory) };
    assert_eq!(other.map(drop), Err(AttachError::OtherType));
}

/// Many threads that wait for one condition, in the order of their numbers, and report when they are notified.
struct Crowd<const N: usize> {
    lock: Shm<Lock<u32, Shared>>,
    condition: Shm<Condition<Shared, N>>,
    tell: Sender<u32>,
    told: Receiver<u32>,
}

impl<const N: usize> Crowd<N> {
    fn new() -> Self {
        let (tell, told) = channel();
        let lock = Shm::place(Lock::shared(0)).unwrap();
        Self { lock, condition: Shm::place(Condition::shared_with_capacity()).unwrap(), tell, told }
    }

    /// Runs `body` while `count` threads wait. `body` must notify all of them.
    fn with(&self, count: u32, body: impl FnOnce()) {
        thread::scope(|scope| {
            for number in 0..count {
                let (lock, condition, tell) = (&*self.lock, &*self.condition, self.tell.clone());
                let (enter, entered) = channel();
                let wait = move || {
                    let guard = lock.lock().unwrap();
                    enter.send(()).unwrap();
                    drop(condition.wait(guard).unwrap());
                    tell.send(number).unwrap();
                };
                Builder::new().stack_size(128 << 10).spawn_scoped(scope, wait).unwrap();
                entered.recv().unwrap();
                // It lets the lock go when it is in the queue.
                drop(self.lock.lock().unwrap());
            }
            body();
        });
    }

    /// The number of the next thread that was notified.
    fn next(&self) -> u32 {
        self.told.recv_timeout(Duration::from_secs(60)).unwrap()
    }
}

#[test]
fn a_thousand_waiters_are_notified_in_the_order_of_their_arrival() {
    needs!(own_nodes);
    let crowd = Crowd::<1_000>::new();
    within(Duration::from_secs(60), || {
        crowd.with(1_000, || {
            let full = crowd.condition.wait(crowd.lock.lock().unwrap());
            assert_eq!(full.err(), Some(Refused::TableFull));
            for number in 0..700 {
                assert_eq!(crowd.condition.notify(1), 1);
                assert_eq!(crowd.next(), number);
            }
            assert_eq!(crowd.condition.notify(50), 50);
            let mut next: Vec<_> = (0..50).map(|_| crowd.next()).collect();
            next.sort_unstable();
            assert!(next.into_iter().eq(700..750));
            assert_eq!(crowd.condition.notify_all(), 250);
            assert_eq!(crowd.condition.notify_all(), 0);
        });
    });
}

/// Waiters come, and others leave because their time is over, while a list orders the oldest.
#[test]
fn list_of_the_oldest_waiters_survives_those_who_come_and_go() {
    needs!(own_nodes);
    let crowd = Crowd::<500>::new();
    within(Duration::from_secs(60), || {
        crowd.with(300, || {
            for round in 0..4 {
                for number in 0..50 {
                    assert_eq!(crowd.condition.notify(1), 1);
                    assert_eq!(crowd.next(), round * 50 + number);
                    // In the place of the one that has left, perhaps.
                    let waited = crowd.condition.wait_timeout(crowd.lock.lock().unwrap(), Duration::ZERO);
                    assert!(!waited.unwrap().1);
                }
            }
            assert_eq!(crowd.condition.notify_all(), 100);
        });
        let mut rest: Vec<_> = (0..100).map(|_| crowd.next()).collect();
        rest.sort_unstable();
        assert!(rest.into_iter().eq(200..300));
    });
}

#[test]
fn a_condition_for_65536_takes_the_memory_of_those_who_wait() {
    needs!(own_nodes);
    let crowd = Crowd::<65_536>::new();
    let whole = size_of::<Condition<Shared, 65_536>>() as u64;
    let resident = || {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { crowd.condition.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    let empty = resident();
    assert!(empty <= whole / 32, "{empty} of {whole}");
    within(Duration::from_secs(60), || {
        crowd.with(600, || {
            let full = resident();
            assert!(empty < full && full <= whole / 16, "{empty} and then {full} of {whole}");
            let again = crowd.condition.try_clone().unwrap();
            assert_eq!(again.notify(1), 1);
            assert_eq!(crowd.next(), 0);
            assert_eq!(again.notify_all(), 599);
        });
    });
}

/// The guard of a lock that was released without it proves no hold of the lock any more.
fn left_over_guard_is_refused<S: Scope>(lock: &RLock<(), S>, condition: &Condition<S>) {
    let left_over = || {
        let guard = S::settle(lock.lock()).unwrap();
        lock.release().unwrap();
        guard
    };
    const A_BIT: Duration = Duration::from_millis(1);
    let free = Some(Refused::NotOwner(NotOwner::Free));
    assert_eq!(condition.wait(left_over()).err(), free);
    assert_eq!(condition.wait_timeout(left_over(), A_BIT).err(), free);
    assert_eq!(condition.wait_for(left_over(), |_| true, A_BIT).err(), free);
    assert!(!lock.is_locked() && lock.depth() == 0);
    // One level of two: the other guard is as good as the first.
    let guards = (S::settle(lock.lock()).unwrap(), S::settle(lock.lock()).unwrap());
    lock.release().unwrap();
    assert!(!condition.wait_timeout(guards.0, A_BIT).unwrap().1);
    assert_eq!(condition.wait_timeout(guards.1, A_BIT).err(), free);
}

#[test]
fn wait_with_a_guard_that_is_left_over_names_the_owner() {
    needs!(shared_locks);
    left_over_guard_is_refused(&RLock::new(()), &Condition::new());
    left_over_guard_is_refused(&RLock::local(()), &Condition::local());
    let shared = (Shm::place(RLock::shared(())).unwrap(), Shm::place(Condition::shared()).unwrap());
    left_over_guard_is_refused::<Shared>(&shared.0, &shared.1);

    let lock = RLock::new(());
    let guard = lock.lock();
    lock.release().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| lock.acquire()); // and keeps it
    });
    let refused = Condition::new().wait_timeout(guard, Duration::ZERO);
    assert_eq!(refused.err(), Some(Refused::NotOwner(NotOwner::HeldByAnother)));
    assert!(lock.is_locked());

    let lock = Shm::place(Lock::shared(())).unwrap();
    let guard = lock.lock().unwrap();
    lock.release().unwrap();
    assert_eq!(shared.1.wait_timeout(guard, Duration::ZERO).err(), Some(Refused::NotOwner(NotOwner::Free)));
}
