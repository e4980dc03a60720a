//! The reading thread: records ends, sends heartbeats for the client, and resubmits chunks that the server has lost.
//!
//! The client stores the inputs of every call that it waits for. So after each reconnection, and after two heartbeats
//! of silence, the receiver queries which of its chunks are neither waiting nor claimed. It records all available ends,
//! and submits the rest again under the same numbers. While chunks end, it queries some of them at each second
//! heartbeat, in rotation.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ossature::ErrorKind;
use ossature::multiprocessing::pool::engine;

use crate::engine::{Engine, Fault, Finished, Outcome};
use crate::hub::Hub;
use crate::reader::Reader;
use crate::state::{BATCH, HubState, Mode};
use crate::streams::Streams;

/// How long the thread waits at the server before it checks for other work.
const WAIT: Duration = Duration::from_millis(250);
/// How long the thread waits while the server is out of memory, or calls are unsent.
const SOON: Duration = Duration::from_millis(20);
/// The number of heartbeats in a lease.
pub(crate) const BEATS: u32 = 10;
/// The approximate number of chunks in one inquiry while others end.
const SOME: usize = 1024;

/// Ends all calls when the thread panics, so that no caller waits forever.
struct Last<'h>(&'h Hub);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().mode = Mode::Ended;
            self.0.fail(&engine::error(ErrorKind::Panicked, "the thread that receives results has panicked".into()));
        }
    }
}

/// Runs the receiving thread.
pub(crate) fn receive(hub: &Arc<Hub>) {
    let _last = Last(hub);
    loop {
        let state = hub.state();
        let rests = |state: &mut HubState| state.mode != Mode::Ended && (state.led || state.is_idle());
        let waited = hub.work.wait_timeout_while(state, WAIT, rests).unwrap_or_else(PoisonError::into_inner);
        let (mode, led) = (waited.0.mode, waited.0.led);
        drop(waited);
        if mode == Mode::Ended {
            break;
        }
        if led {
            continue;
        }
        let read = {
            let mut reader = hub.reader();
            reader.connect(hub).and_then(|()| reader.read(hub))
        };
        if read.is_err() {
            // A short sleep, so that the end of the pool is seen.
            let since = hub.state().away.as_ref().map(|(since, _)| since.elapsed());
            std::thread::sleep(if since.unwrap_or_default() < Duration::from_secs(2) { SOON } else { WAIT });
        }
    }
    let engine = hub.reader().engine.take();
    let _ = leave(hub, engine);
}

/// Cancels the remaining chunks. An unavailable server removes the keys of the client when they expire.
fn leave(hub: &Hub, engine: Option<Streams>) -> Outcome<()> {
    let unwanted = std::mem::take(&mut hub.state().unwanted);
    let Some(mut engine) = engine else { return Ok(()) };
    engine.end(&hub.me, &unwanted)?;
    // The ends that came meanwhile.
    let mut seen = Vec::new();
    loop {
        let ended = engine.exchange(&hub.me, &[], &seen, Duration::ZERO)?;
        if ended.is_empty() {
            return engine.end(&hub.me, &[]);
        }
        seen = ended.into_iter().map(|ended| ended.id).collect();
    }
}

impl Reader {
    /// Connects, unless a connection exists.
    fn connect(&mut self, hub: &Hub) -> Outcome<()> {
        if self.engine.is_some() {
            return Ok(());
        }
        match hub.link.open().and_then(|one| Ok((one, hub.link.open()?))) {
            Ok((one, other)) => {
                self.seen.clear(); // another server may have given their names to others
                *hub.sender() = Some(other);
                hub.state().heal = true;
                self.engine = Some(one);
                Ok(())
            }
            Err(fault) => Err(self.trouble(hub, fault)),
        }
    }

    /// Does the due work, sends new chunks, and records the ends that are available, or arrive within a moment.
    pub(crate) fn read(&mut self, hub: &Hub) -> Outcome<()> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        match self.step(hub, &mut engine) {
            Ok(()) => hub.state().away = None,
            Err(Fault::Full(_)) => std::thread::sleep(SOON),
            Err(fault) => return Err(self.trouble(hub, fault)),
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn step(&mut self, hub: &Hub, engine: &mut Streams) -> Outcome<()> {
        let beat = hub.settings.lease / BEATS;
        if self.ticked.is_none_or(|then| then.elapsed() >= beat) {
            let hosts = engine.tick(&hub.me, hub.settings.lease)?;
            self.ticked = Some(Instant::now());
            look_at(hub, hosts);
        }
        let (unwanted, dead) = {
            let mut state = hub.state();
            (std::mem::take(&mut state.unwanted), std::mem::take(&mut state.dead))
        };
        let ended = if unwanted.is_empty() { Ok(()) } else { engine.end(&hub.me, &unwanted) };
        if ended.is_err() {
            hub.state().unwanted.extend(unwanted);
        }
        for (at, (body, why)) in dead.iter().enumerate() {
            let done = ended.clone().and_then(|()| engine.put_dead_letter(&hub.me.label, why, &hub.me.id, body));
            if done.is_err() {
                hub.state().dead.extend_from_slice(&dead[at..]);
                return done;
            }
        }
        ended?;
        let heal = {
            let mut state = hub.state();
            if state.chunks.is_empty() {
                state.progress = Instant::now();
            }
            state.heal || state.progress.elapsed() > beat * 2
        };
        if heal || self.asked.1.elapsed() > beat * 2 {
            self.heal(hub, engine, heal)?;
        }
        self.exchange(hub, engine, WAIT.min(beat))?;
        if hub.sender().is_none() {
            return Err(Fault::Gone("the other connection broke".into()));
        }
        Ok(())
    }

    /// Sends new chunks, and records ends.
    fn exchange(&mut self, hub: &Hub, engine: &mut Streams, wait: Duration) -> Outcome<()> {
        let (batch, wait) = {
            let mut state = hub.state();
            let batch = state.batch();
            let bytes: usize = batch.iter().map(|chunk| chunk.body.len()).sum();
            let wait = match () {
                _ if state.chunks.is_empty() || batch.len() >= BATCH.0 || bytes >= BATCH.1 => Duration::ZERO,
                _ if state.full || !state.unsent.is_empty() => SOON,
                _ => wait,
            };
            (batch, wait)
        };
        if batch.is_empty() && wait.is_zero() && self.seen.is_empty() {
            return Ok(());
        }
        match engine.exchange(&hub.me, &batch, &self.seen, wait) {
            Ok(ended) => {
                if !batch.is_empty() {
                    hub.state().full = false;
                }
                self.take_in(hub, ended);
                Ok(())
            }
            Err(Fault::Full(_)) if !batch.is_empty() => {
                hub.state().is_full(&batch);
                Ok(())
            }
            Err(fault) => {
                hub.state().heal = true; // some of them may have come there
                Err(fault)
            }
        }
    }

    /// Records ends; returns whether there were any.
    fn take_in(&mut self, hub: &Hub, ended: Vec<Finished>) -> bool {
        self.seen = ended.iter().map(|ended| ended.id.clone()).collect();
        if !ended.is_empty() {
            hub.accept(ended);
        }
        !self.seen.is_empty()
    }

    /// Resubmits the chunks that the server has lost, among all or some chunks.
    fn heal(&mut self, hub: &Hub, engine: &mut Streams, all: bool) -> Outcome<()> {
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
        let healed = self.heal_these(hub, engine, &numbers, all);
        drop(sender);
        if healed.is_err() {
            hub.state().heal = true;
        }
        healed
    }

    fn heal_these(&mut self, hub: &Hub, engine: &mut Streams, numbers: &[u64], all: bool) -> Outcome<()> {
        if all {
            // The chunks that were withdrawn, where a replica took over before it received the withdrawal.
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
        // Chunks that have ended are missing at the server too, but their answers are there.
        loop {
            let ended = engine.exchange(&hub.me, &[], &self.seen, Duration::ZERO)?;
            if !self.take_in(hub, ended) {
                break;
            }
        }
        let again = hub.state().again(&missing);
        if again.is_empty() {
            return Ok(());
        }
        engine.submit(&hub.me, &again)?;
        let mut state = hub.state();
        state.healed += again.len() as u64;
        log::debug!("{} chunks were submitted again to {}", again.len(), hub.link.name());
        Ok(())
    }

    /// Records that the server is unavailable, or refuses a request.
    fn trouble(&mut self, hub: &Hub, fault: Fault) -> Fault {
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
        fault
    }
}

/// Records the workers, and whether any of them can read the calls of this program.
fn look_at(hub: &Hub, hosts: Vec<crate::engine::Described>) {
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
