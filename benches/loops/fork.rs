//! Fork and join, beside fork(2) and waitpid(2).

use ossature_benches::bench::Bench;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::process::{ExitStatus, fork};

/// Runs the row of fork and join: a child that does nothing.
pub fn empty_child(bench: &Bench) {
    let row = "fork-and-join";
    if !bench.wants(row) {
        return;
    }
    let samples = bench.table(4, |turn| {
        let mut rounds = Rounds::new();
        rounds.add("ours", move || {
            let mut child = fork(|| 0).expect("ours forks");
            assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
        });
        rounds.add("fork(2)", || {
            // SAFETY: this process has one thread, and the child leaves at once without running anything of ours.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: _exit(2) ends the child.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: waitpid(2) writes the status of our own child.
            let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert!(reaped == child && status == 0);
        });
        turn.run(100, rounds);
    });
    bench.compare(row, &samples, "ours", "fork(2)", Bar::AtMost(1.10));
}
