//! A ring between participants who may die at any change of a word. The messages are cells that loom watches.

use super::std;
use std::sync::Arc as Shared;
use std::vec::Vec;

use loom::cell::UnsafeCell;

use super::mortal::MortalGate;
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::ring::bell::Bell;
use crate::sync::ring::flow::{Flow, finish, publish, reserve, take, wake_all};
use crate::sync::ring::track::{Blocked, Cell, Positions, Reader, Track};
use crate::sync::ring::word::State;
use crate::sync::spin::Spin;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    positions: Positions,
    cells: Vec<Cell>,
    data: Vec<UnsafeCell<u32>>,
    messages: Bell,
    room: Bell,
    idle: Bell,
    gate: MortalGate,
    closed: AtomicU32,
    dead: Shared<[AtomicU32; 4]>,
}

// SAFETY: a cell is written between its reservation and its publishing, and read between its taking and its giving back,
// which loom checks.
unsafe impl Sync for Ring {}
// SAFETY: as for Sync.
unsafe impl Send for Ring {}

/// A participant, by its number.
#[derive(Debug)]
pub struct User<'r> {
    ring: &'r Ring,
    who: u32,
    cursor: u64,
    reader: Reader,
    spin: Spin,
}

impl Ring {
    /// One of so many granules, a power of two.
    pub fn new(granules: u64) -> Self {
        let positions = Positions::default();
        positions.mark.0.store(granules, Relaxed);
        Self {
            positions,
            cells: (0..granules).map(|_| Cell::default()).collect(),
            data: (0..granules).map(|_| UnsafeCell::new(0)).collect(),
            messages: Bell::default(),
            room: Bell::default(),
            idle: Bell::default(),
            gate: MortalGate::default(),
            closed: AtomicU32::new(0),
            dead: Shared::new([(); 4].map(|()| AtomicU32::new(0))),
        }
    }

    /// The participant with this number, from 1 to 3.
    pub fn join(&self, who: u32) -> User<'_> {
        User { ring: self, who, cursor: 0, reader: self.track().reader(), spin: Spin::new() }
    }

    /// What tells of the death of the participant with this number.
    pub fn death_of(&self, who: u32) -> impl FnOnce() + 'static {
        let dead = self.dead.clone();
        move || dead[who as usize].store(1, SeqCst)
    }

    /// Ends the sending.
    pub fn close(&self) {
        self.gate.covered(|| {
            self.closed.store(1, SeqCst);
            loom::sync::atomic::fence(SeqCst);
            wake_all(self);
        });
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.track().count(usize::MAX).unwrap()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Flow for Ring {
    type Gate = MortalGate;

    fn track(&self) -> Track<'_> {
        Track { positions: &self.positions, cells: &self.cells }
    }

    fn gate(&self) -> &MortalGate {
        &self.gate
    }

    fn messages(&self) -> &Bell {
        &self.messages
    }

    fn room(&self) -> &Bell {
        &self.room
    }

    fn idle(&self) -> &Bell {
        &self.idle
    }

    fn is_dead(&self, who: u32) -> bool {
        self.dead[who as usize].load(SeqCst) != 0
    }

    fn grow(&self, _least: u64) -> bool {
        false
    }

    fn is_closed(&self) -> bool {
        // The model checker knows the one order of `SeqCst` for fences only.
        loom::sync::atomic::fence(SeqCst);
        let closed = self.closed.load(SeqCst) != 0;
        loom::sync::atomic::fence(SeqCst);
        closed
    }

    fn sleep(&self, bell: &Bell, expected: u32, _blocked: Blocked, limit: Limit<'_>) -> Woke {
        self.gate.sleep(bell.word(), expected, limit)
    }
}

impl User<'_> {
    /// Sends a number as a message of so many granules.
    pub fn send(&mut self, number: u32, granules: u64, limit: Limit<'_>) -> bool {
        let Self { ring, who, cursor, spin, .. } = self;
        ring.gate.covered(|| {
            let Ok(claim) = reserve(*ring, cursor, spin, granules, *who, limit) else { return false };
            for offset in 0..granules {
                let cell = &ring.data[ring.track().index(claim.at + offset) as usize];
                // SAFETY: the record is this participant's, which loom checks.
                cell.with_mut(|place| unsafe { *place = number });
            }
            publish(*ring, claim, granules).unwrap();
            true
        })
    }

    /// Receives a number.
    pub fn recv(&mut self, limit: Limit<'_>) -> Option<u32> {
        let Self { ring, who, reader, spin, .. } = self;
        ring.gate.covered(|| {
            let claim = take(*ring, reader, spin, State::Copying, *who, limit).ok()?;
            let mut numbers = (0..ring.track().info(claim)).map(|offset| {
                let cell = &ring.data[ring.track().index(claim.at + offset) as usize];
                // SAFETY: the record is this participant's, which loom checks.
                cell.with(|place| unsafe { *place })
            });
            let number = numbers.next().unwrap();
            assert!(numbers.all(|other| other == number), "a torn message");
            finish(*ring, claim).unwrap();
            Some(number)
        })
    }
}
