//! The storm's use of a [`Ring`], which is what queues are made of: every message is accounted for, whoever dies.
//!
//! In each round two processes send and two receive, in all the ways there are: copied, in batches, written and read in
//! place. Some receivers wait at a descriptor of the ring. One of them is struck at a random instant, another may be stopped meanwhile. Then the living send and receive
//! what is left. A death counts as inside when it met a call.
//!
//! | must hold | or else |
//! | --- | --- |
//! | a message is received at most once, whole | `broken` |
//! | a message whose sending has returned is received, but for those that a dead receiver had taken | `broken` |
//! | a receiver gets the messages of one sender in their order, if it is the only one | `broken` |
//! | the living have done the rest within ten seconds | `hangs` |

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature::sys::futex::Limit;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::{Child, ExitStatus, Signal, fork};
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};
use ossature::sys::sync::ring::{Participant, Readiness, Ring, RingError};

use crate::blows::{self, Blow};
use crate::kills::{pause, send, started};
use crate::random::Random;
use crate::trial::Trial;
use crate::{PATIENCE, Tally};

/// How many messages a round has.
const MESSAGES: usize = 600;
const SENDERS: usize = 2;
const PARTIES: usize = 4;
/// How long a receiver waits at a descriptor: longer than the round.
const AT_A_DESCRIPTOR: Duration = Duration::from_secs(60);
/// How many messages a receiver can lose by its death: those that it had taken and not noted.
const AT_ONCE: u32 = 1;

shareable! {
    struct Ledger {
        /// The number of the next message.
        next: AtomicU32,
        /// How many messages were received.
        received: AtomicU32,
        /// What became of each: [`BEGUN`], [`SENT`], and [`RECEIVED`] for each time it was received.
        messages: [AtomicU32; MESSAGES],
        /// 1 when a process is ready, 2 while it is in a call.
        states: [AtomicU32; PARTIES],
        broken: AtomicU32,
        /// 1 when nothing more will be sent.
        over: AtomicU32,
    }
}

const BEGUN: u32 = 1;
const SENT: u32 = 2;
const RECEIVED: u32 = 16;

pub struct QueueStorm;

pub fn make() -> Box<dyn Trial> {
    Box::new(QueueStorm)
}

impl Trial for QueueStorm {
    fn play(&mut self, random: &mut Random, tally: &mut Tally) {
        let (ring, ledger) = (Ring::pollable(64 << 10).expect("memory for the storm"), ledger());
        let receivers = 1 + random.below(2) as usize;
        let roles = random.below(u64::MAX);
        let mut parties: Vec<Option<Child>> = (0..SENDERS + receivers)
            .map(|index| Some(started(fork(|| live(&ring, &ledger, index, receivers, roles)))))
            .collect();
        while ledger.states[..parties.len()].iter().any(|state| state.load(SeqCst) == 0) {
            thread::yield_now();
        }
        let doomed = random.below(parties.len() as u64) as usize;
        let stopped = (random.below(4) == 0).then(|| (doomed + 1) % parties.len());
        if let Some(child) = stopped.and_then(|index| parties[index].as_ref()) {
            pause(random);
            send(child, Signal::STOP);
            tally.stops += 1;
        }
        aim(&ledger.states[doomed], random);
        let Some(mut child) = parties[doomed].take() else { return };
        let blow = Blow::any(random);
        let inside = ledger.states[doomed].load(SeqCst) == 2;
        blow.strike(&child);
        // A sender that has sent all ends by itself.
        let exit = child.wait().expect("a child can be waited for");
        let died = exit != ExitStatus::Code(0) || blow == Blow::Exec;
        tally.kills += u32::from(died);
        tally.execs += u32::from(died && blow == Blow::Exec);
        tally.died_inside += u32::from(died && inside);
        if let Some(child) = stopped.and_then(|index| parties[index].as_ref()) {
            send(child, Signal::CONT);
        }
        // Whoever is missing is replaced, so that somebody sends and somebody receives.
        parties.push(Some(started(fork(|| live(&ring, &ledger, doomed, receivers + 1, roles)))));
        let lost = if died && doomed >= SENDERS { AT_ONCE } else { 0 };
        if let Err(what) = settle(&ring, &ledger, &mut parties) {
            tally.hang(what);
        } else if let Err(what) = account(&ledger, lost) {
            tally.broke(what);
        }
    }
}

fn ledger() -> Shm<Ledger> {
    let number = || AtomicU32::new(0);
    Shm::place(Ledger::init(
        number(),
        number(),
        array(|_| AtomicU32::new(0)),
        array(|_| AtomicU32::new(0)),
        number(),
        number(),
    ))
    .expect("memory for the storm")
}

/// Waits a random while. Half of the time the end is put where the doomed one is in a call.
fn aim(state: &AtomicU32, random: &mut Random) {
    let began = Instant::now();
    pause(random);
    while random.below(2) == 0 && state.load(SeqCst) != 2 && began.elapsed() < Duration::from_millis(2) {
        spin_loop();
    }
}

/// Lets the senders end, then the receivers, and ends all of them.
fn settle(ring: &Ring, ledger: &Ledger, parties: &mut [Option<Child>]) -> Result<(), &'static str> {
    let began = Instant::now();
    let mut outcome = Ok(());
    while ledger.next.load(SeqCst) < MESSAGES as u32 || !ring.is_empty().is_ok_and(|empty| empty) {
        if began.elapsed() > PATIENCE {
            outcome = Err("the living do not send and receive what is left");
            break;
        }
        thread::sleep(Duration::from_micros(50));
    }
    ledger.over.store(1, SeqCst);
    ring.close();
    for mut child in parties.iter_mut().filter_map(Option::take) {
        if outcome.is_err() {
            let _ = child.kill();
        }
        match child.wait_timeout(PATIENCE) {
            Ok(Some(_)) => {}
            _ => {
                outcome = Err("a living one does not end when the ring is closed");
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
    outcome
}

/// Whether every message is accounted for. Up to `lost` messages may be missing.
fn account(ledger: &Ledger, lost: u32) -> Result<(), &'static str> {
    if ledger.broken.load(SeqCst) != 0 {
        return Err("a message was torn, or out of order");
    }
    let mut missing = 0;
    for message in &ledger.messages {
        let state = message.load(SeqCst);
        match state / RECEIVED {
            0 if state & SENT != 0 => missing += 1,
            0 | 1 => {}
            _ => return Err("a message was received twice"),
        }
    }
    if missing > lost { Err("a message was lost") } else { Ok(()) }
}

/// The life of one process.
fn live(ring: &Ring, ledger: &Ledger, index: usize, receivers: usize, roles: u64) -> u8 {
    blows::be_ready();
    let Ok(mut user) = ring.join() else { return 1 };
    ledger.states[index].store(1, SeqCst);
    let done = if index < SENDERS {
        send_all(&mut user, ledger, index, roles)
    } else {
        receive_all(&mut user, ledger, index, receivers, roles)
    };
    u8::from(!done)
}

/// A message: its number, who sends it, and as many equal bytes as the number says.
fn message(number: u32, sender: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; 8 + (number as usize * 37) % 900];
    bytes[..4].copy_from_slice(&number.to_ne_bytes());
    bytes[4] = sender as u8;
    bytes
}

fn send_all(user: &mut Participant<&Ring>, ledger: &Ledger, index: usize, roles: u64) -> bool {
    loop {
        let batch = if roles >> index & 1 == 0 { 1 } else { 3 };
        let numbers: Vec<u32> = (0..batch).map(|_| ledger.next.fetch_add(1, SeqCst)).collect();
        let numbers: Vec<u32> = numbers.into_iter().filter(|&number| number < MESSAGES as u32).collect();
        if numbers.is_empty() {
            return true;
        }
        let messages: Vec<Vec<u8>> = numbers.iter().map(|&number| message(number, index)).collect();
        let note = |state| {
            for &number in &numbers {
                ledger.messages[number as usize].fetch_or(state, SeqCst);
            }
        };
        note(BEGUN);
        ledger.states[index].store(2, SeqCst);
        let mut sent = 0;
        while sent < messages.len() {
            sent += match roles >> (8 + index) & 1 {
                0 => user.send_batch(&messages[sent..], PATIENCE).unwrap_or(0),
                _ => match user.reserve(messages[sent].len()) {
                    Ok(mut record) => {
                        record.copy_from_slice(&messages[sent]);
                        usize::from(record.publish().is_ok())
                    }
                    Err(_) => 0,
                },
            };
            if ledger.over.load(SeqCst) != 0 {
                return false;
            }
        }
        ledger.states[index].store(1, SeqCst);
        note(SENT);
    }
}

fn receive_all(user: &mut Participant<&Ring>, ledger: &Ledger, index: usize, receivers: usize, roles: u64) -> bool {
    let mut last = [None; SENDERS];
    let ring: &Ring = user.keeper();
    let readiness = (roles >> (24 + index) & 1 == 0).then(|| Readiness::new(ring).expect("a descriptor"));
    loop {
        ledger.states[index].store(2, SeqCst);
        let received = receive(user, ledger, readiness.is_some(), roles >> (16 + index) & 1 == 0);
        ledger.states[index].store(1, SeqCst);
        let (number, sender) = match (received, &readiness) {
            (Ok(Some(received)), _) => received,
            (Ok(None), Some(readiness)) => {
                if readiness.clear().expect("the descriptor can be cleared") {
                    poll(&mut [PollFd::new(readiness, PollFlags::IN)], AT_A_DESCRIPTOR).expect("it can be waited for");
                }
                continue;
            }
            (Ok(None), None) | (Err(_), _) => return true,
        };
        let in_order = sender < SENDERS && last[sender] < Some(number);
        if receivers == 1 && !in_order {
            ledger.broken.fetch_add(1, SeqCst);
        }
        if sender < SENDERS {
            last[sender] = Some(number);
        }
    }
}

/// Receives one message, copied or in place, and notes it; `None` if there is none and it may not wait.
fn receive(
    user: &mut Participant<&Ring>,
    ledger: &Ledger,
    at_once: bool,
    copied: bool,
) -> Result<Option<(u32, usize)>, RingError> {
    let limit = if at_once { Limit::NOW } else { Limit::NEVER };
    if copied {
        let mut bytes = [0; 1024];
        let received = user.recv_timeout(&mut bytes, limit)?;
        Ok(received.map(|received| note(ledger, &bytes[..received.len])))
    } else {
        Ok(user.read_timeout(limit)?.map(|message| note(ledger, &message)))
    }
}

/// Notes a message that was received, and says its number and its sender.
fn note(ledger: &Ledger, bytes: &[u8]) -> (u32, usize) {
    let number = bytes.first_chunk().map_or(u32::MAX, |number| u32::from_ne_bytes(*number));
    let sender = bytes.get(4).copied().map_or(usize::MAX, usize::from);
    match ledger.messages.get(number as usize) {
        Some(state) if bytes == message(number, sender) => {
            state.fetch_add(RECEIVED, SeqCst);
            ledger.received.fetch_add(1, SeqCst);
        }
        _ => {
            ledger.broken.fetch_add(1, SeqCst);
        }
    }
    (number, sender)
}
