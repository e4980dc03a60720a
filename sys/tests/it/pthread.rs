//! Process-shared pthread mutexes, between threads and between processes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::mmap::{Memfd, Region};
use ossature_sys::pthread::{Kind, Mutex, Options};

use crate::support::soon;

fn every_sort() -> Vec<(Options, &'static Mutex)> {
    let mut all = Vec::new();
    for kind in [Kind::Normal, Kind::Recursive, Kind::ErrorChecking] {
        let plain = Options::new().kind(kind);
        for options in [plain, plain.robust(), plain.priority_inheritance(), plain.robust().priority_inheritance()] {
            all.push((options, options.leak().unwrap()));
        }
    }
    all
}

#[test]
fn two_threads_exclude_each_other_under_every_sort_of_mutex() {
    for (options, mutex) in every_sort() {
        let (count, inside) = (AtomicU64::new(0), AtomicU64::new(0));
        soon(|| {
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let guard = mutex.lock_timeout(Duration::from_secs(9)).unwrap().expect("in time");
                            assert!(!guard.owner_died());
                            assert_eq!(inside.fetch_add(1, Relaxed), 0, "{options:?}");
                            // Relaxed and in two steps: only the mutex makes it right.
                            count.store(count.load(Relaxed) + 1, Relaxed);
                            inside.fetch_sub(1, Relaxed);
                        }
                    });
                }
            });
        });
        assert_eq!(count.into_inner(), 1000, "{options:?}");
    }
}

#[test]
fn a_held_mutex_is_none_at_once_and_none_after_the_deadline() {
    for (options, mutex) in every_sort() {
        let guard = mutex.lock().unwrap();
        soon(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(mutex.try_lock().unwrap().is_none(), "{options:?}");
                    assert!(mutex.lock_timeout(Deadline::NOW).unwrap().is_none(), "{options:?}");
                    let begin = Instant::now();
                    let wait = Duration::from_millis(20);
                    assert!(mutex.lock_timeout(wait).unwrap().is_none(), "{options:?}");
                    assert!(begin.elapsed() >= wait, "{options:?}: {:?}", begin.elapsed());
                });
            });
        });
        guard.unlock().unwrap();
        drop(mutex.try_lock().unwrap().expect("free again"));
    }
}

#[test]
fn a_waiter_gets_it_when_it_is_released() {
    for (options, mutex) in every_sort() {
        let guard = mutex.lock().unwrap();
        soon(|| {
            thread::scope(|scope| {
                let (begin, begun) = std::sync::mpsc::channel();
                let waiter = scope.spawn(move || {
                    begin.send(()).unwrap();
                    mutex.lock_timeout(Duration::from_secs(3600)).unwrap().is_some()
                });
                begun.recv().unwrap();
                // Most often it sleeps by then; it must get the mutex in either case.
                thread::sleep(Duration::from_millis(2));
                guard.unlock().unwrap();
                assert!(waiter.join().unwrap(), "{options:?}");
            });
        });
    }
}

#[test]
fn never_waits_without_end_and_still_gets_it() {
    needs!(robust_mutexes);
    let mutex = Options::new().robust().leak().unwrap();
    assert!(mutex.lock_timeout(None).unwrap().is_some());
    assert!(mutex.lock_timeout(Deadline::after(Duration::from_secs(1 << 33))).unwrap().is_some());
}

#[test]
fn a_recursive_mutex_is_unlocked_as_often_as_it_was_locked() {
    needs!(robust_mutexes);
    let mutex = Options::new().kind(Kind::Recursive).robust().leak().unwrap();
    let (first, second) = (mutex.lock().unwrap(), mutex.try_lock().unwrap().expect("ours already"));
    let free = || thread::scope(|scope| scope.spawn(|| mutex.try_lock().unwrap().is_some()).join().unwrap());
    assert!(!free());
    drop(first);
    assert!(!free());
    drop(second);
    assert!(free());
}

#[test]
fn an_error_checking_mutex_refuses_its_owner() {
    let mutex = Options::new().kind(Kind::ErrorChecking).leak().unwrap();
    let _guard = mutex.lock().unwrap();
    assert_eq!(mutex.lock().unwrap_err(), Errno::DEADLK);
    assert_eq!(mutex.lock_timeout(Duration::from_secs(5)).unwrap_err(), Errno::DEADLK);
    assert!(mutex.try_lock().unwrap().is_none());
}

/// Starts a thread that ends while it holds the mutex.
fn die_holding(mutex: &'static Mutex) {
    // Joining alone can return before the kernel has walked the dead thread's list.
    thread::spawn(move || std::mem::forget(mutex.lock().unwrap())).join().unwrap();
}

#[test]
fn the_death_of_an_owner_is_told_and_can_be_mended() {
    needs!(robust_lists);
    for inherit in [false, true] {
        let options = if inherit { Options::new().priority_inheritance() } else { Options::new() };
        let mutex = options.robust().leak().unwrap();
        for _ in 0..20 {
            die_holding(mutex);
            let mut guard = soon(|| mutex.lock().unwrap());
            assert!(guard.owner_died());
            guard.make_consistent().unwrap();
            assert!(!guard.owner_died());
            assert_eq!(guard.make_consistent(), Err(Errno::INVAL));
            drop(guard);
            assert!(!mutex.lock().unwrap().owner_died());
        }
    }
}

#[test]
fn a_waiter_with_a_deadline_hears_of_the_death_too() {
    needs!(robust_lists);
    let mutex = Options::new().robust().leak().unwrap();
    soon(|| {
        let (held, hold) = std::sync::mpsc::channel();
        let owner = thread::spawn(move || {
            std::mem::forget(mutex.lock().unwrap());
            held.send(()).unwrap();
            thread::sleep(Duration::from_millis(5));
        });
        hold.recv().unwrap();
        let guard = mutex.lock_timeout(Duration::from_secs(3600)).unwrap().expect("the owner dies long before");
        assert!(guard.owner_died());
        owner.join().unwrap();
    });
}

#[test]
fn what_nobody_mended_is_an_error_for_ever() {
    needs!(robust_lists);
    let mutex = Options::new().robust().leak().unwrap();
    die_holding(mutex);
    drop(soon(|| mutex.lock().unwrap()));
    assert_eq!(mutex.lock().unwrap_err(), Errno::NOTRECOVERABLE);
    assert_eq!(mutex.try_lock().unwrap_err(), Errno::NOTRECOVERABLE);
    assert_eq!(mutex.lock_timeout(Duration::from_secs(5)).unwrap_err(), Errno::NOTRECOVERABLE);
}

#[test]
fn two_maps_of_one_memory_file_hold_one_mutex() {
    needs!(robust_mutexes);
    let memory = Memfd::new(c"mutex").unwrap();
    memory.set_len(4096).unwrap();
    let here = Region::shared(&memory, 4096).unwrap().leak().cast::<Mutex>();
    let there = Region::shared(&memory, 4096).unwrap().leak().cast::<Mutex>();
    // SAFETY: a whole page, zeroed, mapped for ever, used as nothing else.
    let here = unsafe { Options::new().robust().init_at(here) }.unwrap();
    let there = NonNull::new(there.as_ptr().cast::<libc::pthread_mutex_t>()).unwrap();
    // SAFETY: set up just now through the other mapping.
    let there = unsafe { Mutex::from_ptr(there) };
    let guard = here.lock().unwrap();
    assert_ne!(here.as_ptr(), there.as_ptr());
    thread::scope(|scope| {
        scope.spawn(|| assert!(there.try_lock().unwrap().is_none()));
    });
    drop(guard);
    drop(there.try_lock().unwrap().expect("free in both"));
    // SAFETY: nobody uses it any more.
    unsafe { here.destroy() }.unwrap();
}

#[test]
fn a_held_mutex_is_not_destroyed() {
    let mutex = Options::new().leak().unwrap();
    let guard = mutex.lock().unwrap();
    // glibc checks this; musl's destroy always succeeds, and does nothing.
    // SAFETY: on success nobody uses it any more, for the guard goes on only after a refusal.
    if let Err(error) = unsafe { mutex.destroy() } {
        assert_eq!(error, Errno::BUSY);
        guard.unlock().unwrap();
    }
}

#[test]
fn a_killed_process_is_an_owner_that_died() {
    needs!(robust_lists);
    let mutex = Options::new().robust().leak().unwrap();
    let ready = Region::anonymous(64).unwrap();
    // SAFETY: the child calls nothing but pthread and futex-free system calls, and ends by SIGKILL.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::mem::forget(mutex.lock());
        let _ = ready.fill(0, 1, 1);
        loop {
            // SAFETY: pause(2) has no preconditions.
            unsafe { libc::pause() };
        }
    }
    assert!(child > 0);
    soon(|| {
        let mut byte = [0];
        while byte == [0] {
            ready.copy_out(0, &mut byte).unwrap();
            thread::yield_now();
        }
        // SAFETY: our own child, not yet reaped.
        assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
        let guard = mutex.lock().unwrap();
        assert!(guard.owner_died());
        // SAFETY: our own child; the status is not wanted.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
    });
}
