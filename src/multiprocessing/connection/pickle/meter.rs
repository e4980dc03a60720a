//! What reading a pickle costs in memory, counted before it is allocated.

/// How many bytes are allocated, and how many may be.
pub(super) struct Meter {
    used: usize,
    limit: usize,
}

/// It would be more than the limit.
#[derive(Debug)]
pub(super) struct Full;

type Outcome = Result<(), Full>;

impl Meter {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// So many bytes are about to be allocated.
    pub(super) fn charge(&mut self, bytes: usize) -> Outcome {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Full);
        }
        self.used = used;
        Ok(())
    }

    /// So many bytes were freed.
    pub(super) fn refund(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Makes room for `more` items: exactly as much at first, then twice as much, and a quarter more where it is much already,
    /// since what is too much counts.
    pub(super) fn reserve<T>(&mut self, items: &mut Vec<T>, more: usize) -> Outcome {
        let (len, capacity) = (items.len(), items.capacity());
        if capacity - len >= more {
            return Ok(());
        }
        let step = if capacity < 1024 { capacity } else { capacity / 4 };
        let wanted = (len.saturating_add(more)).max(capacity + step);
        self.charge((wanted - capacity).saturating_mul(size_of::<T>()))?;
        items.reserve_exact(wanted - len);
        Ok(())
    }

    /// Frees the items.
    pub(super) fn free<T>(&mut self, items: Vec<T>) {
        self.refund(items.capacity() * size_of::<T>());
    }
}
