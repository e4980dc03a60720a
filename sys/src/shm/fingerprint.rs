//! What a type in shared memory is, digested: a type that is not another's cannot be given the other's number.

use core::fmt;
use core::marker::PhantomData;

use sha2_const_stable::Sha256;

use super::shareable::{Plain, Shareable};

/// A digest of a type in shared memory, by which two processes know that they mean the same layout.
///
/// It is SHA-256 over a [`Description`], so nobody can make a type that has the fingerprint of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a primitive of this crate that guards nothing.
    pub(crate) const fn primitive(name: &str) -> Self {
        Description::of("primitive").text(name).fingerprint()
    }

    /// That of a primitive of this crate around a value.
    pub(crate) const fn primitive_around(name: &str, value: Self) -> Self {
        Description::of("primitive").text(name).part(value).fingerprint()
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

/// What a type is, in items that cannot be taken for one another: each has a tag and a length before its bytes.
///
/// Whoever implements [`Shareable`] describes the type with it. The kind is a word that no other implementation uses for
/// a type of another form; then come names, numbers and the fingerprints of parts, in an order that the kind decides.
///
/// ```
/// use ossature_sys::shm::{Description, Shareable};
///
/// let pair = |count| Description::of("pair").number(count).part(u32::FINGERPRINT).fingerprint();
/// assert_eq!(pair(2), pair(2));
/// assert_ne!(pair(2), pair(3));
/// ```
#[derive(Clone)]
pub struct Description(Sha256);

impl Description {
    /// Begins the description of a type of this kind.
    pub const fn of(kind: &str) -> Self {
        Self(Sha256::new()).item(b'k', kind.as_bytes())
    }

    /// A name.
    #[must_use]
    pub const fn text(self, text: &str) -> Self {
        self.item(b't', text.as_bytes())
    }

    /// A count, an offset or a size.
    #[must_use]
    pub const fn number(self, number: u64) -> Self {
        self.item(b'n', &number.to_le_bytes())
    }

    /// The type of a part.
    #[must_use]
    pub const fn part(self, part: Fingerprint) -> Self {
        self.item(b'p', &part.0)
    }

    /// The digest of all that was said.
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

/// What [`shareable!`](crate::shareable) says of a struct, field by field, and checks of it.
///
/// The type of a field is never named: it is that of the reference to the field, which the compiler tells. So an attribute
/// or a macro in the place of a type cannot show this one type and the struct another.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Fields<S> {
    description: Description,
    count: u64,
    /// Where C puts the next field at the earliest.
    end: usize,
    align: usize,
    locks: bool,
    of: PhantomData<fn(&S)>,
}

impl<S> Fields<S> {
    /// No field yet of the struct of this name.
    pub const fn of(name: &str) -> Self {
        let description = Description::of("struct").text(name);
        Self { description, count: 0, end: 0, align: 1, locks: false, of: PhantomData }
    }

    /// The next field: its name, its offset, and the way to it.
    #[must_use]
    pub const fn with<F: Shareable>(self, name: &str, offset: usize, _field: fn(&S) -> &F) -> Self {
        assert!(
            offset == self.end.next_multiple_of(align_of::<F>()),
            "a shared struct has the layout of C and the fields that `shareable!` was shown: no attribute may change that"
        );
        Self {
            description: self.description.text(name).part(F::FINGERPRINT).number(offset as u64),
            count: self.count + 1,
            end: offset + size_of::<F>(),
            align: if self.align > align_of::<F>() { self.align } else { align_of::<F>() },
            locks: self.locks || F::LOCKS,
            of: PhantomData,
        }
    }

    /// The fingerprint of the struct with these fields and no others.
    pub const fn fingerprint(self) -> Fingerprint {
        assert!(
            align_of::<S>() >= self.align && size_of::<S>() == self.end.next_multiple_of(align_of::<S>()),
            "a shared struct has the layout of C and the fields that `shareable!` was shown: no attribute may change that"
        );
        let sizes = self.description.number(size_of::<S>() as u64).number(align_of::<S>() as u64);
        sizes.number(self.count).fingerprint()
    }

    /// Whether one of them has a lock in it.
    pub const fn locks(&self) -> bool {
        self.locks
    }
}

/// Adds up the sizes of a plain struct's fields, whose types the compiler tells as it does for [`Fields`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct PlainFields<S> {
    sum: usize,
    of: PhantomData<fn(&S)>,
}

impl<S> PlainFields<S> {
    /// No field yet.
    pub const NONE: Self = Self { sum: 0, of: PhantomData };

    /// The next field.
    #[must_use]
    pub const fn with<F: Plain>(self, _field: fn(&S) -> &F) -> Self {
        Self { sum: self.sum + size_of::<F>(), of: PhantomData }
    }

    /// Fails to compile when there is more in the struct than its fields.
    pub const fn check(self) {
        assert!(self.sum == size_of::<S>(), "a plain struct has no padding");
    }
}
