//! Kills workers, their processes, whole hosts and servers at random while a pool over Redis makes calls, and accounts
//! for every call: `storm --kills N [--seed S] [--one]`.
//!
//! A pair of servers, or with `--one` a single server; four workers of two processes each. After the end of a primary
//! its replica is promoted, and another replica is started over the data of the former primary. Every result must come
//! once.
//!
//! `N` counts the processes that got a SIGKILL from here. A host is a worker, its supervisor and its processes, at
//! once; those that end because another one was killed do not count.

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

/// The number of calls in a round.
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

/// Random numbers from a seed (xorshift64*).
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
    /// The kills by kind, with their counts.
    events: Mutex<BTreeMap<&'static str, u64>>,
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

    /// Records an event, and the number of processes that it killed.
    fn count(&self, what: &'static str, kills: u64) {
        *self.events.lock().unwrap().entry(what).or_default() += 1;
        self.kills.fetch_add(kills, SeqCst);
    }

    fn goes_on(&self) -> bool {
        self.kills.load(SeqCst) < self.most && !self.calm.load(SeqCst)
    }

    fn start_worker(&self) -> Owned {
        worker(&self.urls, "storm", 2, &[])
    }

    /// Kills processes of the hosts.
    fn blow_over_hosts(&self) {
        while self.goes_on() {
            self.rest(300);
            match self.below(40) {
                0..14 => self.kill_processes(false),
                14..22 => self.kill_processes(true),
                22..27 => self.kill_a_worker(),
                27..39 => self.kill_a_host(),
                _ => self.stop_a_worker(),
            }
        }
    }

    /// Kills servers.
    fn blow_over_servers(&self) {
        while self.goes_on() {
            self.rest(3000);
            if self.below(2) == 0 { self.restart_a_server() } else { self.fail_over() }
        }
    }

    /// Kills one process that a worker has started, directly or not, or all of them at once.
    fn kill_processes(&self, all: bool) {
        let workers = self.workers.lock().unwrap();
        let mut victims = family(workers[self.below(WORKERS as u64) as usize].pid());
        if victims.is_empty() {
            return;
        }
        if !all {
            victims = vec![victims[self.below(victims.len() as u64) as usize]];
        }
        self.count(if all { "processes of a worker" } else { "process of a worker" }, kill(&victims));
    }

    fn kill_a_worker(&self) {
        let mut workers = self.workers.lock().unwrap();
        let at = self.below(WORKERS as u64) as usize;
        workers[at].kill();
        self.count("worker", 1);
        self.rest(200);
        workers[at] = self.start_worker();
    }

    /// Kills a worker and all that it has started, at once.
    fn kill_a_host(&self) {
        let mut workers = self.workers.lock().unwrap();
        let at = self.below(WORKERS as u64) as usize;
        let mut victims = family(workers[at].pid());
        victims.push(workers[at].pid());
        self.count("host", kill(&victims));
        self.rest(200);
        workers[at] = self.start_worker();
    }

    /// Stops a worker, as if the network did not reach its host; sometimes for longer than its lease.
    fn stop_a_worker(&self) {
        use ossature::sys::signal::Signal;
        let workers = self.workers.lock().unwrap();
        let at = self.below(WORKERS as u64) as usize;
        workers[at].signal(Signal::STOP);
        self.rest(4000);
        workers[at].signal(Signal::CONT);
        self.count("stopped worker", 0);
    }

    fn restart_a_server(&self) {
        let mut servers = self.servers.lock().unwrap();
        servers[0].kill();
        self.rest(800);
        servers[0].restart(&[]);
        self.count("server", 1);
    }

    fn fail_over(&self) {
        let mut servers = self.servers.lock().unwrap();
        if servers.len() < 2 {
            drop(servers);
            return self.restart_a_server();
        }
        until("the replica has the primary's data", || {
            servers[1].say(&["INFO", "replication"]).contains("master_link_status:up")
        });
        servers[0].kill();
        self.rest(500);
        servers[1].say(&["REPLICAOF", "NO", "ONE"]);
        servers.swap(0, 1);
        self.rest(500);
        let port = servers[0].port.to_string();
        servers[1].restart(&["--replicaof", "127.0.0.1", &port]);
        self.count("primary of a pair", 1);
    }
}

/// The direct children of a process.
fn children(of: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// All descendants of a process.
fn family(of: u32) -> Vec<u32> {
    let mut family = children(of);
    let mut at = 0;
    while let Some(pid) = family.get(at).copied() {
        family.extend(children(pid));
        at += 1;
    }
    family
}

/// Kills processes at once, and returns their number.
fn kill(victims: &[u32]) -> u64 {
    use ossature::sys::process::{Pid, pidfd_open, pidfd_send_signal};
    let open = |pid: &u32| pidfd_open(Pid::from_raw(*pid as i32).unwrap()).ok();
    let victims: Vec<_> = victims.iter().filter_map(open).collect();
    victims.iter().filter(|victim| pidfd_send_signal(*victim, ossature::sys::signal::Signal::KILL).is_ok()).count()
        as u64
}

/// Makes the calls of one round, and returns the number that ended as `WorkerDied`.
fn round(pool: &Pool, path: &Path, retried: bool) -> u64 {
    let mut seen = vec![0_u8; CALLS as usize];
    let mut died = 0;
    let items: Vec<_> = (0..CALLS).map(|number| (path.to_owned(), number)).collect();
    if retried {
        let mut results = pool.starmap_async(work, items).unwrap();
        let values = results.get_timeout(Duration::from_secs(240)).unwrap_or_else(|error| panic!("{error}"));
        for (number, value) in values.expect("no call is lost").into_iter().enumerate() {
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
    assert!(seen.iter().all(|count| *count == 1), "every call ends exactly once");
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
        until("the replica has the primary's data", || {
            replica.say(&["INFO", "replication"]).contains("master_link_status:up")
        });
        servers.push(replica);
    }
    let urls = servers.iter().map(Server::tcp).collect::<Vec<_>>().join(",");
    let storm = Storm {
        urls: urls.clone(),
        servers: Mutex::new(servers),
        workers: Mutex::new(Vec::new()),
        dice: Mutex::new(Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1)),
        events: Mutex::default(),
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
        let winds = [threads.spawn(|| storm.blow_over_hosts()), threads.spawn(|| storm.blow_over_servers())];
        while winds.iter().any(|wind| !wind.is_finished()) {
            rounds += 1;
            let retried = rounds % 2 == 1;
            died += round(if retried { &retrying } else { &strict }, &path, retried);
        }
        storm.calm.store(true, SeqCst);
        winds.into_iter().for_each(|wind| wind.join().unwrap());
        died += round(&strict, &path, false); // and in the calm
        rounds += 1;
    });
    let healed = retrying.healed() + strict.healed();
    println!(
        "storm: redis: kills={} calls={} lost=0 twice=0 died={died} healed={healed} rounds={rounds} seconds={:.0} {:?}",
        storm.kills.load(SeqCst),
        rounds * CALLS,
        begun.elapsed().as_secs_f64(),
        storm.events.lock().unwrap(),
    );
}
