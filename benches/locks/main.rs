//! Locks: uncontended, with readers, with two contending processes, with many processes, on one core, and after a
//! death.

mod alone;
mod crowd;
mod death;
mod readers;
mod together;

use ossature_benches::{bench, machine};

fn main() {
    bench::main("locks", alone::COUNTED, |bench| {
        // The first thread has come and gone when anything is measured: see `Placement::measure` and this.
        machine::have_had_a_thread();
        let placement = bench.placement();
        let core = machine::cores()[0];
        machine::on_core(core, || {
            alone::rows(bench);
            readers::rows(bench);
        });
        if let (Some(cores), Some(placement)) = (machine::two_cores(), placement) {
            together::two_cores(bench, cores, placement);
            together::with_work(bench, cores, placement);
            crowd::rows(bench, &cores);
        }
        together::one_core(bench, core);
        death::hand_over(bench);
    });
}
