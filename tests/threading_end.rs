//! Tests of a whole process: the number of its threads, its end, its children. A main of its own with one thread, so
//! that fork is safe. Each test runs in a forked child, which may have any number of threads.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "threading_end/children.rs"]
mod children;
#[path = "threading_end/timers.rs"]
mod timers;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ossature::ErrorKind;
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, fork, fork_unchecked};
use ossature::sys::signal::Signal;
use ossature::thread;
use ossature::threading::init::Once;
use ossature::threading::{
    self, Event, ShutdownGuard, Thread, Timer, active_count, current_thread, enumerate, main_thread,
};

fn main() {
    harness::run(&[
        ("the_living_are_counted", the_living_are_counted),
        ("threads_of_both_modules_are_counted_by_the_lower", threads_of_both_modules_are_counted_by_the_lower),
        ("stack_size_is_told_and_checked", stack_size_is_told_and_checked),
        ("shutdown_calls_back_in_reverse_and_then_joins", shutdown_calls_back_in_reverse_and_then_joins),
        ("shutdown_does_not_wait_for_daemons", shutdown_does_not_wait_for_daemons),
        ("shutdown_waits_for_what_threads_start_meanwhile", shutdown_waits_for_what_threads_start_meanwhile),
        ("shutdown_waits_for_timers", shutdown_waits_for_timers),
        ("nothing_begins_after_shutdown", nothing_begins_after_shutdown),
        ("a_callback_can_register_no_other_but_start_threads", a_callback_can_register_no_other_but_start_threads),
        ("a_callback_that_panics_stops_no_other", a_callback_that_panics_stops_no_other),
        ("a_guard_shuts_down_and_callbacks_come_once", a_guard_shuts_down_and_callbacks_come_once),
        ("the_main_thread_can_be_joined_while_it_shuts_down", the_main_thread_can_be_joined_while_it_shuts_down),
        ("shutdown_does_not_wait_for_the_thread_that_calls_it", shutdown_does_not_wait_for_the_thread_that_calls_it),
        ("the_default_hook_prints_no_exit", the_default_hook_prints_no_exit),
        ("a_handle_of_the_forking_thread_tells_at_once", children::a_handle_of_the_forking_thread_tells_at_once),
        ("a_child_has_the_main_thread_only", children::a_child_has_the_main_thread_only),
        ("a_forking_thread_is_main_in_the_child", children::a_forking_thread_is_main_in_the_child),
        (
            "a_joined_thread_that_forks_can_be_joined_in_the_child",
            children::a_joined_thread_that_forks_can_be_joined_in_the_child,
        ),
        (
            "a_thread_that_forks_while_it_initialises_goes_on_in_the_child",
            children::a_thread_that_forks_while_it_initialises_goes_on_in_the_child,
        ),
        (
            "a_forking_thread_from_elsewhere_is_main_in_the_child",
            children::a_forking_thread_from_elsewhere_is_main_in_the_child,
        ),
        ("a_fork_in_the_middle_of_it_leaves_no_lock_held", children::a_fork_in_the_middle_of_it_leaves_no_lock_held),
        ("timers_of_the_parent_do_not_fire_in_the_child", children::timers_of_the_parent_do_not_fire_in_the_child),
        ("a_child_has_the_forking_threads_values_only", children::a_child_has_the_forking_threads_values_only),
        (
            "an_initialisation_of_the_parent_does_not_stop_the_child",
            children::an_initialisation_of_the_parent_does_not_stop_the_child,
        ),
        ("an_interrupt_ends_the_main_threads_wait", an_interrupt_ends_the_main_threads_wait),
        ("an_interrupt_runs_the_handler_in_the_main_thread", an_interrupt_runs_the_handler_in_the_main_thread),
        ("an_ignored_interrupt_does_nothing", an_ignored_interrupt_does_nothing),
        ("a_hook_that_panics_hides_no_panic", a_hook_that_panics_hides_no_panic),
        ("threads_of_timers_go_when_they_are_not_needed", threads_of_timers_go_when_they_are_not_needed),
        ("many_due_at_once_share_few_threads", timers::many_due_at_once_share_few_threads),
        (
            "a_timer_that_waits_for_a_thread_is_counted_and_logged",
            timers::a_timer_that_waits_for_a_thread_is_counted_and_logged,
        ),
        ("with_one_thread_callbacks_follow_each_other", timers::with_one_thread_callbacks_follow_each_other),
        ("a_lower_number_of_threads_holds_at_once", timers::a_lower_number_of_threads_holds_at_once),
        ("a_chain_without_intervals_lets_others_come", timers::a_chain_without_intervals_lets_others_come),
        ("a_timer_without_a_thread_can_be_started_again", timers::a_timer_without_a_thread_can_be_started_again),
        ("without_a_further_thread_timers_wait_for_one", timers::without_a_further_thread_timers_wait_for_one),
        ("every_timer_that_was_started_is_called", timers::every_timer_that_was_started_is_called),
    ]);
}

/// Runs `body` in a child of one thread.
#[track_caller]
fn apart(body: impl FnOnce()) {
    let body = || {
        body();
        0
    };
    assert_eq!(fork(body).expect("one thread").wait(), Ok(ExitStatus::Code(0)));
}

/// Runs `body` in a child of a process that may have other threads.
#[track_caller]
fn inside(body: impl FnOnce()) {
    // SAFETY: the child allocates and starts threads, which glibc and musl allow after a fork, takes no lock that
    // another thread may hold but those of the modules under test, and leaves by _exit without returning.
    match unsafe { fork_unchecked() }.expect("forks") {
        None => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(i32::from(ended.is_err())) };
        }
        Some(mut child) => assert_eq!(child.wait(), Ok(ExitStatus::Code(0))),
    }
}

fn waiting() -> (Arc<Event>, Thread) {
    let end = Arc::new(Event::new());
    let watched = end.clone();
    (end, Thread::spawn(move || watched.wait()).unwrap())
}

// test_limbo_cleanup, test_various_ops
fn the_living_are_counted() {
    apart(|| {
        assert_eq!((active_count(), enumerate()), (1, vec![main_thread()]));
        assert_eq!(current_thread(), main_thread());
        let (end, thread) = waiting();
        let prepared = Thread::new(|| ());
        assert_eq!((active_count(), enumerate()), (2, vec![main_thread(), thread.clone()]));
        let dummy = std::thread::spawn(|| (current_thread(), active_count())).join().unwrap();
        assert_eq!(dummy.1, 3);
        let refused = Thread::builder().stack_size(usize::MAX / 16 * 15).prepare(|| ());
        refused.start().unwrap_err();
        assert_eq!(active_count(), 2);
        end.set();
        thread.join().unwrap();
        assert_eq!(active_count(), 1);
        drop(prepared);
    });
}

// test__count
fn threads_of_both_modules_are_counted_by_the_lower() {
    apart(|| {
        assert_eq!(thread::count(), 0);
        let (end, upper) = waiting();
        assert_eq!(thread::count(), 1);
        let watched = end.clone();
        let lower = thread::start_joinable_thread(move || watched.wait()).unwrap();
        assert_eq!(thread::count(), 2);
        let forked = Thread::spawn(|| inside(|| assert_eq!(thread::count(), 1, "the forking one")));
        forked.unwrap().result().unwrap();
        inside(|| assert_eq!(thread::count(), 0, "the main thread forked"));
        Thread::builder().stack_size(usize::MAX / 16 * 15).prepare(|| ()).start().unwrap_err();
        end.set();
        upper.join().unwrap();
        lower.join().unwrap();
        assert_eq!(thread::count(), 0);
    });
}

// test_stack_size, test_nt_and_posix_stack_size
fn stack_size_is_told_and_checked() {
    apart(|| {
        assert_eq!(threading::stack_size(), 0);
        let error = threading::set_stack_size(32_767).unwrap_err();
        assert_eq!((error.kind(), threading::stack_size()), (ErrorKind::InvalidInput, 0));
        assert!(threading::set_stack_size(4096).is_err());
        let mut before = 0;
        for size in [32_768, 32_769, 409_601, 4096 * 100] {
            assert_eq!(threading::set_stack_size(size).unwrap(), before);
            assert_eq!(Thread::spawn(|| 1).unwrap().result().unwrap(), 1);
            before = size;
        }
        // Too large is found out by the next start.
        assert_eq!(threading::set_stack_size(usize::MAX / 16 * 15).unwrap(), before);
        assert_eq!(Thread::spawn(|| ()).unwrap_err().errno(), Some(Errno::AGAIN));
        assert_eq!(thread::start_new_thread(|| ()).unwrap_err().errno(), Some(Errno::AGAIN));
        assert_eq!(threading::set_stack_size(0).unwrap(), usize::MAX / 16 * 15);
        assert_eq!(Thread::spawn(|| 2).unwrap().result().unwrap(), 2);
    });
}

type Said = Arc<Mutex<Vec<&'static str>>>;

fn say(said: &Said, word: &'static str) -> impl FnOnce() + Send + 'static {
    let said = said.clone();
    move || said.lock().unwrap().push(word)
}

// test_atexit_output, test_1_join_on_shutdown, test_join_nondaemon_on_shutdown
fn shutdown_calls_back_in_reverse_and_then_joins() {
    apart(|| {
        let said = Said::default();
        let end = Arc::new(Event::new());
        let (watched, last) = (end.clone(), say(&said, "thread"));
        Thread::spawn(move || {
            watched.wait();
            last();
        })
        .unwrap();
        // The thread would wait for ever, were it joined before the callbacks.
        threading::at_shutdown(move || end.set()).unwrap();
        threading::at_shutdown(say(&said, "second")).unwrap();
        threading::at_shutdown(say(&said, "first")).unwrap();
        threading::shutdown();
        assert_eq!(*said.lock().unwrap(), ["first", "second", "thread"]);
    });
}

// test_4_daemon_threads
fn shutdown_does_not_wait_for_daemons() {
    apart(|| {
        let ended = Arc::new(AtomicU32::new(0));
        let daemon = Thread::builder().daemon(true).spawn(|| Event::new().wait()).unwrap();
        let (count, begun) = (ended.clone(), shutdown_has_begun());
        Thread::spawn(move || {
            begun.wait();
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
        let timer = Timer::new(Duration::from_secs(3600), || ());
        timer.set_daemon(true).unwrap();
        timer.start().unwrap();
        threading::shutdown();
        assert_eq!((ended.load(SeqCst), daemon.is_alive(), timer.is_alive()), (1, true, true));
    });
}

/// An event that shutdown sets before anything else.
fn shutdown_has_begun() -> Arc<Event> {
    let begun = Arc::new(Event::new());
    let set = begun.clone();
    threading::at_shutdown(move || set.set()).unwrap();
    begun
}

fn shutdown_waits_for_what_threads_start_meanwhile() {
    fn chain(left: u32, count: Arc<AtomicU32>) {
        count.fetch_add(1, SeqCst);
        if left > 0 {
            Thread::spawn(move || chain(left - 1, count)).unwrap();
        }
    }
    apart(|| {
        let count = Arc::new(AtomicU32::new(0));
        let (counted, begun) = (count.clone(), shutdown_has_begun());
        Thread::spawn(move || {
            begun.wait();
            chain(4, counted);
        })
        .unwrap();
        threading::shutdown();
        assert_eq!(count.load(SeqCst), 5);
    });
}

fn shutdown_waits_for_timers() {
    apart(|| {
        let said = Said::default();
        Timer::new(Duration::from_millis(20), say(&said, "timer")).start().unwrap();
        let cancelled = Timer::new(Duration::from_secs(3600), say(&said, "cancelled"));
        cancelled.start().unwrap();
        let late = Timer::new(Duration::from_millis(40), move || assert!(cancelled.cancel()));
        late.start().unwrap();
        threading::shutdown();
        assert_eq!(*said.lock().unwrap(), ["timer"]);
        assert!(late.is_finished() || !late.is_alive());
    });
}

// test_atexit_after_shutdown, test_start_new_thread_at_finalization
fn nothing_begins_after_shutdown() {
    apart(|| {
        let (ready, late) = (Once::new(), Once::new());
        ready.get_or_init(|| 1).unwrap();
        threading::shutdown();
        let kinds = [
            Thread::spawn(|| ()).map(drop),
            Timer::new(Duration::ZERO, || ()).start(),
            threading::at_shutdown(|| ()),
            late.get_or_init(|| 2).map(drop),
        ]
        .map(|answer| answer.unwrap_err().kind());
        assert_eq!(kinds, [ErrorKind::ShuttingDown; 4]);
        assert_eq!((*ready.get_or_init(|| 3).unwrap(), active_count()), (1, 1));
        threading::shutdown();
    });
}

fn a_callback_can_register_no_other_but_start_threads() {
    apart(|| {
        let said = Said::default();
        let told = said.clone();
        threading::at_shutdown(move || {
            let refused = threading::at_shutdown(|| ()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ShuttingDown);
            let refused = Once::new().get_or_init(|| 1).map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ShuttingDown);
            Thread::spawn(say(&told, "started late")).unwrap();
        })
        .unwrap();
        threading::shutdown();
        assert_eq!(*said.lock().unwrap(), ["started late"]);
    });
}

fn a_callback_that_panics_stops_no_other() {
    apart(|| {
        let said = Said::default();
        threading::at_shutdown(say(&said, "after")).unwrap();
        threading::at_shutdown(|| panic!("a callback panics; this line is meant to be seen")).unwrap();
        threading::shutdown();
        assert_eq!(*said.lock().unwrap(), ["after"]);
    });
}

// test_atexit_called_once
fn a_guard_shuts_down_and_callbacks_come_once() {
    apart(|| {
        let said = Said::default();
        {
            let _end = ShutdownGuard::new();
            threading::at_shutdown(say(&said, "callback")).unwrap();
            Thread::spawn(say(&said, "thread")).unwrap();
        }
        threading::shutdown();
        let mut said = said.lock().unwrap().clone();
        said.sort_unstable();
        assert_eq!(said, ["callback", "thread"]);
    });
}

// test_main_thread_during_shutdown, test_join_nondaemon_on_shutdown
fn the_main_thread_can_be_joined_while_it_shuts_down() {
    apart(|| {
        let joined = Arc::new(AtomicU32::new(0));
        let count = joined.clone();
        Thread::spawn(move || {
            let main = main_thread();
            main.join().unwrap();
            assert!(!main.is_alive() && main == main_thread() && enumerate().contains(&main));
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
        threading::shutdown();
        assert_eq!(joined.load(SeqCst), 1);
    });
}

// test_interrupt_main_subthread, test_interrupt_main_mainthread
fn an_interrupt_ends_the_main_threads_wait() {
    apart(|| {
        let never = Event::new();
        assert_eq!(thread::take_interrupt(), None);
        let thread = Thread::spawn(|| thread::interrupt_main(Signal::INT)).unwrap();
        assert!(!never.wait_timeout(thread::interrupts()));
        assert!(!never.wait_timeout(thread::interrupts()), "until it is taken");
        thread.result().unwrap().unwrap();
        assert_eq!((thread::take_interrupt(), thread::take_interrupt()), (Some(Signal::INT), None));
        assert!(!thread::interrupts().is_cancelled());
        thread::interrupt_main(Signal::TERM).unwrap();
        assert_eq!(thread::take_interrupt(), Some(Signal::TERM), "which would have killed the process");
    });
}

// test_interrupt_main_with_signal_handler, test_can_interrupt_tight_loops
fn an_interrupt_runs_the_handler_in_the_main_thread() {
    static RAN_IN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: libc::c_int) {
        // SAFETY: gettid(2) has no preconditions and is async-signal-safe.
        RAN_IN.store(unsafe { libc::syscall(libc::SYS_gettid) } as u32, SeqCst);
    }
    apart(|| {
        let handler: extern "C" fn(libc::c_int) = handler;
        // SAFETY: the handler makes async-signal-safe calls only.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        Thread::spawn(|| thread::interrupt_main(Signal::USR1).unwrap()).unwrap().result().unwrap();
        while RAN_IN.load(SeqCst) == 0 {
            std::hint::spin_loop();
        }
        assert_eq!(RAN_IN.load(SeqCst), std::process::id());
        assert_eq!(thread::take_interrupt(), Some(Signal::USR1));
    });
}

// test_interrupt_main_noerror
fn an_ignored_interrupt_does_nothing() {
    apart(|| {
        ossature::sys::signal::ignore(Signal::USR1).unwrap();
        thread::interrupt_main(Signal::USR1).unwrap();
        assert!(!thread::interrupts().is_cancelled() && thread::take_interrupt().is_none());
    });
}

fn a_hook_that_panics_hides_no_panic() {
    let (mut reader, writer) = harness::pipe();
    let moved = writer.try_clone().unwrap();
    apart(move || {
        // SAFETY: standard error, which nobody in this child owns by its number.
        assert_eq!(unsafe { libc::dup2(moved.as_raw_fd(), 2) }, 2);
        threading::set_excepthook(Some(Arc::new(|_: &threading::PanicReport<'_>| panic!("the hook's"))));
        let thread = Thread::builder().name("clerk").spawn(|| panic!("the thread's")).unwrap();
        thread.join().unwrap();
        // The one without a fault is not printed.
        Thread::spawn(|| thread::exit()).unwrap().join().unwrap();
    });
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let count = |words| text.matches(words).count();
    assert_eq!((count("the hook's"), count("the thread's"), count("panicked at")), (2, 1, 3), "{text}");
    assert!(text.contains("thread 'clerk'"), "{text}");
}

fn threads_of_timers_go_when_they_are_not_needed() {
    apart(|| {
        let timers: Vec<_> = (0..3).map(|n| Timer::new(Duration::from_secs(3600 + n), || ())).collect();
        timers.iter().for_each(|timer| timer.start().unwrap());
        assert!(fork(|| 0).is_err(), "somebody waits for them");
        assert!(timers.iter().all(Timer::cancel));
        // Until the alarm of the harness: fork succeeds once the last of their threads is gone.
        let mut child = loop {
            match fork(|| 0) {
                Ok(child) => break child,
                Err(_) => std::thread::yield_now(),
            }
        };
        assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
        let again = Timer::new(Duration::ZERO, || ());
        again.start().unwrap();
        again.wait();
    });
}

fn shutdown_does_not_wait_for_the_thread_that_calls_it() {
    apart(|| {
        let thread = Thread::builder().daemon(false).spawn(threading::shutdown).unwrap();
        thread.join().unwrap();
    });
}

fn the_default_hook_prints_no_exit() {
    let (mut reader, writer) = harness::pipe();
    let moved = writer.try_clone().unwrap();
    apart(move || {
        // SAFETY: standard error, which nobody in this child owns by its number.
        assert_eq!(unsafe { libc::dup2(moved.as_raw_fd(), 2) }, 2);
        for hook in [None, Some(Arc::new(threading::default_excepthook) as Arc<_>)] {
            threading::set_excepthook(hook);
            Thread::spawn(|| thread::exit()).unwrap().join().unwrap();
        }
    });
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
