//! Locks without data, taken and released without a guard.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Refused, Scope, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::bare::{ByName, Named, NotOwner};
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::handoff::HandoffLock;
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;

const A_BIT: Duration = Duration::from_millis(5);

fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

#[test]
fn shared_lock_is_released_by_its_taker_only() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    assert_eq!(lock.release(), Err(NotOwner::Free));
    lock.acquire().unwrap();
    assert!(lock.is_locked() && lock.is_mine());
    assert_eq!(lock.acquire(), Err(Refused::WouldDeadlock));
    assert_eq!(lock.try_acquire(), Ok(false));
    let began = Instant::now();
    assert_eq!(lock.acquire_timeout(A_BIT), Ok(false));
    assert!(began.elapsed() >= A_BIT, "after its time");
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(lock.acquire_timeout(&cancel), Ok(false));
    elsewhere(|| {
        assert!(!lock.is_mine());
        assert_eq!(lock.release(), Err(NotOwner::HeldByAnother));
        assert_eq!(lock.acquire_timeout(A_BIT), Ok(false));
    });
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(lock.release(), Err(NotOwner::Free));
    elsewhere(|| {
        assert_eq!(lock.try_acquire(), Ok(true));
        assert_eq!(lock.release(), Ok(()));
    });
}

#[test]
fn guard_that_outlives_the_release_is_harmless() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let others = [0; 3].map(|_| Shm::place(Lock::<(), Shared>::shared(())).unwrap());
    for around in 0..4 {
        // With others held before and after it, the lock stands elsewhere in its thread's list.
        let before: Vec<_> = others.iter().take(around).map(|other| other.lock().unwrap()).collect();
        let guard = lock.lock().unwrap();
        let after: Vec<_> = others.iter().skip(around).map(|other| other.lock().unwrap()).collect();
        lock.release().unwrap();
        drop(guard);
        assert!(!lock.is_locked());
        assert!(others.iter().all(|other| other.is_mine()));
        drop((before, after));
        assert!(elsewhere(|| lock.try_acquire() == Ok(true) && lock.release().is_ok()));
        assert!(others.iter().all(|other| !other.is_locked()));
    }
}

#[test]
fn memory_of_a_lock_that_is_held_bare_stays_mapped() {
    needs!(other_mappings);
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let again = lock.try_clone().unwrap();
    lock.acquire().unwrap();
    drop(lock);
    let other = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    other.acquire().unwrap(); // writes into the neighbour in the list
    other.release().unwrap();
    assert!(again.is_mine());
    again.release().unwrap();
    assert!(!again.is_locked());
}

#[test]
fn local_lock_is_released_once() {
    let lock = Lock::local(());
    assert_eq!(lock.acquire(), Ok(()));
    assert_eq!(lock.acquire(), Err(Refused::WouldDeadlock));
    assert_eq!(lock.acquire_timeout(A_BIT), Ok(false));
    assert_eq!((lock.release(), lock.release()), (Ok(()), Err(NotOwner::Free)));
}

#[test]
fn local_rlock_is_released_level_by_level() {
    let lock = RLock::local(());
    assert_eq!(lock.release(), Err(NotOwner::Free));
    assert_eq!([lock.acquire(), lock.acquire()], [Ok(()); 2]);
    assert_eq!([(); 3].map(|()| lock.release()), [Ok(()), Ok(()), Err(NotOwner::Free)]);
    assert_eq!((lock.depth(), lock.try_acquire()), (0, Ok(true)));
    assert_eq!(lock.release(), Ok(()));
}

#[test]
fn private_rlock_is_released_level_by_level() {
    static LOCK: RLock<()> = RLock::new(());
    LOCK.acquire();
    assert!(LOCK.try_acquire() && LOCK.acquire_timeout(A_BIT));
    assert_eq!((LOCK.depth(), elsewhere(|| LOCK.release())), (3, Err(NotOwner::HeldByAnother)));
    assert!(!elsewhere(|| LOCK.try_acquire()));
    assert_eq!([(); 4].map(|()| LOCK.release()), [Ok(()), Ok(()), Ok(()), Err(NotOwner::Free)]);
}

#[test]
fn shared_rlock_is_released_level_by_level() {
    needs!(shared_locks);
    let lock = Shm::place(RLock::<(), Shared>::shared(())).unwrap();
    lock.acquire().unwrap();
    let guard = lock.lock().unwrap();
    assert_eq!(lock.release(), Ok(()));
    assert_eq!((lock.depth(), lock.release()), (1, Ok(())));
    drop(guard);
    assert_eq!((lock.depth(), lock.release()), (0, Err(NotOwner::Free)));
    assert!(NotOwner::HeldByAnother.to_string().contains("HandoffLock"));
    assert!(NotOwner::Free.to_string().contains("take it first"));
}

#[test]
fn private_lock_is_released_by_anyone_once() {
    static LOCK: Lock<()> = Lock::new(());
    assert_eq!(LOCK.release(), Err(NotOwner::Free));
    LOCK.acquire();
    assert!(!LOCK.try_acquire() && !LOCK.acquire_timeout(A_BIT));
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(!LOCK.acquire_timeout(&cancel));
    assert_eq!([(); 2].map(|()| elsewhere(|| LOCK.release())), [Ok(()), Err(NotOwner::Free)]);
    assert!(LOCK.try_acquire());
    thread::scope(|scope| {
        let other = scope.spawn(|| LOCK.acquire()); // a sleeper is woken by the release
        thread::sleep(A_BIT);
        LOCK.release().unwrap();
        other.join().unwrap();
    });
    assert!(LOCK.is_locked());
    let guard = LOCK.try_lock();
    assert!(guard.is_none());
    LOCK.release().unwrap();
}

/// A wait without a guard ends with the lock held as before, and another thread held the lock meanwhile.
fn waits_by_name<S: Scope, L: Named<Scope = S> + Sync + 'static>(
    changed: &Condition<S>,
    by_name: impl Fn() -> ByName<'static, L>,
    with_the_lock: impl Fn(&dyn Fn()) + Sync,
) where
    Condition<S>: Sync,
{
    let (_, notified) = changed.wait_timeout(by_name(), A_BIT).unwrap();
    assert!(!notified);
    thread::scope(|scope| {
        scope.spawn(|| {
            let notified = AtomicU32::new(0);
            while notified.load(Relaxed) == 0 {
                with_the_lock(&|| notified.store(changed.notify(1), Relaxed));
                thread::yield_now();
            }
        });
        let _ = changed.wait(by_name()).unwrap();
    });
    drop(by_name());
}

#[test]
fn condition_waits_with_a_lock_that_is_held_by_name() {
    static LOCK: Lock<()> = Lock::new(());
    static RLOCK: RLock<()> = RLock::new(());
    static HANDOFF: HandoffLock = HandoffLock::new();
    let free = Err(NotOwner::Free);
    assert_eq!((LOCK.by_name().map(drop), RLOCK.by_name().map(drop), HANDOFF.by_name().map(drop)), (free, free, free));
    let changed = Condition::new();

    LOCK.acquire();
    waits_by_name(
        &changed,
        || LOCK.by_name().unwrap(),
        |body| {
            LOCK.acquire();
            body();
            LOCK.release().unwrap();
        },
    );
    assert!(LOCK.is_locked());
    LOCK.release().unwrap();

    RLOCK.acquire();
    RLOCK.acquire();
    waits_by_name(
        &changed,
        || RLOCK.by_name().unwrap(),
        |body| {
            let _held = RLOCK.lock();
            body();
        },
    );
    assert_eq!(RLOCK.depth(), 2);
    assert_eq!(elsewhere(|| RLOCK.by_name().map(drop)), Err(NotOwner::HeldByAnother));

    HANDOFF.acquire();
    waits_by_name(&changed, || HANDOFF.by_name().unwrap(), |body| HANDOFF.with(body));
    assert!(HANDOFF.locked());
    let left_over = HANDOFF.by_name().unwrap();
    HANDOFF.release().unwrap();
    assert_eq!(changed.wait(left_over).err(), Some(Refused::NotOwner(NotOwner::Free)));
}

#[test]
fn hold_is_of_one_lock_one_mapping_and_one_thread() {
    needs!(shared_locks);
    needs!(other_mappings);
    let lock = Shm::place(Lock::<u32, Shared>::shared(5)).unwrap();
    let (again, other) = (lock.try_clone().unwrap(), Shm::place(Lock::<u32, Shared>::shared(6)).unwrap());
    let mut hold = lock.lock().unwrap().into_hold();
    assert!(lock.is_mine() && lock.is_locked());
    *lock.held_mut(&mut hold).unwrap() += 1;
    assert_eq!((lock.held(&hold), lock.is_abandoned(&hold)), (Ok(&6), Ok(false)));
    assert_eq!((again.held(&hold), other.held(&hold)), (Err(NotOwner::HeldByGuard), Err(NotOwner::Free)));
    let hold = other.resume(again.resume(hold).unwrap_err()).unwrap_err();
    let hold = elsewhere(|| {
        assert_eq!(lock.held(&hold), Err(NotOwner::HeldByAnother));
        lock.resume(hold).map(drop).unwrap_err()
    });
    let guard = lock.resume(hold).unwrap();
    assert_eq!(*guard, 6);
    drop(guard);
    assert!(!lock.is_locked());
}
