//! The copy of a part of a map that `BufRead` lends.

/// A copy of some bytes, and their position in the map.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: usize,
}

impl Window {
    /// The number of bytes that are copied at a time.
    pub(super) const LEN: usize = 16 << 10;

    /// The copied bytes from `position` on; empty if none were copied.
    pub(super) fn from(&self, position: usize) -> &[u8] {
        position.checked_sub(self.start).and_then(|skip| self.bytes.get(skip..)).unwrap_or_default()
    }

    /// Replaces the bytes by those from `start` on, which `copy` writes.
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

    /// Drops the bytes, because the map may have changed.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}
