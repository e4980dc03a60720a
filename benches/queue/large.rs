//! 1 MiB one way: written and read in place, and copied, beside iceoryx2 in place and CPython's Queue.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::*};

use ossature_benches::bench::Bench;
use ossature_benches::machine;
use ossature_benches::parties::Parties;
use ossature_benches::placement::Placement;
use ossature_benches::python::{BUILDS, Python};
use ossature_benches::report::Bar;
use ossature_benches::rounds::Rounds;
use ossature_sys::sync::ring::Ring;

use crate::ice::LongWay;
use crate::one_way::job;
use crate::typed::PYTHON;

const LEN: usize = 1 << 20;
/// The number of messages in one burst.
const MESSAGES: u64 = 64;
/// Capacity for four messages, as for the others.
const WAITING: usize = 4;

/// Reads all bytes, as any receiver would.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks_exact(8).map(|eight| u64::from_ne_bytes(eight.try_into().expect("eight"))).fold(0, u64::wrapping_add)
}

/// The minimum that carries such messages with a copy on each side: slots in shared memory, and two counts.
struct ByHand {
    sent: &'static Count,
    received: &'static Count,
    places: *mut u8,
}

#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl ByHand {
    fn shared() -> Self {
        let count = || machine::shared(Count::default());
        Self { sent: count(), received: count(), places: machine::shared_memory(WAITING * LEN) }
    }

    /// The address of message `number`.
    fn place(&self, number: u64) -> *mut u8 {
        // SAFETY: there are `WAITING` places of `LEN` bytes.
        unsafe { self.places.add(number as usize % WAITING * LEN) }
    }

    fn send(&self, message: &[u8]) {
        assert_eq!(message.len(), LEN);
        let number = self.sent.0.load(Relaxed);
        while number - self.received.0.load(Acquire) == WAITING as u64 {
            std::hint::spin_loop();
        }
        // SAFETY: the receiver has read the message before, and does not look at this place before the store below.
        unsafe { self.place(number).copy_from_nonoverlapping(message.as_ptr(), LEN) };
        self.sent.0.store(number + 1, Release);
    }

    fn receive(&self, into: &mut [u8]) {
        assert_eq!(into.len(), LEN);
        let number = self.received.0.load(Relaxed);
        while self.sent.0.load(Acquire) == number {
            std::hint::spin_loop();
        }
        // SAFETY: the sender has written the message, and writes here again only after the store below.
        unsafe { into.as_mut_ptr().copy_from_nonoverlapping(self.place(number), LEN) };
        self.received.0.store(number + 1, Release);
    }
}

pub fn rows(bench: &Bench, cores: [usize; 2], placement: Placement) {
    let row = "one-way-1-MiB";
    if !bench.wants(row) {
        return;
    }
    let (placed, copied) = (Ring::new(WAITING * LEN).expect("a ring"), Ring::new(WAITING * LEN).expect("a ring"));
    let placed = RefCell::new(placed.join().expect("a place"));
    let copied = RefCell::new(copied.join().expect("a place"));
    let ice = LongWay::new(LEN, WAITING);
    let by_hand = ByHand::shared();
    let (message, place) = (vec![7; LEN], RefCell::new(vec![0; LEN]));
    let mut parties = Parties::on(&cores);
    let jobs = [
        (
            "in-place",
            job(
                &mut parties,
                |count| {
                    for _ in 0..count {
                        let mut user = placed.borrow_mut();
                        let mut record = user.reserve(LEN).expect("room");
                        record.copy_from_slice(&message);
                        record.publish().expect("it goes");
                    }
                },
                |count| {
                    for _ in 0..count {
                        black_box(sum(&placed.borrow_mut().read().expect("a message")));
                    }
                },
            ),
        ),
        (
            "copied",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| copied.borrow_mut().send(&message).expect("room")),
                |count| {
                    let mut bytes = place.borrow_mut();
                    for _ in 0..count {
                        copied.borrow_mut().recv(&mut bytes).expect("a message");
                        black_box(&bytes);
                    }
                },
            ),
        ),
        (
            "by-hand",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| by_hand.send(&message)),
                |count| {
                    let mut bytes = place.borrow_mut();
                    for _ in 0..count {
                        by_hand.receive(&mut bytes);
                        black_box(&bytes);
                    }
                },
            ),
        ),
        (
            "iceoryx2",
            job(
                &mut parties,
                |count| (0..count).for_each(|_| ice.send(&message)),
                |count| {
                    for _ in 0..count {
                        black_box(ice.receive(sum));
                    }
                },
            ),
        ),
    ];
    parties.run(jobs[0].1, 1); // forks
    let setup = PYTHON.map(|line| line.replace("WAITING", "4").replace("LENGTH", "(1 << 20)"));
    let setup = setup.each_ref().map(String::as_str);
    let mut pythons = BUILDS.map(|(name, program)| (name, Python::start_build(program, &setup)));
    let names: Vec<_> = pythons.iter().filter(|(_, python)| python.is_some()).map(|(name, _)| *name).collect();
    let parties = RefCell::new(parties);
    let mut rounds = Rounds::new();
    for (name, job) in jobs {
        let parties = &parties;
        rounds.add_burst(name, move |_| parties.borrow_mut().run(job, MESSAGES) / MESSAGES as f64);
    }
    for (name, python) in &mut pythons {
        if let Some(python) = python {
            // A few are enough, at two milliseconds each.
            rounds.add_burst(name, |_| python.time("queue.get()", 4));
        }
    }
    let samples = rounds.run(bench.scaled(100), crate::ANY);
    let near = placement.is_near();
    bench.compare(&format!("{row}-in-place"), &samples, "in-place", "iceoryx2", Bar::AtMost(1.10));
    let bar = Bar::AtMost(if near { 1.30 } else { 1.10 });
    bench.compare(&format!("{row}-copied"), &samples, "copied", "iceoryx2", bar);
    for name in names {
        // A copy of 1 MiB in and one out already take more than this part of CPython's time.
        let asked = if near { 0.02 } else { 0.06 };
        bench.compare(&format!("{row}-copied-floor"), &samples, "by-hand", name, Bar::AtMost(asked));
        let bar = Bar::above_floor(asked, samples.ratio("by-hand", name));
        bench.compare(&format!("{row}-in-place"), &samples, "in-place", name, bar);
        bench.compare(&format!("{row}-copied"), &samples, "copied", name, bar);
    }
}
