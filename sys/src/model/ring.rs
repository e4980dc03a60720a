//! A ring between participants that may die at any change of a word. The messages are numbers that are read and written
//! without an order of their own. So a copy out of order has the number of another message, or none.

use super::std;
use std::collections::VecDeque;
use std::sync::Arc as Shared;
use std::vec::Vec;

use loom::sync::Mutex;

use super::kernel::{address, wait_while, wake_on};
use super::killable::{KillableGate, step};
use super::{Robust, Taken};
use crate::atomic::AtomicU32;
use crate::atomic::Ordering::{Relaxed, SeqCst};
use crate::futex::Limit;
use crate::sync::gate::{Gate, Woke};
use crate::sync::ring::event_count::EventCount;
use crate::sync::ring::flow::{CLOSED, Flow, Look, Stop, close, finish, inherit, look, publish, received};
use crate::sync::ring::grounds::Grounds;
use crate::sync::ring::post::{self, Post};
use crate::sync::ring::receipt::Receipt;
use crate::sync::ring::track::{Cell, Claim, Positions, Reader, Track};
use crate::sync::ring::waits::{receive_next, reserve, reserve_next, take, unless_below, wait_until};
use crate::sync::ring::watch::Watch;
use crate::sync::ring::word::{RecordState, RecordWord};
use crate::sync::spin::Spin;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    positions: Positions,
    cells: Vec<Cell>,
    data: Vec<AtomicU32>,
    messages: EventCount,
    room: EventCount,
    idle: EventCount,
    receipt: Receipt,
    gate: KillableGate,
    closed: AtomicU32,
    watch: Watch,
    /// 1 while the watcher's descriptor is readable.
    readable: AtomicU32,
    is_used: bool,
    dead: Shared<[AtomicU32; 4]>,
}

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
    /// A ring of `granules` granules, a power of two.
    pub fn new(granules: u64) -> Self {
        let positions = Positions::default();
        positions.mark.0.store(granules, Relaxed);
        Self {
            positions,
            cells: (0..granules).map(|_| Cell::default()).collect(),
            data: (0..granules).map(|_| AtomicU32::new(0)).collect(),
            messages: EventCount::default(),
            room: EventCount::default(),
            idle: EventCount::default(),
            receipt: Receipt::default(),
            gate: KillableGate::default(),
            closed: AtomicU32::new(0),
            watch: Watch::default(),
            readable: AtomicU32::new(1),
            is_used: false,
            dead: Shared::new([(); 4].map(|()| AtomicU32::new(0))),
        }
    }

    /// A ring that was used for a lap. Its users start, as in a real ring, with the next record in its current state.
    pub fn used(granules: u64) -> Self {
        let ring = Self { is_used: true, ..Self::new(granules) };
        for cell in &ring.cells {
            cell.word.store(RecordWord::of(RecordState::Done, 0, 1, 1).0, Relaxed);
        }
        for position in [&ring.positions.head, &ring.positions.tail] {
            position.0.store(granules, Relaxed);
        }
        ring
    }

    /// The participant with this number, from 1 to 3.
    pub fn join(&self, who: u32) -> User<'_> {
        User { ring: self, who, cursor: 0, reader: self.track().reader(), spin: Spin::new() }
    }

    /// The function that reports the death of the participant with this number.
    pub fn death_of(&self, who: u32) -> impl FnOnce() + 'static {
        let dead = self.dead.clone();
        move || dead[who as usize].store(1, SeqCst)
    }

    /// Frees the number of a dead participant, as an enrolment does.
    pub fn reclaim(&self, who: u32) {
        self.gate.protected(|| inherit(self)).unwrap();
        self.dead[who as usize].store(0, SeqCst);
    }

    /// Ends the sending.
    pub fn close(&self) {
        self.gate.protected(|| close(self));
    }

    /// Whether the sending has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(SeqCst) == CLOSED
    }

    /// Waits until fewer than `most` messages are unread.
    pub fn wait_until_below(&self, most: usize) -> bool {
        let look = || unless_below(self, most);
        self.gate.protected(|| wait_until(self, &self.room, look, Limit::NEVER)) == Ok(true)
    }

    /// Adds a watcher with a descriptor, which is readable at first.
    pub fn be_watched(&self) {
        self.watch.begin();
    }

    fn place(&self, at: u64) -> &AtomicU32 {
        &self.data[self.track().index(at) as usize]
    }

    /// The copy of a message of `granules` granules.
    fn numbers(&self, claim: Claim, granules: u64) -> Vec<u32> {
        (0..granules).map(|offset| self.place(claim.at + offset).load(Relaxed)).collect()
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.track().count(usize::MAX).unwrap()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Flow for Ring {
    type Gate = KillableGate;

    fn track(&self) -> Track<'_> {
        Track { positions: &self.positions, cells: &self.cells }
    }

    fn gate(&self) -> &KillableGate {
        &self.gate
    }

    fn messages(&self) -> &EventCount {
        &self.messages
    }

    fn room(&self) -> &EventCount {
        &self.room
    }

    fn idle(&self) -> &EventCount {
        &self.idle
    }

    fn is_dead(&self, who: u32) -> bool {
        self.dead[who as usize].load(SeqCst) != 0
    }

    fn grow(&self, _least: u64) -> bool {
        false
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn raise(&self) {
        step();
        // One call of the kernel.
        self.readable.store(1, SeqCst);
        wake_on(address(&self.readable), u32::MAX);
        step();
    }

    fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    fn closed(&self) -> &AtomicU32 {
        &self.closed
    }

    fn sleep<'r>(
        &'r self,
        event_count: &'r EventCount,
        expected: u32,
        grounds: &Grounds<'r>,
        limit: Limit<'r>,
    ) -> Woke {
        let word = event_count.word();
        let lives = || !grounds.owners().any(|other| self.is_dead(other));
        let holds = || word.load(SeqCst) == expected && lives() && grounds.words().all(|seen| seen.holds());
        self.gate.sleep_while(address(word), holds, limit)
    }
}

impl User<'_> {
    /// Sends a number as a message of `granules` granules.
    pub fn send(&mut self, number: u32, granules: u64, limit: Limit<'_>) -> bool {
        let Self { ring, who, cursor, spin, .. } = self;
        ring.gate.protected(|| {
            let next = if ring.is_used { reserve_next(*ring, cursor, granules, *who) } else { None };
            let reserved = next.map_or_else(|| reserve(*ring, cursor, spin, granules, *who, limit), Ok);
            let Ok(claim) = reserved else { return false };
            for offset in 0..granules {
                ring.place(claim.at + offset).store(number, Relaxed);
            }
            publish(*ring, claim, granules).unwrap();
            true
        })
    }

    /// Receives a number in one step.
    pub fn recv(&mut self, limit: Limit<'_>) -> Option<u32> {
        self.recv_or_stop(limit).ok()
    }

    /// Receives a number, waiting at the descriptor; `None` when the sending has ended. Only one user may do so at a
    /// time.
    pub fn recv_watching(&mut self) -> Option<u32> {
        loop {
            match self.recv_or_stop(Limit::NOW) {
                Ok(number) => return Some(number),
                Err(Stop::Closed) => return None,
                Err(_) => {}
            }
            let Self { ring, .. } = self;
            ring.readable.swap(0, SeqCst);
            match ring.gate.protected(|| look(*ring)).unwrap() {
                Look::Done => {}
                Look::Readable => ring.readable.store(1, SeqCst),
                Look::Again => {
                    // The timer.
                    loom::thread::yield_now();
                    ring.readable.store(1, SeqCst);
                }
            }
            let unreadable = || ring.readable.load(SeqCst) == 0;
            let _ = wait_while(address(&ring.readable), unreadable, Limit::NEVER);
        }
    }

    fn recv_or_stop(&mut self, limit: Limit<'_>) -> Result<u32, Stop> {
        let Self { ring, who, reader, spin, .. } = self;
        ring.gate.protected(|| {
            let next = |seen: Claim, info| Some(ring.numbers(seen, info));
            if let Some(numbers) = if ring.is_used { receive_next(*ring, reader, next) } else { None } {
                return Ok(whole(&numbers));
            }
            let how = |seen: Claim| ring.track().receive(seen, |info| Ok::<_, ()>(ring.numbers(seen, info)));
            let numbers = take(*ring, reader, spin, *who, how, limit)?.unwrap();
            received(*ring);
            Ok(whole(&numbers))
        })
    }

    /// Takes a number, then releases its record.
    pub fn recv_claimed(&mut self, limit: Limit<'_>) -> Option<u32> {
        let Self { ring, who, reader, spin, .. } = self;
        ring.gate.protected(|| {
            loop {
                let how = |seen| ring.track().claim(seen, RecordState::Copying, *who);
                let claim = take(*ring, reader, spin, *who, how, limit).ok()?;
                let numbers = ring.numbers(claim, ring.track().info(claim));
                if finish(*ring, claim).is_ok() {
                    return Some(whole(&numbers));
                }
                // Taken for an earlier one of its number. Others can receive the message again.
                assert_eq!(ring.dead[*who as usize].load(SeqCst), 0);
            }
        })
    }
}

/// The packets of a ring: their sockets, and the lock of the senders.
#[derive(Clone, Debug)]
pub struct Packets(Shared<Way>);

#[derive(Debug)]
struct Way {
    lock: Robust,
    /// The packets, each with its number.
    sent: Mutex<VecDeque<(u64, u32)>>,
}

impl Packets {
    /// No packets.
    #[allow(clippy::new_without_default, reason = "a model has no defaults")]
    pub fn new() -> Self {
        Self(Shared::new(Way { lock: Robust::new(), sent: Mutex::new(VecDeque::new()) }))
    }

    /// The kernel's action when a participant dies.
    pub fn death_of(&self, who: u32) -> impl FnOnce() + 'static {
        let way = self.0.clone();
        move || way.lock.die(who)
    }

    /// The number of packets.
    pub fn len(&self) -> usize {
        self.0.sent.lock().unwrap().len()
    }

    /// Whether there are no packets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The posting of packets, with one step for each call of the kernel.
impl Post for &Packets {
    type Packet = u32;
    type Error = ();

    fn first(&mut self) -> Result<Option<u64>, ()> {
        step();
        Ok(self.0.sent.lock().unwrap().front().map(|(number, _)| *number))
    }

    fn receive(&mut self) -> Result<Option<u32>, ()> {
        step();
        let first = self.0.sent.lock().unwrap().pop_front();
        step();
        Ok(first.map(|(_, packet)| packet))
    }
}

impl User<'_> {
    /// Sends a number as a packet.
    pub fn send_packet(&mut self, packets: &Packets, packet: u32, limit: Limit<'_>) -> bool {
        let Self { ring, who, cursor, spin, .. } = self;
        let Way { lock, sent } = &*packets.0;
        step();
        if lock.take(*who) == Taken::AfterDeath && post::oldest(ring.track()) == Ok(None) {
            step();
            sent.lock().unwrap().clear();
        }
        let send = |number| {
            step();
            sent.lock().unwrap().push_back((number, packet));
            step();
            Ok::<_, ()>(true)
        };
        let done = post::send(*ring, cursor, spin, 1, *who, send, limit);
        step();
        lock.release();
        step();
        done.unwrap()
    }

    /// Receives a packet or a message.
    pub fn recv_packet(&mut self, packets: &Packets, limit: Limit<'_>) -> Option<u32> {
        let Self { ring, who, reader, spin, .. } = self;
        let mut post = packets;
        ring.gate.protected(|| {
            let track = ring.track();
            let how = |seen: Claim| {
                if post::is_token(track, seen) {
                    let give_back = |token| finish(*ring, token).is_ok();
                    return post::receive(*ring, &mut post, seen, *who, give_back).map(Result::unwrap);
                }
                let received = track.receive(seen, |info| Ok::<_, ()>(ring.numbers(seen, info)));
                received.map(|numbers| whole(&numbers.unwrap()))
            };
            let number = take(*ring, reader, spin, *who, how, limit).ok();
            received(*ring);
            number
        })
    }
}

fn whole(numbers: &[u32]) -> u32 {
    assert!(numbers.iter().all(|other| *other == numbers[0]), "a torn message: {numbers:?}");
    numbers[0]
}
