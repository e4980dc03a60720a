//! What parent and participants tell each other, in shared memory.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::fs;

use ossature::sys::deadline::Deadline;
use ossature::sys::futex::{self, Reach};
use ossature::sys::process::Pid;
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};

pub const PARTICIPANTS: usize = 4;

shareable! {
    /// What one participant says of itself, and what the parent says of it.
    struct Mark {
        state: AtomicU32,
        leads: AtomicU32,
        turns: AtomicU32,
        /// At which closing of the board it came to rest.
        rested: AtomicU32,
        pid: AtomicU32,
    }
}

shareable! {
    /// What the parent says to all, and everybody's mark.
    pub struct Board {
        /// Odd while it is open; another number each time.
        go: AtomicU32,
        /// A bit for each participant that is inside, and above them one for each that is to die: in one word, so
        /// that a look at it is exact.
        inside: AtomicU32,
        /// How often a participant found what must not be.
        broken: AtomicU32,
        marks: [Mark; PARTICIPANTS],
    }
}

const NEW: u32 = 0;
const RESTS: u32 = 1;
const OUTSIDE: u32 = 2;
const WAITS: u32 = 3;
const HOLDS: u32 = 4;

const DOOMED: u32 = 16;

impl Board {
    pub fn place() -> Shm<Self> {
        let number = |n| AtomicU32::new(n);
        let marks = array(|_| Mark::init(number(NEW), number(0), number(0), number(0), number(0)));
        Shm::place(Self::init(number(0), number(0), number(0), marks)).expect("memory for the storm")
    }

    /// Lets those begin who rest.
    pub fn open(&self) {
        if !self.is_open() {
            self.go.fetch_add(1, SeqCst);
            futex::wake(&self.go, u32::MAX, Reach::Shared).expect("the board is mapped");
        }
    }

    /// Asks everybody to rest after this turn.
    pub fn close(&self) {
        if self.is_open() {
            self.go.fetch_add(1, SeqCst);
        }
    }

    pub fn is_open(&self) -> bool {
        self.go.load(SeqCst) % 2 == 1
    }

    /// Waits in a participant while the board is closed.
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
        (0..PARTICIPANTS).map(|index| self.seat(index))
    }

    /// The seats of those who live.
    pub fn living(&self) -> impl Iterator<Item = Seat<'_>> {
        self.seats().filter(|seat| seat.is_taken() && !seat.is_doomed())
    }

    pub fn broken(&self) -> u32 {
        self.broken.load(SeqCst)
    }
}

/// One participant's place.
#[derive(Clone, Copy)]
pub struct Seat<'b> {
    board: &'b Board,
    pub index: usize,
}

/// What its participant says.
impl Seat<'_> {
    /// It begins something that may have to wait.
    pub fn waits(self) {
        self.says(WAITS);
    }

    /// It holds the primitive, or is in the midst of what others wait for. Answers how many are so that are not doomed.
    pub fn holds(self) -> u32 {
        self.says(HOLDS);
        let inside = self.board.inside.fetch_or(self.bit(), SeqCst) | self.bit();
        (inside & !(inside >> DOOMED) & ((1 << DOOMED) - 1)).count_ones()
    }

    /// It lets go, or has done what others wait for.
    pub fn leaves(self) {
        self.board.inside.fetch_and(!self.bit(), SeqCst);
        self.says(OUTSIDE);
    }

    fn rests(self, go: u32) {
        self.mark().rested.store(go, SeqCst);
        self.says(RESTS);
    }

    pub fn ends_its_turn(self) {
        self.mark().turns.fetch_add(1, SeqCst);
    }

    /// Complains of something that must not be.
    pub fn breaks(self, what: &str) {
        if self.board.broken.fetch_add(1, SeqCst) < 5 {
            eprintln!("storm: participant {}: {what}", self.index);
        }
    }

    /// For how many pauses it is to hold the primitive this time: at times so long that a blow aimed at a holder meets
    /// one.
    pub fn work(self) -> u32 {
        [0, 5, 20, 80, 2_000][(self.turns() as usize + self.index) % 5]
    }

    /// Another number in each turn.
    pub fn chance(self, below: u32) -> u32 {
        let turn = self.turns().wrapping_mul(PARTICIPANTS as u32).wrapping_add(self.index as u32);
        (turn.wrapping_mul(0x9e37_79b9) >> 16) % below
    }

    /// Whether it is one for whom the others wait, where the parts differ.
    pub fn leads(self) -> bool {
        self.mark().leads.load(SeqCst) == 1
    }

    /// Whether somebody has been doomed.
    pub fn sees_doom(self) -> bool {
        self.board.seats().any(Seat::is_doomed)
    }

    fn says(self, state: u32) {
        self.mark().state.store(state, SeqCst);
    }
}

/// What the parent sees of it, and says.
impl Seat<'_> {
    /// A new participant will sit down.
    pub fn is_given(self, leads: bool) {
        self.says(NEW);
        self.mark().leads.store(u32::from(leads), SeqCst);
        self.board.inside.fetch_and(!(self.bit() | self.bit() << DOOMED), SeqCst);
    }

    pub fn belongs_to(self, pid: Pid) {
        self.mark().pid.store(pid.as_raw_nonzero().get() as u32, SeqCst);
    }

    /// It will be killed now: others need not care whether it is inside.
    pub fn dooms(self) {
        self.board.inside.fetch_or(self.bit() << DOOMED, SeqCst);
    }

    pub fn is_doomed(self) -> bool {
        self.board.inside.load(SeqCst) & self.bit() << DOOMED != 0
    }

    pub fn turns(self) -> u32 {
        self.mark().turns.load(SeqCst)
    }

    /// Whether it knows that the board is closed, and so begins nothing before it is opened.
    pub fn is_resting(self) -> bool {
        self.is(RESTS) && self.mark().rested.load(SeqCst) == self.board.go.load(SeqCst)
    }

    /// Whether it has not said anything yet.
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

    /// Whether it waits and the kernel says that it sleeps.
    pub fn is_asleep(self) -> bool {
        self.is_waiting() && self.kernel_state() == Some('S')
    }

    /// What the kernel says that it does: `R` runs, `S` sleeps, `t` stands still for its tracer, `Z` has ended.
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

    fn bit(self) -> u32 {
        1 << self.index
    }

    fn mark(&self) -> &Mark {
        &self.board.marks[self.index]
    }
}
