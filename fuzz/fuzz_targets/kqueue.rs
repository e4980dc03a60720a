//! An event queue against a map with the rules of the manual page: changes, events, closes and numbers opened again.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../sys/tests/it/kqueue/machine.rs"]
mod machine;

fuzz_target!(|bytes: &[u8]| machine::run(bytes));
