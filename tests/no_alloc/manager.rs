//! Calls of an object on a server: short calls allocate no memory.

use std::thread;

use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::managers::DictProxy;

use crate::asked;

/// The number of allocations of the client and of the server during `count` calls, including the connection of the
/// server.
fn asked_by_calls(count: u64) -> (u64, u64) {
    let key = AuthKey::from("no_alloc");
    let server = Manager::builder().authkey(&key).bind().unwrap();
    let (address, stop) = (server.address().clone(), server.stopper());
    let serving = thread::spawn(move || asked(|| server.serve_forever().unwrap()).1);
    let manager = Manager::connect(address, &key).unwrap();
    let dict: DictProxy<String, i64> = manager.dict().unwrap();
    let name = "a name".to_owned();
    dict.insert(&name, &7).unwrap();
    assert_eq!(dict.get(&name).unwrap(), Some(7));
    let ((), here) = asked(|| (0..count).for_each(|_| assert_eq!(dict.get(&name).unwrap(), Some(7))));
    drop(dict);
    drop(manager);
    stop.stop();
    (here, serving.join().unwrap())
}

#[test]
fn call_of_a_dict_asks_for_no_memory_on_either_side() {
    let (few, many) = (asked_by_calls(100), asked_by_calls(1100));
    assert_eq!((few.0, many.0), (0, 0), "the client");
    // What comes with the connection, such as its end, is not the same each time.
    assert!(many.1.abs_diff(few.1) < 100, "the server: {few:?} {many:?}");
}
