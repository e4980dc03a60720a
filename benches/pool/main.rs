//! Pools: maps of tiny tasks, one call, and tasks of a millisecond, beside rayon, CPython and a futex by hand.

mod apply;
mod floors;
mod long;
mod memory;
mod tiny;

use ossature::multiprocessing::{Context, Pool, Tasks, freeze_support, tasks};
use ossature_benches::bench;
use ossature_benches::placement::Placement;
use ossature_benches::python::{BUILDS, Python, name_builds};

use crate::apply::Where;

static TASKS: Tasks = tasks![tiny::square, long::one];

/// The number of workers of each contender.
const WORKERS: usize = 2;

fn main() {
    freeze_support(TASKS);
    bench::main("pool", &[], |bench| {
        name_builds();
        let near = bench.placement().is_some_and(Placement::is_near);
        let hands = tiny::hands(bench);
        memory::rows(bench);
        for place in [Where::Free, Where::OneCore, Where::TwoCores] {
            apply::beside_a_futex(bench, place);
        }
        apply::beside_cpython(bench);
        tiny::default_chunks(bench, hands.as_ref());
        tiny::one_to_a_chunk(bench, near, hands.as_ref());
        long::beside_rayon(bench);
    });
}

fn pool() -> Pool {
    Pool::builder().workers(WORKERS).context(Context::Spawn).build().expect("a pool starts")
}

/// The installed interpreters, each with a pool of the same number of workers.
fn pythons() -> Vec<(&'static str, Python)> {
    let definitions = "def square(x):\n    return x * x\n";
    let setup = format!("import multiprocessing; pool = multiprocessing.Pool({WORKERS})");
    let start = |(name, program)| Some((name, Python::start_script(program, definitions, &[&setup])?));
    BUILDS.into_iter().filter_map(start).collect()
}
