//! Every operation of the waiting primitives, in every scope, with and without a waiter.

use std::ops::Deref;
use std::thread;
use std::time::Duration;

use crate::no_alloc;
use crate::sys::errno::Errno;
use crate::sys::futex::Cancel;
use crate::sys::scope::{Refused, Scope};
use crate::sys::shm::Shm;
use crate::sys::sync::barrier::Barrier;
use crate::sys::sync::condition::{Condition, Wait};
use crate::sys::sync::event::Event;
use crate::sys::sync::handoff::HandoffLock;
use crate::sys::sync::lock::Lock;
use crate::sys::sync::rlock::RLock;
use crate::sys::sync::rwlock::RwLock;
use crate::sys::sync::semaphore::Semaphore;

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(1);

fn rlock<S: Scope>(lock: &RLock<u64, S>) -> Result<(), Refused> {
    let outer = no_alloc!("RLock::lock", S::settle(lock.lock()))?;
    let inner = no_alloc!("RLock::try_lock", S::settle(lock.try_lock()))?;
    drop(no_alloc!("RLock::lock_timeout", S::settle(lock.lock_timeout(SOON)))?);
    no_alloc!("giving levels back", drop((inner, outer)));
    Ok(())
}

fn rwlock<S: Scope>(lock: &RwLock<u64, S>) -> Result<(), Refused> {
    let read = no_alloc!("RwLock::read", S::settle(lock.read()))?;
    drop(no_alloc!("RwLock::try_read", S::settle(lock.try_read()))?);
    assert!(no_alloc!("write_timeout that times out", S::settle(lock.write_timeout(SHORT)))?.is_none());
    no_alloc!("giving a share back", drop(read));
    let write = no_alloc!("RwLock::write", S::settle(lock.write()))?;
    assert!(no_alloc!("read_timeout that times out", S::settle(lock.read_timeout(SHORT)))?.is_none());
    no_alloc!("the writer's end", drop(write));
    Ok(())
}

fn event<S: Scope>(event: &Event<S>) -> Result<(), Refused> {
    assert!(!no_alloc!("Event::wait_timeout that times out", S::settle(event.wait_timeout(SHORT)))?);
    no_alloc!("Event::set", event.set());
    no_alloc!("Event::wait", S::settle(event.wait()))?;
    no_alloc!("Event::clear", event.clear());
    let cancel = Cancel::new();
    no_alloc!("Cancel::cancel", cancel.cancel());
    assert!(!no_alloc!("a cancelled wait", S::settle(event.wait_timeout(&cancel)))?);
    Ok(())
}

fn semaphore<S: Scope>(semaphore: &Semaphore<S>) -> Result<(), Refused> {
    no_alloc!("Semaphore::acquire", S::settle(semaphore.acquire()))?;
    let permit = no_alloc!("Semaphore::permit", S::settle(semaphore.permit()))?;
    assert!(!no_alloc!("acquire_timeout that times out", S::settle(semaphore.acquire_timeout(SHORT)))?);
    assert!(no_alloc!("permit_timeout that times out", S::settle(semaphore.permit_timeout(SHORT)))?.is_none());
    no_alloc!("dropping a permit", drop(permit));
    no_alloc!("Semaphore::release", semaphore.release(1)).expect("within the bound");
    no_alloc!("Semaphore::release too much", semaphore.release(1)).expect_err("beyond the bound");
    Ok(())
}

fn handoff<S: Scope>(lock: &HandoffLock<S>) -> Result<(), Refused> {
    no_alloc!("HandoffLock::acquire", S::settle(lock.acquire()))?;
    assert!(!no_alloc!("HandoffLock::acquire_timeout", S::settle(lock.acquire_timeout(SHORT)))?);
    no_alloc!("HandoffLock::release", lock.release()).expect("it was taken");
    no_alloc!("HandoffLock::with", S::settle(lock.with(|| ())))
}

fn condition<S: Scope>(lock: &Lock<u64, S>, condition: &Condition<S>) -> Result<(), Refused> {
    no_alloc!("Condition::notify", condition.notify(1));
    let guard = S::settle(lock.lock())?;
    let (guard, notified) = no_alloc!("Condition::wait_timeout", S::settle(condition.wait_timeout(guard, SHORT)))?;
    assert!(!notified);
    let (_guard, ended) =
        no_alloc!("Condition::wait_for", S::settle(condition.wait_for(guard, |value| **value > 5, SHORT)))?;
    assert_eq!(ended, Wait::TimedOut);
    Ok(())
}

fn barrier<S: Scope>(one: &Barrier<S>, two: &Barrier<S>) -> Result<(), Refused> {
    let party = no_alloc!("Barrier::join", S::settle(one.join()))?;
    no_alloc!("Barrier::wait", one.wait()).expect("it is for one");
    no_alloc!("Barrier::wait_with", one.wait_with(|| ())).expect("it is for one");
    no_alloc!("dropping a party", drop(party));
    no_alloc!("Barrier::wait_timeout that breaks it", two.wait_timeout(SHORT)).expect_err("it is for two");
    no_alloc!("Barrier::reset", S::settle(two.reset()))?;
    no_alloc!("Barrier::abort", two.abort());
    Ok(())
}

#[test]
fn private_primitives() -> Result<(), Refused> {
    rlock(&no_alloc!("RLock::new", RLock::new(0)))?;
    rwlock(&no_alloc!("RwLock::new", RwLock::new(0)))?;
    event(&no_alloc!("Event::new", Event::new()))?;
    semaphore(&no_alloc!("Semaphore::bounded", Semaphore::bounded(2)))?;
    handoff(&no_alloc!("HandoffLock::new", HandoffLock::new()))?;
    condition(&Lock::new(0), &no_alloc!("Condition::new", Condition::new()))?;
    barrier(&no_alloc!("Barrier::new", Barrier::new(1)), &Barrier::new(2))
}

#[test]
fn local_primitives() -> Result<(), Refused> {
    rlock(&no_alloc!("RLock::local", RLock::local(0)))?;
    rwlock(&no_alloc!("RwLock::local", RwLock::local(0)))?;
    event(&no_alloc!("Event::local", Event::local()))?;
    semaphore(&no_alloc!("Semaphore::local_bounded", Semaphore::local_bounded(2)))?;
    handoff(&no_alloc!("HandoffLock::local", HandoffLock::local()))?;
    condition(&Lock::local(0), &no_alloc!("Condition::local", Condition::local()))?;
    barrier(&no_alloc!("Barrier::local", Barrier::local(1)), &Barrier::local(2))
}

#[test]
fn shared_primitives() -> Result<(), Errno> {
    let refused = "nobody holds it, and nobody died";
    rlock(&*no_alloc!("placing an RLock", Shm::place(RLock::shared(0)))?).expect(refused);
    rwlock(&*no_alloc!("placing an RwLock", Shm::place(RwLock::shared(0)))?).expect(refused);
    event(&*no_alloc!("placing an Event", Shm::place(Event::shared()))?).expect(refused);
    semaphore(&*no_alloc!("placing a Semaphore", Shm::place(Semaphore::shared_bounded(2)))?).expect(refused);
    handoff(&*no_alloc!("placing a HandoffLock", Shm::place(HandoffLock::shared()))?).expect(refused);
    let placed = no_alloc!("placing a Condition", Shm::place(Condition::shared()))?;
    condition(&*Shm::place(Lock::shared(0))?, &placed).expect(refused);
    let placed = no_alloc!("placing a Barrier", Shm::place(Barrier::shared(1)))?;
    barrier(&placed, &*Shm::place(Barrier::shared(2))?).expect(refused);
    Ok(())
}

/// Runs two threads that wake each other in turn, and neither allocates memory.
fn by_turns(what: &str, mine: impl Fn() + Sync, theirs: impl Fn() + Sync) {
    let played = |turn: &(dyn Fn() + Sync)| {
        let ((), times) = crate::asked(|| (0..200).for_each(|_| turn()));
        assert_eq!(times, 0, "{what} allocates");
    };
    thread::scope(|scope| {
        scope.spawn(|| played(&theirs));
        played(&mine);
    });
}

fn waits_and_wakes<S: Scope>(
    events: [impl Deref<Target = Event<S>> + Sync; 2],
    units: [impl Deref<Target = Semaphore<S>> + Sync; 2],
    barrier: impl Deref<Target = Barrier<S>> + Sync,
    (lock, changed): (impl Deref<Target = Lock<u64, S>> + Sync, impl Deref<Target = Condition<S>> + Sync),
) {
    let answer = |event: &Event<S>| {
        S::settle(event.wait()).expect("an event refuses nobody");
        event.clear();
    };
    let set = || {
        events[0].set();
        answer(&events[1]);
    };
    let wait = || {
        answer(&events[0]);
        events[1].set();
    };
    by_turns("an event that is waited for", set, wait);

    let pass = |from: usize, to: usize| {
        units[from].release(1).expect("within the bound");
        S::settle(units[to].acquire()).expect("a semaphore refuses nobody");
    };
    by_turns("a semaphore that is waited for", || pass(0, 1), || pass(1, 0));

    let meet = || {
        let _number = barrier.wait().expect("nobody breaks it");
    };
    by_turns("a barrier that is waited for", meet, meet);

    let turn = |parity: u64| {
        let guard = S::settle(lock.lock()).expect("nobody died");
        let waited = S::settle(changed.wait_for(guard, |value| **value % 2 == parity, None));
        *waited.expect("the table has room").0 += 1;
        changed.notify(1);
    };
    by_turns("a condition that is waited for", || turn(0), || turn(1));
}

#[test]
fn waiting_for_each_other() -> Result<(), Errno> {
    waits_and_wakes(
        [Box::new(Event::new()), Box::new(Event::new())],
        [Box::new(Semaphore::new(0)), Box::new(Semaphore::new(0))],
        Box::new(Barrier::new(2)),
        (Box::new(Lock::new(0)), Box::new(Condition::new())),
    );
    waits_and_wakes(
        [Shm::place(Event::shared())?, Shm::place(Event::shared())?],
        [Shm::place(Semaphore::shared(0))?, Shm::place(Semaphore::shared(0))?],
        Shm::place(Barrier::shared(2))?,
        (Shm::place(Lock::shared(0))?, Shm::place(Condition::shared())?),
    );
    Ok(())
}
