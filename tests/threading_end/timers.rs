//! Timers and their threads: few threads for many timers, and timers without a thread.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;
use ossature::threading::{Event, Timer, get_native_id};

use super::apart;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A logger that collects its messages.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(format!("{} {}: {}", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}

fn listen() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
}

fn logged() -> Vec<String> {
    LOG.0.lock().unwrap().clone()
}

/// A timer without an interval, whose callback reports that it has begun and then waits.
fn busy(end: &Arc<Event>) -> Timer {
    let (begun, end) = (Arc::new(Event::new()), end.clone());
    let tell = begun.clone();
    let timer = Timer::new(Duration::ZERO, move || {
        tell.set();
        end.wait();
    });
    timer.start().unwrap();
    begun.wait();
    timer
}

pub fn many_due_at_once_share_few_threads() {
    apart(|| {
        let threads = Arc::new(Mutex::new(HashSet::new()));
        let called = Arc::new(AtomicU32::new(0));
        let timers: Vec<_> = (0..100_000)
            .map(|_| {
                let (threads, called) = (threads.clone(), called.clone());
                Timer::new(300 * MS, move || {
                    threads.lock().unwrap().insert(get_native_id());
                    called.fetch_add(1, SeqCst);
                    std::thread::yield_now(); // any other thread that is there may go on
                })
            })
            .collect();
        timers.iter().for_each(|timer| timer.start().unwrap());
        timers.iter().for_each(Timer::wait);
        assert_eq!(called.load(SeqCst), 100_000);
        let threads = threads.lock().unwrap().len();
        assert!(threads <= 16, "{threads} threads");
    });
}

pub fn a_timer_that_waits_for_a_thread_is_counted_and_logged() {
    apart(|| {
        listen();
        assert_eq!((Timer::max_threads(), Timer::delayed()), (64, 0));
        Timer::set_max_threads(const { NonZeroUsize::new(2).unwrap() });
        let end = Arc::new(Event::new());
        let slow = [busy(&end), busy(&end)];
        let third = Timer::new(Duration::ZERO, || ());
        third.start().unwrap();
        let text = "WARN threading: all 2 threads for timers are in callbacks, 1 timers wait: Timer::set_max_threads allows more";
        assert_eq!(logged(), [text]);
        assert!(!third.wait_timeout(5 * MS), "there is no thread for it");
        end.set();
        third.wait();
        slow.iter().for_each(Timer::wait);
        assert_eq!((Timer::delayed(), logged().len()), (1, 1));
        // More threads are allowed while timers wait: they need not wait any more.
        let end = Arc::new(Event::new());
        let slow = [busy(&end), busy(&end)];
        let third = Timer::new(Duration::ZERO, || ());
        third.start().unwrap();
        Timer::set_max_threads(const { NonZeroUsize::new(3).unwrap() });
        third.wait();
        assert!(slow.iter().all(Timer::is_alive));
        end.set();
        slow.iter().for_each(Timer::wait);
    });
}

pub fn with_one_thread_callbacks_follow_each_other() {
    apart(|| {
        listen();
        Timer::set_max_threads(NonZeroUsize::MIN);
        let (threads, order) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(Mutex::new(Vec::new())));
        let end = Arc::new(Event::new());
        let slow = busy(&end);
        let timers: Vec<_> = (0..10)
            .map(|n| {
                let (threads, order) = (threads.clone(), order.clone());
                Timer::new(MS, move || {
                    threads.lock().unwrap().insert(get_native_id());
                    order.lock().unwrap().push(n);
                })
            })
            .collect();
        timers.iter().for_each(|timer| timer.start().unwrap());
        assert!(!timers[0].wait_timeout(5 * MS), "another callback runs");
        end.set();
        timers.iter().for_each(Timer::wait);
        slow.wait();
        assert_eq!(threads.lock().unwrap().len(), 1);
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
        let said = logged();
        assert!(
            said.len() == 1 && said[0].contains("late, because every thread for timers was in a callback"),
            "{said:?}"
        );
    });
}

pub fn a_lower_number_of_threads_holds_at_once() {
    apart(|| {
        let end = Arc::new(Event::new());
        let busy: Vec<_> = (0..5).map(|_| busy(&end)).collect();
        end.set();
        busy.iter().for_each(Timer::wait);
        // There are idle threads now, more than are allowed from here on.
        Timer::set_max_threads(NonZeroUsize::MIN);
        let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let timers: Vec<_> = (0..6)
            .map(|_| {
                let (inside, most) = (inside.clone(), most.clone());
                Timer::new(MS, move || {
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(5 * MS); // longer than a callback may last before it counts as slow
                    inside.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        timers.iter().for_each(|timer| timer.start().unwrap());
        timers.iter().for_each(Timer::wait);
        assert_eq!(most.load(SeqCst), 1);
    });
}

pub fn a_chain_without_intervals_lets_others_come() {
    fn again(stop: Arc<Event>) {
        if !stop.is_set() {
            Timer::new(Duration::ZERO, move || again(stop)).start().unwrap();
        }
    }
    apart(|| {
        Timer::set_max_threads(NonZeroUsize::MIN);
        let stop = Arc::new(Event::new());
        again(stop.clone());
        let other = Timer::new(5 * MS, move || stop.set());
        other.start().unwrap();
        other.wait();
    });
}

/// Limits the process's memory, so that no further stack fits.
fn no_more_memory() -> libc::rlimit {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for the write that the call makes.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut before) }, 0);
    limit_memory(libc::rlimit { rlim_cur: (pages * 4096 + (1 << 20)) as _, ..before });
    before
}

fn limit_memory(limit: libc::rlimit) {
    // SAFETY: the pointer is valid for the read that the call makes.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

pub fn a_timer_without_a_thread_can_be_started_again() {
    apart(|| {
        let timer = Timer::new(MS, || ());
        let before = no_more_memory();
        let error = timer.start().unwrap_err();
        limit_memory(before);
        assert_eq!(error.errno(), Some(Errno::AGAIN));
        assert!(!timer.is_alive());
        timer.start().unwrap();
        timer.wait();
    });
}

pub fn without_a_further_thread_timers_wait_for_one() {
    apart(|| {
        listen();
        let end = Arc::new(Event::new());
        let slow = busy(&end);
        let before = no_more_memory();
        let (due, later) = (Timer::new(Duration::ZERO, || ()), Timer::new(HOUR, || ()));
        due.start().unwrap();
        later.start().unwrap();
        assert!(!due.wait_timeout(5 * MS), "there is no thread for it");
        let said = logged();
        assert!(said.len() == 1 && said[0].contains("no thread for timers (can't start new thread"), "{said:?}");
        end.set();
        due.wait();
        limit_memory(before);
        slow.wait();
        assert!(later.cancel());
        assert_eq!(Timer::delayed(), 1);
    });
}

/// While another start is about to find out, it is not known whether there can be a first thread. A timer must not be
/// accepted on that chance, because no thread might call it.
pub fn every_timer_that_was_started_is_called() {
    const STARTERS: usize = 4;
    apart(|| {
        // A starter that has ended would leave its stack for a thread of timers.
        let (begin, end) = (Arc::new(Barrier::new(STARTERS + 1)), Arc::new(Barrier::new(STARTERS + 1)));
        let started = Arc::new(Mutex::new(Vec::with_capacity(STARTERS * 1000)));
        let starters: Vec<_> = (0..STARTERS)
            .map(|_| {
                let (begin, end, started) = (begin.clone(), end.clone(), started.clone());
                std::thread::spawn(move || {
                    drop(Timer::new(MS, || ())); // its allocator has now what it takes at first
                    begin.wait();
                    begin.wait();
                    for timer in (0..1000).map(|_| Timer::new(MS, || ())) {
                        if timer.start().is_ok() {
                            started.lock().unwrap().push(timer);
                        }
                    }
                    end.wait();
                    end.wait();
                })
            })
            .collect();
        begin.wait();
        let before = no_more_memory();
        begin.wait();
        end.wait();
        limit_memory(before);
        let started = std::mem::take(&mut *started.lock().unwrap());
        let patience = Deadline::after(Duration::from_secs(1));
        let forgotten = started.iter().filter(|timer| !timer.wait_timeout(patience)).count();
        end.wait();
        starters.into_iter().for_each(|starter| starter.join().unwrap());
        assert_eq!(forgotten, 0, "of {} timers", started.len());
    });
}
