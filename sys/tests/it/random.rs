//! Randomness: it fills the whole buffer, and never repeats.

use ossature_sys::random;

#[test]
fn every_part_of_a_long_buffer_is_filled() {
    let mut bytes = vec![0; 1 << 20];
    random::fill(&mut bytes).unwrap();
    // 32 zero bytes in a row come by chance once in 2^256.
    assert!(bytes.chunks(32).all(|part| part.iter().any(|&byte| byte != 0)));
    random::fill(&mut []).unwrap();
}

#[test]
fn no_two_answers_are_the_same() {
    let mut answers = [[0; 16]; 64];
    answers.iter_mut().for_each(|answer| random::fill(answer).unwrap());
    answers.sort_unstable();
    assert!(answers.windows(2).all(|two| two[0] != two[1]));
}
