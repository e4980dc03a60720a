//! The ring: each message is received once, whichever participant dies at any step.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::futex::Limit;
use ossature_sys::model::ring::Ring;
use ossature_sys::model::{mourned, stopped};

use crate::explore_to;

/// More steps than any operation has.
const STEPS: u32 = 12;

/// The steps of a receiver until it has claimed its message.
const CLAIMED: u32 = 2;

/// The steps of a sender until it has reserved its record.
const RESERVED: u32 = 2;

/// Explores the model in a new ring and in a used one, where most calls succeed with their first check.
fn explore_both(switches: usize, model: impl Fn(Arc<Ring>) + Sync + Send + Copy + 'static) {
    for make in [Ring::new, Ring::used] {
        explore_to(switches, move || model(Arc::new(make(4))));
    }
}

#[test]
fn message_wakes_a_receiver() {
    explore_both(2, |ring| {
        let receiver = {
            let ring = ring.clone();
            thread::spawn(move || ring.join(1).recv(Limit::NEVER))
        };
        assert!(ring.join(2).send(7, 1, Limit::NEVER));
        assert_eq!(receiver.join().unwrap(), Some(7));
    });
}

#[test]
fn two_receivers_get_a_message_each() {
    explore_both(1, |ring| {
        let receivers = [1, 2].map(|who| {
            let ring = ring.clone();
            thread::spawn(move || ring.join(who).recv(Limit::NEVER).unwrap())
        });
        let mut sender = ring.join(3);
        assert!(sender.send(7, 1, Limit::NEVER) && sender.send(8, 2, Limit::NEVER));
        let [first, second] = receivers.map(|receiver| receiver.join().unwrap());
        assert_eq!(first + second, 15);
    });
}

#[test]
fn two_senders_share_the_room() {
    explore_both(2, |ring| {
        let sender = {
            let ring = ring.clone();
            thread::spawn(move || assert!(ring.join(1).send(7, 2, Limit::NEVER)))
        };
        assert!(ring.join(2).send(8, 2, Limit::NEVER));
        sender.join().unwrap();
        let mut receiver = ring.join(3);
        let got = [receiver.recv(Limit::NOW), receiver.recv(Limit::NOW), receiver.recv(Limit::NOW)];
        assert!(got == [Some(7), Some(8), None] || got == [Some(8), Some(7), None], "{got:?}");
    });
}

#[test]
fn full_ring_lets_its_sender_in_when_there_is_room() {
    explore_both(2, |ring| {
        assert!(ring.join(1).send(1, 3, Limit::NOW));
        let sender = {
            let ring = ring.clone();
            thread::spawn(move || assert!(ring.join(1).send(2, 3, Limit::NEVER)))
        };
        let mut receiver = ring.join(2);
        assert_eq!(receiver.recv(Limit::NEVER), Some(1));
        assert_eq!(receiver.recv(Limit::NEVER), Some(2));
        sender.join().unwrap();
    });
}

#[test]
fn messages_of_one_sender_keep_their_order() {
    explore_both(2, |ring| {
        let sender = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut sender = ring.join(1);
                assert!(sender.send(1, 1, Limit::NEVER) && sender.send(2, 1, Limit::NEVER));
            })
        };
        let mut receiver = ring.join(2);
        assert_eq!([receiver.recv(Limit::NEVER), receiver.recv(Limit::NEVER)], [Some(1), Some(2)]);
        sender.join().unwrap();
    });
}

/// The receiver sleeps, or is about to. A message that was sent reaches it, even if the sender died before the wake.
#[test]
fn sender_that_dies_leaves_nobody_asleep() {
    for steps in 0..STEPS {
        explore_both(2, move |ring| {
            let receiver = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv(Limit::NEVER).unwrap())
            };
            let sent = mourned(steps, ring.death_of(2), || ring.join(2).send(7, 1, Limit::NEVER));
            // Another message would wake the receiver.
            if sent.is_none() && ring.is_empty() {
                assert!(ring.join(3).send(8, 1, Limit::NEVER));
            }
            let got = receiver.join().unwrap();
            let left = ring.join(3).recv(Limit::NOW);
            match (sent, got, left) {
                (Some(true), 7, None) | (None, 8, None | Some(7)) | (None, 7, None | Some(8)) => {}
                other => panic!("{other:?}"),
            }
        });
    }
}

/// The sender is about to sleep when the receiver that has made room dies.
#[test]
fn receiver_that_dies_leaves_its_room_to_a_sender() {
    for steps in 0..STEPS {
        for claims in [false, true] {
            explore_both(2, move |ring| {
                assert!(ring.join(3).send(1, 3, Limit::NOW));
                let sender = {
                    let ring = ring.clone();
                    thread::spawn(move || ring.join(1).send(2, 3, Limit::NEVER))
                };
                let got = mourned(steps, ring.death_of(2), || {
                    let mut receiver = ring.join(2);
                    if claims { receiver.recv_claimed(Limit::NOW) } else { receiver.recv(Limit::NOW) }
                });
                // Another receiver would wake the sender.
                if got.is_none() && !ring.is_empty() {
                    assert!(ring.join(3).recv(Limit::NOW).is_some());
                }
                assert!(sender.join().unwrap());
            });
        }
    }
}

/// A sender has seen no room when a receiver makes some and dies. Another sender, which needs more, moves `head` to the
/// record of a producer that has stopped.
#[test]
fn sender_sees_the_room_before_a_record_of_a_stopped_producer() {
    for steps in 0..STEPS {
        explore_to(2, move || {
            let ring = Arc::new(Ring::new(4));
            assert!(ring.join(3).send(1, 2, Limit::NOW));
            let _ = stopped(RESERVED, || ring.join(3).send(2, 2, Limit::NOW));
            let sender = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).send(4, 2, Limit::NEVER))
            };
            let _ = mourned(steps, ring.death_of(2), || ring.join(2).recv(Limit::NOW));
            assert!(!ring.join(3).send(5, 3, Limit::NOW));
            // A receiver that finds nothing would wake the sender.
            if !ring.is_empty() {
                assert!(matches!(ring.join(3).recv(Limit::NOW), Some(1 | 4)));
            }
            assert!(sender.join().unwrap());
        });
    }
}

/// A thread that waits for fewer messages is about to sleep when the receiver of one dies.
#[test]
fn receiver_that_dies_leaves_nobody_who_waits_for_fewer_messages() {
    for steps in 0..STEPS {
        explore_both(2, move |ring| {
            assert!(ring.join(3).send(1, 1, Limit::NOW) && ring.join(3).send(2, 1, Limit::NOW));
            let waiter = {
                let ring = ring.clone();
                thread::spawn(move || ring.wait_until_below(2))
            };
            let got = mourned(steps, ring.death_of(2), || ring.join(2).recv(Limit::NOW));
            if got.is_none() && ring.len() == 2 {
                assert!(ring.join(3).recv(Limit::NOW).is_some());
            }
            assert!(waiter.join().unwrap());
        });
    }
}

/// A receiver and a sender sleep, or are about to, when the thread dies that closes the ring.
#[test]
fn closer_that_dies_leaves_nobody_asleep() {
    for steps in 0..STEPS + 8 {
        for is_full in [false, true] {
            explore_both(2, move |ring| {
                assert!(!is_full || ring.join(3).send(1, 3, Limit::NOW));
                let other = {
                    let ring = ring.clone();
                    thread::spawn(move || {
                        let mut other = ring.join(1);
                        if is_full {
                            assert!(!other.send(2, 3, Limit::NEVER))
                        } else {
                            assert_eq!(other.recv(Limit::NEVER), None)
                        }
                    })
                };
                let closed = mourned(steps, ring.death_of(2), || ring.close());
                if closed.is_none() && !ring.is_closed() {
                    ring.close();
                }
                other.join().unwrap();
            });
        }
    }
}

/// One of two receivers that copy a message dies. Then the other must not be the only one that a third watches.
#[test]
fn receiver_that_sleeps_watches_each_receiver_that_copies() {
    for steps in 0..STEPS {
        explore_to(2, move || {
            let ring = Arc::new(Ring::new(4));
            assert!(ring.join(3).send(7, 1, Limit::NOW) && ring.join(3).send(8, 1, Limit::NOW));
            let doomed = {
                let (ring, told) = (ring.clone(), ring.death_of(2));
                thread::spawn(move || mourned(steps, told, || ring.join(2).recv_claimed(Limit::NOW)))
            };
            // Has claimed a message, and never gives it back.
            let _ = stopped(CLAIMED, || ring.join(3).recv_claimed(Limit::NOW));
            let waiter = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv(Limit::NEVER).unwrap())
            };
            let got = doomed.join().unwrap();
            // The message of the one that stopped counts as well.
            if got != Some(None) && ring.len() < 2 {
                assert!(ring.join(3).send(9, 1, Limit::NOW));
            }
            assert!(matches!(waiter.join().unwrap(), 7..=9));
        });
    }
}

/// Another receiver sleeps, or is about to.
#[test]
fn receiver_that_dies_leaves_its_message_to_another() {
    for steps in 0..STEPS {
        explore_both(1, move |ring| {
            let other = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv(Limit::NEVER).unwrap())
            };
            let doomed = {
                let (ring, told) = (ring.clone(), ring.death_of(2));
                thread::spawn(move || mourned(steps, told, || ring.join(2).recv(Limit::NEVER).unwrap()))
            };
            let mut main = ring.join(3);
            assert!(main.send(7, 1, Limit::NEVER) && main.send(8, 1, Limit::NEVER));
            let first = doomed.join().unwrap();
            let second = other.join().unwrap();
            let left = main.recv(Limit::NOW);
            // Killed between its last change of the record and its return, it has the message with it.
            let got: Vec<u32> = first.into_iter().chain([second]).chain(left).collect();
            assert!(matches!(got[..], [7, 8] | [8, 7]) || first.is_none() && matches!(got[..], [7] | [8]), "{got:?}");
            assert_eq!(main.recv(Limit::NOW), None);
        });
    }
}

/// The waiting sender is woken by the death of another sender that has reserved a record.
#[test]
fn room_of_a_dead_sender_is_found() {
    for steps in 0..STEPS {
        explore_both(2, move |ring| {
            let waits = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).send(8, 3, Limit::NEVER))
            };
            let sent = mourned(steps, ring.death_of(2), || ring.join(2).send(7, 3, Limit::NOW));
            let mut receiver = ring.join(3);
            if let Some(true) = sent {
                assert!(receiver.recv(Limit::NEVER).is_some());
            } else {
                while receiver.recv(Limit::NOW).is_some() {}
            }
            while let Some(_) = receiver.recv(Limit::NOW) {}
            assert!(waits.join().unwrap());
        });
    }
}

/// One receiver copies the message while the other takes it, and its room is written again.
#[test]
fn copy_that_comes_too_late_counts_for_nothing() {
    explore_both(2, |ring| {
        let mut main = ring.join(3);
        assert!(main.send(1, 3, Limit::NOW));
        let receivers = [false, true].map(|claims| {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut receiver = ring.join(1 + u32::from(claims));
                if claims { receiver.recv_claimed(Limit::NOW) } else { receiver.recv(Limit::NOW) }
            })
        });
        let again = main.send(2, 3, Limit::NOW);
        let mut got: Vec<u32> = receivers.into_iter().filter_map(|receiver| receiver.join().unwrap()).collect();
        got.extend(main.recv(Limit::NOW));
        got.sort_unstable();
        assert_eq!(got, if again { &[1, 2][..] } else { &[1] });
    });
}

/// A receiver that has claimed its message dies before the record is given back.
#[test]
fn receiver_that_dies_with_a_claim_leaves_its_message_to_another() {
    for steps in 0..STEPS {
        explore_both(1, move |ring| {
            let doomed = {
                let (ring, told) = (ring.clone(), ring.death_of(2));
                thread::spawn(move || mourned(steps, told, || ring.join(2).recv_claimed(Limit::NOW)))
            };
            let mut main = ring.join(3);
            assert!(main.send(7, 1, Limit::NEVER));
            let other = ring.join(1).recv(Limit::NOW);
            let first = doomed.join().unwrap();
            let left = main.recv(Limit::NOW);
            // Killed between its last change of the record and its return, it has the message with it.
            let got: Vec<u32> = first.flatten().into_iter().chain(other).chain(left).collect();
            assert!(got == [7] || first.is_none() && got.is_empty(), "{got:?}");
        });
    }
}

/// The other receiver is about to sleep when the receiver that has claimed the message dies.
#[test]
fn receiver_that_sleeps_hears_of_the_death_beside_a_claim() {
    for steps in 0..STEPS {
        explore_both(2, move |ring| {
            assert!(ring.join(3).send(7, 1, Limit::NEVER));
            let other = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv(Limit::NEVER).unwrap())
            };
            let first = mourned(steps, ring.death_of(2), || ring.join(2).recv_claimed(Limit::NOW));
            // Killed behind its last change of the record, the doomed one has the message with it.
            if first != Some(None) && ring.is_empty() {
                assert!(ring.join(3).send(8, 1, Limit::NEVER));
            }
            assert!(matches!(other.join().unwrap(), 7 | 8));
        });
    }
}

/// A sender either finds the ring closed, or its message is received.
#[test]
fn closing_loses_no_message() {
    explore_both(2, |ring| {
        let sender = {
            let ring = ring.clone();
            thread::spawn(move || ring.join(1).send(7, 1, Limit::NEVER))
        };
        let closer = {
            let ring = ring.clone();
            thread::spawn(move || ring.close())
        };
        let mut receiver = ring.join(2);
        let mut got = 0;
        while receiver.recv(Limit::NEVER).is_some() {
            got += 1;
        }
        closer.join().unwrap();
        assert_eq!(sender.join().unwrap(), got == 1);
    });
}

#[test]
fn watcher_hears_of_a_message() {
    explore_both(2, |ring| {
        ring.be_watched();
        let watcher = {
            let ring = ring.clone();
            thread::spawn(move || [(); 2].map(|()| ring.join(1).recv_watching().unwrap()))
        };
        let mut sender = ring.join(2);
        assert!(sender.send(7, 1, Limit::NEVER) && sender.send(8, 1, Limit::NEVER));
        assert_eq!(watcher.join().unwrap(), [7, 8]);
    });
}

/// The watcher begins after the message was sent.
#[test]
fn watcher_that_comes_late_hears_of_a_message() {
    explore_both(2, |ring| {
        let sender = {
            let ring = ring.clone();
            thread::spawn(move || assert!(ring.join(2).send(7, 1, Limit::NEVER)))
        };
        ring.be_watched();
        assert_eq!(ring.join(1).recv_watching(), Some(7));
        sender.join().unwrap();
    });
}

#[test]
fn watcher_hears_of_a_message_whose_sender_died() {
    for steps in 0..STEPS + 4 {
        explore_both(2, move |ring| {
            ring.be_watched();
            let watcher = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv_watching().unwrap())
            };
            let sent = mourned(steps, ring.death_of(2), || ring.join(2).send(7, 1, Limit::NEVER));
            if sent.is_none() && ring.is_empty() {
                // It was not sent, or the watcher has it.
                assert!(ring.join(3).send(8, 1, Limit::NEVER));
            }
            assert!(matches!(watcher.join().unwrap(), 7 | 8));
        });
    }
}

#[test]
fn watcher_hears_of_a_message_whose_receiver_died() {
    for steps in 0..STEPS {
        explore_both(1, move |ring| {
            ring.be_watched();
            assert!(ring.join(3).send(7, 1, Limit::NEVER));
            let watcher = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv_watching().unwrap())
            };
            let got = mourned(steps, ring.death_of(2), || ring.join(2).recv_claimed(Limit::NOW));
            // Killed behind its last change of the record, the doomed one has the message with it.
            if got != Some(None) && ring.is_empty() {
                assert!(ring.join(3).send(8, 1, Limit::NEVER));
            }
            assert!(matches!(watcher.join().unwrap(), 7 | 8));
        });
    }
}

#[test]
fn watcher_hears_of_the_end() {
    for steps in 0..STEPS + 4 {
        explore_both(2, move |ring| {
            ring.be_watched();
            let watcher = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv_watching())
            };
            let closed = mourned(steps, ring.death_of(2), || ring.close());
            if closed.is_none() && !ring.is_closed() {
                ring.close();
            }
            assert_eq!(watcher.join().unwrap(), None);
        });
    }
}

/// A participant that saw the first holder of a number dead may meet the second holder in the same record.
#[test]
fn number_that_is_used_again_loses_and_repeats_no_message() {
    for steps in 0..STEPS {
        explore_both(2, move |ring| {
            assert!(ring.join(3).send(7, 1, Limit::NEVER));
            let slow = {
                let ring = ring.clone();
                thread::spawn(move || ring.join(1).recv(Limit::NOW))
            };
            let first = mourned(steps, ring.death_of(2), || ring.join(2).recv_claimed(Limit::NOW));
            let mut got = vec![first.flatten()];
            if first.is_none() {
                ring.reclaim(2);
                got.push(ring.join(2).recv_claimed(Limit::NOW));
            }
            got.push(slow.join().unwrap());
            got.push(ring.join(3).recv(Limit::NOW));
            // Killed behind its last change of the record, the first has the message with it.
            let times = got.iter().flatten().count();
            assert!(times == 1 || times == 0 && first.is_none(), "{got:?}");
        });
    }
}
