//! Threads and timers: start and join beside std's and pthread's, timers beside timerfds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::sys::epoll::{Epoll, Event, Interest};
use ossature::sys::timerfd::{Clock, TimerFd};
use ossature::threading::{Thread, Timer};
use ossature_benches::bench::{self, Bench};
use ossature_benches::machine;
use ossature_benches::report::Bar;
use ossature_benches::rounds::{Rounds, Samples};

fn main() {
    bench::main("threads", &[], |bench| {
        // On one core. On two, the figure would show how the kernel moves a new thread to the other core.
        machine::on_core(machine::cores()[0], || start_and_join(bench));
        make_and_cancel(bench);
        lateness(bench);
        burst(bench);
    });
}

/// Measures a thread that does nothing, from its start until it is joined.
fn start_and_join(bench: &Bench) {
    if !bench.wants("start-join") {
        return;
    }
    let mut rounds = Rounds::new();
    rounds.add("ossature", || {
        Thread::spawn(|| ()).and_then(|thread| thread.join()).expect("the thread starts");
    });
    rounds.add("std", || std::thread::spawn(|| ()).join().expect("the thread starts"));
    rounds.add("pthread", by_hand);
    let samples = rounds.run(bench.scaled(600), Duration::from_millis(1));
    bench.compare("start-join", &samples, "ossature", "std", Bar::AtMost(1.05));
    // Most of the difference is std's: the handle, the name, the stack of signals, the output that a test captures.
    bench.compare("start-join", &samples, "ossature", "pthread", Bar::AtMost(1.5));
    bench.compare("start-join-floor", &samples, "std", "pthread", Bar::AtMost(1.5));
}

/// A thread that does nothing, by the bare calls.
fn by_hand() {
    extern "C" fn nothing(_: *mut libc::c_void) -> *mut libc::c_void {
        std::ptr::null_mut()
    }
    let mut thread = std::mem::MaybeUninit::uninit();
    let null = std::ptr::null_mut();
    // SAFETY: pthread_create(3) writes the thread's number, and the function may be called with any pointer.
    assert_eq!(unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), nothing, null) }, 0);
    // SAFETY: pthread_create(3) has written the number.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: the thread is joinable, and is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
}

/// Measures a timer that is made, started and cancelled, while a thousand others are pending.
fn make_and_cancel(bench: &Bench) {
    if !bench.wants("timer-cancel") {
        return;
    }
    let hour = Duration::from_secs(3600);
    let pending: Vec<Timer> = (0..1000).map(|n| Timer::new(hour + Duration::from_millis(n), || ())).collect();
    pending.iter().for_each(|timer| timer.start().expect("a timer starts"));
    let _descriptors: Vec<TimerFd> = (0..1000).map(|_| armed(hour)).collect();
    let mut rounds = Rounds::new();
    rounds.add("ossature", || {
        let timer = Timer::new(hour, || ());
        timer.start().expect("a timer starts");
        assert!(timer.cancel());
    });
    rounds.add("timerfd", || drop(armed(hour)));
    let samples = rounds.run(bench.scaled(1000), Duration::from_micros(300));
    bench.compare("timer-cancel", &samples, "ossature", "timerfd", Bar::AtMost(0.05));
    pending.iter().for_each(|timer| assert!(timer.cancel()));
}

fn armed(span: Duration) -> TimerFd {
    let timer = TimerFd::new(Clock::Monotonic).expect("a free descriptor");
    timer.set_once(span).expect("arms");
    timer
}

/// Measures the lateness of a timer of one millisecond. This crate's timer is measured in its callback, the rival after
/// epoll returns and the descriptor is read, each in its own thread. A third row waits for an event of this process
/// that is never set.
fn lateness(bench: &Bench) {
    if !bench.wants("timer-lateness") && !bench.wants("wait-lateness") {
        return;
    }
    let span = Duration::from_millis(1);
    let mut samples = Samples::of_names(["ossature", "event", "timerfd"]);
    let event = || {
        let event = ossature::sys::sync::Event::new();
        let due = Instant::now() + span;
        assert!(!event.wait_timeout(span), "the event is never set");
        nanos_since(due) as f64
    };
    let ours = || {
        let late = Arc::new(AtomicU64::new(0));
        let (told, due) = (late.clone(), Instant::now() + span);
        let timer = Timer::new(span, move || told.store(nanos_since(due), SeqCst));
        timer.start().expect("a timer starts");
        timer.wait();
        late.load(SeqCst) as f64
    };
    let theirs = || {
        let waiter = std::thread::spawn(move || {
            let epoll = Epoll::new().expect("a free descriptor");
            let due = Instant::now() + span;
            let timer = armed(span);
            epoll.register(&timer, Interest::IN, 0).expect("registers");
            let mut room = [std::mem::MaybeUninit::<Event>::uninit(); 1];
            epoll.poll(&mut room, None).expect("waits");
            timer.expirations(Duration::ZERO).expect("reads");
            nanos_since(due)
        });
        waiter.join().expect("ends") as f64
    };
    for round in 0..bench.scaled(3000) {
        // In turns, and each goes first every second time.
        for turn in 0..3 {
            let (name, figure) = match (round + turn) % 3 {
                0 => ("ossature", ours()),
                1 => ("event", event()),
                _ => ("timerfd", theirs()),
            };
            samples.push(name, figure);
        }
    }
    bench.compare("timer-lateness", &samples, "ossature", "timerfd", Bar::AtMost(1.0));
    bench.compare("wait-lateness", &samples, "event", "timerfd", Bar::AtMost(1.0));
}

/// Measures the lateness of the last of a hundred thousand timers that are due at one instant. The rival is a thread
/// that sleeps until then and takes the same number of calls out of a heap.
fn burst(bench: &Bench) {
    const MANY: u64 = 100_000;
    if !bench.wants("timer-burst") {
        return;
    }
    let span = Duration::from_millis(400); // enough to make them
    let mut samples = Samples::of_names(["ossature", "heap"]);
    let ours = || {
        let (late, left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(MANY)));
        let due = Instant::now() + span;
        let timers: Vec<Timer> = (0..MANY)
            .map(|_| {
                let (late, left) = (late.clone(), left.clone());
                let call = move || {
                    if left.fetch_sub(1, SeqCst) == 1 {
                        late.store(nanos_since(due), SeqCst);
                    }
                };
                let timer = Timer::new(due.saturating_duration_since(Instant::now()), call);
                timer.start().expect("a timer starts");
                timer
            })
            .collect();
        timers.iter().for_each(Timer::wait);
        late.load(SeqCst) as f64
    };
    let theirs = || {
        let due = Instant::now() + span;
        let mut heap: BinaryHeap<(Reverse<u64>, usize)> = BinaryHeap::new();
        let left = Arc::new(AtomicU64::new(MANY));
        let mut calls: Vec<Option<Box<dyn FnOnce() + Send>>> = Vec::new();
        for turn in 0..MANY {
            let left = left.clone();
            heap.push((Reverse(turn), calls.len()));
            calls.push(Some(Box::new(move || _ = left.fetch_sub(1, SeqCst))));
        }
        let caller = std::thread::spawn(move || {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            while let Some((_, place)) = heap.pop() {
                calls[place].take().expect("each place occurs once")();
            }
            nanos_since(due)
        });
        caller.join().expect("ends") as f64
    };
    for round in 0..bench.scaled(40).min(40) {
        for turn in [round % 2, 1 - round % 2] {
            let (name, figure) = if turn == 0 { ("ossature", ours()) } else { ("heap", theirs()) };
            samples.push(name, figure);
        }
    }
    // A tenth of a second for the last of them.
    bench.compare("timer-burst", &samples, "ossature", "heap", Bar::Plus(100e6));
}

fn nanos_since(due: Instant) -> u64 {
    Instant::now().saturating_duration_since(due).as_nanos() as u64
}
