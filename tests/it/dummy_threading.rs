//! Threads that run inside their start. The cases of CPython's `test_dummy_threading.py` are named where they are asked.

#![allow(clippy::arc_with_non_send_sync, reason = "hooks have the form of those of threading")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::dummy_threading::{
    self, Backend, Barrier, BrokenBarrierError, Condition, Event, HandoffLock, Inline, Local, Lock, Moment, Native,
    RLock, Semaphore, Thread, Timer, active_count, current_thread, enumerate, main_thread,
};
use ossature::sys::scope::Refused;
use ossature::sys::sync::condition::Wait;
use ossature::sys::sync::semaphore::Overflow;
use ossature::{dummy_thread, threading};

use crate::support::soon;

const LONG: Duration = Duration::from_secs(3600);

/// Runs `body` in a thread of the system of its own, which has a world of its own here.
#[track_caller]
fn world(body: impl FnOnce() + Send) {
    soon(|| {
        std::thread::scope(|scope| {
            if let Err(panic) = scope.spawn(body).join() {
                std::panic::resume_unwind(panic);
            }
        });
    });
}

// ---- threads ------------------------------------------------------------------------------------------------------

#[test]
fn a_started_thread_is_over_when_start_returns() {
    world(|| {
        let ran = Rc::new(Cell::new(0));
        let inner = ran.clone();
        let thread = Thread::new(move || inner.set(inner.get() + 1));
        assert!(!thread.is_alive() && thread.ident().is_none());
        assert_eq!(thread.join().unwrap_err().kind(), ErrorKind::NotStarted);
        assert_eq!(ran.get(), 0, "not before its start");
        thread.start().unwrap();
        assert_eq!(ran.get(), 1);
        assert!(!thread.is_alive());
        thread.join().unwrap();
        assert!(thread.join_timeout(Duration::ZERO).unwrap());
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(ran.get(), 1, "once");
        thread.result().unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult, "taken");
    });
}

// test_tasks
#[test]
fn ten_tasks_pass_a_semaphore_and_a_lock() {
    world(|| {
        let seats = Rc::new(Semaphore::local_bounded(3));
        let running = Rc::new(RLock::local(Cell::new(0)));
        let most = Rc::new(Cell::new(0));
        let tasks: Vec<Thread> = (0..10)
            .map(|n| {
                let (seats, running, most) = (seats.clone(), running.clone(), most.clone());
                let task = Thread::builder().name(format!("<thread {n}>")).prepare(move || {
                    let _seat = seats.permit().unwrap();
                    let now = running.lock().unwrap();
                    now.set(now.get() + 1);
                    most.set(now.get().max(most.get()));
                    drop(now);
                    let now = running.lock().unwrap();
                    now.set(now.get() - 1);
                });
                task.start().unwrap();
                task
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!((seats.value(), most.get()), (3, 1), "never two at once");
    });
}

#[test]
fn threads_are_numbered_from_one_and_show_what_they_are() {
    world(|| {
        let first = Thread::spawn(|| ()).unwrap();
        let named = Thread::builder().name("clerk").daemon(true).prepare(|| ());
        assert_eq!(format!("{named:?}"), "Thread(clerk, initial daemon)");
        let second = Thread::new(|| ());
        assert_eq!((first.name(), second.name(), named.name()), ("Thread-1".into(), "Thread-2".into(), "clerk".into()));
        assert_eq!(format!("{first:?}"), "Thread(Thread-1, stopped 1)");
        assert_eq!(format!("{:?}", current_thread()), "Thread(MainThread, started 1)");
        second.set_name("other");
        assert_eq!(second.name(), "other");
    });
}

#[test]
fn the_daemon_flag_is_inherited_and_fixed_by_the_start() {
    world(|| {
        let outer = Thread::builder().daemon(true).prepare(|| Thread::new(|| ()).daemon());
        assert!(outer.daemon() && !Thread::new(|| ()).daemon());
        outer.start().unwrap();
        assert_eq!(outer.set_daemon(false).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert!(outer.result().unwrap());
        let other = Thread::new(|| ());
        other.set_daemon(true).unwrap();
        assert!(other.daemon());
    });
}

#[test]
fn a_panic_is_told_to_the_hook_and_goes_no_further() {
    world(|| {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let told = heard.clone();
        dummy_threading::set_excepthook(Some(Arc::new(move |report: &dummy_threading::PanicReport<'_>| {
            let here = *report.thread() == current_thread() && report.thread().is_alive();
            let place = report.location().unwrap_or_default().to_owned();
            told.borrow_mut().push((report.thread().name(), report.message().map(str::to_owned), here, place));
        })));
        let thread = Thread::builder().name("clerk").spawn(|| -> u32 { panic!("no more paper") }).unwrap();
        let heard = heard.take();
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].0.as_str(), heard[0].1.as_deref(), heard[0].2), ("clerk", Some("no more paper"), true));
        assert!(heard[0].3.starts_with(file!()), "{heard:?}");
        thread.join().unwrap();
        let error = thread.result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("no more paper"), "{error}");
        assert!(dummy_threading::excepthook().is_some());
        dummy_threading::set_excepthook(None);
        assert!(dummy_threading::excepthook().is_none());
    });
}

#[test]
fn the_hook_of_all_is_used_where_none_is_set_and_may_be_called_by_another() {
    world(|| {
        let thread = Thread::spawn(|| panic!("printed, as it should be")).unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::Panicked);
        let seen = Rc::new(Cell::new(false));
        let see = seen.clone();
        dummy_threading::set_excepthook(Some(Arc::new(move |report: &dummy_threading::PanicReport<'_>| {
            see.set(report.is_exit());
            dummy_threading::default_excepthook(report);
        })));
        Thread::spawn(|| dummy_threading::exit()).map(|left: Thread| left.join().unwrap()).unwrap();
        assert!(seen.get());
    });
}

#[test]
fn a_thread_that_leaves_has_no_result() {
    world(|| {
        let thread: Thread<u32> = Thread::spawn(|| dummy_threading::exit()).unwrap();
        assert_eq!(thread.result().unwrap_err().kind(), ErrorKind::NoResult);
    });
}

#[test]
fn an_interrupt_during_the_run_comes_out_of_start() {
    world(|| {
        let thread = Thread::new(|| dummy_thread::interrupt_main().unwrap());
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(!thread.is_alive());
        thread.result().unwrap();
    });
}

// ---- who runs -----------------------------------------------------------------------------------------------------

#[test]
fn the_current_thread_is_the_innermost_and_the_main_thread_comes_back() {
    world(|| {
        assert_eq!(current_thread(), main_thread());
        assert_eq!((main_thread().name(), main_thread().is_alive()), ("MainThread".into(), true));
        let outer = Thread::builder().name("outer").prepare(|| {
            let me = current_thread();
            let inner = Thread::builder().name("inner").spawn(current_thread).unwrap().result().unwrap();
            (me.clone(), inner, current_thread() == me)
        });
        outer.start().unwrap();
        let (me, inner, back) = outer.result().unwrap();
        assert!(me == outer && back && inner.name() == "inner" && inner != outer);
        assert_eq!(current_thread(), main_thread());
    });
}

#[test]
fn one_thread_is_listed_always() {
    world(|| {
        assert_eq!((active_count(), enumerate()), (1, vec![main_thread()]));
        let thread = Thread::new(|| (active_count(), enumerate()));
        thread.start().unwrap();
        let (count, listed) = thread.result().unwrap();
        assert!(count == 1 && listed.len() == 1 && listed[0] == thread);
        assert_eq!((active_count(), enumerate()), (1, vec![main_thread()]));
    });
}

#[test]
fn every_thread_has_the_same_number() {
    world(|| {
        let one = dummy_threading::get_ident();
        let thread = Thread::spawn(dummy_threading::get_ident).unwrap();
        assert_eq!((thread.ident(), thread.native_id()), (Some(one), Some(dummy_threading::get_native_id())));
        assert_eq!((thread.result().unwrap(), one.get()), (one, 1));
    });
}

#[test]
fn waiting_for_what_one_is_part_of_is_refused() {
    world(|| {
        let thread = Thread::new(|| {
            let me = current_thread();
            let from_within = Thread::spawn({
                let me = me.clone();
                move || (me.join().unwrap_err().kind(), me.join_timeout(LONG).unwrap())
            });
            (
                me.join().unwrap_err().kind(),
                me.join_timeout(LONG).unwrap_err().kind(),
                from_within.unwrap().result().unwrap(),
            )
        });
        thread.start().unwrap();
        let dead = ErrorKind::WouldDeadlock;
        assert_eq!(thread.result().unwrap(), (dead, dead, (dead, false)));
        assert_eq!(main_thread().join().unwrap_err().kind(), dead);
    });
}

#[test]
fn there_is_no_stack_to_have_a_size() {
    world(|| {
        assert_eq!(dummy_threading::stack_size(), 0);
        assert_eq!(dummy_threading::set_stack_size(1 << 20).unwrap_err().kind(), ErrorKind::Unsupported);
        let ran = Rc::new(Cell::new(false));
        let run = ran.clone();
        let thread = Thread::builder().stack_size(1 << 20).prepare(move || run.set(true));
        assert_eq!(thread.start().unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(!ran.get() && thread.ident().is_none());
    });
}

// ---- local values -------------------------------------------------------------------------------------------------

#[test]
fn a_started_thread_has_values_of_its_own_and_the_callers_come_back() {
    static NUMBER: Local<Cell<u32>> = Local::new(|| Cell::new(1));
    world(|| {
        NUMBER.with(|number| number.set(2));
        let seen = Thread::spawn(|| {
            let first = NUMBER.with(|number| number.replace(3));
            let inner = Thread::spawn(|| NUMBER.with(Cell::get)).unwrap().result().unwrap();
            (first, inner, NUMBER.with(Cell::get), NUMBER.threads())
        });
        assert_eq!(seen.unwrap().result().unwrap(), (1, 1, 3, 2));
        assert_eq!((NUMBER.with(Cell::get), NUMBER.threads()), (2, 1));
    });
}

/// Says when it is dropped, and in which thread.
struct Told(Rc<RefCell<Vec<String>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push(current_thread().name());
    }
}

#[test]
fn values_die_in_their_thread_before_start_returns_or_with_their_local() {
    world(|| {
        let ends = Rc::new(RefCell::new(Vec::new()));
        let make = ends.clone();
        let local = Rc::new(Local::new(move || Told(make.clone())));
        local.with(|_| ());
        let inner = local.clone();
        Thread::builder().name("inner").spawn(move || inner.with(|_| ())).unwrap();
        assert_eq!(*ends.borrow(), ["inner"]);
        drop(local);
        assert_eq!(*ends.borrow(), ["inner", "MainThread"]);
    });
}

#[test]
fn an_initialiser_may_use_the_value_that_it_makes() {
    static DEEP: Local<u32> = Local::new(|| {
        thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        if depth == 0 { DEEP.with(|inner| inner + 10) } else { 7 }
    });
    world(|| {
        assert_eq!(DEEP.with(|value| *value), 17);
        assert_eq!(DEEP.with(|value| *value), 17);
    });
}

#[test]
fn values_that_outlive_everything_die_with_the_thread_of_the_system() {
    struct Count(Arc<Mutex<u32>>, Thread);
    impl Drop for Count {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
            assert!(LOCAL.try_with(|_| ()).is_err(), "past its end: {:?}", self.1);
        }
    }
    static ENDS: Mutex<Option<Arc<Mutex<u32>>>> = Mutex::new(None);
    static LOCAL: Local<Count> = Local::new(|| Count(ENDS.lock().unwrap().clone().unwrap(), current_thread()));
    let ends = Arc::new(Mutex::new(0));
    *ENDS.lock().unwrap() = Some(ends.clone());
    soon(|| std::thread::spawn(|| LOCAL.with(|_| ())).join().unwrap());
    assert_eq!(*ends.lock().unwrap(), 1);
}

// ---- primitives ---------------------------------------------------------------------------------------------------

#[test]
fn a_taken_lock_is_refused_instead_of_waited_for() {
    world(|| {
        let lock = Lock::local(1);
        let held = lock.lock().unwrap();
        assert!(matches!(lock.lock(), Err(Refused::WouldDeadlock)));
        assert!(matches!(lock.try_lock(), Ok(None)));
        assert!(matches!(lock.lock_timeout(LONG), Ok(None)));
        drop(held);
        assert_eq!(*lock.lock().unwrap(), 1);
        let bare = HandoffLock::local();
        assert!(bare.release().is_err(), "nobody holds it");
    });
}

#[test]
fn a_reentrant_lock_is_taken_again() {
    let lock = RLock::local(());
    let levels = [lock.lock().unwrap(), lock.lock().unwrap(), lock.try_lock().unwrap().unwrap()];
    assert_eq!(lock.depth(), 3);
    drop(levels);
    assert!(!lock.is_locked());
}

#[test]
fn nobody_can_notify_who_waits() {
    world(|| {
        let (lock, condition) = (Lock::local(0), Condition::local());
        let refused = condition.wait(lock.lock().unwrap());
        assert!(matches!(refused, Err(Refused::WouldDeadlock)));
        assert!(!lock.is_locked(), "let go");
        let (guard, notified) = condition.wait_timeout(lock.lock().unwrap(), LONG).unwrap();
        assert!(!notified && lock.is_locked());
        let (guard, ended) = condition.wait_for(guard, |number| **number == 0, None).unwrap();
        assert_eq!(ended, Wait::Ready, "what holds already is not waited for");
        let (_guard, ended) = condition.wait_for(guard, |number| **number == 1, LONG).unwrap();
        assert_eq!(ended, Wait::TimedOut);
        assert_eq!((condition.notify(1), condition.notify_all()), (0, 0));
    });
}

#[test]
fn an_empty_semaphore_is_refused_and_a_bounded_one_keeps_its_bound() {
    world(|| {
        let seats = Semaphore::local_bounded(1);
        seats.acquire().unwrap();
        assert_eq!(seats.try_acquire(), Ok(false));
        assert_eq!(seats.acquire(), Err(Refused::WouldDeadlock));
        assert_eq!(seats.acquire_timeout(LONG), Ok(false));
        seats.release(1).unwrap();
        assert_eq!(seats.release(1), Err(Overflow));
        let seats = Semaphore::local(0);
        seats.release(2).unwrap();
        assert_eq!(seats.value(), 2);
    });
}

#[test]
fn an_event_that_is_down_is_refused_and_one_that_is_up_is_passed() {
    world(|| {
        let event = Event::local();
        assert_eq!(event.wait(), Err(Refused::WouldDeadlock));
        assert_eq!(event.wait_timeout(LONG), Ok(false));
        let event = Rc::new(event);
        let set = event.clone();
        Thread::spawn(move || set.set()).unwrap();
        assert_eq!((event.wait(), event.wait_timeout(Duration::ZERO)), (Ok(()), Ok(true)));
        event.clear();
        assert!(!event.is_set());
    });
}

#[test]
fn a_barrier_of_one_is_passed_and_any_other_is_refused() {
    world(|| {
        let ran = Cell::new(false);
        assert_eq!(Barrier::local(1).wait_with(|| ran.set(true)), Ok(0));
        assert!(ran.get());
        let barrier = Barrier::local(2);
        assert_eq!(barrier.wait(), Err(BrokenBarrierError::WouldDeadlock));
        assert_eq!((barrier.parties(), barrier.waiting()), (2, 0));
        barrier.abort().unwrap();
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BrokenBarrierError::Aborted));
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
    });
}

/// A program that waits for what a later thread does.
fn backwards<B: Backend>() -> Result<(), Refused> {
    let (event, turn) = (B::event(), B::handoff_lock());
    B::settle(turn.acquire())?;
    turn.release().expect("taken");
    let (seats, more) = (B::bounded_semaphore(1), B::semaphore(1));
    B::settle(seats.acquire())?;
    B::settle(more.acquire())?;
    assert_eq!(B::barrier(1).wait(), Ok(0));
    let (lock, again) = (B::lock(1), B::rlock(2));
    assert_eq!(*B::settle(lock.lock())? + *B::settle(again.lock())?, 3);
    let (_guard, notified) = B::settle(B::condition().wait_timeout(B::settle(lock.lock())?, Duration::ZERO))?;
    assert!(!notified);
    if B::settle(event.wait_timeout(Duration::ZERO))? {
        Ok(())
    } else {
        B::settle(seats.acquire_timeout(Duration::ZERO)).map(drop)
    }
}

#[test]
fn code_over_a_backend_runs_in_both_worlds() {
    world(|| {
        assert_eq!(backwards::<Native>(), Ok(()));
        assert_eq!(backwards::<Inline>(), Ok(()));
    });
}

#[test]
fn a_thread_that_waits_for_a_later_one_hears_that_it_would_be_for_ever() {
    world(|| {
        let full = Rc::new(Event::local());
        let filled = full.clone();
        let consumer = Thread::spawn(move || filled.wait()).unwrap();
        let producer = Thread::spawn(move || full.set()).unwrap();
        producer.result().unwrap();
        assert_eq!(consumer.result().unwrap(), Err(Refused::WouldDeadlock));
    });
}

// ---- timers -------------------------------------------------------------------------------------------------------

#[test]
fn a_timer_sleeps_and_calls_inside_its_start() {
    world(|| {
        let seen = Rc::new(RefCell::new(String::new()));
        let see = seen.clone();
        let timer = Timer::new(LONG, move || *see.borrow_mut() = current_thread().name());
        timer.set_interval(Duration::from_millis(20)).unwrap();
        assert_eq!(timer.wait(), Err(Refused::WouldDeadlock));
        assert_eq!(timer.wait_timeout(LONG), Ok(false));
        let start = Instant::now();
        timer.start().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(*seen.borrow(), "Timer");
        assert_eq!((timer.wait(), timer.wait_timeout(Duration::ZERO)), (Ok(()), Ok(true)));
        assert!(timer.is_finished() && !timer.is_alive() && !timer.cancel());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_interval(LONG).unwrap_err().kind(), ErrorKind::AlreadyStarted);
        assert_eq!(timer.set_daemon(true).unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}

#[test]
fn a_timer_cancelled_before_its_start_neither_waits_nor_calls() {
    world(|| {
        let held = Rc::new(());
        let captured = held.clone();
        let timer = Timer::new(LONG, move || panic!("{captured:?}"));
        assert!(timer.cancel() && !timer.cancel());
        assert_eq!(Rc::strong_count(&held), 1, "the callback is gone");
        timer.start().unwrap();
        assert!(timer.is_finished());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::AlreadyStarted);
    });
}

// ---- hooks, the end -----------------------------------------------------------------------------------------------

#[test]
fn hooks_surround_the_run_of_what_is_started_later() {
    world(|| {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (trace, profile, work) = (calls.clone(), calls.clone(), calls.clone());
        dummy_threading::set_trace(Some(Arc::new(move |thread: &Thread, moment: Moment| {
            trace.borrow_mut().push(format!("{moment:?} of {}", thread.name()));
        })));
        dummy_threading::set_profile(Some(Arc::new(move |thread: &Thread, took: Duration| {
            profile.borrow_mut().push(format!("{} took time: {}", thread.name(), took >= Duration::from_millis(2)));
        })));
        assert!(dummy_threading::trace().is_some() && dummy_threading::profile().is_some());
        let thread = Thread::builder().name("clerk").prepare(move || {
            std::thread::sleep(Duration::from_millis(2));
            work.borrow_mut().push("work".into());
        });
        thread.start().unwrap();
        assert_eq!(calls.take(), ["Start of clerk", "work", "clerk took time: true", "End of clerk"]);
        dummy_threading::set_trace(None);
        dummy_threading::set_profile(None);
        Thread::spawn(|| ()).unwrap();
        assert!(calls.take().is_empty());
    });
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    world(|| {
        dummy_threading::set_trace(Some(Arc::new(|_: &Thread, _| panic!("a panic that the test expects to see"))));
        assert_eq!(Thread::spawn(|| 5).unwrap().result().unwrap(), 5);
    });
}

#[test]
fn shutdown_calls_back_in_reverse_and_then_nothing_starts() {
    world(|| {
        let order = Rc::new(RefCell::new(Vec::new()));
        {
            let _end = dummy_threading::ShutdownGuard::new();
            for n in [1, 2] {
                let order = order.clone();
                dummy_threading::at_shutdown(move || {
                    assert_eq!(dummy_threading::at_shutdown(|| ()).unwrap_err().kind(), ErrorKind::ShuttingDown);
                    Thread::spawn(move || order.borrow_mut().push(n)).unwrap();
                })
                .unwrap();
            }
        }
        assert_eq!(*order.borrow(), [2, 1]);
        assert_eq!(Thread::spawn(|| ()).unwrap_err().kind(), ErrorKind::ShuttingDown);
        let timer = Timer::new(Duration::ZERO, || ());
        assert_eq!(timer.start().unwrap_err().kind(), ErrorKind::ShuttingDown);
        assert!(timer.cancel(), "not lost");
    });
}

// ---- isolation ----------------------------------------------------------------------------------------------------

#[test]
fn the_real_threads_do_not_hear_of_these() {
    world(|| {
        let listed = Thread::builder().name("only here").spawn(|| {
            let real = threading::enumerate();
            real.iter().any(|thread| thread.name() == "only here")
        });
        assert!(!listed.unwrap().result().unwrap());
        dummy_threading::set_trace(Some(Arc::new(|_: &Thread, _| ())));
        dummy_threading::shutdown();
        let real = threading::Thread::spawn(|| {
            assert!(dummy_threading::trace().is_none(), "another world");
            let inner = Thread::spawn(|| (current_thread().name(), threading::current_thread().name()));
            (inner.unwrap().result().unwrap(), current_thread() == main_thread())
        });
        let real = real.unwrap();
        let ((here, there), back) = real.result().unwrap();
        assert_eq!((here.as_str(), there, back), ("Thread-1", real.name(), true));
    });
}

#[test]
fn a_panic_within_a_real_thread_stays_within_the_start() {
    world(|| {
        let real = threading::Thread::spawn(|| {
            dummy_threading::set_excepthook(Some(Arc::new(|_: &dummy_threading::PanicReport<'_>| ())));
            let inner: Thread = Thread::spawn(|| panic!("inside")).unwrap();
            inner.result().unwrap_err().kind()
        });
        assert_eq!(real.unwrap().result().unwrap(), ErrorKind::Panicked);
    });
}

#[test]
fn constants_are_those_of_the_module_below() {
    assert_eq!(dummy_threading::TIMEOUT_MAX, dummy_thread::TIMEOUT_MAX);
    let error: dummy_threading::ThreadError = dummy_threading::set_stack_size(1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
