//! The house's storm: kills processes at any instant while others use a primitive, and sees whether these go on.
//!
//! ```text
//! cargo run --release --example storm -- lock --kills 2000 --seed 1
//! cargo run --release --example storm -- lock --step
//! ```
//!
//! The first form starts processes that take and release the primitive and kills them at random instants. After every
//! kill the survivors must come to rest and the primitive must be free, with its data whole or reported as abandoned. The
//! second form runs one participant an instruction at a time, through a free take and release, through a wait, and through
//! a release that has to wake somebody, and kills it after 1, 2, 3, ... instructions until none is left.
//!
//! | word | means |
//! | --- | --- |
//! | `died-inside` | kills that met a holder: a storm in which these are rare shows nothing, and fails |
//! | `hangs` | waiters not served within ten seconds while nobody alive held the primitive |
//! | `broken` | two holders at once, or half-written data that nobody was told about |
//! | `leaked` | descriptors, mappings and children that this program had at the end and not at the beginning |
//!
//! A primitive joins by a file that implements [`Primitive`] and a line in [`PRIMITIVES`].

mod arguments;
mod kills;
mod leaks;
mod lock;
mod random;
mod step;

use core::time::Duration;
use std::io::Write;
use std::process::ExitCode;

use arguments::{Arguments, Mode};
use leaks::Holdings;

/// How long a waiter may wait while nobody alive holds the primitive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a storm needs of a primitive: one turn of using it, and what must be true whenever nobody does.
///
/// The implementation lives in shared memory: every participant is a forked process that calls [`turn`](Self::turn).
trait Primitive {
    /// Takes, changes the data and releases; `board` hears when the turn waits and when it holds.
    fn turn(&self, board: &kills::Seat);
    /// Takes with a deadline, in the parent, when no participant is inside; repairs what the dead left.
    fn check(&self, patience: Duration) -> Check;
    /// Takes, and keeps it until the answer is dropped: what participants wait for in the second form.
    fn hold(&self) -> Box<dyn Held + '_>;
    /// How often a participant found something that must not be.
    fn broken(&self) -> u32;
}

/// Whatever dropping releases.
trait Held {}
impl<T> Held for T {}

/// What a check between two kills found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Whole,
    Broken,
    Hangs,
}

/// What one run counted.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    kills: u32,
    died_inside: u32,
    hangs: u32,
    broken: u32,
}

type Make = fn() -> Box<dyn Primitive>;

/// The primitives by name.
const PRIMITIVES: &[(&str, Make)] = &[("lock", || Box::new(lock::LockStorm::new()))];

fn main() -> ExitCode {
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
    let chosen: Vec<_> = PRIMITIVES.iter().filter(|(name, _)| arguments.names_it(name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = PRIMITIVES.iter().map(|(name, _)| *name).collect();
        eprintln!("storm: no primitive named {:?}; there are: {}, all", arguments.name, names.join(", "));
        return ExitCode::from(2);
    }
    let mut failed = false;
    for (name, make) in chosen {
        for mode in arguments.modes() {
            failed |= !run(name, *make, mode, &arguments);
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one storm, prints its line and says whether it was good.
fn run(name: &str, make: Make, mode: Mode, arguments: &Arguments) -> bool {
    // The first storm of a process makes what stays for its life (the random list of libc, buffers): have it before counting.
    drop(make());
    let before = Holdings::now();
    let began = std::time::Instant::now();
    let tally = match mode {
        Mode::Kills => kills::storm(&*make(), arguments.kills, arguments.seed),
        Mode::Step => step::storm(make, arguments.stride),
    };
    let leaked = Holdings::now().beyond(&before);
    let Tally { kills, died_inside, hangs, broken } = tally;
    let seconds = began.elapsed().as_secs_f64();
    let line = match mode {
        Mode::Kills => format!(
            "{name}: kills={kills} died-inside={died_inside} hangs={hangs} broken={broken} leaked={leaked} seconds={seconds:.1}"
        ),
        Mode::Step => format!("{name}: steps={kills} hangs={hangs} broken={broken} leaked={leaked}"),
    };
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        eprintln!("storm: cannot write to standard output: {error}\n{line}");
        return false;
    }
    let telling = mode == Mode::Step || died_inside * 10 >= kills;
    if !telling {
        eprintln!("storm: fewer than a tenth of the kills met a holder, so this run shows nothing");
    }
    kills > 0 && telling && hangs == 0 && broken == 0 && leaked == 0
}
