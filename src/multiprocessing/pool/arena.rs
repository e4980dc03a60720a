//! The storage for the bytes of chunks too long for their slots: room in a memory file, which only the parent
//! allocates.
//!
//! The memory file is long, and has pages up to the highest block that was ever allocated. Pages are reserved before
//! a block is allocated. So if memory is exhausted, the parent gets an error, and no worker ends by `SIGBUS`.

use std::collections::BTreeMap;

use ossature_sys::errno::{Errno, Result};
use ossature_sys::mmap::{Memfd, Seals};
use ossature_sys::process::{Resource, rlimit};

/// The length of the memory file: address space, and not memory.
const LENGTH: u64 = if size_of::<usize>() == 8 { 1 << 30 } else { 32 << 20 };
/// The number of bytes for which pages are reserved at a time.
const STEP: u64 = 256 << 10;
/// The alignment of allocated room.
const ALIGN: u64 = 64;

/// Makes a memory file of the greatest length that this process may have.
pub(super) fn file() -> Result<(Memfd, usize)> {
    let memory = Memfd::new(c"ossature-pool")?;
    // Beyond this limit the kernel sends SIGXFSZ, which by default ends the program.
    let most = rlimit(Resource::Fsize)?.current.unwrap_or(u64::MAX);
    let length = LENGTH.min(most);
    memory.set_len(length)?;
    memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL)?;
    Ok((memory, length as usize))
}

/// Makes a memory file of fixed length, with all its pages.
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

/// The allocator of the room in the memory file.
pub(super) struct Arena {
    /// The free room below `mark`, as offsets and lengths. Free neighbours are always merged.
    free: BTreeMap<u64, u64>,
    /// The end of all room that was ever allocated.
    mark: u64,
    /// The end of the part of the memory file that has pages.
    paged: u64,
    length: u64,
}

/// An allocated piece of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub(super) offset: u64,
    length: u64,
}

impl Arena {
    pub(super) fn new(length: usize) -> Self {
        Self { free: BTreeMap::new(), mark: 0, paged: 0, length: length as u64 }
    }

    /// The length of the longest chunk that can ever fit.
    pub(super) fn longest(&self) -> u64 {
        self.length
    }

    /// Allocates the first room that is long enough for a chunk; `None` while there is none.
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
                // Room is freed when chunks are done.
                Err(_) if self.is_lent() => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
        self.mark = end;
        Ok(Some(Room { offset, length }))
    }

    /// Frees room.
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

    /// Whether any room is allocated.
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
