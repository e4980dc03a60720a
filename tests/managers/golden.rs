//! Recorded clients and servers of CPython, for systems without CPython and for versions that are not installed.
//!
//! `../python/record_manager.py` made `golden/`. A recorded server answers a client here; a server here answers the
//! recorded clients.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::pickle::{Decoder, Value, encode};
use ossature::multiprocessing::connection::{AuthKey, Connection, Listener};
use ossature::multiprocessing::managers::{Exception, Limits, Proxy};

use crate::LONG;
use crate::harness::Test;
use crate::hostile::{Here, hear};

pub const TESTS: &[Test] = &[
    ("recorded_servers_answer_our_client", recorded_servers_answer_our_client),
    ("recorded_clients_are_answered_as_by_cpython", recorded_clients_are_answered_as_by_cpython),
];

/// A message of a recording, with the number of its connection.
#[derive(Clone)]
struct Message {
    connection: u32,
    is_request: bool,
    bytes: Vec<u8>,
    value: Value,
}

fn decoded(bytes: &[u8]) -> Value {
    Decoder::new().objects().decode(bytes).unwrap()
}

fn parse(line: &str) -> Message {
    let [connection, way, hex] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let value = decoded(&bytes);
    Message { connection: connection.parse().unwrap(), is_request: way == ">", bytes, value }
}

fn recordings() -> Vec<(String, Vec<Message>)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/managers/golden"));
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(parse).collect();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), lines)
    };
    let all: Vec<_> = all.into_iter().map(read).collect();
    assert_eq!(all.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["2.7", "3.11", "3.13", "3.6", "protocol-5"]);
    all
}

/// Requests with their replies, each for one use.
type Script = Mutex<Vec<Option<(Value, Vec<u8>)>>>;

/// Whether our request is the recorded one. The names of threads are ignored.
fn is_same(recorded: &Value, ours: &Value) -> bool {
    let parts = |value: &Value| value.as_items().map(<[Value]>::to_vec).unwrap_or_default();
    let (recorded, ours) = (parts(recorded), parts(ours));
    let named = |name: &str| recorded[1].as_str() == Some(name) && ours[1].as_str() == Some(name);
    recorded == ours || named("ossature") || named("accept_connection")
}

/// Replies as the recording does. An unknown request ends the connection.
fn answer(connection: &Connection, script: &Script) {
    while let Ok(request) = connection.recv_bytes() {
        let request = decoded(&request);
        let mut script = script.lock().unwrap();
        let place = script.iter().position(|entry| entry.as_ref().is_some_and(|(known, _)| is_same(known, &request)));
        let Some((known, reply)) = place.and_then(|place| script[place].take()) else {
            eprintln!("not recorded: {request:?}");
            return;
        };
        connection.send_bytes(&reply).unwrap();
        if known.as_items().unwrap()[0] == Value::None && !is_same(&known, &accept()) {
            return; // the server closes after a request to itself
        }
    }
}

fn accept() -> Value {
    Value::Tuple(vec![Value::None, "accept_connection".into(), Value::Tuple(vec!["x".into()]), Value::Dict(Vec::new())])
}

/// The steps of `record_manager.py`.
fn steps(manager: &Manager) {
    let raised = |error: ossature::Error| Exception::inside(&error).unwrap().clone();
    let class = |error: ossature::Error| raised(error).class().to_owned();
    let list = manager.create("list", (vec![3, 1, 2],)).unwrap();
    list.call::<()>("append", (5,)).unwrap();
    list.call::<()>("sort", ()).unwrap();
    assert_eq!(list.call::<u32>("__len__", ()).unwrap(), 4);
    assert_eq!(list.get_value::<Vec<u32>>().unwrap(), [1, 2, 3, 5]);
    let error = raised(list.call::<u32>("__getitem__", (9,)).unwrap_err());
    assert_eq!(error.to_string(), "IndexError: list index out of range");
    drop(list);
    let dict = manager.create("dict", ()).unwrap();
    dict.call::<()>("__setitem__", ("a", 1.5)).unwrap();
    assert_eq!(dict.call::<f64>("__getitem__", ("a",)).unwrap(), 1.5);
    assert_eq!(dict.call::<Vec<String>>("keys", ()).unwrap(), ["a"]);
    assert_eq!(raised(dict.call::<f64>("__getitem__", ("z",)).unwrap_err()).to_string(), "KeyError: z");
    drop(dict);
    let queue = manager.create("Queue", (1,)).unwrap();
    queue.call::<()>("put", ("x",)).unwrap();
    assert_eq!(class(queue.call::<()>("put", ("y", false)).unwrap_err()), "queue.Full");
    assert_eq!(queue.call::<String>("get", ()).unwrap(), "x");
    assert_eq!(class(queue.call::<String>("get", (false,)).unwrap_err()), "queue.Empty");
    drop(queue);
    let space = manager.create("Namespace", ()).unwrap();
    space.call::<()>("__setattr__", ("x", 3)).unwrap();
    assert_eq!(space.call::<u32>("__getattribute__", ("x",)).unwrap(), 3);
    assert_eq!(class(space.call::<u32>("__getattribute__", ("y",)).unwrap_err()), "AttributeError");
    drop(space);
    let value = manager.create("Value", ("i", 5)).unwrap();
    value.call::<()>("set", (6,)).unwrap();
    assert_eq!(value.call::<u32>("get", ()).unwrap(), 6);
    drop(value);
    let lock = manager.create("Lock", ()).unwrap();
    assert!(lock.call::<bool>("acquire", (true,)).unwrap());
    lock.call::<()>("release", ()).unwrap();
    assert!(lock.call::<()>("release", ()).is_err());
    drop(lock);
    let own = manager.create("Own", (10,)).unwrap();
    assert_eq!(own.call::<i64>("add", (5,)).unwrap(), 15);
    let error = raised(own.call::<()>("fail", ("spam",)).unwrap_err());
    assert_eq!((error.class(), error.args()), ("__main__.OwnError", &["spam".into(), Value::Int(7)][..]));
    let error = own.call::<()>("hidden", ()).unwrap_err().to_string();
    assert!(error.contains("'hidden'") && error.contains("Traceback (most recent call last)"), "{error}");
    let made = own.call::<Proxy>("make", ()).unwrap();
    assert_eq!((made.typeid(), made.call::<i64>("add", (1,)).unwrap()), ("Made", 16));
}

fn recorded_servers_answer_our_client() {
    for (name, messages) in recordings() {
        let mut open = HashMap::new();
        let mut script = Vec::new();
        for message in messages {
            match message.is_request {
                true => drop(open.insert(message.connection, message.value)),
                false => script.push(Some((open.remove(&message.connection).unwrap(), message.bytes))),
            }
        }
        let script: Arc<Script> = Arc::new(Mutex::new(script));
        let key = AuthKey::from("snake");
        let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0)).unwrap();
        let address = listener.address().clone();
        let stop = Arc::new(ossature::multiprocessing::connection::CancelFd::new().unwrap());
        let serving = std::thread::spawn({
            let (script, stop) = (script.clone(), stop.clone());
            move || {
                let mut answering = Vec::new();
                while let Ok(Some(connection)) = listener.accept_timeout(&*stop) {
                    let script = script.clone();
                    answering.push(std::thread::spawn(move || answer(&connection, &script)));
                }
                answering.into_iter().for_each(|it| it.join().unwrap());
            }
        });
        let manager = Manager::connect(address, &key).unwrap();
        steps(&manager);
        drop(manager);
        stop.cancel().unwrap();
        serving.join().unwrap();
        // CPython counts by an `incref` and a `decref` for each proxy what the making of the object has counted for
        // ours.
        let left: Vec<_> = script.lock().unwrap().iter().flatten().map(|(request, _)| request.clone()).collect();
        let is_count =
            |it: &Value| matches!(it.as_items().unwrap()[1].as_str(), Some("incref" | "decref" | "accept_connection"));
        assert!(left.iter().all(is_count), "{name}: {left:?}");
    }
}

/// A value of the recording with the idents of the server in this process.
fn translated(value: &Value, idents: &HashMap<String, Value>) -> Value {
    let all = |items: &[Value]| items.iter().map(|item| translated(item, idents)).collect();
    match value {
        Value::Text(text) => idents.get(text).unwrap_or(value).clone(),
        Value::List(items) => Value::List(all(items)),
        Value::Tuple(items) => Value::Tuple(all(items)),
        other => other.clone(),
    }
}

/// The class of an exception without its module, which differs between versions, and its arguments.
fn raised(payload: &Value) -> (String, Vec<Value>) {
    let Value::Object(object) = payload else { panic!("{payload:?}") };
    (object.made_by.name().to_owned(), object.args.clone())
}

fn recorded_clients_are_answered_as_by_cpython() {
    for (name, messages) in recordings() {
        let here = Here::start_with::<()>(Limits::default());
        let mut idents = HashMap::new();
        let mut connections: HashMap<u32, Connection> = HashMap::new();
        let mut compared = 0;
        for pair in messages.chunks(2) {
            let [request, reply] = pair else { panic!("{name}: a request without a reply") };
            assert!(request.is_request && !reply.is_request, "{name}");
            let asked = request.value.as_items().unwrap();
            let method = asked[1].as_str().unwrap();
            if method == "ossature" {
                continue;
            }
            if method == "create" && asked[2].as_items().unwrap()[0].as_str() == Some("Own") {
                break; // a class of the recorder
            }
            let connection = connections.entry(request.connection).or_insert_with(|| here.dial());
            // As it was recorded, if the name of no object is in it.
            let own = translated(&request.value, &idents);
            let bytes = if own == request.value { request.bytes.clone() } else { encode(&own).unwrap() };
            connection.send_bytes(&bytes).unwrap();
            let (kind, payload) = hear(connection);
            let [recorded_kind, recorded] = reply.value.as_items().unwrap() else { panic!("{name}") };
            assert_eq!(Some(&*kind), recorded_kind.as_str(), "{name}: {own:?} {payload:?}");
            match (&*kind, method) {
                ("#RETURN", "create") => {
                    let made = [&payload, recorded].map(|it| it.as_items().unwrap());
                    idents.insert(made[1][0].as_str().unwrap().to_owned(), made[0][0].clone());
                    let here = made[0][1].as_items().unwrap();
                    let missing: Vec<_> =
                        made[1][1].as_items().unwrap().iter().filter(|it| !here.contains(it)).collect();
                    assert!(missing.is_empty(), "{name}: {own:?} {missing:?}");
                }
                ("#ERROR", "release") => {} // an exception of another class in Python 2
                ("#ERROR", _) => assert_eq!(raised(&payload), raised(recorded), "{name}: {own:?}"),
                _ => assert_eq!(&payload, recorded, "{name}: {own:?}"),
            }
            compared += 1;
        }
        assert!(compared > 40, "{name}: {compared}");
        let begun = std::time::Instant::now();
        while here.once("number_of_objects", Value::Tuple(Vec::new())).1 != 0.into() {
            assert!(begun.elapsed() < LONG, "{name}: objects are left");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
