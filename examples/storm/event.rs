//! The storm's use of [`Event`]: one participant sets and clears the flag, the others wait for it.
//!
//! The setter is killed between its store and its wake, among other places. Once it is dead or rests, a set flag must
//! release every waiter without help. If the flag is clear, the parent sets it, or sets and clears it while others
//! sleep, and that must release them.

use core::hint::spin_loop;
use core::time::Duration;

use ossature::sys::scope::Shared;
use ossature::sys::shm::Shm;
use ossature::sys::sync::event::Event;

use crate::board::{Board, Seat};
use crate::step::Scene;
use crate::{Check, Held, Primitive};

pub struct EventStorm {
    event: Shm<Event<Shared>>,
    pauses: bool,
}

pub fn make(scene: Option<Scene>) -> Box<dyn Primitive> {
    let event = Shm::place(Event::shared()).expect("memory for the storm");
    if scene.is_some() {
        // After this a waiter sleeps without looks before. Looks would be most of the instructions.
        let _ = event.wait_timeout(Duration::from_nanos(1));
        event.set();
        event.clear();
    }
    Box::new(EventStorm { event, pauses: scene.is_none() })
}

impl EventStorm {
    fn pause(&self, pauses: u32) {
        for _ in 0..if self.pauses { pauses } else { 0 } {
            spin_loop();
        }
    }
}

/// A cleared flag, whose drop sets it.
struct Lowered<'e>(&'e Event<Shared>);

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl Primitive for EventStorm {
    fn turn(&self, seat: Seat<'_>) {
        if seat.leads() {
            seat.holds();
            self.event.set();
            seat.leaves();
            self.pause(seat.chance(100));
            if seat.chance(4) != 0 {
                self.event.clear();
                self.pause(seat.chance(2000));
            }
        } else {
            seat.waits();
            self.event.wait().expect("a shared wait is never refused");
            seat.leaves();
            self.pause(seat.work());
        }
    }

    fn is_inside(&self, seat: Seat<'_>) -> bool {
        seat.is_holding() || seat.is_waiting()
    }

    fn can_spare(&self, seat: Seat<'_>) -> bool {
        !seat.leads()
    }

    fn owes(&self, scene: Scene, dead: Seat<'_>) -> bool {
        // Those beside slept before the setter began: it has freed them once it has raised the flag.
        !scene.wakes() || self.event.is_set() || dead.is_outside()
    }

    fn relieve(&self, board: &Board) -> Result<(), &'static str> {
        let mut setters = board.living().filter(|seat| seat.leads());
        if self.event.is_set() || setters.any(|seat| !seat.is_resting()) {
            return Ok(());
        }
        let turns = board.seats().map(Seat::turns).fold(0, u32::wrapping_add);
        if turns % 2 == 0 {
            self.event.set();
        } else if board.living().all(|seat| seat.is_resting() || seat.is_asleep()) {
            self.event.set();
            self.event.clear();
        }
        Ok(())
    }

    fn check(&self, _: &Board, patience: Duration) -> Check {
        self.event.clear();
        if self.event.wait_timeout(Duration::ZERO) != Ok(false) {
            return Check::Broken("the flag cannot be cleared");
        }
        self.event.set();
        if self.event.wait_timeout(patience) == Ok(true) {
            Check::Whole
        } else {
            Check::Hangs("the flag cannot be set")
        }
    }

    fn hold(&self) -> Box<dyn Held + '_> {
        self.event.clear();
        Box::new(Lowered(&self.event))
    }

    fn barge(&self) -> Option<Box<dyn Held + '_>> {
        // Those that slept when it was raised are free all the same, and nobody raises it again.
        self.event.clear();
        None
    }

    fn is_half_done(&self) -> bool {
        self.event.is_set()
    }

    fn scenes(&self) -> &'static [Scene] {
        &[Scene::Free, Scene::Wait, Scene::Barge, Scene::Wake, Scene::Stopped, Scene::Inherit]
    }
}
