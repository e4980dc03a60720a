//! Waits that end: stopped servers, signals, and peers over TCP.

use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{AuthKey, pipe};
use ossature::multiprocessing::managers::{Manager, Proxy, reply_timeout, set_reply_timeout};
use ossature::multiprocessing::{Context, Process};
use ossature::sys::errno::Errno;
use ossature::sys::signal::Signal;

use crate::LONG;
use crate::calls::bank;
use crate::harness::Test;
use crate::served::AccountProxy;

pub const TESTS: &[Test] = &[
    ("stopped_server_keeps_nobody_waiting", stopped_server_keeps_nobody_waiting),
    ("call_with_a_limit_ends_and_is_forgotten", call_with_a_limit_ends_and_is_forgotten),
    ("object_for_a_client_that_has_gone_is_dropped", object_for_a_client_that_has_gone_is_dropped),
    ("server_ignores_interrupts_and_ends_when_terminated", server_ignores_interrupts_and_ends_when_terminated),
    ("both_ends_of_a_tcp_connection_are_kept_alive", both_ends_of_a_tcp_connection_are_kept_alive),
    ("thousand_clients_wait_and_another_is_served", thousand_clients_wait_and_another_is_served),
];

fn late<T>(what: &str, result: ossature::Result<T>) {
    let error = result.err().unwrap_or_else(|| panic!("{what} was answered by a stopped server"));
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::TIMEDOUT)), "{what}: {error}");
    assert!(error.to_string().contains("set_reply_timeout"), "{error}");
}

/// Stops all threads of a server. Otherwise a thread could execute a request, and stop before its reply.
fn stop(server: &Process) {
    server.signal(Signal::STOP).unwrap();
    let threads = format!("/proc/{}/task", server.pid().unwrap());
    let is_stopped = |thread: std::io::Result<std::fs::DirEntry>| {
        let state = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        state.rsplit(") ").next().unwrap().starts_with('T')
    };
    let begun = Instant::now();
    while !std::fs::read_dir(&threads).unwrap().all(is_stopped) {
        assert!(begun.elapsed() < LONG, "the server is not stopped");
        thread::yield_now();
    }
}

fn stopped_server_keeps_nobody_waiting() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let (list, queue) = (manager.list([1]).unwrap(), manager.queue::<u8>(0).unwrap());
    let (near, far) = pipe().unwrap();
    near.send(&list).unwrap();
    let (address, key) = (manager.address().clone(), ossature::multiprocessing::current_process().authkey().unwrap());
    let server = manager.process().unwrap();

    set_reply_timeout(Duration::from_millis(100));
    assert_eq!(reply_timeout(), Duration::from_millis(100));
    stop(server);
    let begun = Instant::now();
    late("create", manager.list([2]));
    late("a method", list.len());
    late("a copy", list.to_vec());
    late("a text", list.as_ref().display());
    late("a wait with a limit", queue.get_timeout(Duration::from_millis(1)));
    late("number_of_objects", manager.number_of_objects());
    late("debug_info", manager.debug_info());
    late("a second manager", Manager::connect(&address, &key));
    assert!(near.send(&list).is_err(), "a reference that is lent");
    assert!(far.recv_timeout::<Proxy>(LONG).is_err(), "a reference that is claimed");
    let child = Process::fork(|| late("a first call of a forked child", list.len())).unwrap();
    assert!(child.join_timeout(LONG).unwrap().expect("it ends").success());
    assert_eq!(queue.as_ref().call_timeout::<u8>("get", (), Duration::from_millis(50)).unwrap(), None);
    drop(queue); // goes back once the server reads again
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());

    set_reply_timeout(Duration::from_secs(30));
    server.signal(Signal::CONT).unwrap();
    assert_eq!(list.to_vec().unwrap(), [1], "the session went on");
    let fresh = manager.list([3]).unwrap();
    assert_eq!(fresh.to_vec().unwrap(), [3]);
    drop(fresh);
    // Replies that came late are not taken for others. The ticket that nobody claimed keeps the list; objects that were
    // made for nobody are gone.
    let begun = Instant::now();
    while manager.number_of_objects().unwrap() != 1 {
        assert!(begun.elapsed() < LONG, "{}", manager.debug_info().unwrap());
        thread::sleep(Duration::from_millis(2));
    }
    assert!(manager.debug_info().unwrap().contains("[1]"));
}

fn call_with_a_limit_ends_and_is_forgotten() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let queue = manager.queue::<u8>(0).unwrap();
    assert_eq!(queue.as_ref().call_timeout::<u8>("get", (), Duration::from_millis(30)).unwrap(), None);
    let begun = Instant::now();
    while !queue.as_ref().display().unwrap().contains(" 0 waiting") {
        assert!(begun.elapsed() < LONG, "the server has not forgotten the call");
    }
    queue.put(&7).unwrap();
    assert_eq!(queue.as_ref().call_timeout::<u8>("get", (), LONG).unwrap(), Some(7), "nobody else took it");
}

fn object_for_a_client_that_has_gone_is_dropped() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 10).unwrap();
    let lost = account.as_ref().call_timeout::<()>("slow_branch", (200,), Duration::from_millis(30));
    assert!(lost.unwrap().is_none());
    account.sleep(400).unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 1, "{}", manager.debug_info().unwrap());
}

fn server_ignores_interrupts_and_ends_when_terminated() {
    for context in [Context::Spawn, Context::Fork] {
        let manager = Manager::start(context).unwrap();
        let queue = manager.queue::<u8>(0).unwrap();
        let server = manager.process().unwrap();
        server.signal(Signal::INT).unwrap();
        queue.put(&1).unwrap();
        assert_eq!(queue.get().unwrap(), 1, "{context:?}: an interrupt is for the program");
        let kind = thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.get().unwrap_err().kind());
            while !queue.as_ref().display().unwrap().contains(" 1 waiting") {}
            server.terminate().unwrap();
            waiter.join().unwrap()
        });
        assert_eq!(kind, ErrorKind::Closed, "{context:?}");
        let exit = server.join_timeout(LONG).unwrap().expect("it ends");
        assert_eq!(exit.signal(), Some(Signal::TERM.as_raw()), "{context:?}");
        let begun = Instant::now();
        drop(manager);
        assert!(begun.elapsed() < LONG / 2, "a server that is gone is not waited for");
    }
}

/// The timers of the connections at a port: `02` means that keepalive is on.
fn timers(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let established = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = established.filter(|it| it[3] == "01" && (it[1].ends_with(&port) || it[2].ends_with(&port)));
    ours.map(|it| it[5][..2].to_owned()).collect()
}

fn both_ends_of_a_tcp_connection_are_kept_alive() {
    let manager = Manager::builder().address(("127.0.0.1", 0)).start(Context::Spawn).unwrap();
    let list = manager.list([1]).unwrap();
    let ossature::multiprocessing::connection::Address::Inet(_, port) = manager.address() else { panic!() };
    assert_eq!(list.len().unwrap(), 1);
    let begun = Instant::now();
    loop {
        // `01` is the timer of bytes that are not acknowledged yet. Both ends of the control connection and of this
        // thread's.
        let timers = timers(*port);
        if timers.len() >= 4 && timers.iter().all(|timer| timer == "02") {
            return;
        }
        assert!(begun.elapsed() < LONG / 2, "{timers:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn thousand_clients_wait_and_another_is_served() {
    use ossature::multiprocessing::connection::ConnectBuilder;
    use ossature::multiprocessing::connection::pickle::{Value, encode};

    const MANY: usize = 1000;
    // Each end has one descriptor a client, and the server is another process.
    let limit = ossature::sys::process::rlimit(ossature::sys::process::Resource::Nofile).unwrap();
    if limit.current.is_some_and(|most| most < MANY as u64 + 100) {
        println!("skipped: the limit of descriptors is {:?}", limit.current);
        return;
    }
    let key = AuthKey::from("thousand");
    let manager = Manager::builder().authkey(&key).start(Context::Spawn).unwrap();
    let queue = manager.queue::<u32>(0).unwrap();
    let request = |ident: Value, method: &str, args: Vec<Value>| {
        encode(&Value::Tuple(vec![ident, method.into(), Value::Tuple(args), Value::Dict(Vec::new())])).unwrap()
    };
    let clients: Vec<_> = (0..MANY)
        .map(|_| {
            let client = ConnectBuilder::new().authkey(&key).connect(manager.address()).unwrap();
            client.send_bytes(&request(Value::None, "accept_connection", vec!["many".into()])).unwrap();
            assert!(client.recv_bytes_timeout(LONG).unwrap().is_some());
            client.send_bytes(&request(queue.as_ref().ident().into(), "get", Vec::new())).unwrap();
            client
        })
        .collect();
    let begun = Instant::now();
    while !queue.as_ref().display().unwrap().contains(&format!(" {MANY} waiting")) {
        assert!(begun.elapsed() < LONG, "{}", queue.as_ref().display().unwrap());
    }
    let list = manager.list([1, 2]).unwrap();
    assert_eq!(list.to_vec().unwrap(), [1, 2], "another client is served");
    for number in 0..MANY {
        queue.put(&(number as u32)).unwrap();
    }
    for client in clients {
        assert!(client.recv_bytes_timeout(LONG).unwrap().is_some(), "each got one");
    }
    assert_eq!(queue.qsize().unwrap(), 0);
}
