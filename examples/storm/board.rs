//! The messages between parent and participants, in shared memory.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::fs;

use ossature::sys::deadline::Deadline;
use ossature::sys::futex::{self, Reach};
use ossature::sys::process::Pid;
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};

/// The number of participants without `--participants`.
pub const FEW: usize = 4;

/// The maximum of `--participants`.
pub const MOST: usize = 512;

/// The number of participants that a primitive of the usual size has room for.
pub const USUAL: usize = 120;

/// The maximum number of participants whose bits fit into one word.
const BITS: usize = 16;

shareable! {
    /// The state of one participant, as the participant and the parent report it.
    struct Mark {
        state: AtomicU32,
        leads: AtomicU32,
        turns: AtomicU32,
        /// The value of `go` at which the participant last came to rest.
        rested: AtomicU32,
        /// 1 while the participant is about to be killed.
        doomed: AtomicU32,
        pid: AtomicU32,
    }
}

shareable! {
    /// The orders of the parent to all participants, and the mark of each participant.
    pub struct Board {
        /// Odd while the board is open; a new number at each change.
        go: AtomicU32,
        /// The number of participants.
        count: AtomicU32,
        /// Unused with more than 16 participants. A bit for each participant that is inside, and above them a bit for
        /// each that is about to be killed. They share one word, so that a read of it is consistent.
        inside: AtomicU32,
        /// The number of violations that participants found.
        broken: AtomicU32,
        marks: [Mark; MOST],
    }
}

const NEW: u32 = 0;
const RESTS: u32 = 1;
const OUTSIDE: u32 = 2;
const WAITS: u32 = 3;
const HOLDS: u32 = 4;

/// The position of the bit of a doomed participant above the bit of a participant inside.
const DOOMED: usize = BITS;

impl Board {
    pub fn place(participants: usize) -> Shm<Self> {
        let number = |n| AtomicU32::new(n);
        let marks = array(|_| Mark::init(number(NEW), number(0), number(0), number(0), number(0), number(0)));
        let count = number(participants.min(MOST) as u32);
        Shm::place(Self::init(number(0), count, number(0), number(0), marks)).expect("memory for the storm")
    }

    pub fn participants(&self) -> usize {
        self.count.load(SeqCst) as usize
    }

    /// Lets the resting participants begin.
    pub fn open(&self) {
        if !self.is_open() {
            self.go.fetch_add(1, SeqCst);
            futex::wake(&self.go, u32::MAX, Reach::Shared).expect("the board is mapped");
        }
    }

    /// Stops every participant after its current turn.
    pub fn close(&self) {
        if self.is_open() {
            self.go.fetch_add(1, SeqCst);
        }
    }

    pub fn is_open(&self) -> bool {
        self.go.load(SeqCst) % 2 == 1
    }

    /// Waits, in a participant, while the board is closed.
    pub fn wait_until_open(&self, seat: Seat<'_>) {
        loop {
            let go = self.go.load(SeqCst);
            if go % 2 == 1 {
                return;
            }
            seat.rests(go);
            // Woken, or open already: looks again either way.
            let _ = futex::wait(&self.go, go, Reach::Shared, Deadline::NEVER);
        }
    }

    pub fn seat(&self, index: usize) -> Seat<'_> {
        Seat { board: self, index }
    }

    pub fn seats(&self) -> impl Iterator<Item = Seat<'_>> {
        (0..self.participants()).map(|index| self.seat(index))
    }

    /// The seats of the living participants.
    pub fn living(&self) -> impl Iterator<Item = Seat<'_>> {
        self.seats().filter(|seat| seat.is_taken() && !seat.is_doomed())
    }

    pub fn broken(&self) -> u32 {
        self.broken.load(SeqCst)
    }
}

/// The seat of one participant.
#[derive(Clone, Copy)]
pub struct Seat<'b> {
    board: &'b Board,
    pub index: usize,
}

/// The reports of the seat's participant.
impl Seat<'_> {
    /// Reports that the participant begins something that may have to wait.
    pub fn waits(self) {
        self.says(WAITS);
    }

    /// Reports that the participant holds the primitive, or does what others wait for. Returns the number of
    /// participants in that state that are not doomed.
    ///
    /// With more than 16 participants each is read at another instant. A result above 1 still proves that another
    /// participant was inside together with this one; a higher number proves no more than that.
    pub fn holds(self) -> u32 {
        self.says(HOLDS);
        let Some(bit) = self.bit() else {
            // In this order: a participant that was not doomed later was alive when it was inside.
            return self.board.seats().filter(|seat| seat.is_holding() && !seat.is_doomed()).count() as u32;
        };
        let inside = self.board.inside.fetch_or(bit, SeqCst) | bit;
        (inside & !(inside >> DOOMED) & ((1 << DOOMED) - 1)).count_ones()
    }

    /// Reports that the participant has released the primitive, or done what others wait for.
    pub fn leaves(self) {
        self.board.inside.fetch_and(!self.bit().unwrap_or(0), SeqCst);
        self.says(OUTSIDE);
    }

    fn rests(self, go: u32) {
        self.mark().rested.store(go, SeqCst);
        self.says(RESTS);
    }

    pub fn ends_its_turn(self) {
        self.mark().turns.fetch_add(1, SeqCst);
    }

    /// Reports a violation.
    pub fn breaks(self, what: &str) {
        if self.board.broken.fetch_add(1, SeqCst) < 5 {
            eprintln!("storm: participant {}: {what}", self.index);
        }
    }

    /// The number of pauses during which the participant holds the primitive in this turn. Some turns are long, so that
    /// a kill aimed at a holder meets one.
    pub fn work(self) -> u32 {
        [0, 5, 20, 80, 2_000][(self.turns() as usize + self.index) % 5]
    }

    /// A different number below `below` in each turn.
    pub fn chance(self, below: u32) -> u32 {
        let turn = self.turns().wrapping_mul(self.board.participants() as u32).wrapping_add(self.index as u32);
        (turn.wrapping_mul(0x9e37_79b9) >> 16) % below
    }

    /// Whether the others wait for this participant, where the roles differ.
    pub fn leads(self) -> bool {
        self.mark().leads.load(SeqCst) == 1
    }

    /// Whether any participant is doomed.
    pub fn sees_doom(self) -> bool {
        self.board.seats().any(Seat::is_doomed)
    }

    fn says(self, state: u32) {
        self.mark().state.store(state, SeqCst);
    }
}

/// The parent's view of the seat, and its orders.
impl Seat<'_> {
    /// Prepares the seat for a new participant.
    pub fn is_given(self, leads: bool) {
        self.says(NEW);
        self.mark().leads.store(u32::from(leads), SeqCst);
        self.mark().doomed.store(0, SeqCst);
        let bit = self.bit().unwrap_or(0);
        self.board.inside.fetch_and(!(bit | bit << DOOMED), SeqCst);
    }

    pub fn belongs_to(self, pid: Pid) {
        self.mark().pid.store(pid.as_raw_nonzero().get() as u32, SeqCst);
    }

    /// Marks the participant as about to be killed, so that others ignore whether it is inside.
    pub fn dooms(self) {
        self.mark().doomed.store(1, SeqCst);
        self.board.inside.fetch_or(self.bit().unwrap_or(0) << DOOMED, SeqCst);
    }

    pub fn is_doomed(self) -> bool {
        self.mark().doomed.load(SeqCst) == 1
    }

    pub fn turns(self) -> u32 {
        self.mark().turns.load(SeqCst)
    }

    /// Whether the participant knows that the board is closed, and so begins nothing before it opens.
    pub fn is_resting(self) -> bool {
        self.is(RESTS) && self.mark().rested.load(SeqCst) == self.board.go.load(SeqCst)
    }

    /// Whether the participant has not reported anything yet.
    pub fn is_new(self) -> bool {
        self.is(NEW)
    }

    pub fn is_outside(self) -> bool {
        self.is(OUTSIDE)
    }

    pub fn is_waiting(self) -> bool {
        self.is(WAITS)
    }

    pub fn is_holding(self) -> bool {
        self.is(HOLDS)
    }

    /// Whether the participant waits and the kernel reports that it sleeps.
    pub fn is_asleep(self) -> bool {
        self.is_waiting() && self.kernel_state() == Some('S')
    }

    /// The state that the kernel reports: `R` runs, `S` sleeps, `t` is stopped by its tracer, `Z` has ended.
    pub fn kernel_state(self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.mark().pid.load(SeqCst))).ok()?;
        // `pid (name) state ...`, and the name may hold anything.
        stat.rsplit(") ").next()?.chars().next()
    }

    pub fn state(self) -> &'static str {
        ["new", "resting", "outside", "waiting", "holding"][self.mark().state.load(SeqCst) as usize % 5]
    }

    fn is_taken(self) -> bool {
        self.mark().pid.load(SeqCst) != 0
    }

    fn is(self, state: u32) -> bool {
        self.mark().state.load(SeqCst) == state
    }

    /// The bit of the participant; `None` with more participants than a word has bits for.
    fn bit(self) -> Option<u32> {
        (self.board.participants() <= BITS).then(|| 1 << self.index)
    }

    fn mark(&self) -> &Mark {
        &self.board.marks[self.index]
    }
}
