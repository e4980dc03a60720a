//! The record that participants share with each other and the test, in shared memory in every scope: who they are, that
//! they are about to wait, how they ended.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ossature_sys::process::{Child, ExitStatus};
use ossature_sys::shareable;
use ossature_sys::shm::{Shm, array};
use ossature_sys::signal::Signal;

/// The maximum number of participants beside the test.
pub const MOST: usize = 8;
/// The time limit of a participant.
pub const PATIENCE: Duration = Duration::from_secs(10);

const RUNNING: u32 = 0;
const WELL: u32 = 1;
const FAILED: u32 = 2;
const KILLED: u32 = 3;

shareable! {
    struct Seat {
        /// The kernel's number of the participant's thread; 0 before it has begun.
        id: AtomicU32,
        /// How often the participant announced a wait.
        waits: AtomicU32,
        end: AtomicU32,
        /// The text of the participant's panic.
        text: [AtomicU8; 244],
    }
}

shareable! {
    struct Table {
        seats: [Seat; MOST],
        /// The step that the test has reached, in its own count.
        told: AtomicU32,
    }
}

/// The record: a seat for each participant, and the test's step.
pub struct Ledger(Shm<Table>);

/// Counters that every participant sees, in every world.
pub type Counters = Shm<[AtomicU32; 16]>;

/// Makes sixteen counters at 0.
pub fn counters() -> Counters {
    Shm::place(array(|_| AtomicU32::new(0))).expect("memory for counters")
}

/// Waits until `is_so` returns true. Panics with `what` if that takes too long.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(is_so_within(PATIENCE, is_so), "never: {what}");
}

fn is_so_within(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > patience {
            return false;
        }
        thread::yield_now();
    }
    true
}

fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

fn task(id: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{id}/task/{id}/{file}")).unwrap_or_default()
}

/// The letter of the task's state, if there is such a task.
fn state(id: u32) -> Option<char> {
    // `id (name) state ...`, and the name may hold anything.
    task(id, "stat").rsplit(") ").next().and_then(|rest| rest.chars().next())
}

impl Ledger {
    pub fn new() -> Self {
        let seat = |_| {
            let zero = || AtomicU32::new(0);
            Seat::init(zero(), zero(), zero(), array(|_| AtomicU8::new(0)))
        };
        Self(Shm::place(Table::init(array(seat), AtomicU32::new(0))).expect("memory for a ledger"))
    }

    /// Runs a participant, and records the text of its panic.
    pub fn sit(&self, index: usize, body: impl FnOnce(&Me<'_>)) {
        let seat = &self.0.seats[index];
        seat.id.store(thread_id(), SeqCst);
        let verdict = catch_unwind(AssertUnwindSafe(|| body(&Me { index, seat, told: &self.0.told })));
        if let Err(panic) = &verdict {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
            for (byte, place) in text.bytes().zip(&seat.text) {
                place.store(byte, SeqCst);
            }
        }
        seat.end.store(if verdict.is_ok() { WELL } else { FAILED }, SeqCst);
    }

    /// Waits for the first `n` to end. Returns whether they have.
    pub fn all_ended(&self, n: usize, patience: Duration) -> bool {
        is_so_within(patience, || self.0.seats[..n].iter().all(|seat| seat.end.load(SeqCst) != RUNNING))
    }

    /// Whether a process ended in the way that was expected of it.
    pub fn expects(&self, index: usize, exit: ExitStatus) -> bool {
        match self.0.seats[index].end.load(SeqCst) {
            RUNNING => false,
            KILLED => matches!(exit, ExitStatus::Signal { .. }),
            _ => exit == ExitStatus::Code(0),
        }
    }

    /// The faults of the first `n`, one line each.
    pub fn complaints(&self, n: usize) -> String {
        (0..n).filter_map(|index| self.complaint(index)).collect()
    }

    /// The fault of a participant that should have ended by now.
    pub fn complaint(&self, index: usize) -> Option<String> {
        let seat = &self.0.seats[index];
        match seat.end.load(SeqCst) {
            WELL | KILLED => None,
            FAILED => {
                let bytes: Vec<u8> = seat.text.iter().map(|byte| byte.load(SeqCst)).filter(|byte| *byte != 0).collect();
                Some(format!("participant {index} failed: {}\n", String::from_utf8_lossy(&bytes)))
            }
            _ => {
                let (id, waits) = (seat.id.load(SeqCst), seat.waits.load(SeqCst));
                let [call, place] = ["syscall", "wchan"].map(|file| task(id, file));
                let state = state(id).unwrap_or('?');
                let (call, place) = (call.trim(), place.trim());
                Some(format!(
                    "participant {index} (task {id}) did not end after announcing {waits} waits: state {state}, \
                     in {call} at {place}\n"
                ))
            }
        }
    }
}

/// A participant, from its own side.
pub struct Me<'b> {
    index: usize,
    seat: &'b Seat,
    told: &'b AtomicU32,
}

impl Me<'_> {
    pub fn index(&self) -> usize {
        self.index
    }

    /// Waits until the test has [reached](Peers::tell) step `step`.
    #[track_caller]
    pub fn until_told(&self, step: u32) {
        until(&format!("the test comes to its step {step}"), || self.told.load(SeqCst) >= step);
    }

    /// Announces that the next sleep is the wait under test.
    pub fn about_to_wait(&self) {
        self.seat.waits.fetch_add(1, SeqCst);
    }
}

/// The participants, from the test's side.
pub struct Peers<'b> {
    pub ledger: &'b Ledger,
    pub size: usize,
    /// The children, one for each participant, if they are processes.
    pub children: &'b [Child],
}

impl Peers<'_> {
    /// Sets the test's step, for which participants wait.
    pub fn tell(&self, step: u32) {
        self.ledger.0.told.store(step, SeqCst);
    }

    /// Waits until the participant sleeps in its `nth` announced wait, counted from 1.
    #[track_caller]
    pub fn until_asleep(&self, index: usize, nth: u32) {
        let seat = &self.ledger.0.seats[index];
        let asleep = || {
            assert_eq!(seat.end.load(SeqCst), RUNNING, "participant {index} ended instead of waiting");
            seat.waits.load(SeqCst) >= nth && state(seat.id.load(SeqCst)) == Some('S')
        };
        until(&format!("participant {index} sleeps in its wait {nth}"), asleep);
    }

    /// Waits until every participant sleeps in its `nth` announced wait.
    #[track_caller]
    pub fn until_all_sleep(&self, nth: u32) {
        (0..self.size).for_each(|index| self.until_asleep(index, nth));
    }

    /// Waits until the participant has ended.
    #[track_caller]
    pub fn until_ended(&self, index: usize) {
        until(&format!("participant {index} ends"), || self.ledger.0.seats[index].end.load(SeqCst) != RUNNING);
    }

    /// Kills the participant, a process, and waits until it is dead.
    #[track_caller]
    pub fn kill(&self, index: usize) {
        self.children[index].kill().expect("one may kill one's child");
        self.ledger.0.seats[index].end.store(KILLED, SeqCst);
        let id = self.ledger.0.seats[index].id.load(SeqCst);
        until(&format!("participant {index} dies"), || !matches!(state(id), Some('R' | 'S' | 'D' | 'T' | 't')));
    }

    /// Stops the participant, a process, and waits until it has stopped.
    #[track_caller]
    pub fn stop(&self, index: usize) {
        self.children[index].signal(Signal::STOP).expect("one may stop one's child");
        let id = self.ledger.0.seats[index].id.load(SeqCst);
        until(&format!("participant {index} stops"), || state(id) == Some('T'));
    }

    /// Continues a stopped participant.
    #[track_caller]
    pub fn go_on(&self, index: usize) {
        self.children[index].signal(Signal::CONT).expect("one may wake one's child");
    }

    /// Starts the participants one after the other. Each waits [for the step](Me::until_told) after its index, and the
    /// next starts when it sleeps in its first wait.
    #[track_caller]
    pub fn line_up(&self) {
        for index in 0..self.size {
            self.tell(index as u32 + 1);
            self.until_asleep(index, 1);
        }
    }
}
