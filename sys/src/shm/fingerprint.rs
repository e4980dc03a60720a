//! A digest of a type in shared memory. No other type can have the same digest.

use core::fmt;

use sha2_const_stable::Sha256;

/// A digest of a type in shared memory, with which two processes check that they use the same layout.
///
/// The digest is SHA-256 over a [`Description`], so two different types with the same fingerprint cannot be made.
///
/// # Examples
/// ```
/// use ossature_sys::shm::{Fingerprint, Racy, Shareable};
///
/// let cell: Fingerprint = Racy::<u32>::FINGERPRINT;
/// assert_ne!(cell, u32::FINGERPRINT);
/// assert_ne!(cell, Racy::<i32>::FINGERPRINT);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a primitive of this crate without a protected value.
    pub(crate) const fn primitive(name: &str) -> Self {
        Description::of("primitive").text(name).fingerprint()
    }

    /// The fingerprint of a primitive of this crate with room for this number of participants.
    pub(crate) const fn primitive_for(name: &str, participants: usize) -> Self {
        Description::of("primitive").text(name).number(participants as u64).fingerprint()
    }

    /// The fingerprint of a primitive of this crate that protects a value and has room for this number of participants.
    pub(crate) const fn primitive_around_for(name: &str, value: Self, participants: usize) -> Self {
        Description::of("primitive").text(name).part(value).number(participants as u64).fingerprint()
    }

    /// The fingerprint of a primitive of this crate that protects a value.
    pub(crate) const fn primitive_around(name: &str, value: Self) -> Self {
        Description::of("primitive").text(name).part(value).fingerprint()
    }

    /// The first eight bytes, as a number.
    pub(super) const fn first_word(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// The fingerprint of a number or its atomic.
    pub(super) const fn number(name: &str, size: usize) -> Self {
        Description::of("number").text(name).number(size as u64).fingerprint()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A description of a type. Each item has a tag and a length before its bytes, so no item can be mistaken for another.
///
/// An implementation of [`Shareable`](super::Shareable) describes its type with this. The kind is a word that no other
/// implementation uses for a type of another form. Names, numbers and the fingerprints of parts follow, in an order
/// that the kind determines.
///
/// ```
/// use ossature_sys::shm::{Description, Shareable};
///
/// let pair = |count| Description::of("pair").number(count).part(u32::FINGERPRINT).fingerprint();
/// assert_eq!(pair(2), pair(2));
/// assert_ne!(pair(2), pair(3));
/// ```
///
/// # Examples
/// The description of a type with a parameter and a version:
/// ```
/// use ossature_sys::shm::{Description, Fingerprint, Shareable};
///
/// const fn table<T: Shareable>(version: u64) -> Fingerprint {
///     Description::of("table").text("sorted").number(version).part(T::FINGERPRINT).fingerprint()
/// }
/// assert_ne!(table::<u32>(1), table::<u64>(1));
/// ```
#[derive(Clone)]
pub struct Description(Sha256);

impl Description {
    /// Begins the description of a type of this kind.
    pub const fn of(kind: &str) -> Self {
        Self(Sha256::new()).item(b'k', kind.as_bytes())
    }

    /// Adds a name.
    #[must_use]
    pub const fn text(self, text: &str) -> Self {
        self.item(b't', text.as_bytes())
    }

    /// Adds a count, an offset or a size.
    #[must_use]
    pub const fn number(self, number: u64) -> Self {
        self.item(b'n', &number.to_le_bytes())
    }

    /// Adds the type of a part.
    #[must_use]
    pub const fn part(self, part: Fingerprint) -> Self {
        self.item(b'p', &part.0)
    }

    /// The digest of the description.
    pub const fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0.finalize())
    }

    const fn item(self, tag: u8, bytes: &[u8]) -> Self {
        Self(self.0.update(&[tag]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes))
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description").finish_non_exhaustive()
    }
}
