//! The copy of a part of a map that `BufRead` lends.

/// Some bytes as they were, and where they stand in the map.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: usize,
}

impl Window {
    /// How many bytes are copied at a time.
    pub(super) const LEN: usize = 16 << 10;

    /// What was copied from `position` on; empty if nothing was.
    pub(super) fn from(&self, position: usize) -> &[u8] {
        position.checked_sub(self.start).and_then(|skip| self.bytes.get(skip..)).unwrap_or_default()
    }

    /// Makes the bytes from `start` on those that `copy` writes.
    pub(super) fn fill<E>(
        &mut self,
        start: usize,
        len: usize,
        copy: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes.resize(len, 0);
        self.start = start;
        copy(&mut self.bytes).inspect_err(|_| self.bytes.clear())
    }

    /// Forgets the bytes: the map may have others.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}
