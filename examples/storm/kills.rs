//! The first form: kills participants at random instants.
//!
//! In a round, all participants use the primitive for a random time, sometimes with one of them stopped. Then one or
//! two die, by a kill or because they execute another program. The others are told to rest, and must do so once the
//! stopped one continues. A participant that still sleeps although the primitive is free is a hang. Then the parent
//! checks the primitive itself and replaces the dead.

use core::hint::spin_loop;
use std::thread;
use std::time::Instant;

use ossature::sys::process::{self, Child, ForkError, Signal, fork, parent_id, set_parent_death_signal};

use crate::blows::{self, Blow};
use crate::board::{Board, FEW, Seat};
use crate::random::Random;
use crate::{Counts, PATIENCE, Primitive};

pub fn storm(primitive: &dyn Primitive, participants: usize, kills: u32, seed: u64) -> Counts {
    let board = Board::place(participants);
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut children: Vec<_> = board.seats().map(|seat| start(primitive, &board, seat)).collect();
    while counts.goes_on(kills) {
        let mut victims = victims(participants, kills - counts.kills.min(kills), &mut random);
        let doomed = victims[0];
        let stopped = (random.below(4) == 0).then_some((doomed + victims.len() + 1) % participants);

        // One that is stopped at rest owes nobody anything: the others go on.
        let idle = stopped.filter(|&stopped| random.below(4) == 0 && primitive.can_spare(board.seat(stopped)));
        if let Some(idle) = idle {
            send(&children[idle], Signal::STOP);
        }
        board.open();
        if (idle.is_some() || random.below(4) == 0) && !go_on(&board, idle) {
            counts.hang(if idle.is_some() {
                "no participant continues beside one stopped at rest"
            } else {
                "no participant continues"
            });
        }
        if let Some(stopped) = stopped.filter(|_| idle.is_none()) {
            pause(&mut random);
            send(&children[stopped], Signal::STOP);
        }
        wait_a_while(board.seat(doomed), &mut random);
        if participants > FEW && random.below(4) != 0 {
            // One of many seldom holds the primitive, so the participant that holds it dies.
            let spared = |index: &usize| !victims.contains(index) && Some(*index) != stopped;
            let holder = board.seats().find(|seat| seat.is_holding()).map(|seat| seat.index);
            victims[0] = holder.filter(spared).unwrap_or(doomed);
        }
        let blow = Blow::any(&mut random);
        for &victim in &victims {
            board.seat(victim).dooms();
            blow.strike(&children[victim]);
        }
        board.close();
        for &victim in &victims {
            blow.end(&mut children[victim]);
            let seat = board.seat(victim);
            counts.kills += 1;
            counts.execs += u32::from(blow == Blow::Exec);
            counts.died_inside += u32::from(primitive.is_inside(seat));
            primitive.bury(seat);
        }
        if let Some(stopped) = stopped {
            pause(&mut random);
            send(&children[stopped], Signal::CONT);
            counts.stops += 1;
        }
        rest(primitive, &board, &mut counts);
        counts.count(primitive.check(&board, PATIENCE));
        if counts.hangs == 0 {
            for victim in victims {
                children[victim] = start(primitive, &board, board.seat(victim));
            }
        }
    }
    for child in &mut children {
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be waited for");
    }
    counts.broken += board.broken();
    counts
}

/// The participants that die in this round, at least one: neighbours, at most a sixteenth of all or two, and no more
/// than the kills that are left. The first participant, which is the leader where one leads, is chosen more often.
fn victims(participants: usize, left: u32, random: &mut Random) -> Vec<usize> {
    let first = if random.below(2) == 0 { 0 } else { random.below(participants as u64) as usize };
    let most = (participants / 16).max(2).min(left as usize);
    let several = random.below(if participants > FEW { 2 } else { 8 }) == 0;
    let count = if several && most > 1 { 2 + random.below(most as u64 - 1) as usize } else { 1 };
    (first..first + count).map(|index| index % participants).collect()
}

fn start(primitive: &dyn Primitive, board: &Board, seat: Seat<'_>) -> Child {
    seat.is_given(seat.index == 0);
    let parent = process::id();
    let child = started(fork(|| {
        // Whoever started the storm may be killed too: its children go with it, even if it died before this.
        let bound = set_parent_death_signal(Some(Signal::KILL));
        if bound.is_err() || parent_id() != Some(parent) {
            return 1;
        }
        blows::be_ready();
        primitive.join(seat);
        loop {
            board.wait_until_open(seat);
            primitive.turn(seat);
            seat.ends_its_turn();
        }
    }));
    seat.belongs_to(child.pid());
    // Only one that is ready can be told to become another program.
    while !seat.is_resting() {
        thread::yield_now();
    }
    child
}

/// Ends the storm with an error message if the machine has no room for a participant.
pub fn started(child: Result<Child, ForkError>) -> Child {
    child.unwrap_or_else(|error| {
        eprintln!("storm: cannot start a participant: {error}");
        std::process::exit(2)
    })
}

pub fn send(child: &Child, signal: Signal) {
    child.signal(signal).expect("the child accepts a signal");
}

/// Lets the storm run for a random time. Half of the time it ends when the doomed participant reports that it waits or
/// holds, so that interesting instants are not rare. The instruction that the participant then executes is random.
fn wait_a_while(doomed: Seat<'_>, random: &mut Random) {
    let began = Instant::now();
    pause(random);
    let aim = random.below(6);
    let met = || match aim {
        0 => doomed.is_outside(),
        1 => doomed.is_waiting(),
        _ => doomed.is_holding(),
    };
    if random.below(2) == 0 {
        while !met() && (began.elapsed().as_micros() as u64) < 2_000 {
            spin_loop();
        }
    }
}

/// Yields for a random time of up to 120 microseconds.
pub fn pause(random: &mut Random) {
    let began = Instant::now();
    let least = random.below(120);
    while (began.elapsed().as_micros() as u64) < least {
        thread::yield_now();
    }
}

/// Whether participants other than the stopped one take turns.
fn go_on(board: &Board, still: Option<usize>) -> bool {
    let turns = || board.seats().filter(|seat| Some(seat.index) != still).map(Seat::turns).fold(0, u32::wrapping_add);
    let (before, began) = (turns(), Instant::now());
    while turns() == before && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
    turns() != before
}

/// Waits until all living participants rest.
fn rest(primitive: &dyn Primitive, board: &Board, counts: &mut Counts) {
    let began = Instant::now();
    while !board.living().all(Seat::is_resting) {
        if began.elapsed() >= PATIENCE {
            for seat in board.living().filter(|seat| !seat.is_resting()) {
                counts.hang(&format!("participant {} is {} for {PATIENCE:?}", seat.index, seat.state()));
            }
            return;
        }
        if let Err(why) = primitive.relieve(board) {
            return counts.hang(why);
        }
        thread::yield_now();
    }
}
