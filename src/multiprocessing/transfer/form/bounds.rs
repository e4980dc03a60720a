//! The bounds on the cost of decoding one message.

/// The default maximum nesting depth of a value.
pub(crate) const DEPTH: usize = 128;

/// The default number of items in a message that may take no bytes.
pub(crate) const IDLE: usize = 1 << 20;

/// The bounds of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The maximum nesting depth of values.
    pub(crate) depth: usize,
    /// The maximum memory of the value's items, texts and bytes, in bytes; `usize::MAX` means no bound.
    pub(crate) memory: usize,
    /// The number of items that may take no bytes.
    pub(crate) idle: usize,
    /// The name of the call that allows more depth, for the error.
    pub(crate) deeper: &'static str,
}

impl Bounds {
    /// The bounds of a message from a process of this program.
    pub(crate) const SAME_PROGRAM: Self =
        Self { depth: DEPTH, memory: usize::MAX, idle: IDLE, deeper: "set_max_depth" };

    /// The bounds for `length` bytes from a stranger. An empty `String` in a `Vec` is one byte of a message and 24
    /// bytes of memory, and few honest values grow more.
    pub(crate) const fn of_stranger(length: usize) -> Self {
        let memory = length.saturating_mul(32).saturating_add(16 << 20);
        Self { memory, ..Self::SAME_PROGRAM }
    }

    /// The bounds for one of many values from a stranger, `length` bytes long: the length bounds the time too.
    pub(crate) const fn of_one_of_many(self, length: usize) -> Self {
        let idle = length.saturating_mul(64).saturating_add(1024);
        Self { memory: Self::of_stranger(length).memory, idle: if idle < IDLE { idle } else { IDLE }, ..self }
    }
}
