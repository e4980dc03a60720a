//! 64 bytes from one process to another, each on its own core.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ipc_channel::ipc;
use ossature_benches::bench::Bench;
use ossature_benches::parties::Parties;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Participant, Ring};

use crate::MESSAGES;
use crate::ice::{Small, Way};
use crate::spsc::Spsc;

/// The number of messages in one send in the row of batches.
const BATCH: usize = 32;
const LEN: usize = size_of::<Small>();
/// Capacity for 4096 of this crate's messages, which is more than fits into a core's nearest cache, as for the others.
const CAPACITY: usize = 256 << 10;

/// The party that sends.
pub const SENDER: usize = 1;

/// A job with one sender and one receiver.
pub fn job<'a>(parties: &mut Parties<'a>, send: impl Fn(u64) + 'a, receive: impl Fn(u64) + 'a) -> usize {
    parties.add(move |party, count| if party == SENDER { send(count) } else { receive(count) })
}

pub fn receive_all(user: &mut Participant<&Ring>, count: u64) {
    let mut bytes = [0; LEN];
    for _ in 0..count {
        assert_eq!(user.recv(&mut bytes).expect("a message").len, LEN);
        black_box(&bytes);
    }
}

pub fn rows(bench: &Bench, cores: [usize; 2]) {
    if !bench.wants("one-way-64") {
        return;
    }
    let (single, batched) = (Ring::new(CAPACITY).expect("a ring"), Ring::new(CAPACITY).expect("a ring"));
    let single = RefCell::new(single.join().expect("a place"));
    let batched = RefCell::new(batched.join().expect("a place"));
    let (one, many) = (Way::<Small>::new(1), Way::<Small>::new(8));
    let hand = Spsc::shared();
    let (pipe_out, pipe_in) = std::io::pipe().expect("a pipe");
    let (near, far) = UnixStream::pair().expect("a pair");
    let (ipc_in, ipc_out) = ipc::bytes_channel().expect("a channel");
    let mut parties = Parties::on(&cores);
    let message = [7; LEN];
    let jobs = [
        (
            "ring",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| single.borrow_mut().send(&message).expect("room")),
                |count| receive_all(&mut single.borrow_mut(), count),
            ),
        ),
        (
            "ring-batched",
            job(
                &mut parties,
                |count| {
                    let batch = [message; BATCH];
                    let mut sent = 0;
                    while sent < count as usize {
                        let some = &batch[..BATCH.min(count as usize - sent)];
                        sent += batched.borrow_mut().send_batch(some, Limit::NEVER).expect("room");
                    }
                },
                |count| receive_all(&mut batched.borrow_mut(), count),
            ),
        ),
        ("iceoryx2", one_way(&mut parties, |message| one.send(message), || one.receive())),
        ("iceoryx2-many", one_way(&mut parties, |message| many.send(message), || many.receive())),
        ("by-hand", one_way(&mut parties, |message| hand.send(&message), || hand.receive())),
        (
            "pipe",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| (&pipe_in).write_all(&message).expect("a reader")),
                |count| (0..count).for_each(|_| (&pipe_out).read_exact(&mut [0; LEN]).expect("a writer")),
            ),
        ),
        (
            "socketpair",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| (&far).write_all(&message).expect("a reader")),
                |count| (0..count).for_each(|_| (&near).read_exact(&mut [0; LEN]).expect("a writer")),
            ),
        ),
        (
            "ipc-channel",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| ipc_in.send(&message).expect("a reader")),
                |count| (0..count).for_each(|_| assert_eq!(ipc_out.recv().expect("a writer").len(), LEN)),
            ),
        ),
    ];
    let parties = RefCell::new(parties);
    let mut rounds = Rounds::new();
    for (name, job) in jobs {
        let parties = &parties;
        rounds.add_burst(name, move |_| parties.borrow_mut().run(job, MESSAGES) / MESSAGES as f64);
    }
    let samples = rounds.run(bench.scaled(100), crate::ANY);
    let row = "one-way-64";
    bench.compare(&format!("{row}-batched"), &samples, "ring-batched", "iceoryx2", Bar::AtMost(0.15));
    bench.compare(row, &samples, "ring", "iceoryx2-many", Bar::AtMost(0.30));
    bench.compare(row, &samples, "ring", "ipc-channel", Bar::AtMost(0.15));
    bench.compare(row, &samples, "ring", "pipe", Bar::AtMost(1.0));
    bench.compare(row, &samples, "ring", "socketpair", Bar::AtMost(1.0));
    // What the cache line takes: no sleep, no death, one sender, one receiver.
    bench.compare(&format!("{row}-floor"), &samples, "by-hand", "iceoryx2", Bar::AtMost(1.0));
}

fn one_way<'a>(parties: &mut Parties<'a>, send: impl Fn(Small) + 'a, receive: impl Fn() -> Small + 'a) -> usize {
    job(
        parties,
        move |count| (0..count).for_each(|turn| send([turn; 8])),
        move |count| {
            for _ in 0..count {
                black_box(receive());
            }
        },
    )
}
