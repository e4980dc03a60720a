//! The ring and the typed queue: one way and round trip, small and large messages. Rivals are iceoryx2, ipc-channel,
//! pipes and sockets between processes, crossbeam between threads, and CPython's Queue.

mod counted;
mod floors;
mod ice;
mod large;
mod many;
mod memory;
mod one_way;
mod round_trip;
mod spsc;
mod typed;

use std::time::Duration;

use ossature_benches::{bench, machine, python};

fn main() {
    bench::main("queue", &counted::ROWS, |bench| {
        // The first thread has come and gone when anything is measured.
        machine::have_had_a_thread();
        ice::be_quiet();
        python::name_builds();
        counted::rows(bench);
        memory::rows(bench);
        round_trip::one_core(bench, machine::cores()[0]);
        let (Some(cores), Some(placement)) = (machine::two_cores(), bench.placement()) else { return };
        one_way::rows(bench, cores);
        typed::rows(bench, cores);
        many::rows(bench, cores);
        round_trip::two_cores(bench, cores, placement);
        round_trip::after_a_move(bench, cores);
        large::rows(bench, cores, placement);
    });
}

/// The number of messages in every contender's bursts: enough that the start of a burst, where a party may sleep,
/// counts little.
const MESSAGES: u64 = 16_384;

/// A span for rounds whose bursts have a fixed number of messages.
const ANY: Duration = Duration::from_millis(1);
