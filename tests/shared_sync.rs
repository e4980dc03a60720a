//! The waiting primitives of `multiprocessing` between processes: a binary with one thread, because `fork` refuses
//! beside libtest's threads.

#[path = "../sys/tests/fork/harness.rs"]
#[allow(dead_code, reason = "the harness serves another binary too")]
mod harness;

use std::error::Error as _;
use std::time::Duration;

use harness::{Test, killed_holding};
use ossature::ErrorKind;
use ossature::multiprocessing::sync::ConditionLock;
use ossature::multiprocessing::{
    Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RawValue, RwLock, Semaphore,
};
use ossature::sys::process::{Child, ExitStatus, ForkError, fork};
use ossature::sys::sync::barrier::Broken;

const TESTS: &[Test] = &[
    ("lock_excludes_other_processes", lock_excludes_other_processes),
    ("release_by_a_forked_child_is_refused", release_by_a_forked_child_is_refused),
    ("fork_beside_a_held_lock_is_refused", fork_beside_a_held_lock_is_refused),
    ("rwlock_is_read_beside_readers_and_written_alone", rwlock_is_read_beside_readers_and_written_alone),
    ("killed_writer_of_the_rwlock_leaves_word", killed_writer_of_the_rwlock_leaves_word),
    ("handoff_lock_is_released_by_another_process", handoff_lock_is_released_by_another_process),
    ("semaphore_is_released_by_another_process", semaphore_is_released_by_another_process),
    ("no_more_than_two_are_inside_a_semaphore_of_two", no_more_than_two_are_inside_a_semaphore_of_two),
    ("event_frees_all_who_wait", event_frees_all_who_wait),
    ("condition_passes_items_from_one_to_another", condition_passes_items_from_one_to_another),
    ("barrier_brings_processes_together", barrier_brings_processes_together),
    ("killed_holder_frees_the_lock_and_leaves_word", killed_holder_frees_the_lock_and_leaves_word),
    ("killed_holder_frees_the_rlock_and_the_condition", killed_holder_frees_the_rlock_and_the_condition),
    ("killed_waiter_stops_no_notifier", killed_waiter_stops_no_notifier),
    ("killed_holder_of_the_handoff_lock_leaves_it_taken", killed_holder_of_the_handoff_lock_leaves_it_taken),
    ("killed_holder_of_a_permit_gives_it_back", killed_holder_of_a_permit_gives_it_back),
    ("killed_party_breaks_the_barrier", killed_party_breaks_the_barrier),
];

fn main() {
    harness::run(TESTS)
}

const TURNS: u64 = 5_000;
const A_BIT: Duration = Duration::from_millis(5);

fn well(child: &mut Child) {
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
}

fn lock_excludes_other_processes() {
    let (lock, rlock, changed) = (Lock::new().unwrap(), RLock::new().unwrap(), Condition::new().unwrap());
    let counts = [0; 4].map(|_| RawValue::new(0_u64).unwrap());
    let add = |count: &RawValue<u64>| count.set(count.get() + 1); // two steps, which the lock makes one
    let turns = || {
        for _ in 0..TURNS {
            lock.acquire().unwrap();
            add(&counts[0]);
            lock.release().unwrap();
            rlock.with(|| rlock.with(|| add(&counts[1])).unwrap()).unwrap();
            changed.with(|| add(&counts[2])).unwrap();
            let guard = lock.lock().unwrap();
            add(&counts[3]);
            drop(guard);
        }
        0
    };
    let mut children = [fork(turns).unwrap(), fork(turns).unwrap()];
    children.iter_mut().for_each(well);
    assert_eq!(counts.map(|count| count.get()), [2 * TURNS; 4]);
}

fn release_by_a_forked_child_is_refused() {
    let (lock, asked, answered) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let mut child = fork(|| {
        asked.wait().unwrap();
        let refused = lock.locked() && lock.release().is_err_and(|error| error.kind() == ErrorKind::NotOwner);
        answered.set();
        u8::from(!refused)
    })
    .unwrap();
    lock.acquire().unwrap();
    asked.set();
    answered.wait().unwrap();
    assert!(lock.is_mine(), "it is here still");
    lock.release().unwrap();
    well(&mut child);
}

fn fork_beside_a_held_lock_is_refused() {
    let lock = RLock::new().unwrap();
    lock.acquire().unwrap();
    assert!(matches!(fork(|| 0), Err(ForkError::LockHeld)));
    lock.release().unwrap();
    well(&mut fork(|| 0).unwrap());
}

fn rwlock_is_read_beside_readers_and_written_alone() {
    let (lock, ended) = (RwLock::new([0_u64; 2]).unwrap(), Event::new().unwrap());
    let mut reads = fork(|| {
        while !ended.is_set() {
            let [first, second] = *lock.read().unwrap();
            assert_eq!(first, second);
        }
        0
    })
    .unwrap();
    let mut writes = fork(|| {
        for _ in 0..TURNS {
            lock.with_write(|pair| pair.iter_mut().for_each(|number| *number += 1)).unwrap();
        }
        0
    })
    .unwrap();
    for _ in 0..TURNS {
        assert!(lock.with_read(|[first, second]| first == second).unwrap());
    }
    well(&mut writes);
    ended.set();
    well(&mut reads);
    assert_eq!(*lock.read().unwrap(), [TURNS; 2]);
    assert!(!lock.locked());
}

fn killed_writer_of_the_rwlock_leaves_word() {
    let lock = RwLock::new([0_u64; 2]).unwrap();
    killed_holding(|| {
        let mut guard = lock.write().unwrap();
        guard[0] = 1;
        std::mem::forget(guard);
    });
    for error in [lock.with_read(|_| ()).unwrap_err(), lock.with_write(|_| ()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Abandoned);
        assert!(error.to_string().contains("take write(), repair the data"), "{error}");
    }
    let mut guard = lock.write().unwrap();
    guard[1] = 1;
    guard.mark_consistent();
    drop(guard);
    assert_eq!(lock.with_read(|pair| *pair).unwrap(), [1, 1]);
    killed_holding(|| std::mem::forget(lock.read().unwrap()));
    lock.with_write(|pair| pair[0] = 2).unwrap();
    lock.write().unwrap().mark_unrecoverable();
    assert_eq!(lock.read().unwrap_err().kind(), ErrorKind::Unrecoverable);
}

fn handoff_lock_is_released_by_another_process() {
    let lock = HandoffLock::new().unwrap();
    lock.acquire().unwrap();
    let mut child = fork(|| u8::from(!lock.locked() || lock.release().is_err())).unwrap();
    lock.acquire().unwrap();
    well(&mut child);
    lock.release().unwrap();
    assert_eq!(lock.release().unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn semaphore_is_released_by_another_process() {
    let units = Semaphore::new(0).unwrap();
    let mut child = fork(|| u8::from(units.release_many(3).is_err())).unwrap();
    for _ in 0..3 {
        units.acquire().unwrap();
    }
    well(&mut child);
    assert!(units.locked() && !units.acquire_timeout(A_BIT).unwrap());
}

fn no_more_than_two_are_inside_a_semaphore_of_two() {
    let (seats, lock) = (BoundedSemaphore::new(2).unwrap(), Lock::new().unwrap());
    let (inside, most) = (RawValue::new(0_u32).unwrap(), RawValue::new(0_u32).unwrap());
    let visits = || {
        for _ in 0..200 {
            let seat = seats.permit().unwrap();
            lock.with(|| {
                inside.set(inside.get() + 1);
                most.set(most.get().max(inside.get()));
            })
            .unwrap();
            std::thread::yield_now();
            lock.with(|| inside.set(inside.get() - 1)).unwrap();
            drop(seat);
        }
        0
    };
    let mut children = [0; 5].map(|_| fork(visits).unwrap());
    children.iter_mut().for_each(well);
    assert!((1..=2).contains(&most.get()), "{}", most.get());
    assert_eq!((inside.get(), seats.get_value()), (0, 2));
}

fn event_frees_all_who_wait() {
    let (ready, waiting) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    let wait = || {
        waiting.release().unwrap();
        u8::from(ready.wait().is_err())
    };
    let mut children = [0; 3].map(|_| fork(wait).unwrap());
    (0..3).for_each(|_| waiting.acquire().unwrap());
    assert!(!ready.wait_timeout(A_BIT).unwrap());
    ready.set();
    children.iter_mut().for_each(well);
}

fn condition_passes_items_from_one_to_another() {
    passes_items(
        &Condition::new().unwrap(),
        |changed| changed.acquire().unwrap(),
        |changed| changed.release().unwrap(),
    );
    let over = Condition::with_lock(Lock::new().unwrap()).unwrap();
    passes_items(&over, |changed| changed.acquire().unwrap(), |changed| changed.release().unwrap());
}

fn passes_items<L: ConditionLock>(
    changed: &Condition<L>,
    acquire: impl Fn(&Condition<L>),
    release: impl Fn(&Condition<L>),
) {
    let (made, used) = (RawValue::new(0_u64).unwrap(), RawValue::new(0_u64).unwrap());
    let mut consumer = fork(|| {
        for item in 1..=TURNS {
            acquire(changed);
            while made.get() < item {
                changed.wait().unwrap();
            }
            used.set(item);
            changed.notify(1).unwrap();
            release(changed);
        }
        0
    })
    .unwrap();
    for item in 1..=TURNS {
        acquire(changed);
        assert!(changed.wait_for(|| used.get() == item - 1, None).unwrap());
        made.set(item);
        changed.notify_all().unwrap();
        release(changed);
    }
    well(&mut consumer);
    assert_eq!(used.get(), TURNS);
}

fn barrier_brings_processes_together() {
    let (barrier, actions) = (Barrier::new(3).unwrap(), RawValue::new(0_u32).unwrap());
    let cycles = || {
        for cycle in 1..=200 {
            barrier.wait_with(|| actions.set(actions.get() + 1)).unwrap();
            assert_eq!(actions.get(), cycle, "nobody is a cycle ahead");
            barrier.wait().unwrap();
        }
        0
    };
    let mut children = [fork(cycles).unwrap(), fork(cycles).unwrap()];
    cycles();
    children.iter_mut().for_each(well);
}

fn killed_holder_frees_the_lock_and_leaves_word() {
    let lock = Lock::new().unwrap();
    killed_holding(|| lock.acquire().unwrap());
    assert!(!lock.locked());
    assert_eq!(lock.acquire().unwrap_err().kind(), ErrorKind::Abandoned);
    let mut guard = lock.lock().unwrap();
    assert!(guard.abandoned());
    guard.mark_consistent();
    drop(guard);
    lock.with(|| ()).unwrap();
}

fn killed_holder_frees_the_rlock_and_the_condition() {
    let (rlock, changed) = (RLock::new().unwrap(), Condition::new().unwrap());
    killed_holding(|| {
        (0..3).for_each(|_| rlock.acquire().unwrap());
        changed.acquire().unwrap();
    });
    assert_eq!(rlock.with(|| ()).unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!(changed.try_acquire().unwrap_err().kind(), ErrorKind::Abandoned);
    for guard in [rlock.lock().unwrap(), changed.lock().unwrap()] {
        guard.mark_consistent();
    }
    rlock.with(|| assert_eq!(rlock.depth(), 1)).unwrap();
    changed.with(|| assert_eq!(changed.notify_all().unwrap(), 0)).unwrap();
}

fn killed_waiter_stops_no_notifier() {
    let (changed, waiting) = (Condition::new().unwrap(), Semaphore::new(0).unwrap());
    let mut child = fork(|| {
        changed.acquire().unwrap();
        waiting.release().unwrap();
        changed.wait().unwrap();
        1
    })
    .unwrap();
    waiting.acquire().unwrap();
    changed.with(|| ()).unwrap(); // it waits now, for it has let the lock go
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    changed.acquire().unwrap();
    changed.notify_all().unwrap(); // answers; with Python it would wait for the dead one
    changed.release().unwrap();
}

fn killed_holder_of_the_handoff_lock_leaves_it_taken() {
    let lock = HandoffLock::new().unwrap();
    killed_holding(|| lock.acquire().unwrap());
    assert!(!lock.acquire_timeout(A_BIT).unwrap());
    lock.release().unwrap();
    lock.with(|| ()).unwrap();
}

fn killed_holder_of_a_permit_gives_it_back() {
    let seats = BoundedSemaphore::new(1).unwrap();
    killed_holding(|| seats.permit().unwrap());
    seats.with(|| assert!(seats.locked())).unwrap();
    killed_holding(|| seats.acquire().unwrap());
    assert!(!seats.acquire_timeout(A_BIT).unwrap(), "nobody knows whose that unit was");
    seats.release().unwrap();
}

fn killed_party_breaks_the_barrier() {
    let barrier = Barrier::new(2).unwrap();
    killed_holding(|| barrier.join().unwrap());
    let error = barrier.wait().unwrap_err();
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Broken::Died));
    assert!(barrier.broken());
    barrier.reset().unwrap();
    let mut child = fork(|| u8::from(barrier.wait().is_err())).unwrap();
    barrier.wait().unwrap();
    well(&mut child);
}
