//! One instant handed down: what is left, what never ends, what has passed.

use core::time::Duration;

use ossature_sys::deadline::Deadline;

#[test]
fn none_means_never_and_zero_means_now() {
    assert_eq!(Deadline::from(None), Deadline::NEVER);
    assert_eq!(Deadline::from(Duration::ZERO), Deadline::NOW);
    assert_eq!(Deadline::NEVER.remaining(), None);
    assert_eq!(Deadline::NOW.remaining(), Some(Duration::ZERO));
    assert!(Deadline::NOW.has_passed());
    assert!(!Deadline::NEVER.has_passed());
}

#[test]
fn beyond_the_clock_means_never() {
    assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
    assert_eq!(Deadline::after(Duration::from_nanos(u64::MAX)), Deadline::NEVER);
    assert_ne!(Deadline::after(Duration::from_secs(1 << 33)), Deadline::NEVER);
}

#[test]
fn what_is_left_only_shrinks() {
    let deadline = Deadline::after(Duration::from_secs(3600));
    let mut last = Duration::from_secs(3600);
    for _ in 0..1000 {
        let left = deadline.remaining().unwrap();
        assert!(left <= last);
        last = left;
    }
}

#[test]
fn deadlines_order_by_time() {
    let soon = Deadline::after(Duration::from_secs(1));
    let late = Deadline::after(Duration::from_secs(100));
    assert!(Deadline::NOW < soon && soon < late && late < Deadline::NEVER);
    assert_eq!(late.or_sooner(soon), soon);
}
