//! Queues: their calls, and the outcome of items when a getter or the server fails.

use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature_redis::Queue;

use crate::failures::pair;
use crate::support::{Folder, LONG, Owned, Server, Test, Thief, itself, notes, until};
use crate::work::queue;

pub const TESTS: &[Test] = &[
    ("items_come_out_in_the_order_in_which_they_were_put", items_come_out_in_the_order_in_which_they_were_put),
    ("a_full_queue_lets_nothing_in_within_the_limit", a_full_queue_lets_nothing_in_within_the_limit),
    ("an_item_of_a_killed_getter_comes_again", an_item_of_a_killed_getter_comes_again),
    ("a_guarded_item_stays_for_as_long_as_its_getter_lives", a_guarded_item_stays_for_as_long_as_its_getter_lives),
    ("a_queue_is_joined_once_every_item_is_finished", a_queue_is_joined_once_every_item_is_finished),
    ("a_put_over_a_broken_connection_is_one", a_put_over_a_broken_connection_is_one),
    ("a_call_whose_answer_is_lost_is_made_once", a_call_whose_answer_is_lost_is_made_once),
    ("a_put_whose_end_is_unknown_takes_no_other_with_it", a_put_whose_end_is_unknown_takes_no_other_with_it),
    (
        "a_put_under_one_name_is_one_though_a_replica_takes_over",
        a_put_under_one_name_is_one_though_a_replica_takes_over,
    ),
    ("what_a_replica_lacks_of_a_queue_is_lost", what_a_replica_lacks_of_a_queue_is_lost),
    ("a_put_waits_for_memory_within_its_limit", a_put_waits_for_memory_within_its_limit),
];

fn items_come_out_in_the_order_in_which_they_were_put() {
    let server = Server::start();
    let (one, other) = (queue(&server.url(), None), queue(&server.url(), None));
    for number in 0..50 {
        one.put(number).unwrap();
    }
    assert_eq!((one.len().unwrap(), one.unfinished().unwrap(), one.is_empty().unwrap()), (50, 50, false));
    let got: Vec<u64> = (0..50).map(|n| if n % 2 == 0 { &one } else { &other }.get().unwrap()).collect();
    assert_eq!(got, (0..50).collect::<Vec<_>>());
    assert_eq!(one.get_timeout(Duration::from_millis(50)).unwrap(), None);
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| other.get_timeout(LONG).unwrap());
        until("the getter waits at the server", || server.waiting() == 1);
        one.put(7).unwrap();
        assert_eq!(waits.join().unwrap(), Some(7));
    });
    let files: Queue<Handle<std::fs::File>> = Queue::connect(&server.url(), "files").unwrap();
    let error = files.put(Handle(std::fs::File::open("/dev/null").unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let texts: Queue<String> = Queue::connect(&server.url(), "q").unwrap();
    one.put(1_u64 << 40).unwrap();
    assert_eq!(texts.get_timeout(LONG).unwrap_err().kind(), ErrorKind::Decode);
    assert!(texts.is_empty().unwrap());
}

fn a_full_queue_lets_nothing_in_within_the_limit() {
    let server = Server::start();
    let bounded = queue(&server.url(), Some(2));
    (0..2).for_each(|number| bounded.put(number).unwrap());
    let begun = Instant::now();
    let error = bounded.put_timeout(2, Duration::from_millis(100)).unwrap_err();
    assert!(error.kind() == ErrorKind::Full && begun.elapsed() >= Duration::from_millis(100), "{error}");
    let other = queue(&server.url(), Some(2));
    std::thread::scope(|threads| {
        let puts = threads.spawn(|| bounded.put_timeout(3, LONG));
        assert_eq!(other.get().unwrap(), 0);
        puts.join().unwrap().unwrap();
    });
    let guarded = other.get_guarded().unwrap();
    assert_eq!((*guarded, other.len().unwrap()), (1, 2), "a guarded item takes its place");
    drop(guarded);
    assert_eq!(other.len().unwrap(), 1);
    let error = Queue::builder().maxsize(0).connect::<u8>(&server.url(), "q").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn an_item_of_a_killed_getter_comes_again() {
    let server = Server::start();
    let folder = Folder::new();
    let path = folder.0.join("got");
    let mine = queue(&server.url(), None);
    mine.put(7).unwrap();
    mine.put(8).unwrap();
    let mut getter = itself();
    getter.args(["--getter", &server.url()]).arg(&path);
    let mut getter = Owned::start(getter);
    until("it has the item", || notes(&path) == ["7"]);
    let begun = Instant::now();
    getter.kill();
    assert_eq!(mine.get().unwrap(), 8, "the next one need not wait");
    assert_eq!(mine.get_timeout(LONG).unwrap(), Some(7));
    assert!(begun.elapsed() > Duration::from_millis(800), "before the lease was over");
    assert!(mine.is_empty().unwrap());
}

/// Runs the program that the test above kills.
pub fn getter(url: &str, path: &str) -> ! {
    let queue = queue(url, None);
    let item = queue.get_guarded().unwrap();
    crate::support::note(path.as_ref(), &item.to_string());
    std::thread::sleep(LONG * 2);
    std::process::exit(1)
}

fn a_guarded_item_stays_for_as_long_as_its_getter_lives() {
    let server = Server::start();
    let (one, other) = (queue(&server.url(), None), queue(&server.url(), None));
    one.put(7).unwrap();
    let guarded = one.get_guarded().unwrap();
    assert_eq!(other.get_timeout(Duration::from_secs(3)).unwrap(), None, "longer than a lease");
    drop(one); // the guard goes on
    assert_eq!(other.get_timeout(Duration::from_secs(3)).unwrap(), None);
    guarded.give_back().unwrap();
    let again = other.get_guarded_timeout(LONG).unwrap().unwrap();
    assert_eq!(again.done().unwrap(), 7);
    assert!(other.is_empty().unwrap());
    other.put(8).unwrap();
    let third = queue(&server.url(), None);
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guarded = third.get_guarded().unwrap();
        panic!("this one is meant to be");
    }));
    assert!(panics.is_err());
    assert_eq!(other.get_timeout(LONG).unwrap(), Some(8), "it went back");
}

fn a_queue_is_joined_once_every_item_is_finished() {
    let server = Server::start();
    let (one, other) = (queue(&server.url(), None), queue(&server.url(), None));
    assert!(one.join_timeout(Duration::ZERO).unwrap());
    assert_eq!(one.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    one.put(1).unwrap();
    one.put(2).unwrap();
    assert_eq!((other.get().unwrap(), other.get().unwrap()), (1, 2));
    other.task_done().unwrap();
    assert!(!one.join_timeout(Duration::from_millis(50)).unwrap());
    std::thread::scope(|threads| {
        let joins = threads.spawn(|| one.join_timeout(LONG));
        other.task_done().unwrap();
        assert!(joins.join().unwrap().unwrap());
    });
}

fn a_put_over_a_broken_connection_is_one() {
    let mut server = Server::start();
    let (puts, gets) = (queue(&server.url(), None), queue(&server.url(), None));
    puts.put(0).unwrap();
    let mine = server.keys("q").into_iter().find(|key| key.starts_with("{q}:q:")).unwrap();
    let stays: u64 = server.say(&["PTTL", &mine]).parse().unwrap();
    assert!(stays > 60_000, "the server knows a put for as long as the outage in which it is repeated: {stays} ms");
    let got = std::thread::scope(|threads| {
        let putting = threads.spawn(|| (1..3000).for_each(|number| puts.put(number).unwrap()));
        for part in 1..4 {
            until("some are put", || server.say(&["GET", "{q}:unfinished"]).parse::<u64>().unwrap() > part * 100);
            server.kill();
            server.restart(&[]);
        }
        let mut got = Vec::new();
        while got.len() < 3000 {
            got.push(gets.get_timeout(LONG).unwrap().expect("nothing is lost"));
        }
        putting.join().unwrap();
        got
    });
    assert_eq!(got, (0..3000).collect::<Vec<u64>>(), "in order, each once");
    assert_eq!(gets.get_timeout(Duration::from_millis(50)).unwrap(), None);
}

fn a_call_whose_answer_is_lost_is_made_once() {
    let server = Server::start();
    let thief = Thief::before(server.port);
    let queue = queue(&thief.url(), None);
    until("the thread that says that the user lives has its connection", || thief.connections() == 2);
    queue.put(1).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    queue.task_done().unwrap(); // the server knows the scripts now
    (2..5).for_each(|number| queue.put(number).unwrap());
    thief.steal(0, 0);
    queue.put(5).unwrap();
    assert_eq!((queue.len().unwrap(), queue.unfinished().unwrap()), (4, 4), "it was put once");
    thief.steal(thief.connections() - 1, 0);
    queue.task_done().unwrap();
    assert_eq!(queue.unfinished().unwrap(), 3, "it was finished once");
    for (number, answers) in [(2, 0), (3, 1)] {
        thief.steal(thief.connections() - 1, answers); // that with the item, that of the end
        assert_eq!(queue.get_timeout(LONG).unwrap(), Some(number));
    }
    let guarded = queue.get_guarded().unwrap();
    thief.steal(thief.connections() - 1, 0);
    guarded.give_back().unwrap();
    let guarded = queue.get_guarded().unwrap();
    thief.steal(thief.connections() - 1, 0);
    assert_eq!(guarded.done().unwrap(), 4);
    assert_eq!((queue.get().unwrap(), queue.is_empty().unwrap()), (5, true));
    assert_eq!(thief.connections(), 2 + 6, "each was stolen");
}

fn a_put_whose_end_is_unknown_takes_no_other_with_it() {
    let mut server = Server::start();
    let builder = Queue::builder().lease(Duration::from_secs(2)).outage(Duration::from_millis(300));
    let puts: Queue<u64> = builder.connect(&server.url(), "q").unwrap();
    puts.put(1).unwrap();
    // The server does not answer, and ends.
    server.say(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    let error = std::thread::scope(|threads| {
        let putting = threads.spawn(|| puts.put(2));
        until("the put has come there", || server.waiting() == 1);
        server.kill();
        putting.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    server.restart(&[]);
    // As if that put had come there.
    let mine = server.keys("q").into_iter().find(|key| key.starts_with("{q}:q:")).unwrap();
    server.say(&["SET", &mine, "2"]);
    puts.put(3).unwrap();
    assert_eq!((puts.get().unwrap(), puts.get_timeout(LONG).unwrap()), (1, Some(3)));
}

fn a_put_under_one_name_is_one_though_a_replica_takes_over() {
    let (mut primary, replica, urls) = pair();
    let puts = queue(&urls, None);
    assert!(puts.put_once("order 1", 1).unwrap(), "it is the first");
    assert!(!puts.put_once("order 1", 1).unwrap(), "the name is taken");
    assert!(puts.put_once("order 2", 2).unwrap());
    assert_eq!((puts.len().unwrap(), puts.get().unwrap()), (2, 1));
    assert!(!puts.put_once("order 1", 1).unwrap(), "also when the item is gone");
    let bounded = queue(&urls, Some(1));
    assert_eq!(bounded.put_once_timeout("order 3", 3, Duration::from_millis(50)).unwrap_err().kind(), ErrorKind::Full);
    assert!(!bounded.put_once_timeout("order 2", 2, Duration::ZERO).unwrap(), "it needs no room");
    let has_all =
        || [&["EXISTS", "{q}:once:order 2"], &["XLEN", "{q}:tasks:q"]].iter().all(|ask| replica.say(*ask) == "1");
    until("the replica has all", has_all);
    replica.say(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(puts.put_once("order 3", 3).unwrap()); // the replica does not hear of it
    primary.kill();
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    for (number, lost) in [(1, false), (2, false), (3, true)] {
        assert_eq!(puts.put_once(&format!("order {number}"), number).unwrap(), lost, "{number}");
    }
    assert_eq!((puts.get().unwrap(), puts.get().unwrap(), puts.len().unwrap()), (2, 3, 0), "each once");
    for name in ["".to_owned(), "x".repeat(501)] {
        assert_eq!(puts.put_once(&name, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let brief = Queue::builder().names_stay(Duration::from_millis(200)).connect::<u64>(&urls, "q").unwrap();
    assert!(brief.put_once("brief", 1).unwrap());
    until("the name is forgotten", || brief.put_once("brief", 1).unwrap());
}

fn what_a_replica_lacks_of_a_queue_is_lost() {
    let (mut primary, replica, urls) = pair();
    let puts = queue(&urls, None);
    puts.put(1).unwrap();
    until("the replica has it", || replica.say(&["XLEN", "{q}:tasks:q"]) == "1");
    replica.say(&["REPLICAOF", "127.0.0.1", "1"]);
    puts.put(2).unwrap();
    primary.kill();
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    puts.put(3).unwrap();
    assert_eq!((puts.get().unwrap(), puts.get().unwrap()), (1, 3), "nobody has the second to put it again");
    assert_eq!(puts.get_timeout(Duration::from_millis(50)).unwrap(), None);
}

fn a_put_waits_for_memory_within_its_limit() {
    let server = Server::start();
    let puts = queue(&server.url(), None);
    puts.put(1).unwrap();
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(puts.put_timeout(2, Duration::from_millis(200)).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(puts.get().unwrap(), 1, "what is there can be got");
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| puts.put_timeout(3, LONG));
        let refused = server.errors("OOM");
        until("it was refused", || server.errors("OOM") > refused);
        server.say(&["CONFIG", "SET", "maxmemory", "0"]);
        waits.join().unwrap().unwrap();
    });
    assert_eq!(puts.get().unwrap(), 3);
}
