//! The queue of a condition beside participants that are stopped, or die, between two instructions.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature_sys::process::{Child, ExitStatus, Signal, fork};
use ossature_sys::ptrace::{self, State};
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::Shm;
use ossature_sys::sync::condition::Condition;
use ossature_sys::sync::lock::Lock;

use crate::handover::{asleep, until};
use crate::harness::Test;
use crate::still::{end, go_on, standing};

pub const TESTS: &[Test] = &[
    ("notification_that_overtakes_a_burial_is_not_lost", notification_that_overtakes_a_burial_is_not_lost),
    ("waiter_whose_notifier_died_before_the_wake_goes_on", waiter_whose_notifier_died_before_the_wake_goes_on),
];

const PATIENCE: Duration = Duration::from_secs(10);

shareable! {
    struct Stage {
        lock: Lock<u32, Shared>,
        condition: Condition<Shared>,
        /// The number of waits that have begun, counted by the lock's holders.
        begun: AtomicU32,
        /// The number of waiters that the notifiers have notified.
        notified: AtomicU32,
    }
}

fn stage() -> Shm<Stage> {
    Shm::place(Stage::init(Lock::shared(0), Condition::shared(), AtomicU32::new(0), AtomicU32::new(0))).unwrap()
}

fn wait(stage: &Stage) {
    let guard = stage.lock.lock().unwrap();
    stage.begun.fetch_add(1, SeqCst);
    drop(stage.condition.wait(guard).unwrap());
}

/// Starts a process that waits, and returns when it sleeps.
fn waiter(stage: &Stage) -> Child {
    let before = stage.begun.load(SeqCst);
    let child = fork(|| {
        wait(stage);
        0
    })
    .unwrap();
    until("the waiter sleeps", || stage.begun.load(SeqCst) > before && asleep(&child));
    child
}

/// Starts a process that is stopped before it notifies one waiter.
fn notifier(stage: &Stage) -> Option<Child> {
    standing(|| {
        stage.notified.fetch_add(stage.condition.notify(1), SeqCst);
    })
}

/// The words of the condition.
fn words(stage: &Stage) -> Vec<u32> {
    let condition = core::ptr::from_ref(&stage.condition);
    let len = size_of_val(&stage.condition) / size_of::<AtomicU32>();
    // SAFETY: every byte lies in zeroed memory of the kernel, is changed by atomics only, and outlives this.
    let words = unsafe { core::slice::from_raw_parts(condition.cast::<AtomicU32>(), len) };
    words.iter().map(|word| word.load(SeqCst)).collect()
}

/// Lets the child run until it has changed the condition. Returns the number of instructions that this took.
fn first_change(child: &mut Child, stage: &Stage) -> usize {
    let before = words(stage);
    let mut steps = 0;
    while words(stage) == before {
        assert!(go_on(child, 1), "it ended after {steps} instructions, and changed nothing");
        steps += 1;
    }
    steps
}

/// One notifier has seen the waiter alive, and another has seen it dead. Each is stopped before its compare-exchange.
fn notification_that_overtakes_a_burial_is_not_lost() {
    let length = |dies: bool| {
        let stage = stage();
        let mut first = waiter(&stage);
        if dies {
            first.kill().unwrap();
            first.wait().unwrap();
        }
        let mut notifier = notifier(&stage);
        let steps = notifier.as_mut().map(|notifier| first_change(notifier, &stage));
        notifier.into_iter().for_each(end);
        end(first);
        steps
    };
    let (Some(to_notify), Some(to_bury)) = (length(false), length(true)) else { return };
    let stage = stage();
    let first = waiter(&stage);
    let before = words(&stage);
    let mut tells = notifier(&stage).unwrap();
    assert!(go_on(&mut tells, to_notify - 1));
    assert_eq!(words(&stage), before, "it has not notified the waiter yet");
    end(first);
    let mut buries = notifier(&stage).unwrap();
    let dead = words(&stage);
    assert!(go_on(&mut buries, to_bury - 1));
    assert_eq!(words(&stage), dead, "it has not buried the waiter yet");
    for mut notifier in [tells, buries] {
        ptrace::resume(&notifier).unwrap();
        assert_eq!(notifier.wait_timeout(PATIENCE).unwrap(), Some(ExitStatus::Code(0)));
    }
    assert_eq!(stage.notified.load(SeqCst), 1, "the first has notified a waiter that was dead");
    // The notification belongs to the next that comes.
    let mut next = fork(|| {
        wait(&stage);
        0
    })
    .unwrap();
    let ended = next.wait_timeout(PATIENCE).unwrap();
    if ended.is_none() {
        end(next);
    }
    assert_eq!(ended, Some(ExitStatus::Code(0)));
}

/// Whether a sleeper can watch its gate. Before Linux 5.16 it checks again every 10 ms instead.
fn sleeps_on_many_words() -> bool {
    const FUTEX_WAITV: libc::c_long = 449; // on every architecture
    // SAFETY: no words are named, so the kernel reads none.
    let refused = unsafe { libc::syscall(FUTEX_WAITV, 0_usize, 0, 0, 0_usize, 0) };
    refused == -1 && std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Steps a waiter by single instructions until it sleeps in the last of them.
fn step_to_sleep(child: &mut Child) {
    loop {
        ptrace::single_step(child).unwrap();
        loop {
            match ptrace::wait(child, Duration::from_millis(50)).unwrap() {
                Some(State::Stopped(_)) => break,
                None if asleep(child) => return,
                None => {}
                Some(ended) => panic!("{ended:?}"),
            }
        }
    }
}

/// Moves a sleeper behind the others in the kernel's queues.
fn queue_again(child: &mut Child) {
    let state = |child: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid().as_raw_nonzero())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next()
    };
    child.signal(Signal::STOP).unwrap();
    until("it is stopped", || state(child) == Some('T'));
    child.signal(Signal::CONT).unwrap();
    until("it sleeps again", || state(child) == Some('S'));
}

/// A waiter passes on the notification of a dead waiter, and dies between its compare-exchange and its wake. The kernel
/// wakes the newly notified waiter last, so another thread must wake it.
fn waiter_whose_notifier_died_before_the_wake_goes_on() {
    if !sleeps_on_many_words() {
        return println!("SKIPPED: this kernel has no futex_waitv");
    }
    let stage = stage();
    let mut dead = waiter(&stage);
    let Some(mut heir) = standing(|| wait(&stage)) else { return end(dead) };
    step_to_sleep(&mut heir);
    let mut rest = [(); 3].map(|()| waiter(&stage));
    queue_again(&mut rest[0]);
    let guard = stage.lock.lock().unwrap();
    assert_eq!(stage.condition.notify(1), 1);
    dead.kill().unwrap();
    dead.wait().unwrap();
    // The kernel has woken the heir, which stands behind its system call.
    assert!(matches!(ptrace::wait(&mut heir, PATIENCE), Ok(Some(State::Stopped(_)))));
    assert_eq!(stage.condition.notify(1), 1, "this is the heir's own");
    first_change(&mut heir, &stage);
    end(heir);
    drop(guard);
    let ended = rest.each_mut().map(|child| child.wait_timeout(PATIENCE).unwrap());
    for (child, ended) in rest.into_iter().zip(ended) {
        if ended.is_none() {
            end(child);
        }
    }
    assert_eq!(ended, [Some(ExitStatus::Code(0)); 3]);
}
