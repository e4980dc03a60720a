//! Calls of typed objects, with every start method and every kind of argument.

use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::connection::{AuthKey, pipe};
use ossature::multiprocessing::managers::{Exception, ListProxy, Proxy, QueueProxy, ValueProxy};
use ossature::multiprocessing::{Context, Manager, Process};

use crate::LONG;
use crate::harness::Test;
use crate::served::{Account, AccountProxy, Bank};

pub const TESTS: &[Test] = &[
    ("object_answers_however_its_server_was_started", object_answers_however_its_server_was_started),
    ("errors_cross_under_their_names", errors_cross_under_their_names),
    ("what_cannot_be_called_is_an_error_that_names_it", what_cannot_be_called_is_an_error_that_names_it),
    ("argument_that_cannot_be_sent_is_told_at_the_sender", argument_that_cannot_be_sent_is_told_at_the_sender),
    (
        "argument_without_a_pickle_takes_no_lock_from_its_thread",
        argument_without_a_pickle_takes_no_lock_from_its_thread,
    ),
    ("methods_hand_out_objects_and_take_proxies", methods_hand_out_objects_and_take_proxies),
    ("methods_that_wait_run_side_by_side", methods_that_wait_run_side_by_side),
    ("proxy_lives_while_it_is_under_way", proxy_lives_while_it_is_under_way),
    ("forked_child_calls_by_connections_of_its_own", forked_child_calls_by_connections_of_its_own),
    ("objects_go_with_their_last_proxies", objects_go_with_their_last_proxies),
    ("proxies_in_containers_keep_their_objects", proxies_in_containers_keep_their_objects),
    ("server_can_be_reached_by_address_and_key", server_can_be_reached_by_address_and_key),
    (
        "a_connect_by_a_wrong_key_is_refused_and_changes_nothing",
        a_connect_by_a_wrong_key_is_refused_and_changes_nothing,
    ),
    ("manager_ends_its_server", manager_ends_its_server),
    ("proxies_may_have_more_methods", proxies_may_have_more_methods),
    ("types_that_were_removed_cannot_be_made", types_that_were_removed_cannot_be_made),
];

pub fn bank() -> Manager {
    Manager::builder().types::<Bank>().start(Context::Spawn).unwrap()
}

fn object_answers_however_its_server_was_started() {
    for context in [Context::Fork, Context::Spawn, Context::Forkserver, Context::Thread] {
        let manager = Manager::builder().types::<Bank>().start(context).unwrap();
        let account = AccountProxy::new(&manager, 5).unwrap();
        assert_eq!(account.deposit(37, Some("gift".to_owned())).unwrap(), "gift");
        assert_eq!(account.balance().unwrap(), 42, "{context}");
        assert_eq!(account.as_ref().typeid(), "Account");
        assert!(manager.process().unwrap().name().starts_with("SyncManager-"));
        manager.shutdown().unwrap();
    }
    ossature::multiprocessing::stop_forkserver(LONG).unwrap();
}

fn exception(error: &ossature::Error) -> &Exception {
    assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
    Exception::inside(error).unwrap()
}

fn errors_cross_under_their_names() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 5).unwrap();
    let error = account.withdraw(6).unwrap_err();
    assert_eq!(error.to_string(), "ValueError: 6 is more than 5");
    assert_eq!(exception(&error).class(), "ValueError");

    let error = account.parse("five".to_owned()).unwrap_err();
    assert_eq!(exception(&error).rust_type(), Some("core::num::error::ParseIntError"));
    assert_eq!(exception(&error).message(), "invalid digit found in string");

    let error = account.explode().unwrap_err();
    assert_eq!(exception(&error).rust_type(), Some("panic"));
    assert!(error.to_string().contains("the vault is open"), "{error}");
    assert!(exception(&error).traceback().unwrap().contains("served.rs"));
    assert_eq!(account.balance().unwrap(), 5, "the object is there still");
}

fn what_cannot_be_called_is_an_error_that_names_it() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 5).unwrap();
    let proxy: &Proxy = account.as_ref();
    let told = |error: ossature::Error| exception(&error).to_string();
    let unknown = told(proxy.call::<()>("close", ()).unwrap_err());
    assert!(unknown.contains("'close'") && unknown.contains("'balance'"), "{unknown}");
    assert!(unknown.contains(&"-".repeat(75)), "{unknown}");
    let too_many = told(proxy.call::<i64>("balance", (1,)).unwrap_err());
    assert!(too_many.contains("takes 0 arguments"), "{too_many}");
    let wrong = told(proxy.call::<i64>("withdraw", ("much",)).unwrap_err());
    assert!(wrong.starts_with("TypeError") && wrong.contains("amount"), "{wrong}");
    let by_name = vec![("note".to_owned(), "n".into()), ("amount".to_owned(), 1.into())];
    assert_eq!(proxy.call_with::<String>("deposit", Vec::new(), by_name).unwrap(), "n");
    let twice = proxy.call_with::<String>("deposit", vec![1.into()], vec![("amount".to_owned(), 1.into())]);
    assert!(told(twice.unwrap_err()).contains("amount was given twice"));
    // The types of the caller are wrong: an error here, and the connection goes on.
    assert_eq!(proxy.call::<String>("balance", ()).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(proxy.call::<i64>("balance", ()).unwrap(), 6);
    assert!(told(proxy.get_value::<i64>().unwrap_err()).contains("cannot send"));
    assert_eq!(proxy.display().unwrap(), "<Account object>");
}

/// A type that cannot be sent.
struct Unsendable;

impl serde::Serialize for Unsendable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a window has no bytes"))
    }
}

fn argument_that_cannot_be_sent_is_told_at_the_sender() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.create("list", ()).unwrap();
    let error = list.call::<()>("append", (Unsendable,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("a window has no bytes"), "{error}");
    let error = manager.create("list", (Unsendable,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    list.call::<()>("append", (1,)).unwrap();
    assert_eq!(list.get_value::<Vec<i64>>().unwrap(), [1], "nothing of it has reached the server");
}

fn argument_without_a_pickle_takes_no_lock_from_its_thread() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let (lock, list) = (manager.rlock().unwrap(), manager.create("list", ()).unwrap());
    lock.acquire().unwrap();
    // Python cannot hash a list.
    let unhashable = Value::Set(vec![Value::List(Vec::new())]);
    let error = list.call_with::<()>("append", vec![unhashable], Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    lock.release().unwrap(); // only its owner may, who is known by the connection
}

fn methods_hand_out_objects_and_take_proxies() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 100).unwrap();
    let branch = account.branch().unwrap();
    assert_eq!(branch.balance().unwrap(), 50);
    assert_eq!(branch.take_from(account.clone(), 30).unwrap(), 80);
    assert_eq!(account.balance().unwrap(), 70);
    let error = branch.take_from(account.clone(), 300).unwrap_err();
    assert_eq!(exception(&error).class(), "ValueError", "as the inner call raised it");
    assert_eq!(account.try_branch(true).unwrap().balance().unwrap(), 35);
    assert_eq!(account.try_branch(false).unwrap_err().to_string(), "RuntimeError: not allowed");
    assert_eq!(manager.number_of_objects().unwrap(), 2);
}

fn methods_that_wait_run_side_by_side() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 0).unwrap();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| account.sleep(600).unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(account.balance().unwrap(), 0, "served beside them");
    });
    assert!(begin.elapsed() < Duration::from_millis(8 * 600), "they ran side by side");
}

/// Adds to an account that has no other reference by then.
pub fn pay(inbox: QueueProxy<AccountProxy>, done: ValueProxy<i64>) -> ossature::Result<()> {
    let account = inbox.get()?;
    account.deposit(1, None)?;
    done.set(&account.balance()?)
}

fn proxy_lives_while_it_is_under_way() {
    let manager = bank();
    // In an argument: the sender drops its own before the other side has looked.
    let (near, far) = pipe().unwrap();
    let account = AccountProxy::new(&manager, 1).unwrap();
    near.send(&account).unwrap();
    drop(account);
    assert_eq!(manager.number_of_objects().unwrap(), 1, "it is under way");
    let arrived: AccountProxy = far.recv().unwrap();
    assert_eq!(arrived.balance().unwrap(), 1);
    drop(arrived);
    assert_eq!(manager.number_of_objects().unwrap(), 0);

    // In a queue of the server itself, to another process.
    let inbox = manager.queue::<AccountProxy>(0).unwrap();
    let done = manager.value("q", &0_i64).unwrap();
    let account = AccountProxy::new(&manager, 41).unwrap();
    inbox.put(&account).unwrap();
    drop(account);
    assert_eq!(manager.number_of_objects().unwrap(), 3);
    let child = Process::builder().context(Context::Spawn).start(pay, (inbox.clone(), done.clone())).unwrap();
    assert!(child.join().unwrap().success());
    assert_eq!(done.get().unwrap(), 42);
    assert_eq!(manager.number_of_objects().unwrap(), 2, "the child's references are back");
}

pub fn count_up(total: ValueProxy<i64>, times: i64) -> ossature::Result<()> {
    for _ in 0..times {
        total.set(&(total.get()? + 1))?;
    }
    Ok(())
}

fn forked_child_calls_by_connections_of_its_own() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let total = manager.value("q", &0_i64).unwrap();
    count_up(total.clone(), 10).unwrap();
    let child = Process::fork(|| count_up(total.clone(), 10)).unwrap();
    assert!(child.join().unwrap().success());
    count_up(total.clone(), 10).unwrap();
    assert_eq!(total.get().unwrap(), 30, "no call of one went to the other");
    assert_eq!(manager.debug_info().unwrap().matches("refcount=1").count(), 1, "{}", manager.debug_info().unwrap());
}

fn objects_go_with_their_last_proxies() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let list = manager.list([1]).unwrap();
    let other = list.clone();
    drop(list);
    assert_eq!(other.to_vec().unwrap(), [1]);
    assert_eq!(manager.number_of_objects().unwrap(), 1);
    drop(other);
    assert_eq!(manager.number_of_objects().unwrap(), 0);
}

fn proxies_in_containers_keep_their_objects() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let inner = manager.list([1, 2]).unwrap();
    let outer = manager.list([inner.clone()]).unwrap();
    let table = manager.dict::<String, ListProxy<i32>>().unwrap();
    table.insert(&"inner".to_owned(), &inner).unwrap();
    drop(inner);
    assert_eq!(outer.pop().unwrap().unwrap().to_vec().unwrap(), [1, 2]);
    let inner = table.get(&"inner".to_owned()).unwrap().unwrap();
    inner.push(&3).unwrap();
    let again = table.items().unwrap().pop().unwrap().1;
    assert_eq!(again.to_vec().unwrap(), [1, 2, 3]);
    drop((inner, again));
    assert_eq!(manager.number_of_objects().unwrap(), 3);
    table.clear().unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 2, "nothing held it any more");
    drop((outer, table));
    assert_eq!(manager.number_of_objects().unwrap(), 0);
}

fn server_can_be_reached_by_address_and_key() {
    let key = AuthKey::from("between us");
    let builder = Manager::builder().types::<Bank>().address(("127.0.0.1", 0)).authkey(&key);
    let started = builder.start(Context::Spawn).unwrap();
    let account = AccountProxy::new(&started, 7).unwrap();
    let manager = Manager::connect(started.address(), &key).unwrap();
    assert_eq!(manager.make::<Account>((8,)).unwrap().balance().unwrap(), 8);
    assert_eq!(manager.create("Savings", (9,)).unwrap().call::<i64>("balance", ()).unwrap(), 9);
    assert_eq!(account.balance().unwrap(), 7);
    let error = Manager::connect(("localhost", 1), &key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Os, "nobody is there");
    assert_eq!(manager.join(Duration::ZERO).unwrap_err().kind(), ErrorKind::NotAllowed);
    manager.shutdown().unwrap();
    assert!(started.join(LONG).unwrap(), "a client has ended the server");
}

/// Reads from a list of another server, received as an item, after a refused connect to that server.
pub fn read_behind_a_wrong_key(store: ListProxy<ListProxy<i64>>, address: String) -> ossature::Result<i64> {
    let error = Manager::connect(address.as_str(), &AuthKey::from("wrong")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    Ok(store.get(0)?.unwrap().get(0)?.unwrap())
}

fn a_connect_by_a_wrong_key_is_refused_and_changes_nothing() {
    let (first, other) = (Manager::start(Context::Spawn).unwrap(), Manager::start(Context::Spawn).unwrap());
    let inner = other.list([7_i64]).unwrap(); // the other server knows nothing of the first one's items
    let store = first.list([inner.clone()]).unwrap();
    let address = other.address().to_string();
    // This process has a client of the server already, the child has none.
    assert_eq!(read_behind_a_wrong_key(store.clone(), address.clone()).unwrap(), 7);
    let mut child = Process::spawn_result(read_behind_a_wrong_key, (store, address)).unwrap();
    assert_eq!(child.join_timeout(LONG).unwrap(), Some(7));
}

fn manager_ends_its_server() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let process = manager.process().unwrap().clone();
    let list = manager.list([1]).unwrap();
    drop(manager);
    assert_eq!(process.exit_code(), Some(0));
    assert!(matches!(list.len().unwrap_err().kind(), ErrorKind::Closed | ErrorKind::Os));
}

fn proxies_may_have_more_methods() {
    let manager = bank();
    let account = AccountProxy::new(&manager, 9).unwrap();
    assert_eq!(account.empty().unwrap(), 0);
}

fn types_that_were_removed_cannot_be_made() {
    let manager = bank();
    let error = manager.barrier(2).unwrap_err();
    assert!(exception(&error).to_string().contains("no type Barrier is registered here"), "{error}");
}
