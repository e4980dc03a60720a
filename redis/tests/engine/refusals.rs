//! The refusals, with their texts and times.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::Handle;
use ossature_redis::{Pool, Worker};

use crate::support::{Server, Test, until, worker};
use crate::work::*;

pub const TESTS: &[Test] = &[
    ("a_wrong_password_is_told_with_the_address", a_wrong_password_is_told_with_the_address),
    ("a_user_without_rights_is_told_what_is_missing", a_user_without_rights_is_told_what_is_missing),
    ("nobody_at_the_address_is_told_within_the_limit", nobody_at_the_address_is_told_within_the_limit),
    ("somebody_else_at_the_address_is_told_within_the_limit", somebody_else_at_the_address_is_told_within_the_limit),
    ("wrong_names_and_addresses_are_told_at_once", wrong_names_and_addresses_are_told_at_once),
    ("a_descriptor_is_refused_before_it_is_sent", a_descriptor_is_refused_before_it_is_sent),
    ("a_task_of_no_table_is_refused", a_task_of_no_table_is_refused),
    ("a_node_of_a_cluster_names_the_one_that_has_the_keys", a_node_of_a_cluster_names_the_one_that_has_the_keys),
    ("bytes_of_a_stranger_go_to_the_dead_letters", bytes_of_a_stranger_go_to_the_dead_letters),
    ("workers_of_another_build_are_told_by_name", workers_of_another_build_are_told_by_name),
];

fn a_wrong_password_is_told_with_the_address() {
    let server = Server::with(&["--requirepass", "secret"]);
    for password in ["", "wrong@"] {
        let url = format!("redis://{}127.0.0.1:{}/", password.replace("wrong", ":wrong"), server.port);
        let begun = Instant::now();
        let error = Pool::connect(&url, "p").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port)), "{error}");
        assert!(!error.to_string().contains("wrong@"), "no password in a text: {error}");
        assert!(begun.elapsed() < Duration::from_secs(4));
        let error = Worker::new(&url, "p").unwrap().processes(1).run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    }
    let url = format!("redis://:secret@127.0.0.1:{}/", server.port);
    let _worker = worker(&url, "p", 1, &[]);
    assert_eq!(pool().connect(&url, "p").unwrap().apply(square, (2,)).unwrap(), 4);
}

fn a_user_without_rights_is_told_what_is_missing() {
    let server = Server::start();
    server.say(&["ACL", "SETUSER", "render", "on", ">secret", "~{p}*", "+@all", "-@dangerous", "-@admin"]);
    server.say(&["ACL", "SETUSER", "reader", "on", ">secret", "~{p}*", "+@read"]);
    let url = |user: &str| format!("redis://{user}:secret@127.0.0.1:{}/", server.port);
    let _worker = worker(&url("render"), "p", 1, &[]);
    assert_eq!(pool().connect(&url("render"), "p").unwrap().apply(square, (2,)).unwrap(), 4);
    for (user, name) in [("reader", "p"), ("render", "q")] {
        let error = pool().connect(&url(user), name).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("no permissions"), "{error}");
    }
}

fn nobody_at_the_address_is_told_within_the_limit() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("redis://{free}/"), "unix:///nobody/listens/here".to_owned(), format!("sentinel://{free}/main")]
    {
        let begun = Instant::now();
        let error = Pool::builder().connect_timeout(Duration::from_millis(300)).connect(&url, "p").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let place = url.split("://").nth(1).unwrap().trim_end_matches("/main").trim_end_matches('/');
        assert!(error.to_string().contains(place), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

fn somebody_else_at_the_address_is_told_within_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // takes connections, and says nothing
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let begun = Instant::now();
    let error = Pool::builder().connect_timeout(Duration::from_secs(1)).connect(&url, "p").unwrap_err();
    assert!(error.kind() == ErrorKind::Closed && begun.elapsed() < Duration::from_secs(5), "{error}");
}

fn wrong_names_and_addresses_are_told_at_once() {
    for (url, name) in [
        ("redis://a/", ""),
        ("redis://a/", "a b"),
        ("redis://a/", "a}b"),
        ("http://a/", "p"),
        ("a", "p"),
        ("sentinel://a", "p"),
    ] {
        assert_eq!(Pool::connect(url, name).unwrap_err().kind(), ErrorKind::InvalidInput, "{url} {name}");
        assert_eq!(Worker::new(url, name).unwrap_err().kind(), ErrorKind::InvalidInput, "{url} {name}");
    }
}

fn a_descriptor_is_refused_before_it_is_sent() {
    let server = Server::start();
    let pool = pool().connect(&server.url(), "p").unwrap();
    let file = || Handle(std::fs::File::open("/dev/null").unwrap());
    let error = pool.apply(open, (file(),)).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("::open"), "{error}");
    assert_eq!(pool.map(open, [file()]).unwrap_err().kind(), ErrorKind::Unsupported);
    let error = pool.imap(open, [file()]).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(server.keys("p").iter().all(|key| !key.contains(":tasks:")), "{:?}", server.keys("p"));
}

fn a_node_of_a_cluster_names_the_one_that_has_the_keys() {
    let nodes = [0, 1].map(|_| {
        let bus = crate::support::free_port().to_string();
        Server::with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
    });
    let bus = nodes[1].say(&["CONFIG", "GET", "cluster-port"]).lines().last().unwrap().to_owned();
    nodes[0].say(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string(), &bus]);
    nodes[0].say(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    nodes[1].say(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    let agree = |node: &Server| {
        let info = node.say(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    };
    until("the nodes agree", || nodes.iter().all(agree));
    let slot: u32 = nodes[0].say(&["CLUSTER", "KEYSLOT", "{p}:labels"]).parse().unwrap();
    let (has, other) = if slot < 8192 { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    let error = pool().connect(&other.tcp(), "p").unwrap_err();
    let (there, here) = (format!("127.0.0.1:{}", has.port), format!("127.0.0.1:{}", other.port));
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!([&there, &here].iter().all(|place| error.to_string().contains(place.as_str())), "{error}");
    assert!(error.to_string().contains("cluster"), "{error}");
    let both = format!("{},{}", other.tcp(), has.tcp());
    let _worker = worker(&both, "p", 1, &[]);
    assert_eq!(
        pool().connect(&both, "p").unwrap().apply(square, (3,)).unwrap(),
        9,
        "of several, the one that has them"
    );
}

fn a_task_of_no_table_is_refused() {
    fn stranger() {}
    let server = Server::start();
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(stranger, ()).unwrap_err().kind(), ErrorKind::UnknownTask);
}

fn bytes_of_a_stranger_go_to_the_dead_letters() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &[]);
    let pool = pool().connect(&server.url(), "p").unwrap();
    assert_eq!(pool.apply(square, (2,)).unwrap(), 4);
    let tasks = server.keys("p").into_iter().find(|key| key.contains(":tasks:")).unwrap();
    let _ = server.say(&["XADD", &tasks, "*", "hello", "world"]);
    let _ = server.say(&["XADD", &tasks, "*", "c", "x", "n", "1", "b", "no calls"]);
    let busy = pool.map_async(nap, [100; 5]).unwrap();
    let _ = server.say(&["XADD", &tasks, "*", "hello", "again"]);
    assert_eq!(busy.get().unwrap(), [100; 5], "nobody stops");
    until("they are listed", || pool.dead_letters().unwrap().len() >= 2);
    let letters = pool.dead_letters().unwrap();
    assert!(letters.iter().all(|letter| letter.task.is_none() && letter.why.contains("not a chunk")), "{letters:?}");
    assert_eq!(pool.put_back(&letters[0]).unwrap_err().kind(), ErrorKind::Decode);
    until("nothing is pending", || server.say(&["XPENDING", &tasks, "w"]).starts_with('0'));
}

fn workers_of_another_build_are_told_by_name() {
    let server = Server::start();
    let _worker = worker(&server.url(), "p", 1, &["--accept", "render-3"]);
    let builder = || pool().start_timeout(Duration::from_millis(500));
    let pool = builder().accept("render-2").unwrap().connect(&server.url(), "p").unwrap();
    until("the worker is there", || !pool.hosts().is_empty());
    assert_eq!(pool.workers(), 0, "none of this version");
    let error = pool.apply(square, (2,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("v:render-2") && error.to_string().contains("v:render-3"), "{error}");
    let third = builder().accept("render-3").unwrap().connect(&server.url(), "p").unwrap();
    assert_eq!(third.apply(square, (2,)).unwrap(), 4, "both vouch for the form");
    let own = builder().connect(&server.url(), "p").unwrap();
    assert_eq!(own.apply(square, (2,)).unwrap(), 4, "they are one file");
}
