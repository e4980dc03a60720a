//! The participants whose deaths a sleeper watches: see [`grounds`](super::grounds).

/// The maximum number of leases that a sleeper watches.
pub(crate) const OWNERS: usize = 4;

/// The numbers of some participants, each once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owners {
    numbers: [u32; OWNERS],
    used: usize,
    is_more: bool,
}

impl Owners {
    /// Forgets all of them.
    #[inline]
    pub(super) fn clear(&mut self) {
        (self.used, self.is_more) = (0, false);
    }

    pub(super) fn add(&mut self, who: u32) {
        if self.iter().any(|other| other == who) {
            return;
        }
        match self.numbers.get_mut(self.used) {
            Some(place) => {
                *place = who;
                self.used += 1;
            }
            None => self.is_more = true,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.numbers.iter().take(self.used).copied()
    }

    /// Whether there are more of them than there is room for.
    pub(super) fn is_more(&self) -> bool {
        self.is_more
    }
}
