//! The current thread, and waits that could only wait for themselves.

use std::cell::Cell;
use std::rc::Rc;

use ossature::ErrorKind;
use ossature::dummy_threading::{self, Thread, active_count, current_thread, enumerate, main_thread};

use super::{LONG, world};

#[test]
fn the_current_thread_is_the_innermost_and_the_main_thread_comes_back() {
    world(|| {
        assert_eq!(current_thread(), main_thread());
        assert_eq!((main_thread().name(), main_thread().is_alive()), ("MainThread".into(), true));
        let outer = Thread::builder().name("outer").prepare(|| {
            let me = current_thread();
            let inner = Thread::builder().name("inner").spawn(current_thread).unwrap().result().unwrap();
            (me.clone(), inner, current_thread() == me)
        });
        outer.start().unwrap();
        let (me, inner, back) = outer.result().unwrap();
        assert!(me == outer && back && inner.name() == "inner" && inner != outer);
        assert_eq!(current_thread(), main_thread());
    });
}

#[test]
fn one_thread_is_listed_always() {
    world(|| {
        assert_eq!((active_count(), enumerate()), (1, vec![main_thread()]));
        let thread = Thread::new(|| (active_count(), enumerate()));
        thread.start().unwrap();
        let (count, listed) = thread.result().unwrap();
        assert!(count == 1 && listed.len() == 1 && listed[0] == thread);
        assert_eq!((active_count(), enumerate()), (1, vec![main_thread()]));
    });
}

#[test]
fn every_thread_has_the_same_number() {
    world(|| {
        let one = dummy_threading::get_ident();
        let thread = Thread::spawn(dummy_threading::get_ident).unwrap();
        assert_eq!((thread.ident(), thread.native_id()), (Some(one), Some(dummy_threading::get_native_id())));
        assert_eq!((thread.result().unwrap(), one.get()), (one, 1));
    });
}

#[test]
fn waiting_for_what_one_is_part_of_is_refused() {
    world(|| {
        let thread = Thread::new(|| {
            let me = current_thread();
            let from_within = Thread::spawn({
                let me = me.clone();
                move || (me.join().unwrap_err().kind(), me.join_timeout(LONG).unwrap())
            });
            (
                me.join().unwrap_err().kind(),
                me.join_timeout(LONG).unwrap_err().kind(),
                from_within.unwrap().result().unwrap(),
            )
        });
        thread.start().unwrap();
        let dead = ErrorKind::WouldDeadlock;
        assert_eq!(thread.result().unwrap(), (dead, dead, (dead, false)));
        assert_eq!(main_thread().join().unwrap_err().kind(), dead);
    });
}

#[test]
fn there_is_no_stack_to_have_a_size() {
    world(|| {
        assert_eq!(dummy_threading::stack_size(), 0);
        assert_eq!(dummy_threading::set_stack_size(1 << 20).unwrap_err().kind(), ErrorKind::Unsupported);
        let ran = Rc::new(Cell::new(false));
        let run = ran.clone();
        let thread = Thread::builder().stack_size(1 << 20).prepare(move || run.set(true));
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(!ran.get() && thread.ident().is_none());
    });
}
