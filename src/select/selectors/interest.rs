//! What a selector waits for.

bitflags::bitflags! {
    /// What to wait for on an object, and what it is ready for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Interest: u8 {
        /// Reading (or accepting, or noticing the end).
        #[doc(alias = "EVENT_READ")]
        const READ = 1;
        /// Writing.
        #[doc(alias = "EVENT_WRITE")]
        const WRITE = 2;
    }
}
