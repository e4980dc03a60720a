//! The storm's use of [`Arena`]: objects that processes create, clone, send and drop, in a small arena.
//!
//! Violations are an object with the bytes of another, a message whose object is lost, and memory in use when no
//! participant has an object.

use core::hint::spin_loop;
use core::time::Duration;

use ossature::sys::deadline::Deadline;
use ossature::sys::fd::AsFd;
use ossature::sys::scope::Shared;
use ossature::sys::shm::Racy;
use ossature::sys::socket::{Kind, Socket};
use ossature::sys::sync::arena::{Arena, Handle};
use ossature::sys::sync::lock::Lock;

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

type Narrow = Lock<[u64; 3], Shared>;
type Wide = Racy<[u64; 40]>;

pub struct ArenaStorm {
    arena: Arena,
    near: Socket,
    far: Socket,
    /// Whether a turn does everything, so that one run of a scene covers all instructions.
    all: bool,
}

pub fn make(scene: Option<Scene>) -> Box<dyn Primitive> {
    let (near, far) = Socket::pair(Kind::Datagram).expect("sockets for the storm");
    Box::new(ArenaStorm { arena: Arena::new(64 << 10).expect("memory for the storm"), near, far, all: scene.is_some() })
}

const OTHER: &str = "an object has the bytes of another object";

impl ArenaStorm {
    fn send(&self, object: &Handle<Wide>) {
        let carrier = self.arena.carrier().expect("a slot for the clone is free");
        let place = carrier.carry(object).expect("the object is in this arena");
        // SAFETY: the participants use the memory as an arena.
        let descriptor = unsafe { carrier.descriptor() };
        // Without room it is not sent.
        let _ = self.near.send_with(&place.to_ne_bytes(), &[descriptor.as_fd()], Deadline::NOW);
    }

    /// Receives a message if there is one; `false` if its object differs from the sent one.
    fn receive(&self) -> Option<bool> {
        let mut bytes = [0; 8];
        let came = self.far.recv_with::<1>(&mut bytes, Deadline::NOW).ok()??;
        let object = self.arena.at::<Wide>(u64::from_ne_bytes(bytes)).expect("a slot for the clone is free");
        let is_good = object.is_some_and(|object| object.get().windows(2).all(|pair| pair[0] == pair[1]));
        drop(came);
        Some(is_good)
    }
}

impl Primitive for ArenaStorm {
    fn turn(&self, seat: Seat<'_>) {
        seat.waits();
        seat.holds();
        let mark = seat.index as u64 + 1;
        let narrow = self.arena.place(Narrow::shared([mark; 3])).expect("there is room");
        let wide = self.arena.place(Racy::new([mark; 40])).expect("there is room");
        let same = narrow.clone();
        drop(narrow);
        if self.all || seat.chance(4) == 0 {
            self.send(&wide);
        }
        for _ in 0..seat.work() {
            spin_loop();
        }
        if (self.all || seat.chance(3) == 0) && self.receive() == Some(false) {
            seat.breaks("a message arrived without its object");
        }
        if *same.lock().expect("the lock is recoverable") != [mark; 3] || wide.get() != [mark; 40] {
            seat.breaks(OTHER);
        }
        drop((same, wide));
        seat.leaves();
    }

    fn check(&self, _: &Board, _: Duration) -> Check {
        while let Some(is_good) = self.receive() {
            if !is_good {
                return Check::Broken("a message arrived without its object");
            }
        }
        match self.arena.sweep() {
            Ok(0) => Check::Whole,
            Ok(_) => Check::Broken("memory is in use without an owner"),
            Err(_) => Check::Hangs("the arena cannot be swept"),
        }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        Box::new(())
    }

    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Free]
    }
}
