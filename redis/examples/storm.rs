//! Kills workers, their processes, whole hosts and servers at random while a pool over Redis makes calls, and accounts
//! for every call: `storm --kills N [--seed S] [--one]`.
//!
//! A pair of servers, or with `--one` a single server; four workers of two processes each. After the end of a primary
//! its replica is promoted, and another replica is started over the data of the former primary. Every result must come
//! once.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::{Tasks, freeze_support, tasks};
use ossature_redis::{Pool, worker_support};
use support::{Folder, Owned, Server, note, until, worker};

/// How many calls a round has.
const CALLS: u64 = 3000;
const WORKERS: usize = 4;

fn work(path: PathBuf, number: u64) -> u64 {
    if number % 50 == 0 {
        note(&path, &number.to_string());
    }
    std::thread::sleep(Duration::from_micros(number % 3000));
    number * 3
}

static TASKS: Tasks = tasks![work];

/// Numbers that follow from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

struct Storm {
    servers: Mutex<Vec<Server>>,
    workers: Mutex<Vec<Owned>>,
    urls: String,
    dice: Mutex<Dice>,
    killed: Mutex<BTreeMap<&'static str, u64>>,
    calm: AtomicBool,
    most: u64,
    kills: AtomicU64,
}

impl Storm {
    fn below(&self, end: u64) -> u64 {
        self.dice.lock().unwrap().below(end)
    }

    fn rest(&self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.below(most)));
    }

    fn count(&self, what: &'static str) {
        *self.killed.lock().unwrap().entry(what).or_default() += 1;
        self.kills.fetch_add(1, SeqCst);
    }

    fn start_worker(&self) -> Owned {
        worker(&self.urls, "storm", 2, &[])
    }

    fn blow(&self) {
        while self.kills.load(SeqCst) < self.most && !self.calm.load(SeqCst) {
            self.rest(600);
            match self.below(20) {
                0..6 => self.kill_a_process(),
                6..10 => self.kill_a_worker(),
                10..12 => self.stop_a_worker(),
                12..16 => self.restart_a_server(),
                _ => self.fail_over(),
            }
        }
    }

    /// One of those that a worker's supervisor forked, or the supervisor.
    fn kill_a_process(&self) {
        let workers = self.workers.lock().unwrap();
        let host = workers[self.below(WORKERS as u64) as usize].pid();
        let mut family = children(host);
        for supervisor in family.clone() {
            family.extend(children(supervisor));
        }
        if !family.is_empty() {
            let victim = family[self.below(family.len() as u64) as usize];
            let _ = std::process::Command::new("kill").args(["-9", &victim.to_string()]).status();
            self.count("process of a worker");
        }
    }

    fn kill_a_worker(&self) {
        let mut workers = self.workers.lock().unwrap();
        let at = self.below(WORKERS as u64) as usize;
        workers[at].kill();
        self.rest(1500);
        workers[at] = self.start_worker();
        self.count("worker");
    }

    /// As a host that the network does not reach: longer than its lease, now and then.
    fn stop_a_worker(&self) {
        use ossature::sys::signal::Signal;
        let workers = self.workers.lock().unwrap();
        let at = self.below(WORKERS as u64) as usize;
        workers[at].signal(Signal::STOP);
        self.rest(4000);
        workers[at].signal(Signal::CONT);
        self.count("stopped worker");
    }

    fn restart_a_server(&self) {
        let mut servers = self.servers.lock().unwrap();
        servers[0].kill();
        self.rest(800);
        servers[0].restart(&[]);
        self.count("server");
    }

    fn fail_over(&self) {
        let mut servers = self.servers.lock().unwrap();
        if servers.len() < 2 {
            drop(servers);
            return self.restart_a_server();
        }
        until("the replica has its copy", || {
            servers[1].say(&["INFO", "replication"]).contains("master_link_status:up")
        });
        servers[0].kill();
        self.rest(500);
        servers[1].say(&["REPLICAOF", "NO", "ONE"]);
        servers.swap(0, 1);
        self.rest(500);
        let port = servers[0].port.to_string();
        servers[1].restart(&["--replicaof", "127.0.0.1", &port]);
        self.count("primary of a pair");
    }
}

/// The processes that this one has started.
fn children(of: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Makes the calls of one round; how many ended as `WorkerDied`.
fn round(pool: &Pool, path: &Path, retried: bool) -> u64 {
    let mut seen = vec![0_u8; CALLS as usize];
    let mut died = 0;
    let items: Vec<_> = (0..CALLS).map(|number| (path.to_owned(), number)).collect();
    if retried {
        for (number, value) in
            pool.starmap(work, items).unwrap_or_else(|error| panic!("{error}")).into_iter().enumerate()
        {
            assert_eq!(value, number as u64 * 3, "each value in its place");
            seen[number] += 1;
        }
    } else {
        let results: Vec<_> = items.into_iter().map(|args| pool.apply_async(work, args).unwrap()).collect();
        for (number, mut result) in results.into_iter().enumerate() {
            match result.get_timeout(Duration::from_secs(120)) {
                Ok(Some(value)) => assert_eq!(value, number as u64 * 3),
                Ok(None) => panic!("call {number} is lost"),
                Err(error) if error.kind() == ErrorKind::WorkerDied => died += 1,
                Err(error) => panic!("call {number}: {error}"),
            }
            seen[number] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count == 1), "every call has one end");
    died
}

fn main() {
    freeze_support(TASKS);
    worker_support();
    let mut arguments = lexopt::Parser::from_env();
    let (mut most, mut seed, mut one) = (20, 1, false);
    while let Some(argument) = arguments.next().unwrap() {
        match argument {
            lexopt::Arg::Long("kills") => most = arguments.value().unwrap().to_string_lossy().parse().unwrap(),
            lexopt::Arg::Long("seed") => seed = arguments.value().unwrap().to_string_lossy().parse().unwrap(),
            lexopt::Arg::Long("one") => one = true,
            lexopt::Arg::Long("self-test") => most = 4,
            other => panic!("{}", other.unexpected()),
        }
    }
    let primary = Server::start();
    let mut servers = vec![primary];
    if !one {
        let replica = Server::with(&[]);
        replica.say(&["REPLICAOF", "127.0.0.1", &servers[0].port.to_string()]);
        until("the replica has its copy", || replica.say(&["INFO", "replication"]).contains("master_link_status:up"));
        servers.push(replica);
    }
    let urls = servers.iter().map(Server::tcp).collect::<Vec<_>>().join(",");
    let storm = Storm {
        urls: urls.clone(),
        servers: Mutex::new(servers),
        workers: Mutex::new(Vec::new()),
        dice: Mutex::new(Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1)),
        killed: Mutex::default(),
        calm: AtomicBool::new(false),
        most,
        kills: AtomicU64::new(0),
    };
    for _ in 0..WORKERS {
        let started = storm.start_worker();
        storm.workers.lock().unwrap().push(started);
    }
    let builder = || Pool::builder().lease(Duration::from_secs(2)).outage(Duration::from_secs(60));
    let retrying = builder().retries(1000).connect(&urls, "storm").unwrap();
    let strict = builder().connect(&urls, "storm").unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let begun = Instant::now();
    let (mut rounds, mut died) = (0, 0);
    std::thread::scope(|threads| {
        let wind = threads.spawn(|| storm.blow());
        while !wind.is_finished() {
            rounds += 1;
            let retried = rounds % 2 == 1;
            died += round(if retried { &retrying } else { &strict }, &path, retried);
        }
        storm.calm.store(true, SeqCst);
        wind.join().unwrap();
        died += round(&strict, &path, false); // and in the calm
        rounds += 1;
    });
    let healed = retrying.healed() + strict.healed();
    println!(
        "storm: redis: kills={} calls={} lost=0 twice=0 died={died} healed={healed} rounds={rounds} seconds={:.0} {:?}",
        storm.kills.load(SeqCst),
        rounds * CALLS,
        begun.elapsed().as_secs_f64(),
        storm.killed.lock().unwrap(),
    );
}
