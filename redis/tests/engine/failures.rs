//! The outcome of calls when a worker, a host, the server or the client fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::sys::process::{Pid, pidfd_open, pidfd_send_signal};
use ossature::sys::signal::Signal;

use crate::support::{Folder, LONG, Owned, Server, Test, Thief, itself, notes, program, until, worker};
use crate::work::*;

pub const TESTS: &[Test] = &[
    ("what_a_test_starts_ends_with_the_test", what_a_test_starts_ends_with_the_test),
    ("a_killed_process_ends_its_call_at_once_and_no_other", a_killed_process_ends_its_call_at_once_and_no_other),
    ("a_lost_host_ends_what_it_had_begun_and_no_more", a_lost_host_ends_what_it_had_begun_and_no_more),
    ("what_a_lost_host_ran_runs_again_with_retries", what_a_lost_host_ran_runs_again_with_retries),
    ("what_a_broken_worker_had_not_begun_goes_elsewhere", what_a_broken_worker_had_not_begun_goes_elsewhere),
    ("a_broken_worker_gives_back_what_it_claims", a_broken_worker_gives_back_what_it_claims),
    ("a_long_call_on_a_living_host_is_made_once", a_long_call_on_a_living_host_is_made_once),
    ("a_host_that_stood_still_does_not_answer_twice", a_host_that_stood_still_does_not_answer_twice),
    ("a_claim_whose_answer_was_lost_goes_back", a_claim_whose_answer_was_lost_goes_back),
    ("answers_that_are_lost_in_any_step_lose_no_call", answers_that_are_lost_in_any_step_lose_no_call),
    ("a_server_that_comes_back_goes_on_where_it_was", a_server_that_comes_back_goes_on_where_it_was),
    ("a_server_that_stays_away_ends_calls_as_closed", a_server_that_stays_away_ends_calls_as_closed),
    ("leases_begin_anew_after_an_outage", leases_begin_anew_after_an_outage),
    ("what_a_promoted_replica_lost_is_given_out_again", what_a_promoted_replica_lost_is_given_out_again),
    ("what_was_cancelled_does_not_run_after_a_fail_over", what_was_cancelled_does_not_run_after_a_fail_over),
    ("sentinels_name_the_server_that_took_over", sentinels_name_the_server_that_took_over),
    ("an_empty_server_gets_everything_again", an_empty_server_gets_everything_again),
    ("a_server_without_memory_delays_calls", a_server_without_memory_delays_calls),
    ("the_records_of_a_killed_client_go_and_its_calls_end", the_records_of_a_killed_client_go_and_its_calls_end),
    (
        "a_call_that_kills_hosts_becomes_a_dead_letter_and_can_be_put_back",
        a_call_that_kills_hosts_becomes_a_dead_letter_and_can_be_put_back,
    ),
];

fn what_a_test_starts_ends_with_the_test() {
    let folder = Folder::new();
    let path = folder.0.join("server");
    let mut owner = itself();
    owner.args(["--owner", "-"]).arg(&path);
    let mut owner = Owned::start(owner);
    until("it has a server", || notes(&path).len() == 2);
    // The owner is killed, so this test removes what the owner's server wrote.
    let _of_the_owner = Folder(notes(&path)[0].clone().into());
    let server = format!("/proc/{}/cmdline", notes(&path)[1]);
    let is_there = || std::fs::read(&server).is_ok_and(|line| !line.is_empty());
    assert!(is_there());
    owner.kill();
    until("the server has ended", || !is_there());
}

/// Runs the program that the test above kills.
pub fn owner(path: &str) -> ! {
    let path = path.to_owned();
    // The thread that asks for it ends; the server stays.
    let asks = std::thread::spawn(|| (Server::start(), std::fs::read_link("/proc/thread-self").unwrap()));
    let (server, thread) = asks.join().unwrap();
    until("the thread is gone", || !Path::new("/proc").join(&thread).exists());
    assert_eq!(server.say(&["PING"]), "PONG");
    let socket = server.socket();
    crate::support::note(path.as_ref(), &socket.parent().unwrap().display().to_string());
    crate::support::note(path.as_ref(), &server.pid().to_string());
    std::thread::sleep(LONG * 2);
    std::process::exit(1)
}

fn a_killed_process_ends_its_call_at_once_and_no_other() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let plain = pool().connect(&server.url(), "p").unwrap();
    let error = plain.apply(die, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    assert!(error.pid().is_some() && error.exit_status().is_some_and(|exit| exit.signal() == Some(9)), "{error}");
    assert_eq!(plain.map(square, 0..3).unwrap(), [0, 1, 4], "the pool goes on");
    let folder = Folder::new();
    let numbers: Vec<_> = (0..40).map(|number| (folder.0.clone(), number)).collect();
    let retrying = pool().retries(1).connect(&server.url(), "p").unwrap();
    assert_eq!(retrying.starmap(die_once, numbers.clone()).unwrap(), (0..40).collect::<Vec<u64>>());
    let second = Folder::new();
    let dead = plain.starmap_async(die_once, [(second.0.clone(), 1)]).unwrap();
    assert_eq!(dead.get().unwrap_err().kind(), ErrorKind::WorkerDied, "nobody asked for another try");
}

fn a_lost_host_ends_what_it_had_begun_and_no_more() {
    let server = Server::start();
    let mut lost = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    // Chunks that are short, so that some are taken ahead.
    pool.map(nap, [20; 20]).unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let calls: Vec<_> = (0..6).map(|number| (path.clone(), number, 3000)).collect();
    let results: Vec<_> = calls.into_iter().map(|args| pool.apply_async(marked, args).unwrap()).collect();
    until("one runs", || !notes(&path).is_empty());
    let begun = Instant::now();
    lost.kill();
    let _other = worker(&server.url(), "p", 6, &[]);
    let mut died = 0;
    for (number, result) in results.into_iter().enumerate() {
        match result.get() {
            Ok(value) => assert_eq!(value, number as u64),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WorkerDied);
                assert!(error.pid().is_none() && error.exit_status().is_none(), "nobody saw its end: {error}");
                assert!(error.to_string().contains("was lost while it ran"), "{error}");
                died += 1;
            }
        }
    }
    // The chunk that ran, and one at most that stood behind it in the local pool.
    assert!((1..=2).contains(&died), "{died}");
    assert!(begun.elapsed() > Duration::from_millis(900), "before the lease was over");
    let mut ran = notes(&path);
    ran.sort();
    let all = ran.len();
    ran.dedup();
    assert_eq!(all, ran.len(), "no call was made twice: {:?}", notes(&path));
}

fn what_a_lost_host_ran_runs_again_with_retries() {
    let server = Server::start();
    let mut lost = worker(&server.url(), "p", 2, &[]);
    let pool = pool().retries(3).connect(&server.url(), "p").unwrap();
    let naps = pool.chunksize(5).unwrap().map_async(nap, 100..130).unwrap();
    until("some have ended", || naps.ended().unwrap() > 0);
    lost.kill();
    let _other = worker(&server.url(), "p", 4, &[]);
    assert_eq!(naps.get().unwrap(), (100..130).collect::<Vec<u64>>());
}

/// Starts a worker of one process that cannot open any more descriptors. Returns it, the path of its output, and its
/// supervisor.
fn worker_without_descriptors(url: &str, folder: &Folder) -> (Owned, PathBuf, u32) {
    let said = folder.0.join("said");
    let mut command = itself();
    command.args(["worker", "--url", url, "--pool", "p", "--lease", "2", "-j", "1"]);
    command.stderr(std::fs::File::create(&said).unwrap());
    let host = Owned::start(command);
    let pool = pool().connect(url, "p").unwrap();
    // Short chunks, so that the local pool gets several.
    pool.chunksize(1).unwrap().map(square, 0..200).unwrap();
    let supervisor = pool.apply(parent_pid, ()).unwrap();
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &host.pid().to_string(), "--nofile=8:8"]);
    assert!(limit.status().unwrap().success());
    (host, said, supervisor)
}

fn kill_by_number(pid: u32) {
    let pidfd = pidfd_open(Pid::from_raw(pid as i32).unwrap()).unwrap();
    pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
}

/// Checks that the worker ends and prints the reason.
fn is_broken(mut host: Owned, said: &Path) {
    assert_eq!(host.join(), Some(1));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains("worker: ") && said.contains("starting another supervisor failed"), "{said}");
}

fn what_a_broken_worker_had_not_begun_goes_elsewhere() {
    let (server, folder) = (Server::start(), Folder::new());
    let (host, said, supervisor) = worker_without_descriptors(&server.url(), &folder);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let path = folder.0.join("begun");
    let give = |number, millis| pool.apply_async(marked, (path.clone(), number, millis)).unwrap();
    let first = give(0, LONG.as_millis() as u64);
    until("it runs", || !notes(&path).is_empty());
    let others: Vec<_> = (1..6).map(|number| give(number, 0)).collect();
    let tasks = server.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    until("the worker has all", || server.say(&["XPENDING", &tasks, "w"]).starts_with('6'));
    kill_by_number(supervisor);
    assert_eq!(first.get().unwrap_err().kind(), ErrorKind::WorkerDied, "it had begun");
    is_broken(host, &said);
    assert!(others.iter().all(|other| !other.ready().unwrap()), "they wait");
    let _other = worker(&server.url(), "p", 1, &[]);
    assert_eq!(others.into_iter().map(|other| other.get().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let ran = notes(&path);
    assert_eq!(ran.len(), 6, "each was made once: {ran:?}");
}

fn a_broken_worker_gives_back_what_it_claims() {
    let (server, folder) = (Server::start(), Folder::new());
    let (host, said, supervisor) = worker_without_descriptors(&server.url(), &folder);
    let pool = pool().connect(&server.url(), "p").unwrap();
    kill_by_number(supervisor);
    // The worker takes its exit status before it attempts to start another.
    until("the worker has seen that", || !Path::new(&format!("/proc/{supervisor}")).exists());
    let squares = pool.chunksize(1).unwrap().map_async(square, 0..20).unwrap();
    is_broken(host, &said);
    assert!(!squares.ready().unwrap(), "they wait");
    let _other = worker(&server.url(), "p", 1, &[]);
    assert_eq!(squares.get().unwrap(), (0..20).map(square).collect::<Vec<_>>());
}

fn a_long_call_on_a_living_host_is_made_once() {
    let server = Server::start();
    let _workers = [worker(&server.url(), "p", 2, &[]), worker(&server.url(), "p", 2, &[])];
    let pool = pool().retries(5).connect(&server.url(), "p").unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    // Three leases.
    assert_eq!(pool.apply(marked, (path.clone(), 7, 6000)).unwrap(), 7);
    assert_eq!(notes(&path), ["7"]);
}

fn a_host_that_stood_still_does_not_answer_twice() {
    let server = Server::start();
    let still = worker(&server.url(), "p", 1, &[]);
    let pool = pool().retries(5).connect(&server.url(), "p").unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let result = pool.apply_async(marked, (path.clone(), 7, 1500)).unwrap();
    until("it runs", || !notes(&path).is_empty());
    still.signal(Signal::STOP); // the worker; its local processes go on
    let _other = worker(&server.url(), "p", 1, &[]);
    until("the other has it", || notes(&path).len() == 2);
    still.signal(Signal::CONT);
    assert_eq!(result.get().unwrap(), 7);
    until("both are there again", || pool.workers() == 2);
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    assert_eq!(notes(&path).len(), 2);
}

fn a_claim_whose_answer_was_lost_goes_back() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let first = pool.apply_async(nap, (1500,)).unwrap();
    until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
    let mut second = pool.apply_async(nap, (1,)).unwrap();
    let tasks = server.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    let consumer = server.say(&["HKEYS", "{p}:workers"]) + "/r";
    // Claimed for the worker, which does not hear of it.
    let claimed = server.say(&["XREADGROUP", "GROUP", "w", &consumer, "COUNT", "1", "STREAMS", &tasks, ">"]);
    assert!(!claimed.is_empty());
    assert_eq!(first.get().unwrap(), 1500);
    assert_eq!(second.get_timeout(LONG).unwrap(), Some(1));
}

fn answers_that_are_lost_in_any_step_lose_no_call() {
    let server = Server::start();
    let thief = Thief::before(server.port);
    let _workers = [worker(&thief.url(), "p", 1, &[]), worker(&thief.url(), "p", 1, &[])];
    let pool = pool().connect(&thief.url(), "p").unwrap();
    until("both work", || pool.workers() == 2);
    let expected: Vec<u64> = (0..4000).map(|n| n % 3).collect();
    let mut stolen = 0;
    // Each theft breaks a connection, and there is another.
    while thief.connections() <= 20 {
        let mut naps = pool.map_async(nap, expected.clone()).unwrap();
        while !naps.ready().unwrap() {
            // Those of the workers and of the pool, as they come.
            thief.steal(thief.connections().saturating_sub(1 + stolen % 8), stolen % 5);
            thief.wait_within(Duration::from_millis(15));
            stolen += 1;
        }
        thief.steal(usize::MAX, 0);
        assert_eq!(naps.get_timeout(LONG).unwrap().as_ref(), Some(&expected), "no error, each value in its place");
    }
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
}

fn a_server_that_comes_back_goes_on_where_it_was() {
    let mut server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    for _ in 0..3 {
        let naps = pool.map_async(nap, (0..600).map(|n| n % 3)).unwrap();
        until("some have ended", || naps.ended().unwrap() > 50);
        server.kill();
        server.restart(&[]);
        assert_eq!(naps.get().unwrap(), (0..600).map(|n| n % 3).collect::<Vec<u64>>());
    }
}

fn a_server_that_stays_away_ends_calls_as_closed() {
    let mut server = Server::start();
    let pool = pool().outage(Duration::from_millis(700)).connect(&server.url(), "p").unwrap();
    let waits = pool.apply_async(square, (2,)).unwrap();
    server.kill();
    let begun = Instant::now();
    let error = waits.get().unwrap_err();
    assert!(
        error.kind() == ErrorKind::Closed && error.to_string().contains(&*server.socket().to_string_lossy()),
        "{error}"
    );
    assert!(begun.elapsed() > Duration::from_millis(600));
    assert_eq!(pool.apply(square, (2,)).unwrap_err().kind(), ErrorKind::Closed, "at once");
    server.restart(&[]);
    let _worker = worker(&server.url(), "p", 1, &[]);
    until("the pool has found it", || pool.apply_async(square, (3,)).is_ok());
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
}

fn leases_begin_anew_after_an_outage() {
    let mut server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let result = pool.apply_async(marked, (path.clone(), 7, 5000)).unwrap();
    until("it runs", || !notes(&path).is_empty());
    server.kill();
    std::thread::sleep(Duration::from_secs(3)); // longer than a lease
    server.restart(&[]);
    assert_eq!(result.get().unwrap(), 7, "its host could not say that it lived");
    assert_eq!(notes(&path), ["7"]);
}

/// Starts a server and a replica with all of its data, and returns both addresses.
pub fn pair() -> (Server, Server, String) {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    until("the replica has its copy", || replica.say(&["INFO", "replication"]).contains("master_link_status:up"));
    let urls = format!("{},{}", primary.url(), replica.url());
    (primary, replica, urls)
}

fn what_a_promoted_replica_lost_is_given_out_again() {
    let (mut primary, replica, urls) = pair();
    let _workers = [worker(&urls, "p", 1, &[]), worker(&urls, "p", 1, &[])];
    let pool = pool().connect(&urls, "p").unwrap();
    assert_eq!(pool.apply(square, (2,)).unwrap(), 4);
    // From now on the replica hears nothing more.
    replica.say(&["REPLICAOF", "127.0.0.1", "1"]);
    let naps = pool.map_async(nap, (0..900).map(|n| n % 3)).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    primary.kill();
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(naps.get().unwrap(), (0..900).map(|n| n % 3).collect::<Vec<u64>>());
    assert!(pool.healed() > 0);
}

fn what_was_cancelled_does_not_run_after_a_fail_over() {
    let (mut primary, replica, urls) = pair();
    let _worker = worker(&urls, "p", 1, &[]);
    let pool = pool().connect(&urls, "p").unwrap();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let long = pool.apply_async(nap, (600_000,)).unwrap();
    until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
    let behind = pool.apply_async(marked, (path.clone(), 7, 0)).unwrap();
    let tasks = primary.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    until("the replica has both", || replica.say(&["XLEN", &tasks]) == "2");
    replica.say(&["REPLICAOF", "127.0.0.1", "1"]);
    behind.cancel().unwrap();
    long.cancel().unwrap();
    until("the primary has none", || primary.say(&["XLEN", &tasks]) == "0");
    primary.kill();
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
    until("the replica has none", || replica.say(&["XLEN", &tasks]) == "0");
    assert!(notes(&path).is_empty(), "it was cancelled");
}

fn sentinels_name_the_server_that_took_over() {
    let (mut primary, replica, _) = pair();
    let folder = Folder::new();
    let ports: Vec<u16> = (0..3).map(|_| crate::support::free_port()).collect();
    let _sentinels: Vec<Owned> = ports
        .iter()
        .map(|port| {
            let path = folder.0.join(port.to_string());
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 2\nsentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 3000\n",
                primary.port
            );
            std::fs::write(&path, text).unwrap();
            let mut command = program("redis-server");
            command.arg(&path).arg("--sentinel").stdout(std::process::Stdio::null());
            Owned::start(command)
        })
        .collect();
    let knows = |port: &u16| {
        let mut ask = Command::new("redis-cli");
        let said = ask.args(["-p", &port.to_string(), "SENTINEL", "MASTER", "main"]).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).replace('\n', " ");
        said.contains("num-slaves 1") && said.contains("num-other-sentinels 2")
    };
    until("the Sentinels know each other and the replica", || ports.iter().all(knows));
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let url = format!("sentinel://{}/main", hosts.join(","));
    let _worker = worker(&url, "p", 2, &[]);
    let pool = pool().retries(3).connect(&url, "p").unwrap();
    let naps = pool.map_async(nap, (0..900).map(|n| n % 3)).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    primary.kill();
    assert_eq!(naps.get().unwrap(), (0..900).map(|n| n % 3).collect::<Vec<u64>>());
    assert!(replica.say(&["ROLE"]).starts_with("master"));
    let error = ossature_redis::Pool::connect(&url.replace("/main", "/other"), "p").unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("other"), "{error}");
}

fn an_empty_server_gets_everything_again() {
    let mut server = Server::start();
    let _worker = worker(&server.url(), "p", 2, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    let naps = pool.map_async(nap, (0..900).map(|n| n % 3)).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    server.say(&["FLUSHALL"]); // as when an empty replica was promoted, and nobody is cut off
    assert_eq!(naps.get().unwrap(), (0..900).map(|n| n % 3).collect::<Vec<u64>>());
    let naps = pool.map_async(nap, (0..900).map(|n| n % 3)).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    let tasks = server.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    server.say(&["DEL", &tasks]);
    assert_eq!(naps.get().unwrap(), (0..900).map(|n| n % 3).collect::<Vec<u64>>());
    let naps = pool.map_async(nap, (0..900).map(|n| n % 3)).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    server.kill();
    server.restart(&["--appendfilename", "another.aof"]);
    assert_eq!(naps.get().unwrap(), (0..900).map(|n| n % 3).collect::<Vec<u64>>());
    assert!(pool.healed() > 0);
}

fn a_server_without_memory_delays_calls() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(length, (vec![1; 100],)).unwrap(), 100);
    let runs = pool.apply_async(nap, (1000,)).unwrap();
    until("it runs", || pool.hosts().iter().any(|host| host.running == 1));
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut waits = pool.apply_async(length, (vec![1; 1000],)).unwrap();
    assert_eq!(runs.get().unwrap(), 1000, "what has begun is answered");
    assert_eq!(waits.get_timeout(Duration::from_millis(500)).unwrap(), None, "as if the queue were full");
    server.say(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(waits.get().unwrap(), 1000);
}

fn the_records_of_a_killed_client_go_and_its_calls_end() {
    let server = Server::start();
    let folder = Folder::new();
    let path = folder.0.join("begun");
    let mut client = itself();
    client.args(["--client", &server.url()]).arg(&path);
    let mut client = Owned::start(client);
    let _worker = worker(&server.url(), "p", 1, &[]);
    until("a call of its runs", || notes(&path).len() == 1);
    client.kill();
    let is_gone = || server.keys("p").iter().all(|key| !key.contains(":c:"));
    assert!(!is_gone());
    until("its keys are gone", is_gone);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9, "the only process is free");
    assert_eq!(notes(&path), ["0"], "the others were not begun");
}

/// Runs the program that the test above kills.
pub fn client(url: &str, path: &str) -> ! {
    let pool = pool().connect(url, "p").unwrap();
    let calls = (0..3).map(|number| (path.into(), number, 600_000));
    let results: Vec<_> = calls.map(|args| pool.apply_async(marked, args).unwrap()).collect();
    std::thread::sleep(LONG * 2);
    drop(results);
    std::process::exit(1)
}

fn a_call_that_kills_hosts_becomes_a_dead_letter_and_can_be_put_back() {
    let server = Server::start();
    let folder = Folder::new();
    let spared = folder.0.join("spared");
    let pool = pool().retries(1).connect(&server.url(), "p").unwrap();
    let poison = pool.apply_async(kill_the_host, (spared.clone(),)).unwrap();
    for _ in 0..2 {
        let mut victim = worker(&server.url(), "p", 1, &[]);
        until("it kills the host", || victim.has_ended());
    }
    let error = poison.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    until("it is a dead letter", || !pool.dead_letters().unwrap().is_empty());
    let letters = pool.dead_letters().unwrap();
    let letter = &letters[0];
    assert!(letter.task.as_deref().is_some_and(|task| task.ends_with("::kill_the_host")) && letter.calls == 1);
    assert!(letter.why.contains("2 times"), "{}", letter.why);
    let _worker = worker(&server.url(), "p", 1, &[]);
    assert_eq!(pool.apply(square, (3,)).unwrap(), 9, "it has let nobody else down");
    std::fs::write(&spared, "").unwrap();
    pool.put_back(letter).unwrap();
    assert!(pool.dead_letters().unwrap().is_empty());
    assert_eq!(pool.put_back(letter).unwrap_err().kind(), ErrorKind::NoResult);
    pool.close().unwrap();
    assert!(pool.join_timeout(LONG).unwrap());
}
