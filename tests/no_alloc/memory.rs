//! Objects that have ended leave no memory behind.

use ossature::multiprocessing::connection::pipe;
use ossature::threading::Local;

use crate::live;

/// How much more memory this thread has after the second thousand turns than after the first.
fn growth(mut turn: impl FnMut()) -> i64 {
    (0..1000).for_each(|_| turn());
    let before = live();
    (0..1000).for_each(|_| turn());
    live() - before
}

#[test]
fn dropped_locals_leave_nothing_in_the_thread() {
    let grown = growth(|| Local::new(|| 7_u64).with(|value| assert_eq!(*value, 7)));
    assert!(grown < 4096, "{grown}");
}

#[test]
fn dropped_connections_leave_nothing_in_the_list_of_descriptors() {
    // The list lets go of the dead when it is full: at 64, or twice what lives.
    let grown = growth(|| drop(pipe().unwrap()));
    assert!(grown < 64 << 10, "{grown}");
}

#[test]
fn a_received_value_leaves_nothing_in_the_thread() {
    let (near, far) = pipe().unwrap();
    let turn = move || {
        near.send(&7_u32).unwrap();
        assert_eq!(far.recv::<u32>().unwrap(), 7);
    };
    // The connections keep a buffer.
    turn();
    let thread = std::thread::spawn(move || {
        let before = live();
        turn();
        assert_eq!(live(), before);
    });
    thread.join().unwrap();
}
