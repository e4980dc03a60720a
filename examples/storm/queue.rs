//! The storm's use of a [`Ring`], which queues are built on: every message is accounted for, whichever process dies.
//!
//! In each round two processes send and two receive, in all available ways: copied, in batches, written and read in
//! place. Some receivers wait at a descriptor of the ring. In every third round a third of the messages are packets,
//! each with a descriptor. One process is killed at a random instant, or all of them at once as one process group;
//! another may be stopped. Then the living processes send and receive what is left. A death counts as inside when it
//! interrupted a call.
//!
//! | must hold | or else |
//! | --- | --- |
//! | a message is received at most once, whole | `broken` |
//! | a message whose send has returned is received, unless a dead receiver had taken it | `broken` |
//! | a receiver gets the messages of a sender in order, if it is the only receiver | `broken` |
//! | once all processes have ended, no sent descriptor is open | `broken` |
//! | the living processes finish within ten seconds | `hangs` |

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use ossature::sys::fd::AsFd;
use ossature::sys::futex::Limit;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::{Child, ExitStatus, Signal, fork, set_group, signal_group};
use ossature::sys::shareable;
use ossature::sys::shm::{Shm, array};
use ossature::sys::sync::ring::{Packets, Participant, Readiness, Ring, RingError};

use crate::blows::{self, Blow};
use crate::kills::{pause, send, started};
use crate::random::Random;
use crate::trial::Trial;
use crate::{Counts, PATIENCE};

/// The number of messages of a round.
const MESSAGES: usize = 600;
const SENDERS: usize = 2;
const PARTIES: usize = 4;
/// The timeout of a receiver that waits at a descriptor: longer than the round.
const AT_A_DESCRIPTOR: Duration = Duration::from_secs(60);
/// The number of messages that a receiver can lose by its death: those received but not yet recorded.
const AT_ONCE: u32 = 1;

shareable! {
    struct Ledger {
        /// The number of the next message.
        next: AtomicU32,
        /// The number of received messages.
        received: AtomicU32,
        /// The state of each message: [`BEGUN`], [`SENT`], and [`RECEIVED`] for each receive.
        messages: [AtomicU32; MESSAGES],
        /// 1 when a process is ready, 2 while it is in a call.
        states: [AtomicU32; PARTIES],
        broken: AtomicU32,
        /// 1 when no more messages follow.
        over: AtomicU32,
    }
}

const BEGUN: u32 = 1;
const SENT: u32 = 2;
const RECEIVED: u32 = 16;

/// The way in which packets are sent, and their attachments.
#[derive(Clone, Copy)]
struct Way<'s> {
    packets: &'s Packets,
    sent: &'s UnixStream,
}

/// The state that all processes of a round share.
#[derive(Clone, Copy)]
struct Scene<'s> {
    ring: &'s Ring,
    ledger: &'s Ledger,
    way: Option<Way<'s>>,
    roles: u64,
}

pub struct QueueStorm;

pub fn make() -> Box<dyn Trial> {
    Box::new(QueueStorm)
}

impl Trial for QueueStorm {
    fn play(&mut self, random: &mut Random, counts: &mut Counts) {
        let (ring, ledger) = (Ring::pollable(64 << 10).expect("memory for the storm"), ledger());
        let (sent, mut kept) = UnixStream::pair().expect("descriptors for the storm");
        let packets = (random.below(3) == 0).then(|| Packets::new().expect("descriptors for the storm"));
        let way = packets.as_ref().map(|packets| Way { packets, sent: &sent });
        let receivers = 1 + random.below(2) as usize;
        let roles = random.below(u64::MAX);
        let scene = Scene { ring: &ring, ledger: &ledger, way, roles };
        let start = |index, receivers| Some(started(fork(|| live(scene, index, receivers))));
        let mut parties: Vec<Option<Child>> = (0..SENDERS + receivers).map(|index| start(index, receivers)).collect();
        while ledger.states[..parties.len()].iter().any(|state| state.load(SeqCst) == 0) {
            thread::yield_now();
        }
        let doomed = random.below(parties.len() as u64) as usize;
        let lost = if random.below(8) == 0 {
            strike_all(&ledger, &mut parties, random, counts);
            for index in 0..SENDERS + receivers {
                parties.push(start(index, receivers + receivers));
            }
            receivers as u32 * AT_ONCE
        } else {
            let Some(lost) = strike_one(&ledger, &mut parties, doomed, random, counts) else { return };
            // Whoever is missing is replaced, so that somebody sends and somebody receives.
            parties.push(start(doomed, receivers + 1));
            lost
        };
        if let Err(what) = settle(&ring, &ledger, &mut parties) {
            counts.hang(what);
        } else if let Err(what) = account(&ledger, lost) {
            counts.broke(what);
        }
        // The packets of the dead end with the sockets.
        let with_descriptors = way.is_some();
        drop(packets);
        drop(sent);
        let _ = kept.set_read_timeout(Some(PATIENCE));
        if with_descriptors && !matches!(kept.read(&mut [0; 1]), Ok(0)) {
            counts.broke("a sent descriptor is still open");
        }
    }
}

/// Kills one process, while another may be stopped. Returns the number of messages that may be lost.
fn strike_one(
    ledger: &Ledger,
    parties: &mut [Option<Child>],
    doomed: usize,
    random: &mut Random,
    counts: &mut Counts,
) -> Option<u32> {
    let stopped = (random.below(4) == 0).then(|| (doomed + 1) % parties.len());
    if let Some(child) = stopped.and_then(|index| parties[index].as_ref()) {
        pause(random);
        send(child, Signal::STOP);
        counts.stops += 1;
    }
    aim(&ledger.states[doomed], random);
    let mut child = parties[doomed].take()?;
    let blow = Blow::any(random);
    let inside = ledger.states[doomed].load(SeqCst) == 2;
    blow.strike(&child);
    // A sender that has sent all ends by itself.
    let exit = child.wait().expect("the child can be waited for");
    let died = exit != ExitStatus::Code(0) || blow == Blow::Exec;
    counts.kills += u32::from(died);
    counts.execs += u32::from(died && blow == Blow::Exec);
    counts.died_inside += u32::from(died && inside);
    if let Some(child) = stopped.and_then(|index| parties[index].as_ref()) {
        send(child, Signal::CONT);
    }
    Some(if died && doomed >= SENDERS { AT_ONCE } else { 0 })
}

/// Kills all processes at one instant, as a process group.
fn strike_all(ledger: &Ledger, parties: &mut [Option<Child>], random: &mut Random, counts: &mut Counts) {
    let Some(group) = parties.first().and_then(Option::as_ref).map(Child::pid) else { return };
    for child in parties.iter().flatten() {
        let _ = set_group(Some(child.pid()), Some(group)); // one that has ended needs none
    }
    pause(random);
    let inside = ledger.states[..parties.len()].iter().filter(|state| state.load(SeqCst) == 2).count() as u32;
    let _ = signal_group(group, Signal::KILL); // as above
    let mut died = 0;
    for mut child in parties.iter_mut().filter_map(Option::take) {
        let _ = child.kill(); // one that could not join the group
        died += u32::from(child.wait().expect("the child can be waited for") != ExitStatus::Code(0));
    }
    counts.kills += died;
    counts.died_inside += inside.min(died);
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

/// Waits a random time. Half of the time the wait ends when the doomed process is in a call.
fn aim(state: &AtomicU32, random: &mut Random) {
    let began = Instant::now();
    pause(random);
    while random.below(2) == 0 && state.load(SeqCst) != 2 && began.elapsed() < Duration::from_millis(2) {
        spin_loop();
    }
}

/// Lets the senders end, then the receivers, and reaps all of them.
fn settle(ring: &Ring, ledger: &Ledger, parties: &mut [Option<Child>]) -> Result<(), &'static str> {
    let began = Instant::now();
    let mut outcome = Ok(());
    while ledger.next.load(SeqCst) < MESSAGES as u32 || !ring.is_empty().is_ok_and(|empty| empty) {
        if began.elapsed() > PATIENCE {
            outcome = Err("the living processes do not send and receive what is left");
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
                outcome = Err("a living process does not end when the ring is closed");
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

/// Runs one process until its end.
fn live(scene: Scene<'_>, index: usize, receivers: usize) -> u8 {
    blows::be_ready();
    let Ok(mut user) = scene.ring.join() else { return 1 };
    scene.ledger.states[index].store(1, SeqCst);
    let done = if index < SENDERS {
        send_all(&mut user, scene, index)
    } else {
        receive_all(&mut user, scene, index, receivers)
    };
    u8::from(!done)
}

/// A message: its number, its sender, and a run of equal bytes whose length depends on the number.
fn message(number: u32, sender: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; 8 + (number as usize * 37) % 900];
    bytes[..4].copy_from_slice(&number.to_ne_bytes());
    bytes[4] = sender as u8;
    bytes
}

fn send_all(user: &mut Participant<&Ring>, scene: Scene<'_>, index: usize) -> bool {
    let Scene { ledger, roles, way, .. } = scene;
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
            let with_descriptor = way.filter(|_| numbers[sent] % 3 == 0);
            sent += match roles >> (8 + index) & 1 {
                _ if with_descriptor.is_some_and(|way| {
                    let sends = user.send_packet(way.packets, &messages[sent], &[way.sent.as_fd()], 0, PATIENCE);
                    sends == Ok(true)
                }) =>
                {
                    1
                }
                _ if with_descriptor.is_some() => 0,
                _ if way.is_some() => usize::from(user.send_timeout(&messages[sent], PATIENCE).unwrap_or(false)),
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

fn receive_all(user: &mut Participant<&Ring>, scene: Scene<'_>, index: usize, receivers: usize) -> bool {
    let Scene { ledger, roles, way, .. } = scene;
    let mut last = [None; SENDERS];
    let ring: &Ring = user.keeper();
    let readiness = (roles >> (24 + index) & 1 == 0).then(|| Readiness::new(ring).expect("a descriptor"));
    let mut bytes = vec![0; Packets::BUFFER];
    loop {
        ledger.states[index].store(2, SeqCst);
        let limit = if readiness.is_some() { Limit::NOW } else { Limit::NEVER };
        let received = match way {
            Some(way) => receive_packet(user, ledger, way, &mut bytes, limit),
            None => receive(user, ledger, limit, roles >> (16 + index) & 1 == 0),
        };
        ledger.states[index].store(1, SeqCst);
        let (number, sender) = match (received, &readiness) {
            (Ok(Some(received)), _) => received,
            (Ok(None), Some(readiness)) => {
                if readiness.clear().expect("the descriptor can be reset") {
                    poll(&mut [PollFd::new(readiness, PollFlags::IN)], AT_A_DESCRIPTOR)
                        .expect("the descriptor can be waited for");
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

/// Receives one message, copied or in place, and records it; `None` if there is none and `receive` may not wait.
fn receive(
    user: &mut Participant<&Ring>,
    ledger: &Ledger,
    limit: Limit<'_>,
    copied: bool,
) -> Result<Option<(u32, usize)>, RingError> {
    if copied {
        let mut bytes = [0; 1024];
        let received = user.recv_timeout(&mut bytes, limit)?;
        Ok(received.map(|received| note(ledger, &bytes[..received.len])))
    } else {
        Ok(user.read_timeout(limit)?.map(|message| note(ledger, &message)))
    }
}

/// Receives one message where packets may arrive: each packet has one descriptor, and other messages have none.
fn receive_packet(
    user: &mut Participant<&Ring>,
    ledger: &Ledger,
    way: Way<'_>,
    bytes: &mut [u8],
    limit: Limit<'_>,
) -> Result<Option<(u32, usize)>, RingError> {
    let mut parcel = None;
    let Some(received) = user.recv_packet(way.packets, bytes, &mut parcel, limit)? else { return Ok(None) };
    let noted = note(ledger, &bytes[..received.len]);
    let count = parcel.map_or(0, |parcel| parcel.descriptors.len());
    if count != usize::from(noted.0 % 3 == 0) {
        ledger.broken.fetch_add(1, SeqCst);
    }
    Ok(Some(noted))
}

/// Records a received message, and returns its number and its sender.
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
