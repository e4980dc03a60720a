//! The reader-writer lock: who may hold it together with whom, and deadlines.

pub mod deaths;

use std::mem::forget;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::futex::Cancel;
use ossature_sys::scope::{Local, LockBackend, Private, Refused, Shared};
use ossature_sys::shm::Shm;
use ossature_sys::sync::rwlock::RwLock;

use crate::ledger::{counters, until};
use crate::world::{Alone, Killable, Processes, Threads, WithPeers, World};

stamp! { "rwlock":
    in all: guards_lend_the_data, shares_are_counted, writer_excludes, dropping_frees_it_even_on_unwind,
        lock_is_whole_after_waits_that_timed_out, abandoning_is_told_where_it_can_be,
        debug_shows_the_data_or_that_it_cannot;
    in fallible: reader_does_not_become_the_writer, writer_that_wants_more_is_refused;
    in peers: many_read_at_a_time, readers_keep_a_writer_out, waiting_writer_comes_before_new_readers,
        readers_and_writers_that_wait_are_all_served, writer_is_not_starved, reader_is_not_starved,
        pairs_are_never_seen_half_written, timed_waits_end_at_their_deadline_and_not_before,
        writer_that_gives_up_lets_readers_in, locked_lock_may_be_dropped;
    in threads: waits_end_when_they_are_cancelled;
    in shared: reader_reads_again_beside_a_waiting_writer, one_reader_more_than_fit_is_told;
}

pub trait Locks: World {
    fn lock() -> impl Deref<Target = RwLock<[u64; 2], Self::Scope>>;
}

impl Locks for Threads<Private> {
    fn lock() -> impl Deref<Target = RwLock<[u64; 2]>> {
        Box::new(RwLock::new([0, 0]))
    }
}

impl Locks for Threads<Shared> {
    fn lock() -> impl Deref<Target = RwLock<[u64; 2], Shared>> {
        Shm::place(RwLock::shared([0, 0])).expect("memory for a lock")
    }
}

impl Locks for Processes {
    fn lock() -> impl Deref<Target = RwLock<[u64; 2], Shared>> {
        Threads::<Shared>::lock()
    }
}

impl Locks for Alone {
    fn lock() -> impl Deref<Target = RwLock<[u64; 2], Local>> {
        Box::new(RwLock::local([0, 0]))
    }
}

pub const LONG: Duration = Duration::from_secs(3600);

/// Whether a thread can read twice, and two threads at a time. They cannot where the locks are pthread mutexes.
fn shares<W: World>() -> bool {
    let so = !W::NAMES_DEATHS || Shared::backend() == LockBackend::Node;
    if !so {
        println!("SKIPPED: readers exclude each other here");
    }
    so
}

fn guards_lend_the_data<W: Locks>() {
    let lock = W::lock();
    assert!(!lock.is_locked());
    let mut guard = W::settle(lock.write()).unwrap();
    guard[0] += 5;
    assert_eq!(*guard, [5, 0]);
    assert!(!guard.abandoned() && lock.is_locked() && lock.is_writing());
    drop(guard);
    let guard = W::settle(lock.read()).unwrap();
    assert_eq!(*guard, [5, 0]);
    assert!(!guard.abandoned() && lock.is_locked() && !lock.is_writing() || !shares::<W>());
    drop(guard);
    W::settle(lock.try_write()).unwrap().unwrap()[1] = 7;
    assert_eq!(*W::settle(lock.try_read()).unwrap().unwrap(), [5, 7]);
    assert!(!lock.is_locked());
}

fn shares_are_counted<W: Locks>() {
    if !shares::<W>() {
        return;
    }
    let lock = W::lock();
    let one = W::settle(lock.read()).unwrap();
    assert_eq!(lock.readers(), 1);
    let two = W::settle(lock.read()).unwrap();
    // In any order.
    drop(one);
    assert!(lock.readers() == 1 && W::settle(lock.try_write()).unwrap().is_none());
    let three = W::settle(lock.try_read()).unwrap();
    drop(two);
    assert!(lock.readers() == 1 && W::settle(lock.try_write()).unwrap().is_none());
    drop(three);
    assert_eq!(lock.readers(), 0);
    assert!(W::settle(lock.try_write()).unwrap().is_some());
}

fn writer_excludes<W: Locks>() {
    let lock = W::lock();
    let guard = W::settle(lock.write()).unwrap();
    for _ in 0..2 {
        assert!(W::settle(lock.try_write()).unwrap().is_none());
        assert!(W::settle(lock.try_read()).unwrap().is_none());
    }
    drop(guard);
    assert!(W::settle(lock.try_read()).unwrap().is_some());
    assert!(W::settle(lock.try_write()).unwrap().is_some());
}

fn dropping_frees_it_even_on_unwind<W: Locks>() {
    let lock = W::lock();
    for write in [false, true] {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _reads = (!write).then(|| W::settle(lock.read()).unwrap());
            let _writes = write.then(|| W::settle(lock.write()).unwrap());
            resume_unwind(Box::new("out of the critical section"));
        }));
        assert!(unwound.is_err());
        assert!(!W::settle(lock.try_write()).unwrap().unwrap().abandoned(), "only a death abandons");
    }
}

fn lock_is_whole_after_waits_that_timed_out<W: Locks>() {
    let lock = W::lock();
    let little = Duration::from_millis(2);
    let guard = W::settle(lock.read()).unwrap();
    assert!(W::settle(lock.write_timeout(little)).unwrap().is_none());
    assert!(!lock.is_writing() || !shares::<W>(), "open again");
    drop(guard);
    let guard = W::settle(lock.write()).unwrap();
    assert!(W::settle(lock.write_timeout(little)).unwrap().is_none());
    assert!(W::settle(lock.read_timeout(little)).unwrap().is_none());
    drop(guard);
    assert!(!lock.is_locked());
    assert!(W::settle(lock.read_timeout(LONG)).unwrap().is_some(), "nothing to wait for");
    assert!(W::settle(lock.write_timeout(Duration::MAX)).unwrap().is_some());
}

fn abandoning_is_told_where_it_can_be<W: Locks>() {
    let lock = W::lock();
    W::settle(lock.write()).unwrap().abandon();
    let can_be_told = W::NAMES_DEATHS;
    for _ in 0..2 {
        assert_eq!(W::settle(lock.read()).unwrap().abandoned(), can_be_told, "sticky until repaired");
        assert_eq!(W::settle(lock.write()).unwrap().abandoned(), can_be_told);
    }
    let mut guard = W::settle(lock.write()).unwrap();
    guard.mark_consistent();
    assert!(!guard.abandoned());
    drop(guard);
    assert!(!W::settle(lock.read()).unwrap().abandoned());
}

fn debug_shows_the_data_or_that_it_cannot<W: Locks>() {
    let lock = W::lock();
    assert_eq!(format!("{:?}", &*lock), "RwLock { data: [0, 0] }");
    let guard = W::settle(lock.write()).unwrap();
    assert_eq!(format!("{:?} {guard:?}", &*lock), "RwLock { data: <locked> } WriteGuard([0, 0])");
    drop(guard);
    assert_eq!(format!("{:?}", W::settle(lock.read()).unwrap()), "ReadGuard([0, 0])");
}

fn reader_does_not_become_the_writer<W: Locks>() {
    let lock = W::lock();
    let reads = W::settle(lock.read()).unwrap();
    assert_eq!(W::settle(lock.write()).map(drop), Err(Refused::WouldDeadlock));
    let began = Instant::now();
    assert!(W::settle(lock.write_timeout(Duration::from_millis(5))).unwrap().is_none());
    assert!(!W::NAMES_DEATHS || began.elapsed() >= Duration::from_millis(5), "after its time");
    assert!(W::settle(lock.try_write()).unwrap().is_none());
    // Nothing of that keeps others out.
    if shares::<W>() {
        assert!(W::settle(lock.try_read()).unwrap().is_some());
    }
    drop(reads);
    assert!(W::settle(lock.write()).is_ok());
}

fn writer_that_wants_more_is_refused<W: Locks>() {
    let lock = W::lock();
    let writes = W::settle(lock.write()).unwrap();
    assert_eq!(W::settle(lock.read()).map(drop), Err(Refused::WouldDeadlock));
    assert_eq!(W::settle(lock.write()).map(drop), Err(Refused::WouldDeadlock));
    drop(writes);
    assert!(W::settle(lock.read()).is_ok());
}

fn many_read_at_a_time<W: WithPeers + Locks>() {
    if !shares::<W>() {
        return;
    }
    let (lock, inside) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        5,
        |me| {
            me.until_told(1);
            let guard = W::settle(lock.read()).unwrap();
            inside[0].fetch_add(1, SeqCst);
            until("all read at the same time", || inside[0].load(SeqCst) == 6);
            assert_eq!(*guard, [0, 0]);
        },
        |peers| {
            let _reads = W::settle(lock.read()).unwrap();
            inside[0].fetch_add(1, SeqCst);
            peers.tell(1);
            until("all read at the same time", || inside[0].load(SeqCst) == 6);
            assert!(lock.readers() >= 1);
        },
    );
    assert_eq!(lock.readers(), 0);
}

fn readers_keep_a_writer_out<W: WithPeers + Locks>() {
    if !shares::<W>() {
        return;
    }
    let (lock, inside) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            if me.index() == 2 {
                me.until_told(1);
                me.about_to_wait();
                W::settle(lock.write()).unwrap()[0] = 1;
                return;
            }
            let guard = W::settle(lock.read()).unwrap();
            inside[0].fetch_add(1, SeqCst);
            // One after the other.
            me.until_told(2 + me.index() as u32);
            assert_eq!(guard[0], 0);
        },
        |peers| {
            until("both read", || inside[0].load(SeqCst) == 2);
            peers.tell(1);
            peers.until_asleep(2, 1);
            assert!(lock.is_writing() && lock.readers() == 2);
            peers.tell(2);
            peers.until_ended(0);
            peers.until_asleep(2, 1);
            peers.tell(3);
        },
    );
    assert_eq!(*W::settle(lock.read()).unwrap(), [1, 0]);
}

fn waiting_writer_comes_before_new_readers<W: WithPeers + Locks>() {
    if !shares::<W>() {
        return;
    }
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        2,
        |me| {
            me.until_told(1 + me.index() as u32);
            me.about_to_wait();
            if me.index() == 0 {
                W::settle(lock.write()).unwrap()[0] = 1;
            } else {
                assert!(W::settle(lock.try_read()).unwrap().is_none(), "a writer waits");
                assert_eq!(W::settle(lock.read()).unwrap()[0], 1, "behind the writer");
            }
        },
        |peers| {
            let reads = W::settle(lock.read()).unwrap();
            peers.line_up();
            assert_eq!(reads[0], 0);
        },
    );
}

fn readers_and_writers_that_wait_are_all_served<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        6,
        |me| {
            me.until_told(1 + me.index() as u32);
            me.about_to_wait();
            if me.index() % 2 == 0 {
                assert!(W::settle(lock.read()).unwrap()[0] <= 3);
            } else {
                W::settle(lock.write()).unwrap()[0] += 1;
            }
        },
        |peers| {
            let writes = W::settle(lock.write()).unwrap();
            peers.line_up();
            assert_eq!(writes[0], 0);
        },
    );
    assert_eq!(*W::settle(lock.write()).unwrap(), [3, 0]);
    assert!(!lock.is_locked());
}

/// Readers come all the time and overlap; the writer still gets the lock.
fn writer_is_not_starved<W: WithPeers + Locks>() {
    let (lock, counts) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        4,
        |_| {
            while counts[0].load(SeqCst) == 0 {
                let guard = W::settle(lock.read()).unwrap();
                counts[1].fetch_add(1, SeqCst);
                assert_eq!(guard[0], guard[1]);
            }
        },
        |_| {
            until("everybody reads", || counts[1].load(SeqCst) > 100);
            for _ in 0..20 {
                let mut guard = W::settle(lock.write()).unwrap();
                guard[0] += 1;
                guard[1] += 1;
            }
            counts[0].store(1, SeqCst);
        },
    );
}

/// Writers come all the time; the reader still gets the lock.
fn reader_is_not_starved<W: WithPeers + Locks>() {
    let (lock, counts) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        3,
        |_| {
            while counts[0].load(SeqCst) == 0 {
                let mut guard = W::settle(lock.write()).unwrap();
                counts[1].fetch_add(1, SeqCst);
                guard[0] += 1;
                guard[1] += 1;
            }
        },
        |_| {
            until("everybody writes", || counts[1].load(SeqCst) > 100);
            for _ in 0..20 {
                let guard = W::settle(lock.read()).unwrap();
                assert_eq!(guard[0], guard[1]);
            }
            counts[0].store(1, SeqCst);
        },
    );
}

fn pairs_are_never_seen_half_written<W: WithPeers + Locks>() {
    const TURNS: u64 = 2_000;
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        4,
        |me| {
            for turn in 0..TURNS {
                if turn % 4 == me.index() as u64 {
                    let mut guard = W::settle(lock.write()).unwrap();
                    guard[0] += 1;
                    std::hint::spin_loop();
                    guard[1] += 1;
                } else {
                    let guard = W::settle(lock.read()).unwrap();
                    let [first, second] = *guard;
                    assert_eq!(first, second);
                }
            }
        },
        |_| (),
    );
    assert_eq!(*W::settle(lock.read()).unwrap(), [TURNS; 2]);
    assert!(!lock.is_locked());
}

fn timed_waits_end_at_their_deadline_and_not_before<W: WithPeers + Locks>() {
    let lock = W::lock();
    let lock = &*lock;
    let span = Duration::from_millis(15);
    for read in [false, true] {
        if read && !shares::<W>() {
            return;
        }
        W::with_peers(
            2,
            |me| {
                me.until_told(1);
                let began = Instant::now();
                assert!(W::settle(lock.write_timeout(span)).unwrap().is_none());
                assert!(began.elapsed() >= span, "{:?}", began.elapsed());
                assert!(W::settle(lock.write_timeout(Deadline::NOW)).unwrap().is_none());
                if !read {
                    let began = Instant::now();
                    assert!(W::settle(lock.read_timeout(span)).unwrap().is_none());
                    assert!(began.elapsed() >= span, "{:?}", began.elapsed());
                }
            },
            |peers| {
                let _writes = (!read).then(|| W::settle(lock.write()).unwrap());
                let _reads = read.then(|| W::settle(lock.read()).unwrap());
                peers.tell(1);
                peers.until_ended(0);
                peers.until_ended(1);
            },
        );
        assert!(!lock.is_locked());
    }
}

/// The writer had kept the readers out while it waited.
fn writer_that_gives_up_lets_readers_in<W: WithPeers + Locks>() {
    if !shares::<W>() {
        return;
    }
    let (lock, counts) = (W::lock(), counters());
    let lock = &*lock;
    W::with_peers(
        3,
        |me| {
            me.until_told(1 + me.index() as u32);
            me.about_to_wait();
            if me.index() == 0 {
                assert!(W::settle(lock.write_timeout(Duration::from_millis(300))).unwrap().is_none());
            } else {
                assert_eq!(W::settle(lock.read()).unwrap()[0], 0);
                counts[0].fetch_add(1, SeqCst);
            }
        },
        |peers| {
            let reads = W::settle(lock.read()).unwrap();
            peers.line_up();
            until("both read beside this one", || counts[0].load(SeqCst) == 2);
            drop(reads);
        },
    );
    assert!(!lock.is_locked());
}

fn locked_lock_may_be_dropped<W: WithPeers + Locks>() {
    // By another, for whoever has leaked a guard of a shared lock does not fork any more.
    W::other(|| {
        let lock = W::lock();
        forget(W::settle(lock.read()).unwrap());
        assert!(lock.is_locked());
        drop(lock);
        let lock = W::lock();
        forget(W::settle(lock.write()).unwrap());
        assert!(lock.is_writing());
        drop(lock);
        drop(W::settle(W::lock().write()).unwrap());
    });
}

fn waits_end_when_they_are_cancelled<W: WithPeers + Locks>() {
    let (lock, cancel) = (W::lock(), Cancel::new());
    let lock = &*lock;
    for read in [false, true] {
        if read && !shares::<W>() {
            return;
        }
        cancel.reset();
        W::with_peers(
            2,
            |me| {
                me.until_told(1 + me.index() as u32);
                me.about_to_wait();
                // The first waits for the guard, the second for the turn.
                let limit = cancel.within(LONG);
                if me.index() == 0 {
                    assert!(W::settle(lock.write_timeout(limit)).unwrap().is_none());
                } else {
                    // Behind a writer that has gone it may get in.
                    assert!(W::settle(lock.read_timeout(limit)).unwrap().is_none() || read);
                }
            },
            |peers| {
                let _writes = (!read).then(|| W::settle(lock.write()).unwrap());
                let _reads = read.then(|| W::settle(lock.read()).unwrap());
                peers.line_up();
                cancel.cancel();
                peers.until_ended(0);
                peers.until_ended(1);
            },
        );
        assert!(!lock.is_locked());
    }
    assert!(W::settle(lock.read_timeout(&cancel)).unwrap().is_some(), "free: no wait to cancel");
    assert!(W::settle(lock.write_timeout(&cancel)).unwrap().is_some());
}

/// Otherwise the reader and the writer would wait for each other.
fn reader_reads_again_beside_a_waiting_writer<W: Killable + Locks>() {
    if !shares::<W>() {
        return;
    }
    let lock = W::lock();
    let lock = &*lock;
    W::with_peers(
        1,
        |me| {
            me.until_told(1);
            me.about_to_wait();
            lock.write().unwrap()[0] = 1;
        },
        |peers| {
            let reads = lock.read().unwrap();
            peers.line_up();
            let again = lock.read().unwrap();
            drop(reads);
            peers.until_asleep(0, 1);
            assert_eq!(again[0], 0, "the writer waits for the last level");
            let third = lock.try_read().unwrap().expect("at once");
            drop((again, third));
        },
    );
    assert_eq!(lock.read().unwrap()[0], 1);
}

fn one_reader_more_than_fit_is_told<W: Killable + Locks>() {
    if !shares::<W>() {
        return;
    }
    const MOST: usize = 120;
    let lock = W::lock();
    let (lock, counts) = (&*lock, counters());
    std::thread::scope(|scope| {
        for _ in 0..MOST {
            scope.spawn(|| {
                let guard = lock.read().unwrap();
                counts[0].fetch_add(1, SeqCst);
                until("the test has seen it", || counts[1].load(SeqCst) == 1);
                assert_eq!(guard[0], 0);
            });
        }
        until("so many read", || counts[0].load(SeqCst) == MOST as u32);
        assert_eq!(lock.readers(), MOST as u32);
        assert_eq!(lock.read().map(drop), Err(Refused::TableFull));
        assert_eq!(lock.try_read().map(drop), Err(Refused::TableFull));
        assert!(lock.try_write().unwrap().is_none());
        counts[1].store(1, SeqCst);
    });
    lock.write().unwrap()[0] = 1;
    assert_eq!(lock.read().unwrap()[0], 1);
}
