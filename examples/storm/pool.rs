//! The storm's use of [`Pool`]: workers and supervisors die, and are stopped, while they run calls.
//!
//! A round submits calls, kills or stops once, and takes every result. Each call records its start in shared memory.
//! A round is an `imap` or a `map`. Every fourth call of an `imap` has a descriptor among its arguments, and returns
//! it. A `map` has more chunks than the pool has room for, so that its list is cut while workers die.
//!
//! | must hold | or else |
//! | --- | --- |
//! | every call ends once, with its own value or as `WorkerDied` | `broken` |
//! | no call begins more than once, and a call with a value has begun | `broken` |
//! | in a `map` every call begins once, but those that a kill has met before their first line | `broken` |
//! | a kill ends at most the calls that were running | `broken` |
//! | after the pool's end, no sent descriptor is open in this process or in one of the pool's | `broken` |
//! | every result arrives within ten seconds of the one before | `hangs` |
//!
//! A death counts as inside when a call ended by it.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use ossature::ErrorKind;
use ossature::multiprocessing::transfer::{Handle, Memory};
use ossature::multiprocessing::{Context, Pool, active_children};
use ossature::sys::process::{Pid, Signal, group_of, pidfd_open, pidfd_send_signal};
use ossature::sys::shm::Shm;

use crate::random::Random;
use crate::trial::Trial;
use crate::{Counts, PATIENCE};

/// The number of calls of an `imap`.
const CALLS: u32 = 64;
/// The number of calls of a `map`, more than a pool of this size has slots for chunks.
const MANY: u32 = 3000;
/// How long a stopped worker stays stopped after the last result that arrives without it.
const MOMENT: Duration = Duration::from_millis(20);
/// The number of workers.
const WORKERS: usize = 3;

/// The number of starts of each call, followed by the process id of each running call.
type Notes = Shm<[AtomicU32]>;

static NOTES: OnceLock<Notes> = OnceLock::new();

/// The initializer of the workers.
pub fn set_up(notes: Memory<[AtomicU32]>) {
    let _ = NOTES.set(notes.0); // the one time in a process
}

/// The argument of a call: its number, its duration, the length of the reply, and a descriptor if it has one.
type Item = (u32, u32, u32, Option<Handle<UnixStream>>);
/// The result of a call: its number, the bytes, and the descriptor.
type Answer = (u32, Vec<u8>, Option<Handle<UnixStream>>);

/// Runs a call: records its start, takes some time, and returns its number, `length` bytes, and the descriptor it
/// received.
pub fn call((number, micros, length, sent): Item) -> Answer {
    let Some(notes) = NOTES.get() else { return (u32::MAX, Vec::new(), None) };
    notes[number as usize].fetch_add(1, SeqCst);
    let running = &notes[(MANY + number) as usize];
    running.store(std::process::id(), SeqCst);
    let until = Instant::now() + Duration::from_micros(micros.into());
    while Instant::now() < until {
        core::hint::spin_loop();
    }
    running.store(0, SeqCst);
    (number, bytes(number, length), sent)
}

/// The bytes of the reply to a number.
fn bytes(number: u32, length: u32) -> Vec<u8> {
    (0..length).map(|at| (at ^ number) as u8).collect()
}

struct PoolStorm {
    notes: Notes,
    pool: Option<Pool>,
    /// The end whose copies are sent, and the other end.
    witness: (UnixStream, UnixStream),
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("descriptors for the storm")
}

pub fn make() -> Box<dyn Trial> {
    let notes = Shm::place_slice(2 * MANY as usize, |_| AtomicU32::new(0)).expect("memory for the storm");
    Box::new(PoolStorm { notes, pool: None, witness: pair() })
}

impl Trial for PoolStorm {
    fn play(&mut self, random: &mut Random, counts: &mut Counts) {
        if random.below(64) == 0 {
            self.pool = None; // its end, and the beginning of another, are part of the storm
            let (sent, _other) = std::mem::replace(&mut self.witness, pair());
            let name = name_of(sent.as_raw_fd());
            drop(sent);
            let began = Instant::now();
            while is_open_below(&name) {
                if began.elapsed() > PATIENCE {
                    counts.broke("a sent descriptor is still open");
                    break;
                }
                std::thread::yield_now();
            }
        }
        let notes = &self.notes;
        notes.iter().for_each(|note| note.store(0, SeqCst));
        let pool = self.pool.get_or_insert_with(|| {
            let notes = Memory(notes.try_clone().expect("memory can be mapped again"));
            let builder = Pool::builder().workers(WORKERS).context(Context::Fork);
            builder.initializer(set_up, (notes,)).and_then(|builder| builder.build()).expect("a pool starts")
        });
        match random.below(2) {
            0 => map(pool, notes, random, counts),
            _ => imap(pool, notes, &self.witness.0, random, counts),
        }
    }
}

/// Plays a round with an `imap`.
fn imap(pool: &Pool, notes: &Notes, witness: &UnixStream, random: &mut Random, counts: &mut Counts) {
    let micros = random.below(300) as u32;
    // Now and then longer than what a worker tells in one piece.
    let length = if random.below(8) == 0 { 40_000 + random.below(100_000) as u32 } else { 0 };
    let chunksize = 1 + random.below(7) as usize;
    let view = pool.chunksize(chunksize).expect("more than none").lookahead(2 * CALLS as usize);
    let sent = |number| {
        let copy = || Handle(witness.try_clone().expect("descriptors for the storm"));
        (number % 4 == 0).then(copy)
    };
    let items = (0..CALLS).map(|number| (number, micros, length, sent(number)));
    let mut results = view.imap(call, items).expect("the pool accepts calls");
    crate::kills::pause(random);
    let mut stopped = strike(notes, random, counts);
    let mut died = 0;
    for number in 0..CALLS {
        // The others go on beside a stopped worker; its own calls come only once it goes on.
        let mut result = results.next_timeout(if stopped.is_some() { MOMENT } else { PATIENCE });
        if let (Some(Ok(None)), Some(pid)) = (&result, stopped) {
            signal(pid, Signal::CONT);
            stopped = None;
            result = results.next_timeout(PATIENCE);
        }
        match result {
            Some(Ok(Some((value, with, sent))))
                if value == number && with == bytes(number, length) && sent.is_some() == (number % 4 == 0) =>
            {
                if notes[number as usize].load(SeqCst) != 1 {
                    counts.broke("a call returned a value but did not begin exactly once");
                }
            }
            Some(Err(error)) if error.kind() == ErrorKind::WorkerDied => died += 1,
            Some(Ok(None)) => return counts.hang("a result is missing"),
            Some(Ok(Some((value, with, sent)))) => {
                let (with, sent) = (with.len(), sent.is_some());
                counts.broke(&format!(
                    "call {number} ended with {value}, {with} bytes, not {length}, and a file: {sent}"
                ));
            }
            other => counts.broke(&format!("call {number} ended with {other:?}")),
        }
        if notes[number as usize].load(SeqCst) > 1 {
            counts.broke("a call began more than once");
        }
    }
    stopped.iter().for_each(|pid| signal(*pid, Signal::CONT));
    if results.next().is_some() {
        counts.broke("there are more results than calls");
    }
    if died > WORKERS {
        counts.broke("a fault ended more calls than were running");
    }
    counts.died_inside += u32::from(died > 0);
}

/// Plays a round with a `map`.
fn map(pool: &Pool, notes: &Notes, random: &mut Random, counts: &mut Counts) {
    let micros = random.below(20) as u32;
    let chunksize = 1 + random.below(7) as usize;
    let view = pool.chunksize(chunksize).expect("more than none");
    let items = (0..MANY).map(|number| (number, micros, number % 5, None));
    let mut results = view.map_async(call, items).expect("the pool accepts calls");
    crate::kills::pause(random);
    let stopped = strike(notes, random, counts);
    let mut got = results.get_timeout(if stopped.is_some() { MOMENT } else { PATIENCE });
    stopped.iter().for_each(|pid| signal(*pid, Signal::CONT));
    if let (Ok(None), Some(_)) = (&got, stopped) {
        got = results.get_timeout(PATIENCE);
    }
    let begun = |times: u32| notes[..MANY as usize].iter().filter(|note| note.load(SeqCst) == times).count();
    let missed = begun(0);
    if missed + begun(1) < MANY as usize {
        counts.broke("a call of a map began more than once");
    }
    match got {
        Ok(Some(answers)) => {
            let expected = (0..MANY).map(|number| (number, bytes(number, number % 5)));
            if !answers.into_iter().map(|(number, with, _)| (number, with)).eq(expected) || missed > 0 {
                counts.broke("a map returned other values than those of its calls");
            }
        }
        Ok(None) => counts.hang("the result of a map is missing"),
        Err(error) if error.kind() == ErrorKind::WorkerDied => {
            counts.died_inside += 1;
            if missed > WORKERS {
                counts.broke("a fault ended more calls of a map than were running");
            }
        }
        Err(error) => counts.broke(&format!("a map ended with {error}")),
    }
}

/// Kills a worker that runs a call, the supervisor, or all at once; or stops a worker or the supervisor and returns it.
fn strike(notes: &Notes, random: &mut Random, counts: &mut Counts) -> Option<u32> {
    let supervisor = || active_children().into_iter().find(|child| child.name() == "PoolSupervisor");
    if random.below(8) == 0 {
        let supervisor = supervisor()?;
        let pid = supervisor.pid().map(|pid| pid.as_raw_nonzero().get() as u32)?;
        match random.below(4) {
            0 => {
                signal(pid, Signal::STOP);
                counts.stops += 1;
                return Some(pid);
            }
            1 => {
                // All of them, before one hears of the end of another.
                let family = children_of(pid);
                signal(pid, Signal::STOP);
                family.iter().for_each(|pid| signal(*pid, Signal::KILL));
                let _ = supervisor.kill(); // it is a child of this process, and alive
                counts.kills += 1 + family.len() as u32;
            }
            _ => {
                let _ = supervisor.kill(); // as above
                counts.kills += 1;
            }
        }
        return None;
    }
    let running: Vec<u32> =
        notes[MANY as usize..].iter().map(|note| note.load(SeqCst)).filter(|pid| *pid != 0).collect();
    let victim = *running.get(random.below(running.len().max(1) as u64) as usize)?;
    if random.below(64) == 0 {
        signal(victim, Signal::STOP);
        counts.stops += 1;
        return Some(victim);
    }
    signal(victim, Signal::KILL);
    counts.kills += 1;
    None
}

fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Ok(pidfd) = pidfd_open(pid) {
        let _ = pidfd_send_signal(&pidfd, signal); // it has ended meanwhile
    }
}

/// The kernel's name of the socket at a descriptor, which is unique.
fn name_of(descriptor: RawFd) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}")).expect("an open descriptor has a name")
}

/// Whether this process, a supervisor or a worker has the socket. A process that another trial forked meanwhile has
/// inherited the socket too, but leads its own process group: such a process does not count.
fn is_open_below(name: &Path) -> bool {
    let has = |pid: u32| {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link == name))
    };
    let id = std::process::id();
    let of_the_pool = |pid: &u32| group_of(i32::try_from(*pid).ok().and_then(Pid::from_raw)) == group_of(None);
    let children = children_of(id).into_iter().filter(of_the_pool);
    let workers: Vec<_> = children.flat_map(|child| [vec![child], children_of(child)].concat()).collect();
    has(id) || workers.into_iter().any(has)
}

/// The children of all threads of a process.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let text = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let text: Vec<_> = threads.flatten().map(text).collect();
    text.iter().flat_map(|text| text.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}
