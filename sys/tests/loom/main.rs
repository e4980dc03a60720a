//! Models of the waiting primitives, in every interleaving that loom reaches:
//! `RUSTFLAGS="--cfg loom" cargo test -p ossature-sys --release --test loom --target-dir target/loom`.
//!
//! A deadlock of the model is a lost wake: loom reports it by itself. Every model ends with everybody served.
#![cfg(loom)]

mod arena;
mod barrier;
mod condition;
mod event;
mod exchange;
mod kqueue;
mod lock;
mod overdue;
mod packets;
mod permits;
mod pool;
mod ring;
mod rwlock;
mod semaphore;

fn explore(model: impl Fn() + Sync + Send + 'static) {
    // Two switches away from a running thread are explored in seconds; LOOM_MAX_PREEMPTIONS=3 takes minutes.
    explore_to(2, model);
}

/// Explores a small model with at most `switches` switches away from a running thread.
fn explore_to(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(switches));
    builder.max_branches = 10_000;
    builder.check(model);
}
