//! Values with shared memory and open files, sent through a pipe of this process.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{Connection, pipe};
use ossature::multiprocessing::sharedctypes::synchronized;
use ossature::multiprocessing::transfer::{Handle, Memory, handle, memory};
use ossature::multiprocessing::{
    Array, Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RawArray, RawValue, Semaphore, Value,
};
use ossature::sys::scope::Shared;
use ossature::sys::shm::Shm;
use ossature::sys::sync::lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::support::soon;

/// Sends a value, and returns it as another process would get it.
fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let (near, far) = pipe().unwrap();
    near.send(value).unwrap();
    far.recv().unwrap()
}

#[test]
fn locks_are_the_same_lock_afterwards() {
    let lock = Lock::new().unwrap();
    let there = sent(&lock);
    let held = lock.lock().unwrap();
    assert!(there.locked() && !thread::scope(|s| s.spawn(|| there.try_acquire()).join().unwrap()).unwrap());
    drop(held);
    assert!(!there.locked());

    let rlock = RLock::new().unwrap();
    let there = sent(&rlock);
    rlock.acquire().unwrap();
    assert_eq!(there.depth(), 1);
    there.release().unwrap();
    assert!(!rlock.locked());

    let handoff = HandoffLock::new().unwrap();
    let there = sent(&handoff);
    handoff.acquire().unwrap();
    there.release().unwrap();
    assert!(!handoff.locked());
}

#[test]
fn everything_that_is_waited_for_is_the_same_afterwards() {
    soon(|| {
        let semaphore = Semaphore::new(2).unwrap();
        sent(&semaphore).acquire().unwrap();
        assert_eq!(semaphore.get_value(), 1);
        let bounded = BoundedSemaphore::new(1).unwrap();
        assert_eq!(sent(&bounded).release().unwrap_err().kind(), ErrorKind::InvalidInput);

        let event = Event::new().unwrap();
        sent(&event).set();
        assert!(event.is_set());

        let barrier = Barrier::new(2).unwrap();
        let there = sent(&barrier);
        let waiting = thread::spawn(move || there.wait().unwrap());
        assert_eq!(barrier.wait().unwrap() + waiting.join().unwrap(), 1);

        let condition = Condition::new().unwrap();
        let there = sent(&condition);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            let _held = there.lock().unwrap();
            ready.send(()).unwrap();
            there.wait()
        });
        is_ready.recv().unwrap();
        condition.with(|| condition.notify(1)).unwrap().unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn shared_values_are_the_same_afterwards() {
    let value = Value::new(1.5).unwrap();
    sent(&value).set(2.5).unwrap();
    assert_eq!(value.get().unwrap(), 2.5);
    let array = Array::from_slice(&[1, 2, 3]).unwrap();
    sent(&array).set(-1, 9).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1, 2, 9]);
    let raw = RawValue::new(7_u8).unwrap();
    sent(&raw).set(8);
    assert_eq!(raw.get(), 8);
    let raw = RawArray::from_slice(b"raw").unwrap();
    sent(&raw).set(0, b'R').unwrap();
    assert_eq!(raw.to_vec(), b"Raw");
    let both = synchronized(raw).unwrap();
    let there = sent(&both);
    there.with(1, |byte| *byte -= 32).unwrap();
    assert_eq!(both.slice(..).unwrap(), b"RAw");
    let _held = both.lock().lock().unwrap();
    let refused = there.get(0).unwrap_err().kind();
    assert_eq!(refused, ErrorKind::WouldDeadlock, "it is the same lock");
}

#[derive(Serialize, Deserialize)]
struct Mixed {
    name: String,
    #[serde(with = "handle")]
    log: File,
    #[serde(with = "memory")]
    hits: Shm<AtomicU32>,
    #[serde(with = "memory")]
    table: Shm<lock::Lock<[u64], Shared>>,
    locks: Vec<Lock>,
}

#[test]
fn structs_hold_them_anywhere() {
    let (mut reader, log) = crate::support::pipe().unwrap();
    let mixed = Mixed {
        name: "worker".into(),
        log,
        hits: Shm::place(AtomicU32::new(3)).unwrap(),
        table: Shm::place_locked_slice(5, |i| i as u64).unwrap(),
        locks: vec![Lock::new().unwrap(), Lock::new().unwrap()],
    };
    let mut there = sent(&mixed);
    there.log.write_all(there.name.as_bytes()).unwrap();
    there.hits.fetch_add(1, Relaxed);
    there.table.lock().unwrap()[4] = 40;
    assert_eq!((mixed.hits.load(Relaxed), mixed.table.lock().unwrap()[4]), (4, 40));
    let _second = there.locks[1].lock().unwrap();
    assert!(!mixed.locks[0].locked() && mixed.locks[1].locked());
    let mut text = [0; 6];
    std::io::Read::read_exact(&mut reader, &mut text).unwrap();
    assert_eq!(&text, b"worker");
}

#[test]
fn memory_of_another_type_or_length_is_refused() {
    let (near, far) = pipe().unwrap();
    near.send(&Memory(Shm::place(1_u32).unwrap())).unwrap();
    let error = far.recv::<Memory<i32>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("another type"), "{error}");
    near.send(&Value::new(1_u32).unwrap()).unwrap();
    assert_eq!(far.recv::<Array<u32>>().unwrap_err().kind(), ErrorKind::Incompatible);
}

/// Each type is sent, and received as every type.
#[test]
fn what_was_sent_is_received_as_nothing_else() {
    mod one {
        ossature::sys::shareable! { #[derive(Debug)] pub struct Twin { pub x: u32 } }
    }
    mod two {
        ossature::sys::shareable! { #[derive(Debug)] pub struct Twin { pub x: u32 } }
    }
    type Sender = fn(&Connection) -> ossature::Result<()>;
    type Receiver = fn(&Connection) -> ossature::Result<()>;
    macro_rules! kinds {
        ($($kind:ty: $made:expr;)+) => {
            [$(((|to| to.send::<$kind>(&$made)) as Sender, (|from| from.recv::<$kind>().map(drop)) as Receiver)),+]
        };
    }
    let kinds = kinds! {
        Memory<u32>: Memory(Shm::place(1)?);
        Memory<[u32; 1]>: Memory(Shm::place([1])?);
        Memory<[u32]>: Memory(Shm::place_slice(1, |_| 1_u32)?);
        Memory<one::Twin>: Memory(Shm::place(one::Twin::init(1))?);
        // The same name, fields and layout: only the compiler knows that it is another type.
        Memory<two::Twin>: Memory(Shm::place(two::Twin::init(1))?);
        Value<u32>: Value::new(1)?;
        Value<i32>: Value::new(1)?;
        RawValue<u32>: RawValue::new(1)?;
        Array<u32>: Array::new(1)?;
        RawArray<u32>: RawArray::new(1)?;
        Lock: Lock::new()?;
        RLock: RLock::new()?;
        HandoffLock: HandoffLock::new()?;
        Condition: Condition::new()?;
        Event: Event::new()?;
        Semaphore: Semaphore::new(1)?;
        Barrier: Barrier::new(1)?;
    };
    for (i, (send, _)) in kinds.iter().enumerate() {
        for (j, (_, receive)) in kinds.iter().enumerate() {
            let (near, far) = pipe().unwrap();
            send(&near).unwrap();
            let received = receive(&far).map_err(|error| error.kind());
            assert_eq!(received, if i == j { Ok(()) } else { Err(ErrorKind::Incompatible) }, "{i} as {j}");
        }
    }
}

#[test]
fn outside_of_a_message_a_descriptor_is_refused_with_the_reason() {
    assert!(postcard::to_extend(&Handle(std::io::stderr()), Vec::new()).is_err());
    assert!(postcard::to_extend(&Lock::new().unwrap(), Vec::new()).is_err());
    assert!(postcard::from_bytes::<Handle<File>>(&[0, 0]).is_err());
    let place = serde::de::value::U32Deserializer::<serde::de::value::Error>::new(0);
    let error = Handle::<File>::deserialize(place).unwrap_err().to_string();
    assert!(error.contains("only from a message"), "{error}");
}

/// A value that sends another value while it is sent, and then panics if the flag is set.
struct Nested(Arc<std::sync::Mutex<Option<Vec<u8>>>>, bool);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (near, far) = pipe().unwrap();
        near.send(&(Handle(std::io::stdin()), 1_u8)).unwrap();
        let (_, one) = far.recv::<(Handle<File>, u8)>().unwrap();
        *self.0.lock().unwrap() = Some(vec![one]);
        assert!(!self.1, "as asked");
        (Handle(std::io::stderr()), one).serialize(serializer)
    }
}

#[test]
fn sending_within_sending_has_a_list_of_its_own() {
    let (near, far) = pipe().unwrap();
    let note = Arc::default();
    near.send(&(Handle(std::io::stdout()), Nested(Arc::clone(&note), false))).unwrap();
    let (_, (_, one)): (Handle<File>, (Handle<File>, u8)) = far.recv().unwrap();
    assert_eq!((one, note.lock().unwrap().clone()), (1, Some(vec![1])));
}

#[test]
fn panic_while_serialising_leaves_no_list_behind() {
    let (near, far) = pipe().unwrap();
    let panics = Nested(Arc::default(), true);
    let sending = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| near.send(&panics)));
    assert!(sending.is_err());
    assert!(postcard::to_extend(&Handle(std::io::stderr()), Vec::new()).is_err(), "nothing is being sent any more");
    assert!(!far.poll(Duration::ZERO).unwrap());
    near.send(&Handle(std::io::stderr())).unwrap();
    assert!(far.recv::<Handle<File>>().unwrap().0.as_fd().as_raw_fd() > 2);
}

#[test]
fn value_that_cannot_be_serialised_is_an_error_and_nothing_is_sent() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let (near, far) = pipe().unwrap();
    let error = near.send(&(1, Refuses)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Refuses"), "{error}");
    assert!(!far.poll(Duration::ZERO).unwrap());
}

#[test]
fn types_that_need_a_self_describing_form_are_refused_with_the_remedy() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Number { n: u8 },
    }
    #[derive(Serialize, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Serialize, Deserialize)]
    struct Inner {
        n: u8,
    }
    let (near, far) = pipe().unwrap();
    near.send(&Untagged::Number(1)).unwrap();
    let untagged = far.recv::<Untagged>().map(|Untagged::Number(n)| n).unwrap_err();
    near.send(&Tagged::Number { n: 1 }).unwrap();
    let tagged = far.recv::<Tagged>().map(|Tagged::Number { n }| n).unwrap_err();
    for error in [untagged, tagged] {
        assert_eq!(error.kind(), ErrorKind::Decode);
        let text = error.to_string();
        assert!(
            text.contains("self-describing") && text.contains("untagged") && text.contains("plain enums"),
            "{text}"
        );
    }
    let error = near.send(&Outer { inner: Inner { n: 1 } }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("flatten"), "{error}");
}
