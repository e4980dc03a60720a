//! The C numbers and the layout: those of the system; on Linux, FreeBSD's numbers in a layout of the same order.

#[cfg(not(target_os = "linux"))]
pub(super) use self::native::*;
#[cfg(not(target_os = "linux"))]
pub use self::native::{FilterNumber, FlagBits};
#[cfg(target_os = "linux")]
pub(super) use self::ours::*;
#[cfg(target_os = "linux")]
pub use self::ours::{FilterNumber, FlagBits};

#[cfg(target_os = "linux")]
mod ours {
    /// The width of a filter's number.
    ///
    /// # Examples
    /// See the example of [`Filter`](crate::kqueue::Filter).
    pub type FilterNumber = i16;
    /// The width of the flags.
    ///
    /// # Examples
    /// See the example of [`Filter`](crate::kqueue::Filter).
    pub type FlagBits = u16;

    pub(in super::super) const EVFILT_READ: i16 = -1;
    pub(in super::super) const EVFILT_WRITE: i16 = -2;
    pub(in super::super) const EVFILT_AIO: i16 = -3;
    pub(in super::super) const EVFILT_VNODE: i16 = -4;
    pub(in super::super) const EVFILT_PROC: i16 = -5;
    pub(in super::super) const EVFILT_SIGNAL: i16 = -6;
    pub(in super::super) const EVFILT_TIMER: i16 = -7;
    pub(in super::super) const EVFILT_NETDEV: i16 = -8;
    pub(in super::super) const EVFILT_FS: i16 = -9;
    pub(in super::super) const EVFILT_USER: i16 = -11;
    pub(in super::super) const EVFILT_EMPTY: i16 = -13;

    pub(in super::super) const NOTE_LOWAT: u32 = 0x1;
    pub(in super::super) const NOTE_DELETE: u32 = 0x1;
    pub(in super::super) const NOTE_WRITE: u32 = 0x2;
    pub(in super::super) const NOTE_EXTEND: u32 = 0x4;
    pub(in super::super) const NOTE_ATTRIB: u32 = 0x8;
    pub(in super::super) const NOTE_LINK: u32 = 0x10;
    pub(in super::super) const NOTE_RENAME: u32 = 0x20;
    pub(in super::super) const NOTE_REVOKE: u32 = 0x40;
    pub(in super::super) const NOTE_OPEN: u32 = 0x80;
    pub(in super::super) const NOTE_CLOSE: u32 = 0x100;
    pub(in super::super) const NOTE_CLOSE_WRITE: u32 = 0x200;
    pub(in super::super) const NOTE_READ: u32 = 0x400;
    pub(in super::super) const NOTE_EXIT: u32 = 0x8000_0000;
    pub(in super::super) const NOTE_FORK: u32 = 0x4000_0000;
    pub(in super::super) const NOTE_EXEC: u32 = 0x2000_0000;
    pub(in super::super) const NOTE_TRACK: u32 = 0x1;
    pub(in super::super) const NOTE_TRACKERR: u32 = 0x2;
    pub(in super::super) const NOTE_CHILD: u32 = 0x4;
    pub(in super::super) const NOTE_SECONDS: u32 = 0x1;
    pub(in super::super) const NOTE_MSECONDS: u32 = 0x2;
    pub(in super::super) const NOTE_USECONDS: u32 = 0x4;
    pub(in super::super) const NOTE_NSECONDS: u32 = 0x8;
    pub(in super::super) const NOTE_ABSTIME: u32 = 0x10;

    /// `struct kevent` of `sys/kqueue-c/include/sys/event.h`.
    #[derive(Clone, Copy)]
    #[repr(C)]
    pub(in super::super) struct Raw {
        pub(in super::super) ident: usize,
        pub(in super::super) filter: i16,
        pub(in super::super) flags: u16,
        pub(in super::super) fflags: u32,
        pub(in super::super) data: i64,
        pub(in super::super) udata: usize,
    }

    #[cfg(target_pointer_width = "64")]
    static_assertions::const_assert_eq!(size_of::<Raw>(), 32);
    static_assertions::const_assert!(
        core::mem::offset_of!(Raw, ident) < core::mem::offset_of!(Raw, filter)
            && core::mem::offset_of!(Raw, filter) + 2 == core::mem::offset_of!(Raw, flags)
            && core::mem::offset_of!(Raw, flags) + 2 == core::mem::offset_of!(Raw, fflags)
            && core::mem::offset_of!(Raw, fflags) < core::mem::offset_of!(Raw, data)
            && core::mem::offset_of!(Raw, data) + 8 == core::mem::offset_of!(Raw, udata)
    );

    pub(in super::super) fn raw(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64, udata: usize) -> Raw {
        Raw { ident, filter, flags, fflags, data, udata }
    }
}

#[cfg(not(target_os = "linux"))]
mod native {
    #[cfg(not(target_os = "netbsd"))]
    mod widths {
        /// The width of a filter's number.
        ///
        /// # Examples
        /// See the example of [`Filter`](crate::kqueue::Filter).
        pub type FilterNumber = i16;
        /// The width of the flags.
        ///
        /// # Examples
        /// See the example of [`Filter`](crate::kqueue::Filter).
        pub type FlagBits = u16;
    }
    #[cfg(target_os = "netbsd")]
    mod widths {
        /// The width of a filter's number.
        ///
        /// # Examples
        /// See the example of [`Filter`](crate::kqueue::Filter).
        pub type FilterNumber = u32;
        /// The width of the flags.
        ///
        /// # Examples
        /// See the example of [`Filter`](crate::kqueue::Filter).
        pub type FlagBits = u32;
    }
    pub use widths::{FilterNumber, FlagBits};

    /// Imports C's constants, each in this module's width.
    macro_rules! of_c {
        ($width:ty: $($name:ident)*) => {
            $(pub(in super::super) const $name: $width = libc::$name as $width;)*
        };
    }
    of_c!(FilterNumber: EVFILT_READ EVFILT_WRITE EVFILT_AIO EVFILT_VNODE EVFILT_PROC EVFILT_SIGNAL EVFILT_TIMER);
    #[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
    of_c!(FilterNumber: EVFILT_USER);
    of_c!(u32: NOTE_LOWAT NOTE_DELETE NOTE_WRITE NOTE_EXTEND NOTE_ATTRIB NOTE_LINK NOTE_RENAME NOTE_REVOKE);
    of_c!(u32: NOTE_EXIT NOTE_FORK NOTE_EXEC NOTE_TRACK NOTE_TRACKERR NOTE_CHILD);
    #[cfg(target_os = "freebsd")]
    of_c!(u32: NOTE_OPEN NOTE_CLOSE NOTE_CLOSE_WRITE NOTE_READ);
    #[cfg(any(target_os = "freebsd", target_os = "macos", target_os = "ios"))]
    of_c!(u32: NOTE_SECONDS NOTE_USECONDS NOTE_NSECONDS);
    #[cfg(target_os = "freebsd")]
    of_c!(u32: NOTE_MSECONDS NOTE_ABSTIME);
    // NetBSD's timers have these from release 10 on.
    #[cfg(target_os = "netbsd")]
    mod of_netbsd {
        pub(in super::super::super) const NOTE_MSECONDS: u32 = 0;
        pub(in super::super::super) const NOTE_SECONDS: u32 = 1;
        pub(in super::super::super) const NOTE_USECONDS: u32 = 2;
        pub(in super::super::super) const NOTE_NSECONDS: u32 = 3;
        pub(in super::super::super) const NOTE_ABSTIME: u32 = 0x10;
    }
    #[cfg(target_os = "netbsd")]
    pub(in super::super) use of_netbsd::*;

    pub(in super::super) type Raw = libc::kevent;

    pub(in super::super) fn raw(
        ident: usize,
        filter: FilterNumber,
        flags: FlagBits,
        fflags: u32,
        data: i64,
        udata: usize,
    ) -> Raw {
        libc::kevent {
            ident: ident as _,
            filter: filter as _,
            flags: flags as _,
            fflags: fflags as _,
            data: data as _,
            udata: udata as _,
            #[cfg(target_os = "freebsd")]
            ext: [0; 4],
        }
    }
}
