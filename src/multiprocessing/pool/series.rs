//! The chunks of a series on their way into the board, and the end of each chunk.
//!
//! A map of many short calls has a chunk for each, so a step for each chunk takes as long as a call. Each chunk of a
//! series is copied from the series into its slot, and nowhere else.

use std::sync::atomic::Ordering::{Relaxed, Release};

use ossature_sys::shm::RacySlice;

use super::board::{FLAG_PLAIN, FLAG_RESULT, IN_SLOT, INLINE, Slot};
use super::chunk::Chunk;
use super::handles::Handles;
use super::hub::{Hub, Inner};
use super::names::{NUMBER_SHIFT, Names};
use super::word::{SlotState, place_of, word};
use crate::multiprocessing::tasks::Form;

impl Slot {
    /// Stores what a worker must know about a chunk, except its bytes. The state of the slot follows.
    pub(super) fn describe(&self, chunk: &Chunk, offset: u64, names: &mut Names) {
        self.sequence.store(chunk.sequence, Relaxed);
        self.offset.store(offset, Relaxed);
        self.length.store(chunk.length() as u32, Relaxed);
        self.count.store(chunk.count(), Relaxed);
        let flags = match chunk.form {
            Form::Result => FLAG_RESULT,
            Form::Plain => FLAG_PLAIN,
            _ => 0,
        };
        self.flags.store(flags | names.number_of(chunk.job.task) << NUMBER_SHIFT, Relaxed);
    }
}

impl Hub {
    /// Publishes the first chunk of the series at the front of the queue, if the chunk fits into its slot. Returns
    /// whether it does.
    pub(super) fn publish_first(&self, inner: &mut Inner) -> bool {
        let at = inner.vacant(self.ground.slots().len());
        let Some(series) = inner.queue.front_mut().filter(|front| front.is_series()) else { return false };
        let placed = self.place_first(series, (&mut inner.handles, &mut inner.names), inner.sequence);
        let is_last = series.count() == 0;
        if is_last {
            inner.queue.pop_front();
        }
        let is_placed = inner.put(at, placed);
        if is_last {
            inner.handles.clear();
        }
        is_placed
    }

    /// Publishes a chunk at once, if it fits into its slot and no other chunk waits. Returns whether it does; other
    /// calls can then be added to the chunk.
    pub(super) fn publish_at_once(&self, inner: &mut Inner, chunk: &mut Chunk) -> bool {
        if !inner.queue.is_empty() || inner.free == 0 || !chunk.begin_series() {
            return false;
        }
        let at = inner.vacant(self.ground.slots().len());
        let placed = self.place_first(chunk, (&mut inner.handles, &mut inner.names), inner.sequence);
        chunk.end_series();
        inner.put(at, placed)
    }

    /// Copies the first chunk of a series into the slot of this number, and takes it off the series.
    #[inline]
    fn place_first(
        &self,
        series: &mut Chunk,
        (handles, names): (&mut Handles, &mut Names),
        sequence: u64,
    ) -> Option<Chunk> {
        let (head, calls, count) = series.first().filter(|(head, calls, _)| head.len() + calls.len() <= INLINE)?;
        let slots = self.ground.slots();
        let slot = slots.get(place_of(sequence, slots.len())).filter(|_| !series.job.is_cancelled())?;
        slot.bytes.copy_in(0, head).and_then(|()| slot.bytes.copy_in(head.len(), calls)).ok()?;
        let length = calls.len();
        let chunk = series.take_off(handles.take(&series.job), count, length, sequence);
        slot.describe(&chunk, IN_SLOT, names);
        slot.word.store(word(SlotState::Ready, sequence), Release);
        Some(chunk)
    }

    /// Frees the slot of a chunk whose outcomes have all come.
    pub(super) fn finish(&self, inner: &mut Inner, at: usize) {
        self.vacate(inner, at);
        let Some(Chunk { job, .. }) = inner.chunks.get_mut(at).and_then(Option::take) else { return };
        inner.handles.keep(job);
    }

    /// Frees a slot, and returns its chunk.
    pub(super) fn free(&self, inner: &mut Inner, at: usize) -> Option<Chunk> {
        self.vacate(inner, at);
        inner.chunks.get_mut(at)?.take()
    }

    /// Takes what belongs to the chunk of a slot out of the memory that all share.
    #[inline]
    fn vacate(&self, inner: &mut Inner, at: usize) {
        let Some(chunk) = inner.chunks.get_mut(at).and_then(Option::as_mut) else { return };
        if let Some(slot) = self.ground.slots().get(at) {
            slot.word.store(word(SlotState::Free, 0), Release);
        }
        if let Some(room) = chunk.take_room() {
            inner.arena.take_back(room);
        }
        if !inner.parcels.is_empty() {
            inner.parcels.retain(|(sequence, _), _| *sequence != chunk.sequence);
        }
        inner.free += 1;
    }
}

impl Inner {
    /// Returns the slot of the next chunk. A number whose slot is still in use is skipped.
    pub(super) fn vacant(&mut self, slots: usize) -> usize {
        let mut at = place_of(self.sequence, slots);
        while self.chunks.get(at).is_some_and(Option::is_some) {
            self.sequence += 1;
            at = place_of(self.sequence, slots);
        }
        at
    }

    /// Records the chunk that was published in a slot. Returns whether there is one.
    #[inline]
    fn put(&mut self, at: usize, chunk: Option<Chunk>) -> bool {
        let (Some(place), Some(_)) = (self.chunks.get_mut(at), &chunk) else { return false };
        *place = chunk;
        self.sequence += 1;
        self.free -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::hub::tests::hub;
    use super::super::job::{Job, Keep};
    use super::*;
    use crate::multiprocessing::transfer::Writing;

    fn series_of(job: &Arc<Job>, calls: u32) -> Box<Chunk> {
        let mut series = Chunk::new(job, Form::Value);
        for number in 0..calls {
            series.push(&Writing::begin(), &number).unwrap();
        }
        series.base = job.give(calls as usize);
        series.cut(1);
        series
    }

    #[test]
    fn no_handle_of_a_job_stays_behind_its_series() {
        let hub = hub();
        let slots = hub.ground.slots().len() as u32;
        let [one, other] = [(); 2].map(|()| Arc::new(Job::new("a::task", Keep::All)));
        hub.submit([series_of(&one, slots + 9), series_of(&other, 9)]).unwrap();
        let mut inner = hub.lock().unwrap();
        for at in 0..9 {
            hub.finish(&mut inner, at);
        }
        assert_eq!((inner.handles.count(), inner.free), (9, 9));
        hub.publish(&mut inner).unwrap();
        assert_eq!((inner.handles.count(), inner.free), (0, 0));
        for at in 0..slots as usize {
            hub.finish(&mut inner, at);
        }
        hub.publish(&mut inner).unwrap();
        assert_eq!(Arc::strong_count(&one), 1, "its chunks have ended");
        inner.fail_all(&super::super::failure::Failure::Cancelled, &hub);
        assert_eq!((Arc::strong_count(&other), inner.free), (1, slots as usize));
    }

    #[test]
    fn each_chunk_of_a_series_has_its_own_calls_in_its_slot() {
        let (hub, job) = (hub(), Arc::new(Job::new("a::task", Keep::All)));
        hub.submit([series_of(&job, 3)]).unwrap();
        for (at, slot) in hub.ground.slots()[..3].iter().enumerate() {
            let mut bytes = vec![0; slot.length.load(Relaxed) as usize];
            slot.bytes.copy_out(0, &mut bytes).unwrap();
            assert_eq!(bytes, [b"\x07\0a::task\x01", &[at as u8][..]].concat());
            assert_eq!((slot.count.load(Relaxed), slot.word.load(Relaxed)), (1, word(SlotState::Ready, at as u64)));
        }
    }
}
