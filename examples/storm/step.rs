//! The second form: runs one participant an instruction at a time and kills it after 1, 2, 3, ... instructions.
//!
//! | scene | the participant | its neighbours |
//! | --- | --- | --- |
//! | free | takes and releases a free primitive | none |
//! | wait | finds it held, sleeps, is woken, takes and releases | two sleep after it |
//! | barge | as wait, but the parent takes it before the woken participant can, and releases it later | as wait |
//! | wake | takes, and has to wake the others when it releases | two that sleep on it |
//! | stopped | as wake, and must not wait for them | two that sleep on it, stopped by a signal |
//! | inherit | sleeps, is woken because another was killed half-way, and completes its work | two sleep after it |
//!
//! Every run of a scene has a new primitive, so that all runs execute the same instructions. After each kill the
//! neighbours must be served, and then the parent.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use ossature::sys::process::{Child, Signal, fork};
use ossature::sys::ptrace::{self, State};

use crate::board::{Board, FEW, Seat};
use crate::kills::started;
use crate::{Counts, PATIENCE, Primitive};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    Free,
    Wait,
    Barge,
    Wake,
    Stopped,
    Inherit,
}

impl Scene {
    /// Whether the participant wakes the others.
    pub fn wakes(self) -> bool {
        matches!(self, Self::Wake | Self::Stopped)
    }
}

/// Kills after every `stride`th instruction of each scene, or less often, with at most `most` kills.
pub fn storm(make: impl Fn(Option<Scene>) -> Box<dyn Primitive>, stride: u32, most: u32) -> Counts {
    let mut counts = Counts::default();
    for &scene in make(None).scenes() {
        // Played to its end first, without a kill.
        let Ended::After(length) = play(&*make(Some(scene)), scene, u32::MAX, &mut counts) else { return counts };
        let stride = stride.max(length / most);
        let mut steps = (stride / 2).max(1);
        while steps < length
            && counts.hangs == 0
            && play(&*make(Some(scene)), scene, steps, &mut counts) == Ended::Killed
        {
            steps += stride;
        }
        if counts.hangs > 0 {
            eprintln!("storm: that was {scene:?} with a kill after {steps} instructions");
            return counts;
        }
    }
    counts
}

/// The way in which a scene ended for its participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    /// The participant ended without a kill, after this number of instructions.
    After(u32),
}

fn play(primitive: &dyn Primitive, scene: Scene, steps: u32, counts: &mut Counts) -> Ended {
    let board = Board::place(FEW);
    let board = &*board;
    // All are forked before the parent holds anything: with a lock held fork refuses.
    let me = board.seat(0);
    let mut stepped = standing(primitive, me, scene == Scene::Free || scene.wakes());
    let mut beside = Beside::start(primitive, board, if scene == Scene::Free { 0 } else { 2 });
    let mut leader = (scene == Scene::Inherit).then(|| standing(primitive, board.seat(3), true));
    let mut held = matches!(scene, Scene::Wait | Scene::Barge).then(|| primitive.hold());
    let mut barges = scene == Scene::Barge;

    let mut ended = Ended::Killed;
    for step in 0..steps {
        ptrace::single_step(&stepped).expect("the child is stopped");
        let mut state = stop_or_sleep(&mut stepped, me);
        if state.is_none() {
            // It sleeps: let the others arrive behind it, and then let go.
            beside.arrive();
            drop(held.take());
            if let Some(leader) = leader.take() {
                die_half_way(primitive, leader, board.seat(3));
            }
            if barges {
                // It was chosen, but cannot run before its next step.
                held = primitive.barge();
                barges = false;
            }
            state = woken(primitive, scene, board, &mut stepped);
        }
        match state {
            Some(State::Stopped(_)) => {}
            Some(State::Ended(_)) => {
                ended = Ended::After(step);
                break;
            }
            None => {
                counts.hang("the participant is not served");
                break;
            }
        }
        if scene.wakes() && me.is_holding() && beside.arrive() && scene == Scene::Stopped {
            beside.signal(Signal::STOP);
        }
    }
    if ended == Ended::Killed {
        counts.kills += 1;
        me.dooms();
        end(&mut stepped);
        primitive.bury(me);
    }
    drop(held);
    if let Some(leader) = leader.take() {
        // The participant never slept, so there is nothing to inherit from it.
        die_half_way(primitive, leader, board.seat(3));
    }
    beside.signal(Signal::CONT);
    beside.serve(primitive, scene, counts);
    counts.count(primitive.check(board, PATIENCE));
    counts.broken += board.broken();
    ended
}

/// Waits until a sleeping step is done, and helps waiters that no participant has to help.
fn woken(primitive: &dyn Primitive, scene: Scene, board: &Board, stepped: &mut Child) -> Option<State> {
    let began = Instant::now();
    loop {
        let state = ptrace::wait(stepped, Duration::from_millis(1)).expect("the child can be waited for");
        if state.is_some() || began.elapsed() > PATIENCE {
            return state;
        }
        if !primitive.owes(scene, board.seat(0)) && primitive.relieve(board).is_err() {
            return None;
        }
    }
}

/// Starts a child that is stopped before its turn.
fn standing(primitive: &dyn Primitive, seat: Seat<'_>, leads: bool) -> Child {
    seat.is_given(leads);
    let mut child = started(fork(|| {
        if ptrace::stop_for_tracer().is_err() {
            return 1;
        }
        primitive.join(seat);
        primitive.turn(seat);
        0
    }));
    seat.belongs_to(child.pid());
    let state = ptrace::wait(&mut child, PATIENCE).expect("the child can be waited for");
    assert!(matches!(state, Some(State::Stopped(_))), "the participant is stopped: {state:?}");
    child
}

/// Runs `leader` until it has changed the primitive but woken no waiter, and kills it there.
fn die_half_way(primitive: &dyn Primitive, mut leader: Child, seat: Seat<'_>) {
    while !primitive.is_half_done() {
        ptrace::single_step(&leader).expect("the child is stopped");
        let state = ptrace::wait(&mut leader, PATIENCE).expect("the child can be waited for");
        assert!(matches!(state, Some(State::Stopped(_))), "the leader stops half-way: {state:?}");
    }
    seat.dooms();
    end(&mut leader);
    primitive.bury(seat);
}

fn end(child: &mut Child) {
    child.kill().expect("the child can be killed");
    child.wait().expect("the child can be waited for");
}

/// Waits until a step is done; `None` if the step is a system call that sleeps.
fn stop_or_sleep(stepped: &mut Child, seat: Seat<'_>) -> Option<State> {
    let began = Instant::now();
    loop {
        let state = ptrace::wait(stepped, Duration::from_millis(1)).expect("the child can be waited for");
        if state.is_some() || seat.kernel_state() == Some('S') || began.elapsed() > PATIENCE {
            return state;
        }
    }
}

/// The neighbours: started early, and released to the primitive when the scene needs them.
struct Beside<'b> {
    board: &'b Board,
    children: Vec<(Child, Seat<'b>)>,
}

impl<'b> Beside<'b> {
    fn start(primitive: &dyn Primitive, board: &'b Board, count: usize) -> Self {
        let start = |index| {
            let seat = board.seat(index);
            seat.is_given(false);
            let child = started(fork(|| {
                board.wait_until_open(seat);
                primitive.join(seat);
                primitive.turn(seat);
                0
            }));
            seat.belongs_to(child.pid());
            (child, seat)
        };
        Self { board, children: (1..=count).map(start).collect() }
    }

    /// Releases the neighbours and waits until they sleep at the primitive or are done. Returns `false` if they were
    /// released before.
    fn arrive(&self) -> bool {
        if self.board.is_open() {
            return false;
        }
        self.board.open();
        let began = Instant::now();
        let there = |seat: Seat<'_>| seat.is_asleep() || seat.kernel_state() == Some('Z');
        while !self.children.iter().all(|(_, seat)| there(*seat)) && began.elapsed() < PATIENCE {
            thread::yield_now();
        }
        true
    }

    fn signal(&self, signal: Signal) {
        for (child, _) in &self.children {
            // One that has ended needs no signal any more.
            let _ = child.signal(signal);
        }
    }

    /// Waits until all have had their turn, and helps waiters that no participant has to help.
    fn serve(&mut self, primitive: &dyn Primitive, scene: Scene, counts: &mut Counts) {
        self.board.open();
        let began = Instant::now();
        let ended =
            |(child, _): &mut (Child, Seat<'_>)| child.try_wait().expect("the child can be waited for").is_some();
        while !self.children.iter_mut().all(ended) {
            let late = began.elapsed() > PATIENCE;
            let helped = if primitive.owes(scene, self.board.seat(0)) { Ok(()) } else { primitive.relieve(self.board) };
            if let Err(why) = if late { Err("a neighbour is not served after the kill") } else { helped } {
                counts.hang(why);
                break;
            }
            thread::yield_now();
        }
        for (child, _) in self.children.iter_mut().filter(|(child, _)| child.exit_status().is_none()) {
            end(child);
        }
    }
}
