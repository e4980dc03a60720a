//! Signals: sets, masks, taking pending signals, sending with a value, dispositions.
//!
//! Tests run in parallel threads, so signals go to the testing thread only, and each test that changes what a signal
//! does for the whole process has a signal of its own.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::signal::{
    Disposition, Flags, Pid, Signal, SignalSet, block, disposition, handle, ignore, mask, name, numbered, pending,
    queue, raise, realtime, reinstate, restore_default, send, set_mask, unblock, wait,
};

use crate::interrupt::keeps_its_deadline;
use crate::support::soon;

fn this_thread() -> Pid {
    // SAFETY: gettid takes nothing and cannot fail.
    Pid::from_raw(unsafe { libc::syscall(libc::SYS_gettid) } as i32).unwrap()
}

#[test]
fn numbers_that_are_no_signals_are_refused() {
    for number in [i32::MIN, -1, 0, 32, 65, i32::MAX] {
        assert_eq!(numbered(number), None, "{number}");
    }
    assert_eq!(numbered(libc::SIGTERM), Some(Signal::TERM));
    assert_eq!(numbered(libc::SIGRTMAX()).unwrap().as_raw(), 64);
    assert_eq!(realtime(0).unwrap().as_raw(), libc::SIGRTMIN());
    assert_eq!(realtime(200), None);
}

#[test]
fn set_holds_what_was_put_in() {
    let set = SignalSet::from([Signal::TERM, Signal::HUP]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::HUP, Signal::TERM]);
    assert!(!set.contains(Signal::INT));
    assert_eq!(set.without(Signal::HUP), SignalSet::EMPTY.with(Signal::TERM));
    assert!(set.without(Signal::HUP).without(Signal::TERM).is_empty());
    assert_eq!(set.union(SignalSet::from(Signal::INT)).iter().count(), 3);
    assert!(SignalSet::FULL.contains(realtime(3).unwrap()));
    assert!(SignalSet::FULL.iter().all(|signal| numbered(signal.as_raw()) == Some(signal)));
}

#[test]
fn mask_is_put_back_when_the_guard_goes() {
    let before = mask().unwrap();
    assert!(!before.contains(Signal::USR2));
    let outer = block(Signal::USR2).unwrap();
    assert_eq!(outer.before(), before);
    {
        let _inner = unblock(Signal::USR2).unwrap();
        assert!(!mask().unwrap().contains(Signal::USR2));
    }
    assert!(mask().unwrap().contains(Signal::USR2));
    {
        let _exactly = set_mask(Signal::HUP).unwrap();
        assert_eq!(mask().unwrap(), SignalSet::from(Signal::HUP));
    }
    drop(outer);
    assert_eq!(mask().unwrap(), before);
}

#[test]
fn kept_mask_stays() {
    thread::spawn(|| {
        block(Signal::HUP).unwrap().keep();
        assert!(mask().unwrap().contains(Signal::HUP));
    })
    .join()
    .unwrap();
}

#[test]
fn blocking_everything_spares_what_cannot_be_blocked() {
    let _guard = block(SignalSet::FULL).unwrap();
    let now = mask().unwrap();
    assert!(now.contains(Signal::SEGV) && now.contains(realtime(0).unwrap()));
    assert!(!now.contains(Signal::KILL) && !now.contains(Signal::STOP));
}

#[test]
fn blocked_signal_is_pending_until_it_is_taken() {
    let set = SignalSet::from(Signal::USR1);
    let _guard = block(set).unwrap();
    assert!(!pending().unwrap().contains(Signal::USR1));
    raise(Signal::USR1).unwrap();
    assert!(pending().unwrap().contains(Signal::USR1));
    let info = soon(|| wait(set, Deadline::NEVER)).unwrap().unwrap();
    assert_eq!(info.signal(), Some(Signal::USR1));
    assert_eq!(info.pid().map(Pid::as_raw_pid), Some(std::process::id() as i32));
    assert_eq!(info.value(), None);
    assert!(!pending().unwrap().contains(Signal::USR1));
}

#[test]
fn queued_values_come_in_order_and_none_is_merged() {
    let signal = realtime(3).unwrap();
    let set = SignalSet::from([signal]);
    let _guard = block(set).unwrap();
    for value in [7, usize::MAX, 9] {
        queue(this_thread(), signal, value).unwrap();
    }
    for value in [7, usize::MAX, 9] {
        let info = soon(|| wait(set, Deadline::NEVER)).unwrap().unwrap();
        assert_eq!((info.signal(), info.value()), (Some(signal), Some(value)));
        assert_eq!(info.code(), libc::SI_QUEUE);
        assert_eq!(info.pid().map(Pid::as_raw_pid), Some(std::process::id() as i32));
        // SAFETY: getuid takes nothing and cannot fail.
        assert_eq!(info.uid(), Some(unsafe { libc::getuid() }));
    }
    assert_eq!(wait(set, Deadline::NOW).unwrap().map(|info| info.code()), None);
}

#[test]
fn sender_that_lies_about_itself_is_no_sender() {
    let signal = realtime(3).unwrap();
    let set = SignalSet::from([signal]);
    let _guard = block(set).unwrap();
    // signo, errno, code, then the union, which is aligned like a pointer.
    let mut info = [0i32; 32];
    (info[0], info[2]) = (signal.as_raw(), libc::SI_QUEUE);
    info[(12usize).next_multiple_of(size_of::<usize>()) / 4] = -5;
    let (process, thread) = (std::process::id(), this_thread().as_raw_pid());
    // SAFETY: the array is as long as a siginfo_t and outlives the call.
    let sent = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal.as_raw(), info.as_ptr()) };
    assert_eq!(sent, 0);
    let info = soon(|| wait(set, Deadline::NEVER)).unwrap().unwrap();
    assert_eq!((info.signal(), info.pid()), (Some(signal), None));
}

#[test]
fn usual_signals_are_merged_while_they_wait() {
    let set = SignalSet::from(Signal::USR1);
    let _guard = block(set).unwrap();
    raise(Signal::USR1).unwrap();
    raise(Signal::USR1).unwrap();
    assert!(wait(set, Deadline::NOW).unwrap().is_some());
    assert!(wait(set, Deadline::NOW).unwrap().is_none());
}

#[test]
fn signal_reaches_the_thread_it_is_sent_to() {
    let set = SignalSet::from([realtime(4).unwrap()]);
    soon(|| {
        thread::scope(|scope| {
            let (say, hear) = std::sync::mpsc::channel();
            let waiter = scope.spawn(move || {
                let _guard = block(set).unwrap();
                say.send(this_thread()).unwrap();
                wait(set, Deadline::NEVER).unwrap().unwrap().signal()
            });
            send(hear.recv().unwrap(), realtime(4).unwrap()).unwrap();
            assert_eq!(waiter.join().unwrap(), realtime(4));
        });
    });
}

#[test]
fn thread_that_is_not_there_is_an_error() {
    // The kernel's numbers end at 2^22.
    let nobody = Pid::from_raw(i32::MAX).unwrap();
    assert_eq!(send(nobody, Signal::USR1), Err(Errno::SRCH));
    assert_eq!(queue(nobody, Signal::USR1, 1), Err(Errno::SRCH));
}

#[test]
fn waiting_ends_at_the_deadline_and_not_before() {
    let set = SignalSet::from([realtime(5).unwrap()]);
    let _guard = block(set).unwrap();
    assert!(soon(|| wait(set, Deadline::NOW)).unwrap().is_none());
    let span = Duration::from_millis(20);
    let start = Instant::now();
    assert!(soon(|| wait(set, span)).unwrap().is_none());
    assert!(start.elapsed() >= span);
}

#[test]
fn other_signals_neither_shorten_nor_prolong_the_wait() {
    let set = SignalSet::from([realtime(5).unwrap()]);
    let _guard = block(set).unwrap();
    assert!(keeps_its_deadline(|span| wait(set, span)).unwrap().is_none());
}

#[test]
fn ignored_signal_does_nothing_and_its_default_comes_back() {
    assert_eq!(disposition(Signal::IO).unwrap(), Disposition::Default);
    let before = ignore(Signal::IO).unwrap();
    assert_eq!(before.disposition(), Disposition::Default);
    assert_eq!(disposition(Signal::IO).unwrap(), Disposition::Ignored);
    // Its default would end this process.
    raise(Signal::IO).unwrap();
    assert_eq!(restore_default(Signal::IO).unwrap().disposition(), Disposition::Ignored);
    assert_eq!(disposition(Signal::IO).unwrap(), Disposition::Default);
}

#[test]
fn handler_runs_and_what_was_before_comes_back() {
    static CAUGHT: AtomicU32 = AtomicU32::new(0);
    extern "C" fn note(number: i32) {
        CAUGHT.fetch_add(number as u32, SeqCst);
    }
    let signal = realtime(6).unwrap();
    // SAFETY: the handler only adds to an atomic.
    let before = unsafe { handle(signal, note, Flags::RESTART, SignalSet::EMPTY) }.unwrap();
    assert_eq!(before.disposition(), Disposition::Default);
    assert_eq!(disposition(signal).unwrap(), Disposition::Handled);
    raise(signal).unwrap();
    assert_eq!(CAUGHT.load(SeqCst), signal.as_raw() as u32);
    // SAFETY: the default needs no handler.
    let handled = unsafe { reinstate(signal, before) }.unwrap();
    assert_eq!(handled.disposition(), Disposition::Handled);
    assert_eq!(disposition(signal).unwrap(), Disposition::Default);
}

#[test]
fn signals_that_nobody_may_change_are_refused() {
    for signal in [Signal::KILL, Signal::STOP] {
        assert_eq!(ignore(signal).unwrap_err(), Errno::INVAL);
        assert_eq!(restore_default(signal).unwrap_err(), Errno::INVAL);
    }
}

#[test]
fn every_signal_of_the_kernel_has_its_c_name() {
    // Of 1 to 31 only the coprocessor's stack fault, 16, is unnamed: no kernel of ours sends it.
    let unnamed = (1..32).filter_map(numbered).filter(|&known| !name(known).to_string().starts_with("SIG"));
    assert!(unnamed.map(Signal::as_raw).all(|number| number == 16), "a signal has no name");
    assert_eq!(name(realtime(0).unwrap()).to_string(), "SIGRTMIN");
    assert_eq!(format!("{:>8}", name(Signal::HUP)), "  SIGHUP");
}
