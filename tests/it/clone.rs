//! A second handle of the same object.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ossature::multiprocessing::connection::{Address, AuthKey};
use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::multiprocessing::sharedctypes::{CodedArray, CodedValue, TypeCode};
use ossature::multiprocessing::sync::{NamedBoundedSemaphore, NamedLock, NamedSemaphore};
use ossature::multiprocessing::transfer::{Handle, Memory};
use ossature::multiprocessing::{
    Array, Barrier, BoundedSemaphore, Condition, Event, HandoffLock, Lock, RLock, RawArray, RawValue, RwLock,
    Semaphore, Value,
};
use ossature::sys::scope::Shared;
use ossature::sys::shm::{Shareable, Shm};
use ossature::sys::sync::lock;
use ossature::{ErrorKind, Result, TryClone, try_clone};

/// Clones through the trait alone.
fn again<T: TryClone>(handle: &T) -> T {
    handle.try_clone().unwrap()
}

#[test]
fn shared_values_are_the_same_in_a_clone() {
    let value = Value::new(1_u32).unwrap();
    again(&value).set(2).unwrap();
    assert_eq!(value.get().unwrap(), 2);
    let array = Array::from_slice(&[1_u8, 2]).unwrap();
    again(&array).set(1, 7).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1, 7]);
    let raw = RawValue::new(1_i64).unwrap();
    again(&raw).set(-3);
    assert_eq!(raw.get(), -3);
    let raws = RawArray::from_slice(&[1_u16, 2]).unwrap();
    again(&raws).set(0, 9).unwrap();
    assert_eq!(raws.get(0).unwrap(), 9);
    let code = TypeCode::try_from('i').unwrap();
    let coded = CodedValue::new(code, 1).unwrap();
    again(&coded).set(5).unwrap();
    assert_eq!(coded.get(), 5.into());
    let items = CodedArray::new(code, 2).unwrap();
    again(&items).set(1, 6).unwrap();
    assert_eq!(items.get(1).unwrap(), 6.into());
}

#[test]
fn objects_with_names_are_the_same_in_a_clone() {
    let memory = SharedMemory::create(8).unwrap();
    again(&memory).set(0, 7_u32).unwrap();
    assert_eq!(memory.get::<u32>(0).unwrap(), 7);
    let list = ShareableList::new([1, 2]).unwrap();
    again(&list).set(1, 3).unwrap();
    assert_eq!(list.get(1).unwrap().as_int(), Some(3));
    let lock = NamedLock::create().unwrap();
    again(&lock).acquire().unwrap();
    assert!(lock.locked().unwrap());
    let places = NamedSemaphore::create(2).unwrap();
    again(&places).acquire().unwrap();
    assert_eq!(places.value().unwrap(), 1);
    let bounded = NamedBoundedSemaphore::create(1).unwrap();
    assert_eq!(again(&bounded).release().unwrap_err().kind(), ErrorKind::InvalidInput, "the bound is there, too");
}

#[test]
fn primitives_are_the_same_in_a_clone() {
    let lock = Lock::new().unwrap();
    again(&lock).acquire().unwrap();
    assert!(lock.is_mine());
    lock.release().unwrap();
    let rlock = RLock::new().unwrap();
    again(&rlock).acquire().unwrap();
    assert!(rlock.is_mine());
    rlock.release().unwrap();
    let rwlock = RwLock::new(1_u32).unwrap();
    *again(&rwlock).write().unwrap() += 1;
    assert_eq!(*rwlock.read().unwrap(), 2);
    let handoff = HandoffLock::new().unwrap();
    again(&handoff).acquire().unwrap();
    assert!(!handoff.try_acquire().unwrap());
    handoff.release().unwrap();
    let semaphore = Semaphore::new(1).unwrap();
    again(&semaphore).acquire().unwrap();
    assert_eq!(semaphore.get_value(), 0);
    let bounded = BoundedSemaphore::new(1).unwrap();
    assert_eq!(again(&bounded).release().unwrap_err().kind(), ErrorKind::InvalidInput, "the bound is there, too");
    let event = Event::new().unwrap();
    again(&event).set();
    assert!(event.is_set());
    let barrier = Barrier::new(7).unwrap();
    again(&barrier).abort();
    assert!(barrier.broken());
    let condition = Condition::new().unwrap();
    again(&condition).acquire().unwrap();
    assert!(condition.is_mine());
    condition.release().unwrap();
    let over_lock = Condition::with_lock(Lock::new().unwrap()).unwrap();
    again(&over_lock).acquire().unwrap();
    assert!(over_lock.is_mine());
    over_lock.release().unwrap();
}

#[test]
fn memory_is_the_same_in_a_clone() {
    let one = Shm::place(AtomicU32::new(1)).unwrap();
    again(&one).store(2, Relaxed);
    let memory = Memory(one);
    assert_eq!(again(&memory).0.fetch_add(1, Relaxed), 2);
    assert_eq!(memory.0.load(Relaxed), 3);
    let slice = Memory(Shm::place_slice(3, |_| AtomicU32::new(0)).unwrap());
    again(&slice).0[2].store(8, Relaxed);
    assert_eq!(again(&slice.0)[2].load(Relaxed), 8);
    let locked: Shm<lock::Lock<[u8], Shared>> = Shm::place_locked_slice(2, |_| 0).unwrap();
    again(&locked).lock().unwrap()[1] = 4;
    assert_eq!(*locked.lock().unwrap(), [0, 4]);
}

#[test]
fn descriptors_are_the_same_open_files_in_a_clone() {
    let (mut one, other) = UnixStream::pair().unwrap();
    again(&Handle(other)).0.write_all(b"x").unwrap();
    one.read_exact(&mut [0]).unwrap();
    let mut file = File::open(std::env::current_exe().unwrap()).unwrap();
    file.seek(std::io::SeekFrom::Start(9)).unwrap();
    assert_eq!(again(&file).stream_position().unwrap(), 9, "one position");
    assert_eq!(File::from(again(&OwnedFd::from(file))).stream_position().unwrap(), 9);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(again(&tcp).local_addr().unwrap(), tcp.local_addr().unwrap());
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(again(&udp).local_addr().unwrap(), udp.local_addr().unwrap());
    let (datagrams, far) = UnixDatagram::pair().unwrap();
    again(&datagrams).send(b"x").unwrap();
    assert_eq!(far.recv(&mut [0]).unwrap(), 1);
    let Address::Unix(path) = Address::arbitrary(ossature::multiprocessing::connection::Family::Unix).unwrap() else {
        panic!("not a path")
    };
    let listener = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    again(&listener).accept().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn plain_values_and_groups_are_cloned_part_by_part() {
    let names = (String::from("a"), PathBuf::from("/b"), Duration::from_secs(1), 7_u8, true);
    assert_eq!(again(&names), names);
    assert_eq!(again(&AuthKey::from("k")).as_bytes(), b"k");
    let values = vec![Some(Value::new(1_u32).unwrap()), None];
    let pair = (again(&values), [again(&values[0]), None], Event::new().unwrap());
    pair.0[0].as_ref().unwrap().set(5).unwrap();
    let (_, [first, second], event) = again(&pair);
    event.set();
    assert!(second.is_none() && first.unwrap().get().unwrap() == 5);
    assert!(pair.2.is_set() && pair.0.len() == 2 && pair.0[1].is_none());
    let shared = Arc::new(Value::new(6_u32).unwrap());
    let value: Value<u32> = shared.try_clone().unwrap(); // with the trait in scope
    assert_eq!(value.get().unwrap(), 6);
    let children = ossature::multiprocessing::active_children();
    assert_eq!(again(&children), children);
}

try_clone! {
    /// An object that several processes share.
    #[derive(Debug)]
    pub(crate) struct Board {
        /// The count.
        pub(crate) count: Value<u64>,
        done: Event,
        name: String,
    }

    struct Typed<T: Shareable, U: TryClone> {
        both: Option<(Value<T>, Value<T>)>,
        more: U,
    }

    struct Nothing {}
}

#[test]
fn a_struct_of_handles_is_cloned_field_by_field() {
    let board = Board { count: Value::new(1).unwrap(), done: Event::new().unwrap(), name: "board".to_owned() };
    let there = again(&board);
    there.count.set(2).unwrap();
    there.done.set();
    assert!(board.count.get().unwrap() == 2 && board.done.is_set() && there.name == "board", "{board:?}");
}

fn of<U: TryClone>(more: U) -> Typed<u8, U> {
    Typed { both: None, more }
}

/// A field that counts its clones. Only a given number of them succeed.
struct Counted(Arc<()>, usize);

impl TryClone for Counted {
    fn try_clone(&self) -> Result<Self> {
        if Arc::strong_count(&self.0) > self.1 {
            return Err(ossature::sys::errno::Errno::MFILE.into());
        }
        Ok(Self(self.0.clone(), self.1))
    }
}

#[test]
fn a_field_that_cannot_be_cloned_leaves_nothing() {
    let counted = of::<[Counted; 2]>([Counted(Arc::default(), 9), Counted(Arc::default(), 0)]);
    let error = TryClone::try_clone(&counted).map(drop).unwrap_err();
    assert!(error.errno().is_some() && counted.both.is_none());
    assert_eq!(counted.more.each_ref().map(|field| Arc::strong_count(&field.0)), [1, 1]);
    let twice = of::<Vec<Counted>>(vec![Counted(Arc::default(), 9)]);
    assert_eq!(again(&twice).more.len(), 1);
    assert_eq!(Arc::strong_count(&twice.more[0].0), 1);
    let Nothing {} = again(&Nothing {});
}
