//! The content of the messages, which both sides can predict.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use ossature::Result;
use ossature::multiprocessing::connection::{Connection, Sent};
use ossature::multiprocessing::transfer::Handle;
use ossature::sys::deadline::Deadline;
use serde::{Deserialize, Serialize};

use crate::connection::plan::{Plan, Size};
use crate::random::Random;

/// The longest message.
pub const LONGEST: usize = 1 << 20;
/// The number of positions in the text at which a message may begin.
const PLACES: u64 = 1 << 16;

/// Random bytes, from which all messages are slices.
pub struct Text {
    bytes: Vec<u8>,
    files: [File; 3],
}

/// A message with files.
#[derive(Serialize)]
struct Parcel<'a> {
    files: Vec<Handle<&'a File>>,
    bytes: &'a [u8],
}

/// A message and its files on arrival.
#[derive(Deserialize)]
pub struct Received {
    files: Vec<Handle<OwnedFd>>,
    bytes: Vec<u8>,
}

impl Text {
    pub fn new() -> Self {
        let mut random = Random::new(0);
        let bytes = (0..LONGEST + PLACES as usize).map(|_| random.below(256) as u8).collect();
        let file = |path| File::open(path).expect("a file for the storm");
        Self { bytes, files: [file("/dev/null"), file("/dev/zero"), file("/proc/self/exe")] }
    }

    /// The bytes of message `n`.
    pub fn message(&self, plan: Plan, n: u32) -> &[u8] {
        let mut random = Random::new(plan.seed ^ (u64::from(n) << 50 | u64::from(n) << 20));
        let place = random.below(PLACES) as usize;
        let length = match plan.size {
            Size::Small => random.below(600),
            Size::Middle => 16_384 + random.below(65_536),
            Size::Large => LONGEST as u64,
            // Often so few that the files are most of it.
            Size::Files if random.below(2) == 0 => random.below(16),
            Size::Files => random.below(65_536),
        };
        &self.bytes[place..place + length as usize]
    }

    /// Sends as much of message `n` and its files as the stream accepts before the deadline.
    pub fn send_files(&self, end: &Connection, plan: Plan, n: u32, deadline: Deadline) -> Result<Sent> {
        let files = self.files_of(n).iter().map(Handle).collect();
        end.send_timeout(&Parcel { files, bytes: self.message(plan, n) }, deadline)
    }

    /// Whether `received` is message `n`.
    pub fn is(&self, plan: Plan, n: u32, received: &Received) -> bool {
        let files = self.files_of(n);
        let same = |(Handle(fd), file): (&Handle<OwnedFd>, &File)| {
            let of = |file: &File| file.metadata().map(|data| (data.dev(), data.ino(), data.rdev())).ok();
            let there = fd.try_clone().ok().and_then(|fd| of(&File::from(fd)));
            there.is_some() && there == of(file)
        };
        received.bytes == self.message(plan, n)
            && received.files.len() == files.len()
            && received.files.iter().zip(files).all(same)
    }

    fn files_of(&self, n: u32) -> &[File] {
        &self.files[..1 + n as usize % self.files.len()]
    }
}
