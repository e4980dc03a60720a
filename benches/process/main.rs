//! Starting processes: each way beside the raw calls and beside CPython's.

mod fork;

use ossature_benches::bench;
use ossature_benches::machine;

fn main() {
    bench::main("process", &[], |bench| {
        // Parent and child on one core, or the figures say how the machine hands a child to the other.
        let core = machine::cores().first().copied();
        machine::pin(core.as_slice());
        fork::beside_the_raw_calls(bench);
        fork::beside_cpython(bench);
    });
}
