//! The floor of a call through shared memory that wakes both sides. It makes the same system calls by hand; beyond them
//! it only encodes the request and the reply and looks up the map.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering::*};

use ossature::sys::deadline::Deadline;
use ossature::sys::epoll::{Epoll, Event, Interest};
use ossature::sys::eventfd::EventFd;
use ossature_benches::machine;
use ossature_benches::rivals::{futex_wait, futex_wake};

use crate::echo::Child;

/// A call as the client sends it: the object, the method, the key.
type Call<'c> = (&'c str, &'c str, &'c str);

/// One direction: a number that each message increments, and the message.
#[repr(align(4096))]
struct Half {
    number: AtomicU32,
    length: AtomicU32,
    bytes: UnsafeCell<[u8; 256]>,
}

// SAFETY: the bytes are written by one side and read by the other, by turns that the number orders.
unsafe impl Sync for Half {}

impl Half {
    fn new() -> Self {
        Self { number: AtomicU32::new(0), length: AtomicU32::new(0), bytes: UnsafeCell::new([0; 256]) }
    }

    /// Publishes the message after message `number`.
    fn put(&self, number: u32, write: impl FnOnce(&mut [u8]) -> usize) {
        // SAFETY: it is the turn of the side that writes here.
        let bytes = unsafe { &mut *self.bytes.get() };
        self.length.store(write(bytes) as u32, Relaxed);
        self.number.store(number + 1, Release);
    }

    fn get(&self) -> &[u8] {
        // SAFETY: it is the turn of the side that reads here.
        let bytes = unsafe { &*self.bytes.get() };
        &bytes[..self.length.load(Relaxed) as usize]
    }
}

/// A client, and the child that replies.
pub struct Floor {
    asked: &'static Half,
    answered: &'static Half,
    bell: EventFd,
    _child: Child,
}

impl Floor {
    pub fn start(core: usize) -> Self {
        let [asked, answered] = [(); 2].map(|()| -> &'static Half { machine::shared(Half::new()) });
        let bell = EventFd::counter(0).expect("an event");
        let child = Child::start(core, || {
            let epoll = Epoll::new().expect("a set");
            epoll.register(&bell, Interest::IN | Interest::ET, 0).expect("room");
            let objects = HashMap::from([("a dict".to_owned(), HashMap::from([("k".to_owned(), 7_i64)]))]);
            let mut events = [MaybeUninit::<Event>::uninit(); 64];
            let mut number = 0;
            loop {
                while asked.number.load(Acquire) == number {
                    epoll.poll(&mut events, Deadline::NEVER).expect("an event");
                }
                let (object, method, key): Call<'_> = postcard::from_bytes(asked.get()).expect("a call");
                let value = objects.get(object).filter(|_| method == "get").and_then(|object| object.get(key));
                answered.put(number, |bytes| postcard::to_slice(&value, bytes).expect("room").len());
                futex_wake(&answered.number, 1);
                number += 1;
            }
        });
        Self { asked, answered, bell, _child: child }
    }

    pub fn get(&self) {
        let number = self.answered.number.load(Relaxed);
        let call: Call<'_> = ("a dict", "get", "k");
        self.asked.put(number, |bytes| postcard::to_slice(&call, bytes).expect("room").len());
        self.bell.try_add(1).expect("room");
        while self.answered.number.load(Acquire) == number {
            futex_wait(&self.answered.number, number);
        }
        assert_eq!(postcard::from_bytes::<Option<i64>>(self.answered.get()), Ok(Some(7)));
    }
}
