//! A thousand connections of one process, and the cost of a client to the server.

use std::cell::Cell;
use std::fs;
use std::sync::Barrier;
use std::time::Duration;

use ossature::multiprocessing::connection::pickle::{Decoder, Value, encode};
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection};
use ossature::multiprocessing::managers::Limits;
use ossature::multiprocessing::{Context, Manager};
use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

use crate::served::{pin_process, server_of};

const CONNECTIONS: usize = 1000;

fn request(ident: Value, method: &str, args: Vec<Value>) -> Vec<u8> {
    let request = Value::Tuple(vec![ident, method.into(), Value::Tuple(args), Value::Dict(Vec::new())]);
    encode(&request).expect("plain data")
}

fn ask(connection: &Connection, request: &[u8]) -> Vec<u8> {
    connection.send_bytes(request).expect("it reads");
    connection.recv_bytes().expect("it replies")
}

/// A connection for calls, like that of a client's thread.
fn dial(address: &Address, key: &AuthKey) -> Connection {
    let connection = ConnectBuilder::new().authkey(key).connect(address).expect("a connection");
    ask(&connection, &request(Value::None, "accept_connection", vec!["bench".into()]));
    connection
}

/// Measures the same calls over a thousand connections in turn, over a thousand at once, and over one.
pub fn thousand(bench: &Bench, core: usize) {
    let row = "thousand-connections";
    if !bench.wants(row) {
        return;
    }
    let key = AuthKey::random().expect("randomness");
    let builder = Manager::builder().authkey(&key).limits(Limits { exchanges: 0, ..Limits::default() });
    let manager = builder.start(Context::Spawn).expect("a server");
    pin_process(server_of(&manager), core);
    let dict = manager.dict::<String, i64>().expect("a dict");
    dict.insert(&"k".to_owned(), &7).expect("the server stores the value");
    let get = request(dict.as_ref().ident().into(), "get", vec!["k".into()]);
    let all: Vec<Connection> = (0..CONNECTIONS).map(|_| dial(manager.address(), &key)).collect();
    let one = dial(manager.address(), &key);
    let seven = Decoder::new().decode(&ask(&one, &get)).expect("a reply");
    assert_eq!(seven.as_items().and_then(|items| items[1].as_int()), Some(7));
    let next = Cell::new(0);
    let mut rounds = Rounds::new();
    rounds.add("one", || drop(ask(&one, &get)));
    rounds.add("in-turn", || {
        let at = next.get();
        next.set((at + 1) % CONNECTIONS);
        drop(ask(&all[at], &get));
    });
    rounds.add_burst("at-once", |_| {
        let start = std::time::Instant::now();
        all.iter().for_each(|connection| connection.send_bytes(&get).expect("it reads"));
        all.iter().for_each(|connection| drop(connection.recv_bytes().expect("it replies")));
        start.elapsed().as_nanos() as f64 / CONNECTIONS as f64
    });
    let samples = machine::on_core(core, || rounds.run(bench.scaled(60), Duration::from_millis(10)));
    // Throughput is the inverse: at least 0.8 of it is at most 1.25 of the time.
    for way in ["in-turn", "at-once"] {
        bench.compare(&format!("{row}-{way}"), &samples, way, "one", Bar::AtMost(1.25));
    }
}

/// The private memory of a process in KiB: neither shared memory nor the program's text.
fn own(process: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let figure = |line: &str| line.split_whitespace().nth(1).and_then(|figure| figure.parse::<f64>().ok());
    rollup.lines().filter(|line| line.starts_with("Private_Dirty")).filter_map(figure).sum()
}

/// The number of clients, each with shared memory.
const CLIENTS: usize = 200;
/// The number of pages of an exchange.
const EXCHANGE: f64 = 8.0;

/// Measures the cost of a client: the server's private pages, and the pages that the client and the server share.
pub fn memory(bench: &Bench) {
    let row = "memory-of-a-client";
    if !bench.wants(row) {
        return;
    }
    let manager = Manager::start(Context::Spawn).expect("a server");
    let list = manager.list::<i64>([1]).expect("a list");
    let call = || (0..10).for_each(|_| assert_eq!(list.len().expect("an answer"), 1));
    call();
    let (server, here, done) = (server_of(&manager), Barrier::new(CLIENTS + 1), Barrier::new(CLIENTS + 1));
    let before = own(server);
    let after = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                assert!(manager.shares_memory().expect("a connection"));
                call();
                here.wait();
                done.wait();
            });
        }
        here.wait();
        let after = own(server);
        done.wait();
        after
    });
    let ours = (after - before) / CLIENTS as f64 + EXCHANGE;
    let (row, rival, theirs) = (row.to_owned(), "limit".to_owned(), Some(16.0));
    bench.print(Line { row, unit: Unit::Kibibytes, ours, rival, theirs, ratio: None, bar: Bar::AtMost(1.0) });
}
