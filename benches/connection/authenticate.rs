//! To connect, to prove to each other that one knows the key, and to hang up: beside CPython's client and listener. The server
//! is another process on the same core.

use std::time::Duration;

use ossature::multiprocessing::connection::{Address, AuthKey, Client, Family, Listener};
use ossature::sys::process::{Child, fork};
use ossature_benches::bench::Bench;
use ossature_benches::python::Python;
use ossature_benches::report::{Bar, Line, Unit};
use ossature_benches::rounds::Rounds;

/// The key, a listener in another interpreter, and its address.
const PYTHON: [&str; 5] = [
    "import os; from multiprocessing.connection import Client, Listener",
    "key = b'k' * 32; listener = Listener(FAMILY, backlog=128, authkey=key); address = listener.address",
    "exec('def serve():\\n while True: listener.accept().close()')",
    "child = os.fork() or serve()",
    "import atexit, signal; atexit.register(os.kill, child, signal.SIGKILL)",
];

/// Of one burst.
const SPAN: Duration = Duration::from_millis(1);

/// Ends with its owner.
struct Server(Child);

impl Server {
    fn start(listener: &Listener) -> Self {
        Self(
            fork(|| {
                loop {
                    drop(listener.accept())
                }
            })
            .expect("a process"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is reaped here; if that fails it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn rows(bench: &Bench) {
    let arbitrary = |family| Address::arbitrary(family).expect("an address");
    authenticate(bench, "authenticate-unix", &arbitrary(Family::Unix), "None, 'AF_UNIX'");
    // Out of reach, for most of it is the kernel's: the same exchange of bare calls in C takes 0.63.
    authenticate(bench, "authenticate-tcp", &arbitrary(Family::Inet), "('localhost', 0)");
}

fn authenticate(bench: &Bench, row: &str, address: &Address, family: &str) {
    if !bench.wants(row) {
        return;
    }
    let key = AuthKey::from(&[b'k'; 32]);
    let listener = Listener::builder().authkey(&key).bind(address).expect("a listener");
    let _server = Server::start(&listener);
    let client = Client::builder().authkey(&key);
    let connect = || drop(client.clone().connect(listener.address()).expect("the same key"));
    let bar = Bar::AtMost(0.55);
    let setup = PYTHON.map(|line| line.replace("FAMILY", family));
    let Some(mut python) = Python::start(&setup.each_ref().map(String::as_str)) else {
        let mut rounds = Rounds::new();
        rounds.add("ours", connect);
        let ours = rounds.run(bench.scaled(300), SPAN).median("ours");
        let (row, rival) = (row.to_owned(), "cpython".to_owned());
        bench.print(Line { row, unit: Unit::Nanoseconds, ours, rival, theirs: None, ratio: None, bar });
        return;
    };
    let mut rounds = Rounds::new();
    rounds.add("ours", connect);
    rounds.add_burst("cpython", |repeats| python.time("Client(address, authkey=key).close()", repeats));
    let samples = rounds.run(bench.scaled(300), SPAN);
    bench.compare(row, &samples, "ours", "cpython", bar);
}
