//! Clients that know the key and mean no good, and peers that do not know it.

use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::pickle::{Decoder, Global, Object, Value, encode};
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, connect};
use ossature::multiprocessing::managers::{Limits, Manager, Stopper};
use ossature::sys::poll::{PollFd, PollFlags, poll};

use crate::LONG;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    (
        "requests_of_any_form_are_answered_or_end_the_connection",
        requests_of_any_form_are_answered_or_end_the_connection,
    ),
    ("server_is_asked_for_what_it_knows", server_is_asked_for_what_it_knows),
    ("references_of_others_are_not_given_back", references_of_others_are_not_given_back),
    ("objects_and_references_have_bounds", objects_and_references_have_bounds),
    ("silent_clients_are_closed", silent_clients_are_closed),
    ("client_that_does_not_read_holds_up_nobody", client_that_does_not_read_holds_up_nobody),
    ("connections_have_a_bound", connections_have_a_bound),
];

/// A server in a thread of this process.
struct Here {
    address: Address,
    key: AuthKey,
    stop: Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Here {
    fn start(limits: Limits) -> Self {
        let key = AuthKey::from("hostile");
        let server = Manager::builder().address(("127.0.0.1", 0)).authkey(&key).limits(limits).bind().unwrap();
        let (address, stop) = (server.address().clone(), server.stopper());
        let thread = std::thread::spawn(move || server.serve_forever().unwrap());
        Self { address, key, stop, thread: Some(thread) }
    }

    fn dial(&self) -> Connection {
        ConnectBuilder::new().authkey(&self.key).connect(&self.address).unwrap()
    }

    /// One request of CPython's, on a connection of its own.
    fn once(&self, method: &str, args: Value) -> (String, Value) {
        let connection = self.dial();
        ask(&connection, Value::None, method, args)
    }

    /// A connection for requests to objects.
    fn accepted(&self) -> Connection {
        let connection = self.dial();
        let (kind, _) = ask(&connection, Value::None, "accept_connection", Value::Tuple(vec!["hostile".into()]));
        assert_eq!(kind, "#RETURN");
        connection
    }

    fn create(&self, typeid: &str) -> String {
        let (kind, made) = self.once("create", Value::Tuple(vec![typeid.into()]));
        assert_eq!(kind, "#RETURN");
        made.as_items().unwrap()[0].as_str().unwrap().to_owned()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok(), "the server panicked");
    }
}

fn hear(connection: &Connection) -> (String, Value) {
    let reply = connection.recv_bytes_timeout(LONG).unwrap().expect("a reply");
    let reply = Decoder::new().objects().decode(&reply).unwrap();
    let [kind, payload] = reply.as_items().unwrap() else { panic!("{reply:?}") };
    (kind.as_str().unwrap().to_owned(), payload.clone())
}

fn ask(connection: &Connection, ident: Value, method: &str, args: Value) -> (String, Value) {
    let request = Value::Tuple(vec![ident, method.into(), args, Value::Dict(Vec::new())]);
    connection.send_bytes(&encode(&request).unwrap()).unwrap();
    hear(connection)
}

fn is_closed(connection: &Connection) -> bool {
    matches!(connection.recv_bytes_timeout(LONG), Err(error) if error.kind() == ossature::ErrorKind::Closed)
}

fn none() -> Value {
    Value::Tuple(Vec::new())
}

fn requests_of_any_form_are_answered_or_end_the_connection() {
    let here = Here::start(Limits::default());
    let list = here.create("list");
    let mut deep = Value::List(Vec::new());
    for _ in 0..400 {
        deep = Value::List(vec![deep]);
    }
    let bytes = [
        b"".to_vec(),
        b"\x80\x02.".to_vec(),
        b"cos\nsystem\n(S'true'\ntR.".to_vec(),
        encode(&Value::Int(7)).unwrap(),
        encode(&Value::from((1, 2, 3))).unwrap(),
        encode(&Value::Tuple(vec![list.as_str().into(), 7.into(), none(), Value::Dict(vec![])])).unwrap(),
        encode(&Value::Tuple(vec![list.as_str().into(), "append".into(), 7.into(), Value::Dict(vec![])])).unwrap(),
        encode(&Value::Tuple(vec![
            list.as_str().into(),
            "append".into(),
            none(),
            Value::Dict(vec![(7.into(), 7.into())]),
        ]))
        .unwrap(),
        encode(&Value::Tuple(vec![
            list.as_str().into(),
            "append".into(),
            Value::Tuple(vec![deep]),
            Value::Dict(vec![]),
        ]))
        .unwrap(),
    ];
    let accepted = here.accepted();
    for request in &bytes {
        let first = here.dial();
        first.send_bytes(request).unwrap();
        assert_eq!(hear(&first).0, "#TRACEBACK", "{request:?}");
        assert!(is_closed(&first), "after the first request");
        accepted.send_bytes(request).unwrap();
        assert_eq!(hear(&accepted).0, "#TRACEBACK", "{request:?}");
    }
    // Of all that nothing is left, and the connection goes on.
    let count = ask(&accepted, list.as_str().into(), "__len__", none());
    assert_eq!(count, ("#RETURN".to_owned(), 0.into()));
    let unknown = ask(&accepted, "7fff".into(), "__len__", none());
    assert!(unknown.0 == "#TRACEBACK" && unknown.1.as_str().unwrap().contains("no object 7fff"));
    let hidden = ask(&accepted, list.as_str().into(), "__class__", none());
    assert!(hidden.0 == "#TRACEBACK" && hidden.1.as_str().unwrap().contains("is not in exposed"));
    // A message that is announced as longer than allowed ends the connection.
    let long = here.dial();
    long.send_bytes(&vec![0; (64 << 20) + 1]).unwrap_or_default();
    assert!(long.recv_bytes_timeout(LONG).is_err());
}

fn server_is_asked_for_what_it_knows() {
    let here = Here::start(Limits::default());
    for method in ["serve_forever", "__init__", "lend", "claim", "", "\u{7f}"] {
        let (kind, text) = here.once(method, none());
        assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("unrecognized"), "{method}: {text:?}");
    }
    for (method, args) in [("create", none()), ("create", Value::Tuple(vec![7.into()])), ("incref", none())] {
        assert_eq!(here.once(method, args).0, "#TRACEBACK", "{method}");
    }
    let (kind, text) = here.once("create", Value::Tuple(vec!["os.system".into()]));
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("no type os.system is registered"));
    let token = ["list".into(), "/at/all".into(), here.create("list").as_str().into()];
    let token: Value = Object::new(Global::new("multiprocessing.managers", "Token"), token.into()).into();
    let (kind, methods) = here.once("get_methods", Value::Tuple(vec![token]));
    assert!(kind == "#RETURN" && methods.as_items().unwrap().contains(&"append".into()), "{methods:?}");
    assert_eq!(here.once("dummy", none()), ("#RETURN".to_owned(), Value::None));
    let (kind, _) = here.once("ossature", Value::Tuple(vec![1.into(), "x".into(), "of nobody".into()]));
    assert_eq!(kind, "#TRACEBACK", "no such session");
}

fn references_of_others_are_not_given_back() {
    let here = Here::start(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let list = manager.list([1]).unwrap();
    let ident = Value::Tuple(vec![list.as_ref().ident().into()]);
    let (kind, text) = here.once("decref", ident.clone());
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("holds no reference"), "{text:?}");
    assert_eq!(list.len().unwrap(), 1);
    assert_eq!(here.once("incref", ident.clone()).0, "#RETURN");
    drop(list);
    assert_eq!(manager.number_of_objects().unwrap(), 1, "the other client has one");
    assert_eq!(here.once("decref", ident).0, "#RETURN");
    assert_eq!(manager.number_of_objects().unwrap(), 0);
}

fn objects_and_references_have_bounds() {
    let here = Here::start(Limits { objects: 20, references: 10, ..Limits::default() });
    let greedy = Manager::connect(&here.address, &here.key).unwrap();
    let mine: Vec<_> = (0..10).map(|_| greedy.list([1]).unwrap()).collect();
    let error = greedy.list([1]).unwrap_err();
    assert!(error.to_string().contains("Limits::references"), "{error}");
    // The others notice nothing, up to the bound of all.
    for _ in 0..10 {
        here.create("list");
    }
    let (kind, text) = here.once("create", Value::Tuple(vec!["list".into()]));
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("Limits::"), "{text:?}");
    drop(mine);
    assert_eq!(greedy.number_of_objects().unwrap(), 10);
    assert!(greedy.list([1]).is_ok());
}

fn silent_clients_are_closed() {
    let limit = Duration::from_millis(300);
    let here = Here::start(Limits { handshake_timeout: limit, handshakes: 2, ..Limits::default() });
    let begun = Instant::now();
    let stranger = connect(&here.address).unwrap(); // has no key, and says nothing
    let known = here.dial();
    assert!(is_closed(&known), "it asked for nothing");
    assert!(begun.elapsed() >= limit);
    let mut ready = [PollFd::new(&stranger, PollFlags::IN)];
    assert_eq!(poll(&mut ready, LONG).unwrap(), 1, "closed, or challenged before");
    let quick = Manager::connect(&here.address, &here.key).unwrap();
    std::thread::sleep(2 * limit);
    assert_eq!(quick.number_of_objects().unwrap(), 0, "one that has asked stays");
}

fn client_that_does_not_read_holds_up_nobody() {
    let here = Here::start(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let text = manager.value("s", &"x".repeat(2 << 20)).unwrap();
    let deaf = here.accepted();
    let request = Value::Tuple(vec![text.as_ref().ident().into(), "get".into(), none(), Value::Dict(vec![])]);
    for _ in 0..20 {
        deaf.send_bytes(&encode(&request).unwrap()).unwrap();
    }
    let begun = Instant::now();
    assert_eq!(manager.list([1, 2]).unwrap().len().unwrap(), 2);
    assert!(begun.elapsed() < LONG / 2);
    // It may still read what it asked for, one reply after the other.
    for _ in 0..20 {
        assert_eq!(hear(&deaf).1.as_str().map(str::len), Some(2 << 20));
    }
}

fn connections_have_a_bound() {
    let here = Here::start(Limits { connections: 3, ..Limits::default() });
    let kept = [here.accepted(), here.accepted(), here.accepted()];
    let fourth = here.dial();
    assert!(is_closed(&fourth));
    drop(kept);
    let begun = Instant::now();
    while Manager::connect(&here.address, &here.key).is_err() {
        assert!(begun.elapsed() < LONG);
    }
}
