//! The steps of the protocol, one by one on a server: which client each belongs to, and that each counts once.

use redis::{Connection, Value};

use crate::support::{Server, Test};

#[allow(dead_code, reason = "the tests run some of them")]
#[path = "../../src/scripts.rs"]
mod scripts;

use scripts::Scripts;

pub const TESTS: &[Test] = &[
    ("a_chunk_is_submitted_once", a_chunk_is_submitted_once),
    ("an_end_counts_once_and_for_whoever_waits", an_end_counts_once_and_for_whoever_waits),
    (
        "what_another_worker_has_is_neither_begun_nor_given_back",
        what_another_worker_has_is_neither_begun_nor_given_back,
    ),
    ("a_worker_without_a_lease_gets_nothing", a_worker_without_a_lease_gets_nothing),
    ("what_nobody_waits_for_is_neither_claimed_nor_begun", what_nobody_waits_for_is_neither_claimed_nor_begun),
    ("what_a_stranger_wrote_is_buried_by_the_claim", what_a_stranger_wrote_is_buried_by_the_claim),
    ("a_lost_worker_loses_what_ran_and_gives_back_the_rest", a_lost_worker_loses_what_ran_and_gives_back_the_rest),
    ("what_a_client_has_expires", what_a_client_has_expires),
    ("an_item_is_acknowledged_by_whoever_has_it", an_item_is_acknowledged_by_whoever_has_it),
];

const TASKS: &str = "{p}:tasks:l";
const AT: &str = "{p}:c:c:at";
const OUT: &str = "{p}:c:c:out";

struct Steps {
    server: Server,
    line: Connection,
    scripts: Scripts,
}

/// A chunk that was claimed: its id, number and bytes.
type Claim = (String, String, Vec<u8>);

impl Steps {
    fn begin() -> Self {
        let server = Server::start();
        let line = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let steps = Self { server, line, scripts: Scripts::new() };
        steps.say(&["ZADD", "{p}:alive", "9999999999999", "w1"]);
        steps.say(&["ZADD", "{p}:alive", "9999999999999", "w2"]);
        steps
    }

    fn say(&self, words: &[&str]) -> String {
        self.server.say(words)
    }

    fn submit(&mut self, numbers: &[u64]) -> i64 {
        let mut call = self.scripts.submit.key("{p}");
        call.arg("l").arg("c").arg(60_000);
        for number in numbers {
            call.arg(number).arg(format!("bytes {number}"));
        }
        call.invoke(&mut self.line).unwrap()
    }

    fn turn(&mut self, worker: &str, ended: &[&str], begins: &[&Claim], room: [usize; 2]) -> (Vec<bool>, Value) {
        let mut call = self.scripts.turn.key("{p}");
        call.arg(worker).arg(60_000).arg(&room).arg(1).arg(ended.len()).arg("l");
        for id in ended {
            let number = id.rsplit(' ').next().unwrap();
            call.arg("l").arg(id.split(' ').next().unwrap()).arg("c").arg(number).arg(0).arg("Oanswer");
        }
        for (id, number, _) in begins {
            call.arg("l").arg(id).arg("c").arg(number);
        }
        call.invoke(&mut self.line).unwrap()
    }

    fn claim(&mut self, worker: &str, room: [usize; 2]) -> Option<Vec<Claim>> {
        type Seven = (String, String, String, String, String, Vec<u8>, bool);
        let (_, taken) = self.turn(worker, &[], &[], room);
        let taken: Option<Vec<Seven>> = redis::FromRedisValue::from_redis_value(taken).unwrap();
        Some(taken?.into_iter().map(|(_, _, id, _, number, bytes, _)| (id, number, bytes)).collect())
    }

    fn finish(&mut self, worker: &str, (id, number, _): &Claim) {
        self.turn(worker, &[&format!("{id} {number}")], &[], [0, 0]);
    }

    /// The number of chunks that this consumer has.
    fn pending(&self, consumer: &str) -> usize {
        self.say(&["XPENDING", TASKS, "w", "-", "+", "100", consumer]).lines().filter(|line| line.contains('-')).count()
    }

    /// The number of answers so far.
    fn answers(&self) -> String {
        self.say(&["XINFO", "STREAM", OUT])
            .lines()
            .skip_while(|line| *line != "entries-added")
            .nth(1)
            .unwrap()
            .to_owned()
    }
}

fn a_chunk_is_submitted_once() {
    let mut steps = Steps::begin();
    assert_eq!(steps.submit(&[1, 2]), 2);
    assert_eq!(steps.submit(&[1, 2, 3]), 1, "the answer was lost on the way");
    assert_eq!(steps.say(&["XLEN", TASKS]), "3");
    let claims = steps.claim("w1", [9, 0]).unwrap();
    assert_eq!(claims.iter().map(|(_, number, _)| number.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(claims[2].2, b"bytes 3");
    assert_eq!(steps.submit(&[3]), 0, "it runs");
}

fn an_end_counts_once_and_for_whoever_waits() {
    let mut steps = Steps::begin();
    steps.submit(&[1, 2]);
    let claims = steps.claim("w1", [2, 0]).unwrap();
    steps.finish("w1", &claims[0]);
    steps.finish("w1", &claims[0]);
    steps.finish("w2", &claims[0]);
    assert_eq!((steps.answers().as_str(), steps.say(&["HKEYS", AT]).as_str()), ("1", "2"));
    // As after a fail-over: the chunk was submitted again, and the first worker ends it.
    steps.say(&["HDEL", AT, "2"]);
    steps.submit(&[2]);
    let again = steps.claim("w2", [1, 0]).unwrap();
    assert_ne!(again[0].0, claims[1].0);
    steps.finish("w1", &claims[1]);
    assert_eq!((steps.answers().as_str(), steps.say(&["XLEN", TASKS]).as_str()), ("2", "0"), "both records are gone");
    assert_eq!((steps.pending("w1/r"), steps.pending("w2/r")), (0, 0));
    steps.finish("w2", &again[0]);
    assert_eq!(steps.answers(), "2", "nobody waits for it");
    // As the client withdraws a chunk.
    steps.submit(&[3]);
    let third = steps.claim("w1", [1, 0]).unwrap();
    let mut end = steps.scripts.end.key("{p}");
    end.arg("l").arg("c").arg(3).invoke::<i64>(&mut steps.line).unwrap();
    steps.finish("w1", &third[0]);
    assert_eq!(steps.answers(), "2");
}

fn what_another_worker_has_is_neither_begun_nor_given_back() {
    let mut steps = Steps::begin();
    steps.submit(&[1]);
    let ahead = steps.claim("w1", [0, 1]).unwrap();
    assert_eq!((ahead.len(), steps.pending("w1/a")), (1, 1));
    let release = |steps: &mut Steps, worker: &str| {
        let mut call = steps.scripts.release.key("{p}");
        call.arg(worker).arg("l").arg(&ahead[0].0).invoke::<i64>(&mut steps.line).unwrap()
    };
    release(&mut steps, "w2");
    assert_eq!((steps.turn("w2", &[], &[&ahead[0]], [0, 0]).0, steps.pending("w1/a")), (vec![false], 1));
    assert_eq!(steps.turn("w1", &[], &[&ahead[0]], [0, 0]).0, [true]);
    assert_eq!(steps.turn("w1", &[], &[&ahead[0]], [0, 0]).0, [true], "the answer was lost on the way");
    assert_eq!((steps.pending("w1/a"), steps.pending("w1/r")), (0, 1));
    release(&mut steps, "w1");
    assert_eq!(steps.pending("~"), 1);
    assert_eq!(steps.turn("w1", &[], &[&ahead[0]], [0, 0]).0, [false], "it was given back");
    let again = steps.claim("w2", [1, 0]).unwrap();
    assert_eq!((again[0].0.as_str(), steps.pending("w2/r")), (ahead[0].0.as_str(), 1));
}

fn a_worker_without_a_lease_gets_nothing() {
    let mut steps = Steps::begin();
    steps.submit(&[1]);
    assert_eq!(steps.claim("w3", [1, 1]), None);
    assert_eq!(steps.claim("w1", [1, 1]).unwrap().len(), 1);
}

fn what_nobody_waits_for_is_neither_claimed_nor_begun() {
    let mut steps = Steps::begin();
    steps.submit(&[1, 2]);
    steps.say(&["HDEL", AT, "1"]); // as it expires with its client
    let ahead = steps.claim("w1", [0, 5]).unwrap();
    assert_eq!((ahead.len(), ahead[0].1.as_str(), steps.say(&["XLEN", TASKS]).as_str()), (1, "2", "1"));
    steps.say(&["HDEL", AT, "2"]);
    assert_eq!(steps.turn("w1", &[], &[&ahead[0]], [0, 0]).0, [false]);
    assert_eq!((steps.say(&["XLEN", TASKS]).as_str(), steps.pending("w1/a")), ("0", 0));
}

fn what_a_stranger_wrote_is_buried_by_the_claim() {
    let mut steps = Steps::begin();
    steps.say(&["XADD", TASKS, "*", "hello", "world"]);
    steps.submit(&[1]);
    let claims = steps.claim("w1", [5, 0]).unwrap();
    assert_eq!((claims.len(), steps.say(&["XLEN", TASKS]).as_str(), steps.pending("w1/r")), (1, "1", 1));
    let dead = steps.say(&["XRANGE", "{p}:dead", "-", "+"]);
    assert!(dead.contains("not a chunk of calls") && dead.contains("hello world"), "{dead}");
}

fn a_lost_worker_loses_what_ran_and_gives_back_the_rest() {
    let mut steps = Steps::begin();
    steps.submit(&[1, 2]);
    assert_eq!(steps.claim("w1", [1, 1]).unwrap().len(), 2);
    steps.say(&["HSET", "{p}:workers", "w1", "l 1 77 0 0 node7"]);
    let tick = |steps: &mut Steps| {
        let mut call = steps.scripts.tick.key("{p}");
        call.arg("c").arg(60_000).arg(1000).invoke::<Vec<String>>(&mut steps.line).unwrap()
    };
    tick(&mut steps);
    let now = steps.say(&["GET", "{p}:sweep"]);
    steps.say(&["ZADD", "{p}:alive", "1", "w1"]);
    // Nobody has looked for longer than half a lease: the server was away.
    steps.say(&["SET", "{p}:sweep", "1"]);
    tick(&mut steps);
    let till: u64 = steps.say(&["ZSCORE", "{p}:alive", "w1"]).parse().unwrap();
    assert!(till > now.parse::<u64>().unwrap() && steps.pending("w1/r") == 1, "its lease begins anew: {till}");
    // Somebody has looked a moment ago.
    steps.say(&["ZADD", "{p}:alive", "1", "w1"]);
    crate::support::until("somebody sweeps", || {
        tick(&mut steps);
        steps.say(&["ZSCORE", "{p}:alive", "w1"]).is_empty()
    });
    assert_eq!((steps.pending("w1/r"), steps.pending("w1/a"), steps.pending("~")), (0, 0, 1));
    let answer = steps.say(&["XRANGE", OUT, "-", "+"]);
    assert!(answer.contains("\n1\n") && answer.ends_with("Ll 1 77 0 0 node7"), "{answer}");
    assert_eq!((steps.say(&["HKEYS", AT]), steps.say(&["HLEN", "{p}:workers"])), ("2".into(), "0".into()));
}

fn what_a_client_has_expires() {
    let mut steps = Steps::begin();
    let mut long = steps.scripts.submit.key("{p}");
    long.arg("l").arg("c").arg(60_000).arg(1).arg(vec![7_u8; 300 << 10]).arg(2).arg("short");
    long.invoke::<i64>(&mut steps.line).unwrap();
    let claims = steps.claim("w1", [2, 0]).unwrap();
    assert_eq!(claims[0].2.len(), 300 << 10);
    steps.finish("w1", &claims[1]);
    for key in [AT, "{p}:c:c:big", OUT] {
        let stays: i64 = steps.say(&["PTTL", key]).parse().unwrap();
        assert!((1..=60_000).contains(&stays), "{key}: {stays}");
    }
}

fn an_item_is_acknowledged_by_whoever_has_it() {
    let mut steps = Steps::begin();
    let put = |steps: &mut Steps, nth: u64| {
        let mut call = steps.scripts.put.key("{p}");
        call.arg("u").arg(nth).arg(60_000).arg(0).arg("item").invoke::<u8>(&mut steps.line).unwrap()
    };
    assert_eq!((put(&mut steps, 1), put(&mut steps, 1)), (1, 1));
    assert_eq!((steps.say(&["XLEN", "{p}:tasks:q"]), steps.say(&["GET", "{p}:unfinished"])), ("1".into(), "1".into()));
    let get = |steps: &mut Steps, user: &str, has: &[&str]| {
        let mut call = steps.scripts.get.key("{p}");
        call.arg(user).arg(has).invoke::<Option<(String, String)>>(&mut steps.line).unwrap()
    };
    assert_eq!(get(&mut steps, "w3", &[]), None, "without a lease");
    let (id, item) = get(&mut steps, "w1", &[]).unwrap();
    assert_eq!((item.as_str(), get(&mut steps, "w1", &[]).unwrap().0), ("item", id.clone()), "its answer was lost");
    assert_eq!(
        (get(&mut steps, "w1", &[&id]).unwrap().0, get(&mut steps, "w2", &[]).unwrap().0),
        ("".into(), "".into())
    );
    let acknowledge = |steps: &mut Steps, user: &str, nth: u64, how: &str| {
        let mut call = steps.scripts.acknowledge.key("{p}");
        call.arg(user).arg(nth).arg(60_000).arg(&id).arg(how).invoke::<bool>(&mut steps.line).unwrap()
    };
    assert!(!acknowledge(&mut steps, "w2", 1, "done") && !acknowledge(&mut steps, "w2", 2, "back"), "another has it");
    assert!(acknowledge(&mut steps, "w1", 1, "back") && acknowledge(&mut steps, "w1", 1, "back"), "under one number");
    assert!(!acknowledge(&mut steps, "w1", 2, "done"), "it was given back");
    assert_eq!(get(&mut steps, "w2", &[]).unwrap().0, id);
    assert!(acknowledge(&mut steps, "w2", 3, "done") && steps.say(&["XLEN", "{p}:tasks:q"]) == "0");
    let done = |steps: &mut Steps, nth: u64| {
        let mut call = steps.scripts.done.key("{p}");
        call.arg("u").arg(nth).arg(60_000).invoke::<bool>(&mut steps.line).unwrap()
    };
    assert!(done(&mut steps, 2) && done(&mut steps, 2) && !done(&mut steps, 3));
}
