//! Values and arrays in shared memory beside CPython's, and slices beside memcpy.

mod slices;
mod values;

use ossature_benches::{bench, machine, python};

fn main() {
    bench::main("shared", &[], |bench| {
        machine::have_had_a_thread();
        python::name_builds();
        values::rows(bench);
        machine::on_core(machine::cores()[0], || slices::rows(bench));
    });
}
