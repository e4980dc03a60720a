//! The events that a selector waits for.

bitflags::bitflags! {
    /// The events to wait for on an object, or the events that it is ready for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Interest: u8 {
        /// Reading (or accepting, or detecting the end).
        #[doc(alias = "EVENT_READ")]
        const READ = 1;
        /// Writing.
        #[doc(alias = "EVENT_WRITE")]
        const WRITE = 2;
    }
}
