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

/// Takes answers until there are this many.
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

/// Prints a row of rounds, each of ours and theirs, as the benches in benches/ do.
fn row(name: &str, unit: &str, rival: &str, bar: &str, rounds: &[(f64, f64)]) {
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

/// How many bytes of memory the server uses.
fn memory(line: &mut Connection) -> f64 {
    let info: String = cmd("INFO").arg("memory").query(line).unwrap();
    info.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).unwrap().parse().unwrap()
}

/// What a name of rivals.py reached: calls of a millisecond and tiny ones a second, and microseconds of one call.
type Rival = (String, f64, f64, f64);

/// RQ and Celery on the same server, if a Python is named that has them: `--python PATH`.
fn rivals(server: &Server) -> Vec<Rival> {
    let words: Vec<String> = std::env::args().collect();
    let Some(python) = words.iter().position(|word| word == "--python").and_then(|at| words.get(at + 1)) else {
        return Vec::new();
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut script = std::process::Command::new(python);
    script.current_dir(folder).arg("rivals.py").arg(server.tcp()).arg(count(10_000).to_string());
    let said = script.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said = String::from_utf8(said.stdout).unwrap();
    let lines = said.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<f64>().unwrap();
        (words[0].to_owned(), number(1), number(2), number(3))
    });
    lines.collect()
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
    let rate = |begun: Instant, calls: u64| calls as f64 / begun.elapsed().as_secs_f64();
    let (mut slow, mut tiny, mut fifty, mut one) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let calls = count(10_000) as u32;
        let begun = Instant::now();
        local.map(millisecond, 0..calls).unwrap();
        let here = rate(begun, calls.into());
        let begun = Instant::now();
        pool.map(millisecond, 0..calls).unwrap();
        slow.push((rate(begun, calls.into()), here));

        let calls = count(1_000_000);
        let begun = Instant::now();
        pool.map(square, 0..calls).unwrap();
        let ours = rate(begun, calls);
        let begun = Instant::now();
        local.map(square, 0..calls).unwrap();
        tiny.push((ours, rate(begun, calls)));

        let calls = count(200_000);
        let hand = std::thread::scope(|threads| {
            (0..2).for_each(|_| drop(threads.spawn(|| serve_by_hand(connection(&server)))));
            by_hand(&server, calls)
        });
        let begun = Instant::now();
        pool.chunksize(50).unwrap().map(square, 0..calls).unwrap();
        fifty.push((rate(begun, calls), hand));

        let (mut line, mut answers) = (connection(&server), connection(&server));
        let hand = std::thread::scope(|threads| {
            threads.spawn(|| serve_by_hand(connection(&server)));
            times(count(2000), || {
                cmd("XADD").arg(&["hand", "*", "b", "12345678"]).query::<()>(&mut line).unwrap();
                take_by_hand(&mut answers, 1);
            })
        });
        let ours = times(count(2000), || assert_eq!(pool.apply(square, (12,)).unwrap(), 144));
        one.push((ours.0.as_secs_f64() * 1e6, hand.0.as_secs_f64() * 1e6));
        println!("one call: 99 %: {:?}, by hand {:?}", ours.1, hand.1);
    }
    row("calls-of-1-ms", "calls/s", "local", ">=0.9", &slow);
    row("tiny-50-to-a-chunk", "calls/s", "hand", ">=0.7", &fifty);
    row(
        "tiny-by-time",
        "calls/s",
        "limit",
        ">=1",
        &tiny.iter().map(|(ours, _)| (*ours, 200_000.0)).collect::<Vec<_>>(),
    );
    row("tiny-by-time", "calls/s", "local", "none", &tiny);
    row("one-call", "us", "hand", "<=1.5", &one);

    let mut line = connection(&server);
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

    for (name, theirs_slow, theirs_tiny, theirs_one) in rivals(&server) {
        row(
            "calls-of-1-ms",
            "calls/s",
            &name,
            "none",
            &slow.iter().map(|(ours, _)| (*ours, theirs_slow)).collect::<Vec<_>>(),
        );
        row(
            "tiny-by-time",
            "calls/s",
            &name,
            "none",
            &tiny.iter().map(|(ours, _)| (*ours, theirs_tiny)).collect::<Vec<_>>(),
        );
        if theirs_one > 0.0 {
            row("one-call", "us", &name, "none", &one.iter().map(|(ours, _)| (*ours, theirs_one)).collect::<Vec<_>>());
        }
    }
}
