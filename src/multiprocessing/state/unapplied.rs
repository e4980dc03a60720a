//! A setting of the `ProcessBuilder` that the child could not apply: the child's report, and the parent's error.
//!
//! The child sends the step and the errno. The parent knows the values and words the error, so the error is the same
//! with every start method.

use ossature_sys::errno::Errno;

/// A step that failed, and the errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unapplied {
    pub(super) step: Step,
    pub(super) errno: Errno,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Group,
    Directory,
    /// The resource limit at this position in the list.
    Limit(u8),
    Identity,
    SignalMask,
}

/// The length of a report in bytes.
pub(crate) const LEN: usize = 6;

impl Unapplied {
    pub(crate) fn to_bytes(self) -> [u8; LEN] {
        let [a, b, c, d] = self.errno.raw_os_error().to_ne_bytes();
        let (step, position) = match self.step {
            Step::Group => (0, 0),
            Step::Directory => (1, 0),
            Step::Limit(position) => (2, position),
            Step::Identity => (3, 0),
            Step::SignalMask => (4, 0),
        };
        [step, position, a, b, c, d]
    }

    pub(crate) fn from_bytes([step, position, a, b, c, d]: [u8; LEN]) -> Self {
        let step = match step {
            0 => Step::Group,
            1 => Step::Directory,
            2 => Step::Limit(position),
            3 => Step::Identity,
            _ => Step::SignalMask,
        };
        Self { step, errno: Errno::from_raw_os_error(i32::from_ne_bytes([a, b, c, d])) }
    }
}
