//! Timers with a descriptor: one-shot, interval, absolute, disarmed.

use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::is_cloexec;
use ossature_sys::timerfd::{Clock, TimerFd};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

const CLOCKS: [Clock; 3] = [Clock::Monotonic, Clock::Boottime, Clock::Realtime];
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn one_shot_expires_once_and_not_early() {
    for clock in CLOCKS {
        let timer = TimerFd::new(clock).unwrap();
        let start = Instant::now();
        timer.set_once(Duration::from_millis(15)).unwrap();
        assert_eq!(soon(|| timer.expirations(Deadline::NEVER)), Ok(Some(1)), "{clock:?}");
        assert!(clock == Clock::Realtime || start.elapsed() >= Duration::from_millis(15), "{clock:?}");
        assert_eq!(timer.remaining(), Ok(None));
        assert_eq!(timer.expirations(Duration::from_millis(5)), Ok(None));
    }
}

#[test]
fn interval_counts_what_nobody_took() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_every(Duration::from_millis(1), Duration::from_millis(1)).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let missed = timer.expirations(Deadline::NOW).unwrap().unwrap();
    assert!(missed >= 19, "{missed}");
    assert!(soon(|| timer.expirations(Deadline::NEVER)).unwrap().is_some());
    assert!(timer.remaining().unwrap().unwrap() <= Duration::from_millis(1));
}

#[test]
fn interval_whose_expiration_is_due_is_still_set() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_every(Duration::from_nanos(1), Duration::from_nanos(1)).unwrap();
    for _ in 0..1000 {
        assert!(timer.remaining().unwrap().is_some());
    }
    timer.disarm().unwrap();
    assert_eq!(timer.remaining(), Ok(None));
}

#[test]
fn interval_of_zero_is_an_error_and_changes_nothing() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_once(HOUR).unwrap();
    assert_eq!(timer.set_every(Duration::ZERO, Duration::ZERO), Err(Errno::INVAL));
    assert!(timer.remaining().unwrap().is_some());
}

#[test]
fn absolute_instant_in_the_past_expires_at_once() {
    for clock in CLOCKS {
        let timer = TimerFd::new(clock).unwrap();
        timer.set_at(Duration::from_nanos(1)).unwrap();
        assert_eq!(soon(|| timer.expirations(Deadline::NEVER)), Ok(Some(1)), "{clock:?}");
    }
}

#[test]
fn absolute_instant_is_on_the_timers_own_clock() {
    for clock in CLOCKS {
        let timer = TimerFd::new(clock).unwrap();
        timer.set_at(clock.now() + HOUR).unwrap();
        let left = timer.remaining().unwrap().unwrap();
        assert!(left <= HOUR && left > HOUR / 2, "{clock:?}: {left:?}");
    }
}

#[test]
fn span_beyond_the_kernels_range_never_comes() {
    for clock in CLOCKS {
        for span in [Duration::from_secs(u64::MAX), Duration::MAX, Duration::from_secs(i64::MAX as u64 + 1)] {
            let timer = TimerFd::new(clock).unwrap();
            let sets = [
                timer.set_once(span),
                timer.set_every(span, span),
                timer.set_at(span),
                timer.set_at_unless_clock_is_set(span),
            ];
            assert_eq!(sets, [Ok(()); 4], "{clock:?} {span:?}");
            assert_eq!(timer.expirations(Duration::from_millis(3)), Ok(None), "{clock:?} {span:?}");
            assert!(timer.remaining().unwrap().unwrap() > 100_000 * HOUR, "{clock:?} {span:?}");
        }
    }
    // The first time is a time like any other, the second never comes.
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_every(Duration::from_millis(1), Duration::MAX).unwrap();
    assert_eq!(soon(|| timer.expirations(Deadline::NEVER)), Ok(Some(1)));
    assert_eq!(timer.expirations(Duration::from_millis(5)), Ok(None));
}

#[test]
fn timer_that_watches_the_wall_clock_expires_too() {
    let timer = TimerFd::new(Clock::Realtime).unwrap();
    timer.set_at_unless_clock_is_set(Clock::Realtime.now() + Duration::from_millis(5)).unwrap();
    assert_eq!(soon(|| timer.expirations(Deadline::NEVER)), Ok(Some(1)));
}

#[test]
fn zero_means_at_once_and_not_never() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_once(Duration::ZERO).unwrap();
    assert_eq!(soon(|| timer.expirations(Deadline::NEVER)), Ok(Some(1)));
}

#[test]
fn disarmed_timer_forgets_what_was_not_taken() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_once(Duration::ZERO).unwrap();
    assert!(soon(|| wait_until_readable(&timer)));
    timer.disarm().unwrap();
    assert_eq!(timer.expirations(Deadline::NOW), Ok(None));
    assert_eq!(timer.remaining(), Ok(None));
}

/// Waits until the timer is readable, without taking the expiration.
fn wait_until_readable(timer: &TimerFd) -> bool {
    use ossature_sys::fd::{AsFd, AsRawFd};
    let mut one = libc::pollfd { fd: timer.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd that lives through the call.
    unsafe { libc::poll(&mut one, 1, -1) == 1 }
}

#[test]
fn timer_that_was_never_set_never_expires() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    assert_eq!(timer.remaining(), Ok(None));
    assert_eq!(soon(|| timer.expirations(Deadline::NOW)), Ok(None));
}

#[test]
fn timer_is_closed_on_exec() {
    assert!(is_cloexec(TimerFd::new(Clock::Boottime).unwrap()).unwrap());
}

#[test]
fn signals_neither_shorten_nor_prolong_the_wait() {
    let timer = TimerFd::new(Clock::Monotonic).unwrap();
    timer.set_once(HOUR).unwrap();
    assert_eq!(keeps_its_deadline(|span| timer.expirations(span)), Ok(None));
}

#[test]
fn clocks_since_boot_agree_in_order() {
    let monotonic = Clock::Monotonic.now();
    let boottime = Clock::Boottime.now();
    assert!(boottime >= monotonic, "boottime also counts sleep: {boottime:?} {monotonic:?}");
    assert!(Clock::Realtime.now() > Duration::from_secs(1_600_000_000));
}
