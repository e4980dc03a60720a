//! An event queue beside a model: a plain map with the rules of the manual page, and random changes, events and closes.
//! No other test of this binary forks meanwhile: a copy of a descriptor in a child would hide its end from the queue.
//!
//! `fuzz/fuzz_targets/kqueue.rs` gives the same machine its bytes.

#[path = "../it/kqueue/machine.rs"]
mod machine;

use crate::harness::Test;

pub const TESTS: &[Test] = &[("event_queue_does_what_the_model_does", does_what_the_model_does)];

/// The bytes of a generator determine every step.
fn does_what_the_model_does() {
    for seed in 0..150_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes: Vec<u8> = (0..600)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        if std::panic::catch_unwind(|| machine::run(&bytes)).is_err() {
            panic!("with seed {seed}");
        }
    }
}
