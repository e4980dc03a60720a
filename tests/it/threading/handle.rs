//! The handle of a thread and the thread's life.

use std::cell::RefCell;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::sys::errno::Errno;
use ossature::sys::futex::Cancel;
use ossature::threading::{self, Event, Thread, current_thread, get_ident};

use crate::support::{soon, thread_id, until_asleep};

/// Starts a thread that lives until the event is set.
fn waiting() -> (Arc<Event>, Thread) {
    let end = Arc::new(Event::new());
    let watched = end.clone();
    (end, Thread::spawn(move || watched.wait()).unwrap())
}

// test_joining_inactive_thread
#[test]
fn a_thread_begins_unstarted() {
    let thread = Thread::new(|| ());
    assert_eq!((thread.ident(), thread.native_id(), thread.is_alive()), (None, None, false));
    assert_eq!(thread.join().unwrap_err().kind(), ErrorKind::NotStarted);
    assert_eq!(thread.join_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::NotStarted);
}

// test_start_thread_again
#[test]
fn a_thread_starts_once_even_after_its_end() {
    soon(|| {
        let (end, thread) = waiting();
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        end.set();
        thread.join().unwrap();
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(current_thread().start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}

#[test]
fn a_second_start_does_not_wait_for_the_joiner() {
    soon(|| {
        let (end, thread) = waiting();
        let (tell, hear) = channel();
        let joined = thread.clone();
        let joiner = std::thread::spawn(move || {
            tell.send(thread_id()).unwrap();
            joined.join().unwrap();
        });
        until_asleep(hear.recv().unwrap());
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        end.set();
        joiner.join().unwrap();
    });
}

#[test]
fn of_many_starters_one_starts_it() {
    soon(|| {
        for _ in 0..100 {
            let runs = Arc::new(AtomicU32::new(0));
            let count = runs.clone();
            let thread = Thread::new(move || count.fetch_add(1, SeqCst));
            let starts = std::thread::scope(|scope| {
                let starters = [(); 4].map(|()| scope.spawn(|| u32::from(thread.start().is_ok())));
                starters.into_iter().map(|starter| starter.join().unwrap()).sum::<u32>()
            });
            assert_eq!((starts, thread.result().unwrap(), runs.load(SeqCst)), (1, 0, 1));
        }
    });
}

#[test]
fn ident_is_there_on_return_and_stays_after_the_end() {
    soon(|| {
        let (end, thread) = waiting();
        let ident = thread.ident().expect("started");
        assert!(thread.is_alive());
        end.set();
        thread.join().unwrap();
        assert_eq!((thread.ident(), thread.is_alive()), (Some(ident), false));
        let seen = Thread::spawn(get_ident).unwrap();
        assert_eq!(Some(seen.result().unwrap()), seen.ident());
        assert_ne!(seen.ident(), Some(ident));
    });
}

// test_various_ops
#[test]
fn native_id_is_the_kernels_number() {
    soon(|| {
        let thread = Thread::spawn(thread_id).unwrap();
        let told = thread.native_id().expect("started").as_raw_nonzero().get();
        assert_eq!(thread.result().unwrap(), told);
        assert_eq!(thread.native_id().map(|id| id.as_raw_nonzero().get()), Some(told), "after the end as well");
        assert_eq!(threading::get_native_id().as_raw_nonzero().get(), thread_id());
    });
}

// test_join_from_multiple_threads, test_join_several_times
#[test]
fn many_threads_join_one_many_times() {
    soon(|| {
        let (end, thread) = waiting();
        std::thread::scope(|scope| {
            let joiners = [(); 4].map(|()| {
                let (tell, hear) = channel();
                let joiner = scope.spawn({
                    let thread = thread.clone();
                    move || {
                        tell.send(thread_id()).unwrap();
                        thread.join().unwrap();
                        assert!(!thread.is_alive());
                        thread.join().unwrap();
                    }
                });
                until_asleep(hear.recv().unwrap());
                joiner
            });
            let timed = scope.spawn(|| assert!(thread.join_timeout(Duration::from_secs(60)).unwrap()));
            end.set();
            joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
            timed.join().unwrap();
        });
    });
}

// test_join_with_timeout
#[test]
fn a_join_within_a_limit_says_whether_it_ended() {
    soon(|| {
        let (end, thread) = waiting();
        let start = Instant::now();
        assert!(!thread.join_timeout(Duration::from_millis(20)).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(!thread.join_timeout(Duration::ZERO).unwrap());
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(!thread.join_timeout(&cancel).unwrap());
        end.set();
        assert!(thread.join_timeout(None).unwrap());
        assert!(thread.join_timeout(Duration::ZERO).unwrap());
    });
}

// test_joining_current_thread, test_join_from_self
#[test]
fn a_thread_cannot_join_itself() {
    soon(|| {
        let joined = Thread::spawn(|| {
            let me = current_thread();
            [me.join(), me.join_timeout(Duration::ZERO).map(drop)].map(|joined| joined.unwrap_err().kind())
        });
        assert_eq!(joined.unwrap().result().unwrap(), [ErrorKind::WouldDeadlock; 2]);
    });
}

#[test]
fn a_thread_cannot_join_itself_while_its_values_are_dropped() {
    struct Joins(Thread, Sender<[Option<ErrorKind>; 2]>);

    impl Drop for Joins {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(20)); // somebody joins this thread by then
            let kinds = [self.0.join(), self.0.join_timeout(Duration::from_secs(60)).map(drop)];
            let _ = self.1.send(kinds.map(|joined| joined.err().map(|error| error.kind())));
        }
    }

    thread_local!(static JOINS: RefCell<Option<Joins>> = const { RefCell::new(None) });
    soon(|| {
        let (tell, hear) = channel();
        let thread = Thread::spawn(|| JOINS.set(Some(Joins(current_thread(), tell)))).unwrap();
        thread.join().unwrap();
        // Its work is over, which a wait with a limit is for.
        assert_eq!(hear.try_recv().unwrap(), [Some(ErrorKind::WouldDeadlock), None]);
    });
}

#[test]
fn what_a_thread_did_is_seen_after_the_join() {
    soon(|| {
        for _ in 0..200 {
            let seen = Arc::new(AtomicBool::new(false));
            let done = seen.clone();
            let thread = Thread::spawn(move || done.store(true, std::sync::atomic::Ordering::Relaxed)).unwrap();
            assert!(thread.join_timeout(Duration::from_secs(60)).unwrap());
            assert!(seen.load(std::sync::atomic::Ordering::Relaxed));
        }
    });
}

#[test]
fn a_result_is_had_once_by_a_handle_that_has_it() {
    soon(|| {
        let thread = Thread::spawn(|| String::from("found")).unwrap();
        assert_eq!(thread.handle().result().unwrap_err().kind(), ErrorKind::NoResult);
        assert_eq!(thread.clone().result().unwrap(), "found");
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult);
        let thread = Thread::spawn(|| 5).unwrap();
        thread.join().unwrap();
        assert_eq!(thread.take().unwrap().unwrap(), 5);
        assert!(thread.take().is_none());
    });
}

// test_name
#[test]
fn names_are_counted_or_given_and_change_at_any_time() {
    let [one, two] = [Thread::new(|| ()), Thread::new(|| ())];
    let number = |name: String| name.strip_prefix("Thread-").expect("Thread-N").parse::<u32>().unwrap();
    assert!(number(one.name()) < number(two.name()));
    let named = Thread::builder().name("any: string, ünïcode\0too").prepare(|| ());
    assert_eq!(named.name(), "any: string, ünïcode\0too");
    named.set_name("other");
    assert_eq!(named.name(), "other");
    soon(|| {
        named.start().unwrap();
        named.join().unwrap();
    });
    named.set_name("late");
    assert_eq!(named.name(), "late");
}

fn comm() -> String {
    fs::read_to_string(format!("/proc/self/task/{}/comm", thread_id())).unwrap().trim_end().to_owned()
}

#[test]
fn the_kernel_knows_the_name_cut_between_characters() {
    soon(|| {
        for (name, cut) in [
            ("short", "short"),
            ("fourteen bytesé", "fourteen bytes"),
            ("ééééééééé", "ééééééé"),
            ("fifteen letters and more", "fifteen letters"),
            ("a\0b", "a"),
        ] {
            let thread = Thread::builder().name(name).spawn(comm).unwrap();
            assert_eq!(thread.result().unwrap(), cut, "{name:?}");
        }
        let counted = Thread::spawn(comm).unwrap();
        assert_eq!(counted.result().unwrap(), counted.name());
        let renamed = Thread::spawn(|| {
            current_thread().set_name("from inside");
            comm()
        });
        assert_eq!(renamed.unwrap().result().unwrap(), "from inside");
    });
}

// test_daemon_param, test_daemonize_active_thread
#[test]
fn daemon_is_inherited_and_fixed_at_the_start() {
    soon(|| {
        let inner = |daemon| {
            let outer = Thread::builder().daemon(daemon).prepare(|| Thread::new(|| ()).daemon());
            assert_eq!(outer.daemon(), daemon);
            outer.start().unwrap();
            assert_eq!(outer.set_daemon(!daemon).unwrap_err().kind(), ErrorKind::AlreadyStarted);
            outer.result().unwrap()
        };
        assert_eq!((inner(true), inner(false)), (true, false));
        let foreign = std::thread::spawn(|| Thread::new(|| ()).daemon());
        assert!(foreign.join().unwrap(), "nobody here waits for a thread that was started elsewhere");
        let thread = Thread::new(|| current_thread().daemon());
        thread.set_daemon(true).unwrap();
        thread.start().unwrap();
        assert!(thread.result().unwrap());
    });
}

// test_repr_daemon, test_repr_stopped
#[test]
fn debug_shows_name_phase_daemon_and_ident() {
    soon(|| {
        let end = Arc::new(Event::new());
        let watched = end.clone();
        let thread = Thread::builder().name("n").daemon(true).prepare(move || watched.wait());
        assert_eq!(format!("{thread:?}"), "Thread(n, initial daemon)");
        thread.start().unwrap();
        let ident = thread.ident().unwrap();
        assert_eq!(format!("{thread:?}"), format!("Thread(n, started daemon {ident})"));
        end.set();
        thread.join().unwrap();
        assert_eq!(format!("{thread:?}"), format!("Thread(n, stopped daemon {ident})"));
    });
}

/// Sends a message when it is dropped.
struct Bell(Sender<()>);

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

// test_no_refcycle_through_target
#[test]
fn what_the_closure_holds_is_dropped_at_its_end() {
    soon(|| {
        let (tell, hear) = channel();
        let bell = Bell(tell);
        let thread = Thread::spawn(move || drop(bell.0.clone())).unwrap();
        thread.join().unwrap();
        hear.try_recv().expect("dropped, though the handle lives");
        let (tell, hear) = channel();
        let bell = Bell(tell);
        drop(Thread::new(move || drop(bell)));
        hear.try_recv().expect("dropped with the last handle of a thread that never started");
    });
}

// test_leak_without_join, test_joinable_not_joined
#[test]
fn a_dropped_handle_lets_the_thread_go_on() {
    soon(|| {
        let (tell, hear) = channel();
        let (end, thread) = waiting();
        drop(thread);
        Thread::spawn(move || tell.send(()).unwrap()).map(drop).unwrap();
        hear.recv().unwrap();
        end.set();
    });
}

#[test]
fn a_thread_that_the_system_refuses_can_be_started_later() {
    soon(|| {
        let thread = Thread::builder().stack_size(usize::MAX / 16 * 15).prepare(|| 7);
        for _ in 0..2 {
            let error = thread.start().unwrap_err();
            assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::AGAIN)));
            assert!(error.to_string().starts_with("can't start new thread"), "{error}");
            assert!(!thread.is_alive() && thread.ident().is_none());
            assert_eq!(thread.join().unwrap_err().kind(), ErrorKind::NotStarted);
            assert!(!threading::enumerate().contains(&thread.handle()));
        }
        assert!(Thread::builder().stack_size(usize::MAX).prepare(|| ()).start().is_err());
    });
}

// test_various_ops_small_stack, test_various_ops_large_stack
#[test]
fn a_stack_may_be_small_or_large() {
    soon(|| {
        for size in [0, 32 * 1024, 256 * 1024, 16 * 1024 * 1024] {
            assert_eq!(Thread::builder().stack_size(size).spawn(|| 1).unwrap().result().unwrap(), 1);
        }
        let error = Thread::builder().stack_size(32 * 1024 - 1).spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("size not valid"), "{error}");
    });
}

// test_thread_from_thread, test_various_ops
#[test]
fn threads_start_threads() {
    fn deep(levels: u32) -> u32 {
        if levels == 0 { 0 } else { 1 + Thread::spawn(move || deep(levels - 1)).unwrap().result().unwrap() }
    }
    soon(|| {
        assert_eq!(deep(10), 10);
        let many: Vec<_> = (0..50).map(|n| Thread::spawn(move || n).unwrap()).collect();
        assert_eq!(many.iter().map(|thread| thread.result().unwrap()).sum::<i32>(), 49 * 25);
    });
}

#[test]
fn a_destructor_that_starts_a_thread_while_unwinding_does_no_harm() {
    struct Starts;
    impl Drop for Starts {
        fn drop(&mut self) {
            Thread::spawn(|| ()).unwrap().join().unwrap();
        }
    }
    soon(|| {
        let unwound = std::thread::spawn(|| {
            let _starts = Starts;
            threading::exit()
        });
        let unwound: std::thread::Result<()> = unwound.join();
        assert!(unwound.is_err());
    });
}
