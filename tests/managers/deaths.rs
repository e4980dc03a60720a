//! Clients and servers that are killed.

use std::thread;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Address, AuthKey, Connection, pipe};
use ossature::multiprocessing::managers::{LockProxy, Proxy};
use ossature::multiprocessing::{Context, Manager, Process};

use crate::LONG;
use crate::harness::{Test, rest};

pub const TESTS: &[Test] = &[
    ("killed_client_gives_back_references_and_locks", killed_client_gives_back_references_and_locks),
    ("killed_waiter_takes_nothing", killed_waiter_takes_nothing),
    ("killed_party_breaks_the_barrier", killed_party_breaks_the_barrier),
    ("dead_server_is_closed_to_all_who_wait", dead_server_is_closed_to_all_who_wait),
    ("another_server_at_the_address_knows_no_old_object", another_server_at_the_address_knows_no_old_object),
    ("manager_asks_the_next_server_at_its_address", manager_asks_the_next_server_at_its_address),
    ("server_ends_with_the_process_that_started_it", server_ends_with_the_process_that_started_it),
    ("process_ends_although_its_manager_was_not_dropped", process_ends_although_its_manager_was_not_dropped),
];

/// Starts a child that runs `body`, reports it, and waits to be killed.
fn resting(body: impl FnOnce() -> ossature::Result<()>) -> Process {
    let (near, far) = pipe().unwrap();
    let child = Process::fork(|| -> u8 {
        body().unwrap();
        far.send(&true).unwrap();
        rest()
    });
    assert!(near.recv_timeout::<bool>(LONG).unwrap().unwrap());
    child.unwrap()
}

fn killed(child: &Process) {
    child.kill().unwrap();
    child.join().unwrap();
}

/// Calls `what` until it returns true.
#[track_caller]
pub fn becomes_so(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < LONG, "it does not come about");
        thread::sleep(Duration::from_millis(2));
    }
}

fn killed_client_gives_back_references_and_locks() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let locks: [LockProxy; 2] = [(); 2].map(|()| manager.lock().unwrap());
    let reentrant = manager.rlock().unwrap();
    let condition = manager.condition().unwrap();
    let (address, key) = (manager.address().clone(), ossature::multiprocessing::current_process().authkey().unwrap());
    let child = resting(|| {
        locks.iter().try_for_each(|lock| lock.acquire().map(drop))?;
        reentrant.acquire()?;
        reentrant.acquire()?;
        condition.acquire()?;
        let theirs = Manager::connect(address, &key)?;
        std::mem::forget((theirs.list([1])?, theirs.list([2])?));
        Ok(())
    });
    assert_eq!(manager.number_of_objects().unwrap(), 6);
    assert!(!locks[0].try_acquire().unwrap() && !reentrant.try_acquire().unwrap());
    let waiter = thread::spawn({
        let lock = locks[1].clone();
        move || lock.acquire_timeout(LONG).unwrap()
    });
    killed(&child);
    assert!(waiter.join().unwrap(), "a waiter gets it at once");
    assert!(locks[0].acquire_timeout(LONG).unwrap());
    assert!(reentrant.acquire_timeout(LONG).unwrap() && condition.acquire_timeout(LONG).unwrap());
    becomes_so(|| manager.number_of_objects().unwrap() == 4);
}

fn killed_waiter_takes_nothing() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let queue = manager.queue::<u32>(0).unwrap();
    let other = queue.clone();
    let child = Process::fork(|| other.get().map(drop)).unwrap();
    becomes_so(|| queue.as_ref().display().unwrap().contains(" 1 waiting"));
    killed(&child);
    becomes_so(|| queue.as_ref().display().unwrap().contains(" 0 waiting"));
    queue.put(&7).unwrap();
    assert_eq!(queue.get_timeout(LONG).unwrap(), Some(7));
}

fn killed_party_breaks_the_barrier() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let barrier = manager.barrier(3).unwrap();
    let child = Process::fork(|| barrier.wait().map(drop)).unwrap();
    becomes_so(|| barrier.n_waiting().unwrap() == 1);
    let other = thread::spawn({
        let barrier = barrier.clone();
        move || barrier.wait_timeout(LONG).unwrap_err().to_string()
    });
    becomes_so(|| barrier.n_waiting().unwrap() == 2);
    killed(&child);
    assert_eq!(other.join().unwrap(), "threading.BrokenBarrierError");
}

fn dead_server_is_closed_to_all_who_wait() {
    let manager = Manager::start(Context::Spawn).unwrap();
    let (queue, lock, event) = (manager.queue::<u8>(0).unwrap(), manager.lock().unwrap(), manager.event().unwrap());
    lock.acquire().unwrap();
    let kinds = thread::scope(|scope| {
        let waits = [
            scope.spawn(|| queue.get().map(drop)),
            scope.spawn(|| lock.acquire().map(drop)),
            scope.spawn(|| event.wait_timeout(LONG).map(drop)),
        ];
        becomes_so(|| queue.as_ref().display().unwrap().contains(" 1 waiting"));
        thread::sleep(Duration::from_millis(50));
        killed(manager.process().unwrap());
        waits.map(|wait| wait.join().unwrap().unwrap_err().kind())
    });
    assert_eq!(kinds, [ErrorKind::Closed; 3]);
    let begun = Instant::now();
    assert!(matches!(queue.get().unwrap_err().kind(), ErrorKind::Closed | ErrorKind::Os));
    assert!(begun.elapsed() < LONG / 2);
}

fn another_server_at_the_address_knows_no_old_object() {
    let path = ossature::multiprocessing::util::temp_dir().unwrap().join("again");
    let key = AuthKey::from("again");
    let start = || Manager::builder().address(path.as_path()).authkey(&key).start(Context::Spawn).unwrap();
    let first = start();
    let list = first.list([1]).unwrap();
    assert_eq!(list.len().unwrap(), 1);
    killed(first.process().unwrap());
    let second = start();
    assert!(list.len().is_err(), "closed, or told");
    let told = list.len().unwrap_err();
    assert!(told.to_string().contains("an earlier one at this address"), "{told}");
    assert_eq!(second.list([7]).unwrap().to_vec().unwrap(), [7]);
    drop(list); // gives nothing back that the second server counts
    assert_eq!(second.number_of_objects().unwrap(), 0);
}

fn manager_asks_the_next_server_at_its_address() {
    let path = ossature::multiprocessing::util::temp_dir().unwrap().join("next");
    let key = AuthKey::from("next");
    let start = || Manager::builder().address(path.as_path()).authkey(&key).start(Context::Spawn).unwrap();
    let first = start();
    let manager = Manager::connect(path.as_path(), &key).unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 0);
    killed(first.process().unwrap());
    let _second = start();
    assert_eq!(manager.number_of_objects().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(manager.number_of_objects().unwrap(), 0, "it has forgotten the first");
}

/// Starts a server, sends its address, and never ends the server.
pub fn start_and_rest(told: Connection) -> ossature::Result<()> {
    let manager = Manager::start(Context::Spawn)?;
    told.send(&(manager.address().clone(), manager.list([1])?))?;
    rest()
}

fn server_ends_with_the_process_that_started_it() {
    let (near, far) = pipe().unwrap();
    let child = Process::builder().context(Context::Spawn).start(start_and_rest, (far,)).unwrap();
    let (address, list): (Address, Proxy) = near.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!(list.call::<u64>("__len__", ()).unwrap(), 1, "by the key of the family, at {address}");
    killed(&child);
    becomes_so(|| list.call::<u64>("__len__", ()).is_err());
    let key = ossature::multiprocessing::current_process().authkey().unwrap();
    becomes_so(|| Manager::connect(&address, &key).is_err());
}

/// Starts a server and returns with a manager that is never dropped, like a manager in a `static`.
pub fn start_and_keep(told: Connection, context: Context) -> ossature::Result<()> {
    let manager = Manager::start(context)?;
    told.send(manager.address())?;
    std::mem::forget(manager);
    Ok(())
}

fn process_ends_although_its_manager_was_not_dropped() {
    for context in [Context::Spawn, Context::Fork, Context::Thread] {
        let (near, far) = pipe().unwrap();
        let child = Process::builder().context(Context::Spawn).start(start_and_keep, (far, context)).unwrap();
        let address: Address = near.recv_timeout(LONG).unwrap().unwrap();
        assert!(
            child.join_timeout(LONG).unwrap().is_some_and(|end| end.success()),
            "it waits for its {context:?} server"
        );
        let key = ossature::multiprocessing::current_process().authkey().unwrap();
        assert!(Manager::connect(&address, &key).is_err(), "its server of {context:?} has ended before it");
    }
}
