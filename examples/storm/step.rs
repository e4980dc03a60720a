//! The second form: one participant is run an instruction at a time and killed after 1, 2, 3, ... of them.
//!
//! | scene | the participant | beside it |
//! | --- | --- | --- |
//! | free | takes and releases a free primitive | nobody |
//! | wait | finds it held, sleeps, is woken, takes and releases | a second one sleeps behind it |
//! | barge | the same, but the parent takes it again before the woken one can, and lets go later | the same |
//! | wake | takes, and has to wake somebody when it releases | one that sleeps on it |
//!
//! Every kill meets a new primitive, so that one play of a scene takes the same instructions as the next. After each kill whoever is beside must be served, and then the parent.

use core::time::Duration;
use std::fs;
use std::thread;
use std::time::Instant;

use ossature::sys::process::{Child, fork};
use ossature::sys::ptrace::{self, State};

use crate::kills::{Board, started};
use crate::{Check, Make, PATIENCE, Primitive, Tally};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Free,
    Wait,
    Barge,
    Wake,
}

pub fn storm(make: Make, stride: u32) -> Tally {
    let mut tally = Tally::default();
    for scene in [Scene::Free, Scene::Wait, Scene::Barge, Scene::Wake] {
        let mut steps = 1;
        loop {
            let primitive = make();
            let ended = play(&*primitive, scene, steps, &mut tally);
            tally.broken += primitive.broken();
            if tally.hangs > 0 {
                return tally;
            }
            if ended == Ended::ByItself {
                break;
            }
            steps += stride;
        }
    }
    tally
}

/// How a scene ended for its participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Killed,
    /// It had no instruction left.
    ByItself,
}

fn play(primitive: &dyn Primitive, scene: Scene, steps: u32, tally: &mut Tally) -> Ended {
    let board = Board::place();
    let board = &*board;
    // All are forked before the parent holds anything: with a lock held fork refuses.
    let mut stepped = started(fork(|| {
        if ptrace::stop_for_tracer().is_err() {
            return 1;
        }
        primitive.turn(board.seat(0));
        0
    }));
    let state = ptrace::wait(&mut stepped, PATIENCE).expect("a child can be waited for");
    assert!(matches!(state, Some(State::Stopped(_))), "the participant stands still: {state:?}");
    let mut neighbour = (scene != Scene::Free).then(|| Neighbour::start(primitive, board));
    let mut held = matches!(scene, Scene::Wait | Scene::Barge).then(|| primitive.hold());
    let mut barges = scene == Scene::Barge;

    let mut ended = Ended::Killed;
    for _ in 0..steps {
        ptrace::single_step(&stepped).expect("it stands still");
        let mut state = stop_or_sleep(&mut stepped);
        if state.is_none() {
            // It sleeps: let the neighbour arrive behind it, and then let go.
            if let Some(neighbour) = &mut neighbour {
                neighbour.arrive();
            }
            drop(held.take());
            if barges {
                // It was chosen, but cannot run before its next step.
                held = Some(primitive.hold());
                barges = false;
            }
            state = ptrace::wait(&mut stepped, PATIENCE).expect("a child can be waited for");
        }
        match state {
            Some(State::Stopped(_)) => {}
            Some(State::Ended(_)) => {
                ended = Ended::ByItself;
                break;
            }
            None => {
                eprintln!("storm: {scene:?}: the participant is not served");
                tally.hangs += 1;
                break;
            }
        }
        match &mut neighbour {
            Some(neighbour) if scene == Scene::Wake && board.seat(0).is_holding() => neighbour.arrive(),
            _ => {}
        }
    }
    if ended == Ended::Killed {
        tally.kills += 1;
        stepped.kill().expect("a child can be killed");
        stepped.wait().expect("a child can be waited for");
    }
    drop(held);
    if neighbour.is_some_and(|neighbour| !neighbour.gets_its_turn()) {
        eprintln!("storm: {scene:?}: after {steps} instructions and a kill the neighbour is not served");
        tally.hangs += 1;
    }
    match primitive.check(PATIENCE) {
        Check::Whole => {}
        Check::Broken => tally.broken += 1,
        Check::Hangs => tally.hangs += 1,
    }
    ended
}

/// Waits until a step is done, or `None` when it is a system call that sleeps.
fn stop_or_sleep(stepped: &mut Child) -> Option<State> {
    let began = Instant::now();
    loop {
        let state = ptrace::wait(stepped, Duration::from_millis(1)).expect("a child can be waited for");
        if state.is_some() || state_of(stepped) == Some('S') || began.elapsed() > PATIENCE {
            return state;
        }
    }
}

/// What the kernel says a child does: `R` runs, `S` sleeps, `t` stands still for its tracer, `Z` has ended.
fn state_of(child: &Child) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid().as_raw_nonzero())).ok()?;
    // `pid (name) state ...`, and the name may hold anything.
    stat.rsplit(") ").next()?.chars().next()
}

/// The one beside: started early, let go to the primitive when the scene asks for it.
struct Neighbour<'b> {
    child: Child,
    board: &'b Board,
    arrived: bool,
}

impl<'b> Neighbour<'b> {
    fn start(primitive: &dyn Primitive, board: &'b Board) -> Self {
        let child = fork(|| {
            board.wait_until_open();
            primitive.turn(board.seat(1));
            0
        });
        Self { child: started(child), board, arrived: false }
    }

    /// Goes to the primitive and sleeps there, or is done with it.
    fn arrive(&mut self) {
        if self.arrived {
            return;
        }
        self.arrived = true;
        self.board.open();
        let began = Instant::now();
        while !self.waits_asleep() && state_of(&self.child) != Some('Z') && began.elapsed() < PATIENCE {
            thread::yield_now();
        }
    }

    fn waits_asleep(&self) -> bool {
        self.board.seat(1).is_waiting() && state_of(&self.child) == Some('S')
    }

    fn gets_its_turn(mut self) -> bool {
        self.board.open();
        let served = self.child.wait_timeout(PATIENCE).expect("a child can be waited for").is_some();
        if !served {
            self.child.kill().expect("a child can be killed");
            self.child.wait().expect("a child can be waited for");
        }
        served
    }
}
