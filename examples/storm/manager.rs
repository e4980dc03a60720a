//! The storm's use of [`Manager`]: clients and the server die, and are stopped, during calls.
//!
//! Clients take a lock of the server, wait on one of its queues, and make objects there that refer to each other. A
//! round lets them run, kills or stops a client or the server, and tells the others to rest. Then it checks the
//! server's objects.
//!
//! | must hold | or else |
//! | --- | --- |
//! | one client holds the lock at a time, and finds its number as the last holder left it | `broken` |
//! | a client that died as a holder or waiter of the lock blocks no other client | `hangs` |
//! | at rest the server has the objects of the storm and no other, and each has the references of the living | `broken` |
//! | after the death of the server every call soon returns an error, including waiting calls | `hangs` |
//! | the calls of the clients go through shared memory | `broken` |
//! | a call returns an error only after the death of the server | `broken` |
//!
//! A death counts as inside when the client, or a client of the server, waited or held the lock.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::managers::{ListProxy, LockProxy, QueueProxy, ValueProxy};
use ossature::multiprocessing::{Context, Manager, Process};
use ossature::sys::process::{Signal, set_parent_death_signal};
use ossature::sys::shm::Shm;

use crate::kills::pause;
use crate::random::Random;
use crate::trial::Trial;
use crate::{Counts, PATIENCE};

const CLIENTS: usize = 3;
/// The number of objects that the storm itself has on the server.
const OBJECTS: u64 = 3;

// The places of the board.
/// Above zero while the clients may begin turns.
const OPEN: usize = 0;
/// The holder of the lock: the number of the client plus one.
const HOLDER: usize = 1;
/// The number that the lock protects, as its last holder left it.
const SUM: usize = 2;
const BROKEN: usize = 3;
/// The client that is being killed: its number plus one.
const DOOMED: usize = 4;
/// The phase of the first client; those of the others follow.
const PHASE: usize = 5;

const STARTING: u32 = 0;
const RESTING: u32 = 1;
const CALLING: u32 = 2;
const WAITING: u32 = 3;
const HOLDING: u32 = 4;
/// The server has ended.
const LOST: u32 = 5;

type Board = Shm<[AtomicU32]>;

/// A server with its objects and clients.
struct Scene {
    clients: Vec<Process>,
    objects: Objects,
    manager: Manager,
}

struct Objects {
    lock: LockProxy,
    queue: QueueProxy<u32>,
    total: ValueProxy<u32>,
}

struct ManagerStorm {
    board: Board,
    scene: Option<Scene>,
}

pub fn make() -> Box<dyn Trial> {
    // A server without an address is in the folder of its process, which stays open for the life of the process.
    ossature::multiprocessing::util::temp_dir().expect("a folder for the storm");
    let board = Shm::place_slice(PHASE + CLIENTS, |_| AtomicU32::new(0)).expect("memory for the storm");
    Box::new(ManagerStorm { board, scene: None })
}

// ---- a client -----------------------------------------------------------------------------------------------------

/// Takes turns until it is killed.
fn client(board: &Board, number: usize, scene: &Objects, manager: &Manager, seed: u64) -> u8 {
    if set_parent_death_signal(Some(Signal::KILL)).is_err() {
        return 1;
    }
    let mut random = Random::new(seed);
    let says = |phase| board[PHASE + number].store(phase, SeqCst);
    if matches!(manager.shares_memory(), Ok(false)) {
        eprintln!("storm: a client's calls do not use shared memory");
        board[BROKEN].fetch_add(1, SeqCst);
    }
    // From here on it has references of its own.
    let mut ended = scene.lock.locked().and(scene.queue.qsize()).and(scene.total.get()).map(drop);
    loop {
        match &ended {
            Ok(()) => says(RESTING),
            Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Os) => break,
            Err(error) => {
                eprintln!("storm: a call failed: {error}");
                board[BROKEN].fetch_add(1, SeqCst);
            }
        }
        while board[OPEN].load(SeqCst) == 0 {
            thread::sleep(Duration::from_micros(50));
        }
        says(CALLING);
        ended = turn(board, number, scene, manager, &mut random);
    }
    says(LOST);
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn turn(
    board: &Board,
    number: usize,
    Objects { lock, queue, total }: &Objects,
    manager: &Manager,
    random: &mut Random,
) -> ossature::Result<()> {
    let says = |phase| board[PHASE + number].store(phase, SeqCst);
    let broke = |what: &str| {
        eprintln!("storm: {what}");
        board[BROKEN].fetch_add(1, SeqCst);
    };
    match random.below(8) {
        0..=3 => {
            says(WAITING);
            lock.acquire()?;
            says(HOLDING);
            let before = board[HOLDER].swap(number as u32 + 1, SeqCst);
            if before != 0 && before != board[DOOMED].load(SeqCst) {
                broke("two clients hold the lock");
            }
            let (sum, known) = (total.get()?, board[SUM].load(SeqCst));
            // One that died had changed the one and not yet the other.
            if sum != known && sum != known + 1 {
                broke("the number under the lock is not as the last holder left it");
            }
            total.set(&(sum + 1))?;
            board[SUM].store(sum + 1, SeqCst);
            board[HOLDER].store(0, SeqCst);
            says(CALLING);
            lock.release()
        }
        4 => {
            says(WAITING);
            queue.get().map(drop)
        }
        5 => queue.put(&(number as u32)),
        _ => {
            let inner = manager.list([1, 2, 3])?;
            let outer = manager.list([inner.clone()])?;
            drop(inner);
            let found: Option<ListProxy<i32>> = outer.get(0)?;
            match found {
                Some(found) if found.len()? == 3 => Ok(()),
                _ => {
                    broke("an object that another one refers to is missing");
                    Ok(())
                }
            }
        }
    }
}

// ---- the storm ----------------------------------------------------------------------------------------------------

/// Whether `what` becomes true before the patience ends.
fn becomes(mut what: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !what() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    true
}

impl Trial for ManagerStorm {
    fn play(&mut self, random: &mut Random, counts: &mut Counts) {
        let broken = self.board[BROKEN].load(SeqCst);
        let mut scene = match self.scene.take() {
            Some(scene) => scene,
            None => self.begin(random),
        };
        if !becomes(|| (0..CLIENTS).all(|number| self.phase(number) == RESTING)) {
            return counts.hang("a client cannot connect to the server");
        }
        self.board[OPEN].store(1, SeqCst);
        let goes_on = match random.below(12) {
            0 => self.strike_server(&mut scene, random, counts),
            1 => self.stop_server(&scene, random, counts),
            _ => self.strike_client(&mut scene, random, counts),
        };
        counts.broken += self.board[BROKEN].load(SeqCst) - broken;
        if goes_on {
            self.scene = Some(scene);
        } else {
            end(scene);
        }
    }
}

impl Drop for ManagerStorm {
    fn drop(&mut self) {
        self.scene.take().into_iter().for_each(end);
    }
}

fn end(scene: Scene) {
    for client in &scene.clients {
        let _ = client.kill(); // it may have been killed before
        let _ = client.join_timeout(PATIENCE);
    }
}

impl ManagerStorm {
    fn phase(&self, number: usize) -> u32 {
        self.board[PHASE + number].load(SeqCst)
    }

    fn is_inside(&self, number: usize) -> bool {
        [WAITING, HOLDING].contains(&self.phase(number))
    }

    /// Starts another server, with clients.
    fn begin(&self, random: &mut Random) -> Scene {
        self.board.iter().take(BROKEN).for_each(|place| place.store(0, SeqCst));
        let key = AuthKey::random().expect("randomness for the storm");
        let manager = Manager::builder().authkey(&key).start(Context::Fork).expect("the server starts");
        let made = manager.lock().and_then(|lock| Ok((lock, manager.queue(0)?, manager.value("I", &0)?)));
        let (lock, queue, total) = made.expect("the server creates objects");
        let objects = Objects { lock, queue, total };
        let clients = (0..CLIENTS).map(|number| self.start(number, &objects, &manager, random)).collect();
        Scene { clients, objects, manager }
    }

    fn start(&self, number: usize, objects: &Objects, manager: &Manager, random: &mut Random) -> Process {
        self.board[PHASE + number].store(STARTING, SeqCst);
        let (board, seed) = (&self.board, random.below(u64::MAX >> 11));
        Process::fork(|| client(board, number, objects, manager, seed)).unwrap_or_else(|error| {
            eprintln!("storm: cannot start a client: {error}");
            std::process::exit(2)
        })
    }

    /// Lets the clients run for a random time. Half of the time it ends when the client waits or holds.
    fn wait_a_while(&self, number: usize, random: &mut Random) {
        let began = Instant::now();
        pause(random);
        let meets = random.below(2) == 0;
        while meets && !self.is_inside(number) && began.elapsed() < Duration::from_millis(20) {
            thread::yield_now();
        }
    }

    fn strike_client(&self, scene: &mut Scene, random: &mut Random, counts: &mut Counts) -> bool {
        let victim = random.below(CLIENTS as u64) as usize;
        let stopped = (random.below(4) == 0).then_some((victim + 1) % CLIENTS);
        self.wait_a_while(victim, random);
        if let Some(stopped) = stopped {
            let _ = scene.clients[stopped].signal(Signal::STOP); // it lives until it is struck
        }
        self.board[DOOMED].store(victim as u32 + 1, SeqCst);
        scene.clients[victim].kill().expect("the client can be killed");
        scene.clients[victim].join_timeout(PATIENCE).expect("the client can be joined");
        counts.kills += 1;
        counts.died_inside += u32::from(self.is_inside(victim));
        if let Some(stopped) = stopped {
            pause(random);
            let _ = scene.clients[stopped].signal(Signal::CONT);
            counts.stops += 1;
        }
        let living: Vec<usize> = (0..CLIENTS).filter(|number| *number != victim).collect();
        if !self.rest(scene, &living, counts) {
            return false;
        }
        let _ = self.board[HOLDER].compare_exchange(victim as u32 + 1, 0, SeqCst, SeqCst);
        self.board[DOOMED].store(0, SeqCst);
        scene.clients[victim] = self.start(victim, &scene.objects, &scene.manager, random);
        true
    }

    fn stop_server(&self, scene: &Scene, random: &mut Random, counts: &mut Counts) -> bool {
        pause(random);
        let server = scene.manager.process().expect("the server is a child of the storm");
        server.signal(Signal::STOP).expect("the server can be stopped");
        thread::sleep(Duration::from_micros(random.below(20_000)));
        server.signal(Signal::CONT).expect("the server can continue");
        counts.stops += 1;
        self.rest(scene, &(0..CLIENTS).collect::<Vec<_>>(), counts)
    }

    /// Kills the server, after which every call ends.
    fn strike_server(&self, scene: &mut Scene, random: &mut Random, counts: &mut Counts) -> bool {
        self.wait_a_while(random.below(CLIENTS as u64) as usize, random);
        let server = scene.manager.process().expect("the server is a child of the storm");
        server.kill().expect("the server can be killed");
        server.join_timeout(PATIENCE).expect("the server can be joined");
        counts.kills += 1;
        counts.died_inside += u32::from((0..CLIENTS).any(|number| self.is_inside(number)));
        if !becomes(|| (0..CLIENTS).all(|number| self.phase(number) == LOST)) {
            let phases: Vec<_> = (0..CLIENTS).map(|number| self.phase(number)).collect();
            counts.hang(&format!("a call does not end with its server: {phases:?}"));
        }
        self.board[OPEN].store(0, SeqCst);
        false
    }

    /// Lets the living clients come to rest, and checks the objects of the server.
    fn rest(&self, Scene { objects, manager, .. }: &Scene, living: &[usize], counts: &mut Counts) -> bool {
        self.board[OPEN].store(0, SeqCst);
        let failed = |error: ossature::Error| -> bool {
            eprintln!("storm: a call of the storm failed: {error}");
            self.board[BROKEN].fetch_add(1, SeqCst);
            false
        };
        // Who waits at the queue gets something.
        let resting = becomes(|| {
            living.iter().all(|number| self.phase(*number) == RESTING) || objects.queue.put(&0).is_err_and(failed)
        });
        if !resting {
            let phases: Vec<_> = living.iter().map(|number| self.phase(*number)).collect();
            counts.hang(&format!("the living clients do not come to rest: {phases:?}, {:?}", manager.debug_info()));
            return false;
        }
        match objects.lock.acquire_timeout(PATIENCE) {
            Ok(true) => {}
            Ok(false) => {
                counts.hang("a dead client still holds the lock");
                return false;
            }
            Err(error) => return failed(error),
        }
        // Nobody else has the lock. The dead one may have changed the one number and not yet the other. From here on
        // they agree, so that the next one to die leaves a difference of one again.
        match objects.total.get() {
            Ok(sum) => {
                let known = self.board[SUM].swap(sum, SeqCst);
                if sum != known && sum != known + 1 {
                    counts.broke(&format!("the number under the lock is {sum}, but its last holder left {known}"));
                }
            }
            Err(error) => return failed(error),
        }
        let emptied = objects.lock.release().and_then(|()| {
            while objects.queue.get_timeout(Duration::ZERO)?.is_some() {}
            Ok(())
        });
        if let Err(error) = emptied {
            return failed(error);
        }
        let wanted = 1 + living.len() as u64;
        let is_whole = || {
            let all = manager.objects();
            all.is_ok_and(|all| all.len() as u64 == OBJECTS && all.iter().all(|it| it.references == wanted))
        };
        if !becomes(is_whole) {
            counts.broke(&format!(
                "expected {wanted} references to each of {OBJECTS} objects, found {:?}",
                manager.debug_info()
            ));
            return false;
        }
        true
    }
}
