//! Calls through shared memory: which clients have them, that they have the same results, and that no client delays
//! another.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::{self, Decoder, Value};
use ossature::multiprocessing::connection::{Address, AuthKey, Connection, Listener, pipe};
use ossature::multiprocessing::managers::{Exception, Limits, Proxy, Serializer};
use ossature::multiprocessing::reduction::{Acknowledgement, recv_handles};
use ossature::multiprocessing::{Context, Manager, Process};
use ossature::sys::eventfd::EventFd;
use ossature::sys::fd::{duplicate, set_blocking};
use ossature::sys::mmap::Region;
use ossature::sys::process::Signal;
use ossature::sys::sync::exchange::{Client, ROOM};

use crate::LONG;
use crate::deaths::becomes_so;
use crate::harness::Test;
use crate::hostile::{Here, NEAR, Session, ask, hear, none};
use crate::served::{AccountProxy, Bank};

pub const TESTS: &[Test] = &[
    ("processes_of_one_program_share_memory", processes_of_one_program_share_memory),
    ("calls_do_the_same_by_memory_and_by_socket", calls_do_the_same_by_memory_and_by_socket),
    ("requests_and_replies_of_any_length_come_whole", requests_and_replies_of_any_length_come_whole),
    ("many_threads_that_share_memory_are_all_served", many_threads_that_share_memory_are_all_served),
    ("arguments_are_serialised_once", arguments_are_serialised_once),
    ("call_that_waits_for_long_is_answered", call_that_waits_for_long_is_answered),
    ("call_that_was_given_up_is_not_carried_out", call_that_was_given_up_is_not_carried_out),
    ("server_that_dies_ends_a_call_it_has_not_begun", server_that_dies_ends_a_call_it_has_not_begun),
    ("call_to_a_server_that_was_replaced_reaches_the_next", call_to_a_server_that_was_replaced_reaches_the_next),
    ("forked_child_has_memory_of_its_own", forked_child_has_memory_of_its_own),
    ("call_of_a_client_killed_meanwhile_is_not_carried_out", call_of_a_client_killed_meanwhile_is_not_carried_out),
    ("client_killed_in_a_call_leaves_nothing", client_killed_in_a_call_leaves_nothing),
    ("memory_is_for_sessions_and_has_a_bound", memory_is_for_sessions_and_has_a_bound),
    ("garbage_in_the_memory_ends_its_connection_only", garbage_in_the_memory_ends_its_connection_only),
    ("compact_form_over_the_socket_is_for_sessions", compact_form_over_the_socket_is_for_sessions),
    ("server_gets_the_compact_form_if_it_reads_that", server_gets_the_compact_form_if_it_reads_that),
    ("second_request_waits_for_the_reply_to_the_first", second_request_waits_for_the_reply_to_the_first),
    ("bell_that_rings_for_ever_holds_up_nobody", bell_that_rings_for_ever_holds_up_nobody),
    ("clients_that_ask_without_end_hold_up_nobody", clients_that_ask_without_end_hold_up_nobody),
    ("words_of_a_client_that_writes_anything_hold_up_nobody", words_of_a_client_that_writes_anything_hold_up_nobody),
];

fn processes_of_one_program_share_memory() {
    for context in [Context::Fork, Context::Spawn, Context::Forkserver, Context::Thread] {
        let manager = Manager::start(context).unwrap();
        assert!(manager.shares_memory().unwrap(), "{context}");
        assert!(manager.list([1]).unwrap().as_ref().shares_memory().unwrap());
        let mut others =
            [(); 2].map(|()| thread::scope(|scope| scope.spawn(|| manager.shares_memory()).join().unwrap()));
        assert!(others.iter_mut().all(|other| other.as_ref().is_ok_and(|shares| *shares)), "each thread");
    }
    ossature::multiprocessing::stop_forkserver(LONG).unwrap();
    let remote = Manager::builder().address((NEAR, 0)).start(Context::Spawn).unwrap();
    assert!(!remote.shares_memory().unwrap(), "over TCP");
    let none = Manager::builder().limits(Limits { exchanges: 0, ..Limits::default() }).start(Context::Spawn).unwrap();
    assert!(!none.shares_memory().unwrap(), "the server gives none");
    let here = Here::start_with_unix::<()>(Limits::default());
    let text = Manager::connect_with(here.address.clone(), &here.key, Serializer::XmlRpc).unwrap();
    assert!(!text.shares_memory().unwrap(), "as XML-RPC");
}

fn calls_do_the_same_by_memory_and_by_socket() {
    let servers = [256, 0].map(|exchanges| {
        let limits = Limits { exchanges, ..Limits::default() };
        Manager::builder().types::<Bank>().limits(limits).start(Context::Spawn).unwrap()
    });
    assert_eq!(servers.each_ref().map(|manager| manager.shares_memory().unwrap()), [true, false]);
    let [near, far] = servers.map(|manager| {
        let mut seen = Vec::new();
        let list = manager.create("list", ()).unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let values = [
            Value::None,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Complex(1.0, -2.0),
            text("gr\u{fc}n \u{1f600}"),
            Value::Bytes(vec![0, 255]),
            Value::ByteArray(vec![1]),
            Value::Tuple(vec![Value::Int(1), Value::List(vec![text("x")])]),
            Value::dict([("key", 1)]),
            Value::Set(vec![Value::Int(5)]),
            Value::FrozenSet(vec![text("f")]),
        ];
        for value in values {
            list.call_with::<()>("append", vec![value], Vec::new()).unwrap();
        }
        seen.push(list.display().unwrap());
        let get = |place: usize| (place,);
        seen.push(format!("{:?}", list.call::<Option<u8>>("__getitem__", get(0)).unwrap()));
        seen.push(format!("{:?}", list.call::<bool>("__getitem__", get(1)).unwrap()));
        seen.push(format!("{:?}", list.call::<i64>("__getitem__", get(2)).unwrap()));
        seen.push(format!("{:?}", list.call::<f64>("__getitem__", get(3)).unwrap()));
        seen.push(list.call::<String>("__getitem__", get(5)).unwrap());
        seen.push(format!("{:?}", list.call::<(u8, Vec<String>)>("__getitem__", get(8)).unwrap()));
        seen.push(format!("{:?}", list.call::<BTreeMap<String, u8>>("__getitem__", get(9)).unwrap()));
        seen.push(format!("{:?}", list.call::<BTreeSet<u8>>("__getitem__", get(10)).unwrap()));
        let mut errors = vec![
            list.call::<i64>("__getitem__", (99,)).unwrap_err(),
            list.call::<i64>("no_such", ()).unwrap_err(),
            list.call::<i64>("append", ()).unwrap_err(),
            list.call::<String>("__len__", ()).unwrap_err(),
        ];
        list.call_with::<()>("clear", Vec::new(), Vec::new()).unwrap();
        list.call::<()>("extend", ([3, 1, 2],)).unwrap();
        list.call_with::<()>("sort", Vec::new(), vec![("reverse".to_owned(), true.into())]).unwrap();
        seen.push(format!("{:?}", list.get_value::<Vec<u8>>().unwrap()));
        let account = AccountProxy::new(&manager, 5).unwrap();
        errors.push(account.withdraw(6).unwrap_err());
        let branch = account.branch().unwrap();
        assert_eq!(branch.take_from(account.clone(), 1).unwrap() + account.balance().unwrap(), 2 + 1 + 4);
        let inner = manager.list([7_u8]).unwrap();
        let outer = manager.list([inner.clone()]).unwrap();
        drop(inner);
        let found = outer.as_ref().call::<Proxy>("__getitem__", (0,)).unwrap();
        seen.push(found.display().unwrap());
        drop((found, outer));
        let deep = (0..40).fold(Value::Int(0), |inner, _| Value::List(vec![inner]));
        list.call_with::<()>("append", vec![deep], Vec::new()).unwrap();
        seen.push(list.display().unwrap());
        drop((account, branch));
        becomes_so(|| manager.number_of_objects().unwrap() == 1);
        let ident = list.ident().to_owned();
        let errors = errors.into_iter().map(|error| {
            let class = Exception::inside(&error).map(|exception| exception.class().to_owned());
            (error.kind(), class, error.to_string().replace(&ident, "IDENT"))
        });
        (seen, errors.collect::<Vec<_>>())
    });
    assert_eq!(near, far);
}

fn requests_and_replies_of_any_length_come_whole() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.create("list", ()).unwrap();
    for length in (ROOM - 80..ROOM + 40).chain([0, 1, 65_535, 65_536, 1 << 20]) {
        let text = "x".repeat(length);
        list.call::<()>("append", (&text,)).unwrap();
        assert_eq!(list.call::<String>("pop", ()).unwrap(), text);
        assert_eq!(list.call::<u64>("__len__", ()).unwrap(), 0);
    }
}

fn many_threads_that_share_memory_are_all_served() {
    const CLIENTS: u64 = 24;
    const CALLS: u64 = 300;
    let manager = Manager::start(Context::Spawn).unwrap();
    let (queue, total) = (manager.queue::<u64>(0).unwrap(), manager.list::<u64>([]).unwrap());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (queue, total, manager) = (&queue, &total, &manager);
            scope.spawn(move || {
                assert!(manager.shares_memory().unwrap());
                for call in 0..CALLS {
                    total.push(&(client * CALLS + call)).unwrap();
                    if call % 50 == 49 {
                        queue.put(&client).unwrap();
                    }
                }
            });
        }
        for _ in 0..CLIENTS * (CALLS / 50) {
            queue.get_timeout(LONG).unwrap().unwrap();
        }
    });
    let mut all: Vec<u64> = total.as_ref().get_value().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..CLIENTS * CALLS).collect::<Vec<_>>());
}

/// An argument that counts how often it is serialised.
struct Counting<'c>(&'c Cell<u32>);

impl serde::Serialize for Counting<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        to.serialize_u32(7)
    }
}

fn arguments_are_serialised_once() {
    for is_tcp in [false, true] {
        let builder = Manager::builder();
        let builder = if is_tcp { builder.address((NEAR, 0)) } else { builder };
        let manager = builder.start(Context::Spawn).unwrap();
        let list = manager.create("list", ()).unwrap();
        assert_eq!(list.shares_memory().unwrap(), !is_tcp);
        for round in 1..=3 {
            let count = Cell::new(0);
            list.call::<()>("append", (Counting(&count),)).unwrap();
            assert_eq!((count.get(), list.call::<u64>("__len__", ()).unwrap()), (1, round), "over TCP: {is_tcp}");
        }
    }
}

fn call_that_waits_for_long_is_answered() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let queue = manager.queue::<u32>(0).unwrap();
    thread::scope(|scope| {
        let getting = scope.spawn(|| {
            assert!(queue.as_ref().shares_memory().unwrap());
            (0..40).map(|_| queue.get().unwrap()).collect::<Vec<_>>()
        });
        // The waits end while the getter looks, while it sleeps on the word, and when it waits for a notification.
        for number in 0..40 {
            becomes_so(|| queue.as_ref().display().unwrap().contains(" 1 waiting"));
            thread::sleep(Duration::from_micros(u64::from(number % 4) * 1500));
            queue.put(&number).unwrap();
        }
        assert_eq!(getting.join().unwrap(), (0..40).collect::<Vec<_>>());
    });
}

fn call_that_was_given_up_is_not_carried_out() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.create("list", ()).unwrap();
    assert!(manager.shares_memory().unwrap());
    let server = manager.process().unwrap();
    for span in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(20)] {
        list.call::<()>("append", ("before",)).unwrap();
        server.signal(Signal::STOP).unwrap();
        becomes_so(|| is_stopped(server.pid().unwrap().as_raw_nonzero().get()));
        assert_eq!(list.call_timeout::<()>("append", ("given up",), span).unwrap(), None);
        server.signal(Signal::CONT).unwrap();
        assert_eq!(list.call::<String>("pop", ()).unwrap(), "before");
        assert_eq!(list.call::<u64>("__len__", ()).unwrap(), 0);
        assert!(manager.shares_memory().unwrap(), "by another exchange");
    }
}

fn has_state(pid: i32, state: char) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(&format!(") {state} "))
}

fn is_stopped(pid: i32) -> bool {
    has_state(pid, 'T')
}

/// Whether the server waits for its clients, and polls no client's memory any more.
fn is_asleep(pid: i32) -> bool {
    has_state(pid, 'S')
}

fn server_that_dies_ends_a_call_it_has_not_begun() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.create("list", ()).unwrap();
    list.call::<()>("append", (1,)).unwrap();
    let server = manager.process().unwrap();
    server.signal(Signal::STOP).unwrap();
    becomes_so(|| is_stopped(server.pid().unwrap().as_raw_nonzero().get()));
    let kinds = thread::scope(|scope| {
        let calls = [(); 3].map(|()| {
            scope.spawn(|| {
                // This thread's connection is made while the server is stopped.
                list.call::<u64>("__len__", ()).map_err(|error| error.kind())
            })
        });
        server.kill().unwrap();
        server.join().unwrap();
        calls.map(|call| call.join().unwrap().unwrap_err())
    });
    assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::Closed | ErrorKind::Os)), "{kinds:?}");
    // This one had its connection before.
    assert_eq!(list.call::<u64>("__len__", ()).unwrap_err().kind(), ErrorKind::Closed);
}

fn call_to_a_server_that_was_replaced_reaches_the_next() {
    for (exchanges, is_tcp) in [(256, false), (0, false), (0, true)] {
        let builder = || Manager::builder().limits(Limits { exchanges, ..Limits::default() });
        let first = if is_tcp { builder().address((NEAR, 0)) } else { builder() }.start(Context::Spawn).unwrap();
        let (address, key) = (first.address().clone(), ossature::multiprocessing::current_process().authkey().unwrap());
        let list = first.create("list", ()).unwrap();
        assert_eq!(list.shares_memory().unwrap(), exchanges > 0);
        first.process().unwrap().kill().unwrap();
        first.process().unwrap().join().unwrap();
        let second = builder().address(address.clone()).authkey(&key).start(Context::Spawn).unwrap();
        let error = list.call::<u64>("__len__", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
        assert_eq!(second.shares_memory().unwrap(), exchanges > 0);
    }
}

fn forked_child_has_memory_of_its_own() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.list::<u32>([]).unwrap();
    list.push(&0).unwrap();
    let child = Process::fork(|| {
        let shares = list.as_ref().shares_memory().unwrap();
        (0..100).for_each(|number| list.push(&number).unwrap());
        u8::from(!shares)
    });
    (0..100).for_each(|number| list.push(&number).unwrap());
    assert!(child.unwrap().join().unwrap().success());
    assert_eq!(list.len().unwrap(), 201);
}

fn call_of_a_client_killed_meanwhile_is_not_carried_out() {
    for exchanges in [256, 0] {
        let limits = Limits { exchanges, ..Limits::default() };
        let manager = Manager::builder().limits(limits).start(Context::Spawn).unwrap();
        let (list, server) = (manager.list::<u8>([]).unwrap(), manager.process().unwrap());
        for pause in [20, 40] {
            let (near, far) = pipe().unwrap();
            let child = Process::fork(|| {
                assert_eq!(list.len().unwrap(), 0);
                far.send(&list.as_ref().shares_memory().unwrap()).unwrap();
                far.recv::<bool>().unwrap();
                list.push(&1)
            })
            .unwrap();
            assert_eq!(near.recv_timeout::<bool>(LONG).unwrap(), Some(exchanges > 0));
            let pid = server.pid().unwrap().as_raw_nonzero().get();
            becomes_so(|| is_asleep(pid)); // a server that looks sees the request before the end
            server.signal(Signal::STOP).unwrap();
            becomes_so(|| is_stopped(pid));
            near.send(&true).unwrap();
            thread::sleep(Duration::from_millis(pause)); // nothing tells that the request is there
            child.kill().unwrap();
            child.join().unwrap();
            server.signal(Signal::CONT).unwrap();
            assert_eq!(list.len().unwrap(), 0, "the end is seen with the request");
        }
    }
}

fn client_killed_in_a_call_leaves_nothing() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let (lock, list) = (manager.lock().unwrap(), manager.list::<u32>([]).unwrap());
    for round in 0..20_u64 {
        let (near, far) = pipe().unwrap();
        let child = Process::fork(|| -> u8 {
            assert!(lock.as_ref().shares_memory().unwrap());
            far.send(&true).unwrap();
            loop {
                lock.acquire().unwrap();
                list.push(&1).unwrap();
                lock.release().unwrap();
            }
        })
        .unwrap();
        assert!(near.recv_timeout::<bool>(LONG).unwrap().unwrap());
        thread::sleep(Duration::from_micros(round * 97));
        child.kill().unwrap();
        child.join().unwrap();
        assert!(lock.acquire_timeout(LONG).unwrap(), "the lock of the dead is free");
        lock.release().unwrap();
    }
    becomes_so(|| manager.objects().unwrap().iter().all(|object| object.references == 1));
}

// ---- by hand --------------------------------------------------------------------------------------------------------

/// A client that has the memory, and writes arbitrary bytes.
struct Raw {
    connection: Connection,
    client: Client,
    memory: Region,
    wakeup: EventFd,
}

fn raw(here: &Here, session: &Session) -> Raw {
    let connection = session.join(here, NEAR);
    assert_eq!(ask(&connection, Value::None, "exchange", none()), ("#RETURN".to_owned(), Value::Bool(true)));
    let handles = recv_handles(&connection, 2, Acknowledgement::None, LONG).unwrap().unwrap();
    let [memory, wakeup] = <[_; 2]>::try_from(handles).unwrap();
    let region = Region::shared(&memory, 8192).unwrap();
    let ours = EventFd::try_from(duplicate(&wakeup).unwrap()).unwrap();
    Raw { connection, client: Client::new(memory, wakeup).unwrap(), memory: region, wakeup: ours }
}

/// A request without arguments, in the compact form.
fn compact(ident: &str, method: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    [vec![1], text(ident), text(method), vec![0; 4]].concat()
}

impl Raw {
    fn waits(&self) -> bool {
        while !self.client.wait(Duration::from_secs(1)).unwrap() {
            if self.connection.poll(Duration::ZERO).unwrap_or(true) {
                return false;
            }
        }
        true
    }

    fn is_closed(&self) -> bool {
        matches!(self.connection.recv_bytes_timeout(LONG), Err(error) if error.kind() == ErrorKind::Closed)
    }
}

fn memory_is_for_sessions_and_has_a_bound() {
    let here = Here::start_with_unix::<()>(Limits { exchanges: 2, ..Limits::default() });
    let refused = |connection: &Connection| ask(connection, Value::None, "exchange", none());
    for connection in [here.dial(), Session::begin(&here, NEAR).control] {
        let (kind, text) = refused(&connection);
        assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("unrecognized"), "{text:?}");
    }
    let session = Session::begin(&here, NEAR);
    let (first, second) = (raw(&here, &session), raw(&here, &session));
    let none = ("#RETURN".to_owned(), Value::Bool(false));
    assert_eq!(refused(&session.calls), none, "two have memory");
    assert_eq!(refused(&first.connection), none, "it has memory already");
    let manager = Manager::connect(here.address.clone(), &here.key).unwrap();
    assert!(!manager.shares_memory().unwrap());
    drop(second);
    becomes_so(|| refused(&session.calls).1 == Value::Bool(true));
    let tcp = Here::start_with::<()>(Limits::default());
    assert_eq!(refused(&Session::begin(&tcp, NEAR).calls), none, "over TCP");
}

fn garbage_in_the_memory_ends_its_connection_only() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let list = here.create("list");
    let session = Session::begin(&here, NEAR);
    let deep = [compact(&list, "append")[..list.len() + 11].to_vec(), vec![1, 0], [8, 1, 0].repeat(200)].concat();
    let mut other = raw(&here, &session);
    other.client.ask(&compact(&list, "no such")).unwrap();
    assert!(other.waits());
    assert_eq!(other.client.reply(&mut [0; ROOM]), Ok(None), "no plain data: it comes by the socket");
    assert_eq!(hear(&other.connection).0, "#TRACEBACK");
    for garbage in [b"".to_vec(), vec![0xff; 100], compact(&list, "pop")[..20].to_vec(), deep] {
        let mut client = raw(&here, &session);
        client.client.ask(&garbage).unwrap();
        assert!(client.is_closed(), "{garbage:?}");
        other.client.ask(&compact(&list, "__len__")).unwrap();
        assert!(other.waits(), "another one is served");
    }
    let client = raw(&here, &session);
    client.memory.atomic_u32(0).unwrap().store(1 << 13 | (ROOM as u32 + 1), SeqCst);
    client.wakeup.try_add(1).unwrap();
    assert!(client.is_closed(), "a length that no message has");
}

fn compact_form_over_the_socket_is_for_sessions() {
    for here in [Here::start_with_unix::<()>(Limits::default()), Here::start_with::<()>(Limits::default())] {
        let list = here.create("list");
        let session = Session::begin(&here, NEAR);
        let said = |connection: &Connection, message: &[u8]| {
            connection.send_bytes(message).unwrap();
            connection.recv_bytes_timeout(LONG).unwrap().expect("an answer in time")
        };
        let pickled = |bytes: &[u8]| {
            let value = Decoder::new().decode(bytes).unwrap();
            value.as_items().unwrap()[0].as_str().unwrap().to_owned()
        };
        // The mark, the tag of an int, and the int.
        let none_yet = [&[1, 3][..], &[0; 8]].concat();
        assert_eq!(said(&session.calls, &compact(&list, "__len__")), none_yet);
        assert_eq!(pickled(&said(&session.calls, &compact(&list, "no such"))), "#TRACEBACK", "no plain data");
        for garbage in [&[1][..], &[1, 255, 255, 255], &compact(&list, "__len__")[..9]] {
            assert_eq!(pickled(&said(&session.calls, garbage)), "#TRACEBACK", "{garbage:?}");
        }
        // A reply has the form of its request.
        assert_eq!(ask(&session.calls, list.as_str().into(), "__len__", none()), ("#RETURN".to_owned(), 0.into()));
        let long = Value::Tuple(vec!["x".repeat(ROOM).into()]);
        assert_eq!(ask(&session.calls, list.as_str().into(), "append", long).0, "#RETURN");
        assert_eq!(pickled(&said(&session.calls, &compact(&list, "pop"))), "#RETURN", "longer than that form has");
        assert_eq!(said(&session.calls, &compact(&list, "__len__")), none_yet);
        // A client in Python has no such form.
        assert_eq!(pickled(&said(&here.accepted(), &compact(&list, "__len__"))), "#TRACEBACK");
    }
}

fn server_gets_the_compact_form_if_it_reads_that() {
    let key = AuthKey::from("abracadabra");
    for (told, mark) in [(Value::None, 0x80), (true.into(), 1)] {
        let listener = Listener::builder().authkey(&key).bind(Address::from((NEAR, 0))).unwrap();
        let address = listener.address().clone();
        let marks = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let manager = Manager::connect(address, &key).unwrap();
                assert_eq!(manager.create("list", ()).unwrap_err().kind(), ErrorKind::Remote);
            });
            let returned = |value: Value| pickle::encode(&Value::Tuple(vec!["#RETURN".into(), value])).unwrap();
            let answer = |connection: &Connection, reply: &[u8]| {
                let request = connection.recv_bytes_timeout(LONG).unwrap().expect("a request in time");
                connection.send_bytes(reply).unwrap();
                request[0]
            };
            let control = listener.accept().unwrap();
            let mut marks = vec![answer(&control, &returned("a secret".into()))];
            let calls = listener.accept().unwrap();
            let refused = pickle::encode(&Value::from(("#TRACEBACK", "no list here"))).unwrap();
            marks.extend([&returned(told), &returned(Value::None), &refused].map(|reply| answer(&calls, reply)));
            client.join().unwrap();
            marks
        });
        assert_eq!(marks, [0x80, 0x80, 0x80, mark], "the request that makes a connection is no part of it yet");
    }
}

fn second_request_waits_for_the_reply_to_the_first() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let queue = here.create("Queue");
    let session = Session::begin(&here, NEAR);
    let mut client = raw(&here, &session);
    client.client.ask(&compact(&queue, "get")).unwrap();
    becomes_so(|| here_shows(&here, &queue).contains(" 1 waiting"));
    client.client.ask(&compact(&queue, "get")).unwrap();
    client.wakeup.try_add(1).unwrap();
    // The server has seen the wake-up before it lets another client in.
    assert!(here_shows(&here, &queue).contains(" 1 waiting"));
    drop(client);
    becomes_so(|| here_shows(&here, &queue).contains(" 0 waiting"));
}

fn here_shows(here: &Here, ident: &str) -> String {
    ask(&here.accepted(), ident.into(), "__repr__", none()).1.as_str().unwrap().to_owned()
}

fn bell_that_rings_for_ever_holds_up_nobody() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let list = here.create("list");
    let session = Session::begin(&here, NEAR);
    let mut full = raw(&here, &session);
    set_blocking(&full.wakeup).unwrap();
    full.wakeup.try_add(u64::MAX - 2).unwrap();
    full.client.ask(&compact(&list, "__len__")).unwrap();
    full.client.wait_for_notification().unwrap();
    let ringing = raw(&here, &session);
    let mut other = raw(&here, &session);
    thread::scope(|scope| {
        let rings = scope.spawn(|| (0..20_000).for_each(|_| _ = ringing.wakeup.try_add(1)));
        while !rings.is_finished() {
            other.client.ask(&compact(&list, "__len__")).unwrap();
            assert!(other.waits());
            assert_eq!(here.once("number_of_objects", none()).1, Value::Int(1));
        }
    });
}

fn clients_that_ask_without_end_hold_up_nobody() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let list = here.create("list");
    let session = Session::begin(&here, NEAR);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for mut client in [(); 3].map(|()| raw(&here, &session)) {
            let (list, over) = (&list, &over);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    client.client.ask(&compact(list, "__len__")).unwrap();
                    assert!(client.waits());
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(here.once("dummy", none()).0, "#RETURN", "over a socket");
        }
        over.store(true, SeqCst);
    });
}

fn words_of_a_client_that_writes_anything_hold_up_nobody() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let list = here.create("list");
    let session = Session::begin(&here, NEAR);
    let mut other = raw(&here, &session);
    let mut seed = 0x9e37_79b9_u32;
    for _ in 0..60 {
        let mut client = raw(&here, &session);
        for step in 0..40 {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            let place = [0, 0, 4, 4096, 8128, 4104][seed as usize % 6];
            let value = [(1 << 13) | (seed % 64), seed, ((step + 1) << 13) | 30, seed % 3][seed as usize / 6 % 4];
            client.memory.atomic_u32(place).unwrap().store(value, SeqCst);
            let _ = client.wakeup.try_add(1);
            let _ = client.client.ask(&compact(&list, "__len__"));
        }
        other.client.ask(&compact(&list, "__len__")).unwrap();
        assert!(other.waits());
    }
    assert_eq!(here.once("number_of_objects", none()).1, Value::Int(1));
}
