//! The workers. Each holds the lock of a share while it counts it, so the share of a worker that is killed is simply the
//! next one's to take: nobody looks for the dead, nobody waits for them.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use ossature::sys::eventfd::EventFd;
use ossature::sys::mmap::{Memfd, Region};
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::process::{self, Child, ExitStatus, Signal};
use ossature::sys::scope::Shared;
use ossature::sys::shareable;
use ossature::sys::shm::Shm;
use ossature::sys::sync::lock::{Guard, Lock};

use crate::split::Splitter;
use crate::table::Table;
use crate::text::Text;

type Failure = Box<dyn Error>;

shareable! {
    /// What a share came to, and where: `len` bytes at `at` in the output of a worker.
    plain struct Share {
        done: u32,
        worker: u32,
        at: u64,
        len: u64,
        words: u64,
    }
}

shareable! {
    /// How `--kill` chooses: the worker that disarms it stops halfway through its share and names itself.
    struct Trap {
        armed: AtomicU32,
        caught: AtomicU32,
    }
}

/// What parent and workers have in common.
struct Board {
    shares: Shm<[Lock<Share, Shared>]>,
    trap: Shm<Trap>,
    /// Rung by a worker that has something for the parent.
    bell: EventFd,
}

struct Worker {
    child: Child,
    output: Memfd,
    ended: Option<ExitStatus>,
}

/// What all the workers together found.
pub struct Counted {
    pub table: Table,
    pub words: u64,
    pub killed: bool,
}

/// Counts the words of `text` with `workers` processes; `progress` hears of each share's bytes as they are merged.
pub fn count(text: &Text, workers: usize, kill: bool, mut progress: impl FnMut(u64)) -> Result<Counted, Failure> {
    let fresh = Share { done: 0, worker: 0, at: 0, len: 0, words: 0 };
    let board = Board {
        shares: Shm::place_slice(text.shares(), |_| Lock::shared(fresh))?,
        trap: Shm::place(Trap::init(AtomicU32::new(u32::from(kill)), AtomicU32::new(0)))?,
        bell: EventFd::counter(0)?,
    };
    let mut crew = Vec::new();
    let begun = (0..workers).try_for_each(|_| start(text, &board, &mut crew));
    let counted = begun.and_then(|()| gather(text, &board, &mut crew, &mut progress));
    // On an error the workers must not outlive this; otherwise they have nothing left to do.
    for worker in &mut crew {
        if counted.is_err() {
            let _ = worker.child.kill();
        }
        worker.child.wait()?;
    }
    counted
}

/// Forks one more worker.
fn start(text: &Text, board: &Board, crew: &mut Vec<Worker>) -> Result<(), Failure> {
    let output = Memfd::new(c"words-output")?;
    let number = u32::try_from(crew.len())?;
    let parent = process::id();
    let child = process::fork(|| {
        let orphaned =
            process::set_parent_death_signal(Some(Signal::KILL)).is_err() || process::parent_id() != Some(parent);
        if orphaned {
            return 1;
        }
        match work(text, board, number, &output) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("words: worker {number}: {error}");
                1
            }
        }
    })?;
    crew.push(Worker { child, output, ended: None });
    Ok(())
}

/// The life of a worker: take a share, count it, publish it, until all are done.
fn work(text: &Text, board: &Board, number: u32, output: &Memfd) -> Result<(), Failure> {
    let mut worker = At { text, board, number, output, written: 0, table: Table::new() };
    loop {
        let mut busy = None;
        for (index, share) in board.shares.iter().enumerate() {
            match share.try_lock()? {
                None => busy = Some(share),
                Some(guard) => worker.count(index, guard)?,
            }
        }
        // Nothing is free. What somebody else is at will be done, or is free at the instant of that one's death.
        let Some(share) = busy else { return Ok(()) };
        drop(share.lock()?);
    }
}

/// A worker at work.
struct At<'a> {
    text: &'a Text,
    board: &'a Board,
    number: u32,
    output: &'a Memfd,
    written: u64,
    table: Table,
}

impl At<'_> {
    /// Counts a share, unless that is done.
    fn count(&mut self, index: usize, mut share: Guard<'_, Share, Shared>) -> Result<(), Failure> {
        // An abandoned share says nothing that can be trusted, done or not.
        if share.done != 0 && !share.abandoned() {
            return Ok(());
        }
        let middle = index == self.board.shares.len() / 2;
        let caught = middle && self.board.trap.armed.swap(0, SeqCst) != 0;
        let half = self.text.share_bytes(index) / 2;
        let (mut splitter, mut counted) = (Splitter::new(), 0);
        self.table.clear();
        for (region, part) in self.text.parts(index) {
            let mut at = part.start;
            while at < part.end {
                let len = splitter.appetite().min(part.end - at);
                splitter.feed(len, |into| region.copy_out(at, into), &mut self.table)?;
                at += len;
                counted += len as u64;
                if caught && counted >= half {
                    self.wait_for_the_end()?;
                }
            }
            splitter.finish(&mut self.table);
        }
        let (at, len) = self.publish()?;
        *share = Share { done: 1, worker: self.number, at, len, words: splitter.words() };
        share.mark_consistent();
        drop(share);
        self.board.bell.try_add(1)?;
        Ok(())
    }

    /// Appends the table to this worker's output.
    fn publish(&mut self) -> Result<(u64, u64), Failure> {
        let bytes = self.table.to_bytes();
        let (at, len) = (self.written, bytes.len() as u64);
        if len > 0 {
            // Reserved, so that a full machine is an error here and not a SIGBUS.
            self.output.reserve(at + len)?;
            Region::file_write(self.output, at, bytes.len())?.copy_in(0, &bytes)?;
        }
        self.written += len;
        Ok((at, len))
    }

    /// Tells the parent to kill this worker, and holds the share until then.
    fn wait_for_the_end(&self) -> Result<(), Failure> {
        self.board.trap.caught.store(self.number + 1, SeqCst);
        self.board.bell.try_add(1)?;
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

/// The parent's part: merges what is done, kills whom `--kill` caught, and starts a worker when none is left.
fn gather(
    text: &Text,
    board: &Board,
    crew: &mut Vec<Worker>,
    progress: &mut dyn FnMut(u64),
) -> Result<Counted, Failure> {
    let mut counted = Counted { table: Table::new(), words: 0, killed: false };
    let mut open: Vec<usize> = (0..board.shares.len()).collect();
    let mut fruitless = 0;
    while !open.is_empty() {
        listen(board, crew)?;
        let caught = board.trap.caught.swap(0, SeqCst) as usize;
        if let Some(worker) = caught.checked_sub(1).and_then(|caught| crew.get(caught)) {
            worker.child.kill()?;
            counted.killed = true;
        }
        // Before the merging: what an ended worker has published is seen by it.
        for worker in crew.iter_mut().filter(|worker| worker.ended.is_none()) {
            worker.ended = worker.child.try_wait()?;
        }
        let before = open.len();
        let mut still = Vec::new();
        for &share in &open {
            match merge(&board.shares[share], crew, &mut counted)? {
                true => progress(text.share_bytes(share)),
                false => still.push(share),
            }
        }
        open = still;
        if open.len() < before {
            fruitless = 0;
        }
        if !open.is_empty() && crew.iter().all(|worker| worker.ended.is_some()) {
            fruitless += 1;
            if fruitless > 3 {
                let end = crew.last().and_then(|worker| worker.ended).unwrap_or(ExitStatus::Unknown);
                let names = text.names(open[0]);
                return Err(format!("no worker survives {names} ({end}): was the file cut short meanwhile?").into());
            }
            start(text, board, crew)?;
        }
    }
    Ok(counted)
}

/// Waits until a worker rings or ends, or it is time to look after the progress.
fn listen(board: &Board, crew: &[Worker]) -> Result<(), Failure> {
    let alive = crew.iter().filter(|worker| worker.ended.is_none());
    let mut fds: Vec<_> = alive.map(|worker| PollFd::new(&worker.child, PollFlags::IN)).collect();
    fds.push(PollFd::new(&board.bell, PollFlags::IN));
    poll(&mut fds, Duration::from_secs(1))?;
    board.bell.try_take()?;
    Ok(())
}

/// Takes over what a share came to; `false` when it is not done.
fn merge(share: &Lock<Share, Shared>, crew: &[Worker], into: &mut Counted) -> Result<bool, Failure> {
    let Some(guard) = share.try_lock()? else { return Ok(false) };
    if guard.done == 0 || guard.abandoned() {
        return Ok(false);
    }
    let Share { worker, at, len, words, .. } = *guard;
    drop(guard);
    let output = &crew.get(worker as usize).ok_or("a share names a worker that never was")?.output;
    if len > 0 {
        let mut bytes = vec![0; usize::try_from(len)?];
        Region::file_read(output, at, bytes.len())?.copy_out(0, &mut bytes)?;
        into.table.merge(bytes).ok_or("a worker's output is not a table")?;
    }
    into.words += words;
    Ok(true)
}
