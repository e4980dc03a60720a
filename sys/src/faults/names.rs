//! A list of names of calls, without an allocation.

use core::fmt;
use core::ops::Deref;

const ROOM: usize = 96;
const MORE: &str = ", ..";

/// The names of calls, each once, with commas between them. A longer list ends with two dots.
///
/// # Examples
/// See the example of [`Failure`](super::sweep::Failure).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Names {
    bytes: [u8; ROOM],
}

impl Names {
    pub(crate) const NONE: Self = Self { bytes: [0; ROOM] };

    /// Adds a name that is not in the list; `false` when the list is full.
    pub(crate) fn add(&mut self, name: &str) -> bool {
        if self.split(", ").any(|known| known == name) {
            return true;
        }
        let len = self.len();
        let gap = if len == 0 { "" } else { ", " };
        let fits = len + gap.len() + name.len() + MORE.len() <= ROOM;
        let added = if fits { [gap, name] } else { [MORE, ""] };
        let places = self.bytes.iter_mut().skip(len);
        places.zip(added.into_iter().flat_map(str::bytes)).for_each(|(place, byte)| *place = byte);
        fits
    }
}

impl Deref for Names {
    type Target = str;

    fn deref(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(ROOM);
        core::str::from_utf8(self.bytes.get(..len).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
