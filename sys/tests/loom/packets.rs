//! Packets beside a ring: each arrives with its own token, in its place, whichever participant dies at any step.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::futex::Limit;
use ossature_sys::model::mourned;
use ossature_sys::model::ring::{Packets, Ring};

use crate::{explore, explore_to};

/// More steps than any operation has.
const STEPS: u32 = 24;

fn made() -> (Arc<Ring>, Packets) {
    (Arc::new(Ring::new(8)), Packets::new())
}

/// Reports a death to the others: in the ring, and as the kernel does, which marks the lock.
fn death_of(ring: &Ring, packets: &Packets, who: u32) -> impl FnOnce() + 'static {
    let (first, second) = (ring.death_of(who), packets.death_of(who));
    || {
        first();
        second();
    }
}

#[test]
fn packet_and_message_of_one_sender_keep_their_order() {
    explore(|| {
        let (ring, packets) = made();
        let receiver = {
            let (ring, packets) = (ring.clone(), packets.clone());
            thread::spawn(move || {
                let mut receiver = ring.join(1);
                [(); 3].map(|()| receiver.recv_packet(&packets, Limit::NEVER).unwrap())
            })
        };
        let mut sender = ring.join(2);
        assert!(sender.send(1, 1, Limit::NEVER));
        assert!(sender.send_packet(&packets, 2, Limit::NEVER));
        assert!(sender.send(3, 1, Limit::NEVER));
        assert_eq!(receiver.join().unwrap(), [1, 2, 3]);
    });
}

/// Both receivers sleep, or are about to, or meet at the sockets.
#[test]
fn two_receivers_get_a_packet_each() {
    explore_to(1, || {
        let (ring, packets) = made();
        let receivers = [1, 2].map(|who| {
            let (ring, packets) = (ring.clone(), packets.clone());
            thread::spawn(move || ring.join(who).recv_packet(&packets, Limit::NEVER).unwrap())
        });
        let mut sender = ring.join(3);
        assert!(sender.send_packet(&packets, 7, Limit::NEVER) && sender.send_packet(&packets, 8, Limit::NEVER));
        let [first, second] = receivers.map(|receiver| receiver.join().unwrap());
        assert_eq!((first + second, packets.len()), (15, 0));
    });
}

/// The dead sender's packet comes first or not at all, and the others follow in order.
#[test]
fn sender_that_dies_leaves_no_packet_to_another_token() {
    for steps in 0..STEPS {
        explore_to(1, move || {
            let (ring, packets) = made();
            assert!(ring.join(3).send_packet(&packets, 5, Limit::NOW));
            let receiver = {
                let (ring, packets) = (ring.clone(), packets.clone());
                thread::spawn(move || {
                    let mut receiver = ring.join(1);
                    let mut got = Vec::new();
                    while got.last() != Some(&9) {
                        got.push(receiver.recv_packet(&packets, Limit::NEVER).unwrap());
                    }
                    got
                })
            };
            let told = death_of(&ring, &packets, 2);
            let sent = mourned(steps, told, || ring.join(2).send_packet(&packets, 6, Limit::NEVER));
            let mut other = ring.join(3);
            assert!(other.send_packet(&packets, 7, Limit::NEVER));
            assert!(other.send(8, 1, Limit::NEVER));
            assert!(other.send_packet(&packets, 9, Limit::NEVER));
            let got = receiver.join().unwrap();
            assert!(got == [5, 6, 7, 8, 9] || sent.is_none() && got == [5, 7, 8, 9], "{got:?}");
            assert!(packets.is_empty(), "its descriptors are closed");
        });
    }
}

/// Another receiver sleeps, or is about to, or goes past the tokens of the receiver that dies.
#[test]
fn receiver_that_dies_loses_at_most_its_own_packet() {
    for steps in 0..STEPS {
        explore_to(1, move || {
            let (ring, packets) = made();
            let other = {
                let (ring, packets) = (ring.clone(), packets.clone());
                thread::spawn(move || ring.join(1).recv_packet(&packets, Limit::NEVER).unwrap())
            };
            let doomed = {
                let (ring, packets, told) = (ring.clone(), packets.clone(), death_of(&ring, &packets, 2));
                thread::spawn(move || {
                    mourned(steps, told, || ring.join(2).recv_packet(&packets, Limit::NEVER).unwrap())
                })
            };
            let mut main = ring.join(3);
            assert!(main.send_packet(&packets, 7, Limit::NEVER) && main.send_packet(&packets, 8, Limit::NEVER));
            let first = doomed.join().unwrap();
            let second = other.join().unwrap();
            let left = main.recv_packet(&packets, Limit::NOW);
            let got: Vec<u32> = first.into_iter().chain([second]).chain(left).collect();
            assert!(matches!(got[..], [7, 8] | [8, 7]) || first.is_none() && matches!(got[..], [7] | [8]), "{got:?}");
            assert_eq!((main.recv_packet(&packets, Limit::NOW), packets.len()), (None, 0));
        });
    }
}

/// The token of a packet that is lost gets no other packet.
#[test]
fn packet_comes_behind_the_message_before_whoever_died() {
    for steps in 0..STEPS {
        explore(move || {
            let (ring, packets) = made();
            let mut sender = ring.join(3);
            assert!(sender.send_packet(&packets, 7, Limit::NOW));
            let told = death_of(&ring, &packets, 2);
            let first = mourned(steps, told, || ring.join(2).recv_packet(&packets, Limit::NOW).unwrap());
            assert!(sender.send(8, 1, Limit::NOW) && sender.send_packet(&packets, 9, Limit::NOW));
            let mut receiver = ring.join(1);
            let left: Vec<u32> = std::iter::from_fn(|| receiver.recv_packet(&packets, Limit::NOW)).collect();
            assert!(left == [8, 9] || first.is_none() && left == [7, 8, 9], "{first:?}, then {left:?}");
        });
    }
}

/// While one receiver takes the packet, the other gets the message at once.
#[test]
fn receiver_of_a_packet_keeps_no_message_from_another() {
    explore(|| {
        let (ring, packets) = made();
        let mut main = ring.join(3);
        assert!(main.send_packet(&packets, 7, Limit::NEVER) && main.send(8, 1, Limit::NEVER));
        let receiver = {
            let (ring, packets) = (ring.clone(), packets.clone());
            thread::spawn(move || ring.join(1).recv_packet(&packets, Limit::NOW))
        };
        let mut got = vec![main.recv_packet(&packets, Limit::NOW)];
        assert!(got[0].is_some());
        got.push(receiver.join().unwrap());
        got.push(main.recv_packet(&packets, Limit::NOW));
        let mut got: Vec<u32> = got.into_iter().flatten().collect();
        got.sort_unstable();
        assert_eq!(got, [7, 8]);
    });
}
