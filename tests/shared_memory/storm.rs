//! Processes that make, open and drop blocks, and are killed at random instants.

use std::time::{Duration, Instant};

use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
use ossature::sys::process::{Child, ExitStatus, fork};
use ossature::sys::random;

use crate::harness::Test;
use crate::lifetime::{next_one, private_names};
use crate::{exists, file, fresh};

pub const TESTS: &[Test] = &[
    ("kills_at_random_leave_no_name_and_take_none", kills_at_random_leave_no_name_and_take_none),
    ("a_kill_at_any_moment_of_a_life_leaves_no_name", a_kill_at_any_moment_of_a_life_leaves_no_name),
];

/// Random numbers that repeat for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const NAMES: u64 = 4;
const PROCESSES: usize = 5;
const KILLS: usize = 300;

/// Runs a process until it is killed: it makes or opens blocks, and checks that its blocks keep their names. Returns
/// only if one did not.
fn live(names: &[String], mut dice: Dice) -> u8 {
    let mut held: Vec<(SharedMemory, u64)> = Vec::new();
    loop {
        let name = &names[dice.roll(NAMES) as usize];
        match dice.roll(4) {
            0 | 1 => {
                let token = dice.roll(u64::MAX) | 1;
                let fill = |it: &ossature::sys::mmap::Region| Ok(it.copy_in(0, &token.to_ne_bytes())?);
                if let Ok(memory) = SharedMemory::builder().name(name).create_with(8, fill) {
                    held.push((memory, token));
                } else if let Ok(memory) = SharedMemory::open(name) {
                    let token = memory.get(0).unwrap();
                    held.push((memory, token));
                }
            }
            2 => drop(ShareableList::new(["a name of CPython's form"])),
            _ if !held.is_empty() => drop(held.swap_remove(dice.roll(held.len() as u64) as usize)),
            _ => {}
        }
        held.truncate(6);
        for (memory, token) in &held {
            // Who looks by the name finds this very block, since it is in use.
            let found = std::fs::read(file(memory.name())).unwrap_or_default();
            if found != token.to_ne_bytes() || *token == 0 {
                eprintln!("{} was taken from a user: {found:?}", memory.name());
                return 1;
            }
        }
    }
}

fn kills_at_random_leave_no_name_and_take_none() {
    let names: Vec<String> = (0..NAMES).map(|_| fresh()).collect();
    let mut seed = [0; 8];
    random::fill(&mut seed).unwrap();
    let seed = u64::from_ne_bytes(seed);
    let mut dice = Dice(seed);
    let start = |dice: &mut Dice| {
        let child = Dice(dice.roll(u64::MAX));
        fork(|| live(&names, child)).unwrap()
    };
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| start(&mut dice)).collect();
    let begin = Instant::now();
    let mut kills = 0;
    while kills < KILLS && begin.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_micros(dice.roll(3000)));
        let index = dice.roll(PROCESSES as u64) as usize;
        children[index].kill().unwrap();
        assert_eq!(children[index].wait(), Ok(ExitStatus::Signal { signal: 9, core_dumped: false }), "seed {seed}");
        kills += 1;
        children[index] = start(&mut dice);
    }
    for mut child in children {
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "seed {seed}");
    }
    next_one();
    let left: Vec<&String> = names.iter().filter(|name| exists(name)).collect();
    assert!(left.is_empty() && private_names().is_empty(), "seed {seed}: {left:?}, {:?}", private_names());
    assert!(kills >= 50, "{kills} kills only");
}

/// One process at a time is killed after a growing delay, so that the kills hit each step of its life.
fn a_kill_at_any_moment_of_a_life_leaves_no_name() {
    let name = fresh();
    let (begin, mut rounds, mut made, mut early) = (Instant::now(), 0, 0, 0);
    while begin.elapsed() < Duration::from_secs(20) && (rounds < 100 || made == 0 || early == 0) {
        let mut child = fork(|| {
            loop {
                drop(SharedMemory::builder().name(&name).create(64));
            }
        })
        .unwrap();
        std::thread::sleep(Duration::from_micros(rounds * 11 % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        rounds += 1;
        if exists(&name) {
            made += 1
        } else {
            early += 1
        }
        next_one();
        assert!(!exists(&name), "in round {rounds}");
    }
    assert!(made > 0 && early > 0, "{made} were killed with the name in place, {early} without");
    assert!(private_names().is_empty());
}
