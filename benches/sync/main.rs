//! The waiting primitives: handover between processes, barriers, notification of many waiters, the contended lock of
//! threads, and the semaphore beside that of libc.

mod barrier;
mod handover;
mod notify;
mod private;
mod robust_unit;
mod semaphore;

use ossature_benches::{bench, machine};

fn main() {
    bench::main("sync", &[], |bench| {
        // The first thread has come and gone when anything is measured: see `Placement::measure` and this.
        machine::have_had_a_thread();
        let placement = bench.placement();
        let core = machine::cores()[0];
        if let (Some(cores), Some(placement)) = (machine::two_cores(), placement) {
            handover::two_cores(bench, cores, placement);
            handover::after_a_sleep(bench, cores);
            private::contended(bench, cores);
            barrier::cycles(bench, cores);
            notify::rows(bench, cores);
            semaphore::contended(bench, cores);
        }
        handover::one_core(bench, core);
        handover::units_on_one_core(bench, core);
        machine::on_core(core, || semaphore::rows(bench));
    });
}
