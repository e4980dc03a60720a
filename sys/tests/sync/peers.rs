//! The test bench itself: a failure in a participant fails the test, with its text.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::Ordering::SeqCst;

use crate::ledger::counters;
use crate::world::WithPeers;

stamp! { "peers":
    in peers: failure_of_a_participant_fails_the_test_with_its_text, failure_of_the_test_is_the_one_that_is_told,
        everybody_takes_part_once;
    in processes: participant_that_is_not_killed_by_the_test_must_end_well;
}

fn said(test: impl FnOnce()) -> String {
    // What is planted is not worth a report.
    let hook = take_hook();
    set_hook(Box::new(|_| ()));
    let panic = catch_unwind(AssertUnwindSafe(test));
    set_hook(hook);
    let panic = panic.expect_err("it fails");
    panic.downcast::<String>().map_or_else(|panic| panic.downcast::<&str>().unwrap().to_string(), |text| *text)
}

fn failure_of_a_participant_fails_the_test_with_its_text<W: WithPeers>() {
    let text = said(|| {
        W::with_peers(3, |me| assert!(me.index() != 1, "planted in {}", me.index()), |_| ());
    });
    assert_eq!(text, "participant 1 failed: planted in 1\n");
}

fn failure_of_the_test_is_the_one_that_is_told<W: WithPeers>() {
    let text = said(|| {
        W::with_peers(
            2,
            |me| me.until_told(1),
            |peers| {
                peers.tell(1);
                panic!("planted in the test");
            },
        )
    });
    assert_eq!(text, "planted in the test");
}

fn everybody_takes_part_once<W: WithPeers>() {
    let seen = counters();
    let answer = W::with_peers(
        8,
        |me| {
            seen[me.index()].fetch_add(1, SeqCst);
        },
        |peers| peers.size,
    );
    assert_eq!(answer, 8);
    assert!(seen[..8].iter().all(|seat| seat.load(SeqCst) == 1));
}

fn participant_that_is_not_killed_by_the_test_must_end_well<W: WithPeers>() {
    let text = said(|| W::other(|| ossature_sys::process::exit(3)));
    assert!(text.starts_with("participant 0") && text.contains("Code(3)"), "{text}");
}
