//! The barrier where its behaviour does not depend on the participants, which `tests/sync` covers. The action of a
//! party, the table of parties, leaked parties and many parties.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread::{self, Builder, Scope as Threads, ScopedJoinHandle};

use ossature_sys::errno::Errno;
use ossature_sys::fd::duplicate;
use ossature_sys::scope::{Refused, Scope, Shared};
use ossature_sys::shm::{AttachError, Shm};
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::support::soon;

/// Starts a thread that waits at the barrier. On return the barrier counts the thread.
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

/// Checks that no thread is inside: after a reset two cycles succeed.
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
fn room_for_participants_is_part_of_the_type() {
    needs!(shared_locks);
    let small = Shm::place(Barrier::<Shared, 8>::shared_with_capacity(8)).unwrap();
    assert!(size_of::<Barrier<Shared, 8>>() <= 512);
    let parties: Vec<_> = (0..8).map(|_| small.join().unwrap()).collect();
    assert_eq!(small.join().map(drop), Err(Refused::TableFull));
    drop(parties);
    assert_eq!(Shm::place(Barrier::<Shared, 8>::shared_with_capacity(9)).map(drop), Err(Errno::INVAL));
    // SAFETY: the descriptor stays in this test, which uses the memory through `Shm`.
    let memory = duplicate(unsafe { small.descriptor() }).unwrap();
    // SAFETY: as above.
    let other = unsafe { Shm::<Barrier<Shared, 9>>::from_fd(memory) };
    assert_eq!(other.map(drop), Err(AttachError::OtherType));
}

/// The number of bytes of the barrier's file that have pages.
fn resident<const N: usize>(barrier: &Shm<Barrier<Shared, N>>) -> u64 {
    // SAFETY: the descriptor stays here.
    let memory = duplicate(unsafe { barrier.descriptor() }).unwrap();
    File::from(memory).metadata().unwrap().blocks() * 512
}

#[test]
fn a_barrier_for_65536_takes_the_memory_of_those_who_are_there() {
    needs!(own_nodes);
    let barrier = Shm::place(Barrier::<Shared, 65_536>::shared_with_capacity(2)).unwrap();
    let whole = size_of::<Barrier<Shared, 65_536>>() as u64;
    let empty = resident(&barrier);
    assert!(empty <= whole / 16, "{empty} of {whole}");
    assert_eq!(Shm::place(Barrier::<Shared, 65_536>::shared_with_capacity(65_537)).map(drop), Err(Errno::INVAL));
    // Many more participants come than there are parties, about as many as two threads may have.
    thread::scope(|threads| {
        let many = || (0..1_800).map(|_| barrier.join().unwrap()).collect::<Vec<_>>();
        let (one, other) = (many(), threads.spawn(move || many().len()));
        assert_eq!(other.join().unwrap() + one.len(), 3_600);
    });
    let full = resident(&barrier);
    assert!(empty < full && full <= whole / 4, "{empty} and then {full} of {whole}");
    let again = barrier.try_clone().unwrap();
    thread::scope(|threads| {
        let other = threads.spawn(|| barrier.wait().unwrap());
        assert_eq!(again.wait().unwrap() + other.join().unwrap(), 1);
    });
}

#[test]
fn parties_of_the_greatest_number_have_their_memory_at_once() {
    needs!(own_nodes);
    let barrier = Shm::place(Barrier::<Shared, 65_536>::shared_with_capacity(65_536)).unwrap();
    assert!(resident(&barrier) >= size_of::<Barrier<Shared, 65_536>>() as u64);
    assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (65_536, 0, false));
}

/// Each thread waits in three cycles. Then one of the threads ends, and the others see its death.
#[test]
fn a_thousand_threads_wait_for_each_other_and_hear_of_a_death() {
    needs!(own_nodes);
    const PARTIES: u32 = 1_000;
    let barrier = Shm::place(Barrier::<Shared, 1_000>::shared_with_capacity(PARTIES)).unwrap();
    soon(|| {
        thread::scope(|threads| {
            let party = |number: u32| {
                let barrier = &barrier;
                let body = move || {
                    // Every other thread joins. The others have a slot for each wait.
                    let party = (number % 2 == 0).then(|| barrier.join().unwrap());
                    let numbers = [(); 3].map(|()| barrier.wait().unwrap());
                    if number == 500 {
                        core::mem::forget(party);
                        return (numbers, None);
                    }
                    (numbers, Some(barrier.wait()))
                };
                Builder::new().stack_size(128 << 10).spawn_scoped(threads, body).unwrap()
            };
            let parties: Vec<_> = (0..PARTIES).map(party).collect();
            let ended: Vec<_> = parties.into_iter().map(|party| party.join().unwrap()).collect();
            for cycle in 0..3 {
                let mut numbers: Vec<_> = ended.iter().map(|(numbers, _)| numbers[cycle]).collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..PARTIES), "each has a number of its own in cycle {cycle}");
            }
            let told = ended.iter().filter_map(|(_, last)| *last);
            assert!(told.map(Result::unwrap_err).all(|broken| broken == Broken::Died));
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
