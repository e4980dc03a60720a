//! Tests that call fork for real: `fork` refuses beside libtest's threads, so this binary has a main of its own with
//! one thread.
//!
//! `cargo test -p ossature-sys --test fork -- NAME` runs the tests whose names contain NAME.

mod arena;
mod arena_memory;
mod barrier;
mod child;
mod condition;
mod cost;
mod end;
#[cfg(ossature_faults)]
mod faults;
mod fork;
mod group;
mod handover;
mod harness;
mod kqueue;
mod kqueue_model;
mod packets;
mod plan;
mod queue;
mod refused;
mod remains;
mod ring;
mod rwlock;
mod semaphore;
mod shm;
mod still;
mod streams;
mod surroundings;
#[cfg(ossature_faults)]
mod sweep;
mod trace;

fn main() {
    let mut tests = Vec::new();
    for module in [
        arena::TESTS,
        arena_memory::TESTS,
        barrier::TESTS,
        fork::TESTS,
        child::TESTS,
        end::TESTS,
        packets::TESTS,
        plan::TESTS,
        refused::TESTS,
        remains::TESTS,
        ring::TESTS,
        rwlock::TESTS,
        group::TESTS,
        handover::TESTS,
        kqueue::TESTS,
        kqueue_model::TESTS,
        trace::TESTS,
        condition::TESTS,
        queue::TESTS,
        cost::TESTS,
        semaphore::TESTS,
        shm::TESTS,
        surroundings::TESTS,
        still::TESTS,
        streams::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    #[cfg(ossature_faults)]
    tests.extend_from_slice(faults::TESTS);
    #[cfg(ossature_faults)]
    tests.extend_from_slice(sweep::TESTS);
    #[cfg(ossature_faults)]
    let _rules = faults::from_environment();
    harness::run(&tests)
}
