//! Objects that cannot be made for lack of descriptors: each text names the object, the limit and the remedy.

use std::fs::File;

use ossature::multiprocessing::connection::{Address, AuthKey, Family, Listener, connect, pipe, pipe_one_way};
use ossature::multiprocessing::sharedctypes::{CodedArray, CodedValue, TypeCode};
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{
    Arena, Array, Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, Process, RLock, RawArray, RawValue,
    Semaphore, Value,
};
use ossature::select::selectors::EpollSelector;
use ossature::sys::deadline::Deadline;
use ossature::sys::errno::Errno;
use ossature::sys::eventfd::EventFd;
use ossature::sys::process::{Resource, rlimit};
use ossature::sys::shm::Shm;
use ossature::{ErrorKind, Result, TryClone};

use crate::{child, set_most_descriptors, well};

type Attempt<'a> = (&'a str, &'a dyn Fn() -> Result<()>);

#[track_caller]
fn refused((object, attempt): Attempt<'_>) {
    let most = rlimit(Resource::Nofile).unwrap().current.unwrap();
    let error = attempt().expect_err(object);
    let text = error.to_string();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Os, Some(Errno::MFILE)), "{object}: {text}");
    assert!(text.contains(object), "{object}: {text}");
    assert!(text.contains(&format!("RLIMIT_NOFILE lets this process have {most} descriptors")), "{object}: {text}");
    assert!(text.contains("`ulimit -n`"), "{object}: {text}");
    assert_eq!(text.matches("RLIMIT_NOFILE").count(), 1, "once: {text}");
}

pub fn what_finds_no_descriptor_names_the_object_and_the_limit() {
    let path = Address::arbitrary(Family::Unix).unwrap();
    let (child, _near) = child(|far| {
        let listener = Listener::bind(("127.0.0.1", 0))?;
        let keyed = Listener::builder().authkey(&AuthKey::random()?).bind(("127.0.0.1", 0))?;
        let (value, array) = (Value::new(1_u32)?, Array::from_slice(&[1_u8])?);
        let (raw_value, raw_array) = (RawValue::new(1_u32)?, RawArray::from_slice(&[1_u8])?);
        let code = TypeCode::try_from('i')?;
        let (coded, coded_array) = (CodedValue::new(code, 1)?, CodedArray::new(code, 1)?);
        let (lock, rlock, handoff, event) = (Lock::new()?, RLock::new()?, HandoffLock::new()?, Event::new()?);
        let (condition, over_lock) = (Condition::new()?, Condition::with_lock(Lock::new()?)?);
        let (semaphore, bounded, barrier) = (Semaphore::new(1)?, BoundedSemaphore::new(1)?, Barrier::new(1)?);
        let shm = Shm::place(1_u32.to_be_bytes())?;
        let arena = Arena::new()?;
        let of_arena = arena.value(1_u32)?;
        let file = File::open("/dev/null")?;

        let bare = Errno::MFILE.to_string();
        let limit = set_most_descriptors(0);
        let attempts: &[Attempt<'_>] = &[
            ("cannot make a pipe", &|| pipe().map(drop)),
            ("cannot make a pipe", &|| pipe_one_way().map(drop)),
            ("cannot listen at", &|| Listener::bind(("127.0.0.1", 0)).map(drop)),
            ("cannot listen at", &|| Listener::bind(path.clone()).map(drop)),
            ("cannot connect to", &|| connect(listener.address()).map(drop)),
            ("cannot accept", &|| keyed.accept_timeout(Deadline::NOW).map(drop)),
            ("cannot make an epoll set", &|| EpollSelector::<File>::new().map(drop)),
            ("cannot duplicate a descriptor to send it", &|| far.send(&Handle(&file))),
            ("cannot fork", &|| Process::fork(|| ()).map(drop)),
            ("cannot start a thread", &|| Process::builder().thread(|| ()).map(drop)),
            ("a value cannot be placed", &|| Value::new(1_u32).map(drop)),
            ("an array cannot be placed", &|| Array::from_slice(&[1_u8]).map(drop)),
            ("a value cannot be placed", &|| RawValue::new(1_u32).map(drop)),
            ("an array cannot be placed", &|| RawArray::<u8>::new(1).map(drop)),
            ("an array cannot be placed", &|| RawArray::from_slice(&[1_u8]).map(drop)),
            ("an array cannot be placed", &|| CodedArray::new(code, 1).map(drop)),
            ("a lock cannot be placed", &|| Lock::new().map(drop)),
            ("an rlock cannot be placed", &|| RLock::new().map(drop)),
            ("a handoff lock cannot be placed", &|| HandoffLock::new().map(drop)),
            ("an event cannot be placed", &|| Event::new().map(drop)),
            ("a condition cannot be placed", &|| Condition::new().map(drop)),
            ("a semaphore cannot be placed", &|| Semaphore::new(1).map(drop)),
            ("a semaphore cannot be placed", &|| BoundedSemaphore::new(1).map(drop)),
            ("a barrier cannot be placed", &|| Barrier::new(1).map(drop)),
            ("an arena cannot be placed", &|| Arena::new().map(drop)),
            ("an arena or its object cannot be sent", &|| far.send(&arena)),
            ("an arena or its object cannot be sent", &|| far.send(&of_arena)),
            ("a value cannot be cloned", &|| value.try_clone().map(drop)),
            ("an array cannot be cloned", &|| array.try_clone().map(drop)),
            ("a value cannot be cloned", &|| raw_value.try_clone().map(drop)),
            ("an array cannot be cloned", &|| raw_array.try_clone().map(drop)),
            ("an array cannot be cloned", &|| coded.try_clone().map(drop)),
            ("an array cannot be cloned", &|| coded_array.try_clone().map(drop)),
            ("this Lock cannot be cloned", &|| lock.try_clone().map(drop)),
            ("this RLock cannot be cloned", &|| rlock.try_clone().map(drop)),
            ("this HandoffLock cannot be cloned", &|| handoff.try_clone().map(drop)),
            ("this Event cannot be cloned", &|| event.try_clone().map(drop)),
            ("this Condition cannot be cloned", &|| condition.try_clone().map(drop)),
            ("this Condition cannot be cloned", &|| over_lock.try_clone().map(drop)),
            ("this Semaphore cannot be cloned", &|| semaphore.try_clone().map(drop)),
            ("this Semaphore cannot be cloned", &|| bounded.try_clone().map(drop)),
            ("this Barrier cannot be cloned", &|| barrier.try_clone().map(drop)),
            ("this shared memory cannot be cloned", &|| TryClone::try_clone(&shm).map(drop)),
            ("this File cannot be cloned", &|| TryClone::try_clone(&file).map(drop)),
            (&bare, &|| EventFd::counter(0).map(drop).map_err(Into::into)),
            (&bare, &|| File::open("/dev/null").map(drop).map_err(Into::into)),
        ];
        attempts.iter().for_each(|attempt| refused(*attempt));
        limit.put_back();
        Ok(())
    });
    well(child);
}
