//! The fields of a shared struct, which [`shareable!`](crate::shareable) describes and checks.

use core::marker::PhantomData;

use super::fingerprint::{Description, Fingerprint};
use super::shareable::{Plain, Shareable};

/// The description and the checks of a struct by [`shareable!`](crate::shareable), field by field.
///
/// The macro never names the type of a field. The compiler infers the type from a reference to the field. So an
/// attribute or a macro in the place of a type cannot give this description one type and the struct another.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Fields<S> {
    description: Description,
    count: u64,
    /// The lowest offset at which C can put the next field.
    end: usize,
    align: usize,
    locks: bool,
    of: PhantomData<fn(&S)>,
}

impl<S> Fields<S> {
    /// Begins the description of the struct of this name, without fields.
    pub const fn of(name: &str) -> Self {
        let description = Description::of("struct").text(name);
        Self { description, count: 0, end: 0, align: 1, locks: false, of: PhantomData }
    }

    /// Adds the next field: its name, its offset, and a function from the struct to the field.
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

    /// Whether any field contains a lock.
    pub const fn locks(&self) -> bool {
        self.locks
    }
}

/// Adds up the sizes of a plain struct's fields, whose types the compiler infers as for [`Fields`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct PlainFields<S> {
    sum: usize,
    /// The last field and where the field ends.
    last: (&'static str, usize),
    /// The first field with padding after it, and the number of bytes of that padding.
    padded: Option<(&'static str, usize)>,
    of: PhantomData<fn(&S)>,
}

impl<S> PlainFields<S> {
    /// The sum without any field yet.
    pub const NONE: Self = Self { sum: 0, last: ("", 0), padded: None, of: PhantomData };

    /// Adds the next field: its name, its offset, and a function from the struct to the field.
    #[must_use]
    pub const fn with<F: Plain>(self, name: &'static str, offset: usize, _field: fn(&S) -> &F) -> Self {
        let (sum, last) = (self.sum + size_of::<F>(), (name, offset + size_of::<F>()));
        Self { sum, last, padded: self.padded_before(offset), of: PhantomData }
    }

    const fn padded_before(&self, offset: usize) -> Option<(&'static str, usize)> {
        let (name, end) = self.last;
        if self.padded.is_none() && offset > end { Some((name, offset - end)) } else { self.padded }
    }

    /// Fails to compile if the struct is larger than its fields. The error names a field that has padding after it.
    #[allow(clippy::panic, reason = "only the compiler runs this, and a panic is its error")]
    pub const fn check(self) {
        if self.sum == size_of::<S>() {
            return;
        }
        match self.padded_before(size_of::<S>()) {
            Some((field, len)) => Text::new()
                .text("a plain struct has no padding: behind the field `")
                .text(field)
                .text("` add a field `_pad: [u8; ")
                .number(len)
                .text("]` (or put the largest fields first, or leave out the word `plain`)")
                .panic(),
            None => panic!("a plain struct has no padding: its fields must fill it"),
        }
    }
}

/// The text of a compile error, composed by the compiler.
struct Text {
    bytes: [u8; 256],
    len: usize,
}

#[allow(clippy::panic, clippy::indexing_slicing, reason = "only the compiler runs this, and a panic is its error")]
impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    /// Adds a text, up to the room that is left.
    const fn text(mut self, text: &str) -> Self {
        let mut rest = text.as_bytes();
        while let [byte, left @ ..] = rest {
            if self.len < self.bytes.len() {
                self.bytes[self.len] = *byte;
                self.len += 1;
            }
            rest = left;
        }
        self
    }

    const fn number(self, number: usize) -> Self {
        let shorter = if number < 10 { self } else { self.number(number / 10) };
        let digit = [b'0' + (number % 10) as u8];
        match core::str::from_utf8(&digit) {
            Ok(digit) => shorter.text(digit),
            Err(_) => shorter,
        }
    }

    const fn panic(&self) -> ! {
        match core::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("a plain struct has no padding"),
        }
    }
}
