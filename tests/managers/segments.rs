//! Blocks of shared memory that a server keeps.

use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::managers::{Limits, Manager, SharedMemoryManager};
use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::multiprocessing::{Context, Process};

use crate::LONG;
use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("blocks_live_as_long_as_the_server", blocks_live_as_long_as_the_server),
    ("blocks_go_after_a_server_that_is_killed", blocks_go_after_a_server_that_is_killed),
    ("blocks_have_a_bound_and_a_server_of_their_own", blocks_have_a_bound_and_a_server_of_their_own),
];

fn blocks_live_as_long_as_the_server() {
    for context in [Context::Spawn, Context::Fork, Context::Thread] {
        let manager = SharedMemoryManager::start(context).unwrap();
        let block = manager.shared_memory(64).unwrap();
        block.set(0, 41_u64).unwrap();
        let list = manager.shareable_list(["spam", "eggs"]).unwrap();
        let names = [block.name().to_owned(), list.memory().name().to_owned()];
        let mut kept = manager.segments().unwrap();
        kept.sort();
        let mut wanted = names.to_vec();
        wanted.sort();
        assert_eq!(kept, wanted, "{context:?}");

        let (address, key) =
            (manager.manager().address().clone(), ossature::multiprocessing::current_process().authkey().unwrap());
        let other = || {
            let theirs = SharedMemoryManager::connect(&address, &key)?;
            let block = SharedMemory::open(&names[0])?;
            block.set(0, block.get::<u64>(0)? + 1)?;
            theirs.shared_memory(16).map(drop)
        };
        match context {
            Context::Thread => other().unwrap(), // with a second thread no process can be forked
            _ => {
                let child = Process::fork(other).unwrap();
                assert!(child.join_timeout(LONG).unwrap().expect("it ends").success(), "{context:?}");
            }
        }
        assert_eq!(manager.segments().unwrap().len(), 3, "{context:?}: the block of a process that has ended is kept");

        drop((block, list));
        assert_eq!(SharedMemory::open(&names[0]).unwrap().get::<u64>(0).unwrap(), 42);
        assert_eq!(ShareableList::open(&names[1]).unwrap().get(1).unwrap().as_str(), Some("eggs"));
        manager.release(&names[1]).unwrap();
        assert!(ShareableList::open(&names[1]).is_err(), "{context:?}");
        let error = manager.release(&names[1]).unwrap_err();
        assert!(error.to_string().contains("does not keep a block"), "{error}");

        let left = manager.segments().unwrap();
        assert_eq!(left.len(), 2);
        let used = SharedMemory::open(&names[0]).unwrap();
        manager.shutdown().unwrap();
        for name in left {
            assert!(SharedMemory::open(&name).is_err(), "{context:?}: {name} is left");
        }
        assert_eq!(used.get::<u64>(0).unwrap(), 42, "the memory is its user's");
    }
}

fn blocks_go_after_a_server_that_is_killed() {
    let manager = SharedMemoryManager::start(Context::Spawn).unwrap();
    let name = manager.shared_memory(16).unwrap().name().to_owned();
    let used = manager.shared_memory(16).unwrap();
    let file = std::path::Path::new("/dev/shm").join(&name);
    assert!(file.exists(), "its maker has gone, and the server keeps it");
    let server = manager.manager().process().unwrap();
    server.kill().unwrap();
    server.join_timeout(LONG).unwrap().expect("it ends");
    drop(manager);
    assert!(!file.exists(), "nobody uses it");
    assert!(SharedMemory::open(used.name()).is_ok(), "this process uses it");
    let name = used.name().to_owned();
    drop(used);
    assert_eq!(SharedMemory::open(&name).unwrap_err().kind(), ErrorKind::Os);
}

fn blocks_have_a_bound_and_a_server_of_their_own() {
    let plain = SharedMemoryManager::from(Manager::start(Context::Spawn).unwrap());
    for refused in [plain.shared_memory(16).map(drop), plain.segments().map(drop), plain.release("x")] {
        let error = refused.unwrap_err();
        assert!(error.kind() == ErrorKind::Remote && error.to_string().contains("unrecognized"), "{error}");
    }
    let key = AuthKey::from("blocks");
    let limits = Limits { segments: 2, ..Limits::default() };
    let server = Manager::builder().authkey(&key).limits(limits).bind().unwrap();
    let (address, stop) = (server.address().clone(), server.stopper());
    let serving = thread::spawn(move || server.serve_forever().unwrap());
    let manager = SharedMemoryManager::connect(&address, &key).unwrap();
    let _two = [manager.shared_memory(8).unwrap(), manager.shared_memory(8).unwrap()];
    let error = manager.shared_memory(8).unwrap_err();
    assert!(error.to_string().contains("Limits::segments"), "{error}");
    assert_eq!(manager.segments().unwrap().len(), 2);
    stop.stop();
    let begun = Instant::now();
    while !serving.is_finished() {
        assert!(begun.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
}
