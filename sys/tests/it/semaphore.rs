//! The semaphore where its behaviour does not depend on the participants, which `tests/sync` covers: Send, and the
//! table of permits.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ossature_sys::fd::duplicate;
use ossature_sys::scope::{LockBackend, Refused, Shared};
use ossature_sys::shm::{AttachError, Shm};
use ossature_sys::sync::semaphore::{Overflow, Semaphore};

use crate::support::{soon, thread_id, until_asleep, within};

#[test]
fn private_permit_may_be_dropped_by_another_thread() {
    static SEMAPHORE: Semaphore = Semaphore::bounded(1);
    let permit = SEMAPHORE.permit();
    thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!(SEMAPHORE.value(), 1);
}

/// The default. Without owners there may be any number of units.
#[test]
fn shared_semaphore_has_120_permits_at_a_time() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared(200)).unwrap();
    let mut permits: Vec<_> = (0..120).map(|_| semaphore.permit().unwrap()).collect();
    if Shared::backend() == LockBackend::Node {
        assert_eq!(semaphore.permit().map(|_| ()), Err(Refused::TableFull));
        assert_eq!(semaphore.try_permit().map(|_| ()), Err(Refused::TableFull));
        assert!(Refused::TableFull.to_string().contains("more room by the parameter `N`"));
    }
    assert_eq!(semaphore.value(), 80);
    for _ in 0..80 {
        assert!(semaphore.try_acquire().unwrap());
    }
    assert!(!semaphore.try_acquire().unwrap() && semaphore.try_permit().unwrap().is_none());
    // In another order than they were taken in.
    permits.drain(40..80).for_each(drop);
    permits.drain(..).rev().for_each(drop);
    assert_eq!(semaphore.value(), 120);
    for _ in 0..120 {
        assert!(semaphore.try_acquire().unwrap(), "units in slots are units");
    }
    assert_eq!(semaphore.value(), 0);
    semaphore.release(120).unwrap();
    drop(semaphore.permit().unwrap());
    assert_eq!(semaphore.value(), 120);
}

#[test]
fn room_for_permits_is_part_of_the_type() {
    needs!(shared_locks);
    assert!(size_of::<Semaphore<Shared, 8>>() <= 512);
    let small = Shm::place(Semaphore::<Shared, 2>::shared_with_capacity(5, 9)).unwrap();
    if Shared::backend() == LockBackend::Node {
        let both = [(); 2].map(|()| small.permit().unwrap());
        assert_eq!(small.permit().map(drop), Err(Refused::TableFull));
        assert_eq!((small.value(), small.release(4), small.release(1)), (3, Ok(()), Err(Overflow)));
        drop(both);
        assert_eq!(small.value(), 9);
    }
    // SAFETY: the descriptor stays in this test, which uses the memory through `Shm`.
    let memory = duplicate(unsafe { small.descriptor() }).unwrap();
    // SAFETY: as above.
    let other = unsafe { Shm::<Semaphore<Shared, 3>>::from_fd(memory) };
    assert_eq!(other.map(drop), Err(AttachError::OtherType));
}

#[test]
fn a_thousand_permits_come_and_go_in_any_order() {
    needs!(own_nodes);
    let semaphore = Shm::place(Semaphore::<Shared, 1_000>::shared_with_capacity(1_100, 1_100)).unwrap();
    within(Duration::from_secs(60), || {
        for stride in [1, 7, 501] {
            let mut permits: Vec<_> = (0..1_000).map(|_| Some(semaphore.permit().unwrap())).collect();
            assert_eq!(semaphore.permit().map(drop), Err(Refused::TableFull));
            assert_eq!((semaphore.value(), semaphore.release(1)), (100, Err(Overflow)));
            // Half of them in some order, of which some are taken again.
            for at in (0..500).map(|number| number * stride % 1_000) {
                drop(permits[at].take());
            }
            let again: Vec<_> = (0..200).map(|_| semaphore.try_permit().unwrap().unwrap()).collect();
            let free = 1_000 - permits.iter().flatten().count() as u32 - 200 + 100;
            assert_eq!(semaphore.value(), free);
            // The rest, in the count and in slots, is taken without owners, and then comes back.
            for _ in 0..free {
                assert!(semaphore.try_acquire().unwrap());
            }
            assert!(!semaphore.try_acquire().unwrap() && semaphore.try_permit().unwrap().is_none());
            assert!(!semaphore.acquire_timeout(Duration::from_millis(2)).unwrap());
            assert!(semaphore.permit_timeout(Duration::from_millis(2)).unwrap().is_none());
            drop(again);
            semaphore.release(free).unwrap();
            drop(permits);
            assert_eq!(semaphore.value(), 1_100);
        }
    });
}

/// A thread may have 1,900 entries in its list.
#[test]
fn a_semaphore_for_65536_takes_the_memory_of_its_permits() {
    needs!(own_nodes);
    const MOST: usize = 65_536;
    const EACH: usize = 1_850;
    let threads = MOST.div_ceil(EACH);
    let units = MOST as u32 + 1;
    let semaphore = &Shm::place(Semaphore::<Shared, MOST>::shared_with_capacity(units, units)).unwrap();
    let whole = size_of::<Semaphore<Shared, MOST>>() as u64;
    let resident = || {
        // SAFETY: the descriptor stays here.
        let memory = duplicate(unsafe { semaphore.descriptor() }).unwrap();
        File::from(memory).metadata().unwrap().blocks() * 512
    };
    let empty = resident();
    assert!(empty <= whole / 64, "{empty} of {whole}");
    let few: Vec<_> = (0..1_000).map(|_| semaphore.permit().unwrap()).collect();
    assert!(resident() <= whole / 32, "{} of {whole}", resident());
    drop(few);
    within(Duration::from_secs(120), || {
        let (held, end) = (&Barrier::new(threads + 1), &Barrier::new(threads + 1));
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || {
                    let count = EACH.min(MOST - number * EACH);
                    let permits: Vec<_> = (0..count).map(|_| semaphore.permit().unwrap()).collect();
                    held.wait();
                    end.wait();
                    drop(permits);
                });
            }
            held.wait();
            assert_eq!(semaphore.value(), 1);
            assert_eq!(semaphore.permit().map(drop), Err(Refused::TableFull));
            assert!(semaphore.try_acquire().unwrap() && !semaphore.try_acquire().unwrap());
            assert!(!semaphore.acquire_timeout(Duration::from_millis(2)).unwrap());
            end.wait();
        });
        assert_eq!(semaphore.value(), units - 1);
    });
}

/// A thread that has a permit until it ends, without giving it back.
struct Holder<'s> {
    end: Sender<()>,
    thread: thread::ScopedJoinHandle<'s, ()>,
}

impl<'s> Holder<'s> {
    /// Starts the thread. Returns when it has its permit.
    fn start<const N: usize>(scope: &'s thread::Scope<'s, '_>, semaphore: &'s Semaphore<Shared, N>) -> Self {
        let (end, until): (_, Receiver<()>) = channel();
        let (tell, told) = channel();
        let thread = scope.spawn(move || {
            core::mem::forget(semaphore.permit().unwrap());
            tell.send(()).unwrap();
            let _ = until.recv();
        });
        told.recv().unwrap();
        Self { end, thread }
    }

    fn ends(self) {
        drop(self.end);
        self.thread.join().unwrap();
    }
}

/// A sleeper watches 120 of the 400 slots.
#[test]
fn permit_of_a_thread_that_ends_comes_back_from_each_of_many_slots() {
    needs!(own_nodes);
    const UNITS: u32 = 400;
    for at in [0, 119, 120, 250, 399] {
        let semaphore = Shm::place(Semaphore::<Shared, 1_000>::shared_with_capacity(UNITS, UNITS)).unwrap();
        let semaphore = &*semaphore;
        soon(|| {
            thread::scope(|scope| {
                let before: Vec<_> = (0..at).map(|_| semaphore.permit().unwrap()).collect();
                let holder = Holder::start(scope, semaphore);
                let behind: Vec<_> = (at + 1..UNITS).map(|_| semaphore.permit().unwrap()).collect();
                assert!(semaphore.is_locked());
                let for_a_permit = asleep(scope, 1, move || drop(semaphore.permit().unwrap()));
                let bare = asleep(scope, 1, move || {
                    semaphore.acquire().unwrap();
                    semaphore.release(1).unwrap();
                });
                holder.ends();
                for sleeper in for_a_permit.into_iter().chain(bare) {
                    sleeper.join().unwrap();
                }
                drop((before, behind));
            });
        });
        assert_eq!(semaphore.value(), UNITS);
    }
}

/// All sleepers watch all 120 slots. One of them brings another slot into use, and ends with the permit.
#[test]
fn sleeper_learns_of_a_slot_beyond_those_that_it_watches() {
    needs!(own_nodes);
    let semaphore = Shm::place(Semaphore::<Shared, 1_000>::shared_with_capacity(120, u32::MAX)).unwrap();
    let (semaphore, served) = (&*semaphore, &AtomicU32::new(0));
    soon(|| {
        thread::scope(|scope| {
            let held: Vec<_> = (0..120).map(|_| semaphore.permit().unwrap()).collect();
            let sleepers = asleep(scope, 5, move || {
                core::mem::forget(semaphore.permit().unwrap());
                served.fetch_add(1, Relaxed);
            });
            // One unit serves them all, because each ends with it.
            semaphore.release(1).unwrap();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
            assert_eq!(served.load(Relaxed), 5);
            drop(held);
        });
        while semaphore.value() != 121 {
            thread::yield_now();
        }
    });
}

/// Each number of the head and of the first slots is replaced, one at a time, by some others.
#[test]
fn calls_with_a_limit_end_in_damaged_memory() {
    needs!(own_nodes);
    const A_BIT: Duration = Duration::from_micros(200);
    within(Duration::from_secs(60), || {
        for at in 0..60 {
            for damage in [u32::MAX, 0x8000_0000, 0x4000_0000, 0x3fff_ffff, 0x3fff_fffe, 65, 64, 3, 0] {
                let semaphore = Shm::place(Semaphore::<Shared, 64>::shared_with_capacity(2, 3)).unwrap();
                drop([(); 2].map(|()| semaphore.permit().unwrap()));
                // SAFETY: the number is in the semaphore, which is larger. Other threads do not use the memory.
                let number = unsafe { core::ptr::from_ref(&*semaphore).cast::<AtomicU32>().add(at) };
                // SAFETY: the memory is in use as atomic numbers, and stays mapped.
                unsafe { &*number }.store(damage, Relaxed);
                drop(semaphore.try_permit());
                drop(semaphore.permit_timeout(A_BIT));
                drop([(); 3].map(|()| semaphore.try_permit()));
                for _ in 0..4 {
                    let _ = semaphore.acquire_timeout(A_BIT);
                }
                let _ = (semaphore.release(1), semaphore.value());
            }
        }
    });
}

#[test]
fn permit_of_a_thread_that_ends_comes_back() {
    needs!(own_nodes); // in the other form a permit has no owner
    let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
    soon(|| {
        thread::scope(|scope| {
            let semaphore = &semaphore;
            let (end, until) = channel::<()>();
            let (tell, told) = channel();
            scope.spawn(move || {
                core::mem::forget(semaphore.permit().unwrap());
                tell.send(()).unwrap();
                let _ = until.recv();
            });
            told.recv().unwrap();
            assert!(semaphore.is_locked());
            let sleepers = asleep(scope, 1, move || drop(semaphore.permit().unwrap()));
            drop(end);
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
        while semaphore.value() != 1 {
            thread::yield_now();
        }
    });
}

#[test]
fn memory_with_a_leaked_permit_stays_mapped() {
    needs!(own_nodes);
    let semaphore = Shm::place(Semaphore::shared(1)).unwrap();
    let at = core::ptr::from_ref(&*semaphore);
    core::mem::forget(semaphore.permit().unwrap());
    drop(semaphore);
    // SAFETY: `Shm` leaks a mapping in which something is linked; that it did is what this looks at.
    assert_eq!(unsafe { &*at }.value(), 0);
}

#[test]
fn semaphore_begins_with_no_more_units_than_it_may_have() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared_up_to(5, 3)).unwrap();
    assert_eq!((semaphore.value(), semaphore.release(1)), (3, Err(Overflow)));
}

#[test]
fn held_permit_counts_for_the_bound() {
    needs!(shared_locks);
    let semaphore = Shm::place(Semaphore::shared_bounded(2)).unwrap();
    let permit = semaphore.permit().unwrap();
    if Shared::backend() == LockBackend::Node {
        assert_eq!(semaphore.release(1), Err(Overflow));
    }
    drop(permit);
    assert_eq!(semaphore.value(), 2);
}

/// Starts threads that sleep in `wait`. Returns once they sleep.
fn asleep<'s, T: Send + 's>(
    scope: &'s thread::Scope<'s, '_>,
    count: usize,
    wait: impl Fn() -> T + Clone + Send + 's,
) -> Vec<thread::ScopedJoinHandle<'s, T>> {
    let start = || {
        let (tell, told) = channel();
        let wait = wait.clone();
        let sleeper = scope.spawn(move || {
            tell.send(thread_id()).unwrap();
            wait()
        });
        until_asleep(told.recv().unwrap());
        sleeper
    };
    (0..count).map(|_| start()).collect()
}
