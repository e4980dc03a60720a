//! The cost of calls over a server, beside a local pool and beside handwritten commands, in the same run: `cargo run
//! --release -p ossature-redis --example rate`.
//!
//! * `local`: a local pool of the same number of processes makes the same calls.
//! * `hand`: a loop over the commands of the pool, its scripts included. One client has as many chunks under way, and
//!   puts the squares in their order; two other processes take, square and answer. The loop has no types, no leases, no
//!   processes that may die without an end of the loop, and no healing.
//! * `bare`: a loop over bare commands: XADD, XREADGROUP, XACK, XDEL, XADD, XREAD, XDEL. It does not distinguish
//!   answered calls from lost ones, and does not limit the calls in flight.
//!
//! `--only WORD` measures the rows whose names have the word.

#[allow(dead_code, reason = "the handwritten loop runs some of them")]
#[path = "../src/scripts.rs"]
mod scripts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ossature::multiprocessing::{Context, Tasks, freeze_support, tasks};
use ossature_redis::{Pool, worker_support};
use redis::{Connection, cmd, pipe};
use scripts::Scripts;
use support::{Owned, Server, itself, until, worker};

fn square(number: u64) -> u64 {
    number * number
}

fn millisecond(number: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(1));
    number
}

static TASKS: Tasks = tasks![square, millisecond];

/// The number of calls of each measurement; a hundredth of it in a test of this program.
fn count(calls: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--self-test") { calls / 100 } else { calls }
}

fn connection(server: &Server) -> Connection {
    redis::Client::open(server.url()).unwrap().get_connection().unwrap()
}

/// The numbers in a record.
fn read(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap()))
}

/// The squares of the numbers in a record.
fn squares(bytes: &[u8]) -> Vec<u8> {
    read(bytes).flat_map(|number| square(number).to_le_bytes()).collect()
}

/// Starts processes of this program that serve the loop `what`, and waits until they are ready.
fn serving(server: &Server, what: &str, count: usize) -> Vec<Owned> {
    let start = || {
        let mut command = itself();
        command.args([what, &server.url()]);
        Owned::start(command)
    };
    server.say(&["DEL", "ready"]);
    let serving = (0..count).map(|_| start()).collect();
    until("they serve", || server.say(&["GET", "ready"]) == count.to_string());
    serving
}

/// Serves the loop in such a process; `false` in another process.
fn serves() -> bool {
    let words: Vec<String> = std::env::args().collect();
    let [_, what, url] = &words[..] else { return false };
    let line = || {
        let mut line = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        cmd("INCR").arg("ready").query::<()>(&mut line).unwrap();
        line
    };
    match what.as_str() {
        "serve-bare" => serve_bare(line()),
        "serve-by-hand" => serve_by_hand(line(), &Scripts::new()),
        _ => return false,
    }
    true
}

/// The fifty numbers of a record.
fn numbers(record: u64) -> Vec<u8> {
    (record * 50..record * 50 + 50).flat_map(u64::to_le_bytes).collect()
}

/// Records of one stream: the fields of each, by its id.
type Records = Vec<(String, Vec<(String, Vec<u8>)>)>;
/// The records of a read, by stream.
type Found = Option<Vec<(String, Records)>>;

/// Waits for records of a stream whose group is `w`.
fn wait_by_hand(line: &mut Connection, stream: &str, most: &str) -> Records {
    let mut read = cmd("XREADGROUP");
    read.arg(&["GROUP", "w", "hand/r", "COUNT", most, "BLOCK", "1000", "STREAMS", stream, ">"]);
    let found = read.query::<Found>(line).ok().flatten().and_then(|mut found| found.pop());
    found.map_or_else(Vec::new, |(_, records)| records)
}

/// Runs a worker over the bare commands: takes a record of numbers, and answers with their squares.
fn serve_bare(mut line: Connection) {
    loop {
        for (id, fields) in &wait_by_hand(&mut line, "bare", "1") {
            let mut answer = pipe();
            answer.cmd("XACK").arg("bare").arg("w").arg(id).ignore();
            answer.cmd("XDEL").arg("bare").arg(id).ignore();
            answer.cmd("XADD").arg("answers").arg("*").arg("r").arg(squares(&fields[0].1)).ignore();
            answer.query::<()>(&mut line).unwrap();
        }
    }
}

/// Receives answers until there are `records` of them.
fn take_bare(line: &mut Connection, records: usize) {
    let mut taken = 0;
    while taken < records {
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

/// Calls per second over the bare commands, fifty in a record.
fn bare(server: &Server, calls: u64) -> f64 {
    let (mut line, mut answers) = (connection(server), connection(server));
    let begun = Instant::now();
    std::thread::scope(|threads| {
        let taking = threads.spawn(|| take_bare(&mut answers, calls as usize / 50));
        for batch in (0..calls / 50).collect::<Vec<_>>().chunks(64) {
            let mut add = pipe();
            for record in batch {
                add.cmd("XADD").arg("bare").arg("*").arg("b").arg(numbers(*record)).ignore();
            }
            add.query::<()>(&mut line).unwrap();
        }
        taking.join().unwrap();
    });
    calls as f64 / begun.elapsed().as_secs_f64()
}

/// The stream of the handwritten loop, which has the form of a pool's stream.
const STREAM: &str = "{hand}:tasks:l";

/// Runs a worker over the commands of the pool.
fn serve_by_hand(mut line: Connection, scripts: &Scripts) {
    // Id, number and answer of each record that has ended.
    let mut ended: Vec<(String, String, Vec<u8>)> = Vec::new();
    loop {
        let mut turn = scripts.turn.key("{hand}");
        turn.arg("hand").arg(60_000).arg(8).arg(0).arg(1).arg(ended.len()).arg("l");
        for (id, number, answer) in ended.drain(..) {
            turn.arg("l").arg(id).arg("c").arg(number).arg(0).arg(answer);
        }
        type Seven = (String, String, String, String, String, Vec<u8>, bool);
        let (_, taken) = turn.invoke::<(Vec<bool>, Vec<Seven>)>(&mut line).unwrap();
        ended.extend(taken.into_iter().map(|(_, _, id, _, number, bytes, _)| (id, number, squares(&bytes))));
        if ended.is_empty() {
            for (id, fields) in wait_by_hand(&mut line, STREAM, "8") {
                let field = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
                ended.push((id, String::from_utf8(field("n")).unwrap(), squares(&field("b"))));
            }
        }
    }
}

/// Calls per second over the commands of the pool, fifty in a record, with as many in flight.
fn by_hand(server: &Server, calls: u64, scripts: &Scripts) -> f64 {
    let mut line = connection(server);
    scripts.submit.load(&mut line).unwrap();
    let (mut given, mut taken, mut seen) = (0, 0, Vec::<String>::new());
    let mut results = vec![0; calls as usize];
    let begun = Instant::now();
    while taken < calls / 50 {
        let mut ask = pipe();
        let most = (taken + 128).min(calls / 50);
        if given < most {
            ask.cmd("EVALSHA").arg(scripts.submit.get_hash()).arg(1).arg("{hand}").arg("l").arg("c").arg(60_000);
            for record in given..most {
                ask.arg(record).arg(numbers(record));
            }
            ask.ignore();
            given = most;
        }
        if !seen.is_empty() {
            ask.cmd("XDEL").arg("{hand}:c:c:out").arg(&seen).ignore();
        }
        ask.cmd("XREAD").arg(&["COUNT", "256", "BLOCK", "1000", "STREAMS", "{hand}:c:c:out", "0"]);
        let (found,): (Found,) = ask.query(&mut line).unwrap();
        let records = found.and_then(|mut found| found.pop()).map_or_else(Vec::new, |(_, records)| records);
        taken += records.len() as u64;
        for (_, fields) in &records {
            let field = |name: &str| &fields.iter().find(|(field, _)| field == name).unwrap().1;
            let first = std::str::from_utf8(field("n")).unwrap().parse::<usize>().unwrap() * 50;
            results[first..].iter_mut().zip(read(field("r"))).for_each(|(place, square)| *place = square);
        }
        seen = records.into_iter().map(|(id, _)| id).collect();
    }
    let rate = calls as f64 / begun.elapsed().as_secs_f64();
    cmd("XDEL").arg("{hand}:c:c:out").arg(&seen).query::<()>(&mut line).unwrap();
    assert!(results.into_iter().eq((0..calls).map(square)));
    rate
}

/// The median and the 99th percentile.
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

/// Prints a row of rounds, of both contenders, as the benches in benches/ do.
fn row(name: &str, unit: &str, rival: &str, bar: &str, rounds: &[(f64, f64)]) {
    if rounds.is_empty() {
        return;
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ratio = middle(rounds.iter().map(|(ours, theirs)| ours / theirs).collect());
    let ours = middle(rounds.iter().map(|(ours, _)| *ours).collect());
    let theirs = middle(rounds.iter().map(|(_, theirs)| *theirs).collect());
    let ok = match (bar.strip_prefix(">=").map(str::parse::<f64>), bar.strip_prefix("<=").map(str::parse::<f64>)) {
        (Some(Ok(least)), _) => {
            if ratio >= least {
                "yes"
            } else {
                "no"
            }
        }
        (_, Some(Ok(most))) => {
            if ratio <= most {
                "yes"
            } else {
                "no"
            }
        }
        _ => "none",
    };
    println!(
        "RATIO redis/{name} unit={unit} ours={ours:.1} rival={rival} theirs={theirs:.1} ratio={ratio:.4} bar={bar} ok={ok}"
    );
}

/// Whether the row is to be measured.
fn is_wanted(name: &str) -> bool {
    let words: Vec<String> = std::env::args().collect();
    let only = words.iter().position(|word| word == "--only").and_then(|at| words.get(at + 1));
    only.is_none_or(|word| name.contains(word.as_str()))
}

/// The number of bytes of memory that the server uses.
fn memory(line: &mut Connection) -> f64 {
    let info: String = cmd("INFO").arg("memory").query(line).unwrap();
    info.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap().parse().unwrap()
}

/// Measures RQ and Celery on the same server, if `--python PATH` names a Python that has them. Calls `told` with each
/// name, row and value as they arrive.
fn rivals(server: &Server, mut told: impl FnMut(&str, &str, f64)) {
    let words: Vec<String> = std::env::args().collect();
    let Some(python) = words.iter().position(|word| word == "--python").and_then(|at| words.get(at + 1)) else {
        return;
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut script = Command::new(python);
    script.current_dir(folder).arg("rivals.py").arg(server.tcp()).stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    for line in BufReader::new(script.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            [name, row, value] if name != "#" => told(name, row, value.parse().unwrap()),
            _ => println!("{line}"),
        }
    }
    assert!(script.wait().unwrap().success());
}

/// Measures the memory of the server while a job of a million calls runs, and after its end.
fn measure_memory(server: &Server, pool: &Pool) {
    let mut line = connection(server);
    let before = memory(&mut line);
    let calls = count(1_000_000);
    let squares = pool.map_async(square, 0..calls).unwrap();
    let mut most = 0.0_f64;
    while !squares.ready().unwrap() {
        most = most.max(memory(&mut line));
    }
    squares.get().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let after = memory(&mut line);
    let kib = |bytes: f64| bytes / 1024.0;
    row("memory-during-a-million", "KiB", "two-bits-a-call", "none", &[(kib(most - before), kib(calls as f64 / 4.0))]);
    row("memory-after-a-million", "KiB", "limit", "<=1", &[(kib(after - before), 1024.0)]);
}

fn main() {
    freeze_support(TASKS);
    worker_support();
    if serves() {
        return;
    }
    let local = ossature::multiprocessing::Pool::builder().workers(2).context(Context::Spawn).build().unwrap();
    let server = Server::start();
    server.say(&["XGROUP", "CREATE", "bare", "w", "0", "MKSTREAM"]);
    server.say(&["ZADD", "{hand}:alive", "9999999999999", "hand"]);
    let scripts = Scripts::new();
    let _worker = worker(&server.url(), "rate", 2, &[]);
    let pool = Pool::connect(&server.url(), "rate").unwrap();
    until("the worker is connected", || pool.workers() == 2);
    let rate = |begun: Instant, calls: u64| calls as f64 / begun.elapsed().as_secs_f64();
    let (mut slow, mut tiny, mut one) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fifty, mut fifty_bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        if is_wanted("calls-of-1-ms") {
            let calls = count(10_000) as u32;
            let begun = Instant::now();
            local.map(millisecond, 0..calls).unwrap();
            let here = rate(begun, calls.into());
            let begun = Instant::now();
            pool.map(millisecond, 0..calls).unwrap();
            slow.push((rate(begun, calls.into()), here));
        }
        if is_wanted("tiny-by-time") {
            let calls = count(1_000_000);
            let begun = Instant::now();
            pool.map(square, 0..calls).unwrap();
            let ours = rate(begun, calls);
            let begun = Instant::now();
            local.map(square, 0..calls).unwrap();
            tiny.push((ours, rate(begun, calls)));
        }
        if is_wanted("tiny-50-to-a-chunk") {
            let calls = count(200_000);
            let they = serving(&server, "serve-by-hand", 2);
            let hand = by_hand(&server, calls, &scripts);
            drop(they);
            let begun = Instant::now();
            pool.chunksize(50).unwrap().map(square, 0..calls).unwrap();
            let ours = rate(begun, calls);
            fifty.push((ours, hand));
            let _they = serving(&server, "serve-bare", 2);
            fifty_bare.push((ours, bare(&server, calls)));
        }
        if is_wanted("one-call") {
            let (mut line, mut answers) = (connection(&server), connection(&server));
            let they = serving(&server, "serve-bare", 1);
            let hand = times(count(2000), || {
                cmd("XADD").arg(&["bare", "*", "b", "12345678"]).query::<()>(&mut line).unwrap();
                take_bare(&mut answers, 1);
            });
            drop(they);
            let ours = times(count(2000), || assert_eq!(pool.apply(square, (12,)).unwrap(), 144));
            one.push((ours.0.as_secs_f64() * 1e6, hand.0.as_secs_f64() * 1e6));
            println!("one call: 99 %: {:?}, by hand {:?}", ours.1, hand.1);
        }
    }
    row("calls-of-1-ms", "calls/s", "local", ">=0.9", &slow);
    row("tiny-50-to-a-chunk", "calls/s", "hand", ">=0.7", &fifty);
    row("tiny-50-to-a-chunk", "calls/s", "bare", "none", &fifty_bare);
    row(
        "tiny-by-time",
        "calls/s",
        "limit",
        ">=1",
        &tiny.iter().map(|(ours, _)| (*ours, 200_000.0)).collect::<Vec<_>>(),
    );
    row("tiny-by-time", "calls/s", "local", "none", &tiny);
    row("one-call", "us", "bare", "<=1.5", &one);

    if is_wanted("memory") {
        measure_memory(&server, &pool);
    }
    rivals(&server, |name, what, theirs| {
        let (unit, ours) = match what {
            "calls-of-1-ms" => ("calls/s", &slow),
            "tiny-by-time" => ("calls/s", &tiny),
            _ => ("us", &one),
        };
        row(what, unit, name, "none", &ours.iter().map(|(ours, _)| (*ours, theirs)).collect::<Vec<_>>());
    });
}
