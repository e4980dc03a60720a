//! Replies that the client has not read: their references are given back, and those of replies that were read stay.

use std::time::Duration;

use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::Connection;
use ossature::multiprocessing::connection::pickle::{Value, encode};
use ossature::multiprocessing::managers::{Handed, Limits, Proxy, Serializer};

use crate::LONG;
use crate::access::{pickled_proxy, references};
use crate::deaths::becomes_so;
use crate::harness::Test;
use crate::hostile::{Here, NEAR, Session, ask, hear, none};
use crate::served::{Account, AccountProxy, Bank};

pub const TESTS: &[Test] = &[
    ("references_of_an_unread_reply_go_back", references_of_an_unread_reply_go_back),
    ("references_of_a_reply_that_was_read_stay", references_of_a_reply_that_was_read_stay),
    ("references_of_a_reply_that_is_cut_go_back", references_of_a_reply_that_is_cut_go_back),
    ("references_of_a_reply_that_is_replaced_go_back", references_of_a_reply_that_is_replaced_go_back),
    ("call_whose_time_is_over_leaves_no_object", call_whose_time_is_over_leaves_no_object),
];

/// Sends a request. The caller waits for the reply without reading it.
fn send(connection: &Connection, ident: Value, method: &str, args: Value) {
    let request = Value::Tuple(vec![ident, method.into(), args, Value::Dict(Vec::new())]);
    connection.send_bytes(&encode(&request).unwrap()).unwrap();
}

fn unread(connection: &Connection, ident: Value, method: &str, args: Value) {
    send(connection, ident, method, args);
    assert!(connection.poll(LONG).unwrap(), "a reply");
    send(connection, Value::None, "unread", none());
}

fn one(value: impl Into<Value>) -> Value {
    Value::Tuple(vec![value.into()])
}

fn count(here: &Here) -> i64 {
    here.once("number_of_objects", none()).1.as_int().unwrap()
}

/// Servers over TCP and over a Unix socket, which report the end of a connection differently.
fn servers() -> [Here; 2] {
    [Here::start_with::<Bank>(Limits::default()), Here::start_with_unix::<Bank>(Limits::default())]
}

fn references_of_an_unread_reply_go_back() {
    for here in servers() {
        let account = here.once("create", Value::Tuple(vec!["Account".into(), 10.into()])).1;
        let account = account.as_items().unwrap()[0].as_str().unwrap().to_owned();
        let list = here.create("list");
        let proxy = Value::Tuple(vec![pickled_proxy(&here, "Account", &account)]);
        assert_eq!(ask(&here.accepted(), list.as_str().into(), "append", proxy).0, "#RETURN");
        assert_eq!((count(&here), &*references(&here, &account)), (2, "2"));
        let session = Session::begin(&here, NEAR);
        // On a connection that stays, and on one that is closed.
        for closes in [false, true] {
            let calls: [(Value, &str, Value); 5] = [
                (Value::None, "lend", one(account.as_str())),
                (Value::None, "create", one("list")),
                (Value::None, "incref", one(account.as_str())),
                (account.as_str().into(), "branch", none()),
                (list.as_str().into(), "__getitem__", one(0)),
            ];
            for (ident, method, args) in calls {
                let connection = session.join(&here, NEAR);
                unread(&connection, ident, method, args);
                let open = (!closes).then_some(connection);
                becomes_so(|| (count(&here), &*references(&here, &account)) == (2, "2"));
                drop(open);
            }
        }
        // Said twice it takes nothing that is the client's by other replies.
        let connection = session.join(&here, NEAR);
        assert_eq!(ask(&connection, Value::None, "create", one("list")).0, "#RETURN");
        unread(&connection, Value::None, "create", one("list"));
        send(&connection, Value::None, "unread", none());
        hear(&connection);
        assert_eq!(ask(&connection, Value::None, "dummy", none()).0, "#RETURN");
        assert_eq!(count(&here), 3);
    }
}

fn references_of_a_reply_that_was_read_stay() {
    for here in servers() {
        let session = Session::begin(&here, NEAR);
        let connection = session.join(&here, NEAR);
        assert_eq!(ask(&connection, Value::None, "create", one("list")).0, "#RETURN");
        drop(connection); // as at the end of a thread
        assert_eq!(ask(&session.calls, Value::None, "dummy", none()).0, "#RETURN");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(count(&here), 1);
        drop(session);
        becomes_so(|| count(&here) == 0);
    }
}

fn references_of_a_reply_that_is_cut_go_back() {
    for here in servers() {
        let (inner, outer) = (here.create("list"), here.create("list"));
        let ours = here.accepted();
        let items = Value::List(vec![pickled_proxy(&here, "list", &inner), "x".repeat(16 << 20).into()]);
        assert_eq!(ask(&ours, outer.as_str().into(), "extend", one(items)).0, "#RETURN");
        assert_eq!(here.once("decref", one(inner)).0, "#RETURN");
        let session = Session::begin(&here, NEAR);
        let connection = session.join(&here, NEAR);
        send(&connection, outer.as_str().into(), "#GETVALUE", none());
        assert!(connection.poll(LONG).unwrap());
        assert_eq!(ask(&ours, outer.as_str().into(), "clear", none()).0, "#RETURN");
        assert_eq!(count(&here), 2, "the reply under way keeps the inner list");
        drop(connection);
        becomes_so(|| count(&here) == 1);
    }
}

fn references_of_a_reply_that_is_replaced_go_back() {
    // No reply of more than a few KiB is for this client: it has that much unread.
    let here = Here::start_with::<Bank>(Limits { client_buffers: 1 << 20, ..Limits::default() });
    let (inner, outer) = (here.create("list"), here.create("list"));
    let ours = here.accepted_from(crate::hostile::FAR);
    let text = Value::from("x".repeat(800_000));
    for item in [pickled_proxy(&here, "list", &inner), text.clone(), text] {
        assert_eq!(ask(&ours, outer.as_str().into(), "append", one(item)).0, "#RETURN");
    }
    let session = Session::begin(&here, NEAR);
    let (kind, text) = ask(&session.calls, outer.as_str().into(), "#GETVALUE", none());
    assert!(kind == "#TRACEBACK" && text.as_str().unwrap().contains("client_buffers"), "{text:?}");
    assert_eq!(references(&here, &inner), "2");

    // A proxy has no form in XML-RPC.
    let xml = Manager::connect_with(here.address.clone(), &here.key, Serializer::XmlRpc).unwrap();
    let dict = xml.create("dict", ()).unwrap();
    let before = xml.number_of_objects().unwrap();
    assert!(dict.call::<Proxy>("__iter__", ()).is_err());
    assert_eq!(xml.number_of_objects().unwrap(), before);
}

fn call_whose_time_is_over_leaves_no_object() {
    let here = Here::start_with_unix::<Bank>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let account = AccountProxy::new(&manager, 10).unwrap();
    // Some end before the call has come, some while it is carried out, some when the reply is there, some after it.
    let mut answered = 0;
    for round in 0..200 {
        account.balance().unwrap(); // by a connection that the next call finds
        let limit = Duration::from_micros(round % 40 * 50);
        let branch = account.as_ref().call_timeout::<Handed<Account>>("branch", (), limit).unwrap();
        answered += u32::from(branch.is_some());
    }
    becomes_so(|| manager.number_of_objects().unwrap() == 1);
    // One that is dropped when its reply is there.
    let flight = account.as_ref().call_async::<Handed<Account>>("branch", ()).unwrap();
    becomes_so(|| flight.ready().unwrap());
    assert_eq!(manager.number_of_objects().unwrap(), 2);
    drop(flight);
    becomes_so(|| manager.number_of_objects().unwrap() == 1);
    let branch = account.branch().unwrap();
    assert_eq!((branch.balance().unwrap(), manager.number_of_objects().unwrap()), (5, 2), "{answered} answered");
}
