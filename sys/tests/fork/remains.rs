//! The state after a death that the kernel did not report: the dead thread's number stays in the word, and is used
//! again.
//!
//! A test makes such a death by giving the kernel another list just before the end, as if the true list had been lost.
//! Then the test replaces the number in the shared memory by its own, as if the kernel had given the test that number.
//! In the last test the kernel itself does so.

use std::mem::forget;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ossature_sys::process::{ExitStatus, exit, fork, fork_unchecked};
use ossature_sys::pthread::{Kind, Options};
use ossature_sys::scope::{LockBackend, NotOwner, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::{Barrier, Broken};
use ossature_sys::sync::lock::Lock;
use ossature_sys::sync::rlock::RLock;
use ossature_sys::sync::semaphore::Semaphore;

use crate::handover::PATIENCE;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("number_in_a_lock_is_not_believed", number_in_a_lock_is_not_believed),
    ("number_in_an_rlock_is_not_believed", number_in_an_rlock_is_not_believed),
    ("number_of_one_that_was_reported_is_not_believed", number_of_one_that_was_reported_is_not_believed),
    ("number_in_a_permit_is_not_believed", number_in_a_permit_is_not_believed),
    ("number_in_a_seat_is_not_believed", number_in_a_seat_is_not_believed),
    ("lock_of_another_mapping_is_known_as_ones_own", lock_of_another_mapping_is_known_as_ones_own),
    ("number_that_comes_again_is_not_believed", number_that_comes_again_is_not_believed),
    ("robust_mutexes_count_beside_shared_locks", robust_mutexes_count_beside_shared_locks),
    ("locks_before_robust_mutexes_are_handed_over", locks_before_robust_mutexes_are_handed_over),
];

const A_BIT: Duration = Duration::from_millis(20);
const OWNER: u32 = 0x3fff_ffff;

fn me() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// Makes the list empty for the kernel from here on.
fn lose_the_list() {
    let head: &'static [AtomicUsize; 3] = Box::leak(Box::new([const { AtomicUsize::new(0) }; 3]));
    head[0].store(head.as_ptr() as usize, SeqCst);
    // SAFETY: the kernel is told of a list head that is never freed.
    let answer = unsafe { libc::syscall(libc::SYS_set_robust_list, head.as_ptr(), size_of_val(head)) };
    assert_eq!(answer, 0);
}

/// Starts a child that takes an object and dies without a report. Returns the child's number.
fn unreported(take: impl FnOnce()) -> u32 {
    let mut child = fork(|| {
        take();
        lose_the_list();
        0
    })
    .unwrap();
    let number = child.pid().as_raw_nonzero().get() as u32;
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    number
}

/// Replaces the number of a thread in an object. Returns how often the number was there.
fn give_number<T: ?Sized>(object: &T, from: u32, to: u32) -> usize {
    let words = std::ptr::from_ref(object).cast::<AtomicU32>();
    // SAFETY: the object is made of atomic numbers, of which these are halves or wholes.
    let words = unsafe { std::slice::from_raw_parts(words, size_of_val(object) / 4) };
    let is_owner = |word: &&AtomicU32| word.load(SeqCst) & OWNER == from;
    words.iter().filter(is_owner).map(|word| word.store(word.load(SeqCst) & !OWNER | to, SeqCst)).count()
}

/// The part of a thread's number in the mark of the place where the thread has linked a node.
fn spread(number: u32) -> usize {
    (number as usize).wrapping_mul(0x9e37_79b9)
}

fn there_are_no_nodes() -> bool {
    let none = Shared::backend() == LockBackend::Pthread;
    if none {
        println!("SKIPPED: no robust list is known here");
    }
    none
}

/// Checks the lock from a thread that does not hold it.
fn is_anothers(lock: &Lock<(), Shared>) {
    assert!(lock.is_locked() && !lock.is_mine());
    assert_eq!(lock.release(), Err(NotOwner::HeldByAnother));
    assert_eq!(lock.try_acquire(), Ok(false));
    assert_eq!(lock.acquire_timeout(A_BIT), Ok(false));
    assert!(lock.is_locked());
}

fn number_in_a_lock_is_not_believed() {
    if there_are_no_nodes() {
        return;
    }
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let other = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let dead = unreported(|| lock.acquire().unwrap());
    assert_eq!(give_number(&*lock, dead, me()), 1);
    is_anothers(&lock);
    // In a list that is not empty it is looked for.
    let guard = other.lock().unwrap();
    is_anothers(&lock);
    // And where it says that it was linked where this thread has another node.
    let home = std::ptr::from_ref(&*lock) as usize ^ spread(dead);
    let words = std::ptr::from_ref(&*lock).cast::<AtomicUsize>();
    // SAFETY: the lock is made of atomic numbers.
    let words = unsafe { std::slice::from_raw_parts(words, size_of_val(&*lock) / size_of::<usize>()) };
    let word = words.iter().find(|word| word.load(SeqCst) == home).unwrap();
    word.store(std::ptr::from_ref(&*other) as usize ^ spread(me()), SeqCst);
    is_anothers(&lock);
    drop(guard);
    is_anothers(&lock);
}

fn number_in_an_rlock_is_not_believed() {
    if there_are_no_nodes() {
        return;
    }
    let lock = Shm::place(RLock::<AtomicU32, Shared>::shared(AtomicU32::new(0))).unwrap();
    let dead = unreported(|| {
        let guard = lock.lock().unwrap();
        guard.store(8, SeqCst); // half of what it wanted to write
        forget(guard);
    });
    assert_eq!(give_number(&*lock, dead, me()), 1);
    assert!(lock.is_locked() && !lock.is_mine());
    assert_eq!(lock.depth(), 0);
    assert!(lock.try_lock().unwrap().is_none() && lock.lock_timeout(A_BIT).unwrap().is_none());
    // Who dies waiting for it frees it, because the number is then truly a dead thread's; and that is told.
    let number = give_number(&*lock, me(), OWNER - 5);
    assert_eq!(number, 1);
    let mut child = fork(|| {
        give_number(&*lock, OWNER - 5, me());
        let _ = lock.lock();
        1
    })
    .unwrap();
    std::thread::sleep(A_BIT);
    child.kill().unwrap();
    child.wait().unwrap();
    let guard = lock.lock_timeout(PATIENCE).unwrap().expect("freed by that death");
    assert!(guard.abandoned() && lock.depth() == 1);
}

/// In the pthread form the number is beside the mutex, which the kernel has marked.
fn number_of_one_that_was_reported_is_not_believed() {
    let lock = Shm::place(RLock::<AtomicU32, Shared>::shared(AtomicU32::new(0))).unwrap();
    let mut child = fork(|| {
        forget((lock.lock().unwrap(), lock.lock().unwrap()));
        0
    })
    .unwrap();
    let dead = child.pid().as_raw_nonzero().get() as u32;
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    give_number(&*lock, dead, me());
    assert_eq!((lock.is_mine(), lock.depth()), (false, 0));
    let guard = lock.lock().unwrap();
    assert!(guard.abandoned() && lock.is_mine() && lock.depth() == 1);
}

fn number_in_a_permit_is_not_believed() {
    if there_are_no_nodes() {
        return;
    }
    for forgotten in [false, true] {
        let semaphore = Shm::place(Semaphore::shared_bounded(1)).unwrap();
        let mut child = fork(|| {
            let permit = semaphore.permit().unwrap();
            let holder = me();
            // SAFETY: this process has one thread; the child does what is written here and exits.
            let Some(mut copy) = (unsafe { fork_unchecked() }).unwrap() else {
                let given = give_number(&*semaphore, holder, me());
                let before = semaphore.value();
                if forgotten {
                    permit.forget()
                } else {
                    drop(permit)
                }
                // Two who wait find nothing, as before.
                let found = semaphore.try_permit().unwrap().is_some();
                exit(u8::from(given != 1 || before != 0 || semaphore.value() != 0 || found));
            };
            let said = copy.wait();
            lose_the_list();
            u8::from(said != Ok(ExitStatus::Code(0)))
        })
        .unwrap();
        assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    }
}

fn number_in_a_seat_is_not_believed() {
    if there_are_no_nodes() {
        return;
    }
    // It was inside, and ran the action.
    let barrier = Shm::place(Barrier::shared(1)).unwrap();
    let mut number = 0;
    let inside = || {
        let _ = barrier.wait_with(|| {
            lose_the_list();
            exit(0);
        });
    };
    number += unreported(inside);
    assert_eq!(give_number(&*barrier, number, me()), 1);
    assert_eq!(barrier.wait_timeout(A_BIT), Err(Broken::TimedOut));

    // It had joined, and nothing of that is taken for this thread's.
    let barrier = Shm::place(Barrier::shared(2)).unwrap();
    let dead = unreported(|| forget(barrier.join().unwrap()));
    assert_eq!(give_number(&*barrier, dead, me()), 1);
    let party = barrier.join().unwrap();
    assert_eq!(barrier.wait_timeout(A_BIT), Err(Broken::TimedOut));
    drop(party);
    assert_eq!(give_number(&*barrier, me(), me()), 1, "the dead thread's is left");
}

fn lock_of_another_mapping_is_known_as_ones_own() {
    if there_are_no_nodes() {
        return;
    }
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let again = lock.try_clone().unwrap();
    let others = [0; 3].map(|_| Shm::place(Lock::<(), Shared>::shared(())).unwrap());
    for around in 0..4 {
        let before: Vec<_> = others.iter().take(around).map(|other| other.lock().unwrap()).collect();
        lock.acquire().unwrap();
        let after: Vec<_> = others.iter().skip(around).map(|other| other.lock().unwrap()).collect();
        assert!(lock.is_mine() && again.is_mine());
        assert_eq!(again.acquire(), Err(Refused::WouldDeadlock));
        assert_eq!(again.release(), Ok(()));
        assert_eq!(lock.release(), Err(NotOwner::Free));
        assert!(others.iter().all(|other| other.is_mine()));
        drop((before, after));
    }
}

/// Runs `body` in a child if that gets the number `number`. If it does not, another attempt may.
fn as_number(number: u32, body: impl FnOnce()) -> Option<ExitStatus> {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
    let child = fork(|| {
        if me() != number {
            return 77;
        }
        body();
        0
    });
    child.unwrap().wait().ok()
}

fn number_that_comes_again_is_not_believed() {
    if there_are_no_nodes() {
        return;
    }
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let rlock = Shm::place(RLock::<AtomicU32, Shared>::shared(AtomicU32::new(0))).unwrap();
    let dead = unreported(|| {
        forget(rlock.lock().unwrap());
        lock.acquire().unwrap();
    });
    for _ in 0..1000 {
        let said = as_number(dead, || {
            is_anothers(&lock);
            assert!(!rlock.is_mine() && rlock.try_lock().unwrap().is_none());
        });
        match said {
            None => return println!("SKIPPED: the next number cannot be chosen here"),
            Some(ExitStatus::Code(77)) => {}
            said => return assert_eq!(said, Some(ExitStatus::Code(0))),
        }
    }
    println!("SKIPPED: others were always faster");
}

fn robust_mutexes_count_beside_shared_locks() {
    if there_are_no_nodes() {
        return;
    }
    let robust = Options::new().robust();
    let locks = Shm::place_slice(1_000, |_| Lock::<(), Shared>::shared(())).unwrap();
    let held: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
    let recursive = robust.kind(Kind::Recursive).leak().unwrap();
    let first = recursive.lock().unwrap();
    let mut mutexes: Vec<_> = (0..2_000).map_while(|_| robust.leak().unwrap().lock().ok()).collect();
    assert_eq!(mutexes.len(), 1_900 - 1_001);

    let next = robust.leak().unwrap();
    let refused = ossature_sys::errno::Errno::NOLCK;
    assert_eq!(next.lock().err(), Some(refused));
    assert_eq!(next.try_lock().err(), Some(refused));
    assert_eq!(next.lock_timeout(A_BIT).err(), Some(refused));
    // Neither of these is an entry more. (With musl a recursive mutex is one, but this one is there.)
    drop(Options::new().leak().unwrap().lock().unwrap());
    drop(recursive.lock().unwrap());
    // And here the other way round.
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    assert_eq!(lock.lock().err(), Some(Refused::TooMany));
    drop(mutexes.swap_remove(7));
    drop(lock.lock().unwrap());
    drop(next.lock().unwrap());
    drop((held, first, mutexes));
}

fn locks_before_robust_mutexes_are_handed_over() {
    if there_are_no_nodes() {
        return;
    }
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let mut child = fork(|| {
        forget(lock.lock().unwrap());
        let robust = Options::new().robust();
        (0..2_100).map_while(|_| robust.leak().unwrap().lock().ok()).for_each(forget);
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    assert!(lock.lock_timeout(PATIENCE).unwrap().expect("the kernel has seen it").abandoned());
}
