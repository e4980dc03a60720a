//! What an operation can leave behind in a process: descriptors, mappings and threads. Counting them allocates nothing.

use core::fmt;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};

use crate::errno::{Result, retry};

/// The descriptors, mappings and threads of this process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    /// A bit for each of the lowest numbers: set if the descriptor is open.
    open: [u64; 16],
    descriptors: u64,
    /// A sum of digests of each descriptor's number and target.
    targets: u64,
    /// Bytes of mapped files and of shared memory.
    mapped: u64,
    /// A sum of digests of the mapped files, each times the length of its mapping.
    files: u64,
    /// Bytes of private anonymous memory, in mappings that are large enough.
    anonymous: u64,
    threads: u64,
}

/// What is compared beside descriptors and mapped files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) threads: bool,
    /// The least size of the private anonymous mappings that count.
    pub(crate) anonymous: Option<u64>,
}

impl Traces {
    /// Reads /proc.
    pub(crate) fn take(scope: Scope) -> Result<Self> {
        let mut seen =
            Self { open: [0; 16], descriptors: 0, targets: 0, mapped: 0, files: 0, anonymous: 0, threads: 0 };
        if scope.threads {
            entries(&open(c"/proc/self/task", OFlags::DIRECTORY)?, |_, _| seen.threads += 1)?;
        }
        let list = open(c"/proc/self/fd", OFlags::DIRECTORY)?;
        entries(&list, |list, name| seen.see_descriptor(list, name))?;
        drop(list);
        seen.see_mappings(scope)?;
        Ok(seen)
    }

    fn see_descriptor(&mut self, list: BorrowedFd<'_>, name: &core::ffi::CStr) {
        let mut target = [0; 512];
        let number = name.to_bytes().iter().fold(0, |sum, digit| sum * 10 + RawFd::from(digit.wrapping_sub(b'0')));
        let Ok(len) = retry(|| readlinkat_raw(list, name, &mut target[..])) else { return };
        // The list itself does not belong to the operation.
        if number == list.as_raw_fd() {
            return;
        }
        let mut digest = Digest::new();
        digest.add(name.to_bytes());
        digest.add(b" ");
        digest.add(target.get(..len).unwrap_or_default());
        self.descriptors += 1;
        self.targets = self.targets.wrapping_add(digest.value());
        if let Some(word) = self.open.get_mut(number as usize / 64) {
            *word |= 1 << (number as usize % 64);
        }
    }

    fn see_mappings(&mut self, scope: Scope) -> Result<()> {
        let maps = open(c"/proc/self/maps", OFlags::empty())?;
        let mut buffer = [0; 2048];
        let mut line = Line::new();
        loop {
            let len = retry(|| rustix::io::read(&maps, &mut buffer[..]))?;
            if len == 0 {
                return Ok(());
            }
            for &byte in buffer.get(..len).unwrap_or_default() {
                if byte != b'\n' {
                    line.take(byte);
                    continue;
                }
                if line.is_file {
                    self.mapped += line.len();
                    self.files = self.files.wrapping_add(line.file.value().wrapping_mul(line.len()));
                } else if !line.is_named && scope.anonymous.is_some_and(|least| line.len() >= least) {
                    self.anonymous += line.len();
                }
                line = Line::new();
            }
        }
    }

    pub(crate) fn threads(&self) -> u64 {
        self.threads
    }

    /// The difference from `before`, if there is one. Fewer threads do not count, because threads end by themselves.
    pub(crate) fn since(&self, before: &Self) -> Option<Left> {
        if (Self { threads: before.threads, ..*self }) == *before && self.threads <= before.threads {
            return None;
        }
        let words = self.open.iter().zip(&before.open).zip(0..);
        let mut new = words.map(|((after, before), index)| (after & !before, index * u64::BITS));
        let lowest = new.find(|(word, _)| *word != 0);
        let more = |of: fn(&Self) -> u64| of(self) as i64 - of(before) as i64;
        Some(Left {
            descriptors: more(|traces| traces.descriptors),
            descriptor: lowest.and_then(|(word, base)| RawFd::try_from(base + word.trailing_zeros()).ok()),
            other_targets: self.targets != before.targets,
            mapped: more(|traces| traces.mapped + traces.anonymous),
            other_files: self.files != before.files,
            threads: more(|traces| traces.threads).max(0),
        })
    }
}

/// One line of /proc/self/maps, read byte by byte.
struct Line {
    /// The index of the field: addresses, permissions, offset, device, inode, name.
    field: u8,
    start: u64,
    number: u64,
    is_file: bool,
    is_named: bool,
    file: Digest,
}

impl Line {
    fn new() -> Self {
        Self { field: 0, start: 0, number: 0, is_file: false, is_named: false, file: Digest::new() }
    }

    fn take(&mut self, byte: u8) {
        match (self.field, byte) {
            (0, b'-') => (self.start, self.number) = (self.number, 0),
            (5.., b' ') => {}
            (_, b' ') => self.field += 1,
            (0, digit) => self.number = self.number * 16 + u64::from((digit as char).to_digit(16).unwrap_or(0)),
            (3 | 4, part) => {
                self.file.add(&[part]);
                // Anonymous memory has the inode 0; shared anonymous memory is a file of the kernel's.
                self.is_file |= self.field == 4 && part != b'0';
            }
            (5.., _) => self.is_named = true,
            _ => {}
        }
    }

    fn len(&self) -> u64 {
        self.number.wrapping_sub(self.start)
    }
}

/// FNV-1a with a last step that spreads the bits, because the digests are summed.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn value(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}

fn open(path: &core::ffi::CStr, flags: OFlags) -> Result<OwnedFd> {
    retry(|| openat(CWD, path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))
}

/// Calls `each` with every entry of a folder whose name is a number.
fn entries(folder: &OwnedFd, mut each: impl FnMut(BorrowedFd<'_>, &core::ffi::CStr)) -> Result<()> {
    let mut room = [MaybeUninit::uninit(); 2048];
    let mut list = RawDir::new(folder, &mut room);
    while let Some(entry) = list.next() {
        let entry = entry?;
        if entry.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
            each(folder.as_fd(), entry.file_name());
        }
    }
    Ok(())
}

/// The difference in the process before and after an operation.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::{eventfd::EventFd, faults::sweep::{Failure, Left, Sweep}};
///
/// let leak = || EventFd::counter(0).map(core::mem::forget);
/// match Sweep::new(&[]).ignore_threads().watch(leak) {
///     Err(Failure::Leaked { call: None, left }) => {
///         let left: Left = left;
///         assert_eq!((left.descriptors(), left.mapped(), left.threads()), (1, 0, 0));
///         assert!(left.descriptor().is_some());
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    descriptors: i64,
    descriptor: Option<RawFd>,
    other_targets: bool,
    mapped: i64,
    other_files: bool,
    threads: i64,
}

impl Left {
    /// The number of additional open descriptors; negative when some were closed.
    pub fn descriptors(&self) -> i64 {
        self.descriptors
    }

    /// The lowest number below 1024 that is open now and was not before.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.descriptor
    }

    /// The number of additional mapped bytes; negative when some were unmapped.
    pub fn mapped(&self) -> i64 {
        self.mapped
    }

    /// The number of additional threads; 0 when there are fewer.
    pub fn threads(&self) -> i64 {
        self.threads
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        let runs_beside = self.descriptors < 0
            || self.mapped < 0
            || self.threads < 0
            || (self.descriptors == 0 && self.other_targets);
        if self.descriptors != 0 {
            write!(f, "{:+} descriptors", self.descriptors)?;
            if let Some(number) = self.descriptor {
                write!(f, " (number {number})")?;
            }
            gap = ", ";
        } else if self.other_targets {
            write!(f, "a descriptor that leads to another file")?;
            gap = ", ";
        }
        if self.mapped != 0 {
            write!(f, "{gap}{:+} mapped bytes", self.mapped)?;
            gap = ", ";
        } else if self.other_files {
            write!(f, "{gap}other mapped files")?;
            gap = ", ";
        }
        if self.threads != 0 {
            write!(f, "{gap}{:+} threads", self.threads)?;
        }
        if runs_beside {
            f.write_str("; does something else run beside the sweep? Use one test thread")?;
        }
        Ok(())
    }
}
