//! The identity of a program's build: parent and child must be of the same build, so that their tables and types mean
//! the same.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The identity of the image that a process runs, by its file and by the linker's build ID.
///
/// Reading the file costs one system call. The file is the same for every child of this very image, also when the
/// binary was replaced or removed meanwhile. A copy of the file elsewhere is recognised by the number that the linker
/// wrote into it, if it did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct BuildId {
    file: FileId,
    linked: Option<Vec<u8>>,
}

/// A version of a file: its location, and when it was last written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct FileId {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// The path of the program that the calling process runs, valid even if its file was renamed or removed.
pub(crate) const IMAGE: &str = "/proc/self/exe";

impl BuildId {
    /// Returns the identity of the image that this process runs.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub(crate) fn own() -> io::Result<&'static Self> {
        static OWN: OnceLock<BuildId> = OnceLock::new();
        if let Some(own) = OWN.get() {
            return Ok(own);
        }
        let own = Self { file: FileId::own()?, linked: linked(&File::open(IMAGE)?).unwrap_or_default() };
        Ok(OWN.get_or_init(|| own))
    }

    /// The build ID that the linker wrote, which a copy of the file on another machine has too.
    pub(crate) fn linked(&self) -> Option<&[u8]> {
        self.linked.as_deref()
    }

    /// Whether any process can distinguish a copy of its file from another build.
    pub(crate) fn is_known_anywhere(&self) -> bool {
        self.linked.is_some()
    }

    /// Whether the process `pid` runs the same image as this process, as the kernel reports it. Returns `false` when
    /// the kernel does not report it.
    pub(crate) fn is_of(pid: i32) -> bool {
        let there = std::fs::metadata(format!("/proc/{pid}/exe")).map(|file| FileId::of(&file));
        matches!((there, FileId::own()), (Ok(there), Ok(own)) if there == own)
    }

    /// Whether this process runs this build.
    pub(crate) fn is_own(&self) -> bool {
        if FileId::own().is_ok_and(|file| file == self.file) {
            return true;
        }
        self.linked.is_some() && Self::own().is_ok_and(|own| own.linked == self.linked)
    }
}

impl FileId {
    /// Returns the identity of the image that this process runs, which no process can write to meanwhile. A fork server
    /// reads it for its children.
    fn own() -> io::Result<Self> {
        static OWN: OnceLock<FileId> = OnceLock::new();
        if let Some(own) = OWN.get() {
            return Ok(*own);
        }
        let own = Self::of(&std::fs::metadata(IMAGE)?);
        Ok(*OWN.get_or_init(|| own))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Reads the linker's build ID from an ELF image: the note `NT_GNU_BUILD_ID`. `None` when the linker wrote none.
///
/// The image is this program's own, yet every length in it is checked.
fn linked(image: &File) -> io::Result<Option<Vec<u8>>> {
    const NOTES: u32 = 4; // PT_NOTE
    /// The maximum size to read; headers and notes are far shorter in any program.
    const MOST: u64 = 1 << 16;
    let read = |at: u64, len: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len.min(MOST) as usize];
        image.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    };
    let header = read(0, 64)?;
    // The words of an ELF file have the width of the machine's, and this program's byte order.
    let wide = header.get(4) == Some(&2);
    let (table, size, count) = if wide {
        (word(&header, 32, 8), word(&header, 54, 2), word(&header, 56, 2))
    } else {
        (word(&header, 28, 4), word(&header, 42, 2), word(&header, 44, 2))
    };
    let (Some(table), Some(size @ 1..), Some(count)) = (table, size, count) else { return Ok(None) };
    let segments = read(table, size * count)?;
    for segment in segments.chunks_exact(size as usize) {
        if word(segment, 0, 4) != Some(u64::from(NOTES)) {
            continue;
        }
        let (at, len) = if wide {
            (word(segment, 8, 8), word(segment, 32, 8))
        } else {
            (word(segment, 4, 4), word(segment, 16, 4))
        };
        if let (Some(at), Some(len)) = (at, len) {
            if let Some(found) = build_id_of(&read(at, len)?) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Finds the build ID among the notes of one segment.
fn build_id_of(mut notes: &[u8]) -> Option<Vec<u8>> {
    const BUILD_ID: u64 = 3; // NT_GNU_BUILD_ID
    loop {
        let (name_len, len, kind) = (word(notes, 0, 4)? as usize, word(notes, 4, 4)? as usize, word(notes, 8, 4)?);
        let name = notes.get(12..)?.get(..name_len)?;
        let rest = notes.get(12 + name_len.checked_next_multiple_of(4)?..)?;
        if kind == BUILD_ID && name == b"GNU\0" {
            return rest.get(..len).map(<[u8]>::to_vec);
        }
        notes = rest.get(len.checked_next_multiple_of(4)?..)?;
    }
}

/// Reads the unsigned number of `len` bytes at `at`, in this machine's byte order.
fn word(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.get(..len)?;
    let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if cfg!(target_endian = "little") { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
}
