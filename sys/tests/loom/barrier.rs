//! The barrier: every cycle ends for everybody, with a number or with a reason.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::sync::barrier::{Barrier, Broken};

use crate::explore;

#[test]
fn all_are_let_go_with_a_number_each() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || [barrier.wait().unwrap(), barrier.wait().unwrap()])
        };
        let mine = [barrier.wait().unwrap(), barrier.wait().unwrap()];
        let others = other.join().unwrap();
        assert_eq!([mine[0] + others[0], mine[1] + others[1]], [1, 1]);
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn barrier_that_is_aborted_frees_who_waits() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(2));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        barrier.abort();
        assert_eq!(other.join().unwrap(), Err(Broken::Aborted));
        barrier.reset();
        assert!(!barrier.is_broken());
    });
}

#[test]
fn barrier_may_be_aborted_while_its_action_runs() {
    explore(|| {
        let barrier = Arc::new(Barrier::new(1));
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait_with(thread::yield_now))
        };
        barrier.abort();
        assert!(matches!(other.join().unwrap(), Ok(0) | Err(Broken::Aborted)));
        assert!(barrier.is_broken());
        barrier.reset();
        assert_eq!(barrier.wait(), Ok(0));
    });
}
