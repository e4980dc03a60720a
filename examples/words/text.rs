//! The text: mapped files, and pipes read into memory files, all cut into shares at word boundaries.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use ossature::sys::fd;
use ossature::sys::mmap::{Advice, Memfd, Region};

use crate::split::is_space;

/// The whole text whose words are counted.
pub struct Text {
    files: Vec<(OsString, Region)>,
    /// Pieces that end at word boundaries, each within one file.
    pieces: Vec<(usize, Range<usize>)>,
    /// Runs of pieces; a worker counts one run at a time.
    shares: Vec<Range<usize>>,
}

/// A file that cannot be read, and the error.
pub struct Unreadable(pub OsString, pub io::Error);

impl Text {
    /// Opens every file; `-` is standard input.
    pub fn open(names: &[OsString]) -> Result<Self, Vec<Unreadable>> {
        let mut text = Self { files: Vec::new(), pieces: Vec::new(), shares: Vec::new() };
        let mut unreadable = Vec::new();
        for name in names {
            match map(name) {
                Ok(Some(region)) => text.files.push((name.clone(), region)),
                Ok(None) => {}
                Err(error) => unreadable.push(Unreadable(name.clone(), error)),
            }
        }
        if unreadable.is_empty() { Ok(text) } else { Err(unreadable) }
    }

    /// Copies a text that is already in memory.
    pub fn of(bytes: &[u8]) -> io::Result<Self> {
        let region = slurp(bytes)?;
        let files = region.map(|region| (OsString::from("the text"), region)).into_iter().collect();
        Ok(Self { files, pieces: Vec::new(), shares: Vec::new() })
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, region)| region.len() as u64).sum()
    }

    /// Cuts the text into shares of about `size` bytes, and moves each cut to the end of a word.
    pub fn cut(&mut self, size: usize) -> io::Result<()> {
        let (mut first, mut bytes) = (0, 0);
        for (index, (_, region)) in self.files.iter().enumerate() {
            let mut start = 0;
            while start < region.len() {
                let end = word_end(region, start.saturating_add(size - bytes))?;
                self.pieces.push((index, start..end));
                bytes += end - start;
                start = end;
                if bytes >= size {
                    self.shares.push(first..self.pieces.len());
                    (first, bytes) = (self.pieces.len(), 0);
                }
            }
        }
        if first < self.pieces.len() {
            self.shares.push(first..self.pieces.len());
        }
        Ok(())
    }

    /// The number of shares.
    pub fn shares(&self) -> usize {
        self.shares.len()
    }

    /// The number of bytes in a share.
    pub fn share_bytes(&self, share: usize) -> u64 {
        self.pieces[self.shares[share].clone()].iter().map(|(_, part)| part.len() as u64).sum()
    }

    /// The parts of a share: the memory of a file, and the range in it.
    pub fn parts(&self, share: usize) -> impl Iterator<Item = (&Region, Range<usize>)> {
        self.pieces[self.shares[share].clone()].iter().map(|(file, part)| (&self.files[*file].1, part.clone()))
    }

    /// The names of the files in a share, for a message.
    pub fn names(&self, share: usize) -> String {
        let pieces = &self.pieces[self.shares[share].clone()];
        let mut names: Vec<_> = pieces.iter().map(|(file, _)| shown(&self.files[*file].0)).collect();
        names.dedup();
        names.join(", ")
    }
}

/// A file name in printable form.
pub fn shown(name: &OsStr) -> String {
    if name == "-" { "standard input".into() } else { Path::new(name).display().to_string() }
}

/// Maps a file; `None` for an empty file.
fn map(name: &OsStr) -> io::Result<Option<Region>> {
    if name == "-" {
        return slurp(io::stdin().lock());
    }
    let file = File::open(name)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory; name the files in it"));
    }
    if !about.is_file() || about.len() == 0 {
        // A pipe or a device cannot be mapped; a file of /proc says that it is empty and is not.
        return slurp(file);
    }
    let len = usize::try_from(about.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let region = Region::file_read(&file, 0, len)?;
    // Only a hint: without it the text is read as well.
    let _ = region.advise(0, len, Advice::Sequential);
    Ok(Some(region))
}

/// Reads until the end into a memory file, which the workers can map.
fn slurp(mut from: impl Read) -> io::Result<Option<Region>> {
    let memory = Memfd::new(c"words")?;
    let mut buffer = vec![0; 1 << 16];
    let mut len = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            rest = &rest[fd::write(&memory, rest)?..];
        }
        len += got;
    }
    if len == 0 { Ok(None) } else { Ok(Some(Region::shared(&memory, len)?)) }
}

/// The first word boundary at or after `from`.
fn word_end(region: &Region, from: usize) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let mut at = from;
    while at < region.len() {
        let bytes = &mut chunk[..(region.len() - at).min(4096)];
        region.copy_out(at, bytes)?;
        if let Some(space) = bytes.iter().position(|&byte| is_space(byte)) {
            return Ok(at + space);
        }
        at += bytes.len();
    }
    Ok(region.len())
}
