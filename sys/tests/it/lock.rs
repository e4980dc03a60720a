//! The lock where its behaviour does not depend on the participants, which `tests/sync` covers: mappings, numbers,
//! texts.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use ossature_sys::scope::{Refused, Shared};
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::lock::Lock;

use crate::support::soon;

#[test]
fn two_mappings_are_one_lock() {
    needs!(shared_locks);
    let one = Shm::place(Lock::<u64, Shared>::shared(0)).unwrap();
    let two = one.try_clone().unwrap();
    let held = one.lock().unwrap();
    assert_eq!(two.lock().map(drop), Err(Refused::WouldDeadlock));
    assert!(two.try_lock().unwrap().is_none());
    soon(|| {
        thread::scope(|scope| {
            scope.spawn(|| assert!(two.try_lock().unwrap().is_none()));
        });
    });
    drop(held);
    *two.lock().unwrap() += 1;
    assert_eq!(*one.lock().unwrap(), 1);
}

#[test]
fn locks_nest_and_are_released_in_any_order() {
    needs!(shared_locks);
    let locks = Shm::place(array::<Lock<u64, Shared>, _, 8>(|_| Lock::shared(0))).unwrap();
    for pattern in 0..40_320_u32 {
        let mut held: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
        let mut choice = pattern;
        while !held.is_empty() {
            let n = held.len() as u32;
            *held.swap_remove((choice % n) as usize) += 1;
            choice /= n;
        }
    }
    assert!(locks.iter().all(|lock| *lock.lock().unwrap() == 40_320));
}

#[test]
fn thread_refuses_more_locks_than_the_kernel_would_clean_up() {
    needs!(own_nodes);
    soon(|| {
        let locks = Shm::place_slice(2_000, |_| Lock::<u64, Shared>::shared(0)).unwrap();
        let mut held: Vec<_> = locks.iter().map_while(|lock| lock.lock().ok()).collect();
        assert!((1_890..=1_900).contains(&held.len()), "{}", held.len());
        let next = &locks[held.len()];
        assert_eq!(next.try_lock().map(|taken| taken.is_some()), Err(Refused::TooMany));
        drop(held.remove(100));
        assert!(next.try_lock().unwrap().is_some(), "one released makes room for one");
    });
}

/// While two mappings are compared, the depth of a node is all ones. A process that is killed then leaves it so.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_depth_that_a_killed_process_leaves_stops_no_take() {
    needs!(own_nodes);
    let (first, second) = (Shm::place(Lock::shared(1)).unwrap(), Shm::place(Lock::shared(2)).unwrap());
    let _held = first.lock().unwrap();
    let depth = (&raw const *first).cast::<u32>().cast_mut().wrapping_add(3);
    // SAFETY: the fourth word of a lock is its node's depth, an atomic of this layout version, for as long as `first`
    // lives.
    let depth = unsafe { AtomicU32::from_ptr(depth) };
    depth.store(u32::MAX, Relaxed);
    assert_eq!(*second.lock().unwrap(), 2);
}

#[test]
fn guards_and_locks_show_their_data() {
    let lock = Lock::new(3);
    assert_eq!(format!("{lock:?}"), "Lock { data: 3 }");
    let guard = lock.lock();
    assert_eq!(format!("{guard:?} {lock:?}"), "Guard(3) Lock { data: <locked> }");
}
