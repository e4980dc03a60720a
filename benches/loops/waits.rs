//! The three ways to wait, in the terms of each contender.

use std::time::Duration;

use nix::sys::epoll::EpollTimeout;
use ossature_sys::deadline::Deadline;
use rustix::event::Timespec;

/// A poll without a wait, a wait without a limit, or a wait until a distant instant.
#[derive(Clone, Copy)]
pub enum Wait {
    Now,
    Never,
    Deadline,
}

const FAR: u16 = 60_000;

impl Wait {
    pub const ALL: [Self; 3] = [Self::Now, Self::Never, Self::Deadline];

    pub fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Never => "never",
            Self::Deadline => "deadline",
        }
    }

    pub fn ours(self) -> Deadline {
        self.duration().into()
    }

    pub fn libc(self) -> i32 {
        match self {
            Self::Now => 0,
            Self::Never => -1,
            Self::Deadline => i32::from(FAR),
        }
    }

    pub fn nix(self) -> EpollTimeout {
        match self {
            Self::Now => EpollTimeout::ZERO,
            Self::Never => EpollTimeout::NONE,
            Self::Deadline => FAR.into(),
        }
    }

    pub fn rustix(self) -> Option<Timespec> {
        self.duration().map(|span| Timespec { tv_sec: span.as_secs() as i64, tv_nsec: 0 })
    }

    /// The wait as the timeout of std, mio and polling.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::Never => None,
            Self::Deadline => Some(Duration::from_millis(u64::from(FAR))),
        }
    }
}
