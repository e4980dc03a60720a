//! What calls cost over a server, beside a local pool and beside the bare commands by hand, in the same run:
//! `cargo run --release -p ossature-redis --example rate`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use ossature::multiprocessing::{Context, Tasks, freeze_support, tasks};
use ossature_redis::{Pool, worker_support};
use redis::{Connection, Value, cmd, pipe};
use support::{Server, until, worker};

fn square(number: u64) -> u64 {
    number * number
}

fn millisecond(number: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(1));
    number
}

static TASKS: Tasks = tasks![square, millisecond];

/// How many calls each measurement makes; a hundredth of them for a test of this program.
fn count(calls: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--self-test") { calls / 100 } else { calls }
}

fn connection(server: &Server) -> Connection {
    redis::Client::open(server.url()).unwrap().get_connection().unwrap()
}

/// A worker by hand: takes a record of numbers, and answers with their squares.
fn serve_by_hand(mut line: Connection) {
    loop {
        let mut read = cmd("XREADGROUP");
        read.arg(&["GROUP", "w", "hand", "COUNT", "1", "BLOCK", "1000", "STREAMS", "hand", ">"]);
        type Found = Option<Vec<(String, Vec<(String, Vec<(String, Vec<u8>)>)>)>>;
        let Ok(Some(found)) = read.query::<Found>(&mut line) else { return };
        for (id, fields) in &found[0].1 {
            let numbers = fields[0].1.chunks_exact(8);
            let squares: Vec<u8> =
                numbers.flat_map(|n| square(u64::from_le_bytes(n.try_into().unwrap())).to_le_bytes()).collect();
            let mut answer = pipe();
            answer.cmd("XACK").arg("hand").arg("w").arg(id).ignore();
            answer.cmd("XDEL").arg("hand").arg(id).ignore();
            answer.cmd("XADD").arg("answers").arg("*").arg("r").arg(squares).ignore();
            answer.query::<()>(&mut line).unwrap();
        }
    }
}

/// Takes answers until there are so many.
fn take_by_hand(line: &mut Connection, records: usize) {
    let mut taken = 0;
    while taken < records {
        type Found = Option<Vec<(String, Vec<(String, Value)>)>>;
        let mut read = cmd("XREAD");
        read.arg(&["COUNT", "256", "BLOCK", "1000", "STREAMS", "answers", "0"]);
        let Some(found) = read.query::<Found>(line).unwrap() else { continue };
        let mut delete = cmd("XDEL");
        delete.arg("answers");
        for (id, _) in &found[0].1 {
            delete.arg(id);
        }
        delete.query::<()>(line).unwrap();
        taken += found[0].1.len();
    }
}

/// Calls a second by hand, fifty to a record.
fn by_hand(server: &Server, calls: u64) -> f64 {
    let (mut line, mut answers) = (connection(server), connection(server));
    let begun = Instant::now();
    std::thread::scope(|threads| {
        let taking = threads.spawn(|| take_by_hand(&mut answers, calls as usize / 50));
        for batch in (0..calls / 50).collect::<Vec<_>>().chunks(64) {
            let mut add = pipe();
            for record in batch {
                let numbers: Vec<u8> = (record * 50..record * 50 + 50).flat_map(u64::to_le_bytes).collect();
                add.cmd("XADD").arg("hand").arg("*").arg("b").arg(numbers).ignore();
            }
            add.query::<()>(&mut line).unwrap();
        }
        taking.join().unwrap();
    });
    calls as f64 / begun.elapsed().as_secs_f64()
}

/// The median and the 99th of a hundred.
fn times(count: u64, mut call: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count.max(10))
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn main() {
    freeze_support(TASKS);
    worker_support();
    let local = ossature::multiprocessing::Pool::builder().workers(2).context(Context::Spawn).build().unwrap();
    let server = Server::start();
    server.say(&["XGROUP", "CREATE", "hand", "w", "0", "MKSTREAM"]);
    let _worker = worker(&server.url(), "rate", 2, &[]);
    let pool = Pool::connect(&server.url(), "rate").unwrap();
    until("the worker is there", || pool.workers() == 2);
    for round in 0..3 {
        let slow = count(10_000) as u32;
        let rate = |begun: Instant, calls: u64| calls as f64 / begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        local.map(millisecond, 0..slow).unwrap();
        let here = rate(begun, slow.into());
        let begun = Instant::now();
        pool.map(millisecond, 0..slow).unwrap();
        let there = rate(begun, slow.into());
        println!("{round}: calls of 1 ms: {there:.0}/s, local {here:.0}/s: {:.2}", there / here);

        let calls = count(1_000_000);
        let begun = Instant::now();
        pool.map(square, 0..calls).unwrap();
        println!("{round}: tiny calls, chunks by time: {:.0}/s", rate(begun, calls));

        let calls = count(200_000);
        let hand = std::thread::scope(|threads| {
            (0..2).for_each(|_| drop(threads.spawn(|| serve_by_hand(connection(&server)))));
            by_hand(&server, calls)
        });
        let begun = Instant::now();
        pool.chunksize(50).unwrap().map(square, 0..calls).unwrap();
        let ours = rate(begun, calls);
        println!("{round}: tiny calls, fifty to a chunk: {ours:.0}/s, by hand {hand:.0}/s: {:.2}", ours / hand);

        let (mut line, mut answers) = (connection(&server), connection(&server));
        let hand = std::thread::scope(|threads| {
            threads.spawn(|| serve_by_hand(connection(&server)));
            times(count(2000), || {
                cmd("XADD").arg(&["hand", "*", "b", "12345678"]).query::<()>(&mut line).unwrap();
                take_by_hand(&mut answers, 1);
            })
        });
        let ours = times(count(2000), || assert_eq!(pool.apply(square, (12,)).unwrap(), 144));
        let ratio = ours.0.as_secs_f64() / hand.0.as_secs_f64();
        println!(
            "{round}: one call: {:?} (99 %: {:?}), by hand {:?} ({:?}): {ratio:.2}",
            ours.0, ours.1, hand.0, hand.1
        );
    }
}
