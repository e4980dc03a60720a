//! A queue beside a model: a plain map with the rules of the manual page, and random changes, events and closes.
//!
//! `fuzz/fuzz_targets/kqueue.rs` gives the same machine its bytes.

#[path = "machine.rs"]
mod machine;

/// Every step is told by bytes of a generator; the seed of a failure is printed.
#[test]
fn a_queue_does_what_the_model_does() {
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
        println!("seed {seed}");
        machine::run(&bytes);
    }
}
