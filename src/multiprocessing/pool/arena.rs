//! Where the bytes of chunks lie that do not fit into their slots: room in a memory file, given out by the parent
//! alone.
//!
//! The memory file is long, and has pages as far as room was ever given out. The pages are found before the room is
//! given out, so a full machine is an error of the parent and no worker ends by `SIGBUS`.

use std::collections::BTreeMap;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::mmap::{Memfd, Seals};
use ossature_sys::process::{Resource, rlimit};

/// The length of the memory file: address space, and not memory.
const LENGTH: u64 = if size_of::<usize>() == 8 { 1 << 30 } else { 32 << 20 };
/// Pages are found for this many bytes at a time.
const STEP: u64 = 256 << 10;
/// What is given out begins at a multiple of this.
const ALIGN: u64 = 64;

/// A memory file of the greatest length that this process may make.
pub(super) fn file() -> Result<(Memfd, usize)> {
    let memory = Memfd::new(c"ossature-pool")?;
    // Beyond this limit the kernel sends SIGXFSZ, which by default ends the program.
    let most = rlimit(Resource::Fsize)?.current.unwrap_or(u64::MAX);
    let length = LENGTH.min(most);
    memory.set_len(length)?;
    memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL)?;
    Ok((memory, length as usize))
}

/// A memory file of fixed length, with all its pages.
pub(super) fn fixed(length: usize) -> Result<Memfd> {
    let memory = Memfd::new(c"ossature-pool")?;
    if rlimit(Resource::Fsize)?.current.is_some_and(|most| length as u64 > most) {
        return Err(Errno::FBIG);
    }
    memory.set_len(length as u64)?;
    memory.reserve(length as u64)?;
    memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL)?;
    Ok(memory)
}

/// Who has which room.
pub(super) struct Arena {
    /// The free room below `mark`: where it begins, and its length. Two neighbours never touch.
    free: BTreeMap<u64, u64>,
    /// Nothing beyond was ever given out.
    mark: u64,
    /// The memory file has pages up to here.
    paged: u64,
    length: u64,
}

/// What was given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub(super) offset: u64,
    length: u64,
}

impl Arena {
    pub(super) fn new(length: usize) -> Self {
        Self { free: BTreeMap::new(), mark: 0, paged: 0, length: length as u64 }
    }

    /// The longest chunk for which there can ever be room.
    pub(super) fn longest(&self) -> u64 {
        self.length
    }

    /// Finds room for a chunk, the first that is long enough; `None` while there is none.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM` when the system has no memory for more pages and nothing was given out.
    pub(super) fn give(&mut self, memory: &Memfd, length: usize) -> Result<Option<Room>> {
        let length = (length as u64).next_multiple_of(ALIGN).max(ALIGN);
        let found = self.free.iter().find(|(_, free)| **free >= length).map(|(at, free)| (*at, *free));
        if let Some((offset, free)) = found {
            self.free.remove(&offset);
            if free > length {
                self.free.insert(offset + length, free - length);
            }
            return Ok(Some(Room { offset, length }));
        }
        let offset = self.mark;
        let end = offset + length;
        if end > self.length {
            return Ok(None);
        }
        if end > self.paged {
            let paged = end.next_multiple_of(STEP).min(self.length);
            match memory.reserve_more(self.paged, paged) {
                Ok(()) => self.paged = paged,
                // Room comes back when chunks are done.
                Err(_) if self.is_lent() => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        self.mark = end;
        Ok(Some(Room { offset, length }))
    }

    /// Takes room back.
    pub(super) fn take_back(&mut self, room: Room) {
        let Room { mut offset, mut length } = room;
        if let Some((before, free)) = self.free.range(..offset).next_back().map(|(at, free)| (*at, *free)) {
            if before + free == offset {
                self.free.remove(&before);
                (offset, length) = (before, free + length);
            }
        }
        if let Some(free) = self.free.remove(&(offset + length)) {
            length += free;
        }
        if offset + length == self.mark {
            self.mark = offset;
        } else {
            self.free.insert(offset, length);
        }
    }

    /// Whether any room is given out.
    fn is_lent(&self) -> bool {
        self.free.values().sum::<u64>() < self.mark
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn room_is_given_once_and_comes_back_whole() {
        let (memory, length) = file().unwrap();
        let mut arena = Arena::new(length);
        let give = |arena: &mut Arena, length| arena.give(&memory, length).unwrap().unwrap();
        let rooms: Vec<_> = [100, 1, 5000, 64].map(|length| give(&mut arena, length)).into();
        for (at, one) in rooms.iter().enumerate() {
            for other in &rooms[at + 1..] {
                assert!(one.offset + one.length <= other.offset, "{one:?} {other:?}");
            }
        }
        arena.take_back(rooms[0]);
        arena.take_back(rooms[2]);
        assert_eq!(give(&mut arena, 4000).offset, rooms[2].offset, "the first that is long enough");
        arena.take_back(Room { offset: rooms[2].offset, length: 4032 });
        arena.take_back(rooms[1]);
        assert_eq!(arena.free.len(), 1, "neighbours are one");
        arena.take_back(rooms[3]);
        assert_eq!((arena.mark, arena.free.len()), (0, 0));
    }

    #[test]
    fn pages_are_found_once() {
        let (memory, length) = file().unwrap();
        // As if the pages below had been found.
        let mut arena = Arena { mark: 8 << 20, paged: 8 << 20, ..Arena::new(length) };
        arena.give(&memory, 64).unwrap().unwrap();
        assert_eq!(arena.paged, (8 << 20) + STEP);
        let found = std::fs::File::from(OwnedFd::from(memory)).metadata().unwrap().blocks() * 512;
        assert!((STEP..8 << 20).contains(&found), "{found}: the new step alone has pages");
    }

    #[test]
    fn there_is_no_room_beyond_the_end_and_pages_only_as_needed() {
        let (memory, _) = file().unwrap();
        let mut arena = Arena::new(1 << 20);
        let room = arena.give(&memory, 300 << 10).unwrap().unwrap();
        assert_eq!(arena.paged, 512 << 10);
        assert_eq!(arena.give(&memory, 900 << 10).unwrap(), None);
        arena.take_back(room);
        assert!(arena.give(&memory, 1 << 20).unwrap().is_some());
        assert_eq!(arena.give(&memory, 1).unwrap(), None);
    }
}
