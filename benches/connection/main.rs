//! Messages between two processes over a Unix socket: beside the bare calls, and beside CPython's Connection. All on one core.

mod echo;
mod large;

use ossature_benches::{bench, machine};

fn main() {
    bench::main("connection", &[], |bench| {
        let cores = machine::cores();
        machine::pin(&cores[cores.len() - 1..]);
        echo::small(bench);
        large::one_way(bench);
    });
}
