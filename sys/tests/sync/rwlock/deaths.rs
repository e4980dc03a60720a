//! The reader-writer lock: the state that a dead participant leaves behind.

use std::mem::forget;
use std::sync::atomic::Ordering::SeqCst;

use ossature_sys::scope::Refused;

use super::{LONG, Locks};
use crate::ledger::{counters, until};
use crate::world::Killable;

stamp! { "rwlock":
    in shared: reader_that_ends_leaves_its_share, writer_that_ends_abandons,
        unrecoverable_lock_refuses_even_those_who_slept;
    in processes: killed_reader_lets_the_writer_in, killed_writer_abandons_it, killed_waiters_take_nobody_with_them;
}

fn reader_that_ends_leaves_its_share<W: Killable + Locks>() {
    needs!(robust_lists);
    let lock = W::lock();
    let lock = &*lock;
    for _ in 0..3 {
        W::other(|| {
            forget((lock.read().unwrap(), lock.read().unwrap()));
            assert_eq!(lock.readers(), 1);
        });
        assert_eq!(lock.readers(), 0);
        // The dead one's share is taken at its first level.
        drop(lock.read().unwrap());
        assert!(!lock.write().unwrap().abandoned(), "who reads abandons nothing");
    }
}

fn writer_that_ends_abandons<W: Killable + Locks>() {
    needs!(robust_lists);
    let lock = W::lock();
    let lock = &*lock;
    W::other(|| {
        let mut guard = lock.write().unwrap();
        guard[0] = 2;
        forget(guard);
    });
    for _ in 0..2 {
        let guard = lock.read().unwrap();
        assert!(guard.abandoned(), "sticky until repaired");
        assert_eq!(*guard, [2, 0]);
    }
    let mut guard = lock.write().unwrap();
    guard[1] = 2;
    guard.mark_consistent();
    drop(guard);
    W::other(|| assert!(!lock.read().unwrap().abandoned()));
}

fn unrecoverable_lock_refuses_even_those_who_slept<W: Killable + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        4,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            if me.index() % 2 == 0 {
                assert_eq!(lock.read().map(drop), Err(Refused::Unrecoverable));
            } else {
                assert_eq!(lock.write().map(drop), Err(Refused::Unrecoverable));
            }
        },
        |peers| {
            let held = lock.write().unwrap();
            peers.tell(1);
            peers.until_all_sleep(1);
            held.mark_unrecoverable();
        },
    );
    assert_eq!(lock.try_read().map(drop), Err(Refused::Unrecoverable));
    assert_eq!(lock.try_write().map(drop), Err(Refused::Unrecoverable));
    assert_eq!(lock.read_timeout(LONG).map(drop), Err(Refused::Unrecoverable));
    assert_eq!(format!("{lock:?}"), "RwLock { data: <Unrecoverable> }");
}

fn killed_reader_lets_the_writer_in<W: Killable + Locks>() {
    needs!(robust_lists);
    let (lock, count) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        4,
        |me| {
            if me.index() < 2 {
                let _guard = lock.read().unwrap();
                count[0].fetch_add(1, SeqCst);
                loop {
                    std::thread::park();
                }
            }
            me.until_told(me.index() as u32);
            me.about_to_wait();
            if me.index() == 2 {
                let guard = lock.write().unwrap();
                assert!(!guard.abandoned());
            } else {
                let guard = lock.read().unwrap();
                assert!(!guard.abandoned());
            }
        },
        |peers| {
            until("the doomed ones read", || count[0].load(SeqCst) == 2);
            for index in [2, 3] {
                peers.tell(index as u32);
                peers.until_asleep(index, 1);
            }
            peers.kill(0);
            peers.until_asleep(2, 1);
            peers.kill(1);
        },
    );
    assert!(!lock.is_locked());
}

fn killed_writer_abandons_it<W: Killable + Locks>() {
    needs!(robust_lists);
    let (lock, count) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            if me.index() == 0 {
                let mut guard = lock.write().unwrap();
                guard[0] = 7;
                count[0].store(1, SeqCst);
                loop {
                    std::thread::park();
                }
            }
            me.until_told(1);
            me.about_to_wait();
            let seen = if me.index() == 1 {
                let guard = lock.read().unwrap();
                (guard.abandoned(), *guard)
            } else {
                let guard = lock.write().unwrap();
                (guard.abandoned(), *guard)
            };
            assert_eq!(seen, (true, [7, 0]));
        },
        |peers| {
            until("the doomed one writes", || count[0].load(SeqCst) == 1);
            peers.tell(1);
            peers.until_asleep(1, 1);
            peers.until_asleep(2, 1);
            peers.kill(0);
        },
    );
}

fn killed_waiters_take_nobody_with_them<W: Killable + Locks>() {
    needs!(robust_lists);
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        4,
        |me| {
            me.until_told(1 + me.index() as u32);
            me.about_to_wait();
            if me.index() % 2 == 0 {
                lock.write().unwrap()[0] += 1;
            } else {
                assert!(!lock.read().unwrap().abandoned());
            }
        },
        |peers| {
            // The first writer has the turn and waits for this reader; the others wait for the turn.
            let reads = lock.read().unwrap();
            peers.line_up();
            peers.kill(0);
            drop(reads);
        },
    );
    let guard = lock.write().unwrap();
    assert!(!guard.abandoned(), "who waits has written nothing");
    assert_eq!(guard[0], 1);
}
