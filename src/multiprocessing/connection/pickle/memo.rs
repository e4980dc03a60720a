//! The memo of a pickle: objects that were stored under numbers.

use std::collections::HashMap;

use super::graph::Id;
use super::meter::{Full, Meter};

/// The number that no node has.
const NOTHING: Id = Id::MAX;

/// The memory of an entry in the table of far numbers, including the unused part of the table.
const FAR: usize = 32;

/// The memo. Most pickles use consecutive numbers from about zero on, so most numbers are indices of a list.
#[derive(Default)]
pub(super) struct Memo {
    near: Vec<Id>,
    far: HashMap<u32, Id>,
    len: u32,
}

impl Memo {
    /// The number of entries.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn get(&self, index: u32) -> Option<Id> {
        let near = self.near.get(index as usize).copied().filter(|id| *id != NOTHING);
        near.or_else(|| self.far.get(&index).copied())
    }

    pub(super) fn put(&mut self, meter: &mut Meter, index: u32, id: Id) -> Result<(), Full> {
        if let Some(known) = self.far.get_mut(&index) {
            *known = id;
            return Ok(());
        }
        let place = index as usize;
        if place >= self.near.len() {
            if place > 2 * self.near.len() + 64 {
                meter.charge(FAR)?;
                self.far.insert(index, id);
                self.len += 1;
                return Ok(());
            }
            let missing = place + 1 - self.near.len();
            meter.reserve(&mut self.near, missing)?;
            self.near.resize(place + 1, NOTHING);
        }
        if let Some(slot) = self.near.get_mut(place) {
            self.len += u32::from(*slot == NOTHING);
            *slot = id;
        }
        Ok(())
    }

    pub(super) fn free(self, meter: &mut Meter) {
        meter.refund(self.far.len() * FAR);
        meter.free(self.near);
    }
}
