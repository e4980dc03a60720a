//! The first form: participants are killed at random instants.
//!
//! A round: everyone uses the primitive for a random while; one is killed, at times two; the others are asked to rest, and
//! must: who sleeps beside a free primitive does not, and that is a hang. Then the parent takes the primitive itself,
//! looks at the data, and the dead are replaced.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use ossature::sys::deadline::Deadline;
use ossature::sys::futex::{self, Reach};
use ossature::sys::process::{self, Child, ForkError, Signal, fork, parent_id, set_parent_death_signal};

use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};

use crate::random::Random;
use crate::{Check, PATIENCE, Primitive, Tally};

const PARTICIPANTS: usize = 4;

shareable! {
    /// What one participant says of itself.
    pub struct Seat {
        state: AtomicU32,
        /// How long it holds the primitive, in pauses.
        work: AtomicU32,
    }
}

const RESTS: u32 = 0;
const OUTSIDE: u32 = 1;
const WAITS: u32 = 2;
const HOLDS: u32 = 3;

impl Seat {
    pub fn waits(&self) {
        self.state.store(WAITS, SeqCst);
    }

    pub fn holds(&self) {
        self.state.store(HOLDS, SeqCst);
    }

    pub fn leaves(&self) {
        self.state.store(OUTSIDE, SeqCst);
    }

    pub fn work(&self) -> u32 {
        self.work.load(SeqCst)
    }

    pub fn is_waiting(&self) -> bool {
        self.is(WAITS)
    }

    pub fn is_holding(&self) -> bool {
        self.is(HOLDS)
    }

    fn is(&self, state: u32) -> bool {
        self.state.load(SeqCst) == state
    }
}

shareable! {
    /// What the parent says to all.
    pub struct Board {
        go: AtomicU32,
        seats: [Seat; PARTICIPANTS],
    }
}

impl Board {
    pub fn place() -> Shm<Self> {
        let seats = array(|index| Seat::init(AtomicU32::new(OUTSIDE), AtomicU32::new([0, 5, 20, 80][index % 4])));
        Shm::place(Self::init(AtomicU32::new(0), seats)).expect("memory for the storm")
    }

    /// Lets those begin who wait for it.
    pub fn open(&self) {
        self.go.store(1, SeqCst);
        futex::wake(&self.go, u32::MAX, Reach::Shared).expect("the board is mapped");
    }

    pub fn wait_until_open(&self) {
        while !self.is_open() {
            // Woken, or open already: looks again either way.
            let _ = futex::wait(&self.go, 0, Reach::Shared, Deadline::NEVER);
        }
    }

    fn is_open(&self) -> bool {
        self.go.load(SeqCst) == 1
    }

    pub fn seat(&self, index: usize) -> &Seat {
        &self.seats[index]
    }
}

pub fn storm(primitive: &dyn Primitive, kills: u32, seed: u64) -> Tally {
    let board = Board::place();
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut children: Vec<_> = (0..PARTICIPANTS).map(|index| start(primitive, &board, index)).collect();
    while tally.kills < kills && tally.hangs == 0 {
        board.open();
        let doomed = random.below(PARTICIPANTS as u64) as usize;
        wait_a_while(&board.seats[doomed], &mut random);
        let two = tally.kills + 1 < kills && random.below(8) == 0;
        let victims = if two { vec![doomed, (doomed + 1) % PARTICIPANTS] } else { vec![doomed] };
        for &victim in &victims {
            children[victim].kill().expect("a child can be killed");
        }
        board.go.store(0, SeqCst);
        for &victim in &victims {
            children[victim].wait().expect("a child can be waited for");
            tally.kills += 1;
            tally.died_inside += u32::from(board.seats[victim].is(HOLDS));
        }
        tally.hangs += unrest(&board, &victims);
        match primitive.check(PATIENCE) {
            Check::Whole => {}
            Check::Broken => tally.broken += 1,
            Check::Hangs => tally.hangs += 1,
        }
        if tally.hangs == 0 {
            for victim in victims {
                children[victim] = start(primitive, &board, victim);
            }
        }
    }
    for child in &mut children {
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }
    tally.broken += primitive.broken();
    tally
}

fn start(primitive: &dyn Primitive, board: &Board, index: usize) -> Child {
    let seat = &board.seats[index];
    seat.state.store(OUTSIDE, SeqCst);
    let parent = process::id();
    let child = fork(|| {
        // Whoever started the storm may be killed too: its children go with it, even if it died before this.
        let bound = set_parent_death_signal(Some(Signal::KILL));
        if bound.is_err() || parent_id() != Some(parent) {
            return 1;
        }
        loop {
            if board.is_open() {
                primitive.turn(seat);
            } else {
                seat.state.store(RESTS, SeqCst);
                board.wait_until_open();
            }
        }
    });
    started(child)
}

/// Ends the storm with a plain sentence where the machine has no room for a participant.
pub fn started(child: Result<Child, ForkError>) -> Child {
    child.unwrap_or_else(|error| {
        eprintln!("storm: cannot start a participant: {error}");
        std::process::exit(2)
    })
}

/// Lets the storm run for a random while. Half of the time the end is put where the doomed one says that it waits or
/// holds, so that instants of interest are not rare; which instruction it is at by then is chance.
fn wait_a_while(doomed: &Seat, random: &mut Random) {
    let began = Instant::now();
    let least = random.below(120);
    let aim = [OUTSIDE, WAITS, HOLDS, HOLDS][random.below(4) as usize];
    while (began.elapsed().as_micros() as u64) < least {
        thread::yield_now();
    }
    if random.below(2) == 0 {
        while !doomed.is(aim) && (began.elapsed().as_micros() as u64) < 2_000 {
            spin_loop();
        }
    }
}

/// How many of the living do not come to rest.
fn unrest(board: &Board, dead: &[usize]) -> u32 {
    let began = Instant::now();
    let restless = || {
        let seats = board.seats.iter().enumerate();
        seats.filter(|(index, seat)| !dead.contains(index) && !seat.is(RESTS)).collect::<Vec<_>>()
    };
    while !restless().is_empty() {
        if began.elapsed() >= PATIENCE {
            let still = restless();
            for (index, seat) in &still {
                let state = ["resting", "outside", "waiting", "holding"][seat.state.load(SeqCst) as usize % 4];
                eprintln!("storm: participant {index} is {state} for {PATIENCE:?}");
            }
            return still.len() as u32;
        }
        thread::yield_now();
    }
    0
}
