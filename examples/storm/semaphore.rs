//! The storm's use of [`Semaphore`]: units without an owner, of which never more are in use than exist.
//!
//! The units of a killed holder are lost, as in Python. A participant killed during an acquire or a release may have
//! had a unit or not. At most that many units may be missing afterwards, and there is never one too many. If too few
//! units are left for the living participants, the parent releases as many as are lost.

use core::cell::Cell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::semaphore::Semaphore;

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

shareable! {
    struct Stage {
        semaphore: Semaphore<Shared>,
        /// The maximum number of units.
        most: AtomicU32,
    }
}

pub struct SemaphoreStorm {
    stage: Shm<Stage>,
    units: u32,
    scene: Option<Scene>,
    /// The number of units that the dead held, as their seats report.
    lost: Cell<u32>,
    /// The number of further units that the dead may have held.
    doubtful: Cell<u32>,
    /// The number of units that the parent released for the dead.
    given: Cell<u32>,
}

pub fn make(scene: Option<Scene>) -> Box<dyn Primitive> {
    let units = if scene.is_some() { 1 } else { 2 };
    let stage = Stage::init(Semaphore::shared(units), AtomicU32::new(units));
    let stage = Shm::place(stage).expect("memory for the storm");
    let [lost, doubtful, given] = [0; 3].map(Cell::new);
    let storm = SemaphoreStorm { stage, units, scene, lost, doubtful, given };
    if scene.is_some() {
        storm.take();
        // After this a waiter sleeps without looks before. Looks would be most of the instructions.
        let _ = storm.stage.semaphore.acquire_timeout(Duration::from_nanos(1));
        if scene != Some(Scene::Inherit) {
            storm.give();
        }
    }
    Box::new(storm)
}

impl SemaphoreStorm {
    fn take(&self) {
        self.stage.semaphore.acquire().expect("a shared wait is never refused");
    }

    fn give(&self) {
        self.stage.semaphore.release(1).expect("the bound is unlimited");
    }
}

/// An acquired unit, whose drop releases it.
struct Taken<'s>(&'s SemaphoreStorm);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Primitive for SemaphoreStorm {
    fn turn(&self, seat: Seat<'_>) {
        if self.scene == Some(Scene::Inherit) && seat.leads() {
            return self.give();
        }
        seat.waits();
        self.take();
        if seat.holds() > self.stage.most.load(SeqCst) {
            seat.breaks("more units are in use than there are");
        }
        for _ in 0..if self.scene.is_none() { seat.work() } else { 0 } {
            spin_loop();
        }
        seat.leaves();
        self.give();
    }

    fn bury(&self, dead: Seat<'_>) {
        if dead.is_holding() {
            self.lost.set(self.lost.get() + 1);
        } else if dead.is_waiting() || dead.is_outside() {
            self.doubtful.set(self.doubtful.get() + 1);
        }
    }

    fn relieve(&self, board: &Board) -> Result<(), &'static str> {
        let given = self.given.get() + 1;
        let gone = given <= self.lost.get() + self.doubtful.get() && self.stage.semaphore.value() == 0;
        if gone && !board.living().any(Seat::is_holding) && board.living().any(Seat::is_asleep) {
            if given > self.lost.get() {
                // Perhaps it was not lost, and is one too many now.
                self.stage.most.fetch_add(1, SeqCst);
            }
            self.given.set(given);
            self.give();
        }
        Ok(())
    }

    fn check(&self, _: &Board, _: Duration) -> Check {
        let whole = self.units + self.given.take() - self.lost.take();
        let found = self.stage.semaphore.value();
        for _ in found..self.units {
            self.give();
        }
        for _ in self.units..found {
            self.take();
        }
        self.stage.most.store(self.units, SeqCst);
        match (found <= whole, found + self.doubtful.take() >= whole) {
            (true, true) => Check::Whole,
            (false, _) => Check::Broken("the semaphore has a unit too many"),
            (_, false) => Check::Broken("a unit is lost"),
        }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        self.take();
        Box::new(Taken(self))
    }

    fn is_half_done(&self) -> bool {
        self.stage.semaphore.value() != 0
    }

    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Free, Scene::Wait, Scene::Barge, Scene::Wake, Scene::Stopped, Scene::Inherit]
    }
}
