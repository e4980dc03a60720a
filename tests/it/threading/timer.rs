//! Timers: called once in time, or cancelled.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::sys::futex::Cancel;
use ossature::threading::{Event, Thread, Timer, current_thread, enumerate};

use crate::support::soon;

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

#[test]
fn it_calls_once_and_not_before_its_time() {
    soon(|| {
        let (tell, hear) = channel();
        let start = Instant::now();
        let timer = Timer::new(20 * MS, move || tell.send(start.elapsed()).unwrap());
        assert!(!timer.is_alive() && !timer.is_finished());
        timer.start().unwrap();
        assert!(hear.recv().unwrap() >= 20 * MS);
        timer.wait();
        assert!(timer.is_finished() && !timer.is_alive());
        assert!(hear.recv().is_err(), "the callback is gone with what it held");
        assert!(!timer.cancel(), "too late");
    });
}

#[test]
fn counting_begins_at_the_start() {
    soon(|| {
        let timer = Timer::new(30 * MS, || ());
        std::thread::sleep(30 * MS);
        let start = Instant::now();
        timer.start().unwrap();
        timer.wait();
        assert!(start.elapsed() >= 30 * MS);
    });
}

#[test]
fn an_interval_of_zero_calls_at_once() {
    soon(|| {
        let timer = Timer::new(Duration::ZERO, || ());
        timer.start().unwrap();
        timer.wait();
    });
}

#[test]
fn it_starts_once() {
    soon(|| {
        let timer = Timer::new(HOUR, || ());
        timer.start().unwrap();
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_interval(MS).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_daemon(true).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert!(timer.cancel());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}

#[test]
fn a_cancelled_one_never_calls_and_is_over_at_once() {
    soon(|| {
        let (tell, hear) = channel::<()>();
        let timer = Timer::new(HOUR, move || tell.send(()).unwrap());
        timer.start().unwrap();
        assert!(timer.is_alive());
        assert!(timer.clone().cancel());
        assert!(hear.recv().is_err(), "the callback was dropped");
        assert!(!timer.cancel(), "the second time prevents nothing");
        assert!(timer.is_finished() && timer.wait_timeout(Duration::ZERO) && !timer.is_alive());
    });
}

#[test]
fn one_that_is_cancelled_before_its_start_never_calls() {
    soon(|| {
        let called = Arc::new(AtomicU32::new(0));
        let count = called.clone();
        let timer = Timer::new(Duration::ZERO, move || _ = count.fetch_add(1, SeqCst));
        assert!(timer.cancel() && timer.is_finished());
        timer.start().unwrap();
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        let later = Timer::new(5 * MS, || ());
        later.start().unwrap();
        later.wait();
        assert_eq!(called.load(SeqCst), 0);
    });
}

#[test]
fn cancelling_from_the_callback_is_too_late() {
    soon(|| {
        let (tell, hear) = channel();
        let (told, own) = channel::<Timer>();
        let timer = Timer::new(MS, move || tell.send(own.recv().unwrap().cancel()).unwrap());
        timer.start().unwrap();
        told.send(timer.clone()).unwrap();
        assert!(!hear.recv().unwrap());
        timer.wait();
    });
}

#[test]
fn many_come_in_the_order_of_their_times() {
    soon(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let timers: Vec<_> = [9, 1, 5, 3, 7]
            .map(|n| {
                let order = order.clone();
                Timer::new(20 * n * MS, move || order.lock().unwrap().push(n))
            })
            .into();
        timers.iter().for_each(|timer| timer.start().unwrap());
        assert!(timers[2].cancel());
        timers.iter().for_each(Timer::wait);
        assert_eq!(*order.lock().unwrap(), [1, 3, 7, 9]);
    });
}

#[test]
fn a_slow_callback_makes_no_other_late() {
    soon(|| {
        let (end, entered) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let slow: Vec<_> = (0..3)
            .map(|_| {
                let (end, entered) = (end.clone(), entered.clone());
                Timer::new(MS, move || {
                    entered.set();
                    end.wait();
                })
            })
            .collect();
        slow.iter().for_each(|timer| timer.start().unwrap());
        entered.wait();
        // While those are busy, which they are until this one has called.
        let quick = Timer::new(MS, || ());
        quick.start().unwrap();
        quick.wait();
        assert!(slow.iter().all(Timer::is_alive));
        end.set();
        slow.iter().for_each(Timer::wait);
    });
}

#[test]
fn a_sooner_one_that_comes_later_is_not_late() {
    soon(|| {
        let far = Timer::new(HOUR, || ());
        far.start().unwrap();
        std::thread::sleep(5 * MS); // until somebody sleeps for it, if the machine is kind
        let near = Timer::new(MS, || ());
        near.start().unwrap();
        near.wait();
        assert!(far.is_alive() && far.cancel());
    });
}

#[test]
fn a_callback_starts_others_in_turn() {
    fn again(left: u32, done: Arc<Event>) {
        if left == 0 {
            return done.set();
        }
        Timer::new(MS, move || again(left - 1, done)).start().unwrap();
    }
    soon(|| {
        let done = Arc::new(Event::new());
        again(30, done.clone());
        done.wait();
    });
}

#[test]
fn a_callback_that_panics_is_reported_and_harms_nobody() {
    soon(|| {
        let bad = Timer::new(MS, || panic!("a callback panics; this line is meant to be seen"));
        let (tell, hear) = channel();
        let good = Timer::new(2 * MS, move || tell.send(current_thread().name()).unwrap());
        bad.start().unwrap();
        good.start().unwrap();
        bad.wait();
        assert!(bad.is_finished());
        assert_eq!(hear.recv().unwrap(), "Timer");
    });
}

#[test]
fn threads_of_timers_are_not_listed() {
    soon(|| {
        let (tell, hear) = channel();
        let timer = Timer::new(MS, move || tell.send((enumerate(), current_thread())).unwrap());
        timer.start().unwrap();
        let (listed, mine) = hear.recv().unwrap();
        assert!(!listed.contains(&mine));
    });
}

#[test]
fn its_interval_and_daemon_flag_are_told() {
    soon(|| {
        let timer = Timer::new(MS, || ());
        assert_eq!(timer.interval(), MS);
        timer.set_interval(HOUR).unwrap();
        timer.set_daemon(true).unwrap();
        assert_eq!((timer.interval(), timer.daemon()), (HOUR, true));
        assert_eq!(format!("{timer:?}"), "Timer(3600s, initial)");
        let inherit = |daemon| {
            let thread = Thread::builder().daemon(daemon).spawn(|| Timer::new(MS, || ()).daemon()).unwrap();
            thread.result().unwrap()
        };
        assert_eq!((inherit(true), inherit(false)), (true, false));
        let eternal = Timer::new(Duration::MAX, || ());
        eternal.start().unwrap();
        assert!(eternal.cancel());
    });
}

#[test]
fn waiting_ends_with_the_limit() {
    soon(|| {
        let timer = Timer::new(HOUR, || ());
        assert!(!timer.wait_timeout(MS), "not started");
        timer.start().unwrap();
        assert!(!timer.wait_timeout(MS));
        let stop = Cancel::new();
        stop.cancel();
        assert!(!timer.wait_timeout(&stop));
        timer.cancel();
        assert!(timer.wait_timeout(None));
    });
}

#[test]
fn each_is_either_called_or_cancelled() {
    soon(|| {
        let called = Arc::new(AtomicU32::new(0));
        let cancelled: u32 = (0..2000_u64)
            .map(|n| {
                let count = called.clone();
                let timer = Timer::new(Duration::from_nanos(n % 50 * 1000), move || _ = count.fetch_add(1, SeqCst));
                timer.start().unwrap();
                let cancelled = u32::from(n % 3 == 0 && timer.cancel());
                if cancelled == 0 {
                    timer.wait();
                }
                cancelled
            })
            .sum();
        assert_eq!(called.load(SeqCst) + cancelled, 2000);
    });
}

#[test]
fn thousands_that_are_cancelled_leave_the_others() {
    soon(|| {
        let kept: Vec<_> = (0..100).map(|n| Timer::new(30 * MS + n * Duration::from_micros(10), || ())).collect();
        kept.iter().for_each(|timer| timer.start().unwrap());
        for n in 0..10_000 {
            let timer = Timer::new(HOUR / (n % 7 + 1), || ());
            timer.start().unwrap();
            assert!(timer.cancel());
        }
        kept.iter().for_each(Timer::wait);
    });
}
