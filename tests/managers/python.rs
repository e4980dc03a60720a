//! Running CPythons, as clients of a server here and as servers for a client here.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use ossature::ErrorKind;
use ossature::multiprocessing::Context;
use ossature::multiprocessing::connection::pickle::{Global, Value};
use ossature::multiprocessing::connection::{Address, AuthKey, Listener, xmlrpc};
use ossature::multiprocessing::managers::{
    DictProxy, Exception, IteratorProxy, Limits, ListProxy, Manager, Proxy, Serializer, SharedMemoryManager,
};
use ossature::multiprocessing::shared_memory::SharedMemory;

use crate::calls::bank;
use crate::harness::{Test, begin_anew};
use crate::peers::{Python, installed};

pub const TESTS: &[Test] = &[
    ("pythons_are_found_and_answer", pythons_are_found_and_answer),
    ("python_drives_containers_of_ours", python_drives_containers_of_ours),
    ("python_waits_at_locks_and_queues_of_ours", python_waits_at_locks_and_queues_of_ours),
    ("python_calls_a_type_of_the_program", python_calls_a_type_of_the_program),
    ("we_drive_objects_of_python", we_drive_objects_of_python),
    ("exceptions_of_python_keep_their_names", exceptions_of_python_keep_their_names),
    ("we_drive_a_pool_of_python", we_drive_a_pool_of_python),
    ("python_speaks_xmlrpc_with_ours", python_speaks_xmlrpc_with_ours),
    ("we_speak_xmlrpc_with_python", we_speak_xmlrpc_with_python),
    ("xml_client_of_python_and_ours_understand_each_other", xml_client_of_python_and_ours_understand_each_other),
    ("python_registers_blocks_with_ours", python_registers_blocks_with_ours),
    ("we_register_blocks_with_python", we_register_blocks_with_python),
];

/// Runs each line of its input. It prints the value for `=` and an expression, and `ok` for any other line.
const PROGRAM: &str = "
import multiprocessing, sys
from multiprocessing.managers import BaseManager, SyncManager
try:
    import queue
except ImportError:
    import Queue as queue
class Remote(SyncManager):
    pass
Remote.register('Account')
class Own(object):
    def __init__(self, start):
        self.n = start
    def add(self, by, times=1):
        self.n += by * times
        return self.n
    def fail(self, kind):
        raise {'key': KeyError, 'value': ValueError, 'own': OwnError, 'pool': OfPool}[kind]('spam')
    def pair(self):
        return {'a': (1, 2.5, None, True), 'b': [b'xy'.decode('ascii'), 2 ** 70]}
    def unsendable(self):
        return lambda: 0
    def make(self):
        return Own(self.n)
class OwnError(Exception):
    pass
class OfPool(Exception):
    def __reduce__(self):
        from multiprocessing.pool import rebuild_exc
        return rebuild_exc, (ValueError(*self.args), 'the text of a traceback')
class Serving(SyncManager):
    pass
Serving.register('Own', Own, method_to_typeid={'make': 'Made'})
Serving.register('Made', None, create_method=False)
for line in iter(sys.stdin.readline, ''):
    try:
        if line.startswith('='):
            print(repr(eval(line[1:])))
        else:
            exec(line)
            print('ok')
    except Exception as error:
        print('%s: %s' % (type(error).__name__, ' '.join(str(error).split())))
    sys.stdout.flush()
";

/// A running CPython.
pub struct Snake {
    child: Child,
    tell: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Snake {
    pub fn start(python: &Python) -> Self {
        let mut command = python.command();
        command.args(["-B", "-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { tell: child.stdin.take(), child, answers }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.tell.as_ref().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    #[track_caller]
    pub fn run(&mut self, statement: &str) {
        assert_eq!(self.ask(statement), "ok", "{statement}");
    }

    #[track_caller]
    pub fn value(&mut self, expression: &str) -> String {
        // Python 2 marks the texts that are `str` elsewhere.
        self.ask(&format!("={expression}")).replace("u'", "'").replace("u\"", "\"")
    }

    /// The ident of a proxy's object on its server.
    pub fn ident(&mut self, proxy: &str) -> String {
        self.value(&format!("{proxy}._token.id")).trim_matches('\'').to_owned()
    }

    /// Connects the CPython to a server here, as `m`.
    pub fn connect(&mut self, manager: &Manager) {
        let Address::Unix(path) = manager.address() else { panic!("{:?}", manager.address()) };
        // A proxy in a container is reached by the key of the process.
        self.run("multiprocessing.current_process().authkey = b'snake'");
        self.run(&format!("m = Remote('{}', b'snake'); m.connect()", path.display()));
    }
}

impl Drop for Snake {
    fn drop(&mut self) {
        drop(self.tell.take());
        let status = self.child.wait().unwrap();
        assert!(std::thread::panicking() || status.success(), "{status}");
    }
}

pub fn with_each(test: impl Fn(&Python)) {
    begin_anew();
    for python in installed() {
        begin_anew();
        test(python);
    }
}

pub fn ours() -> Manager {
    Manager::builder().authkey(&AuthKey::from("snake")).start(Context::Spawn).unwrap()
}

/// The search for the CPythons takes time that must not count for the next test.
fn pythons_are_found_and_answer() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        let (major, minor, micro) = python.version;
        assert_eq!(snake.value("sys.version_info[:3]"), format!("({major}, {minor}, {micro})"));
    });
}

fn python_drives_containers_of_ours() {
    with_each(|python| {
        let manager = ours();
        let mut snake = Snake::start(python);
        snake.connect(&manager);
        snake.run("l = m.list([3, 1, 2]); l.append(5); l.sort()");
        assert_eq!(
            snake.value("l[:], len(l), l[-1], 2 in l, l.index(5), str(l)"),
            "([1, 2, 3, 5], 4, 5, True, 3, '[1, 2, 3, 5]')"
        );
        snake.run("l[1:3] = [9]; l += [7, 7]; del l[0]; l *= 2");
        assert_eq!(snake.value("list(l)"), "[9, 5, 7, 7, 9, 5, 7, 7]");
        assert_eq!(snake.ask("l[99]"), "IndexError: list index out of range");
        assert_eq!(snake.ask("l.remove('x')"), "ValueError: list.remove(x): x not in list");

        snake.run("d = m.dict({'a': 1}, b=2.5); d['c'] = (None, True)");
        assert_eq!(
            snake.value("sorted(d.keys()), d['c'], d.get('z', 7), 'b' in d"),
            "(['a', 'b', 'c'], (None, True), 7, True)"
        );
        assert_eq!(
            snake.value("d.pop('b'), len(d), sorted(d.items())[0], d.copy() == {'a': 1, 'c': (None, True)}"),
            "(2.5, 2, ('a', 1), True)"
        );
        assert_eq!(snake.ask("d['z']").replace("u'", "'"), "KeyError: 'z'");
        snake.run("d.update(x=1, y=2)");
        if python.version >= (3, 6, 0) {
            assert_eq!(snake.value("sorted(d)"), "['a', 'c', 'x', 'y']", "through an iterator of ours");
        }

        snake.run("n = m.Namespace(x=1); n.y = 'text'; n._mine = 3");
        assert_eq!(snake.value("n.x, str(n.y), hasattr(n, 'z')"), "(1, 'text', False)");
        snake.run("del n.x");
        assert_eq!(snake.value("str(n)"), "\"Namespace(y='text')\"");
        snake.run("v = m.Value('i', 5); v.value += 2; a = m.Array('i', [1, 2, 3]); a[1] = 9");
        assert_eq!(snake.value("v.value, a[1], len(a), a[-1]"), "(7, 9, 3, 3)");
        assert_eq!(snake.ask("a[0] = 2 ** 40").split(':').next(), Some("OverflowError"));
        if python.version >= (3, 6, 0) {
            // Containers in containers: the inner one stays, though its proxy goes.
            snake.run("o = m.list([m.list([1, 2])]); o[0].append(3)");
            assert_eq!(snake.value("o[0][:]"), "[1, 2, 3]");
            assert_eq!(snake.value("a[:].tolist()"), "[1, 9, 3]");
        }
        let count = manager.number_of_objects().unwrap();
        snake.run("del l, d, n, v, a; o = None");
        assert!(manager.number_of_objects().unwrap() < count, "{}", manager.debug_info().unwrap());
    });
}

fn python_waits_at_locks_and_queues_of_ours() {
    with_each(|python| {
        let manager = ours();
        let mut snake = Snake::start(python);
        snake.connect(&manager);
        snake.run("q = m.Queue(2); q.put('one'); q.put(2)");
        assert_eq!(snake.value("q.qsize(), q.full(), str(q.get()), q.get_nowait()"), "(2, True, 'one', 2)");
        assert_eq!(snake.ask("q.get_nowait()").split(':').next(), Some("Empty"));
        assert_eq!(snake.ask("q.get(True, 0.01)").split(':').next(), Some("Empty"));
        snake.run("q.put(1); q.put(1)");
        assert_eq!(snake.ask("q.put(1, False)").split(':').next(), Some("Full"));
        snake.run("j = m.JoinableQueue(); j.put(1); j.get(); j.task_done(); j.join()");

        snake.run("l = m.Lock(); l.acquire()");
        assert_eq!(snake.value("l.acquire(False)"), "False");
        snake.run("l.release(); r = m.RLock(); r.acquire(); r.acquire(); r.release(); r.release()");
        assert!(snake.ask("r.release()").starts_with("RuntimeError"), "{python:?}");
        snake.run("s = m.BoundedSemaphore(1); s.acquire(); s.release()");
        assert_eq!(snake.ask("s.release()"), "ValueError: Semaphore released too many times");
        snake.run("e = m.Event(); e.set()");
        assert_eq!(snake.value("e.is_set(), e.wait(1)"), "(True, True)");
        snake.run("c = m.Condition(); c.acquire(); c.wait(0.01); c.notify(); c.release()");
        if python.version >= (3, 3, 0) {
            snake.run("b = m.Barrier(1); b.wait()");
            assert_eq!(snake.value("b.parties, b.n_waiting, b.broken"), "(1, 0, False)");
            assert_eq!(snake.value("c.acquire(), c.wait_for(lambda: True), c.release()"), "(True, True, None)");
        }
    });
}

fn python_calls_a_type_of_the_program() {
    with_each(|python| {
        let manager = bank();
        let key = ossature::multiprocessing::current_process().authkey().unwrap();
        let key: String = key.as_bytes().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let Address::Unix(path) = manager.address() else { panic!("{:?}", manager.address()) };
        let mut snake = Snake::start(python);
        snake.run(&format!("m = Remote('{}', b'{key}'); m.connect(); a = m.Account(100)", path.display()));
        assert_eq!(snake.value("a.balance(), a.withdraw(30), a.withdraw(amount=20)"), "(100, 70, 50)");
        assert_eq!(snake.value("str(a.deposit(1, note='gift'))"), "'gift'");
        assert_eq!(snake.ask("a.withdraw(1000)"), "ValueError: 1000 is more than 51");
        assert_eq!(snake.ask("a.parse('x')"), "RuntimeError: invalid digit found in string");
        assert_eq!(snake.ask("a.explode()"), "RuntimeError: the method panicked: the vault is open");
        snake.run("b = a.branch()");
        assert_eq!(snake.value("b.balance(), b.take_from(a, 10), a.balance()"), "(25, 35, 41)");
        let told = snake.ask("a._callmethod('nothing')");
        assert!(told.starts_with("RemoteError") && told.contains("not in exposed"), "{told}");
    });
}

fn we_drive_objects_of_python() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("s = Serving(('127.0.0.1', 0), b'snake'); s.start()");
        let port: u16 = snake.value("s.address[1]").parse().unwrap();
        let manager = Manager::connect(("127.0.0.1", port), &AuthKey::from("snake")).unwrap();
        let list: ListProxy<i64> = manager.list([3, 1, 2]).unwrap();
        list.push(&5).unwrap();
        list.sort().unwrap();
        assert_eq!(
            (list.to_vec().unwrap(), list.get(9).unwrap(), list.pop().unwrap()),
            (vec![1, 2, 3, 5], None, Some(5))
        );
        let dict: DictProxy<String, f64> = manager.dict().unwrap();
        dict.insert(&"a".to_owned(), &1.5).unwrap();
        assert_eq!((dict.items().unwrap(), dict.keys().unwrap()), (vec![("a".to_owned(), 1.5)], vec!["a".to_owned()]));
        assert_eq!((dict.remove(&"z".to_owned()).unwrap(), dict.len().unwrap()), (None, 1));
        let queue = manager.queue::<String>(1).unwrap();
        queue.put(&"x".to_owned()).unwrap();
        assert!(!queue.put_timeout(&"y".to_owned(), std::time::Duration::from_millis(1)).unwrap());
        assert_eq!(queue.get().unwrap(), "x");
        assert_eq!(queue.get_timeout(std::time::Duration::ZERO).unwrap(), None);
        let lock = manager.lock().unwrap();
        drop(lock.lock().unwrap());
        let event = manager.event().unwrap();
        event.set().unwrap();
        assert!(event.is_set().unwrap());
        let space = manager.namespace().unwrap();
        space.set("x", &3).unwrap();
        assert_eq!((space.get::<i64>("x").unwrap(), space.get::<i64>("y").unwrap()), (Some(3), None));
        let value = manager.value("i", &5_i64).unwrap();
        value.set(&6).unwrap();
        assert_eq!(value.get().unwrap(), 6);
        let array = manager.array("i", &[1_i32, 2, 3]).unwrap();
        assert_eq!((array.get(-1).unwrap(), array.to_vec().unwrap()), (Some(3), vec![1, 2, 3]), "{python:?}");

        let own = manager.create("Own", (10,)).unwrap();
        assert!(own.exposed().contains(&"add".to_owned()), "{:?}", own.exposed());
        assert_eq!(own.call::<i64>("add", (5,)).unwrap(), 15);
        assert_eq!(own.call_with::<i64>("add", vec![1.into()], vec![("times".to_owned(), 5.into())]).unwrap(), 20);
        let made = own.call::<Proxy>("make", ()).unwrap();
        assert_eq!(made.call::<i64>("add", (1,)).unwrap(), 21);
        let nested = manager.list::<ListProxy<i64>>([]).unwrap();
        nested.push(&list).unwrap();
        if python.version >= (3, 6, 0) {
            assert_eq!(nested.get(0).unwrap().unwrap().to_vec().unwrap(), [1, 2, 3]);
        } else {
            // A server of Python 2 puts the object itself in.
            assert_eq!(nested.as_ref().get_value::<Vec<Vec<i64>>>().unwrap(), [[1, 2, 3]]);
        }
        assert!(manager.debug_info().unwrap().contains("refcount=1"));
        drop((list, dict, queue, lock, event, space, value, array, own, made, nested));
        assert_eq!(manager.number_of_objects().unwrap(), 0, "{}", manager.debug_info().unwrap());
        drop(manager);
        snake.run("s.shutdown()");
    });
}

/// The result of `Own.pair`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Pair {
    a: (i64, f64, Option<i64>, bool),
    b: (String, i128),
}

fn exceptions_of_python_keep_their_names() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        // At a path of Python's choice, while the other tests use TCP.
        snake.run("s = Serving(None, b'snake'); s.start()");
        let path = snake.ask("=s.address"); // not `value`, which takes a last `u` of the path for Python 2's mark
        let manager =
            Manager::connect(path.trim_start_matches('u').trim_matches('\''), &AuthKey::from("snake")).unwrap();
        let own = manager.create("Own", (1,)).unwrap();
        for (kind, class) in [("key", "KeyError"), ("value", "ValueError"), ("own", "__main__.OwnError")] {
            let error = own.call::<()>("fail", (kind,)).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Remote, format!("{class}: spam")));
        }
        // As the workers of a pool send exceptions since 3.4.
        if python.version >= (3, 4, 0) {
            let error = own.call::<()>("fail", ("pool",)).unwrap_err();
            assert_eq!(error.to_string(), "ValueError: spam");
            assert_eq!(Exception::inside(&error).unwrap().traceback(), Some("the text of a traceback"));
        }
        let error = own.call::<()>("unsendable", ()).unwrap_err();
        let exception = Exception::inside(&error).unwrap();
        assert!(exception.traceback().unwrap().contains("Unserializable"), "{error}");
        let error = own.call::<()>("add", (1, 2, 3)).unwrap_err();
        assert_eq!(Exception::inside(&error).unwrap().class(), "TypeError");
        let pair = own.call::<Pair>("pair", ()).unwrap();
        assert_eq!((pair.a, pair.b), ((1, 2.5, None, true), ("xy".to_owned(), 1 << 70)));
        assert!(manager.create("Nothing", ()).unwrap_err().to_string().contains("Nothing"));
        drop((own, manager));
        snake.run("s.shutdown()");
    });
}

fn python_speaks_xmlrpc_with_ours() {
    with_each(|python| {
        let manager = ours();
        let mut snake = Snake::start(python);
        let Address::Unix(path) = manager.address() else { panic!("{:?}", manager.address()) };
        snake.run(&format!("m = Remote('{}', b'snake', serializer='xmlrpclib'); m.connect()", path.display()));
        snake.run("l = m.list([3, 1, 2]); l.append(5); l.sort(); l.append(-2.5); l.append(None)");
        assert_eq!(
            snake.value("l._getvalue(), len(l), str(l)"),
            "([1, 2, 3, 5, -2.5, None], 6, '[1, 2, 3, 5, -2.5, None]')"
        );
        snake.run("d = m.dict({'a': 1}); d['b'] = {'x': (1, True)}; d['c'] = '<&> ' + chr(10)");
        assert_eq!(
            snake.value("sorted(d.keys()), d.get('z'), d['b'], d['c'], 'a' in d"),
            "(['a', 'b', 'c'], None, {'x': [1, True]}, '<&> \\n', True)"
        );
        snake.run("n = m.Namespace(x=1); n.y = 'text'; v = m.Value('i', 5); v.value += 2");
        assert_eq!(snake.value("n.x, n.y, v.value"), "(1, 'text', 7)");
        snake.run("q = m.Queue(1); q.put('one'); k = m.Lock(); k.acquire(); k.release()");
        assert_eq!(snake.value("q.full(), q.get()"), "(True, 'one')");
        // An exception is the text of a traceback.
        let told = snake.ask("l[99]");
        assert!(told.starts_with("RemoteError") && told.contains("IndexError: list index out of range"), "{told}");
        assert!(snake.ask("q.get_nowait()").contains("Empty"), "{python:?}");
        let told = snake.ask("l._callmethod('nothing')");
        assert!(told.starts_with("RemoteError") && told.contains("not in exposed"), "{told}");
        // What cannot be sent leaves nothing behind.
        let count = manager.number_of_objects().unwrap();
        let told = snake.ask("d._callmethod('__iter__')");
        assert!(told.starts_with("RemoteError") && told.contains("cannot send"), "{told}");
        assert_eq!(manager.number_of_objects().unwrap(), count, "{}", manager.debug_info().unwrap());
        snake.run("del l, d, n, v, q, k");
        assert!(manager.number_of_objects().unwrap() < count, "{}", manager.debug_info().unwrap());
    });
}

fn we_speak_xmlrpc_with_python() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("s = Serving(('127.0.0.1', 0), b'snake', serializer='xmlrpclib'); s.start()");
        let port: u16 = snake.value("s.address[1]").parse().unwrap();
        let key = AuthKey::from("snake");
        let manager = Manager::connect_with(("127.0.0.1", port), &key, Serializer::XmlRpc).unwrap();
        let list: ListProxy<i64> = manager.list([3, 1, 2]).unwrap();
        list.push(&-5).unwrap();
        list.sort().unwrap();
        assert_eq!((list.to_vec().unwrap(), list.pop().unwrap(), list.len().unwrap()), (vec![-5, 1, 2, 3], Some(3), 3));
        let error = list.push(&(1 << 40)).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("more than 32 bits"), "{error}");
        let dict: DictProxy<String, (f64, Option<String>)> = manager.dict().unwrap();
        let pair = (1.5, Some("<&>\n \u{e9}".to_owned()));
        dict.insert(&"a".to_owned(), &pair).unwrap();
        assert_eq!((dict.get(&"a".to_owned()).unwrap(), dict.len().unwrap()), (Some(pair), 1), "{python:?}");
        let queue = manager.queue::<String>(1).unwrap();
        queue.put(&"x".to_owned()).unwrap();
        assert_eq!(queue.get().unwrap(), "x");
        let own = manager.create("Own", (10,)).unwrap();
        assert_eq!(own.call_with::<i64>("add", vec![5.into()], vec![("times".to_owned(), 2.into())]).unwrap(), 20);
        // Of an exception nothing but that there was one crosses.
        assert_eq!(own.call::<()>("fail", ("key",)).unwrap_err().kind(), ErrorKind::Remote);
        let error = own.call::<()>("hidden", ()).unwrap_err();
        assert!(error.to_string().contains("Traceback (most recent call last)"), "{error}");
        let error = own.call::<i64>("add", (list.as_ref(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a proxy cannot be sent: {error}");
        drop((list, dict, queue, own));
        assert_eq!(manager.number_of_objects().unwrap(), 0, "{}", manager.debug_info().unwrap());
        drop(manager);
        snake.run("s.shutdown()");
    });
}

fn xml_client_of_python_and_ours_understand_each_other() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        let key = AuthKey::from("snake");
        let listener = Listener::builder().authkey(&key).bind(("127.0.0.1", 0)).unwrap();
        let Address::Inet(_, port) = listener.address() else { panic!("{:?}", listener.address()) };
        snake.run("from multiprocessing import connection");
        snake.tell(&format!("c = connection.XmlClient(('127.0.0.1', {port}), authkey=b'snake')"));
        let here = listener.accept().unwrap();
        assert_eq!(snake.hear(), "ok");
        snake.run("o = {'a': [1, -2.5, None, True, (), {}], 'c': u'<&> \\xe9'}");
        if python.version >= (3, 0, 0) {
            snake.run("o['b'] = b'\\x00\\xff'");
        }
        snake.run("c.send(o)");
        let arrived = xmlrpc::decode(&here.recv_bytes().unwrap()).unwrap();
        let (empty, none) = (Value::List(Vec::new()), Value::Dict(Vec::new()));
        let items = Value::List(vec![1.into(), (-2.5).into(), Value::None, true.into(), empty, none]);
        assert_eq!(arrived.get("a"), Some(&items), "{python:?}");
        assert_eq!(arrived.get("c").and_then(Value::as_str), Some("<&> \u{e9}"));
        if python.version >= (3, 0, 0) {
            assert_eq!(arrived.get("b").and_then(Value::as_bytes), Some(&[0, 255][..]));
        }
        here.send_bytes(&xmlrpc::encode(&arrived).unwrap()).unwrap();
        snake.run("r = c.recv()");
        assert_eq!(snake.value("r['a'], r['c'] == u'<&> \\xe9'"), "([1, -2.5, None, True, [], {}], True)");
        let bytes = xmlrpc::encode(&Value::Bytes((0..=255).collect())).unwrap();
        here.send_bytes(&bytes).unwrap();
        assert_eq!(snake.value("bytearray(c.recv().data) == bytearray(range(256))"), "True");
    });
}

/// Runs the test with the versions that have shared memory.
fn with_each_that_shares(test: impl Fn(&Python)) {
    with_each(|python| {
        if python.version >= (3, 8, 0) {
            test(python);
        }
    });
}

fn python_registers_blocks_with_ours() {
    with_each_that_shares(|python| {
        let mut snake = Snake::start(python);
        let limits = Limits { segments: 10, ..Limits::default() };
        let manager = Manager::builder().authkey(&AuthKey::from("snake")).limits(limits);
        let manager = SharedMemoryManager::from(manager.start(Context::Spawn).unwrap());
        let Address::Unix(path) = manager.manager().address() else { panic!() };
        snake.run("from multiprocessing import managers, resource_tracker");
        snake.run(&format!("m = managers.SharedMemoryManager('{}', b'snake'); m.connect()", path.display()));
        snake.run("b = m.SharedMemory(64); b.buf[0] = 7; l = m.ShareableList([1, 'x'])");
        // Otherwise its tracker removes the names at its end, and says so.
        snake.run("[resource_tracker.unregister(n, 'shared_memory') for n in (b._name, l.shm._name)]");
        let name = snake.value("b.name").trim_matches('\'').to_owned();
        assert_eq!(SharedMemory::open(&name).unwrap().get::<u8>(0).unwrap(), 7, "{name}");
        assert_eq!(manager.segments().unwrap().len(), 2);
        snake.run("ask = lambda *a: managers.dispatch(m._Client(m.address, authkey=b'snake'), None, *a)");
        assert_eq!(snake.value("sorted(ask('list_segments')) == sorted([b.name, l.shm.name])"), "True");
        snake.run("ask('release_segment', (l.shm.name,))");
        assert_eq!(manager.segments().unwrap(), [name.as_str()]);
        assert!(snake.ask("ask('release_segment', (l.shm.name,))").contains("does not keep a block"));
        manager.shutdown().unwrap();
        assert!(SharedMemory::open(&name).is_err(), "{name} is left");
    });
}

fn we_register_blocks_with_python() {
    with_each_that_shares(|python| {
        let mut snake = Snake::start(python);
        snake.run("from multiprocessing import managers, shared_memory");
        snake.run("s = managers.SharedMemoryManager(('127.0.0.1', 0), b'snake'); s.start()");
        let port: u16 = snake.value("s.address[1]").parse().unwrap();
        let manager = SharedMemoryManager::connect(("127.0.0.1", port), &AuthKey::from("snake")).unwrap();
        let block = manager.shared_memory(16).unwrap();
        block.set(0, 9_u8).unwrap();
        let list = manager.shareable_list([4, 5]).unwrap();
        let names = [block.name().to_owned(), list.memory().name().to_owned()];
        drop((block, list));
        snake.run(&format!("b = shared_memory.SharedMemory('{}')", names[0]));
        assert_eq!(snake.value("b.buf[0]"), "9");
        // CPython 3.8 has a layout of its own.
        if python.version >= (3, 9, 0) {
            snake.run(&format!("l = shared_memory.ShareableList(name='{}')", names[1]));
            assert_eq!(snake.value("l[1]"), "5");
        }
        assert_eq!(manager.segments().unwrap(), names);
        manager.release(&names[0]).unwrap();
        assert!(SharedMemory::open(&names[0]).is_err() && SharedMemory::open(&names[1]).is_ok());
        snake.run("s.shutdown()");
        assert!(SharedMemory::open(&names[1]).is_err(), "{} is left", names[1]);
    });
}

fn we_drive_a_pool_of_python() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("s = Serving(('127.0.0.1', 0), b'snake'); s.start()");
        let port: u16 = snake.value("s.address[1]").parse().unwrap();
        let manager = Manager::connect(("127.0.0.1", port), &AuthKey::from("snake")).unwrap();
        let pool = manager.create("Pool", (2,)).unwrap();
        let function = || Value::from(Global::new("math", "factorial"));
        let args = |args: Value| vec![function(), args];
        let four = Value::Tuple(vec![4.into()]);
        assert_eq!(pool.call_with::<u64>("apply", args(four.clone()), Vec::new()).unwrap(), 24);
        let items = Value::List(vec![1.into(), 2.into(), 3.into()]);
        assert_eq!(pool.call_with::<Vec<u64>>("map", args(items.clone()), Vec::new()).unwrap(), [1, 2, 6]);
        let result = pool.call_with::<Proxy>("apply_async", args(four), Vec::new()).unwrap();
        assert_eq!(result.call::<u64>("get", (50,)).unwrap(), 24);
        assert!(result.call::<bool>("ready", ()).unwrap() && result.call::<bool>("successful", ()).unwrap());
        let each: IteratorProxy<u64> = pool.call_with::<Proxy>("imap", args(items), Vec::new()).unwrap().into();
        // Python 2 has `next` alone.
        if python.version >= (3, 0, 0) {
            assert_eq!(each.collect::<ossature::Result<Vec<_>>>().unwrap(), [1, 2, 6]);
        }
        let error = pool.call_with::<u64>("apply", args(Value::Tuple(vec![(-1).into()])), Vec::new()).unwrap_err();
        assert_eq!(Exception::inside(&error).unwrap().class(), "ValueError");
        pool.call::<()>("terminate", ()).unwrap();
        drop((result, pool, manager));
        snake.run("s.shutdown()");
    });
}
