//! What decoding one message may cost.

/// How many levels a value may have by default.
pub(crate) const DEPTH: usize = 128;

/// How many items of a message may take no bytes by default.
pub(crate) const IDLE: usize = 1 << 20;

/// The bounds of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How deep values may be nested.
    pub(crate) depth: usize,
    /// How many bytes of memory the items, texts and bytes of the value may take; `usize::MAX` means no bound.
    pub(crate) memory: usize,
    /// How many items may take no bytes.
    pub(crate) idle: usize,
    /// The name of the call that allows more depth, for the error.
    pub(crate) deeper: &'static str,
}

impl Bounds {
    /// The bounds of a message from a process of this program.
    pub(crate) const SAME_PROGRAM: Self =
        Self { depth: DEPTH, memory: usize::MAX, idle: IDLE, deeper: "set_max_depth" };

    /// The bounds of `length` bytes from a stranger. An empty `String` in a `Vec` is one byte of a message and 24 bytes
    /// of memory, and few honest values grow more.
    pub(crate) const fn of_stranger(length: usize) -> Self {
        let memory = length.saturating_mul(32).saturating_add(16 << 20);
        Self { memory, ..Self::SAME_PROGRAM }
    }

    /// The bounds of one of many values from a stranger, `length` bytes long: the time is bounded by that length too.
    pub(crate) const fn of_one_of_many(self, length: usize) -> Self {
        let idle = length.saturating_mul(64).saturating_add(1024);
        Self { memory: Self::of_stranger(length).memory, idle: if idle < IDLE { idle } else { IDLE }, ..self }
    }
}
