//! Whether the two cores are near or far.
//!
//! The host moves virtual cores: on the same machine a cache line needs 60 ns between them one day and 400 ns the next.
//! Every two-core figure changes with it. So a two-core bench first prints that time.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::Instant;

use crate::{machine, rounds};

/// The time that a cache line takes from core to core.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Nanoseconds in one direction.
    pub line: f64,
}

const TURNS: u32 = 2_000;
const BATCHES: usize = 25;

impl Placement {
    /// Passes a line back and forth between two spinning threads; `None` on a machine with one core.
    ///
    /// Leaves no thread behind.
    pub fn measure() -> Option<Self> {
        let [here, there] = machine::two_cores()?;
        let word = Line(AtomicU32::new(0));
        let total = TURNS * BATCHES as u32;
        let batches = machine::on_core(here, || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    machine::pin(&[there]);
                    for turn in 0..total {
                        word.pass(2 * turn + 1);
                    }
                });
                let mut turns = 0..total;
                let batch = |_| {
                    let start = Instant::now();
                    for turn in turns.by_ref().take(TURNS as usize) {
                        word.pass(2 * turn);
                    }
                    start.elapsed().as_nanos() as f64 / f64::from(2 * TURNS)
                };
                (0..BATCHES).map(batch).collect::<Vec<_>>()
            })
        });
        Some(Self { line: rounds::median(batches) })
    }

    /// Whether a line takes less than 120 ns.
    pub fn is_near(self) -> bool {
        self.line < 120.0
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PLACEMENT {} line={:.0}", if self.is_near() { "near" } else { "far" }, self.line)
    }
}

/// A word with a cache line and the next one to itself, because processors fetch lines in pairs.
#[repr(align(128))]
struct Line(AtomicU32);

impl Line {
    /// Waits for `turn` and stores the next one.
    fn pass(&self, turn: u32) {
        while self.0.load(Acquire) != turn {
            std::hint::spin_loop();
        }
        self.0.store(turn + 1, Release);
    }
}
