//! The minimum that a map over processes does: a handwritten parent and two workers, with memory that all share.
//!
//! It keeps the promises of a pool: one compare-exchange claims a chunk, and a word of the worker names the running
//! call, so that a death affects that call alone. It does not watch for deaths. It copies plain numbers, or writes and
//! reads each by postcard.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use ossature::multiprocessing::Process;
use ossature_benches::machine;
use ossature_benches::rivals::{futex_wait, futex_wake};

use crate::WORKERS;
use crate::tiny::square;

/// A word in a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

#[derive(Default)]
struct Words {
    /// The numbers of published chunks and of claimed chunks since the beginning.
    published: Line,
    next: Line,
    /// The first chunk of this map, and the number of calls in a chunk.
    base: Line,
    size: Line,
    /// 1 if the items and the values are written by postcard.
    written: Line,
    /// For each worker, the call that runs and the number of finished chunks.
    begun: [Line; WORKERS],
    ended: [Line; WORKERS],
    /// `go` changes with new chunks, and the workers sleep on it. `news` changes when a worker finds no chunk, and the
    /// parent sleeps on it.
    go: AtomicU32,
    news: AtomicU32,
    over: AtomicU32,
}

/// How often a worker polls for a chunk before it sleeps: as long as the workers of a pool poll.
const LOOKS: u32 = 200;
/// The number of chunks that one store publishes.
const BURST: usize = 16;

pub struct Hands {
    words: &'static Words,
    items: *mut u64,
    values: *mut u64,
    workers: Vec<Process>,
}

impl Hands {
    pub fn start(most: usize) -> Self {
        let words = machine::shared(Words::default());
        let list = || machine::shared_memory(most * size_of::<u64>()).cast::<u64>();
        let (items, values) = (list(), list());
        let work = |place| Process::fork(move || work(words, place, items, values)).expect("forks");
        Self { words, items, values, workers: (0..WORKERS).map(work).collect() }
    }

    /// The values of a map of [`square`], copied as they are.
    pub fn map(&self, numbers: &[u64], size: usize) -> Vec<u64> {
        self.run(numbers, size, 0, |place, chunk| {
            // SAFETY: no worker reads the items of a chunk that is not published.
            unsafe { place.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len()) };
        });
        // SAFETY: the workers have written `numbers.len()` values, and have ended all their chunks.
        unsafe { std::slice::from_raw_parts(self.values, numbers.len()) }.to_vec()
    }

    /// The values of a map of [`square`], of numbers that postcard writes in 8 bytes at most.
    pub fn map_written(&self, numbers: &[u64], size: usize) -> Vec<u64> {
        self.run(numbers, size, 1, |place, chunk| {
            // SAFETY: no worker reads the items of a chunk that is not published, and each has eight bytes.
            let mut rest = unsafe { bytes_at(place, chunk.len()) };
            chunk.iter().for_each(|number| write(number, &mut rest));
        });
        let mut values = Vec::with_capacity(numbers.len());
        for (at, chunk) in numbers.chunks(size).enumerate() {
            // SAFETY: there is room for all values.
            let place = unsafe { self.values.add(at * size) };
            // SAFETY: the workers have ended all their chunks.
            let mut rest: &[u8] = unsafe { bytes_at(place, chunk.len()) };
            values.extend(chunk.iter().map(|_| read(&mut rest)));
        }
        values
    }

    /// Publishes chunks, which `put` writes, and waits for their ends.
    fn run(&self, numbers: &[u64], size: usize, written: u64, put: impl Fn(*mut u64, &[u64])) {
        let words = self.words;
        let base = words.published.0.load(Relaxed);
        words.base.0.store(base, Relaxed);
        words.size.0.store(size as u64, Relaxed);
        words.written.0.store(written, Relaxed);
        let mut published = 0;
        for (at, chunk) in numbers.chunks(size).enumerate() {
            // SAFETY: there is room for all items.
            let place = unsafe { self.items.add(at * size) };
            put(place, chunk);
            published = at + 1;
            if size > 1 || published % BURST == 0 {
                words.published.0.store(base + published as u64, SeqCst);
            }
            if at < WORKERS * BURST && (size > 1 || published % BURST == 0) {
                words.go.fetch_add(1, SeqCst);
                futex_wake(&words.go, 1);
            }
        }
        let all = base + published as u64;
        words.published.0.store(all, SeqCst);
        words.go.fetch_add(1, SeqCst); // a worker may have gone to sleep again before the last chunks
        futex_wake(&words.go, i32::MAX);
        loop {
            let seen = words.news.load(SeqCst);
            if words.ended.iter().map(|line| line.0.load(Acquire)).sum::<u64>() == all {
                break;
            }
            futex_wait(&words.news, seen);
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.words.over.store(1, SeqCst);
        self.words.go.fetch_add(1, SeqCst);
        futex_wake(&self.words.go, i32::MAX);
        self.workers.iter().for_each(|worker| {
            worker.join().expect("is joined");
        });
    }
}

/// The bytes of `count` numbers.
///
/// # Safety
/// There is room for that many, and nobody else has them.
unsafe fn bytes_at<'m>(place: *mut u64, count: usize) -> &'m mut [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(place.cast(), count * size_of::<u64>()) }
}

fn write(number: &u64, rest: &mut &mut [u8]) {
    let length = postcard::to_slice(number, rest).expect("room for a number").len();
    *rest = &mut std::mem::take(rest)[length..];
}

fn read(rest: &mut &[u8]) -> u64 {
    let (number, after) = postcard::take_from_bytes(rest).expect("a number");
    *rest = after;
    number
}

fn work(words: &Words, place: usize, items: *mut u64, values: *mut u64) {
    let (begun, ended) = (&words.begun[place].0, &words.ended[place].0);
    let (mut looks, mut done) = (0, 0);
    while words.over.load(Relaxed) == 0 {
        let seen = words.go.load(SeqCst);
        let (published, next) = (words.published.0.load(SeqCst), words.next.0.load(SeqCst));
        if next == published {
            if looks == 0 {
                words.news.fetch_add(1, SeqCst);
                futex_wake(&words.news, 1);
            }
            looks += 1;
            match looks < LOOKS {
                true => std::hint::spin_loop(),
                false => futex_wait(&words.go, seen),
            }
            continue;
        }
        if words.next.0.compare_exchange(next, next + 1, SeqCst, Relaxed).is_err() {
            continue;
        }
        looks = 0;
        let size = words.size.0.load(Relaxed) as usize;
        let start = (next - words.base.0.load(Relaxed)) as usize * size;
        if words.written.0.load(Relaxed) == 1 {
            // SAFETY: there is room for all items.
            let place = unsafe { items.add(start) };
            // SAFETY: the parent has published the chunk with its items, and no other worker has claimed it.
            let mut there: &[u8] = unsafe { bytes_at(place, size) };
            // SAFETY: there is room for all values.
            let place = unsafe { values.add(start) };
            // SAFETY: the parent reads values once all chunks have ended.
            let mut back = unsafe { bytes_at(place, size) };
            for at in start..start + size {
                begun.store(at as u64, Release);
                write(&square(read(&mut there)), &mut back);
            }
            done += 1;
            ended.store(done, Release);
            continue;
        }
        for at in start..start + size {
            begun.store(at as u64, Release);
            // SAFETY: there is room for all items.
            let item = unsafe { items.add(at) };
            // SAFETY: the parent has published the chunk with its items.
            let value = square(unsafe { item.read() });
            // SAFETY: there is room for all values.
            let place = unsafe { values.add(at) };
            // SAFETY: the parent reads values once all chunks have ended.
            unsafe { place.write(value) };
        }
        done += 1;
        ended.store(done, Release);
    }
}
