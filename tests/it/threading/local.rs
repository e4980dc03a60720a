//! Values that exist once for each thread.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};

use ossature::ErrorKind;
use ossature::threading::{Event, Local, Thread};

use crate::support::soon;

// test_threading_local, test_derived
#[test]
fn each_thread_and_each_local_has_its_own() {
    static ONE: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    let two = Arc::new(Local::new(|| Cell::new(2)));
    soon(|| {
        ONE.with(|one| one.set(10));
        two.with(|two| two.set(20));
        let other = two.clone();
        let seen = Thread::spawn(move || {
            let fresh = (ONE.with(Cell::get), other.with(Cell::get));
            ONE.with(|one| one.set(5));
            (fresh, ONE.with(Cell::get))
        });
        assert_eq!(seen.unwrap().result().unwrap(), ((1, 2), 5));
        assert_eq!((ONE.with(Cell::get), two.with(Cell::get)), (10, 20));
    });
}

// test_arguments
#[test]
fn the_initialiser_runs_once_in_each_thread_that_looks() {
    soon(|| {
        let runs = Arc::new(AtomicU32::new(0));
        let count = runs.clone();
        let local = Arc::new(Local::new(move || count.fetch_add(1, SeqCst)));
        assert_eq!((local.with(|n| *n), local.with(|n| *n)), (0, 0));
        for expected in 1..4 {
            let local = local.clone();
            let seen = Thread::spawn(move || (local.with(|n| *n), local.with(|n| *n))).unwrap();
            assert_eq!(seen.result().unwrap(), (expected, expected));
        }
        Thread::spawn(|| ()).unwrap().join().unwrap();
        assert_eq!(runs.load(SeqCst), 4);
    });
}

#[test]
fn a_value_can_be_looked_at_while_it_is_looked_at() {
    let local = Local::new(|| RefCell::new(Vec::new()));
    local.with(|outer| {
        local.with(|inner| inner.borrow_mut().push(1));
        assert_eq!(*outer.borrow(), [1]);
    });
}

/// Counts the values that are alive.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

// test_local_refs
#[test]
fn a_threads_values_die_with_it_before_the_join_ends() {
    soon(|| {
        let living = Arc::new(AtomicU32::new(0));
        let local = Arc::new(Local::new({
            let living = living.clone();
            move || Counted::new(&living)
        }));
        for _ in 0..20 {
            let mine = local.clone();
            let thread = Thread::spawn(move || mine.with(|value| value.0.load(SeqCst))).unwrap();
            assert!(thread.join_timeout(std::time::Duration::from_secs(60)).unwrap());
            assert_eq!(thread.result().unwrap(), 1);
            assert_eq!((living.load(SeqCst), local.threads()), (0, 0));
        }
        let mine = local.clone();
        std::thread::spawn(move || mine.with(|_| ())).join().unwrap();
        assert_eq!((living.load(SeqCst), local.threads()), (0, 0), "in a thread started elsewhere too");
    });
}

#[test]
fn a_dropped_local_drops_the_values_of_all_threads_at_once() {
    soon(|| {
        let living = Arc::new(AtomicU32::new(0));
        let local = Arc::new(Local::new({
            let living = living.clone();
            move || Counted::new(&living)
        }));
        let (end, (tell, hear)) = (Arc::new(Event::new()), channel());
        let threads = [(); 3].map(|()| {
            let (local, end, tell) = (local.clone(), end.clone(), tell.clone());
            Thread::spawn(move || {
                local.with(|_| ());
                drop(local);
                tell.send(()).unwrap();
                end.wait();
            })
            .unwrap()
        });
        threads.iter().for_each(|_| hear.recv().unwrap());
        local.with(|_| ());
        assert_eq!((living.load(SeqCst), local.threads()), (4, 4));
        drop(local);
        assert_eq!(living.load(SeqCst), 0, "while the threads live");
        end.set();
        threads.iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A value whose drop uses the `Local` that contained it.
struct Returns {
    local: Weak<Local<RefCell<Option<Returns>>>>,
    tell: Sender<bool>,
}

impl Drop for Returns {
    fn drop(&mut self) {
        let used = self.local.upgrade().is_some_and(|local| local.try_with(|value| value.borrow().is_none()).is_ok());
        let _ = self.tell.send(used);
    }
}

#[test]
fn a_destructor_may_use_the_same_local() {
    soon(|| {
        let local: Arc<Local<RefCell<Option<Returns>>>> = Arc::new(Local::new(|| RefCell::new(None)));
        let (tell, hear) = channel();
        let put = |local: &Arc<Local<_>>, tell: &Sender<bool>| {
            let value = Returns { local: Arc::downgrade(local), tell: tell.clone() };
            local.with(|slot| slot.replace(Some(value)));
        };
        let (mine, told) = (local.clone(), tell.clone());
        Thread::spawn(move || put(&mine, &told)).unwrap().join().unwrap();
        assert!(hear.recv().unwrap(), "at the end of the thread it finds a fresh value");
        assert_eq!(local.threads(), 0, "which died as well");
        put(&local, &tell);
        drop(local);
        assert!(!hear.recv().unwrap(), "the Local is gone");
    });
}

#[test]
fn a_destructor_that_panics_leaves_the_others_their_turn() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "a destructor panics; this line is meant to be seen");
        }
    }
    soon(|| {
        let living = Arc::new(AtomicU32::new(0));
        let (first, second) = (Arc::new(Local::new(|| Panics)), {
            let living = living.clone();
            Arc::new(Local::new(move || Counted::new(&living)))
        });
        let thread = Thread::spawn({
            let (first, second) = (first.clone(), second.clone());
            move || {
                first.with(|_| ());
                second.with(|_| ());
            }
        });
        thread.unwrap().result().unwrap();
        assert_eq!(living.load(SeqCst), 0);
    });
}

#[test]
fn past_the_end_of_a_foreign_thread_there_is_an_error() {
    static LATE: Local<u32> = Local::new(|| 1);
    struct Looks(Sender<Option<ErrorKind>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.send(LATE.try_with(|_| ()).err().map(|error| error.kind()));
        }
    }
    thread_local!(static LAST: RefCell<Option<Looks>> = const { RefCell::new(None) });
    soon(|| {
        let (tell, hear) = channel();
        std::thread::spawn(move || {
            LAST.set(Some(Looks(tell))); // registered first, so it dies last
            LATE.with(|_| ());
        })
        .join()
        .unwrap();
        assert_eq!(hear.recv().unwrap(), Some(ErrorKind::NoResult));
    });
}

// test_threading_local_clear_race
#[test]
fn locals_die_while_their_threads_do() {
    soon(|| {
        for _ in 0..100 {
            let living = Arc::new(AtomicU32::new(0));
            let local = Arc::new(Local::new({
                let living = living.clone();
                move || Counted::new(&living)
            }));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let local = local.clone();
                    Thread::spawn(move || local.with(|_| ())).unwrap()
                })
                .collect();
            drop(local);
            threads.iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(living.load(SeqCst), 0);
        }
    });
}

#[test]
fn an_initialiser_may_use_the_value_that_it_makes() {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    static SELF: Local<u32> = Local::new(|| match DEPTH.fetch_add(1, SeqCst) {
        0 => SELF.with(|inner| inner + 10),
        n => n,
    });
    assert_eq!((SELF.with(|value| *value), SELF.with(|value| *value), SELF.threads()), (11, 11, 1));
}
