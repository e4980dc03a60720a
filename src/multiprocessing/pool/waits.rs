//! The outcomes that a thread waits for, and the outcomes that the workers report to the leader.
//!
//! A thread that waits for one outcome is woken for each. A thread that waits alone for all outcomes of a job is not.
//! It is woken once the last chunk of the job is claimed, or once workers are about to run out of work. Then it
//! collects many outcomes at once, and no worker has paid for a wake meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Result;
use ossature_sys::poll::{PollFd, poll};

use super::board::EACH;
use super::chunk::Chunk;
use super::hub::{Hub, Inner};
use super::wanted::Wanted;
use super::word::place_of;

/// The leader's first sleep while a chunk is unclaimed and a worker sleeps.
const PATIENCE: Duration = Duration::from_millis(1);

impl Hub {
    /// Whether the streams contain outcomes for which the workers wake the parent.
    pub(super) fn has_outcomes(&self, from: u64) -> bool {
        let is_told = self.ground.board().is_claimed(from);
        let mut streams = (0..self.workers()).filter_map(|place| self.ground.stream(place));
        streams.any(|stream| if is_told { stream.has_more() } else { stream.is_half_full() })
    }

    /// The chunk from which on the workers must report outcomes: all chunks before it are then claimed. A worker that
    /// claims a packet does not change the hint for that, so packets do not count.
    pub(super) fn first_of(&self, inner: &Inner, wanted: Wanted<'_>) -> u64 {
        let is_wanted = |chunk: &Chunk| match wanted {
            Wanted::Each => false,
            Wanted::Job(job) => Arc::ptr_eq(&chunk.job, job),
            Wanted::All => true,
        };
        if let Wanted::Each = wanted {
            return EACH;
        }
        if inner.queue.back().is_some_and(|chunk| is_wanted(chunk)) {
            // Others can be published, and the workers have enough to do until then.
            return inner.sequence.saturating_sub(self.ground.slots().len() as u64 / 2);
        }
        // From the newest chunk back, up to the oldest.
        let places = inner.chunks.len() as u64;
        let slots = (0..places).filter_map(|back| inner.sequence.checked_sub(1 + back));
        let chunks = slots.filter_map(|sequence| inner.chunks.get(place_of(sequence, inner.chunks.len()))?.as_ref());
        let published = chunks.take(inner.chunks.len() - inner.free);
        let last = published.filter(|chunk| is_wanted(chunk) && !chunk.is_alone()).max_by_key(|chunk| chunk.sequence);
        last.map_or(EACH, |chunk| chunk.sequence + 1)
    }

    /// Sleeps until a descriptor is readable. A worker that looked for a chunk, or was woken for it, may have been
    /// stopped. So while a chunk is unclaimed and workers sleep, this wakes another worker after each short sleep.
    pub(super) fn sleep_on(&self, fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<usize> {
        let board = self.ground.board();
        let mut patience = PATIENCE;
        loop {
            let is_patient = board.has_unclaimed() && board.has_sleepers();
            let until = if is_patient { deadline.or_sooner(Deadline::after(patience)) } else { deadline };
            let ready = poll(fds, until)?;
            if ready > 0 || !is_patient {
                return Ok(ready);
            }
            // The wake comes also after a deadline, because a caller may wait for a short time again and again.
            self.ground.wake_for_unclaimed();
            if deadline.has_passed() {
                return Ok(ready);
            }
            patience = patience.saturating_mul(2);
        }
    }

    /// Whether several threads wait, or a descriptor does.
    pub(super) fn wants_each(&self) -> bool {
        self.waiting.load(SeqCst) > 1 || self.armed.load(SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use ossature_sys::eventfd::EventFd;
    use ossature_sys::poll::PollFlags;

    use super::super::hub::tests::{hub, hub_of};
    use super::super::job::{Job, Keep};
    use super::super::wanted::Waiting;
    use super::*;
    use crate::multiprocessing::tasks::Form;
    use crate::multiprocessing::transfer::Writing;

    fn chunk_of(job: &Arc<Job>) -> Box<Chunk> {
        let mut chunk = Chunk::new(job, Form::Value);
        chunk.push(&Writing::begin(), &7).unwrap();
        chunk.base = job.give(1);
        chunk
    }

    #[test]
    fn whoever_waits_for_a_job_is_told_once_its_last_chunk_is_claimed() {
        let hub = hub();
        let (one, other) = (Arc::new(Job::new("a::task", Keep::All)), Arc::new(Job::new("a::task", Keep::Each)));
        hub.submit([chunk_of(&one), chunk_of(&one), chunk_of(&other)]).unwrap();
        let first_of = |wanted| hub.first_of(&hub.lock().unwrap(), wanted);
        assert_eq!((first_of(Wanted::Job(&one)), first_of(Wanted::All), first_of(Wanted::Each)), (2, 3, EACH));
        let slots = hub.ground.slots().len() as u64;
        hub.submit((0..slots).map(|_| chunk_of(&one))).unwrap();
        assert_eq!(first_of(Wanted::Job(&one)), slots / 2, "some wait for room: half of it is enough");
    }

    /// The worker that is woken first is stopped before it claims the chunk, and does nothing more. `wait` is called
    /// until the other worker is woken, too; it gets an event that is then readable, and a deadline for the test.
    fn wakes_the_other(wait: impl Fn(&Hub, &EventFd, Deadline)) {
        let hub = hub_of(2);
        let (board, entries) = (hub.ground.board(), hub.ground.entries());
        let (woken, done) = (AtomicUsize::new(0), EventFd::counter(0).unwrap());
        std::thread::scope(|scope| {
            for (place, entry) in entries.iter().enumerate() {
                let (woken, done) = (&woken, &done);
                scope.spawn(move || {
                    board.sleep(entry, place, Deadline::NEVER, || false);
                    if woken.fetch_add(1, SeqCst) == 1 {
                        done.try_add(1).unwrap();
                    }
                });
            }
            while board.sleepers() < 2 {
                std::thread::yield_now();
            }
            hub.submit([chunk_of(&Arc::new(Job::new("a::task", Keep::All)))]).unwrap();
            let late = Deadline::after(Duration::from_secs(30));
            let is_woken = || poll(&mut [PollFd::new(&done, PollFlags::IN)], Deadline::NOW) == Ok(1);
            while !is_woken() && !late.has_passed() {
                wait(&hub, &done, late);
            }
            let was_woken = is_woken();
            hub.ground.wake_all_workers(); // the scope waits for a worker that still sleeps
            assert!(was_woken);
        });
    }

    #[test]
    fn a_worker_stopped_behind_its_wake_keeps_no_chunk_from_a_sleeper() {
        wakes_the_other(|hub, done, late| {
            hub.sleep_on(&mut [PollFd::new(done, PollFlags::IN)], late).unwrap();
        });
    }

    #[test]
    fn short_waits_wake_another_worker_than_a_stopped_one() {
        wakes_the_other(|hub, done, _| {
            let soon = Deadline::after(Duration::from_micros(500));
            hub.sleep_on(&mut [PollFd::new(done, PollFlags::IN)], soon).unwrap();
        });
    }

    #[test]
    fn a_thread_that_waits_behind_a_sleeping_leader_wakes_another_worker_than_a_stopped_one() {
        wakes_the_other(|hub, _, _| {
            hub.lock().unwrap().led = true; // as while another thread sleeps for all
            assert!(!hub.wait(Deadline::after(Duration::from_millis(10)), Wanted::Each, || false).unwrap());
        });
    }

    #[test]
    fn a_second_thread_that_waits_has_the_leader_hear_of_each_outcome() {
        let hub = hub();
        let job = Arc::new(Job::new("a::task", Keep::Each));
        hub.submit([chunk_of(&job)]).unwrap();
        hub.lock().unwrap().led = true; // as while another thread sleeps for all
        let _leader = Waiting::begin(&hub.waiting);
        hub.ground.board().listen(1);
        assert!(!hub.wait(Deadline::NOW, Wanted::Each, || false).unwrap());
        assert!(hub.ground.board().is_heard(), "though no chunk is claimed");
    }
}
