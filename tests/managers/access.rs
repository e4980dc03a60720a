//! Access lists: which clients may create which objects, and call which methods. The clients are distinguished by the
//! addresses from which they connect.

use ossature::multiprocessing::connection::pickle::{Global, Object, Value};
use ossature::multiprocessing::managers::{Access, Clients, Handed, Limits, Manager, Registry, Types};
use ossature::sys::process::effective_user;
use ossature::{ErrorKind, managed};

use crate::harness::Test;
use crate::hostile::{FAR, Here, NEAR, Session, ask, none};
use crate::served::Account;

pub const TESTS: &[Test] = &[
    ("access_list_says_which_methods_may_be_called", access_list_says_which_methods_may_be_called),
    ("access_list_says_which_clients_may_call", access_list_says_which_clients_may_call),
    ("access_list_says_which_clients_may_make_objects", access_list_says_which_clients_may_make_objects),
    ("client_refers_only_to_what_it_may_use", client_refers_only_to_what_it_may_use),
    ("client_is_handed_only_what_it_may_use", client_is_handed_only_what_it_may_use),
    ("users_are_told_by_the_kernel", users_are_told_by_the_kernel),
    ("access_list_bounds_the_objects_of_a_type", access_list_bounds_the_objects_of_a_type),
    ("access_list_holds_for_calls_through_memory", access_list_holds_for_calls_through_memory),
    ("wrong_access_list_starts_no_server", wrong_access_list_starts_no_server),
];

fn near() -> Clients {
    Clients::Hosts(vec![NEAR.parse().unwrap()])
}

/// A type that all clients may use, and that returns accounts.
pub struct Shop;

managed! {
    impl Shop as ShopProxy {
        pub fn new() -> Self {
            Self
        }

        pub fn account(&self) -> Handed<Account> {
            Handed::new(Account::new(3))
        }
    }
}

/// A registry with dicts that can only be read, and access lists for other types.
struct Careful;

impl Types for Careful {
    fn register(registry: &mut Registry) {
        registry
            .add::<Account>()
            .add::<Shop>()
            .allow("dict", Access::new().methods(["get", "keys", "__iter__"]).call(near()))
            .allow("Account", Access::new().call(near()))
            .allow("Value", Access::new().methods(["get", "__repr__"]))
            .allow("Event", Access::new().create(near()))
            .allow("list", Access::new().objects(2))
            .allow("Lock", Access::new().create(Clients::Nobody))
            .control(near());
    }
}

fn here() -> Here {
    Here::start_with::<Careful>(Limits::default())
}

/// A registry with dicts of which only one method may be called.
struct Getters;

impl Types for Getters {
    fn register(registry: &mut Registry) {
        registry.allow("dict", Access::new().methods(["get"]));
    }
}

fn access_list_holds_for_calls_through_memory() {
    let here = Here::start_with_unix::<Getters>(Limits::default());
    let manager = Manager::connect(here.address.clone(), &here.key).unwrap();
    assert!(manager.shares_memory().unwrap());
    let dict = manager.create("dict", ([("Ann", 41)],)).unwrap();
    assert_eq!(dict.call::<i64>("get", ("Ann",)).unwrap(), 41);
    for method in ["__getitem__", "__contains__", "has_key"] {
        let error = dict.call::<i64>(method, ("Ann",)).unwrap_err();
        assert!(error.to_string().contains("not in exposed"), "{error}");
    }
    assert!(dict.call::<i64>("__len__", ()).unwrap_err().to_string().contains("not in exposed"));
}

fn told(answer: (String, Value)) -> String {
    assert_eq!(answer.0, "#TRACEBACK", "{:?}", answer.1);
    answer.1.as_str().unwrap().to_owned()
}

fn token(ident: &str) -> Value {
    let parts = vec!["x".into(), "/at/all".into(), ident.into()];
    Value::Tuple(vec![Object::new(Global::new("multiprocessing.managers", "Token"), parts).into()])
}

fn access_list_says_which_methods_may_be_called() {
    let here = here();
    let made = here.once("create", Value::Tuple(vec!["dict".into(), Value::dict([("Ann", 41)])])).1;
    let ident = made.as_items().unwrap()[0].clone();
    let listed = made.as_items().unwrap()[1].clone();
    assert_eq!(listed.as_items().unwrap().len(), 3, "{listed:?}");
    let methods = here.once("get_methods", token(ident.as_str().unwrap()));
    assert_eq!(methods, ("#RETURN".to_owned(), listed));
    let client = here.accepted();
    let call = |method: &str, args: Value| ask(&client, ident.clone(), method, args);
    assert_eq!(call("get", Value::Tuple(vec!["Ann".into()])), ("#RETURN".to_owned(), 41.into()));
    for method in ["__setitem__", "clear", "pop", "#GETVALUE", "__repr__", "__str__", "no such"] {
        let text = told(call(method, none()));
        assert!(text.contains(&format!("method '{method}'")) && text.contains("not in exposed"), "{text}");
    }
    assert_eq!(call("get", Value::Tuple(vec!["Ann".into()])).1, 41.into(), "no refused call has reached the dict");
    // What may not be shown to a client is not shown by the server either.
    let value = here.once("create", Value::Tuple(vec!["Value".into(), "s".into(), "seen".into()]));
    assert_eq!(value.0, "#RETURN");
    let info = here.once("debug_info", none()).1;
    let info = info.as_str().unwrap();
    assert!(info.contains("<dict object>") && !info.contains("Ann") && info.contains("seen"), "{info}");
}

fn access_list_says_which_clients_may_call() {
    let here = here();
    let made = here.once("create", Value::Tuple(vec!["Account".into(), 10.into()])).1;
    let ident = made.as_items().unwrap()[0].clone();
    let (ours, theirs) = (here.accepted(), here.accepted_from(FAR));
    assert_eq!(ask(&ours, ident.clone(), "balance", none()), ("#RETURN".to_owned(), 10.into()));
    let text = told(ask(&theirs, ident.clone(), "balance", none()));
    assert!(text.contains("PermissionError") && text.contains("Account") && text.contains(FAR), "{text}");
    for method in ["withdraw", "#GETVALUE", "__repr__", "no such"] {
        assert!(told(ask(&theirs, ident.clone(), method, none())).contains("PermissionError"), "{method}");
    }
    // Neither may it refer to the object, or ask for its methods.
    let named = Value::Tuple(vec![ident.clone()]);
    assert!(told(here.once_from(FAR, "incref", named.clone())).contains("PermissionError"));
    assert!(told(here.once_from(FAR, "get_methods", token(ident.as_str().unwrap()))).contains("PermissionError"));
    assert_eq!(here.once("incref", named).0, "#RETURN");
    // What a method hands out is for the same clients: of a managed type, and of a built-in one.
    let (kind, branch) = ask(&ours, ident, "branch", none());
    assert_eq!(kind, "#PROXY");
    let handed = branch.as_items().unwrap()[1].clone();
    let Value::Object(handed) = handed else { panic!("{branch:?}") };
    let handed = handed.args[2].clone();
    assert_eq!(ask(&ours, handed.clone(), "balance", none()).1, 5.into());
    assert!(told(ask(&theirs, handed, "balance", none())).contains("PermissionError"));
    let dict = here.create("dict");
    let (kind, keys) = ask(&ours, dict.as_str().into(), "__iter__", none());
    assert_eq!(kind, "#PROXY");
    let Value::Object(keys) = keys.as_items().unwrap()[1].clone() else { panic!("{keys:?}") };
    assert!(told(ask(&theirs, keys.args[2].clone(), "next", none())).contains("PermissionError"));
    // The server itself.
    for method in ["debug_info", "number_of_objects", "shutdown"] {
        let text = told(here.once_from(FAR, method, none()));
        assert!(text.contains("PermissionError") && text.contains(method), "{text}");
    }
    assert_eq!(here.once("number_of_objects", none()).0, "#RETURN");
}

fn access_list_says_which_clients_may_make_objects() {
    let here = here();
    let event = || Value::Tuple(vec!["Event".into()]);
    let text = told(here.once_from(FAR, "create", event()));
    assert!(text.contains("the access list of Event does not let host") && text.contains("make an object"), "{text}");
    let (kind, made) = here.once("create", event());
    assert_eq!(kind, "#RETURN");
    let ident = made.as_items().unwrap()[0].clone();
    assert_eq!(ask(&here.accepted_from(FAR), ident, "is_set", none()).0, "#RETURN", "all may call");
    assert!(told(here.once("create", Value::Tuple(vec!["Lock".into()]))).contains("PermissionError"));
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let error = manager.lock().unwrap_err();
    assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("the access list of Lock"), "{error}");
}

/// The server's number of references to an object.
pub fn references(here: &Here, ident: &str) -> String {
    let info = here.once("debug_info", none()).1;
    let line = info.as_str().unwrap().lines().find(|line| line.contains(ident)).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{ident} is not in {info:?}")).split('=').next_back().unwrap().to_owned()
}

/// A proxy as CPython pickles one.
pub fn pickled_proxy(here: &Here, typeid: &str, ident: &str) -> Value {
    let address = Value::try_from(&here.address).unwrap();
    let token =
        Object::new(Global::new("multiprocessing.managers", "Token"), vec![typeid.into(), address, ident.into()]);
    let class = Global::new("multiprocessing.managers", "AutoProxy").into();
    let args = vec![class, token.into(), "pickle".into(), Value::Dict(Vec::new())];
    Object::new(Global::new("multiprocessing.managers", "RebuildProxy"), args).into()
}

fn client_refers_only_to_what_it_may_use() {
    let here = here();
    let account = here.once("create", Value::Tuple(vec!["Account".into(), 10.into()])).1;
    let account = account.as_items().unwrap()[0].as_str().unwrap().to_owned();
    let proxy = pickled_proxy(&here, "Account", &account);
    let list: Value = here.create("list").into();
    let put = Value::Tuple(vec![Value::List(vec![proxy])]);
    // A client keeps no object by a value that it stores, ...
    let theirs = here.accepted_from(FAR);
    assert!(told(ask(&theirs, list.clone(), "extend", put.clone())).contains("PermissionError"));
    let made = Value::Tuple(vec!["list".into(), put.as_items().unwrap()[0].clone()]);
    assert!(told(here.once_from(FAR, "create", made)).contains("PermissionError"));
    let session = Session::begin(&here, FAR);
    let named = Value::Tuple(vec![account.as_str().into()]);
    // ... nor by a proxy under way, ...
    assert!(told(ask(&session.calls, Value::None, "lend", named)).contains("PermissionError"));
    assert_eq!(references(&here, &account), "1");
    // ... nor by one that it finds.
    assert_eq!(ask(&here.accepted(), list.clone(), "extend", put).0, "#RETURN");
    assert_eq!(references(&here, &account), "2");
    assert_eq!(ask(&session.calls, list.clone(), "__getitem__", Value::Tuple(vec![0.into()])).0, "#RETURN");
    assert_eq!(references(&here, &account), "2");
    let ours = Session::begin(&here, NEAR);
    assert_eq!(ask(&ours.calls, list, "__getitem__", Value::Tuple(vec![0.into()])).0, "#RETURN");
    assert_eq!(references(&here, &account), "3", "a client that may use it has one");
}

fn client_is_handed_only_what_it_may_use() {
    let here = here();
    let shop: Value = here.create("Shop").into();
    let (kind, error) = ask(&here.accepted_from(FAR), shop.clone(), "account", none());
    let Value::Object(error) = error else { panic!("{error:?}") };
    assert!(kind == "#ERROR" && format!("{error:?}").contains("the access list of Account"), "{error:?}");
    assert_eq!(here.once("number_of_objects", none()).1, 1.into());
    assert_eq!(ask(&here.accepted(), shop, "account", none()).0, "#PROXY");
}

/// A registry with lists for the user of this process, and sets for another user.
struct ForUsers;

impl Types for ForUsers {
    fn register(registry: &mut Registry) {
        let (own, other) = (effective_user(), effective_user() + 1);
        registry
            .allow("list", Access::new().create(Clients::Users(vec![other, own])).call(Clients::Users(vec![own])))
            .allow("set", Access::new().call(Clients::Users(vec![other])));
    }
}

fn users_are_told_by_the_kernel() {
    let here = Here::start_with_unix::<ForUsers>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    assert_eq!(manager.list([1, 2]).unwrap().len().unwrap(), 2);
    let set = manager.set([1]).unwrap();
    let text = set.len().unwrap_err().to_string();
    assert!(text.contains(&format!("process {} of user {}", std::process::id(), effective_user())), "{text}");
    // Over TCP nobody is a user.
    let far = Here::start_with::<ForUsers>(Limits::default());
    assert!(told(far.once("create", Value::Tuple(vec!["list".into()]))).contains("PermissionError"));
}

fn access_list_bounds_the_objects_of_a_type() {
    let here = here();
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let first = manager.list([1]).unwrap();
    let _second = manager.list([2]).unwrap();
    let error = manager.list([3]).unwrap_err();
    assert!(error.to_string().contains("its access list allows at most 2"), "{error}");
    drop(first);
    assert_eq!(manager.number_of_objects().unwrap(), 1);
    assert!(manager.list([3]).is_ok(), "one has gone");
    assert!(manager.event().is_ok(), "the others have no such bound");
}

struct Misspelt;
impl Types for Misspelt {
    fn register(registry: &mut Registry) {
        registry.add::<Account>().allow("Account", Access::new().methods(["balance", "withdrew"]));
    }
}

struct Missing;
impl Types for Missing {
    fn register(registry: &mut Registry) {
        registry.allow("Acount", Access::new());
    }
}

struct OfHanded;
impl Types for OfHanded {
    fn register(registry: &mut Registry) {
        registry
            .allow_handed::<Account>(Access::new().methods(["balance"]))
            .allow("Iterator", Access::new().methods(["__next__"]))
            .allow("AsyncResult", Access::new().methods(["get"]));
    }
}

fn wrong_access_list_starts_no_server() {
    let error = Manager::builder().types::<Misspelt>().bind().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("list of Account names withdrew") && text.contains("withdraw"), "{text}");
    let error = Manager::builder().types::<Missing>().bind().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the access list of Acount has no type"), "{error}");
    assert!(Manager::builder().types::<OfHanded>().bind().is_ok());
}
