//! Messages between two processes over a Unix socket: beside the bare calls, and beside CPython's Connection. All on
//! one core, except the last row.

mod authenticate;
mod echo;
mod large;
mod long;
mod pickle;
mod stream;
mod typed;

use ossature_benches::{bench, machine, python};
use ossature_sys::process::{Child, fork};

fn main() {
    bench::main("connection", &[], |bench| {
        let cores = machine::cores();
        machine::pin(&cores[cores.len() - 1..]);
        python::name_builds();
        echo::small(bench);
        large::one_way(bench);
        long::rows(bench);
        pickle::numbers_row(bench);
        typed::small(bench);
        authenticate::rows(bench);
        stream::rows(bench, &cores);
    });
}

/// A forked process at the other end; dropping the value kills the process.
struct Partner(Child);

impl Partner {
    /// Starts a process that runs `body` until the process is killed.
    fn start(body: impl FnOnce()) -> Self {
        let child = fork(|| {
            body();
            0
        });
        Self(child.expect("a process"))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It is our own and not reaped yet; if either fails there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
