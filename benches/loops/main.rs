//! Readiness and processes: this crate's thin layer beside the raw calls and the crates that wrap them. All rows run on
//! one core.

mod counted;
mod edge;
mod fork;
mod level;
mod many;
mod objects;
mod raw;
mod waits;

use ossature_benches::report::Bar;
use ossature_benches::{bench, machine};

use waits::Wait;

fn main() {
    bench::main("loops", counted::ROWS, |bench| {
        machine::raise_descriptor_limit();
        let cores = machine::cores();
        machine::pin(&cores[cores.len() - 1..]);

        for wait in Wait::ALL {
            let name = wait.name();
            let row = format!("instructions-{name}");
            if bench.wants(&row) {
                let (ours, theirs) = (format!("ours-{name}"), format!("libc-{name}"));
                bench.compare_instructions(&row, &ours, "libc", &theirs, Bar::Plus(5.0));
            }
        }
        for registered in [10, 1_000] {
            for wait in Wait::ALL {
                level::one_ready(bench, registered, wait);
                edge::one_ready(bench, registered, wait);
            }
            level::all_ready(bench, registered);
            edge::all_ready(bench, registered);
        }
        many::one_ready(bench);
        many::all_ready(bench);
        many::plain_files(bench);
        many::beside_cpython(bench);
        fork::empty_child(bench);
    });
}
