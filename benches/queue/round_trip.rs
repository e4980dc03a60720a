//! The round trip of a message: while both are awake on two cores, on one core, and after a move between them.

use std::cell::{Cell, RefCell};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::time::Duration;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::pair::{Pair, monotonic};
use ossature_benches::parties::Parties;
use ossature_benches::placement::Placement;
use ossature_benches::report::Bar;
use ossature_benches::rounds::{Rounds, Samples};
use ossature_sys::sync::ring::{Participant, Ring};

use crate::floors::{OneLine, TwoWords};
use crate::ice::Way;
use crate::spsc::Spsc;

type Mailbox<'r> = RefCell<Participant<&'r Ring>>;

fn rings() -> [Ring; 2] {
    [(); 2].map(|()| Ring::new(64 << 10).expect("a ring"))
}

fn mailboxes(rings: &[Ring; 2]) -> [Mailbox<'_>; 2] {
    rings.each_ref().map(|ring| RefCell::new(ring.join().expect("a place")))
}

fn post<const LEN: usize>(mailbox: &Mailbox<'_>) {
    mailbox.borrow_mut().send(&[7; LEN]).expect("room");
}

fn take<const LEN: usize>(mailbox: &Mailbox<'_>) {
    assert_eq!(mailbox.borrow_mut().recv(&mut [0; LEN]).expect("a message").len, LEN);
}

/// Two pipes, one in each direction.
fn pipes() -> [(PipeReader, PipeWriter); 2] {
    [(); 2].map(|()| std::io::pipe().expect("a pipe"))
}

fn run(bench: &Bench, mut pair: Pair<'_>, jobs: &[(&'static str, usize)], rounds: usize, span: Duration) -> Samples {
    let mut samples = Samples::of_names(jobs.iter().map(|(name, _)| *name));
    for (_, job) in jobs {
        // Both sides meet the memory, and what adapts meets the machine.
        pair.run(*job, span);
    }
    for round in 0..bench.scaled(rounds) {
        for turn in 0..jobs.len() {
            let (name, job) = jobs[(turn + round) % jobs.len()];
            samples.push(name, pair.run(job, span).each);
        }
    }
    samples
}

/// Measures two processes, each on its own core and both awake: the time of one direction.
pub fn two_cores(bench: &Bench, cores: [usize; 2], placement: Placement) {
    let near = placement.is_near();
    both_awake::<8, u64>(bench, cores, Bar::AtMost(if near { 0.35 } else { 0.75 }), 0);
    both_awake::<64, [u64; 8]>(bench, cores, Bar::AtMost(if near { 0.45 } else { 0.75 }), [0; 8]);
}

fn both_awake<const LEN: usize, P>(bench: &Bench, cores: [usize; 2], bar: Bar, message: P)
where
    P: iceoryx2::prelude::ZeroCopySend + std::fmt::Debug + Copy + 'static,
{
    let row = format!("round-trip-{LEN}-awake");
    if !bench.wants(&row) {
        return;
    }
    let rings = rings();
    let boxes = mailboxes(&rings);
    let ways = [Way::<P>::new(1), Way::<P>::new(1)];
    let lines = [(); 2].map(|()| OneLine::shared());
    let hands = [(); 2].map(|()| Spsc::shared());
    let mut pair = Pair::on(cores);
    // The least of it: a line for a number, and two lines for a longer message.
    let by_hand = match LEN {
        8 => pair.exchange(|to| lines[to].post(), |at| lines[at].take()),
        _ => pair.exchange(|to| hands[to].send(&[7; 8]), |at| _ = hands[at].receive()),
    };
    let jobs = [
        ("ring", pair.exchange(|to| post::<LEN>(&boxes[to]), |at| take::<LEN>(&boxes[at]))),
        ("by-hand", by_hand),
        ("iceoryx2", pair.exchange(|to| ways[to].send(message), |at| _ = ways[at].receive())),
    ];
    // Long enough for what adapts to be of no account.
    let samples = run(bench, pair, &jobs, 60, Duration::from_millis(20));
    bench.compare(&row, &samples, "ring", "iceoryx2", bar);
    bench.compare(&format!("{row}-floor"), &samples, "by-hand", "iceoryx2", Bar::AtMost(1.0));
}

/// Measures two processes on one core, so that one of them sleeps.
pub fn one_core(bench: &Bench, core: usize) {
    one_core_of::<8>(bench, core);
    one_core_of::<64>(bench, core);
}

fn one_core_of<const LEN: usize>(bench: &Bench, core: usize) {
    let row = format!("round-trip-{LEN}-one-core");
    if !bench.wants(&row) {
        return;
    }
    let rings = rings();
    let boxes = mailboxes(&rings);
    let pipes = pipes();
    let words = [(); 2].map(|()| TwoWords::shared());
    let mut pair = Pair::on([core, core]);
    let jobs = [
        ("two-words", pair.exchange(|to| words[to].post(), |at| words[at].take())),
        ("ring", pair.exchange(|to| post::<LEN>(&boxes[to]), |at| take::<LEN>(&boxes[at]))),
        ("pipe", pair.exchange(|to| write::<LEN>(&pipes[to].1), |at| read::<LEN>(&pipes[at].0))),
    ];
    let samples = run(bench, pair, &jobs, 60, Duration::from_millis(10));
    // What the kernel takes for a sleeper that hears of a death.
    bench.compare(&format!("{row}-floor"), &samples, "two-words", "pipe", Bar::AtMost(1.0));
    let bar = Bar::above_floor(1.05, samples.ratio("two-words", "pipe"));
    bench.compare(&row, &samples, "ring", "pipe", bar);
}

fn write<const LEN: usize>(mut pipe: &PipeWriter) {
    pipe.write_all(&[7; LEN]).expect("a reader");
}

fn read<const LEN: usize>(mut pipe: &PipeReader) {
    pipe.read_exact(&mut [0; LEN]).expect("a writer");
}

/// The number of turns before the move, and again between the move and the measurement.
const BEFORE: u64 = 512;
const ADAPTS: u64 = 256;
/// The number of measured turns.
const TURNS: u64 = 1000;

/// Measures the round trip after one process moved to the other's core, or away from it, 256 turns ago.
pub fn after_a_move(bench: &Bench, [here, there]: [usize; 2]) {
    for (row, from, to) in [("moved-to-one-core", there, here), ("moved-to-two-cores", here, there)] {
        if bench.wants(row) {
            moved(bench, row, here, from, to);
        }
    }
}

fn moved(bench: &Bench, row: &str, here: usize, from: usize, to: usize) {
    let rings = rings();
    let boxes = mailboxes(&rings);
    let pipes = pipes();
    let words = [(); 2].map(|()| TwoWords::shared());
    let ways = [Way::<u64>::new(1), Way::<u64>::new(1)];
    let spent = Cell::new(0.0);
    let mut parties = Parties::on(&[here, from]);
    let ring = turns(&mut parties, &spent, (from, to), |to| post::<8>(&boxes[to]), |at| take::<8>(&boxes[at]));
    let pipe = turns(&mut parties, &spent, (from, to), |to| write::<8>(&pipes[to].1), |at| read::<8>(&pipes[at].0));
    let two_words = turns(&mut parties, &spent, (from, to), |to| words[to].post(), |at| words[at].take());
    let ice = turns(&mut parties, &spent, (from, to), |to| ways[to].send(0), |at| _ = ways[at].receive());
    let one_core = to == here;
    let (rival, theirs) = if one_core { ("pipe", pipe) } else { ("iceoryx2", ice) };
    let parties = RefCell::new(parties);
    let mut rounds = Rounds::new();
    for (name, job) in [("ring", ring), ("two-words", two_words), (rival, theirs)] {
        let (parties, spent) = (&parties, &spent);
        rounds.add_burst(name, move |_| {
            parties.borrow_mut().run(job, TURNS);
            spent.get() / (2 * TURNS) as f64
        });
    }
    let samples = rounds.run(bench.scaled(60), crate::ANY);
    let asked = if one_core { 1.05 } else { 0.75 };
    let bar = if one_core { Bar::above_floor(asked, samples.ratio("two-words", rival)) } else { Bar::AtMost(asked) };
    bench.compare(row, &samples, "ring", rival, bar);
}

/// A job in which the second party moves; the first records the time of the turns after the move.
fn turns<'a>(
    parties: &mut Parties<'a>,
    spent: &'a Cell<f64>,
    (from, to): (usize, usize),
    post: impl Fn(usize) + 'a,
    take: impl Fn(usize) + 'a,
) -> usize {
    parties.add(move |party, count| {
        let turns = |count: u64| {
            for _ in 0..count {
                if party == 0 {
                    post(1);
                    take(0);
                } else {
                    take(1);
                    post(0);
                }
            }
        };
        let stand = |core| {
            if party == 1 {
                machine::pin(&[core]);
            }
        };
        stand(from);
        turns(BEFORE);
        stand(to);
        turns(ADAPTS);
        let start = monotonic();
        turns(count);
        if party == 0 {
            spent.set((monotonic() - start) as f64);
        }
    })
}
