//! Heat spreads along a rod: three processes compute a part each, and meet at a barrier after every step.
//!
//! `cargo run --example barrier_simulation`; with `--self-test` it compares with what one process computes alone.

mod family;
#[path = "family/front.rs"]
mod front;

use std::ops::Range;
use std::process::ExitCode;

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::{Barrier, RawArray, RawValue};

const USAGE: &str = "\
usage: barrier_simulation [--self-test]
Computes how heat spreads along a rod: three processes compute a part each and meet at a barrier.
  --self-test  compares the result with what one process computes alone";

const CELLS: usize = 60;
const STEPS: usize = 500;
const WORKERS: usize = 3;

/// The new temperature of each cell of the part: between its own and that of its neighbours. The ends keep their
/// temperature.
fn step(old: &[f64], part: Range<usize>) -> Vec<f64> {
    let next = |cell: usize| match cell {
        0 => old[0],
        last if last == CELLS - 1 => old[last],
        cell => old[cell] + 0.25 * (old[cell - 1] - 2.0 * old[cell] + old[cell + 1]),
    };
    part.map(next).collect()
}

fn work(met: &Barrier, rods: &[RawArray<f64>; 2], steps: &RawValue<usize>, part: Range<usize>) -> Outcome {
    let _party = met.join()?; // should one of us die, the others hear of it instead of waiting
    for now in 0..STEPS {
        let cells = step(&rods[now % 2].to_vec(), part.clone());
        rods[(now + 1) % 2].set_slice(part.clone(), &cells)?;
        // Python: the action of the barrier. Nobody goes on before the last to arrive has run it.
        met.wait_with(|| steps.set(steps.get() + 1))?;
    }
    Ok(())
}

fn program() -> Outcome {
    let mut alone = [0.0; CELLS];
    alone[0] = 100.0;
    let rods = [RawArray::from_slice(&alone)?, RawArray::from_slice(&alone)?];
    let (met, steps) = (Barrier::new(WORKERS as u32)?, RawValue::new(0_usize)?);

    let size = CELLS / WORKERS;
    let workers = (0..WORKERS).map(|index| {
        let (met, rods, steps) = (&met, &rods, &steps);
        start(move || work(met, rods, steps, index * size..(index + 1) * size))
    });
    join(workers.collect::<Result<Vec<_>, _>>()?)?;

    let rod = rods[STEPS % 2].to_vec();
    let shown: Vec<String> = rod.iter().step_by(6).map(|cell| format!("{cell:5.1}")).collect();
    println!("after {} steps: {}", steps.get(), shown.join(" "));
    if is_self_test() {
        for _ in 0..STEPS {
            let next = step(&alone, 0..CELLS);
            alone.copy_from_slice(&next);
        }
        assert_eq!((rod, steps.get()), (alone.to_vec(), STEPS));
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
