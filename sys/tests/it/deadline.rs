//! One instant passed down: the time that is left, deadlines that never end, deadlines that have passed.

use core::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;

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

/// Whether `make` makes the deadline that is `span` from now.
#[track_caller]
fn lies(span: Duration, make: impl Fn() -> Deadline) {
    let (before, made, after) = (Deadline::after(span), make(), Deadline::after(span));
    assert!(before <= made && made <= after, "{before:?} <= {made:?} <= {after:?}");
}

#[test]
fn float_seconds_keep_the_rules_of_select() {
    let of = Deadline::from_secs_f64;
    for zero in [0.0, -0.0] {
        assert_eq!(of(zero), Ok(Deadline::NOW));
    }
    for wrong in [-1.0, -1e-100, f64::NEG_INFINITY, f64::NAN, -f64::NAN] {
        assert_eq!(of(wrong), Err(Errno::INVAL), "{wrong}");
    }
    for huge in [9_223_372_036.854_776, 1e10, f64::MAX, f64::INFINITY] {
        assert_eq!(of(huge), Err(Errno::RANGE), "{huge}");
    }
    let spans =
        [(1.0, 1_000_000_000), (0.1, 100_000_000), (3600.5, 3_600_500_000_000), (9e9, 9_000_000_000_000_000_000)];
    for (seconds, nanos) in spans {
        lies(Duration::from_nanos(nanos), || of(seconds).unwrap());
    }
}

#[test]
fn float_seconds_are_rounded_away_from_zero() {
    for tiny in [1e-9, 1e-10, f64::MIN_POSITIVE, 5e-324] {
        let made = Deadline::from_secs_f64(tiny).unwrap();
        assert!(made > Deadline::NOW && made < Deadline::NEVER, "{tiny}");
    }
}

#[test]
fn whole_milliseconds_keep_the_rules_of_poll() {
    let of = Deadline::from_millis_i64;
    assert_eq!(of(0), Ok(Deadline::NOW));
    for negative in [-1, -2, i64::MIN] {
        assert_eq!(of(negative), Ok(Deadline::NEVER), "{negative}");
    }
    for huge in [i64::from(i32::MAX) + 1, i64::MAX] {
        assert_eq!(of(huge), Err(Errno::RANGE), "{huge}");
    }
    for millis in [1, 1500, i32::MAX as u64] {
        lies(Duration::from_millis(millis), || of(millis as i64).unwrap());
    }
}
