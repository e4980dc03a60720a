//! The barrier where its behaviour does not depend on who takes part, which `tests/sync` covers: one's own action, the
//! table of parties, leaked ones.

use std::thread::{self, Scope as Threads, ScopedJoinHandle};

use ossature_sys::errno::Errno;
use ossature_sys::scope::{Refused, Scope};
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::support::soon;

/// A thread that waits at the barrier, and is counted there when this returns.
fn waiter<'s, S: Scope>(
    threads: &'s Threads<'s, '_>,
    barrier: &'s Barrier<S>,
) -> ScopedJoinHandle<'s, Result<u32, Broken>>
where
    Barrier<S>: Sync,
{
    let before = barrier.waiting();
    let waiter = threads.spawn(|| barrier.wait());
    while barrier.waiting() != before + 1 {
        thread::yield_now();
    }
    waiter
}

/// Nobody is inside: after a reset two cycles go well.
fn serves_after_reset<S: Scope>(barrier: &Barrier<S>)
where
    Barrier<S>: Sync,
{
    S::settle(barrier.reset()).unwrap();
    assert!(!barrier.is_broken());
    for _ in 0..2 {
        thread::scope(|threads| {
            for _ in 1..barrier.parties() {
                threads.spawn(|| barrier.wait().unwrap());
            }
            barrier.wait().unwrap();
        });
    }
}

#[test]
fn shared_barrier_takes_120_parties_and_no_more() {
    needs!(shared_locks);
    assert_eq!(Shm::place(Barrier::shared(0)).map(drop), Err(Errno::INVAL));
    assert_eq!(Shm::place(Barrier::shared(121)).map(drop), Err(Errno::INVAL));
    let barrier = Shm::place(Barrier::shared(120)).unwrap();
    let mut parties: Vec<_> = (0..120).map(|_| barrier.join().unwrap()).collect();
    assert_eq!(barrier.join().map(drop), Err(Refused::TableFull));
    soon(|| {
        thread::scope(|threads| {
            assert_eq!(threads.spawn(|| barrier.wait()).join().unwrap(), Err(Broken::Refused(Refused::TableFull)));
            parties.pop();
            assert_eq!(waiter(threads, &*barrier).thread().name(), None);
            barrier.abort();
        });
    });
}

#[test]
fn end_of_an_enrolled_thread_breaks_it_and_of_one_that_left_does_not() {
    needs!(own_nodes);
    let barrier = Shm::place(Barrier::shared(2)).unwrap();
    soon(|| {
        thread::scope(|threads| {
            threads.spawn(|| drop(barrier.join().unwrap())).join().unwrap();
            let other = waiter(threads, &*barrier);
            // A leaked party of a thread that ends is as a death.
            threads.spawn(|| core::mem::forget(barrier.join().unwrap()));
            assert_eq!(other.join().unwrap(), Err(Broken::Died));
        });
    });
    assert_eq!(barrier.wait(), Err(Broken::Died));
    serves_after_reset(&*barrier);
}

#[test]
fn memory_with_a_leaked_party_stays_mapped() {
    needs!(own_nodes);
    let barrier = Shm::place(Barrier::shared(2)).unwrap();
    let at = core::ptr::from_ref(&*barrier);
    core::mem::forget(barrier.join().unwrap());
    drop(barrier);
    // SAFETY: `Shm` leaks a mapping in which something is linked; that it did is what this looks at.
    assert_eq!(unsafe { &*at }.parties(), 2);
}
