//! Several calls of one thread in flight.

use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::managers::{Handed, Limits};
use ossature::multiprocessing::{Context, Manager, Process};

use crate::LONG;
use crate::deaths::becomes_so;
use crate::harness::Test;
use crate::hostile::Here;
use crate::served::{Account, AccountProxy};

pub const TESTS: &[Test] = &[
    ("calls_of_one_thread_are_in_flight_side_by_side", calls_of_one_thread_are_in_flight_side_by_side),
    ("call_in_flight_has_its_result_once", call_in_flight_has_its_result_once),
    ("dropped_call_is_forgotten", dropped_call_is_forgotten),
    ("object_of_a_dropped_call_goes", object_of_a_dropped_call_goes),
    ("calls_in_flight_use_connections_again", calls_in_flight_use_connections_again),
    ("calls_in_flight_have_the_bounds_of_connections", calls_in_flight_have_the_bounds_of_connections),
    ("dead_server_ends_calls_in_flight", dead_server_ends_calls_in_flight),
    ("call_in_flight_takes_no_lock", call_in_flight_takes_no_lock),
    ("call_in_flight_belongs_to_its_process", call_in_flight_belongs_to_its_process),
];

fn calls_of_one_thread_are_in_flight_side_by_side() {
    let here = Here::start_with_unix::<(Account,)>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    // Three parties, of one thread.
    let barrier = manager.create("Barrier", (3,)).unwrap();
    let waits: Vec<_> = (0..3).map(|_| barrier.call_async::<u32>("wait", ()).unwrap()).collect();
    let mut places: Vec<_> = waits.into_iter().map(|wait| wait.get().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2]);
    // A call that waits holds up no other one, of either kind.
    let queue = manager.create("Queue", ()).unwrap();
    let mut first = queue.call_async::<u32>("get", ()).unwrap();
    let account = AccountProxy::new(&manager, 10).unwrap();
    let sleeps: Vec<_> = (0..4).map(|_| account.as_ref().call_async::<()>("sleep", (50,)).unwrap()).collect();
    let branch = account.as_ref().call_async::<Handed<Account>>("branch", ()).unwrap();
    assert_eq!(branch.get().unwrap().balance().unwrap(), 5);
    assert!(!first.ready().unwrap());
    assert_eq!(first.get_timeout(Duration::from_millis(1)).unwrap(), None);
    queue.call::<()>("put", (7,)).unwrap();
    assert_eq!(first.get_timeout(LONG).unwrap(), Some(7));
    sleeps.into_iter().for_each(|sleep| sleep.get().unwrap());
    // An error is told where the result is asked for.
    let error = account.as_ref().call_async::<i64>("withdraw", (11,)).unwrap().get().unwrap_err();
    assert_eq!(error.to_string(), "ValueError: 11 is more than 10");
}

fn call_in_flight_has_its_result_once() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let list = manager.create("list", ([1, 2],)).unwrap();
    let mut len = list.call_async::<u32>("__len__", ()).unwrap();
    assert_eq!(len.get_timeout(LONG).unwrap(), Some(2));
    for error in [len.get_timeout(LONG).unwrap_err(), len.ready().unwrap_err(), len.get().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NoResult, "{error}");
    }
}

fn dropped_call_is_forgotten() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let queue = manager.queue::<u32>(0).unwrap();
    let waits = |count| move |shown: String| shown.contains(&format!(" {count} waiting"));
    let get = queue.as_ref().call_async::<u32>("get", ()).unwrap();
    becomes_so(|| waits(1)(queue.as_ref().display().unwrap()));
    drop(get);
    becomes_so(|| waits(0)(queue.as_ref().display().unwrap()));
    queue.put(&7).unwrap();
    assert_eq!(queue.qsize().unwrap(), 1, "nobody has taken it");
}

fn object_of_a_dropped_call_goes() {
    let here = Here::start_with_unix::<(Account,)>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let account = AccountProxy::new(&manager, 10).unwrap();
    let branch = account.as_ref().call_async::<Handed<Account>>("branch", ()).unwrap();
    becomes_so(|| branch.ready().unwrap());
    assert_eq!(manager.number_of_objects().unwrap(), 2);
    drop(branch); // its reply is here, and nobody reads it
    becomes_so(|| manager.number_of_objects().unwrap() == 1);
}

/// The number of connections of this process to the server, which runs in it.
fn sockets() -> usize {
    let names =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

fn calls_in_flight_use_connections_again() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let list = manager.create("list", ([1, 2],)).unwrap();
    let five = || {
        let calls: Vec<_> = (0..5).map(|_| list.call_async::<u32>("__len__", ()).unwrap()).collect();
        calls.into_iter().for_each(|call| assert_eq!(call.get().unwrap(), 2));
    };
    let idle = sockets();
    five();
    let before = sockets();
    assert_eq!(before, idle + 2 * 5, "they are kept");
    (0..20).for_each(|_| five());
    assert_eq!(sockets(), before);
    // Not all of them are kept.
    let many: Vec<_> = (0..60).map(|_| list.call_async::<u32>("__len__", ()).unwrap()).collect();
    many.into_iter().for_each(|call| assert_eq!(call.get().unwrap(), 2));
    becomes_so(|| sockets() <= before + 2 * (32 - 5));
}

fn calls_in_flight_have_the_bounds_of_connections() {
    // The session, the thread, and three more.
    let here = Here::start_with_unix::<()>(Limits { client_connections: 5, ..Limits::default() });
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    let queue = manager.create("Queue", ()).unwrap();
    let mut gets: Vec<_> = (0..3).map(|_| queue.call_async::<u32>("get", ()).unwrap()).collect();
    let error = queue.call_async::<u32>("get", ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    queue.call::<()>("put", (1,)).unwrap();
    becomes_so(|| gets.iter().any(|get| get.ready().unwrap()));
    let place = gets.iter().position(|get| get.ready().unwrap()).unwrap();
    assert_eq!(gets.swap_remove(place).get().unwrap(), 1);
    let _again = queue.call_async::<u32>("get", ()).unwrap();
}

fn dead_server_ends_calls_in_flight() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let queue = manager.create("Queue", ()).unwrap();
    let gets: Vec<_> = (0..3).map(|_| queue.call_async::<u32>("get", ()).unwrap()).collect();
    becomes_so(|| queue.display().unwrap().contains(" 3 waiting"));
    manager.process().unwrap().kill().unwrap();
    for get in gets {
        let error = get.get().unwrap_err();
        assert!(error.kind() == ErrorKind::Closed && error.to_string().contains("has ended"), "{error}");
    }
    assert!(queue.call_async::<u32>("get", ()).is_err());
}

fn call_in_flight_takes_no_lock() {
    let here = Here::start_with_unix::<()>(Limits::default());
    let manager = Manager::connect(&here.address, &here.key).unwrap();
    for typeid in ["Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"] {
        let lock = manager.create(typeid, ()).unwrap();
        let error = lock.call_async::<bool>("acquire", ()).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(typeid), "{error}");
        assert!(lock.call::<bool>("acquire", ()).unwrap(), "{typeid}");
    }
}

fn call_in_flight_belongs_to_its_process() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let queue = manager.create("Queue", ()).unwrap();
    let mut get = queue.call_async::<u32>("get", ()).unwrap();
    let child = Process::fork(|| -> u8 {
        let kinds = [get.ready().unwrap_err().kind(), get.get_timeout(LONG).unwrap_err().kind()];
        drop(get);
        u8::from(kinds != [ErrorKind::NotAllowed; 2])
    });
    let child = child.unwrap();
    child.join().unwrap();
    assert_eq!(child.exit_code(), Some(0));
}
