//! Values for fuzz targets from the bytes of a fuzzer, by the crate `arbitrary`; only with the feature `arbitrary`.
//!
//! The functions prefer edge cases: a deadline that has passed, a flag without a name, a pipe without a reader.
//!
//! ```
//! use arbitrary::Unstructured;
//! use ossature::{arbitrary as from, sys::{pipe, poll::PollFlags}};
//!
//! let mut bytes = Unstructured::new(&[7; 64]);
//! let flags: pipe::Flags = from::flags(&mut bytes)?;
//! assert_eq!(flags.bits(), 0x0707_0707);
//! let deadline = from::deadline(&mut bytes)?;
//! let objects = from::descriptors(&mut bytes, 4)?;
//! assert!(objects.len() <= 4);
//! # let _ = (deadline, PollFlags::IN);
//! # Ok::<(), arbitrary::Error>(())
//! ```

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use arbitrary::{Arbitrary, Error, Result, Unstructured};
use ossature_sys::deadline::Deadline;
use ossature_sys::signal::{Signal, SignalSet, numbered};
use ossature_sys::{fd, pipe};

#[cfg(feature = "multiprocessing")]
use crate::multiprocessing::connection::Address;

/// Returns flags of any type of this crate or of `sys`, with any bits, including unnamed ones.
///
/// # Errors
/// As of `arbitrary`.
pub fn flags<F: bitflags::Flags>(bytes: &mut Unstructured<'_>) -> Result<F>
where
    F::Bits: for<'a> Arbitrary<'a>,
{
    Ok(F::from_bits_retain(bytes.arbitrary()?))
}

/// Returns a deadline: now, never, within 4 milliseconds, or after a span of any size. Bound a wait by
/// [`or_sooner`](Deadline::or_sooner), because a wait for a random deadline may never end.
///
/// # Errors
/// As of `arbitrary`.
pub fn deadline(bytes: &mut Unstructured<'_>) -> Result<Deadline> {
    Ok(match bytes.int_in_range(0..=3_u8)? {
        0 => Deadline::NOW,
        1 => Deadline::NEVER,
        2 => Deadline::after(Duration::from_micros(bytes.int_in_range(0..=4000)?)),
        _ => Deadline::after(bytes.arbitrary()?),
    })
}

/// Returns a signal that programs can use, including real-time signals.
///
/// # Errors
/// As of `arbitrary`.
///
/// # Examples
/// ```
/// use arbitrary::Unstructured;
/// use ossature::arbitrary::{signal, signals};
///
/// let mut bytes = Unstructured::new(&[7; 64]);
/// let one = signal(&mut bytes)?;
/// let set = signals(&mut bytes)?;
/// assert!((1..=64).contains(&(one as i32)) && set.iter().count() <= 8);
/// # Ok::<(), arbitrary::Error>(())
/// ```
pub fn signal(bytes: &mut Unstructured<'_>) -> Result<Signal> {
    let number = bytes.int_in_range(1..=64)?;
    // The C library keeps the numbers from 32 on to itself.
    Ok(numbered(number).unwrap_or(Signal::USR1))
}

/// Returns a set of up to eight signals.
///
/// # Errors
/// As of `arbitrary`.
///
/// # Examples
/// See the example of [`signal`].
pub fn signals(bytes: &mut Unstructured<'_>) -> Result<SignalSet> {
    (0..bytes.int_in_range(0..=8_u8)?).map(|_| signal(bytes)).collect()
}

/// Returns an address of a connection: a path, an abstract name of any bytes, or a port of this machine.
///
/// # Errors
/// As of `arbitrary`.
///
/// # Examples
/// ```
/// use arbitrary::Unstructured;
/// use ossature::arbitrary::address;
/// use ossature::multiprocessing::connection::{Address, pickle::Value};
///
/// let mut bytes = Unstructured::new(&[7; 64]);
/// let address = address(&mut bytes)?;
/// if let Ok(pickled) = Value::try_from(&address) {
///     assert_eq!(Address::try_from(&pickled).unwrap(), address); // what a fuzz target checks
/// }
/// # Ok::<(), arbitrary::Error>(())
/// ```
#[cfg(feature = "multiprocessing")]
pub fn address(bytes: &mut Unstructured<'_>) -> Result<Address> {
    Ok(match bytes.int_in_range(0..=2_u8)? {
        0 => Address::Unix(bytes.arbitrary()?),
        1 => Address::Abstract(bytes.arbitrary()?),
        _ => Address::from(("127.0.0.1", bytes.arbitrary::<u16>()?)),
    })
}

/// Returns up to `most` open descriptors, each with its other end if that is open. They are ends of pipes, sockets and
/// a file, some with a byte to read.
///
/// # Errors
/// As of `arbitrary`; `IncorrectFormat` when the process has no descriptor left.
pub fn descriptors(bytes: &mut Unstructured<'_>, most: usize) -> Result<Vec<(OwnedFd, Option<OwnedFd>)>> {
    (0..bytes.int_in_range(0..=most)?).map(|_| descriptor(bytes)).collect()
}

fn descriptor(bytes: &mut Unstructured<'_>) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let (kind, has_byte, is_alone): (u8, bool, bool) = bytes.arbitrary()?;
    let none_left = |_| Error::IncorrectFormat;
    let (one, other) = match kind % 4 {
        0 => pipe::pipe(pipe::Flags::empty()).map_err(none_left)?,
        1 => pipe::pipe(pipe::Flags::empty()).map(|(reader, writer)| (writer, reader)).map_err(none_left)?,
        2 => UnixStream::pair().map(|(near, far)| (near.into(), far.into())).map_err(|_| Error::IncorrectFormat)?,
        _ => return Ok((File::open("/proc/self/exe").map_err(|_| Error::IncorrectFormat)?.into(), None)),
    };
    if has_byte && kind % 4 != 1 {
        fd::write(&other, b"x").map_err(none_left)?;
    }
    Ok((one, (!is_alone).then_some(other)))
}
