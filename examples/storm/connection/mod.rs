//! The storm's use of [`Connection`]: a peer dies within a message, and the survivor receives whole messages and then
//! the end.
//!
//! There are three processes. The *peer* sends, receives or echoes messages until it dies; each round has a new one.
//! The *survivor* has the other end and runs through all rounds. The storm itself passes both their ends, kills the
//! peer at a random instant, and waits for the survivor's verdict. The survivor receives its end over a connection.
//!
//! A death counts as inside when the survivor found the end within a message, or when the peer was receiving one.
//!
//! | must hold | or else |
//! | --- | --- |
//! | each message is the next one, byte for byte, with its files | `broken` |
//! | messages sent before the peer's death are received (not over TCP, where a reset may overtake them) | `broken` |
//! | then a read returns `Closed`, and so does the next | `broken` |
//! | the survivor gives its verdict within ten seconds of the death | `hangs` |
//! | then it has the same number of descriptors as at the beginning | `broken` |

mod message;
mod peer;
mod plan;
mod survivor;

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::time::Instant;

use ossature::multiprocessing::connection::{self, Connection, Sent};
use ossature::sys::process::{Child, Signal, fork, id, parent_id, set_parent_death_signal};
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use serde::{Deserialize, Serialize};

use crate::blows::{self, Blow};
use crate::kills::{pause, send, started};
use crate::random::Random;
use crate::trial::Trial;
use crate::{Counts, PATIENCE};
use message::Text;
use plan::{Plan, StreamKind};

shareable! {
    /// The reports of the peer.
    struct Mark {
        /// 1 as soon as the peer can execute another program on a signal.
        ready: AtomicU32,
        /// 1 while the peer is within a message.
        inside: AtomicU32,
        /// The number of messages that the peer has sent or received.
        done: AtomicU32,
        /// The number of wrong messages that the peer received.
        broken: AtomicU32,
    }
}

/// The report of the survivor after the end of its peer.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    /// The number of whole messages.
    whole: u32,
    /// Whether the end came in the middle of a message.
    cut: bool,
    complaint: Option<String>,
}

pub struct ConnectionStorm {
    text: Text,
    mark: Shm<Mark>,
    survivor: Child,
    control: Connection,
}

pub fn make() -> Box<dyn Trial> {
    let text = Text::new();
    let number = || AtomicU32::new(0);
    let mark = Shm::place(Mark::init(number(), number(), number(), number())).expect("memory for the storm");
    let (control, other) = connection::pipe().expect("a pipe for the storm");
    let (mut control, mut other) = (Some(control), Some(other));
    let survivor = participant(|| {
        drop(control.take());
        other.take().map_or(1, |control| survivor::run(&control, &text))
    });
    let control = control.expect("the child has its own copy");
    Box::new(ConnectionStorm { text, mark, survivor, control })
}

/// Starts a child that does not outlive the storm.
fn participant(body: impl FnOnce() -> u8) -> Child {
    let parent = id();
    started(fork(|| {
        let bound = set_parent_death_signal(Some(Signal::KILL));
        if bound.is_err() || parent_id() != Some(parent) {
            return 1;
        }
        body()
    }))
}

impl Trial for ConnectionStorm {
    fn play(&mut self, random: &mut Random, counts: &mut Counts) {
        let plan = Plan::any(random);
        let (near, far) = plan.ends().expect("a connection for the storm");
        let (near, mut peer) = self.start(plan, near, far);
        match self.control.send_timeout(&(plan, near), PATIENCE) {
            Ok(Sent::Complete) => {}
            other => return counts.hang(&format!("the survivor does not accept its end: {other:?}")),
        }
        wait_a_while(&self.mark, random);
        let stopped = random.below(4) == 0;
        // One that stands still becomes nothing else, and one that was just born may be killed only.
        let ready = !stopped && self.mark.ready.load(SeqCst) == 1;
        let blow = if ready { Blow::any(random) } else { Blow::Kill };
        if stopped {
            send(&peer, Signal::STOP);
            counts.stops += 1;
            pause(random);
        }
        blow.strike(&peer);
        let exit = peer.wait_timeout(PATIENCE).expect("the child can be waited for");
        counts.kills += 1;
        counts.execs += u32::from(blow == Blow::Exec);
        let told = |what: &str| format!("{what} ({plan:?})");
        match exit {
            Some(exit) if blow.is_cause_of(exit) => {}
            Some(exit) => counts.broke(&told(&format!("the peer ended without a fault: {exit:?}"))),
            None => return counts.hang(&told("the peer does not end after its fault")),
        }
        match self.control.recv_timeout::<Verdict>(PATIENCE) {
            Ok(Some(verdict)) => self.judge(plan, &verdict, counts),
            Ok(None) => counts.hang(&told("the survivor sees no end")),
            Err(error) => counts.hang(&told(&format!("the survivor has ended: {error}"))),
        }
    }
}

impl ConnectionStorm {
    /// Starts a peer with its end, and returns the other end.
    fn start(&self, plan: Plan, near: Connection, far: Connection) -> (Connection, Child) {
        for number in [&self.mark.ready, &self.mark.inside, &self.mark.done, &self.mark.broken] {
            number.store(0, SeqCst);
        }
        let mut near = Some(near);
        let peer = participant(|| {
            drop(near.take());
            blows::be_ready();
            self.mark.ready.store(1, SeqCst);
            peer::run(plan, &far, &self.text, &self.mark)
        });
        (near.expect("the child has its own copy"), peer)
    }

    fn judge(&self, plan: Plan, verdict: &Verdict, counts: &mut Counts) {
        let done = self.mark.done.load(SeqCst);
        let inside = self.mark.inside.load(SeqCst) == 1 && plan.role.receives();
        counts.died_inside += u32::from(verdict.cut || inside);
        let mut broke = |what: &str| counts.broke(&format!("{what} ({plan:?}, {verdict:?}, the peer's: {done})"));
        if let Some(complaint) = &verdict.complaint {
            broke(complaint);
        }
        if self.mark.broken.load(SeqCst) > 0 {
            broke("the peer received a wrong message");
        }
        // It may have died between sending one and saying so.
        let sent = if plan.role.sends() { done..=done + 1 } else { 0..=u32::MAX };
        if plan.carrier != StreamKind::Tcp && verdict.complaint.is_none() && !sent.contains(&verdict.whole) {
            broke("messages were lost or arrived twice");
        }
    }
}

impl Drop for ConnectionStorm {
    fn drop(&mut self) {
        // It may hang, which was counted then.
        self.survivor.kill().expect("the child can be killed");
        self.survivor.wait().expect("the child can be waited for");
    }
}

/// Lets the peer run for a random time; half of the time until it is within a message.
fn wait_a_while(mark: &Mark, random: &mut Random) {
    let began = Instant::now();
    pause(random);
    if random.below(2) == 0 {
        let long = Duration::from_micros(100 + random.below(1_900));
        while began.elapsed() < long {
            spin_loop();
        }
    } else {
        while mark.inside.load(SeqCst) == 0 && began.elapsed() < Duration::from_millis(5) {
            spin_loop();
        }
    }
}
