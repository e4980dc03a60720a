//! A ring against a list: what is sent is received once, whole and in order, and an empty ring takes every message.
#![no_main]

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Participant, Ring, RingError};

#[derive(Arbitrary, Debug)]
enum Step {
    Send(u32, u32),
    Batch(Vec<u16>),
    /// A record that is open while the other participant goes on.
    Open(u16, Vec<Step>, bool),
    Receive(u16),
    Read(u8),
    Count,
    Leave,
}
use Step::*;

const CAPACITY: usize = 64 << 10;

type Model = VecDeque<(Vec<u8>, u32)>;

fn message(len: usize, number: &mut u8) -> Vec<u8> {
    *number = number.wrapping_add(1);
    vec![*number; len]
}

fn play<'r>(
    ring: &'r Ring,
    users: &mut [Participant<&'r Ring>],
    steps: Vec<Step>,
    model: &mut Model,
    number: &mut u8,
    depth: u8,
) {
    let Some((user, others)) = users.split_first_mut() else { return };
    for step in steps {
        let empty = model.is_empty() && depth == 0;
        match step {
            Send(len, tag) => {
                let bytes = message(len as usize % (CAPACITY + 2), number);
                match user.send_tagged(&bytes, tag, Limit::NOW) {
                    Ok(true) => model.push_back((bytes, tag)),
                    Ok(false) => assert!(!empty, "an empty ring has room"),
                    Err(error) => assert_eq!(error, RingError::TooLong { len: bytes.len(), max: CAPACITY }),
                }
            }
            Batch(lens) => {
                let messages: Vec<_> = lens.iter().map(|&len| message(len as usize % 3000, number)).collect();
                let sent = user.send_batch(&messages, Limit::NOW).unwrap();
                assert!(sent > 0 || !empty || messages.is_empty());
                model.extend(messages.into_iter().take(sent).map(|bytes| (bytes, 0)));
            }
            Open(len, steps, publish) if depth == 0 && !others.is_empty() => {
                let Some(mut record) = user.reserve_timeout(len.into(), Limit::NOW).unwrap() else {
                    assert!(!empty);
                    continue;
                };
                let bytes = message(len.into(), number);
                record.copy_from_slice(&bytes);
                let border = play_beside(ring, others, steps, model, number);
                if publish {
                    record.publish().unwrap();
                    model.insert(border, (bytes, 0));
                } else {
                    drop(record);
                }
            }
            Open(..) => {}
            Receive(len) => {
                let mut bytes = vec![0; len.into()];
                match (user.recv_timeout(&mut bytes, Limit::NOW), model.front()) {
                    (Ok(None), None) => {}
                    (Err(RingError::TooSmall { needed }), Some((expected, _))) => {
                        assert!(needed == expected.len() && needed > bytes.len());
                    }
                    (Ok(Some(received)), Some((expected, tag))) => {
                        assert_eq!((&bytes[..received.len], received.tag), (&expected[..], *tag));
                        model.pop_front();
                    }
                    (got, expected) => panic!("{got:?} instead of {:?}", expected.map(|(bytes, _)| bytes.len())),
                }
            }
            Read(count) => {
                for _ in 0..count {
                    let got = user.read_timeout(Limit::NOW).unwrap().map(|message| (message.to_vec(), message.tag()));
                    assert_eq!(got, model.pop_front());
                }
            }
            Count => assert_eq!(ring.len().unwrap(), model.len()),
            Leave => *user = ring.join().unwrap(),
        }
    }
}

/// The steps of the other participant beside an open record. Says how many messages stand before the record then.
fn play_beside<'r>(
    ring: &'r Ring,
    users: &mut [Participant<&'r Ring>],
    steps: Vec<Step>,
    model: &mut Model,
    number: &mut u8,
) -> usize {
    let mut border = model.len();
    for step in steps {
        let (before, takes) = (model.len(), matches!(step, Receive(_) | Read(_)));
        play(ring, users, vec![step], model, number, 1);
        if takes {
            border = border.saturating_sub(before - model.len());
        }
    }
    border
}

fuzz_target!(|steps: Vec<Step>| {
    let ring = Ring::new(CAPACITY).unwrap();
    let mut users = [ring.join().unwrap(), ring.join().unwrap()];
    let (mut model, mut number) = (Model::new(), 0);
    play(&ring, &mut users, steps, &mut model, &mut number, 0);
    let [user, _] = &mut users;
    for (expected, tag) in model {
        let message = user.read_timeout(Limit::NOW).unwrap().expect("what was sent is there");
        assert_eq!((&*message, message.tag()), (&expected[..], tag));
    }
    assert!(ring.is_empty().unwrap() && ring.blocked_by().unwrap().is_none());
});
