//! Hostile clients that know the key, and peers that do not know it.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::pickle::{Decoder, Global, Object, Value, encode};
use ossature::multiprocessing::connection::{
    Address, AuthKey, ConnectBuilder, Connection, answer_challenge, connect, deliver_challenge,
};
use ossature::multiprocessing::managers::{Limits, Manager, ManagerBuilder, Stopper, Types};
use ossature::sys::fd::duplicate;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::socket::{self, Family, Kind, Socket};

use crate::LONG;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    (
        "requests_of_any_form_are_answered_or_end_the_connection",
        requests_of_any_form_are_answered_or_end_the_connection,
    ),
    ("requests_that_come_at_once_are_answered_in_turn", requests_that_come_at_once_are_answered_in_turn),
    ("server_is_asked_for_what_it_knows", server_is_asked_for_what_it_knows),
    ("references_of_others_are_not_given_back", references_of_others_are_not_given_back),
    ("objects_and_references_have_bounds", objects_and_references_have_bounds),
    ("refused_object_is_dropped_beside_the_loop", refused_object_is_dropped_beside_the_loop),
    ("silent_clients_are_closed", silent_clients_are_closed),
    ("client_that_does_not_read_holds_up_nobody", client_that_does_not_read_holds_up_nobody),
    ("connections_have_a_bound", connections_have_a_bound),
    ("client_has_one_bound_for_all_its_sessions", client_has_one_bound_for_all_its_sessions),
    ("values_of_a_client_have_a_bound", values_of_a_client_have_a_bound),
    ("buffers_of_a_client_have_a_bound", buffers_of_a_client_have_a_bound),
    ("connections_of_a_client_have_a_bound", connections_of_a_client_have_a_bound),
];

/// The host from which most clients here connect; the next constant is the host of the others.
pub const NEAR: &str = "127.0.0.1";
pub const FAR: &str = "127.0.0.2";

/// A server in a thread of this process.
pub struct Here {
    pub address: Address,
    pub key: AuthKey,
    stop: Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Here {
    fn start(limits: Limits) -> Self {
        Self::start_with::<()>(limits)
    }

    pub fn start_with<T: Types>(limits: Limits) -> Self {
        Self::serve(Manager::builder().types::<T>().address((NEAR, 0)).limits(limits))
    }

    /// Starts a server at a path.
    pub fn start_with_unix<T: Types>(limits: Limits) -> Self {
        Self::serve(Manager::builder().types::<T>().limits(limits))
    }

    fn serve<T: Types>(builder: ManagerBuilder<T>) -> Self {
        let key = AuthKey::from("hostile");
        let server = builder.authkey(&key).bind().unwrap();
        let (address, stop) = (server.address().clone(), server.stopper());
        let thread = std::thread::spawn(move || server.serve_forever().unwrap());
        Self { address, key, stop, thread: Some(thread) }
    }

    pub fn dial(&self) -> Connection {
        ConnectBuilder::new().authkey(&self.key).connect(&self.address).unwrap()
    }

    /// Connects as from another host.
    fn dial_from(&self, host: &str) -> Connection {
        let Address::Inet(_, port) = self.address else { return self.dial() };
        let at = |host: &str, port| socket::Address::Ip(SocketAddr::new(host.parse::<IpAddr>().unwrap(), port));
        let socket = Socket::new(Family::V4, Kind::Stream).unwrap();
        socket.bind(&at(host, 0)).unwrap();
        assert!(socket.connect(&at(NEAR, port), LONG).unwrap());
        let connection = Connection::try_from(OwnedFd::from(socket)).unwrap();
        answer_challenge(&connection, &self.key).unwrap();
        deliver_challenge(&connection, &self.key).unwrap();
        connection
    }

    /// Makes one request of CPython's on a connection of its own.
    pub fn once(&self, method: &str, args: Value) -> (String, Value) {
        ask(&self.dial(), Value::None, method, args)
    }

    pub fn once_from(&self, host: &str, method: &str, args: Value) -> (String, Value) {
        ask(&self.dial_from(host), Value::None, method, args)
    }

    /// Opens a connection for requests to objects.
    pub fn accepted(&self) -> Connection {
        Self::enter(self.dial())
    }

    pub fn accepted_from(&self, host: &str) -> Connection {
        Self::enter(self.dial_from(host))
    }

    fn enter(connection: Connection) -> Connection {
        let (kind, _) = ask(&connection, Value::None, "accept_connection", Value::Tuple(vec!["hostile".into()]));
        assert_eq!(kind, "#RETURN");
        connection
    }

    pub fn create(&self, typeid: &str) -> String {
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

pub fn hear(connection: &Connection) -> (String, Value) {
    let reply = connection.recv_bytes_timeout(LONG).unwrap().expect("a reply");
    let reply = Decoder::new().objects().decode(&reply).unwrap();
    let [kind, payload] = reply.as_items().unwrap() else { panic!("{reply:?}") };
    (kind.as_str().unwrap().to_owned(), payload.clone())
}

pub fn ask(connection: &Connection, ident: Value, method: &str, args: Value) -> (String, Value) {
    let request = Value::Tuple(vec![ident, method.into(), args, Value::Dict(Vec::new())]);
    connection.send_bytes(&encode(&request).unwrap()).unwrap();
    hear(connection)
}

fn is_closed(connection: &Connection) -> bool {
    matches!(connection.recv_bytes_timeout(LONG), Err(error) if error.kind() == ossature::ErrorKind::Closed)
}

/// Whether the server closes a connection instead of replying. (It closes a silent connection too, later.)
fn is_refused(connection: &Connection) -> bool {
    let request = Value::Tuple(vec![Value::None, "dummy".into(), none(), Value::Dict(vec![])]);
    let _ = connection.send_bytes(&encode(&request).unwrap()); // the server may have closed it
    is_closed(connection)
}

pub fn none() -> Value {
    Value::Tuple(Vec::new())
}

fn requests_that_come_at_once_are_answered_in_turn() {
    for here in [Here::start(Limits::default()), Here::start_with_unix::<()>(Limits::default())] {
        let [queue, list] = ["Queue", "list"].map(|typeid| here.create(typeid));
        let connection = here.accepted();
        let requests = [(&list, "append", vec![7.into()]), (&queue, "get", Vec::new()), (&list, "__len__", Vec::new())];
        let framed = requests.map(|(ident, method, args)| {
            let request = [ident.as_str().into(), method.into(), Value::Tuple(args), Value::Dict(Vec::new())];
            let bytes = encode(&Value::Tuple(request.into())).unwrap();
            [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
        });
        File::from(duplicate(&connection).unwrap()).write_all(&framed.concat()).unwrap();
        assert_eq!(hear(&connection), ("#RETURN".to_owned(), Value::None));
        // The second waits for another client, and the third for the second.
        ask(&here.accepted(), queue.as_str().into(), "put", Value::Tuple(vec!["here".into()]));
        assert_eq!(hear(&connection), ("#RETURN".to_owned(), "here".into()));
        assert_eq!(hear(&connection), ("#RETURN".to_owned(), 1.into()));
    }
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
    let list = || Value::Tuple(vec!["list".into()]);
    for _ in 0..10 {
        assert_eq!(here.once_from(FAR, "create", list()).0, "#RETURN");
    }
    let (kind, text) = here.once_from("127.0.0.3", "create", list());
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("Limits::objects"), "{text:?}");
    drop(mine);
    assert_eq!(greedy.number_of_objects().unwrap(), 10);
    assert!(greedy.list([1]).is_ok());
}

/// A type whose drop takes some time, and then panics.
pub struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(10));
        panic!("a fragile object has broken");
    }
}

ossature::managed! {
    impl Fragile as FragileProxy {
        pub fn new() -> Self {
            Self
        }
    }
}

fn refused_object_is_dropped_beside_the_loop() {
    let here = Here::start_with::<(Fragile,)>(Limits { objects: 1, references: 2, ..Limits::default() });
    let list = here.create("list");
    let (kind, text) = here.once("create", Value::Tuple(vec!["Fragile".into()]));
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("Limits::objects"), "{text:?}");
    let count = ask(&here.accepted(), list.as_str().into(), "__len__", none());
    assert_eq!(count, ("#RETURN".to_owned(), 0.into()), "the server goes on");
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
    assert!(is_refused(&here.dial()));
    drop(kept);
    let begun = Instant::now();
    while Manager::connect(&here.address, &here.key).is_err() {
        assert!(begun.elapsed() < LONG);
    }
}

/// A session of a client, as a Rust client opens it.
pub struct Session {
    pub control: Connection,
    /// The connection of one thread.
    pub calls: Connection,
    secret: Value,
}

impl Session {
    pub fn begin(here: &Here, host: &str) -> Self {
        let hello = |secret| Value::Tuple(vec![1.into(), "x".into(), secret]);
        let (control, calls) = (here.dial_from(host), here.dial_from(host));
        let (kind, secret) = ask(&control, Value::None, "ossature", hello(Value::None));
        assert_eq!(kind, "#RETURN");
        assert_eq!(ask(&calls, Value::None, "ossature", hello(secret.clone())).0, "#RETURN");
        Self { control, calls, secret }
    }

    /// Opens the connection of another thread.
    pub fn join(&self, here: &Here, host: &str) -> Connection {
        let connection = here.dial_from(host);
        let hello = Value::Tuple(vec![1.into(), "x".into(), self.secret.clone()]);
        assert_eq!(ask(&connection, Value::None, "ossature", hello).0, "#RETURN");
        connection
    }
}

fn client_has_one_bound_for_all_its_sessions() {
    let here = Here::start(Limits { references: 4, ..Limits::default() });
    let list = || Value::Tuple(vec!["list".into()]);
    let sessions = [Session::begin(&here, FAR), Session::begin(&here, FAR)];
    for session in &sessions {
        for _ in 0..2 {
            assert_eq!(ask(&session.control, Value::None, "create", list()).0, "#RETURN");
        }
    }
    for (kind, text) in
        [ask(&sessions[0].control, Value::None, "create", list()), here.once_from(FAR, "create", list())]
    {
        assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("holds 4 references"), "{text:?}");
    }
    // Clients in Python that come from elsewhere are others, and a session that ends gives back.
    assert_eq!(here.once("create", list()).0, "#RETURN");
    let [first, second] = sessions;
    drop(first);
    let begun = Instant::now();
    while here.once_from(FAR, "create", list()).0 != "#RETURN" {
        assert!(begun.elapsed() < LONG, "the session has not given back");
    }
    drop(second);
}

fn values_of_a_client_have_a_bound() {
    let most = 1 << 20;
    let here = Here::start(Limits { client_memory: most, ..Limits::default() });
    let list = here.create("list");
    let (greedy, other) = (here.accepted_from(FAR), here.accepted());
    let call = |client: &Connection, method: &str, arg: Value| {
        ask(client, list.as_str().into(), method, Value::Tuple(vec![arg]))
    };
    let text = || Value::from("x".repeat(100_000));
    let mut kept = 0;
    let refused = loop {
        match call(&greedy, "append", text()) {
            (kind, _) if kind == "#RETURN" => kept += 1,
            (kind, error) => break (kind, error),
        }
        assert!(kept * 100_000 < most, "more than the bound");
    };
    assert_eq!(refused.0, "#ERROR");
    let Value::Object(error) = refused.1 else { panic!("{:?}", refused.1) };
    assert!(error.args[0].as_str().unwrap().contains("Limits::client_memory"), "{error:?}");
    assert!(kept >= 8, "{kept}");
    // Nor may it multiply what is there, to keep it or to be sent it. Nothing is nothing however often.
    let empty = here.create("list");
    for method in ["__imul__", "__mul__"] {
        let times = Value::Tuple(vec![(1_i64 << 60).into()]);
        assert_eq!(ask(&greedy, empty.as_str().into(), method, times).0, "#RETURN", "{method}");
    }
    for method in ["__imul__", "__mul__"] {
        assert_eq!(call(&greedy, method, (1_i64 << 40).into()).0, "#ERROR", "{method}");
    }
    for typeid in ["set", "list", "dict", "Namespace", "Value", "Array", "Queue"] {
        let args = match typeid {
            "Value" => vec![typeid.into(), "s".into(), text(), true.into()],
            "Array" => vec![typeid.into(), "d".into(), Value::List(vec![0.5.into(); 20_000])],
            "dict" => vec![typeid.into(), Value::dict([("k", Value::List(vec![text(), text()]))])],
            "list" | "set" => vec![typeid.into(), Value::List(vec![text()])],
            _ => vec![typeid.into()],
        };
        let (kind, made) = here.once_from(FAR, "create", Value::Tuple(args));
        let has_value = !matches!(typeid, "Namespace" | "Queue");
        assert_eq!(kind, if has_value { "#TRACEBACK" } else { "#RETURN" }, "{typeid}: {made:?}");
        if !has_value {
            let ident = made.as_items().unwrap()[0].clone();
            let (method, args) = match typeid {
                "Queue" => ("put", vec![text()]),
                _ => ("__setattr__", vec!["name".into(), text()]),
            };
            assert_eq!(ask(&greedy, ident, method, Value::Tuple(args)).0, "#ERROR", "{typeid}");
        }
    }
    // The others have bounds of their own, and what they take out is no longer the first one's.
    assert_eq!(call(&other, "append", text()).0, "#RETURN");
    assert_eq!(call(&other, "pop", 0.into()).0, "#RETURN");
    assert_eq!(call(&greedy, "append", text()).0, "#RETURN");
}

fn buffers_of_a_client_have_a_bound() {
    let here = Here::start(Limits { client_buffers: 20 << 20, ..Limits::default() });
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let text = manager.value("s", &"x".repeat(8 << 20)).unwrap();
    // Requests that never become whole.
    let mut half: Vec<_> = (0..4).map(|_| here.accepted_from(FAR)).collect();
    let mut closed = 0;
    for connection in &half {
        let request = encode(&Value::Bytes(vec![0; 6 << 20])).unwrap();
        let mut bytes = (u32::try_from(request.len() + 7).unwrap()).to_be_bytes().to_vec();
        bytes.extend(request);
        raw(connection, &bytes);
    }
    let begun = Instant::now();
    while closed == 0 {
        closed = half.iter().filter(|it| it.poll(Duration::ZERO).unwrap_or(true)).count();
        assert!(begun.elapsed() < LONG, "none is closed");
    }
    assert_eq!(text.get().unwrap().len(), 8 << 20, "another client is served");
    half.clear();
    // Replies that nobody reads: an error in place of the reply that is too much.
    let request = Value::Tuple(vec![text.as_ref().ident().into(), "get".into(), none(), Value::Dict(vec![])]);
    let request = encode(&request).unwrap();
    let deaf: Vec<_> = (0..12).map(|_| here.accepted_from(FAR)).collect();
    for connection in &deaf {
        connection.send_bytes(&request).unwrap();
    }
    assert_eq!(manager.list([1]).unwrap().len().unwrap(), 1, "after them");
    let kinds: Vec<_> = deaf.iter().map(hear).collect();
    let refused = kinds.iter().filter(|(kind, _)| kind == "#TRACEBACK").collect::<Vec<_>>();
    assert!(!refused.is_empty() && refused.len() < deaf.len(), "{}", refused.len());
    assert!(refused[0].1.as_str().unwrap().contains("Limits::client_buffers"), "{:?}", refused[0]);
    // Once they are read there is room again.
    let begun = Instant::now();
    while ask(&deaf[0], text.as_ref().ident().into(), "get", none()).0 != "#RETURN" {
        assert!(begun.elapsed() < LONG);
    }
}

/// Writes bytes without a frame.
fn raw(connection: &Connection, bytes: &[u8]) {
    use std::io::Write;
    use std::os::fd::AsFd;
    let mut stream = std::net::TcpStream::from(connection.as_fd().try_clone_to_owned().unwrap());
    stream.set_nonblocking(false).unwrap(); // a connect within a limit left it so, and all bytes are to go
    let _ = stream.write_all(bytes); // the server may have closed it
}

fn connections_of_a_client_have_a_bound() {
    let here = Here::start(Limits { client_connections: 2, ..Limits::default() });
    let kept = [here.accepted_from(FAR), here.accepted_from(FAR)];
    assert!(is_refused(&here.dial_from(FAR)));
    let list = here.create("list");
    assert_eq!(ask(&here.accepted(), list.as_str().into(), "__len__", none()).0, "#RETURN", "others have room");
    drop(kept);
    let begun = Instant::now();
    while is_refused(&here.dial_from(FAR)) {
        assert!(begun.elapsed() < LONG);
    }
}
