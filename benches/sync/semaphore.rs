//! Acquire and release of a free unit, in a process that has had a second thread. Also the acquire of a single unit by
//! many contending processes.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem::MaybeUninit;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::parties::Parties;
use ossature_benches::report::Bar;
use ossature_benches::rounds::{Rounds, Samples};
use ossature_sys::scope::Shared;
use ossature_sys::shm::Shm;
use ossature_sys::sync::semaphore::Semaphore;

use crate::robust_unit::{Here, RobustUnit};

/// `sem_t` in memory that processes share.
pub struct PosixSemaphore(UnsafeCell<libc::sem_t>);

// SAFETY: a semaphore is made to be used by many threads.
unsafe impl Sync for PosixSemaphore {}

impl PosixSemaphore {
    pub fn shared(value: u32) -> &'static Self {
        // SAFETY: sem_t is plain C data, for which zero bytes are a value; `sem_init` makes it a semaphore.
        let place = machine::shared(Self(UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() })));
        // SAFETY: nobody else knows the place yet, and it never moves.
        assert_eq!(unsafe { libc::sem_init(place.0.get(), 1, value) }, 0);
        place
    }

    pub fn wait(&self) {
        // SAFETY: `shared` made the semaphore.
        assert_eq!(unsafe { libc::sem_wait(self.0.get()) }, 0);
    }

    pub fn post(&self) {
        // SAFETY: `shared` made the semaphore.
        assert_eq!(unsafe { libc::sem_post(self.0.get()) }, 0);
    }
}

/// Runs the rows of bare units and of permits.
pub fn rows(bench: &Bench) {
    if !bench.wants("semaphore") {
        return;
    }
    let posix = PosixSemaphore::shared(4);
    let (unit, here) = (machine::shared(RobustUnit::default()), Here::default());
    let samples = bench.table(4, |turn| {
        let (private, bare) = (Semaphore::new(4), shared());
        let permits = shared();
        let (private, bare, permits) = black_box((&private, &*bare, &*permits));
        let mut rounds = Rounds::new();
        rounds.add("private", || {
            private.acquire();
            let _ = private.release(1);
        });
        rounds.add("bare", || {
            let _ = bare.acquire();
            let _ = bare.release(1);
        });
        rounds.add("permit", || drop(permits.permit()));
        rounds.add("sem_t", || {
            posix.wait();
            posix.post();
        });
        rounds.add("robust-unit", || {
            unit.take(&here);
            unit.give(&here);
        });
        turn.run(200, rounds);
    });
    bench.compare("semaphore-private-pair", &samples, "private", "sem_t", Bar::AtMost(1.0));
    bench.compare("semaphore-pair", &samples, "bare", "sem_t", Bar::AtMost(1.0));
    bench.compare("semaphore-permit-pair-floor", &samples, "robust-unit", "sem_t", Bar::AtMost(1.0));
    let bar = Bar::above_floor(1.0, samples.ratio("robust-unit", "sem_t"));
    bench.compare("semaphore-permit-pair", &samples, "permit", "sem_t", bar);
}

/// The number of processes, the name and the bar of their row, and the takes of each process in a round.
const CONTENDED: [(usize, &str, f64, u64); 4] = [
    (2, "permits-contended-2", 1.0, 4000),
    (8, "permits-contended-8", 0.8, 400),
    (32, "permits-contended-32", 0.8, 100),
    (110, "permits-contended-110", 0.8, 40),
];

/// Processes on two cores take the only unit as a permit and release it at once.
pub fn contended(bench: &Bench, cores: [usize; 2]) {
    for (parties, row, bar, count) in CONTENDED.into_iter().filter(|(_, row, ..)| bench.wants(row)) {
        let ours = Shm::place(Semaphore::<Shared>::shared(1)).expect("shared memory");
        let posix = PosixSemaphore::shared(1);
        let (unit, here) = (machine::shared(RobustUnit::default()), Here::default());
        let cores: Vec<usize> = cores.into_iter().cycle().take(parties).collect();
        let mut all = Parties::on(&cores);
        let jobs = [
            ("ours", all.add(|_, count| (0..count).for_each(|_| drop(ours.permit().expect("a slot is free"))))),
            (
                "sem_t",
                all.add(|_, count| {
                    (0..count).for_each(|_| {
                        posix.wait();
                        posix.post();
                    });
                }),
            ),
            (
                "robust-unit",
                all.add(|_, count| {
                    (0..count).for_each(|_| {
                        unit.take(&here);
                        unit.give(&here);
                    });
                }),
            ),
        ];
        let mut samples = Samples::of_names(jobs.map(|(name, _)| name));
        for (_, job) in jobs {
            all.run(job, count);
        }
        for round in 0..bench.scaled(30) {
            for turn in 0..jobs.len() {
                let (name, job) = jobs[(turn + round) % jobs.len()];
                samples.push(name, all.run(job, count) / (count * parties as u64) as f64);
            }
        }
        // One word in a robust list, without anything else that a semaphore has.
        bench.compare(&format!("{row}-floor"), &samples, "robust-unit", "sem_t", Bar::AtMost(bar));
        let bar = Bar::above_floor(bar, samples.ratio("robust-unit", "sem_t"));
        bench.compare(row, &samples, "ours", "sem_t", bar);
    }
}

fn shared() -> Shm<Semaphore<Shared>> {
    Shm::place(Semaphore::shared(4)).expect("shared memory")
}
