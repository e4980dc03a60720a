//! The stack of the machine. The items above each open mark are in one `Vec`, so a container can take that `Vec`.

use super::graph::Item;
use super::meter::{Full, Meter};

/// Up to this number, items are copied to their container and their room is used again. A larger number of items keeps
/// its room if the items fill it.
const FEW: usize = 64;

#[derive(Default)]
pub(super) struct Stack {
    /// The items above the last open mark.
    top: Vec<Item>,
    /// The items below each open mark.
    below: Vec<Vec<Item>>,
    /// Buffers to use again.
    spare: Vec<Vec<Item>>,
}

impl Stack {
    #[inline]
    pub(super) fn push(&mut self, meter: &mut Meter, item: Item) -> Result<(), Full> {
        if self.top.len() == self.top.capacity() {
            meter.reserve(&mut self.top, 1)?;
        }
        self.top.push(item);
        Ok(())
    }

    /// The items above the last open mark.
    pub(super) fn top(&self) -> &[Item] {
        &self.top
    }

    /// The last item above the open mark.
    pub(super) fn last_mut(&mut self) -> Option<&mut Item> {
        self.top.last_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.top.pop()
    }

    /// Pops the last `N` items above the open mark, the lowest first.
    pub(super) fn pop_some<const N: usize>(&mut self) -> Option<[Item; N]> {
        let some = *self.top.last_chunk::<N>()?;
        self.top.truncate(self.top.len() - N);
        Some(some)
    }

    pub(super) fn mark(&mut self, meter: &mut Meter) -> Result<(), Full> {
        meter.reserve(&mut self.below, 1)?;
        let room = self.spare.pop().unwrap_or_default();
        self.below.push(std::mem::replace(&mut self.top, room));
        Ok(())
    }

    pub(super) fn has_mark(&self) -> bool {
        !self.below.is_empty()
    }

    /// Closes the last open mark, and returns the items above it. The caller [gives the room back](Self::give_back) or
    /// [keeps](Self::keep) the items.
    pub(super) fn pop_mark(&mut self) -> Option<Vec<Item>> {
        self.below.pop().map(|below| std::mem::replace(&mut self.top, below))
    }

    pub(super) fn give_back(&mut self, meter: &mut Meter, mut room: Vec<Item>) -> Result<(), Full> {
        meter.reserve(&mut self.spare, 1)?;
        room.clear();
        self.spare.push(room);
        Ok(())
    }

    /// Returns the items without unused room, for the caller to keep.
    pub(super) fn keep(&mut self, meter: &mut Meter, items: Vec<Item>) -> Result<Vec<Item>, Full> {
        if items.len() > FEW && items.len() > items.capacity() / 2 {
            return Ok(items);
        }
        let mut kept = Vec::new();
        meter.reserve(&mut kept, items.len())?;
        kept.extend_from_slice(&items);
        self.give_back(meter, items)?;
        Ok(kept)
    }

    /// Adds popped items to the items of a container.
    pub(super) fn add(&mut self, meter: &mut Meter, to: &mut Vec<Item>, items: Vec<Item>) -> Result<(), Full> {
        if to.is_empty() && items.len() > FEW && items.len() >= items.capacity() / 4 * 3 {
            meter.free(std::mem::replace(to, items));
            return Ok(());
        }
        meter.reserve(to, items.len())?;
        to.extend_from_slice(&items);
        self.give_back(meter, items)
    }

    pub(super) fn free(self, meter: &mut Meter) {
        let Self { top, below, spare } = self;
        for frames in [vec![top], below, spare] {
            for frame in &frames {
                meter.refund(frame.capacity() * size_of::<Item>());
            }
            meter.refund(frames.capacity() * size_of::<Vec<Item>>());
        }
    }
}
