//! Managers: one call of a proxy, through shared memory and over sockets, beside CPython's managers, a redis-server and
//! handwritten kernel calls.

mod calls;
mod echo;
mod floor;
mod idle;
mod many;
mod redis;
mod served;

use ossature::multiprocessing::freeze_support;
use ossature_benches::{bench, machine, python};

fn main() {
    freeze_support(ossature::multiprocessing::tasks![]);
    bench::main("manager", &[], |bench| {
        machine::have_had_a_thread();
        machine::raise_descriptor_limit();
        python::name_builds();
        let core = machine::cores()[0];
        let placement = bench.placement();
        calls::one_core(bench, core);
        calls::over_the_socket(bench, core);
        calls::over_tcp(bench, core);
        many::thousand(bench, core);
        many::memory(bench);
        let (Some(cores), Some(placement)) = (machine::two_cores(), placement) else { return };
        calls::awake(bench, cores, placement);
        idle::woken(bench, cores);
    });
}
