//! A value of 64 bytes sent and received in one thread, beside postcard's bytes over the same connection. The
//! difference is the cost of the bounds checks.

use std::hint::black_box;

use ossature::multiprocessing::connection::pipe;
use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

/// A job of numbers, a text and a list: 64 bytes when encoded.
type Job = (u32, String, Vec<(u16, i32)>, Option<u64>);

/// Runs the row of a value of 64 bytes.
pub(crate) fn small(bench: &Bench) {
    let row = "value-64";
    if !bench.wants(row) {
        return;
    }
    let job: Job = (70_000, "a job of a longer name".into(), vec![(300, -70_000); 6], Some(1 << 40));
    assert_eq!(postcard::to_allocvec(&job).expect("the value is serialisable").len(), 64);
    let samples = bench.table(4, |turn| {
        let (near, far) = pipe().expect("a pipe");
        let mut rounds = Rounds::new();
        rounds.add("ours", || {
            near.send(black_box(&job)).expect("room");
            black_box(far.recv::<Job>().expect("a job"));
        });
        rounds.add("postcard", || {
            near.send_bytes(&postcard::to_allocvec(black_box(&job)).expect("the value is serialisable")).expect("room");
            black_box(postcard::from_bytes::<Job>(&far.recv_bytes().expect("a job")).expect("a job"));
        });
        turn.run(100, rounds);
    });
    bench.compare(row, &samples, "ours", "postcard", Bar::AtMost(1.05));
}
