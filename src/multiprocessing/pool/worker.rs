//! A worker: it claims chunks and runs their calls, one after the other, until it ends.
//!
//! | step | state after a kill in this step |
//! | --- | --- |
//! | claim the chunk: one compare-exchange of the slot's word | the chunk is ready, or claimed by this ticket with no call begun |
//! | record the call that begins, then decode its arguments and run it | that call is running |
//! | write its outcome, made visible by one store | that call is running, or its outcome is visible |
//! | after the last call, set the word to `Done` | `Claimed`, and every outcome is visible |
//!
//! So after the death of a worker the parent knows which calls have ended, because their outcomes are visible. It also
//! knows which call was running, and that no other call has begun.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::fd;
use ossature_sys::process::Usage;
use ossature_sys::sched::{self, CpuSet};
use ossature_sys::shm::RacySlice;
use ossature_sys::signal;
use ossature_sys::socket::MOST_DESCRIPTORS;

use super::board::{CLOSED, FLAG_PLAIN, FLAG_RESULT, IN_SLOT, NO_CPU, RUNNING, Slot, WorkerEntry};
use super::chunk::{HEAD, plain_head};
use super::ground::{Ground, Setup};
use super::logs;
use super::looks::Looks;
use super::names::NUMBER_SHIFT;
use super::stream::{Header, Kind, Stream};
use super::word::{SlotState, word};
use crate::multiprocessing::logging::{LevelFilter, debug};
use crate::multiprocessing::tasks::{Calls, Ended, Form, Items, Outlet, Sink, Task, look_up};
use crate::multiprocessing::transfer::{Bounds, Descriptors, Handle, Packed, Reading, Writing};
use crate::thread;

/// The function that the workers run instead of tasks if they are copies of the parent.
pub(super) type Runner<'r> = &'r dyn Fn(&mut Calls<'_>);

/// The maximum size of a buffer for values that is kept.
const KEPT: usize = 1 << 20;

/// The exit code of a worker whose initializer failed.
const NOT_READY: u8 = 1;

/// The place of a claimed chunk, and the descriptors in its arguments, which few chunks have.
type Claimed = (usize, Option<Box<Descriptors>>);

/// The state of a worker.
struct Worker<'g> {
    ground: &'g Ground,
    setup: &'g Setup,
    entry: &'g WorkerEntry,
    stream: Stream<'g>,
    ticket: u32,
    place: usize,
    writing: Writing,
    runner: Option<Runner<'g>>,
    /// The task that was called last.
    task: Option<Task>,
    /// The number of that task's name, or 0.
    number: u32,
    bytes: Vec<u8>,
    /// The buffer for values.
    out: Vec<u8>,
    /// Whether the next claim looks at the board before the packets.
    board_first: Cell<bool>,
    /// The looks for a chunk before the worker sleeps.
    looks: Looks,
}

/// Runs the worker of an entry, and returns the exit code.
pub(super) fn live(
    ground: &Ground,
    setup: &Setup,
    arguments: Option<Packed>,
    runner: Option<Runner<'_>>,
    (place, ticket): (usize, u32),
) -> u8 {
    let (Some(entry), Some(stream)) = (ground.entries().get(place), ground.stream(place)) else { return NOT_READY };
    if let Ok(held) = signal::block(setup.held()) {
        held.keep(); // the parent decides what an interrupt ends
    }
    let level = LevelFilter::iter().find(|level| setup.log == Some(*level as u8));
    if let (Some(level), Some(Handle(pipe))) = (level, &ground.parts.logs) {
        if let Ok(pipe) = fd::duplicate(pipe) {
            logs::forward(pipe, level);
        }
    }
    if let (Some(name), Some(arguments)) = (&setup.initializer, arguments) {
        if let Err(reason) = initialize(name, arguments) {
            ground.board().note(&reason);
            return NOT_READY;
        }
    }
    if let Err(reason) = set_affinity(setup, place) {
        ground.board().note(&reason);
        return NOT_READY;
    }
    entry.ready.store(1, SeqCst);
    let mut worker = Worker {
        ground,
        setup,
        entry,
        stream,
        ticket,
        place,
        writing: Writing::begin(),
        runner,
        task: None,
        number: 0,
        bytes: Vec::new(),
        out: Vec::new(),
        board_first: Cell::new(true),
        looks: Looks::default(),
    };
    worker.run();
    0
}

/// Restricts this worker to its processors. The error is a message.
fn set_affinity(setup: &Setup, place: usize) -> Result<(), String> {
    let Some(set) = place.checked_rem(setup.affinity.len()).and_then(|at| setup.affinity.get(at)) else {
        return Ok(());
    };
    let moved = sched::set_affinity(None, &CpuSet::of(set.iter().map(|cpu| *cpu as usize)));
    moved.map_err(|errno| format!("cannot run on the processors {set:?} of PoolBuilder::affinity: {errno}"))
}

/// Runs the initializer. The error is a message.
fn initialize(name: &str, arguments: Packed) -> Result<(), String> {
    let task = look_up(name).ok_or_else(|| format!("the initializer {name} is not in the worker's table of tasks"))?;
    let body = task.open(arguments, Form::Code).map_err(|error| format!("the initializer {name}: {error}"))?;
    match thread::catch(body) {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("the initializer {name} ended with code {code}")),
        Err(escaped) => {
            let text = thread::text(&*escaped.payload).unwrap_or("Box<dyn Any>");
            Err(format!("the initializer {name} panicked: {text}"))
        }
    }
}

impl Worker<'_> {
    fn run(&mut self) {
        self.run_chunks();
        self.entry.rest();
    }

    fn run_chunks(&mut self) {
        let mut left = self.setup.max_chunks;
        while left != Some(0) {
            let Some((place, descriptors)) = self.next() else { return };
            if let Some(slot) = self.ground.slots().get(place) {
                self.chunk(slot, descriptors);
            }
            left = left.map(|left| left - 1);
            if self.has_grown() {
                debug!("the pool worker ends: it has had more memory than max_memory_per_child");
                return;
            }
        }
    }

    /// Whether the worker has had more memory than allowed.
    fn has_grown(&self) -> bool {
        let grown = |most| Usage::of_self().is_ok_and(|usage| usage.max_rss_kib.saturating_mul(1024) > most);
        self.setup.max_memory.is_some_and(grown)
    }

    /// Claims the next chunk, and returns its slot and descriptors; `None` when no chunk is left and none will come.
    fn next(&self) -> Option<Claimed> {
        let board = self.ground.board();
        if !self.goes_on() {
            return None;
        }
        let mut found = self.claim(true);
        if found.is_none() {
            self.entry.rest();
            self.ground.tell_parent_of_rest();
            board.set_looking(self.place, true);
            found = self.look();
            board.set_looking(self.place, false);
        }
        found
    }

    /// Whether there may still be chunks for this worker.
    fn goes_on(&self) -> bool {
        matches!(self.ground.board().mode.load(SeqCst), RUNNING | CLOSED)
    }

    /// Waits for a chunk, asleep for most of the time, and claims it.
    fn look(&self) -> Option<Claimed> {
        let board = self.ground.board();
        let mut until = None;
        loop {
            if let Some(end) = self.looks.find(self.shares_processor(), true, || self.look_once()) {
                return end;
            }
            let may_be_work = || board.mode.load(SeqCst) != RUNNING || board.has_unclaimed();
            let until = *until.get_or_insert_with(|| self.setup.idle.map_or(Deadline::NEVER, Deadline::after));
            board.set_looking(self.place, false);
            self.entry.cpu.store(NO_CPU, Relaxed);
            board.sleep(self.entry, self.place, until, may_be_work);
            board.set_looking(self.place, true);
            if until.has_passed() && self.entry.retire(may_be_work) {
                return None;
            }
        }
    }

    /// Whether the parent ran on this worker's processor when it last waited.
    fn shares_processor(&self) -> bool {
        let here = sched::current_cpu() as u32;
        self.entry.cpu.store(here, Relaxed);
        self.ground.board().cpu.load(Relaxed) == here
    }

    /// Claims a chunk. Returns `None` if there is none yet, and `Some(None)` if there will be none.
    fn look_once(&self) -> Option<Option<Claimed>> {
        if !self.goes_on() {
            return Some(None);
        }
        let found = self.claim(false);
        let ends = found.is_none() && self.ground.board().mode.load(SeqCst) != RUNNING;
        (found.is_some() || ends).then_some(found)
    }

    /// Claims a chunk of the board or of a packet, if there is one. The two kinds take turns, so that neither waits for
    /// ever. `is_probable`: see [`Board::claim`](super::board::Board::claim).
    fn claim(&self, is_probable: bool) -> Option<Claimed> {
        let (board, slots) = (self.ground.board(), self.ground.slots());
        let of_the_board = || board.claim(slots, self.ticket, is_probable).map(|place| (place, None));
        let of_a_packet = || {
            let (place, descriptors) = self.ground.claim_packet(self.entry, self.ticket)?;
            Some((place, Some(Box::new(descriptors))))
        };
        let found = match self.board_first.get() {
            true => of_the_board().or_else(of_a_packet),
            false => of_a_packet().or_else(of_the_board),
        };
        self.board_first.set(self.board_first.get() ^ found.is_some());
        found
    }

    /// Runs the calls of a claimed chunk.
    fn chunk(&mut self, slot: &Slot, descriptors: Option<Box<Descriptors>>) {
        let sequence = slot.sequence.load(Relaxed);
        let (length, count, flags) = (slot.length.load(Relaxed), slot.count.load(Relaxed), slot.flags.load(Relaxed));
        let offset = slot.offset.load(Relaxed);
        let number = flags >> NUMBER_SHIFT;
        let form = match flags & !(u32::MAX << NUMBER_SHIFT) {
            FLAG_RESULT => Form::Result,
            FLAG_PLAIN => Form::Plain,
            _ => Form::Value,
        };
        let mut bytes = std::mem::take(&mut self.bytes);
        // Plain arguments are read where they lie.
        let most = if form == Form::Plain { HEAD } else { usize::MAX };
        bytes.resize((length as usize).min(most), 0);
        // The parent wrote both within bounds.
        let _ = match offset {
            IN_SLOT => slot.bytes.copy_out(0, &mut bytes).map_err(drop),
            offset => self.ground.arena.copy_out(offset as usize, &mut bytes).map_err(drop),
        };
        self.entry.begin_chunk();
        if self.runner.is_none() && (number == 0 || number != self.number) {
            self.find_task(split_name(&bytes).0);
            // An unknown name is looked up again, because its bytes may have been damaged.
            self.number = self.task.map_or(0, |_| number);
        }
        let plain = (form == Form::Plain).then(|| {
            let (start, head) = (offset as usize, plain_head(split_name(&bytes).0.len()));
            let (end, length) = (start + length as usize, (length as usize).saturating_sub(head));
            (Items { region: &self.ground.arena, start: start + head, length }, end)
        });
        let descriptors = descriptors.map_or_else(Descriptors::new, |descriptors| *descriptors);
        self.calls(&bytes, descriptors, sequence, count, form, plain);
        if plain.is_some() {
            let header = Header { sequence, index: count, kind: Kind::Filled, length: 0 };
            self.stream.write(header, &[], || self.ground.call_parent());
        }
        self.bytes = bytes;
        let claimed = word(SlotState::Claimed(self.ticket), sequence);
        // Fails when the parent has seen all outcomes and freed the slot.
        let _ = slot.word.compare_exchange(claimed, word(SlotState::Done(self.ticket), sequence), SeqCst, Relaxed);
        self.ground.tell_parent(); // with a fence between the word above and the look at the doom
        let is_doomed = |entry: &WorkerEntry| entry.doomed.load(SeqCst) == sequence.wrapping_add(1);
        if is_doomed(self.entry) {
            self.rest_while(is_doomed);
        }
    }

    /// Looks up the task with this name, unless it was called last.
    fn find_task(&mut self, name: &[u8]) {
        if self.task.is_none_or(|task| task.name().as_bytes() != name) {
            self.task = std::str::from_utf8(name).ok().and_then(look_up);
        }
    }

    fn calls(
        &mut self,
        bytes: &[u8],
        descriptors: Descriptors,
        sequence: u64,
        count: u32,
        form: Form,
        plain: Option<(Items<'_>, usize)>,
    ) {
        let (items, values) = plain.unzip();
        let (name, arguments) = split_name(bytes);
        let (runner, task) = (self.runner, self.task);
        let out = std::mem::take(&mut self.out);
        let mut outlet = Telling { worker: self, sequence, values };
        let bounds = Bounds { depth: self.setup.depth, deeper: "set_max_argument_depth", ..Bounds::SAME_PROGRAM };
        let lost = descriptors.count_lost();
        let mut arguments = Reading::begin(arguments, descriptors, bounds);
        if self.setup.for_strangers {
            arguments = arguments.of_strangers();
        }
        let writing = &self.writing;
        let mut calls = Calls { form, count, arguments, items, writing, out, outlet: &mut outlet };
        match (runner, task) {
            _ if lost > 0 => {
                calls.refuse("this process cannot open the descriptors in them: close some, or raise RLIMIT_NOFILE")
            }
            (Some(runner), _) => runner(&mut calls),
            (None, Some(task)) => task.run(&mut calls),
            (None, None) => {
                calls.refuse(&format!("the worker does not know the task {}", String::from_utf8_lossy(name)))
            }
        }
        let out = calls.out;
        if out.capacity() <= KEPT {
            self.out = out;
        }
    }

    /// Records that a call has ended before its time limit. If the call was late, this never returns.
    #[inline]
    fn end_in_time(&self) {
        if self.setup.timeout.is_some() {
            self.entry.expires.swap(0, AcqRel);
            self.rest_while(|entry| entry.late.load(SeqCst) != 0);
        }
    }

    #[inline]
    fn count_call(&self) {
        let calls = self.entry.calls.load(Relaxed); // only this worker writes it
        self.entry.calls.store(calls.wrapping_add(1), Relaxed);
    }

    /// Waits to be killed, if the supervisor is about to kill this worker for the call or chunk that just ended.
    fn rest_while(&self, is_meant: impl Fn(&WorkerEntry) -> bool) {
        fence(SeqCst); // against the process that stores the word and then looks at what is running
        while is_meant(self.entry) {
            std::thread::sleep(Duration::from_millis(1)); // the supervisor kills this worker, or takes it back
        }
    }
}

/// Splits the name of the task off the arguments.
pub(super) fn split_name(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return (&[], &[]) };
    rest.split_at_checked(u16::from_le_bytes(*length).into()).unwrap_or((&[], &[]))
}

/// The outlet that reports the outcomes of one chunk to the parent.
struct Telling<'w, 'g> {
    worker: &'w Worker<'g>,
    sequence: u64,
    /// The offset in the arena for the values of plain calls.
    values: Option<usize>,
}

impl Outlet for Telling<'_, '_> {
    #[inline]
    fn begin(&mut self, index: u32) {
        self.worker.entry.begin(self.sequence, index);
        if let Some(timeout) = self.worker.setup.timeout {
            self.worker.entry.expires.store(Deadline::after(timeout).as_nanos(), SeqCst);
        }
    }

    #[inline]
    fn value(&mut self, index: u32, measured: &[u8], more: bool) {
        let worker = self.worker;
        worker.end_in_time();
        worker.stream.write_value((self.sequence, index), measured, || worker.ground.call_parent());
        worker.count_call();
        if more {
            self.begin(index + 1);
        }
    }

    fn sink(&self) -> Option<Sink<'_>> {
        let Worker { entry, ground, setup, .. } = self.worker;
        let start = self.values.filter(|_| setup.timeout.is_none())?;
        let (begun, first) = entry.beginning(self.sequence);
        Some(Sink { region: &ground.arena, start, begun, first, calls: &entry.calls })
    }

    fn end(&mut self, index: u32, ended: Ended, bytes: &[u8], descriptors: Descriptors) {
        let worker = self.worker;
        worker.end_in_time();
        let carried = !descriptors.is_empty();
        if carried {
            let count = descriptors.fd_counts().all;
            let sent = match count > MOST_DESCRIPTORS {
                true => {
                    Err(format!("it contains {count} descriptors, but a result carries at most {MOST_DESCRIPTORS}"))
                }
                false => worker.ground.send_parcel((self.sequence, index), &descriptors),
            };
            if let Err(text) = sent {
                return self.end(index, Ended::Unencodable, text.as_bytes(), Descriptors::new());
            }
        }
        let kind = match ended {
            Ended::Value if self.values.is_some() => {
                let start = self.values.unwrap_or_default() + index as usize * bytes.len();
                let _ = worker.ground.arena.copy_in(start, bytes); // the parent made room
                return worker.count_call();
            }
            Ended::Value if carried => Kind::Carried,
            Ended::Value => Kind::Value,
            Ended::Failed => Kind::Failed,
            Ended::Panicked => Kind::Panicked,
            Ended::Undecodable => Kind::Undecodable,
            Ended::Unencodable => Kind::Unencodable,
        };
        let header = Header { sequence: self.sequence, index, kind, length: 0 };
        worker.stream.write(header, bytes, || worker.ground.call_parent());
        worker.count_call();
    }
}
