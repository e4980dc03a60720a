//! The memory that decoding a pickle takes, counted before its allocation.

/// The number of allocated bytes, and its limit.
pub(super) struct Meter {
    used: usize,
    limit: usize,
    setters: Setters,
}

/// The methods that raise the limits, by their names in errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setters {
    pub(super) memory: &'static str,
    pub(super) depth: &'static str,
}

impl Setters {
    /// The setters of a connection, which makes its decoder itself.
    pub(super) const OF_CONNECTION: Self = Self { memory: "set_max_decoded", depth: "set_max_depth" };

    /// The setters of a manager or its client. Neither lets the program set these limits.
    pub(super) const OF_MANAGER: Self = Self { memory: "no setting of a manager", depth: "no setting of a manager" };
}

impl Default for Setters {
    fn default() -> Self {
        Self { memory: "Decoder::max_memory", depth: "Decoder::max_depth" }
    }
}

/// The error of an allocation that would exceed the limit.
#[derive(Debug)]
pub(super) struct Full;

type Outcome = Result<(), Full>;

impl Meter {
    pub(super) fn new(limit: usize, setters: Setters) -> Self {
        Self { used: 0, limit, setters }
    }

    pub(super) fn setters(&self) -> Setters {
        self.setters
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts bytes that are about to be allocated.
    pub(super) fn charge(&mut self, bytes: usize) -> Outcome {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Full);
        }
        self.used = used;
        Ok(())
    }

    /// Subtracts bytes that were freed.
    pub(super) fn refund(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Makes room for `more` items: at first exactly that, later at least double the room, or a quarter more if the
    /// room is already large. Unused room counts, too.
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
