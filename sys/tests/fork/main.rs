//! Forking for real: `fork` refuses beside libtest's threads, so this binary has a main of its own with one thread.
//!
//! `cargo test -p ossature-sys --test fork -- NAME` runs the tests whose names contain NAME.

mod child;
mod fork;
mod group;
mod harness;
mod plan;
mod trace;

fn main() {
    let mut tests = Vec::new();
    for module in [fork::TESTS, child::TESTS, plan::TESTS, group::TESTS, trace::TESTS] {
        tests.extend_from_slice(module);
    }
    harness::run(&tests)
}
