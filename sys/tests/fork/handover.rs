//! The schedules in which a robust lock can lose a sleeper, made deterministic. All processes run on one processor. The
//! parent, as a real-time process, runs until it sleeps, so a woken child cannot move before the parent lets it.
//!
//! In the second of them a pthread robust mutex leaves the survivor asleep beside a free lock.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature_sys::eventfd::EventFd;
use ossature_sys::process::{Child, ExitStatus, fork};
use ossature_sys::sched::{CpuSet, Policy, affinity, policy, set_affinity, set_policy};
use ossature_sys::scope::{LockBackend, Refused, Shared};
use ossature_sys::shareable;
use ossature_sys::shm::{Shm, array};
use ossature_sys::sync::lock::Lock;

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("killed_chosen_waiter_passes_the_lock_on", killed_chosen_waiter_passes_the_lock_on),
    ("killed_chosen_waiter_passes_the_lock_on_past_a_barger", killed_chosen_waiter_passes_the_lock_on_past_a_barger),
    ("killed_holder_is_reported_to_those_who_sleep", killed_holder_is_reported_to_those_who_sleep),
    ("holder_that_gives_up_frees_those_who_sleep", holder_that_gives_up_frees_those_who_sleep),
    ("stopped_holder_is_waited_for", stopped_holder_is_waited_for),
    ("form_is_our_own_node", form_is_our_own_node),
];

/// The variable of a run of this binary in which the kernel does not report where the robust list is.
pub const NO_LIST: &str = "OSSATURE_TEST_NO_ROBUST_LIST";

/// The variable of a run of this binary in which the C library refuses robust mutexes too.
pub const NO_MUTEX: &str = "OSSATURE_TEST_NO_ROBUST_MUTEX";

pub const PATIENCE: Duration = Duration::from_secs(10);

shareable! {
    pub struct Stage {
        pub lock: Lock<u32, Shared>,
        /// Which of the children are about to take the lock.
        arrived: [AtomicU32; 2],
        /// The state in which each child got the lock: 1 whole, 2 abandoned, 3 given up.
        told: [AtomicU32; 2],
    }
}

pub fn stage() -> Shm<Stage> {
    let words = || array(|_| AtomicU32::new(0));
    Shm::place(Stage::init(Lock::shared(0), words(), words())).unwrap()
}

pub fn asleep(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid().as_raw_nonzero())).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('S')
}

#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// Two children that take the lock on command, one after the other, and report its state.
pub struct Sleepers<'s> {
    stage: &'s Stage,
    turn: [EventFd; 2],
    children: Vec<Child>,
}

impl<'s> Sleepers<'s> {
    pub fn start(stage: &'s Stage) -> Self {
        let turn = [0; 2].map(|_| EventFd::counter(0).unwrap());
        let children = (0..2).map(|index| {
            fork(|| {
                turn[index].take(PATIENCE).unwrap();
                stage.arrived[index].store(1, SeqCst);
                let told = match stage.lock.lock() {
                    Ok(mut guard) => {
                        *guard += 1;
                        1 + u32::from(guard.abandoned())
                    }
                    Err(Refused::Unrecoverable) => 3,
                    Err(other) => panic!("{other}"),
                };
                stage.told[index].store(told, SeqCst);
                0
            })
            .unwrap()
        });
        let children = children.collect();
        Self { stage, turn, children }
    }

    /// Lets both sleep on the lock, in order. Another process holds it.
    pub fn arrive(&self) {
        for (index, child) in self.children.iter().enumerate() {
            self.turn[index].add(1, PATIENCE).unwrap();
            until("a child sleeps on the lock", || self.stage.arrived[index].load(SeqCst) == 1 && asleep(child));
        }
    }

    #[track_caller]
    pub fn is_served(&mut self, index: usize) -> u32 {
        let end = self.children[index].wait_timeout(PATIENCE).unwrap();
        if end.is_none() {
            for child in &mut self.children {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        assert_eq!(end, Some(ExitStatus::Code(0)), "child {index} sleeps beside a free lock");
        self.stage.told[index].load(SeqCst)
    }
}

/// Puts this process and its children on one processor, with this process first; dropping it restores the settings.
pub struct Conductor {
    cpus: CpuSet,
    policy: Policy,
}

impl Conductor {
    pub fn new() -> Option<Self> {
        let before = Self { cpus: affinity(None).unwrap(), policy: policy(None).unwrap() };
        if set_policy(None, Policy::Fifo { priority: 50 }).is_err() {
            println!("SKIPPED: a certain schedule needs the right to real-time priority");
            return None;
        }
        before.relax();
        set_affinity(None, &CpuSet::of(before.cpus.iter().take(1))).unwrap();
        Some(before)
    }

    pub fn conduct(&self) {
        set_policy(None, Policy::Fifo { priority: 50 }).unwrap();
    }

    pub fn relax(&self) {
        set_policy(None, self.policy).unwrap();
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        self.relax();
        set_affinity(None, &self.cpus).unwrap();
    }
}

/// The pthread form is used where the kernel hides the list, and only there.
fn form_is_our_own_node() {
    let set = |variable| std::env::var_os(variable).is_some();
    let expected = match (set(NO_LIST), set(NO_MUTEX)) {
        (_, true) => LockBackend::Unsupported,
        (true, false) => LockBackend::Pthread,
        (false, false) => LockBackend::Node,
    };
    assert_eq!(Shared::backend(), expected);
}

fn chosen_waiter_is_killed(barge: bool) {
    let Some(conductor) = Conductor::new() else { return };
    let stage = stage();
    let mut sleepers = Sleepers::start(&stage);
    let held = stage.lock.lock().unwrap();
    sleepers.arrive();
    conductor.conduct();
    drop(held);
    let barged = barge.then(|| stage.lock.lock().unwrap());
    sleepers.children[0].kill().unwrap();
    conductor.relax();
    assert!(matches!(sleepers.children[0].wait().unwrap(), ExitStatus::Signal { .. }));
    drop(barged);
    assert_eq!(sleepers.is_served(1), 1);
    assert_eq!(*stage.lock.lock_timeout(PATIENCE).unwrap().unwrap(), 1, "the killed one never had it");
}

fn killed_chosen_waiter_passes_the_lock_on() {
    chosen_waiter_is_killed(false);
}

fn killed_chosen_waiter_passes_the_lock_on_past_a_barger() {
    chosen_waiter_is_killed(true);
}

/// Starts a child that holds the lock until it is killed.
fn holder(stage: &Stage) -> Child {
    let ready = EventFd::counter(0).unwrap();
    let child = fork(|| {
        let mut guard = stage.lock.lock().unwrap();
        *guard += 10;
        ready.add(1, PATIENCE).unwrap();
        EventFd::counter(0).unwrap().take(None).unwrap();
        drop(guard);
        0
    });
    let child = child.unwrap();
    assert_eq!(ready.take(PATIENCE), Ok(Some(1)));
    child
}

fn killed_holder_is_reported_to_those_who_sleep() {
    let stage = stage();
    let mut sleepers = Sleepers::start(&stage);
    let mut holder = holder(&stage);
    sleepers.arrive();
    holder.kill().unwrap();
    holder.wait().unwrap();
    // Sticky: nobody repaired it.
    assert_eq!((sleepers.is_served(0), sleepers.is_served(1)), (2, 2));
    let guard = stage.lock.lock_timeout(PATIENCE).unwrap().unwrap();
    assert!(guard.abandoned() && *guard == 12);
}

fn holder_that_gives_up_frees_those_who_sleep() {
    let stage = stage();
    let mut sleepers = Sleepers::start(&stage);
    let held = stage.lock.lock().unwrap();
    sleepers.arrive();
    held.mark_unrecoverable();
    assert_eq!((sleepers.is_served(0), sleepers.is_served(1)), (3, 3));
    assert_eq!(stage.lock.lock().map(drop), Err(Refused::Unrecoverable));
}

/// A stopped holder is not dead.
fn stopped_holder_is_waited_for() {
    let stage = stage();
    let mut holder = holder(&stage);
    holder.signal(ossature_sys::process::Signal::STOP).unwrap();
    assert!(stage.lock.lock_timeout(Duration::from_millis(50)).unwrap().is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(stage.lock.lock_timeout(PATIENCE).unwrap().unwrap().abandoned());
}
