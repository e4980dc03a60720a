//! The regular work of the parent's side: it receives outcomes, handles dead workers and publishes chunks.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use ossature_sys::errno::Errno;
use ossature_sys::process::Pid;
use ossature_sys::shm::RacySlice;

use super::board::{BROKEN, CLOSED, EACH, FINISHED, IN_SLOT, RUNNING, WorkerEntry};
use super::chunk::Chunk;
use super::exits::{TIMED_OUT, exit_of_number};
use super::failure::Failure;
use super::ground::{lower, raise};
use super::hub::{Hub, Inner, Mode, Partial};
use super::job::Outcome;
use super::stream::{Header, Kind, Record};
use super::together::Together;
use super::word::{SlotState, place_of, state as state_of, word};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::tasks::Form;
use crate::multiprocessing::transfer::Descriptors;

/// The number of chunks that one store publishes. Each store takes the cache line of the word from the workers, which
/// claim with that word.
const BURST: u32 = 16;
/// The maximum number of times that a chunk is published again because its worker died before it started a call.
const SPARED: u32 = 3;

impl Hub {
    /// Receives all available outcomes, and publishes chunks as far as there is room.
    pub(super) fn collect(&self, inner: &mut Inner) -> Result<()> {
        // Lowered before the look, so that later outcomes make the descriptors readable again, or wake the leader. The
        // leader lowers the descriptor itself after a sleep.
        if inner.led {
            if self.wants_each() {
                self.ground.board().listen(EACH);
            }
        } else if self.armed.load(SeqCst) > 0 {
            lower(self.ground.news());
            self.ground.board().listen(EACH);
        }
        let ends = self.ground.board().ends.load(SeqCst);
        for place in 0..self.workers() {
            self.drain(inner, place)?;
        }
        if ends != inner.ends {
            inner.ends = ends;
            self.collect_dead(inner)?;
        }
        self.look_at_packets(inner);
        self.publish(inner)
    }

    /// Receives the outcomes of one worker.
    pub(super) fn drain(&self, inner: &mut Inner, place: usize) -> Result<()> {
        let Some(stream) = self.ground.stream(place) else { return Ok(()) };
        if !stream.has_more() {
            return Ok(());
        }
        self.collected.fetch_add(1, SeqCst); // before the stream is empty: see `lead`
        let mut scratch = std::mem::take(&mut inner.scratch);
        let mut next = inner.partial.get(place).and_then(|partial| partial.next);
        let mut together = Together::default();
        let read = stream.read(&mut scratch, &mut next, |record| match record {
            Record::One(header, payload) => self.take(inner, place, header, payload, &mut together),
            Record::Values(sequence, index, count, bytes) => {
                together.store();
                self.take_values(inner, (sequence, index), count, bytes);
            }
        });
        together.store();
        inner.scratch = scratch;
        if let Some(partial) = inner.partial.get_mut(place) {
            partial.next = next;
        }
        read.map_err(|errno| {
            Error::os(errno, "cannot read the outcomes of a worker of the pool: its memory was overwritten")
        })
    }

    /// Receives the values of consecutive calls.
    fn take_values(&self, inner: &mut Inner, (sequence, index): (u64, u32), count: u32, bytes: &[u8]) {
        let at = place_of(sequence, self.ground.slots().len());
        let chunk = inner.chunks.get_mut(at).and_then(Option::as_mut);
        // Values of a chunk that was cancelled or replaced come too late.
        let Some(chunk) =
            chunk.filter(|chunk| chunk.sequence == sequence && chunk.seen == index && count <= chunk.count() - index)
        else {
            return;
        };
        chunk.job.values(chunk.at(), count as usize, bytes);
        chunk.seen += count;
        chunk.has_gone_on();
        if chunk.is_done() {
            self.finish(inner, at);
        }
    }

    /// Receives one record.
    fn take<'s>(
        &self,
        inner: &mut Inner,
        place: usize,
        header: Header,
        payload: &'s [u8],
        together: &mut Together<'s>,
    ) {
        let at = place_of(header.sequence, self.ground.slots().len());
        let whole = inner.partial.get(place).is_some_and(|partial| partial.of.is_none());
        if let (Kind::Value, true) = (header.kind, whole) {
            let chunk = inner.chunks.get_mut(at).and_then(Option::as_mut);
            let is_meant = |chunk: &&mut Chunk| chunk.sequence == header.sequence && chunk.seen == header.index;
            // An outcome of a chunk that was cancelled or replaced comes too late.
            if let Some(chunk) = chunk.filter(is_meant) {
                together.add(&chunk.job, chunk.at(), payload);
                self.has_seen(inner, at);
            }
            return;
        }
        let Some(partial) = inner.partial.get_mut(place) else { return };
        let of = Some((header.sequence, header.index));
        if partial.of.is_some() && partial.of != of {
            *partial = Partial { next: partial.next, ..Partial::default() }; // its worker died in the middle
        }
        if header.kind == Kind::Piece {
            partial.of = of;
            partial.bytes.extend_from_slice(payload);
            return;
        }
        let (begun, bytes) = (partial.of.take(), std::mem::take(&mut partial.bytes));
        if header.kind == Kind::LastWords {
            if let Some(chunk) = inner.chunks.get_mut(at).and_then(Option::as_mut) {
                if chunk.sequence == header.sequence {
                    chunk.rare_mut().last_words = Some(String::from_utf8_lossy(payload).into_owned());
                }
            }
            return;
        }
        let whole = if begun.is_some() {
            let mut bytes = bytes;
            bytes.extend_from_slice(payload);
            Some(bytes)
        } else {
            None
        };
        let payload = whole.as_deref().unwrap_or(payload);
        let mut chunk = inner.chunks.get_mut(at).and_then(Option::as_mut);
        if let Some(chunk) = chunk.as_mut().filter(|chunk| chunk.form == Form::Plain) {
            if chunk.sequence == header.sequence {
                self.fill(chunk, header.index);
                if header.kind == Kind::Filled && chunk.is_done() {
                    self.free(inner, at);
                    return;
                }
            }
        }
        let descriptors = match header.kind {
            Kind::Carried => self.parcel(inner, (header.sequence, header.index)),
            _ => Descriptors::new(),
        };
        let chunk = inner.chunks.get_mut(at).and_then(Option::as_mut);
        // An outcome of a chunk that was cancelled or replaced comes too late.
        let Some(chunk) = chunk.filter(|chunk| chunk.sequence == header.sequence && chunk.seen == header.index) else {
            return;
        };
        together.store();
        match header.kind {
            Kind::Filled => return,
            Kind::Value | Kind::Carried => chunk.job.value(chunk.at(), payload, descriptors),
            kind => chunk.job.end(chunk.at(), Outcome::Failed(Failure::of(kind, payload))),
        }
        self.has_seen(inner, at);
    }

    /// Counts an outcome of the chunk in a slot, and frees the slot after the last outcome.
    fn has_seen(&self, inner: &mut Inner, at: usize) {
        let Some(chunk) = inner.chunks.get_mut(at).and_then(Option::as_mut) else { return };
        chunk.seen += 1;
        chunk.has_gone_on();
        if chunk.is_done() {
            self.finish(inner, at);
        }
    }

    /// Publishes waiting chunks, and wakes workers for them.
    pub(super) fn publish(&self, inner: &mut Inner) -> Result<()> {
        let (board, slots) = (self.ground.board(), self.ground.slots());
        let (mut published, mut failed) = (0, false);
        while inner.free > 0 {
            if self.publish_first(inner) {
                published += 1;
                if published % BURST == 0 {
                    board.published.word.store(inner.sequence, Release);
                }
                continue;
            }
            let Some((mut chunk, is_cut)) = inner.next_chunk() else { break };
            if chunk.job.is_cancelled() {
                chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(Failure::Cancelled)));
                failed = true;
                continue;
            }
            if let Some(length) = chunk.needs() {
                match inner.arena.give(&self.arena, length) {
                    Ok(Some(room)) => chunk.rare_mut().room = Some(room),
                    Ok(None) if length as u64 <= inner.arena.longest() && inner.free < slots.len() => {
                        inner.queue.push_front(Box::new(chunk)); // until another is done
                        break;
                    }
                    Ok(None) => {
                        let text = format!("its arguments take {length} bytes, which exceeds the pool's memory");
                        let failure = Failure::Spoilt(ErrorKind::InvalidInput, text);
                        chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
                        failed = true;
                        continue;
                    }
                    Err(errno) => {
                        let failure = Failure::Spoilt(ErrorKind::Os, format!("no memory for its arguments: {errno}"));
                        chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
                        failed = true;
                        continue;
                    }
                }
            }
            let at = inner.vacant(slots.len());
            let Some(slot) = slots.get(at) else { break };
            chunk.sequence = inner.sequence;
            // Both copies fit: `INLINE`, and the length of the room.
            let room = chunk.rare().room;
            let _ = match room {
                None => slot.bytes.copy_in(0, &chunk.bytes).map_err(drop),
                Some(_) if chunk.bytes.is_empty() => Ok(()), // they are there
                Some(room) => self.ground.arena.copy_in(room.offset as usize, &chunk.bytes).map_err(drop),
            };
            slot.describe(&chunk, room.map_or(IN_SLOT, |room| room.offset), &mut inner.names);
            let state = if chunk.is_alone() { SlotState::Packed } else { SlotState::Ready };
            slot.word.store(word(state, chunk.sequence), Release);
            inner.sequence += 1; // the number is used, whatever becomes of the packet
            if chunk.is_alone() {
                // Before the packet: the worker that has run its call and finds no other chunk raises `next` past
                // this chunk, and wakes the parent, which may wait for that.
                board.published.word.store(inner.sequence, Release);
                let mut sent = self.send_packet(chunk.sequence, &chunk.rare().descriptors);
                if sent == Ok(false) && inner.free == slots.len() {
                    self.ground.calls().clear(); // what is there is of chunks that were cancelled
                    sent = self.send_packet(chunk.sequence, &chunk.rare().descriptors);
                }
                if sent != Ok(true) {
                    slot.word.store(word(SlotState::Free, 0), Release);
                    if let Some(room) = chunk.take_room() {
                        inner.arena.take_back(room);
                    }
                    if sent == Ok(false) && inner.free < slots.len() {
                        inner.queue.push_front(Box::new(chunk)); // until another is done
                        break;
                    }
                    let errno = sent.err().unwrap_or(Errno::TOOMANYREFS);
                    let failure = Failure::Spoilt(ErrorKind::Os, format!("cannot send its descriptors: {errno}"));
                    chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
                    failed = true;
                    continue;
                }
            }
            // They are in the arena or the slot, for another try too.
            let bytes = std::mem::take(&mut chunk.bytes);
            if is_cut && room.is_none() {
                inner.cut = bytes; // not a long one, which may have any length
            }
            inner.chunks[at] = Some(chunk);
            inner.free -= 1;
            published += 1;
            if published % BURST == 0 {
                board.published.word.store(inner.sequence, Release);
            }
        }
        if published % BURST != 0 {
            board.published.word.store(inner.sequence, Release);
        }
        self.has_published(inner, published);
        if failed {
            self.wake_others(inner); // no worker tells of these
        }
        Ok(())
    }

    /// Wakes workers for chunks that were published.
    pub(super) fn has_published(&self, inner: &mut Inner, published: u32) {
        let board = self.ground.board();
        if published > 0 && board.has_sleepers_for_work(self.workers()) {
            if inner.waits && board.has_enough_lookers(inner.sequence) {
                inner.unwoken = true;
            } else {
                self.ground.wake_workers(published);
            }
        }
        if published > 0 && self.setup.idle.is_some() && self.ground.entries().iter().any(WorkerEntry::is_retired) {
            raise(self.ground.nudge()); // the supervisor starts workers again
        }
        if inner.mode == Mode::Closed {
            self.wind_up(inner, published > 0);
        }
    }

    /// Tells the workers and the supervisor of a closed pool how much is left to do.
    pub(super) fn wind_up(&self, inner: &Inner, has_published: bool) {
        let board = self.ground.board();
        let has_all = inner.queue.is_empty() && inner.drawers.is_empty();
        // Each of them fails if the supervisor has marked the pool as broken.
        let closed = has_all && board.mode.compare_exchange(RUNNING, CLOSED, SeqCst, Relaxed).is_ok();
        // A chunk may still be published again while its worker dies, so the supervisor waits for this word.
        let finished = inner.is_finished() && board.mode.compare_exchange(CLOSED, FINISHED, SeqCst, Relaxed).is_ok();
        if closed || finished {
            self.ground.wake_all_workers();
        }
        // The supervisor starts workers for what was published after the close.
        if closed || finished || has_published {
            raise(self.ground.nudge());
        }
    }

    /// Handles the chunks of dead workers, and a pool that the supervisor has broken.
    pub(super) fn collect_dead(&self, inner: &mut Inner) -> Result<()> {
        let board = self.ground.board();
        for (at, slot) in self.ground.slots().iter().enumerate() {
            let SlotState::Dead(ticket) = state_of(slot.word.load(Acquire)) else { continue };
            let place = ticket as usize % self.workers();
            self.drain(inner, place)?; // the worker may have written more after the first look
            // The next worker of the entry may have written a part of its own outcome, which was just read.
            let sequence = slot.sequence.load(Relaxed);
            let of_the_dead = |partial: &&mut Partial| partial.of.is_some_and(|(of, _)| of == sequence);
            if let Some(partial) = inner.partial.get_mut(place).filter(of_the_dead) {
                *partial = Partial { next: partial.next, ..Partial::default() };
            }
            let (exit, pid, begun) = (slot.exit.load(Relaxed), slot.pid.load(Relaxed), slot.at.load(Relaxed));
            if let Some(chunk) = inner.chunks.get_mut(at).and_then(Option::as_mut) {
                if let (Form::Plain, Some(before)) = (chunk.form, begun.checked_sub(1)) {
                    self.fill(chunk, before);
                }
                if chunk.bytes.is_empty() {
                    chunk.bytes = vec![0; chunk.length()];
                    let _ = match chunk.rare().room {
                        Some(room) => self.ground.arena.copy_out(room.offset as usize, &mut chunk.bytes).map_err(drop),
                        None => slot.bytes.copy_out(0, &mut chunk.bytes).map_err(drop),
                    }; // both are as long
                }
            }
            if let Some(chunk) = self.free(inner, at) {
                self.charge(inner, chunk, exit, pid, begun);
            }
        }
        if board.mode.load(SeqCst) == BROKEN && inner.broken.is_none() {
            let text = format!("the pool cannot start workers: {}", board.text());
            inner.fail_all(&Failure::Broken(text.clone()), self);
            inner.broken = Some(text);
        }
        Ok(())
    }

    /// Ends the call that was running in a dead worker, or arranges a new try; publishes the other calls again.
    fn charge(&self, inner: &mut Inner, mut chunk: Chunk, exit: u32, pid: u32, begun: u32) {
        let running = begun.checked_sub(1) == Some(chunk.seen);
        let cancelled = chunk.job.is_cancelled();
        let spared = if running { 0 } else { chunk.rare().spared + 1 };
        let tries = chunk.rare().tries + u32::from(running);
        let guilty = (running && tries > self.retries) || spared > SPARED;
        let late = exit & TIMED_OUT != 0;
        if cancelled {
            chunk.left().for_each(|index| chunk.job.end(index, Outcome::Failed(Failure::Cancelled)));
            return;
        }
        if guilty {
            let exit = exit_of_number(exit);
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let words = chunk.rare().last_words.clone().map(String::into_boxed_str);
            chunk.job.end(chunk.at(), Outcome::Failed(Failure::Died { exit, pid, late, words }));
        }
        let Some(mut rest) = chunk.rest(chunk.seen + u32::from(guilty)) else {
            // Either none is left, or the worker has written over the arguments.
            let failure = Failure::Spoilt(ErrorKind::Decode, "a worker has written over its arguments".into());
            let left = chunk.left().skip(usize::from(guilty));
            left.for_each(|index| chunk.job.end(index, Outcome::Failed(failure.clone())));
            return;
        };
        if !guilty {
            let rare = rest.rare_mut();
            (rare.tries, rare.spared) = (tries, spared);
        }
        inner.queue.push_front(rest);
    }
}

impl Inner {
    /// Takes the next waiting chunk; whether it was taken off a series, so that its slot may keep its bytes.
    fn next_chunk(&mut self) -> Option<(Chunk, bool)> {
        let front = self.queue.front_mut()?;
        let split = if front.is_series() { front.split(std::mem::take(&mut self.cut)) } else { None };
        match split {
            None => self.queue.pop_front().map(|chunk| (*chunk, false)),
            Some(chunk) => {
                if front.count() == 0 {
                    self.queue.pop_front();
                }
                Some((chunk, true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::board::INLINE;
    use super::super::hub::tests::hub;
    use super::super::job::{Job, Keep};
    use super::*;
    use crate::multiprocessing::transfer::Writing;

    #[test]
    fn every_call_ends_whose_arguments_a_dead_worker_has_written_over() {
        for begun in [1, 2] {
            let (hub, job) = (hub(), Arc::new(Job::new("a::task", Keep::All)));
            let mut chunk = Chunk::new(&job, Form::Value);
            for number in 0..4 {
                chunk.push(&Writing::begin(), &number).unwrap();
            }
            job.give(4);
            hub.submit([chunk]).unwrap();
            let slot = &hub.ground.slots()[0];
            slot.bytes.copy_in(0, &[u8::MAX; INLINE]).unwrap();
            slot.at.store(begun, Relaxed);
            let mut inner = hub.lock().unwrap();
            if let Some(chunk) = &mut inner.chunks[0] {
                (0..begun as usize - 1).for_each(|index| job.value(index, &[0], Descriptors::new()));
                chunk.seen = begun - 1;
            }
            slot.word.store(word(SlotState::Dead(0), 0), Release);
            hub.collect_dead(&mut inner).unwrap();
            assert!(job.is_done() && inner.is_finished(), "{begun}");
        }
    }
}
