//! Values of each frame.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ossature::dummy_threading::{Local, Thread, current_thread};

use super::world;
use crate::support::soon;

#[test]
fn a_started_thread_has_values_of_its_own_and_the_callers_come_back() {
    static NUMBER: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    world(|| {
        NUMBER.with(|number| number.set(2));
        let seen = Thread::spawn(|| {
            let first = NUMBER.with(|number| number.replace(3));
            let inner = Thread::spawn(|| NUMBER.with(Cell::get)).unwrap().result().unwrap();
            (first, inner, NUMBER.with(Cell::get), NUMBER.threads())
        });
        assert_eq!(seen.unwrap().result().unwrap(), (1, 1, 3, 2));
        assert_eq!((NUMBER.with(Cell::get), NUMBER.threads()), (2, 1));
    });
}

/// A value that records its drop, and the thread of the drop.
struct Told(Rc<RefCell<Vec<String>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push(current_thread().name());
    }
}

#[test]
fn values_die_in_their_thread_before_start_returns_or_with_their_local() {
    world(|| {
        let ends = Rc::new(RefCell::new(Vec::new()));
        let make = ends.clone();
        let local = Rc::new(Local::new(move || Told(make.clone())));
        local.with(|_| ());
        let inner = local.clone();
        Thread::builder().name("inner").spawn(move || inner.with(|_| ())).unwrap();
        assert_eq!(*ends.borrow(), ["inner"]);
        drop(local);
        assert_eq!(*ends.borrow(), ["inner", "MainThread"]);
    });
}

#[test]
fn an_initialiser_may_use_the_value_that_it_makes() {
    static DEEP: Local<u32> = Local::new(|| {
        thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        if depth == 0 { DEEP.with(|inner| inner + 10) } else { 7 }
    });
    world(|| {
        assert_eq!(DEEP.with(|value| *value), 17);
        assert_eq!(DEEP.with(|value| *value), 17);
    });
}

#[test]
fn values_that_outlive_everything_die_with_the_thread_of_the_system() {
    struct Count(Arc<Mutex<u32>>, Thread);
    impl Drop for Count {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            assert!(LOCAL.try_with(|_| ()).is_err(), "past its end: {:?}", self.1);
        }
    }
    static ENDS: Mutex<Option<Arc<Mutex<u32>>>> = Mutex::new(None);
    static LOCAL: Local<Count> = Local::new(|| Count(ENDS.lock().unwrap().clone().unwrap(), current_thread()));
    let ends = Arc::new(Mutex::new(0));
    *ENDS.lock().unwrap() = Some(ends.clone());
    soon(|| std::thread::spawn(|| LOCAL.with(|_| ())).join().unwrap());
    assert_eq!(*ends.lock().unwrap(), 1);
}
