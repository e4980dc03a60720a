//! The thread that receives: takes in ends, says that the client lives, and heals what the server has lost.
//!
//! The client has the inputs of every call that it waits for. So after each reconnection, and after two beats of
//! silence, it asks the server which of its chunks are neither waiting nor claimed, takes in all ends that are there,
//! and gives the rest out again under the same numbers. While chunks end it asks for some at each second beat, and
//! comes to each in turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::pool::engine;

use crate::engine::{Engine, Fault, Outcome};
use crate::hub::{Hub, Mode};
use crate::streams::Streams;

/// How long the thread waits at the server before it looks at what else is to do.
const WAIT: Duration = Duration::from_millis(250);
/// The same while the server has no memory, or calls are to be sent.
const SOON: Duration = Duration::from_millis(20);
/// How many beats there are in a lease.
pub(crate) const BEATS: u32 = 10;
/// About how many chunks the server is asked at a time while others end.
const SOME: usize = 1024;

/// Ends all calls when the thread panics, so that nobody waits for what does not come.
struct Last<'h>(&'h Hub);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().mode = Mode::Ended;
            self.0.fail(&engine::error(ErrorKind::Panicked, "the thread that receives results has panicked".into()));
        }
    }
}

/// The life of the thread.
pub(crate) fn receive(hub: &Arc<Hub>, first: Streams) {
    let _last = Last(hub);
    let mut engine = Some(first);
    let mut receiver = Receiver { hub, seen: Vec::new(), ticked: None, asked: (0, Instant::now()) };
    loop {
        let mode = hub.state().mode;
        let done = match &mut engine {
            _ if mode == Mode::Ended => break,
            Some(engine) => receiver.step(engine),
            None => match hub.link.open().and_then(|one| Ok((one, hub.link.open()?))) {
                Ok((one, other)) => {
                    receiver.seen.clear(); // another server may have given their names to others
                    *hub.sender() = Some(other);
                    hub.state().heal = true;
                    engine = Some(one);
                    continue;
                }
                Err(fault) => Err(fault),
            },
        };
        match done {
            Ok(()) => hub.state().away = None,
            Err(Fault::Full(_)) => std::thread::sleep(SOON),
            Err(fault) => {
                engine = None;
                receiver.trouble(fault);
            }
        }
    }
    let _ = leave(hub, engine);
}

/// Takes back what is left. A server that is away forgets the client by itself.
fn leave(hub: &Hub, engine: Option<Streams>) -> Outcome<()> {
    let unwanted = std::mem::take(&mut hub.state().unwanted);
    let Some(mut engine) = engine else { return Ok(()) };
    engine.end(&hub.me, &unwanted)?;
    // The ends that came meanwhile.
    loop {
        let ended = engine.take(&hub.me, &[], Duration::ZERO)?;
        if ended.is_empty() {
            break;
        }
        let seen: Vec<_> = ended.into_iter().map(|ended| ended.id).collect();
        engine.take(&hub.me, &seen, Duration::ZERO)?;
    }
    engine.end(&hub.me, &[])
}

struct Receiver<'h> {
    hub: &'h Hub,
    /// Ends that were taken in and may be forgotten.
    seen: Vec<String>,
    ticked: Option<Instant>,
    /// The first chunk that is to be asked for next, and when others were.
    asked: (u64, Instant),
}

impl Receiver<'_> {
    fn step(&mut self, engine: &mut Streams) -> Outcome<()> {
        let hub = self.hub;
        let beat = hub.settings.lease / BEATS;
        if self.ticked.is_none_or(|then| then.elapsed() >= beat) {
            let hosts = engine.tick(&hub.me, hub.settings.lease)?;
            self.ticked = Some(Instant::now());
            self.look_at(hosts);
        }
        let unwanted = std::mem::take(&mut hub.state().unwanted);
        if !unwanted.is_empty() {
            if let Err(fault) = engine.end(&hub.me, &unwanted) {
                hub.state().unwanted.extend(unwanted);
                return Err(fault);
            }
        }
        let buried = std::mem::take(&mut hub.state().buried);
        for (at, (body, why)) in buried.iter().enumerate() {
            if let Err(fault) = engine.bury(&hub.me.label, why, &hub.me.id, body) {
                hub.state().buried.extend_from_slice(&buried[at..]);
                return Err(fault);
            }
        }
        let (heal, waits) = {
            let mut state = hub.state();
            if state.chunks.is_empty() {
                state.progress = Instant::now();
            }
            let silent = state.progress.elapsed() > beat * 2;
            (state.heal || silent, if state.full || !state.unsent.is_empty() { SOON } else { WAIT.min(beat) })
        };
        if heal || self.asked.1.elapsed() > beat * 2 {
            self.heal(engine, heal)?;
        }
        let ended = engine.take(&hub.me, &self.seen, waits)?;
        self.seen = ended.iter().map(|ended| ended.id.clone()).collect();
        if !ended.is_empty() {
            hub.accept(ended);
        }
        if hub.sender().is_none() {
            return Err(Fault::Gone("the other connection broke".into()));
        }
        hub.pump();
        Ok(())
    }

    /// Gives out again what the server has lost, of all chunks or of some.
    fn heal(&mut self, engine: &mut Streams, all: bool) -> Outcome<()> {
        let hub = self.hub;
        let sender = hub.sender(); // nobody sends meanwhile, so what is missing was not sent or is lost
        let numbers: Vec<u64> = {
            let mut state = hub.state();
            let mut numbers: Vec<u64> = state.chunks.keys().copied().collect();
            numbers.sort_unstable();
            if all {
                state.heal = false;
                state.progress = Instant::now();
                state.unsent.clear(); // all of them are missing
            } else {
                numbers.retain(|number| *number >= self.asked.0 && !state.unsent.contains(number));
                numbers.truncate(SOME);
            }
            numbers
        };
        let next = if all { None } else { numbers.last().map(|last| last + 1) };
        self.asked = (next.unwrap_or(0), Instant::now());
        let healed = self.heal_these(engine, &numbers, all);
        drop(sender);
        if healed.is_err() {
            hub.state().heal = true;
        }
        healed
    }

    fn heal_these(&mut self, engine: &mut Streams, numbers: &[u64], all: bool) -> Outcome<()> {
        let hub = self.hub;
        if all {
            // What was withdrawn, and a replica that took over has not heard of that.
            let mut strays = engine.numbers(&hub.me)?;
            strays.retain(|stray| numbers.binary_search(stray).is_err());
            if !strays.is_empty() {
                engine.end(&hub.me, &strays)?;
            }
        }
        let asked = hub.state().again(numbers);
        let missing = engine.missing(&hub.me, &asked)?;
        if missing.is_empty() {
            return Ok(());
        }
        // Those that have ended are missing too, and their ends are there.
        loop {
            let ended = engine.take(&hub.me, &self.seen, Duration::ZERO)?;
            self.seen = ended.iter().map(|ended| ended.id.clone()).collect();
            if ended.is_empty() {
                break;
            }
            hub.accept(ended);
        }
        let again = hub.state().again(&missing);
        if again.is_empty() {
            return Ok(());
        }
        engine.submit(&hub.me, &again)?;
        let mut state = hub.state();
        state.healed += again.len() as u64;
        log::debug!("{} chunks were given out again to {}", again.len(), hub.link.name());
        Ok(())
    }

    /// Notes who works, and whether any of them can read what this program sends.
    fn look_at(&self, hosts: Vec<crate::engine::Described>) {
        let hub = self.hub;
        let label = &hub.me.label;
        let known = hosts.iter().any(|is| is.labels.contains(label));
        let mut state = hub.state();
        let others = hosts.first().map(|is| is.labels.join(" or "));
        state.hosts = hosts;
        state.strangers = match others.is_some() && !known && state.has_calls() {
            true => state.strangers.or_else(|| Some(Instant::now())),
            false => None,
        };
        let too_long = state.strangers.is_some_and(|since| since.elapsed() > hub.settings.start);
        drop(state);
        if let Some(others) = others.filter(|_| too_long) {
            let text = format!(
                "the workers of {} at {} are of build {others}, and this program is of build {label}: start workers of this \
                 build, or give both sides one version with `accept`",
                hub.link.name(),
                hub.link.shown(),
            );
            hub.fail(&engine::error(ErrorKind::Incompatible, text));
        }
    }

    /// The server is away, or does not do its part.
    fn trouble(&mut self, fault: Fault) {
        let hub = self.hub;
        *hub.sender() = None;
        let mut state = hub.state();
        let since = state.away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        state.away = Some((since, fault.clone()));
        let over = since.elapsed() > hub.settings.outage || matches!(fault, Fault::Auth(_) | Fault::Refused(_));
        let has_calls = state.has_calls();
        drop(state);
        if over && has_calls {
            hub.fail(&hub.link.error(&fault));
        }
        // Not longer, so that the end of the pool is seen.
        std::thread::sleep(if since.elapsed() < Duration::from_secs(2) { SOON } else { WAIT });
    }
}
