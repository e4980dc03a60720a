//! The storm: kills processes at any instant while others use a primitive, and checks that the others continue.
//!
//! ```text
//! cargo run --release --example storm -- lock --kills 2000 --seed 1
//! cargo run --release --example storm -- condition --kills 2000 --participants 500
//! cargo run --release --example storm -- lock --step
//! cargo run --release --example storm -- all --minutes 20
//! ```
//!
//! The first form starts processes that use the primitive and ends them at random instants, by SIGKILL or because they
//! execute another program, while others are stopped and continued. After every death the survivors must come to rest,
//! and the primitive must work as before. The second form runs one participant an instruction at a time, through each
//! [scene](step), and kills it after 1, 2, 3, ... instructions until none is left.
//!
//! The third form runs all chosen storms in turn, and checks the [memory and the descriptors](flat) of every process
//! between them: nothing may grow after the first minute.
//!
//! | word | means |
//! | --- | --- |
//! | `kills` | deaths, by SIGKILL or exec |
//! | `died-inside` | deaths of a holder, or of a waiter or setter where that matters: if these are rare, the run fails |
//! | `execs`, `stops` | the number of deaths by exec; how often another participant was stopped |
//! | `hangs` | waiters not served within ten seconds while no living participant kept them waiting |
//! | `broken` | violations: too many holders, half-written data in a lock that is not abandoned, a lost permit |
//! | `leaked` | descriptors, mappings and children that this program had at the end, but not at the beginning |
//!
//! To add a primitive, write a file that implements [`Primitive`], and a line in [`STORMS`]. An object that is not
//! memory which participants use in turn has its own rounds instead, as a [`Trial`]: a [connection], a [process], a
//! [queue], a [pool] or a [manager].

mod arena;
mod arguments;
mod barrier;
mod blows;
mod board;
mod condition;
mod connection;
mod event;
mod flat;
mod kills;
mod leaks;
mod lock;
mod manager;
mod permit;
mod pool;
mod process;
mod queue;
mod random;
mod rlock;
mod rwlock;
mod semaphore;
mod step;
mod trial;

use core::time::Duration;
use std::io::Write;
use std::process::ExitCode;

use arguments::{Arguments, Mode};
use board::{Board, FEW, Seat};
use flat::Most;
use leaks::Holdings;
use step::Scene;
use trial::Trial;

/// The maximum wait of a waiter that no living participant keeps waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A primitive for a storm: one turn of using it, and the invariant that holds while it is not in use.
///
/// The implementation lives in shared memory: every participant is a forked process that calls [`turn`](Self::turn).
/// Where the roles differ, the seat has the role of its participant: whether it [leads](Seat::leads).
trait Primitive {
    /// Prepares a participant before its first turn.
    fn join(&self, _seat: Seat<'_>) {}
    /// Uses the primitive once; reports to the seat when the turn waits, holds and leaves.
    fn turn(&self, seat: Seat<'_>);
    /// Checks in the parent, while no participant is inside, that the invariant holds, and repairs what the dead left.
    fn check(&self, board: &Board, patience: Duration) -> Check;

    /// Whether a death in this state counts as a death inside.
    fn is_inside(&self, dead: Seat<'_>) -> bool {
        dead.is_holding()
    }
    /// Whether the others can take turns without this participant.
    fn can_spare(&self, _seat: Seat<'_>) -> bool {
        true
    }
    /// Receives a death, with the seat as the dead participant left it.
    fn bury(&self, _dead: Seat<'_>) {}
    /// Helps, in the parent and while others come to rest, waiters whose partner rests or is dead; never those that
    /// need no help. The storm calls it repeatedly. Returns an error if it finds a waiter that should not wait.
    fn relieve(&self, _board: &Board) -> Result<(), &'static str> {
        Ok(())
    }

    /// Makes all others wait until the result is dropped: the beginning of the second form.
    fn hold(&self) -> Box<dyn Held + '_>;
    /// Makes all others wait, as `hold` does, but overtakes waiters that were just released and have not run yet.
    fn barge(&self) -> Option<Box<dyn Held + '_>> {
        Some(self.hold())
    }
    /// Whether a leader has changed the primitive so that others need not wait, but has not woken them.
    fn is_half_done(&self) -> bool {
        true
    }
    /// Whether the neighbours must leave the scene without [relief](Self::relieve).
    fn owes(&self, _scene: Scene, _dead: Seat<'_>) -> bool {
        false
    }
    /// The scenes of the second form that apply.
    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Free, Scene::Wait, Scene::Barge, Scene::Wake, Scene::Stopped]
    }
}

/// A value whose drop releases the others.
trait Held {}
impl<T> Held for T {}

/// The result of a check between two kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Whole,
    Broken(&'static str),
    Hangs(&'static str),
}

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    kills: u32,
    died_inside: u32,
    execs: u32,
    stops: u32,
    hangs: u32,
    broken: u32,
}

impl Counts {
    /// Whether enough deaths happened inside for the run to show something; with few kills the share is ignored.
    fn tells(&self) -> bool {
        self.kills < 100 || self.died_inside * 10 >= self.kills
    }

    /// Whether there is more to do. If by chance few deaths happened inside, the run continues for a while.
    fn goes_on(&self, kills: u32) -> bool {
        (self.kills < kills || !self.tells() && self.kills < 3 * kills) && self.hangs == 0
    }

    fn is_good(&self) -> bool {
        self.hangs == 0 && self.broken == 0
    }

    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.died_inside += other.died_inside;
        self.execs += other.execs;
        self.stops += other.stops;
        self.hangs += other.hangs;
        self.broken += other.broken;
    }

    fn hang(&mut self, what: &str) {
        eprintln!("storm: {what}");
        self.hangs += 1;
    }

    fn broke(&mut self, what: &str) {
        eprintln!("storm: {what}");
        self.broken += 1;
    }

    fn count(&mut self, check: Check) {
        match check {
            Check::Whole => {}
            Check::Hangs(what) => self.hang(what),
            Check::Broken(what) => self.broke(what),
        }
    }
}

/// Makes a primitive, for a scene of the second form or, without a scene, for the first form.
type Make = fn(Option<Scene>) -> Box<dyn Primitive>;

/// The same for a number of participants.
type MakeMany = fn(Option<Scene>, usize) -> Box<dyn Primitive>;

/// The storm of a name.
#[derive(Clone, Copy)]
enum Storm {
    Of(Make),
    /// The primitive can have as many participants as the board.
    OfMany(MakeMany),
    Rounds(fn() -> Box<dyn Trial>),
}

/// The storms by name.
const STORMS: &[(&str, Storm)] = &[
    ("lock", Storm::OfMany(|scene, _| lock::make(scene))),
    ("rlock", Storm::OfMany(|scene, _| rlock::make(scene))),
    ("rwlock", Storm::OfMany(rwlock::make)),
    ("condition", Storm::OfMany(condition::make)),
    ("semaphore", Storm::Of(semaphore::make)),
    ("permit", Storm::OfMany(permit::make)),
    ("event", Storm::Of(event::make)),
    ("barrier", Storm::OfMany(barrier::make)),
    ("arena", Storm::Of(arena::make)),
    ("connection", Storm::Rounds(connection::make)),
    ("process", Storm::Rounds(process::make)),
    ("queue", Storm::Rounds(queue::make)),
    ("pool", Storm::Rounds(pool::make)),
    ("manager", Storm::Rounds(manager::make)),
];

fn main() -> ExitCode {
    ossature::multiprocessing::freeze_support(process::TASKS);
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let arguments = match arguments::parse(words) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            let told = writeln!(std::io::stdout(), "{}", arguments::USAGE);
            return if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Err(complaint) => {
            eprintln!("storm: {complaint}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let chosen: Vec<_> = STORMS.iter().filter(|(name, _)| arguments.names_it(name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = STORMS.iter().map(|(name, _)| *name).collect();
        eprintln!("storm: {:?} is not a storm; use one of {}, all", arguments.name, names.join(", "));
        return ExitCode::from(2);
    }
    if let Some(minutes) = arguments.minutes {
        let good = go_on_for(Duration::from_secs(60 * minutes), &chosen, &arguments);
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut failed = false;
    for (name, storm) in chosen {
        for mode in arguments.modes() {
            failed |= !run(name, *storm, mode, &arguments);
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The number of kills of each storm in a turn of the third form.
const TURN: u32 = 100;

/// Runs the storms in turn for `time`, and prints a line for each and a line for all. Returns whether all succeeded.
fn go_on_for(time: Duration, chosen: &[&(&str, Storm)], arguments: &Arguments) -> bool {
    let began = std::time::Instant::now();
    // What a trial has stays with it, so that what its processes gather is seen.
    let mut trials: Vec<Option<Box<dyn Trial>>> = chosen
        .iter()
        .map(|(_, storm)| match storm {
            Storm::Of(_) | Storm::OfMany(_) => None,
            Storm::Rounds(make) => Some(make()),
        })
        .collect();
    let mut tallies = vec![Counts::default(); chosen.len()];
    let (mut first, mut most, mut turns, mut grown) = (Most::default(), Most::default(), 0, None);
    while turns == 0 || began.elapsed() < time && grown.is_none() && tallies.iter().all(Counts::is_good) {
        for (((_, storm), trial), counts) in chosen.iter().zip(&mut trials).zip(&mut tallies) {
            let seed = arguments.seed + turns;
            counts.add(match (storm, trial) {
                (_, Some(trial)) => trial::storm(&mut **trial, TURN, seed),
                (Storm::Of(make), None) => kills::storm(&*make(None), FEW, TURN, seed),
                (Storm::OfMany(make), None) => kills::storm(&*make(None, FEW), FEW, TURN, seed),
                (Storm::Rounds(_), None) => Counts::default(),
            });
        }
        let now = Most::now();
        turns += 1;
        if turns == 1 || began.elapsed() < Duration::from_secs(60) {
            first = first.or(now);
        } else {
            grown = now.beyond(first);
        }
        most = most.or(now);
    }
    let mut lines = String::new();
    for ((name, _), Counts { kills, died_inside, execs, stops, hangs, broken }) in chosen.iter().zip(&tallies) {
        lines += &format!(
            "{name}: kills={kills} died-inside={died_inside} execs={execs} stops={stops} hangs={hangs} broken={broken}\n"
        );
    }
    let seconds = began.elapsed().as_secs();
    lines += &format!(
        "flat: turns={turns} seconds={seconds} memory={}KiB then {}KiB, descriptors={} then {}, processes={} then {}\n",
        first.memory, most.memory, first.descriptors, most.descriptors, first.processes, most.processes
    );
    if let Some(grown) = &grown {
        eprintln!("storm: {grown}");
    }
    let told = std::io::stdout().write_all(lines.as_bytes());
    told.is_ok() && grown.is_none() && tallies.iter().all(|counts| counts.is_good() && counts.tells())
}

/// Runs one storm, prints its line and returns whether it succeeded.
fn run(name: &str, storm: Storm, mode: Mode, arguments: &Arguments) -> bool {
    // The first storm of a process makes what stays for its life (the random list of libc, buffers): have it before
    // counting.
    match storm {
        Storm::Of(make) => drop(make(None)),
        Storm::OfMany(make) => drop(make(None, arguments.participants)),
        Storm::Rounds(make) => drop(make()),
    }
    let before = Holdings::now();
    let began = std::time::Instant::now();
    let counts = match (mode, storm) {
        (Mode::Kills, Storm::Of(make)) => kills::storm(&*make(None), FEW, arguments.kills, arguments.seed),
        (Mode::Kills, Storm::OfMany(make)) => {
            let count = arguments.participants;
            kills::storm(&*make(None, count), count, arguments.kills, arguments.seed)
        }
        (Mode::Kills, Storm::Rounds(make)) => trial::storm(&mut *make(), arguments.kills, arguments.seed),
        (Mode::Step, Storm::Of(make)) => step::storm(make, arguments.stride, arguments.most),
        (Mode::Step, Storm::OfMany(make)) => step::storm(|scene| make(scene, FEW), arguments.stride, arguments.most),
        (Mode::Step, Storm::Rounds(_)) if arguments.name == name => {
            eprintln!("storm: {name} has no steps; it is only killed at random instants");
            return false;
        }
        (Mode::Step, Storm::Rounds(_)) => return true,
    };
    let leaked = Holdings::now().beyond(&before);
    let telling = mode == Mode::Step || counts.tells();
    let Counts { kills, died_inside, execs, stops, hangs, broken } = counts;
    let seconds = began.elapsed().as_secs_f64();
    let line = match mode {
        Mode::Kills => format!(
            "{name}: kills={kills} died-inside={died_inside} execs={execs} stops={stops} hangs={hangs} broken={broken} leaked={leaked} seconds={seconds:.1}"
        ),
        Mode::Step => format!("{name}: steps={kills} hangs={hangs} broken={broken} leaked={leaked}"),
    };
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        eprintln!("storm: cannot write to standard output: {error}\n{line}");
        return false;
    }
    if !telling {
        eprintln!("storm: fewer than a tenth of the kills happened inside, so this run shows nothing");
    }
    kills > 0 && telling && hangs == 0 && broken == 0 && leaked == 0
}
