//! Queues: their calls, and what becomes of items when a getter or the server fails.

use std::process::Command;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature_redis::Queue;

use crate::support::{Folder, LONG, Owned, Server, Test, notes, until};
use crate::work::queue;

pub const TESTS: &[Test] = &[
    ("items_come_out_in_the_order_in_which_they_were_put", items_come_out_in_the_order_in_which_they_were_put),
    ("a_full_queue_lets_nothing_in_within_the_limit", a_full_queue_lets_nothing_in_within_the_limit),
    ("an_item_of_a_killed_getter_comes_again", an_item_of_a_killed_getter_comes_again),
    ("a_guarded_item_stays_for_as_long_as_its_getter_lives", a_guarded_item_stays_for_as_long_as_its_getter_lives),
    ("a_queue_is_joined_once_every_item_is_finished", a_queue_is_joined_once_every_item_is_finished),
    ("a_put_over_a_broken_connection_is_one", a_put_over_a_broken_connection_is_one),
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
    let waits = std::thread::scope(|threads| {
        let waits = threads.spawn(|| {
            let value = other.get_timeout(LONG).unwrap();
            (value, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(120));
        let put = Instant::now();
        one.put(7).unwrap();
        let (value, at) = waits.join().unwrap();
        assert_eq!(value, Some(7));
        at.saturating_duration_since(put)
    });
    assert!(waits < Duration::from_secs(2), "{waits:?}");
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
    let mut getter = Command::new(std::env::current_exe().unwrap());
    let mut getter = Owned::start(getter.args(["--getter", &server.url()]).arg(&path));
    until("it has the item", || notes(&path) == ["7"]);
    let begun = Instant::now();
    getter.kill();
    assert_eq!(mine.get().unwrap(), 8, "the next one need not wait");
    assert_eq!(mine.get_timeout(LONG).unwrap(), Some(7));
    assert!(begun.elapsed() > Duration::from_millis(800), "before the lease was over");
    assert!(mine.is_empty().unwrap());
}

/// The program that is killed above.
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
    let got = std::thread::scope(|threads| {
        let putting = threads.spawn(|| (0..3000).for_each(|number| puts.put(number).unwrap()));
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
            server.kill();
            std::thread::sleep(Duration::from_millis(100));
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

fn a_put_waits_for_memory_within_its_limit() {
    let server = Server::start();
    let puts = queue(&server.url(), None);
    puts.put(1).unwrap();
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(puts.put_timeout(2, Duration::from_millis(200)).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(puts.get().unwrap(), 1, "what is there can be got");
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| puts.put_timeout(3, LONG));
        std::thread::sleep(Duration::from_millis(100));
        server.say(&["CONFIG", "SET", "maxmemory", "0"]);
        waits.join().unwrap().unwrap();
    });
    assert_eq!(puts.get().unwrap(), 3);
}
