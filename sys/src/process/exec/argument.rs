//! Lists of C strings in the form for exec: pointers, then a null pointer.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use static_assertions::assert_eq_size;

use crate::errno::{Errno, Result};

/// One string of an argument list or an environment, or the end mark.
///
/// An array of these in the caller's memory is what C calls `argv`; its last element is [`END`](Self::END).
///
/// # Examples
/// ```
/// use ossature_sys::process::{Argument, Plan};
///
/// let mut slots = [Argument::END; 8];
/// let arguments = Argument::list(&mut slots, [c"sh", c"-c", c"exit 7"])?;
/// assert_eq!(Plan::new(c"/bin/sh", arguments)?.start()?.wait()?.code(), Some(7));
///
/// // The same, written out.
/// let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(c"exit 7"), Argument::END];
/// assert_eq!(Plan::new(c"/bin/sh", &arguments)?.start()?.wait()?.code(), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "argv")]
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Argument<'a>(Option<NonNull<c_char>>, PhantomData<&'a CStr>);

assert_eq_size!(Argument<'_>, *const c_char);

impl<'a> Argument<'a> {
    /// The null pointer at the end of a list.
    pub const END: Self = Self(None, PhantomData);

    /// A string of the list.
    pub const fn new(string: &'a CStr) -> Self {
        Self(NonNull::new(string.as_ptr().cast_mut()), PhantomData)
    }

    /// Writes `strings` and the end mark into `slots` and lends back the list.
    ///
    /// # Errors
    /// `E2BIG` when there are fewer slots than strings and one more.
    pub fn list<'s>(slots: &'s mut [Self], strings: impl IntoIterator<Item = &'a CStr>) -> Result<&'s [Self]> {
        let mut len = 0;
        for string in strings {
            *slots.get_mut(len).ok_or(Errno::TOOBIG)? = Self::new(string);
            len += 1;
        }
        *slots.get_mut(len).ok_or(Errno::TOOBIG)? = Self::END;
        slots.get(..=len).ok_or(Errno::TOOBIG)
    }
}

impl<'a> From<&'a CStr> for Argument<'a> {
    fn from(string: &'a CStr) -> Self {
        Self::new(string)
    }
}

impl fmt::Debug for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("END"),
            // SAFETY: the pointer came from a `&'a CStr`, and `'a` has not ended while this value exists.
            Some(string) => unsafe { CStr::from_ptr(string.as_ptr()) }.fmt(f),
        }
    }
}

/// `list`, if it ends with [`Argument::END`].
pub(super) fn ended<'a>(list: &'a [Argument<'a>]) -> core::result::Result<&'a [Argument<'a>], MissingEnd> {
    match list.last() {
        Some(Argument(None, _)) => Ok(list),
        _ => Err(MissingEnd),
    }
}

/// The last element of an argument list or of an environment is not [`Argument::END`]. As an [`Errno`] it is `EINVAL`.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Argument, MissingEnd, Plan};
///
/// let mut arguments = vec![Argument::new(c"true")];
/// assert_eq!(Plan::new(c"/bin/true", &arguments).err(), Some(MissingEnd));
/// arguments.push(Argument::END);
/// assert!(Plan::new(c"/bin/true", &arguments)?.start()?.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissingEnd;

impl fmt::Display for MissingEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of arguments or environment variables does not end with `Argument::END`: add it as the last element, or \
             make the list by `Argument::list`",
        )
    }
}

impl core::error::Error for MissingEnd {}

impl From<MissingEnd> for Errno {
    fn from(_: MissingEnd) -> Self {
        Self::INVAL
    }
}
