//! Maps with a closure that borrows.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::active_children;
use ossature::multiprocessing::pool::fork_map;
use ossature::sys::process::Signal;
use ossature::sys::signal::raise;

use crate::harness::Test;
use crate::work::{Place, note};

pub const TESTS: &[Test] = &[
    ("forked::a_closure_borrows_items_of_any_type", a_closure_borrows_items_of_any_type),
    ("forked::a_death_ends_its_own_call_alone", a_death_ends_its_own_call_alone),
    ("forked::a_killed_supervisor_ends_the_map_with_an_error", a_killed_supervisor_ends_the_map_with_an_error),
    ("forked::nonsense_and_panics_are_errors", nonsense_and_panics_are_errors),
];

/// A type without serde's traits, which also cannot be sent to a thread.
struct Local<'t>(&'t str, Cell<usize>);

fn a_closure_borrows_items_of_any_type() {
    let texts: Vec<String> = (0..100).map(|number| "x".repeat(number)).collect();
    let items: Vec<Local<'_>> = texts.iter().map(|text| Local(text, Cell::new(0))).collect();
    let more = 5;
    let lengths = fork_map(&items, 3, |item| {
        item.1.set(1);
        item.0.len() + more
    });
    assert_eq!(lengths.unwrap(), (5..105).collect::<Vec<usize>>());
    assert!(items.iter().all(|item| item.1.get() == 0), "the copies have their own");
    assert_eq!(fork_map(&items[..0], 3, |_| 1).unwrap(), [0; 0]);
    assert_eq!(fork_map(&[1], 8, |number| number + 1).unwrap(), [2]);
}

fn a_death_ends_its_own_call_alone() {
    let place = Place::new("fork-map");
    let numbers: Vec<u64> = (0..20).collect();
    let died = fork_map(&numbers, 2, |number| {
        note(place.path(), *number);
        if *number == 7 {
            raise(Signal::KILL).unwrap();
        }
        *number
    });
    let error = died.unwrap_err();
    assert_eq!((error.kind(), error.exit_status().and_then(|exit| exit.signal())), (ErrorKind::WorkerDied, Some(9)));
    assert!((0..20).all(|number| place.begun(number) == 1), "every other call was made");
}

fn a_killed_supervisor_ends_the_map_with_an_error() {
    let begun = Instant::now();
    let supervisor = Cell::new(0);
    let ended = fork_map(&[1, 2], 2, |number| {
        if *number == 1 {
            let parent = ossature::multiprocessing::parent_process().unwrap().pid().unwrap();
            let pidfd = ossature::sys::process::pidfd_open(parent).unwrap();
            ossature::sys::process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
        }
        supervisor.set(1);
        std::thread::sleep(Duration::from_secs(50));
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::WorkerDied);
    assert!(begun.elapsed() < Duration::from_secs(20) && active_children().is_empty());
}

fn nonsense_and_panics_are_errors() {
    assert_eq!(fork_map(&[1], 0, |_| 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fork_map(&[1], 1025, |_| 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = fork_map(&[1, 2, 3], 2, |number| assert!(*number != 2, "planted")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.to_string().contains("planted"), "{error}");
}
