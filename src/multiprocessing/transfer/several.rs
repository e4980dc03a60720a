//! Several values in one message, one behind the other: the calls of a chunk of tasks, and their results.
//!
//! One list of descriptors serves the whole message. Between two values the list is paused, so that a value which a
//! task serialises for itself finds nothing that is being sent.

use ossature_sys::fd::duplicate;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::form;
use super::list::{Arriving, Leaving, put, take};
use super::{Bounds, Descriptors, Packed, Sort, Sorts, Trust};
use crate::error::{Error, ErrorKind, Result};

/// How many bytes the length before a value takes.
const LENGTH: usize = size_of::<u32>();

/// Writes values, each with descriptors of its own.
pub(crate) struct Writing(Leaving);

impl Writing {
    /// For the thread that calls, until it is dropped.
    pub(crate) fn begin() -> Self {
        let list = Leaving::begin();
        list.set_paused(true);
        Self(list)
    }

    /// Writes a value behind what is in `out`; the descriptors in the value.
    ///
    /// # Errors
    /// `InvalidInput` for a value that cannot be serialised; what was written of the value is in `out` then.
    #[inline]
    pub(crate) fn write<T: Serialize + ?Sized>(&self, out: &mut Vec<u8>, value: &T) -> Result<Descriptors> {
        self.0.set_paused(false);
        let written = form::write_behind(out, value);
        let descriptors = self.0.take();
        self.0.set_paused(true);
        let descriptors = descriptors?;
        match written {
            Ok(()) => Ok(descriptors),
            Err(why) => {
                let name = std::any::type_name::<T>();
                Err(Error::new(ErrorKind::InvalidInput, format!("{name} cannot be sent: {why}")))
            }
        }
    }

    /// As [`write`](Self::write), with the length of the value before the value.
    ///
    /// # Errors
    /// As `write`, and `InvalidInput` for a value of 4 GiB or more.
    #[inline]
    pub(crate) fn write_measured<T: Serialize + ?Sized>(&self, out: &mut Vec<u8>, value: &T) -> Result<Descriptors> {
        let from = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        let descriptors = self.write(out, value)?;
        let length = u32::try_from(out.len() - from - LENGTH)
            .map_err(|_| Error::new(ErrorKind::InvalidInput, "a value among several takes 4 GiB or more"))?;
        if let Some(place) = out.get_mut(from..from + LENGTH) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        Ok(descriptors)
    }
}

/// Reads values that were written one behind the other, each with its length before it, or values in bytes of their
/// own.
pub(crate) struct Reading<'b> {
    list: Arriving,
    rest: &'b [u8],
    bounds: Bounds,
    of_strangers: bool,
}

impl<'b> Reading<'b> {
    /// For the thread that calls, until it is dropped.
    pub(crate) fn begin(bytes: &'b [u8], descriptors: Descriptors, bounds: Bounds) -> Self {
        let list = Arriving::begin(descriptors, Trust::SameProgram);
        list.set_paused(true);
        Self { list, rest: bytes, bounds, of_strangers: false }
    }

    /// Bounds what each value may cost by the length of the value.
    pub(crate) fn of_strangers(mut self) -> Self {
        self.of_strangers = true;
        self
    }

    /// The one value in these bytes.
    ///
    /// # Errors
    /// `Decode` when the bytes are not such a value, and when bytes are left over.
    #[inline]
    pub(crate) fn read<T: DeserializeOwned>(&mut self, mut bytes: &[u8]) -> Result<T> {
        let value = self.front(&mut bytes)?;
        if !bytes.is_empty() {
            let left = bytes.len();
            return Err(Error::new(ErrorKind::Decode, format!("{left} bytes are left over behind a value")));
        }
        Ok(value)
    }

    /// The next value that [`write_measured`](Writing::write_measured) wrote.
    ///
    /// # Errors
    /// As [`read`](Self::read). With an error or a panic, too, the value behind this one is the next.
    #[inline]
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        let split = self.rest.split_first_chunk::<LENGTH>();
        let split = split.and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let Some((bytes, rest)) = split else {
            self.rest = &[];
            return Err(Error::new(ErrorKind::Decode, "the bytes end before the value does"));
        };
        self.rest = rest; // before user code runs
        self.read(bytes)
    }

    /// The value at the front of these bytes.
    #[inline]
    fn front<T: DeserializeOwned>(&mut self, bytes: &mut &[u8]) -> Result<T> {
        let bounds = if self.of_strangers { self.bounds.of_one_of_many(bytes.len()) } else { self.bounds };
        self.list.set_paused(false);
        let value = form::read_front(bytes, bounds);
        self.list.set_paused(true);
        self.list.refused()?;
        value.map_err(|why| {
            let name = std::any::type_name::<T>();
            Error::new(
                ErrorKind::Decode,
                format!("the bytes are not a {name} (both sides must name the same type): {why}"),
            )
        })
    }
}

impl Packed {
    /// The same value once more, with copies of the descriptors.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor is left.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let borrowed = self.descriptors.borrowed();
        let copies: std::result::Result<Vec<_>, _> = borrowed.into_iter().map(duplicate).collect();
        let copies = copies.map_err(|errno| Error::os(errno, "a descriptor cannot be copied to be sent"))?;
        let descriptors = Descriptors::arrived(copies, self.descriptors.sorts()).unwrap_or_default(); // as many as there were
        Ok(Self { bytes: self.bytes.clone(), descriptors })
    }
}

/// A packed value inside another value: its descriptors travel among those of the other, each as what it is.
impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Sorts { memory, ends, all } = self.descriptors.sorts();
        let sort = |at: usize| match at {
            at if at < memory => Sort::Memory,
            at if at < memory + ends => Sort::End,
            _ => Sort::Handle,
        };
        let mut places = Vec::with_capacity(all);
        for (at, fd) in self.descriptors.borrowed().into_iter().enumerate() {
            places.push(put::<S::Error>(fd, sort(at))?);
        }
        (&self.bytes, memory, ends, places).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (bytes, memory, ends, places): (Vec<u8>, usize, usize, Vec<u32>) = Deserialize::deserialize(deserializer)?;
        let sorts = Sorts { memory, ends, all: places.len() };
        let mut list = Vec::with_capacity(places.len());
        for (at, place) in places.into_iter().enumerate() {
            let sort = match at {
                at if at < memory => Sort::Memory,
                at if at < memory.saturating_add(ends) => Sort::End,
                _ => Sort::Handle,
            };
            list.push(take::<D::Error>(place, sort)?);
        }
        let descriptors =
            Descriptors::arrived(list, sorts).ok_or_else(|| de::Error::custom("descriptors without a sort"))?;
        Ok(Self { bytes, descriptors })
    }
}
