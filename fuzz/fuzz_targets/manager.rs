//! A manager's server against strangers, and against clients that know the key and say anything, in memory that they
//! share with the server too: another client is
//! served as before, memory stays within the limits, and nothing is left of clients that are gone.
#![no_main]

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::pickle::{self, Decoder, Global, MAX_DEPTH, Object, Value};
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, xmlrpc};
use ossature::multiprocessing::managers::{Limits, Registry, Types};
use ossature::multiprocessing::reduction::{Acknowledgement, recv_handles};
use ossature::sys::eventfd::EventFd;
use ossature::sys::mmap::Region;

#[path = "counted.rs"]
mod counted;

#[derive(arbitrary::Arbitrary, Debug)]
enum Item {
    None,
    Number(i64),
    Small(i8),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Item>),
    Tuple(Vec<Item>),
    Dict(Vec<(Item, Item)>),
    Proxy(u8),
}

#[derive(arbitrary::Arbitrary, Debug)]
enum Said {
    /// Bytes as they are: headers of messages too.
    Bytes(Vec<u8>),
    Message(Vec<u8>),
    Request {
        object: u8,
        method: u8,
        args: Vec<Item>,
        named: Vec<(String, Item)>,
        xml: bool,
    },
    /// A request in the compact form over the socket.
    Compact {
        object: u8,
        method: u8,
        rest: Vec<u8>,
    },
    /// A word of the shared memory at some place, a request there, and the wake-up.
    Memory {
        place: u8,
        word: u32,
        bytes: Vec<u8>,
        rings: bool,
    },
}

#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Role {
    Stranger,
    First,
    Objects,
    Session,
    /// A session with shared memory.
    Shared,
}

#[derive(arbitrary::Arbitrary, Debug)]
struct Client {
    role: Role,
    said: Vec<(Said, bool)>,
}

const METHODS: [&str; 48] = [
    "create",
    "create",
    "create",
    "incref",
    "decref",
    "lend",
    "claim",
    "unread",
    "ossature",
    "accept_connection",
    "debug_info",
    "number_of_objects",
    "get_methods",
    "dummy",
    "track_segment",
    "list_segments",
    "no such",
    "append",
    "extend",
    "insert",
    "pop",
    "remove",
    "sort",
    "reverse",
    "index",
    "__getitem__",
    "__setitem__",
    "__delitem__",
    "__len__",
    "__imul__",
    "__mul__",
    "__add__",
    "__iter__",
    "__next__",
    "keys",
    "update",
    "setdefault",
    "put",
    "get",
    "set",
    "acquire",
    "release",
    "wait",
    "notify",
    "#GETVALUE",
    "__repr__",
    "__setattr__",
    "__contains__",
];

const TYPES: [&str; 15] = [
    "list",
    "dict",
    "set",
    "Queue",
    "JoinableQueue",
    "Lock",
    "RLock",
    "Event",
    "Condition",
    "Semaphore",
    "Barrier",
    "Value",
    "Array",
    "Namespace",
    "Iterator",
];

/// Without the type that starts processes.
struct Here;

impl Types for Here {
    fn register(registry: &mut Registry) {
        registry.remove("Pool");
    }
}

const LONG: Duration = Duration::from_secs(8);

fn limits() -> Limits {
    Limits {
        connections: 40,
        message: 64 << 10,
        objects: 64,
        references: 64,
        client_memory: 256 << 10,
        client_buffers: 256 << 10,
        helpers: 2,
        ..Limits::default()
    }
}

/// Decoding one message takes 16 MiB, whatever its length; it is written and read at both sides here.
const MOST: usize = 4 * (16 << 20);

/// What the clients know: the server, and the objects that they have been told of.
struct World {
    address: Address,
    key: AuthKey,
    seen: Vec<String>,
    /// The shared memory of the client that plays, and its wake-up.
    memory: Option<(Region, EventFd)>,
}

/// Where the words of an exchange are, and some bytes.
const WORDS: [usize; 8] = [0, 4, 16, 20, 4096, 8128, 4104, 4112];

impl World {
    /// Asks for shared memory, which a server of this very process gives.
    fn share(&mut self, connection: &Connection) {
        let request = Value::Tuple(vec![Value::None, "exchange".into(), Value::Tuple(vec![]), Value::Dict(vec![])]);
        connection.send_bytes(&pickle::encode(&request).expect("plain")).expect("the server reads");
        let reply = connection.recv_bytes_timeout(LONG).expect("the server answers").expect("soon");
        let reply = Decoder::new().decode(&reply).expect("plain");
        assert_eq!(reply, Value::from(("#RETURN", true)));
        let handles = recv_handles(connection, 2, Acknowledgement::None, LONG).expect("the server sends them");
        let [memory, wakeup] = <[_; 2]>::try_from(handles.expect("soon")).expect("two");
        let region = Region::shared(&memory, 8192).expect("there is room");
        self.memory = Some((region, EventFd::try_from(wakeup).expect("an event")));
    }

    fn write(&self, place: u8, word: u32, bytes: &[u8], rings: bool) {
        let Some((memory, wakeup)) = &self.memory else { return };
        if bytes.windows(8).any(|part| part == b"shutdown") {
            return; // it would be obeyed
        }
        memory.copy_in(16, &bytes[..bytes.len().min(4016)]).expect("within it");
        let at = WORDS[usize::from(place) % WORDS.len()];
        memory.atomic_u32(at).expect("within it").store(word, SeqCst);
        if rings {
            let _ = wakeup.try_add(1); // a full counter signals, too
        }
    }

    fn dial(&self) -> Connection {
        ConnectBuilder::new().authkey(&self.key).connect(&self.address).expect("the server lets clients in")
    }

    fn value(&self, item: Item) -> Value {
        let all = |items: Vec<Item>| items.into_iter().map(|item| self.value(item)).collect();
        match item {
            Item::None => Value::None,
            Item::Number(number) => number.into(),
            Item::Small(number) => i64::from(number).into(),
            Item::Float(number) => number.into(),
            Item::Text(text) => text.into(),
            Item::Bytes(bytes) => Value::Bytes(bytes),
            Item::List(items) => Value::List(all(items)),
            Item::Tuple(items) => Value::Tuple(all(items)),
            Item::Dict(pairs) => {
                Value::Dict(pairs.into_iter().map(|(key, item)| (self.value(key), self.value(item))).collect())
            }
            Item::Proxy(place) => self.proxy(place),
        }
    }

    fn ident(&self, place: u8) -> Value {
        match self.seen.is_empty() {
            true => "none".into(),
            false => self.seen[usize::from(place) % self.seen.len()].as_str().into(),
        }
    }

    fn proxy(&self, place: u8) -> Value {
        let class = |name| Global::new("multiprocessing.managers", name);
        let address = Value::try_from(&self.address).expect("an address of Python's");
        let token = Object::new(class("Token"), vec!["list".into(), address, self.ident(place)]);
        let args = vec![class("AutoProxy").into(), token.into(), "pickle".into(), Value::Dict(Vec::new())];
        Object::new(class("RebuildProxy"), args).into()
    }

    fn request(&self, object: u8, method: u8, args: Vec<Item>, named: Vec<(String, Item)>, xml: bool) -> Vec<u8> {
        let name = METHODS[usize::from(method) % METHODS.len()];
        let mut args: Vec<_> = args.into_iter().map(|item| self.value(item)).collect();
        match name {
            "create" => args.insert(0, TYPES[usize::from(object) % TYPES.len()].into()),
            "incref" | "decref" | "lend" => args.insert(0, self.ident(object)),
            _ => {}
        }
        let ident = if usize::from(method) % METHODS.len() < 17 { Value::None } else { self.ident(object) };
        let kwds = Value::dict(named.into_iter().map(|(name, item)| (name, self.value(item))));
        let request = Value::Tuple(vec![ident, name.into(), Value::Tuple(args), kwds]);
        let written = if xml { xmlrpc::encode(&request) } else { pickle::encode(&request) };
        written.unwrap_or_default() // what cannot be written is an empty message
    }

    /// A request in the compact form, as far as the names of object and method.
    fn compact(&self, object: u8, method: u8, rest: &[u8]) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
        let name = METHODS[usize::from(method) % METHODS.len()];
        [vec![1], text(self.ident(object).as_str().unwrap_or_default()), text(name), rest.to_vec()].concat()
    }

    /// Notes the objects of which a reply tells.
    fn note(&mut self, reply: &[u8]) {
        if reply.first() == Some(&1) {
            return; // in the compact form, which tells of none
        }
        // Deeper than a request: a reply may have a value of it in a pair in a list.
        let value = match reply.first() {
            Some(b'<') => xmlrpc::decode(reply).unwrap_or_default(),
            _ => Decoder::new().objects().max_depth(MAX_DEPTH).decode(reply).expect("the server's replies can be read"),
        };
        if value == Value::None {
            return;
        }
        let [kind, payload] = value.as_items().expect("a pair") else { panic!("{value:?}") };
        let ident = match (kind.as_str().expect("a text"), payload) {
            ("#RETURN", made) => made.as_items().and_then(|made| made.first()?.as_str()),
            ("#PROXY", made) => match &made.as_items().expect("a pair")[1] {
                Value::Object(token) => token.args[2].as_str(),
                other => panic!("{other:?}"),
            },
            _ => None,
        };
        self.seen.extend(ident.map(str::to_owned));
    }

    fn say(&mut self, connection: &Connection, said: Said, reads: bool) {
        let message = match said {
            Said::Bytes(bytes) => {
                return raw(connection.as_fd().try_clone_to_owned().expect("a descriptor").into(), &bytes);
            }
            Said::Memory { place, word, bytes, rings } => return self.write(place, word, &bytes, rings),
            Said::Compact { object, method, rest } => self.compact(object, method, &rest),
            Said::Message(bytes) if bytes.windows(8).any(|part| part == b"shutdown") => return, // it would be obeyed
            Said::Message(bytes) => bytes,
            Said::Request { object, method, args, named, xml } => self.request(object, method, args, named, xml),
        };
        if connection.send_bytes_timeout(&message, Duration::ZERO).is_ok_and(|sent| sent.is_complete()) && reads {
            if let Ok(Some(reply)) = connection.recv_bytes_timeout(Duration::from_millis(5)) {
                // The server notifies by an empty message.
                if self.memory.is_none() || !reply.is_empty() {
                    self.note(&reply);
                }
            }
        }
    }

    fn enter(&self, method: &str, args: Vec<Value>) -> (Connection, Value) {
        let connection = self.dial();
        let request = Value::Tuple(vec![Value::None, method.into(), Value::Tuple(args), Value::Dict(Vec::new())]);
        connection.send_bytes(&pickle::encode(&request).expect("plain")).expect("the server reads");
        let reply = connection.recv_bytes_timeout(LONG).expect("the server answers").expect("soon");
        let reply = Decoder::new().decode(&reply).expect("plain");
        (connection, reply.as_items().expect("a pair")[1].clone())
    }

    fn play(&mut self, client: Client) {
        let hello = |secret| vec![1.into(), "x".into(), secret];
        let (_control, connection) = match client.role {
            Role::Stranger => {
                let Address::Unix(path) = &self.address else { unreachable!() };
                for (said, _) in client.said {
                    if let (Said::Bytes(bytes) | Said::Message(bytes), Ok(stream)) = (said, UnixStream::connect(path)) {
                        raw(stream, &bytes);
                    }
                }
                return;
            }
            Role::First => (None, self.dial()),
            Role::Objects => (None, self.enter("accept_connection", vec!["x".into()]).0),
            Role::Session => {
                let (control, secret) = self.enter("ossature", hello(Value::None));
                (Some(control), self.enter("ossature", hello(secret)).0)
            }
            Role::Shared => {
                let (control, secret) = self.enter("ossature", hello(Value::None));
                let connection = self.enter("ossature", hello(secret)).0;
                self.share(&connection);
                (Some(control), connection)
            }
        };
        for (said, reads) in client.said {
            self.say(&connection, said, reads);
        }
        self.memory = None;
    }
}

fn raw(mut stream: UnixStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes); // the server may have closed it
}

/// Whether what the clients took goes with them: they are all of Rust, and no object keeps another one.
fn is_told_apart(clients: &[Client]) -> bool {
    fn plain(item: &Item) -> bool {
        match item {
            Item::Proxy(_) => false,
            Item::List(items) | Item::Tuple(items) => items.iter().all(plain),
            Item::Dict(pairs) => pairs.iter().all(|(key, item)| plain(key) && plain(item)),
            _ => true,
        }
    }
    clients.iter().all(|client| {
        client.role == Role::Session
            && client.said.iter().all(|(said, _)| match said {
                // A proxy under way keeps its object for ten minutes.
                Said::Request { method, .. } if METHODS[usize::from(*method) % METHODS.len()] == "lend" => false,
                Said::Request { args, named, .. } => {
                    args.iter().all(plain) && named.iter().all(|(_, item)| plain(item))
                }
                Said::Bytes(_) | Said::Message(_) | Said::Memory { .. } | Said::Compact { .. } => false,
            })
    })
}

fuzz_target!(|clients: Vec<Client>| {
    let key = AuthKey::random().expect("randomness");
    let (told_apart, objects) = (is_told_apart(&clients), limits().objects as u64);
    let (_, peak) = counted::measured(|| {
        let server = Manager::builder().types::<Here>().authkey(&key).limits(limits()).bind().expect("a server");
        let (address, stop) = (server.address().clone(), server.stopper());
        let serving = thread::spawn(move || server.serve_forever());
        let manager = Manager::connect(address.clone(), &key).expect("the server lets clients in");
        let list = manager.list([1, 2, 3]).expect("there is room");
        let mut world = World { address, key: key.clone(), seen: Vec::new(), memory: None };
        // The process is one client to the server: connections that stay count.
        clients.into_iter().take(8).for_each(|client| world.play(client));
        assert_eq!(list.to_vec().expect("the server goes on"), [1, 2, 3]);
        let count = || manager.number_of_objects().expect("the server goes on");
        assert!(count() <= objects);
        let begun = Instant::now();
        while told_apart && count() > 1 {
            assert!(begun.elapsed() < LONG, "{}", manager.debug_info().expect("the server goes on"));
        }
        drop((list, manager));
        stop.stop();
        serving.join().expect("the server does not panic").expect("the server ends well");
    });
    assert!(peak <= MOST, "{peak} bytes");
});
