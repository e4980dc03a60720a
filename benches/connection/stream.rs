//! Messages of 4 KiB one way from process to process, each on its own core, as fast as the socket takes them.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::multiprocessing::connection::pipe;
use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::parties::Parties;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;

const LEN: usize = 4 << 10;
/// The number of messages in a burst, so many that its beginning counts little.
const MESSAGES: u64 = 4096;
const HEADER: usize = 4;
/// The party that sends.
const SENDER: usize = 1;

/// A job with one sender and one receiver.
fn job<'a>(parties: &mut Parties<'a>, send: impl Fn() + 'a, receive: impl Fn() + 'a) -> usize {
    parties.add(move |party, count| (0..count).for_each(|_| if party == SENDER { send() } else { receive() }))
}

/// Messages over a bare socket, each read in two parts of these lengths; a part without bytes is not read.
fn by_hand<'a>(parties: &mut Parties<'a>, reads: [usize; 2]) -> usize {
    let (near, far) = UnixStream::pair().expect("a pair");
    let message = vec![7; reads[0] + reads[1]];
    let place = RefCell::new(vec![0; reads[0] + reads[1]]);
    job(
        parties,
        move || (&near).write_all(&message).expect("a reader"),
        move || {
            let mut place = place.borrow_mut();
            let (header, payload) = place.split_at_mut(reads[0]);
            for part in [header, payload].into_iter().filter(|part| !part.is_empty()) {
                (&far).read_exact(part).expect("a message");
            }
            black_box(&place);
        },
    )
}

/// Runs the rows: into a new allocation and into a buffer, beside a bare socket without frames. The row `-floor` has
/// the frames by hand in place of ours: a header and a payload, which the receiver reads one after the other.
pub(crate) fn rows(bench: &Bench, cores: &[usize]) {
    let row = "one-way-4-KiB";
    if !bench.wants(row) || cores.len() < 2 {
        return;
    }
    machine::pin(cores);
    bench.placement();
    let ((near, far), (near_into, far_into)) = (pipe().expect("a pipe"), pipe().expect("a pipe"));
    let (message, place) = (vec![7; LEN], RefCell::new(vec![0; LEN]));
    let mut parties = Parties::on(&cores[..2]);
    let jobs = [
        (
            "bytes",
            job(
                &mut parties,
                || near.send_bytes(&message).expect("a reader"),
                || assert_eq!(black_box(far.recv_bytes().expect("a message")).len(), LEN),
            ),
        ),
        (
            "into",
            job(
                &mut parties,
                || near_into.send_bytes(&message).expect("a reader"),
                || assert_eq!(far_into.recv_bytes_into(&mut place.borrow_mut()).expect("a message"), LEN),
            ),
        ),
        ("framed", by_hand(&mut parties, [HEADER, LEN])),
        ("raw", by_hand(&mut parties, [0, LEN])),
    ];
    let parties = RefCell::new(parties);
    let mut rounds = Rounds::new();
    for (name, job) in jobs {
        let parties = &parties;
        rounds.add_burst(name, move |_| parties.borrow_mut().run(job, MESSAGES) / MESSAGES as f64);
    }
    let samples = rounds.run(bench.scaled(60), Duration::from_millis(1));
    let bar = Bar::AtMost(1.43); // 0.70 of its throughput
    bench.compare(&format!("{row}-bytes"), &samples, "bytes", "raw", bar);
    bench.compare(&format!("{row}-into"), &samples, "into", "raw", bar);
    bench.compare(&format!("{row}-floor"), &samples, "framed", "raw", bar);
}
