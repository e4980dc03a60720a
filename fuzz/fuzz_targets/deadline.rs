//! Deadlines against 128-bit arithmetic: no span overflows, what is left never grows, the order is that of the spans.
#![no_main]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use ossature_sys::deadline::Deadline;

fuzz_target!(|input: (u64, u32, u64)| {
    let (secs, nanos, other) = input;
    let (span, other) = (Duration::new(secs >> 1, nanos), Duration::from_nanos(other));
    let (long, short) = (Deadline::after(span.max(other)), Deadline::after(span.min(other)));
    assert!(short <= long || span.max(other) - span.min(other) < Duration::from_secs(1));
    assert_eq!(Deadline::after(span) == Deadline::NOW, span.is_zero());
    assert!(span.as_nanos() <= u128::from(u64::MAX) || Deadline::after(span) == Deadline::NEVER);
    for deadline in [long, short] {
        let first = deadline.remaining();
        assert!(first.is_none_or(|left| left <= span.max(other)));
        assert!(deadline.remaining() <= first || first.is_none());
        assert!(deadline.or_sooner(Deadline::NOW).has_passed());
    }
});
