//! The portable cases of CPython's own tests of managers, in our words: docs/python-tests.md lists them.

use std::collections::BTreeMap;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, AuthKey};
use ossature::multiprocessing::managers::{
    Access, DictProxy, Exception, ListProxy, Proxy, QueueProxy, Registry, Types,
};
use ossature::multiprocessing::{Context, Manager, Process};

use crate::LONG;
use crate::harness::Test;
use crate::served::Account;

pub const TESTS: &[Test] = &[
    ("lists_are_extended_repeated_and_nested", lists_are_extended_repeated_and_nested),
    ("list_is_seen_as_it_is_at_each_step", list_is_seen_as_it_is_at_each_step),
    ("dict_has_its_pairs_and_its_iterator_knows_of_changes", dict_has_its_pairs_and_its_iterator_knows_of_changes),
    ("dicts_in_dicts_are_the_same_objects", dicts_in_dicts_are_the_same_objects),
    ("queues_are_reached_through_containers", queues_are_reached_through_containers),
    ("objects_that_are_sent_live_until_the_server_keeps_them", objects_that_are_sent_live_until_the_server_keeps_them),
    ("namespace_has_attributes", namespace_has_attributes),
    ("type_has_other_methods_under_other_names", type_has_other_methods_under_other_names),
    ("remote_queue_carries_values_between_processes", remote_queue_carries_values_between_processes),
    ("server_starts_again_at_once_at_its_address", server_starts_again_at_once_at_its_address),
    ("empty_queue_raises_the_same_again_and_again", empty_queue_raises_the_same_again_and_again),
    ("child_uses_each_type", child_uses_each_type),
];

fn start() -> Manager {
    Manager::start(Context::Spawn).unwrap()
}

fn lists_are_extended_repeated_and_nested() {
    let manager = start();
    let digits: ListProxy<i64> = manager.list(0..10).unwrap();
    let other: ListProxy<i64> = manager.list([]).unwrap();
    other.extend(&[0, 1, 2, 3, 4]).unwrap();
    assert_eq!(other.get(2).unwrap(), Some(2));
    other.as_ref().call::<()>("__imul__", (2,)).unwrap();
    assert_eq!(other.to_vec().unwrap(), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    let longer = other.as_ref().call::<Vec<i64>>("__add__", (vec![5, 6],)).unwrap();
    assert_eq!((longer.len(), &longer[9..]), (12, &[4, 5, 6][..]));
    assert_eq!(digits.len().unwrap(), 10);
    let both = manager.list([digits.clone(), other.clone()]).unwrap();
    let inner: Vec<_> = (0..2).map(|place| both.get(place).unwrap().unwrap().to_vec().unwrap()).collect();
    assert_eq!(inner, [digits.to_vec().unwrap(), other.to_vec().unwrap()]);
    digits.push(&77).unwrap();
    assert_eq!(both.get(0).unwrap().unwrap().get(-1).unwrap(), Some(77), "the list itself, not a copy");
    // Three lists of which nobody else has a proxy, and a list in itself.
    let rows = manager.list((0..3).map(|_| manager.list([0, 1, 2]).unwrap())).unwrap();
    rows.get(0).unwrap().unwrap().set(-1, &55).unwrap();
    let shown: Vec<_> = (0..3).map(|row| rows.get(row).unwrap().unwrap().to_vec().unwrap()).collect();
    assert_eq!(shown, [[0, 1, 55], [0, 1, 2], [0, 1, 2]]);
    assert_eq!(rows.get(1).unwrap().unwrap().pop().unwrap(), Some(2));
    let lengths: Vec<_> = (0..3).map(|row| rows.get(row).unwrap().unwrap().len().unwrap()).collect();
    assert_eq!(lengths, [3, 2, 3]);
    let knot = manager.create("list", ()).unwrap();
    knot.call::<()>("append", (&knot,)).unwrap();
    assert_eq!(knot.call::<Proxy>("__getitem__", (0,)).unwrap().ident(), knot.ident());
}

/// A list has no iterator at the server: the proxy requests one item after the other, as CPython's does.
fn list_is_seen_as_it_is_at_each_step() {
    let manager = start();
    let list: ListProxy<i64> = manager.list(0..10).unwrap();
    let mut places = 0..;
    let mut items = std::iter::from_fn(|| list.get(places.next()?).unwrap());
    list.set(0, &100).unwrap();
    assert_eq!(items.next(), Some(100));
    assert_eq!(items.collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
}

fn dict_has_its_pairs_and_its_iterator_knows_of_changes() {
    let manager = start();
    let dict: DictProxy<i64, String> = manager.dict().unwrap();
    let letters: BTreeMap<i64, String> = (65..70).map(|code| (code, char::from(code as u8).to_string())).collect();
    letters.iter().try_for_each(|(code, letter)| dict.insert(code, letter)).unwrap();
    assert_eq!(dict.as_ref().get_value::<BTreeMap<i64, String>>().unwrap(), letters);
    assert_eq!(dict.items().unwrap(), letters.clone().into_iter().collect::<Vec<_>>());
    assert_eq!(dict.keys().unwrap(), letters.keys().copied().collect::<Vec<_>>());
    assert_eq!(dict.values().unwrap(), letters.values().cloned().collect::<Vec<_>>());
    let mut keys = dict.iter().unwrap();
    assert_eq!(keys.by_ref().collect::<ossature::Result<Vec<_>>>().unwrap(), [65, 66, 67, 68, 69]);
    assert!(keys.next().is_none());
    let mut keys = dict.iter().unwrap();
    dict.clear().unwrap();
    let error = keys.next().unwrap().unwrap_err();
    assert_eq!(Exception::inside(&error).unwrap().class(), "RuntimeError");
}

fn dicts_in_dicts_are_the_same_objects() {
    type Counts = DictProxy<String, i64>;
    let manager = start();
    let counts = |pairs: &[(&str, i64)]| {
        let dict: Counts = manager.dict().unwrap();
        pairs.iter().try_for_each(|(name, count)| dict.insert(&(*name).to_owned(), count)).unwrap();
        dict
    };
    let name = |text: &str| text.to_owned();
    let (pets, supplies) = (counts(&[("ferrets", 2), ("hamsters", 4)]), counts(&[("water", 10), ("feed", 3)]));
    let all: DictProxy<String, Counts> = manager.dict().unwrap();
    all.insert(&name("pets"), &pets).unwrap();
    all.insert(&name("supplies"), &supplies).unwrap();
    let within = |key: &str| all.get(&name(key)).unwrap().unwrap();
    within("supplies").insert(&name("blankets"), &5).unwrap();
    assert_eq!(supplies.get(&name("blankets")).unwrap(), Some(5));
    supplies.insert(&name("water"), &7).unwrap();
    assert_eq!(within("supplies").get(&name("water")).unwrap(), Some(7));
    drop((pets, supplies));
    assert_eq!(within("pets").get(&name("ferrets")).unwrap(), Some(2), "the outer dict keeps them");
    let (pets, supplies) = (within("pets"), within("supplies"));
    all.clear().unwrap();
    assert_eq!((all.len().unwrap(), supplies.get(&name("water")).unwrap()), (0, Some(7)));
    let list = manager.list([pets, supplies]).unwrap();
    list.get(0).unwrap().unwrap().insert(&name("marmots"), &1).unwrap();
    assert_eq!(list.get(0).unwrap().unwrap().get(&name("marmots")).unwrap(), Some(1));
    // A plain list in a list is a value, and no object.
    let outer = manager.create("list", (vec![vec![88, 99]],)).unwrap();
    outer.call::<()>("append", (&list,)).unwrap();
    assert_eq!(outer.call::<Vec<i64>>("__getitem__", (0,)).unwrap(), [88, 99]);
    let found: ListProxy<Counts> = outer.call::<Proxy>("__getitem__", (-1,)).unwrap().into();
    assert_eq!(found.get(-1).unwrap().unwrap().get(&name("feed")).unwrap(), Some(3));
}

/// References have a connection of their own: the sender's early drop must not overtake the call.
fn objects_that_are_sent_live_until_the_server_keeps_them() {
    let manager = start();
    for round in 0..100 {
        let queue = || manager.queue::<i64>(0).unwrap();
        let made: ListProxy<QueueProxy<i64>> = manager.create("list", ([queue()],)).unwrap().into();
        made.as_ref().call::<()>("append", (queue(),)).unwrap();
        let grown = made.as_ref().call_timeout::<()>("append", (queue(),), LONG).unwrap();
        assert_eq!(grown, Some(()));
        made.as_ref().call_async::<()>("append", (queue(),)).unwrap().get().unwrap();
        for place in 0..4 {
            made.get(place).unwrap().unwrap().put(&round).unwrap();
        }
    }
}

fn queues_are_reached_through_containers() {
    let manager = start();
    let list: ListProxy<QueueProxy<i64>> = manager.list([manager.queue(0).unwrap()]).unwrap();
    list.get(0).unwrap().unwrap().put(&123).unwrap();
    assert_eq!(list.get(0).unwrap().unwrap().get().unwrap(), 123);
    let dict: DictProxy<i64, QueueProxy<i64>> = manager.dict().unwrap();
    dict.insert(&0, &manager.queue(0).unwrap()).unwrap();
    dict.get(&0).unwrap().unwrap().put(&456).unwrap();
    assert_eq!(dict.get(&0).unwrap().unwrap().get().unwrap(), 456);
}

fn namespace_has_attributes() {
    let manager = start();
    let space = manager.namespace().unwrap();
    space.set("name", "Bob").unwrap();
    space.set("job", "Builder").unwrap();
    space.set("_hidden", "hidden").unwrap();
    assert_eq!(space.get::<String>("job").unwrap().as_deref(), Some("Builder"));
    space.delete("job").unwrap();
    assert_eq!(space.as_ref().display().unwrap(), "Namespace(name='Bob')");
    assert_eq!(space.get::<String>("job").unwrap(), None);
    assert_eq!(space.get::<String>("_hidden").unwrap().as_deref(), Some("hidden"));
}

/// A registry with one type under two names with different methods.
struct TwoNames;

impl Types for TwoNames {
    fn register(registry: &mut Registry) {
        registry
            .add_as::<Account>("Reader")
            .allow("Reader", Access::new().methods(["balance"]))
            .add_as::<Account>("Writer")
            .allow("Writer", Access::new().methods(["deposit", "withdraw"]));
    }
}

fn type_has_other_methods_under_other_names() {
    let here = crate::hostile::Here::start_with_unix::<TwoNames>(Default::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let (reader, writer) = (manager.create("Reader", (5,)).unwrap(), manager.create("Writer", (5,)).unwrap());
    assert_eq!(reader.exposed(), ["balance"]);
    assert_eq!(writer.exposed(), ["deposit", "withdraw"]);
    assert_eq!(reader.call::<i64>("balance", ()).unwrap(), 5);
    assert_eq!(writer.call::<i64>("withdraw", (3,)).unwrap(), 2);
    let error = writer.call::<i64>("withdraw", (3,)).unwrap_err();
    assert_eq!(Exception::inside(&error).unwrap().class(), "ValueError");
    for (proxy, method) in [(&reader, "withdraw"), (&writer, "balance"), (&reader, "new")] {
        let error = proxy.call::<i64>(method, (1,)).unwrap_err();
        assert!(error.to_string().contains("is not in exposed"), "{error}");
    }
}

fn remote_queue_carries_values_between_processes() {
    let key = AuthKey::from("far away");
    let manager = Manager::builder().address(("127.0.0.1", 0)).authkey(&key).start(Context::Spawn).unwrap();
    let queue: QueueProxy<(String, Option<bool>, f64)> = manager.queue(0).unwrap();
    let (address, ident) = (manager.address().clone(), queue.as_ref().ident().to_owned());
    let child = Process::fork(|| -> ossature::Result<()> {
        let theirs = Manager::connect(address, &key)?;
        let object = theirs.objects()?.into_iter().find(|it| it.ident == ident).expect("it is there");
        let queue: QueueProxy<(String, Option<bool>, f64)> = theirs.attach(&object.ident)?.into();
        queue.put(&("hello world".to_owned(), None, 2.25))?;
        queue.put(&("h\u{e9}llo w\u{f6}rld".to_owned(), Some(true), -1.0))
    });
    let child = child.unwrap();
    assert_eq!(queue.get_timeout(LONG).unwrap(), Some(("hello world".to_owned(), None, 2.25)));
    assert_eq!(queue.get_timeout(LONG).unwrap(), Some(("h\u{e9}llo w\u{f6}rld".to_owned(), Some(true), -1.0)));
    child.join().unwrap();
    assert_eq!(child.exit_code(), Some(0));
    assert!(queue.empty().unwrap());
}

fn server_starts_again_at_once_at_its_address() {
    let key = AuthKey::from("again");
    let begin = |address: Address| Manager::builder().address(address).authkey(&key).start(Context::Spawn).unwrap();
    let first = begin(Address::Inet("127.0.0.1".to_owned(), 0));
    let address = first.address().clone();
    let queue = first.queue::<String>(0).unwrap();
    queue.put(&"hello world".to_owned()).unwrap();
    assert_eq!(Manager::connect(&address, &key).unwrap().number_of_objects().unwrap(), 1);
    drop(queue);
    first.shutdown().unwrap();
    let second = begin(address.clone());
    assert_eq!((second.address(), second.number_of_objects().unwrap()), (&address, 0));
}

fn empty_queue_raises_the_same_again_and_again() {
    let manager = start();
    let queue = manager.create("Queue", ()).unwrap();
    for _ in 0..20 {
        let error = queue.call::<i64>("get", (true, 0.0)).unwrap_err();
        assert_eq!((error.kind(), Exception::inside(&error).unwrap().class()), (ErrorKind::Remote, "queue.Empty"));
    }
    assert_eq!(manager.number_of_objects().unwrap(), 1, "no exception keeps anything");
}

/// A child changes an object of each type, and its parent then reads the changes.
fn child_uses_each_type() {
    let manager = start();
    let (event, lock, rlock) = (manager.event().unwrap(), manager.lock().unwrap(), manager.rlock().unwrap());
    let (semaphore, bounded) = (manager.semaphore(1).unwrap(), manager.bounded_semaphore(1).unwrap());
    let (condition, barrier) = (manager.condition().unwrap(), manager.barrier(2).unwrap());
    let (queue, joined) = (manager.queue::<i64>(0).unwrap(), manager.queue::<i64>(0).unwrap());
    let (list, dict, set) =
        (manager.list([1]).unwrap(), manager.dict::<String, i64>().unwrap(), manager.set([1]).unwrap());
    let (value, array) = (manager.value("i", &1_i64).unwrap(), manager.array("i", &[1_i64, 2]).unwrap());
    let space = manager.namespace().unwrap();
    queue.put(&5).unwrap();
    joined.put(&6).unwrap();
    let child = Process::fork(|| -> ossature::Result<()> {
        event.set()?;
        lock.acquire()?;
        lock.release()?;
        rlock.acquire()?;
        rlock.acquire()?;
        rlock.release()?;
        rlock.release()?;
        semaphore.acquire()?;
        semaphore.release()?;
        bounded.acquire()?;
        bounded.release()?;
        let (got, taken) = (queue.get()?, joined.get()?);
        joined.task_done()?;
        list.push(&got)?;
        dict.insert(&"taken".to_owned(), &taken)?;
        set.insert(&2)?;
        value.set(&2)?;
        array.set(0, &9)?;
        space.set("x", &10)?;
        barrier.wait()?;
        condition.acquire()?;
        condition.notify(1)?;
        condition.release()
    });
    let child = child.unwrap();
    condition.acquire().unwrap();
    barrier.wait_timeout(LONG).unwrap();
    assert!(condition.wait_timeout(LONG).unwrap());
    condition.release().unwrap();
    child.join().unwrap();
    assert_eq!(child.exit_code(), Some(0));
    joined.join().unwrap();
    assert!(event.is_set().unwrap() && queue.empty().unwrap() && joined.empty().unwrap());
    let error = bounded.release().unwrap_err();
    assert_eq!(Exception::inside(&error).unwrap().class(), "ValueError");
    semaphore.release().unwrap();
    assert_eq!((list.to_vec().unwrap(), dict.get(&"taken".to_owned()).unwrap()), (vec![1, 5], Some(6)));
    assert_eq!((set.len().unwrap(), value.get().unwrap(), array.to_vec().unwrap()), (2, 2, vec![9, 2]));
    assert_eq!(space.get::<i64>("x").unwrap(), Some(10));
    assert!(lock.acquire_timeout(Duration::ZERO).unwrap() && rlock.acquire_timeout(Duration::ZERO).unwrap());
}
