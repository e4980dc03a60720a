//! A cycle of a barrier between processes, half of them on each of two cores, beside pthread's barrier.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::parties::Parties;
use ossature_benches::report::Bar;
use ossature_benches::rounds::Samples;
use ossature_sys::shm::Shm;
use ossature_sys::sync::barrier::Barrier;

/// `pthread_barrier_t` with `PTHREAD_PROCESS_SHARED`: glibc's, which does not survive a death.
struct PthreadBarrier(UnsafeCell<libc::pthread_barrier_t>);

// SAFETY: a barrier is made to be used by many threads.
unsafe impl Sync for PthreadBarrier {}

impl PthreadBarrier {
    fn shared(parties: u32) -> &'static Self {
        // SAFETY: pthread_barrier_t is plain C data, for which zero bytes are a value; see below.
        let place = machine::shared(Self(UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() })));
        let mut attributes = MaybeUninit::<libc::pthread_barrierattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_barrierattr_init(3p) initialises the place it is given.
        assert_eq!(unsafe { libc::pthread_barrierattr_init(attributes) }, 0);
        // SAFETY: the attributes are initialised.
        assert_eq!(unsafe { libc::pthread_barrierattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) }, 0);
        // SAFETY: nobody else knows the place yet, and it never moves.
        assert_eq!(unsafe { libc::pthread_barrier_init(place.0.get(), attributes, parties) }, 0);
        place
    }

    fn wait(&self) {
        // SAFETY: `shared` made the barrier.
        let answer = unsafe { libc::pthread_barrier_wait(self.0.get()) };
        assert!(matches!(answer, 0 | libc::PTHREAD_BARRIER_SERIAL_THREAD));
    }
}

/// The numbers of parties, each with the name and the bar of its row, and the cycles of a round.
const ROWS: [(u32, &str, f64, u64); 4] =
    [(2, "barrier-2", 0.8, 400), (8, "barrier-8", 1.3, 60), (32, "barrier-32", 1.5, 20), (100, "barrier-100", 2.0, 10)];

/// Runs the rows.
pub fn cycles(bench: &Bench, cores: [usize; 2]) {
    for (parties, row, bar, cycles) in ROWS.into_iter().filter(|(_, row, ..)| bench.wants(row)) {
        let (ours, joined) = (shared(parties), shared(parties));
        let pthread = PthreadBarrier::shared(parties);
        let cores: Vec<usize> = cores.into_iter().cycle().take(parties as usize).collect();
        let mut all = Parties::on(&cores);
        let jobs = [
            ("ours", all.add(|_, count| (0..count).for_each(|_| assert!(ours.wait().is_ok())))),
            (
                "joined",
                all.add(|_, count| {
                    let party = joined.join().expect("a slot is free");
                    (0..count).for_each(|_| assert!(party.wait().is_ok()));
                }),
            ),
            ("pthread", all.add(|_, count| (0..count).for_each(|_| pthread.wait()))),
        ];
        let mut samples = Samples::of_names(jobs.map(|(name, _)| name));
        for (_, job) in jobs {
            // All meet the memory, and an adaptive wait the machine.
            all.run(job, cycles);
        }
        for round in 0..bench.scaled(30) {
            for turn in 0..jobs.len() {
                let (name, job) = jobs[(turn + round) % jobs.len()];
                samples.push(name, all.run(job, cycles) / cycles as f64);
            }
        }
        bench.compare(row, &samples, "ours", "pthread", Bar::AtMost(bar));
        bench.compare(&format!("{row}-joined"), &samples, "joined", "pthread", Bar::AtMost(bar));
    }
}

fn shared(parties: u32) -> Shm<Barrier<ossature_sys::scope::Shared>> {
    Shm::place(Barrier::shared(parties)).expect("shared memory")
}
