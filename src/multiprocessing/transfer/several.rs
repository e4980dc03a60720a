//! Several values in one message, one after the other: the calls of a chunk of tasks, and their results.
//!
//! One list of descriptors serves the whole message. Between two values the list is paused, so that a value which a
//! task serialises for itself finds nothing that is being sent.

use ossature_sys::fd::duplicate;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::form;
use super::list::{Arriving, Leaving, put, take};
use super::{Bounds, Descriptors, FdCounts, FdKind, Packed, Trust, cannot_be_sent};
use crate::error::{Error, ErrorKind, Result};

/// The first byte of a length that takes [`FURTHER`] more bytes. A shorter length is one byte.
pub(crate) const LONG: u8 = 0xff;
/// The number of bytes of a length after [`LONG`].
const FURTHER: usize = size_of::<u32>();

/// Writes the length of the bytes, then the bytes; returns false and writes nothing for 4 GiB or more.
pub(crate) fn put_measured(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    match u32::try_from(bytes.len()) {
        Ok(length) if length < LONG.into() => out.push(length as u8),
        Ok(length) => {
            out.push(LONG);
            out.extend_from_slice(&length.to_le_bytes());
        }
        Err(_) => return false,
    }
    out.extend_from_slice(bytes);
    true
}

/// Splits off the first of several values with lengths; returns the value and the rest.
#[inline]
pub(crate) fn split_measured(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != LONG {
        return rest.split_at_checked((*first).into());
    }
    let (length, rest) = rest.split_first_chunk::<FURTHER>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Writes values, each with descriptors of its own.
pub(crate) struct Writing(Leaving);

impl Writing {
    /// Begins to write in the calling thread, until the returned value is dropped.
    pub(crate) fn begin() -> Self {
        let list = Leaving::begin();
        list.set_paused(true);
        Self(list)
    }

    /// Appends a value to `out`; returns the descriptors in the value.
    ///
    /// # Errors
    /// `InvalidInput` for a value that cannot be serialised; what was written of the value is in `out` then.
    #[inline]
    pub(crate) fn write<T: Serialize + ?Sized>(&self, out: &mut Vec<u8>, value: &T) -> Result<Descriptors> {
        self.write_one(out, value).map(Option::unwrap_or_default)
    }

    #[inline]
    fn write_one<T: Serialize + ?Sized>(&self, out: &mut Vec<u8>, value: &T) -> Result<Option<Descriptors>> {
        self.0.set_paused(false);
        let written = form::write_behind(out, value);
        let descriptors = self.0.take_any();
        self.0.set_paused(true);
        let descriptors = descriptors?;
        match written {
            Ok(()) => Ok(descriptors),
            Err(why) => Err(cannot_be_sent::<T>(&why)),
        }
    }

    /// Appends like [`write`](Self::write), with the length of the value before the value; `None` without descriptors.
    ///
    /// # Errors
    /// As `write`, and `InvalidInput` for a value of 4 GiB or more.
    #[inline]
    pub(crate) fn write_measured<T: Serialize + ?Sized>(
        &self,
        out: &mut Vec<u8>,
        value: &T,
    ) -> Result<Option<Descriptors>> {
        let from = out.len();
        out.push(0);
        let descriptors = self.write_one(out, value)?;
        let length = out.len() - from - 1;
        match out.get_mut(from) {
            Some(place) if length < LONG.into() => *place = length as u8,
            _ => lengthen(out, from, length)?,
        }
        Ok(descriptors)
    }
}

/// Makes room for a longer length before a value.
#[cold]
fn lengthen(out: &mut Vec<u8>, from: usize, length: usize) -> Result<()> {
    let length = u32::try_from(length)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "a value among several takes 4 GiB or more"))?;
    let [a, b, c, d] = length.to_le_bytes();
    out.splice(from..=from, [LONG, a, b, c, d]);
    Ok(())
}

/// Reads values that were written one after the other, each with its length before it, or each in a separate slice.
pub(crate) struct Reading<'b> {
    list: Arriving,
    rest: &'b [u8],
    bounds: Bounds,
    of_strangers: bool,
}

impl<'b> Reading<'b> {
    /// Begins to read in the calling thread, until the returned value is dropped.
    pub(crate) fn begin(bytes: &'b [u8], descriptors: Descriptors, bounds: Bounds) -> Self {
        let list = Arriving::begin(descriptors, Trust::SameProgram);
        list.set_paused(true);
        Self { list, rest: bytes, bounds, of_strangers: false }
    }

    /// Begins to read values without descriptors in separate slices, which another machine has sent.
    pub(crate) fn from_afar(bounds: Bounds) -> Self {
        let list = Arriving::begin(Descriptors::new(), Trust::Untrusted);
        list.set_paused(true);
        Self { list, rest: &[], bounds, of_strangers: false }
    }

    /// Bounds the cost of each value by its length.
    pub(crate) fn of_strangers(mut self) -> Self {
        self.of_strangers = true;
        self
    }

    /// Reads the only value in these bytes.
    ///
    /// # Errors
    /// `Decode` when the bytes are not such a value, and when bytes are left over.
    #[inline]
    pub(crate) fn read<T: DeserializeOwned>(&mut self, mut bytes: &[u8]) -> Result<T> {
        let value = self.front(&mut bytes)?;
        if !bytes.is_empty() {
            let left = bytes.len();
            return Err(Error::new(ErrorKind::Decode, format!("{left} bytes are left over after a value")));
        }
        Ok(value)
    }

    /// Reads the next value that [`write_measured`](Writing::write_measured) wrote.
    ///
    /// # Errors
    /// As [`read`](Self::read). After an error or a panic, too, the next value is the one after this value.
    #[inline]
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        let Some((bytes, rest)) = split_measured(self.rest) else {
            self.rest = &[];
            return Err(Error::new(ErrorKind::Decode, "the bytes end before the end of the value"));
        };
        self.rest = rest; // before user code runs
        self.read(bytes)
    }

    /// Reads the values in `bytes`, each with its length before it. Between them nothing else runs, so the list is not
    /// paused.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_all<T: DeserializeOwned>(&mut self, mut bytes: &[u8], into: &mut Vec<T>) -> Result<()> {
        self.list.set_paused(false);
        while let Some((value, rest)) = split_measured(bytes) {
            bytes = rest;
            match form::read(value, self.bounds) {
                Ok(value) => into.push(value),
                Err(why) => {
                    self.list.set_paused(true);
                    self.list.refused()?;
                    return Err(no_value::<T>(&why));
                }
            }
        }
        self.list.set_paused(true);
        self.list.refused()
    }

    /// Reads the value at the front of these bytes.
    #[inline]
    fn front<T: DeserializeOwned>(&mut self, bytes: &mut &[u8]) -> Result<T> {
        let bounds = if self.of_strangers { self.bounds.of_one_of_many(bytes.len()) } else { self.bounds };
        self.list.set_paused(false);
        let value = form::read_front(bytes, bounds);
        self.list.set_paused(true);
        self.list.refused()?;
        value.map_err(|why| no_value::<T>(&why))
    }
}

#[cold]
fn no_value<T>(why: &form::Fault) -> Error {
    let name = std::any::type_name::<T>();
    let message = format!("the bytes are not a {name} (both sides must name the same type): {why}");
    Error::new(ErrorKind::Decode, message)
}

impl Packed {
    /// Copies the packed value, with copies of the descriptors.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let borrowed = self.descriptors.borrowed();
        let copies: std::result::Result<Vec<_>, _> = borrowed.into_iter().map(duplicate).collect();
        let copies = copies.map_err(|errno| Error::os(errno, "cannot duplicate a descriptor to send it"))?;
        // The number of copies is the number of the originals.
        let descriptors = Descriptors::arrived(copies, self.descriptors.fd_counts()).unwrap_or_default();
        Ok(Self { bytes: self.bytes.clone(), descriptors })
    }
}

/// Serialises a packed value inside another value: its descriptors join those of the outer value, each in its kind.
impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let FdCounts { memory, ends, all } = self.descriptors.fd_counts();
        let kind = |at: usize| match at {
            at if at < memory => FdKind::Memory,
            at if at < memory + ends => FdKind::End,
            _ => FdKind::Handle,
        };
        let mut places = Vec::with_capacity(all);
        for (at, fd) in self.descriptors.borrowed().into_iter().enumerate() {
            places.push(put::<S::Error>(fd, kind(at))?);
        }
        (&self.bytes, memory, ends, places).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (bytes, memory, ends, places): (Vec<u8>, usize, usize, Vec<u32>) = Deserialize::deserialize(deserializer)?;
        let fd_counts = FdCounts { memory, ends, all: places.len() };
        let mut list = Vec::with_capacity(places.len());
        for (at, place) in places.into_iter().enumerate() {
            let kind = match at {
                at if at < memory => FdKind::Memory,
                at if at < memory.saturating_add(ends) => FdKind::End,
                _ => FdKind::Handle,
            };
            list.push(take::<D::Error>(place, kind)?);
        }
        let descriptors =
            Descriptors::arrived(list, fd_counts).ok_or_else(|| de::Error::custom("descriptors without a kind"))?;
        Ok(Self { bytes, descriptors })
    }
}
