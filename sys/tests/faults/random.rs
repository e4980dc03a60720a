//! Randomness with failing system calls.

use ossature_sys::errno::Errno;
use ossature_sys::faults::{Fault, Rule};
use ossature_sys::random;

use crate::sweep::{alone, fails_with, survives};

#[test]
fn a_forbidden_call_is_an_error_and_an_interrupted_one_is_made_again() {
    let _alone = alone();
    fails_with("getrandom", Errno::NOSYS, || random::fill(&mut [0; 8]));
    fails_with("getrandom", Errno::PERM, || random::fill(&mut [0; 8]));
    survives("getrandom", Errno::INTR, || random::fill(&mut [0; 8]));
}

#[test]
fn what_comes_in_parts_is_whole_in_the_end() {
    let _alone = alone();
    let rule = Rule::on("getrandom", Fault::Shorten(3)).arm().unwrap();
    let mut bytes = [0; 300];
    random::fill(&mut bytes).unwrap();
    drop(rule);
    assert!(bytes.chunks(32).all(|part| part.len() < 32 || part.iter().any(|&byte| byte != 0)));
}
