//! Python's one-letter names of C types.

use std::ffi::{c_int, c_long, c_short};
use std::fmt;

use ossature_sys::shm::{Init, Plain};

use crate::error::{Error, ErrorKind, Result};

/// A C type, by the letter that Python's `array`, `Value` and `Array` use for it. Byte order and alignment are the
/// machine's.
///
/// In Rust the type of a value is known when the program is compiled, so a code does not choose it. The constructors
/// named `typed` only check that the code is that of the type. [`CodedValue`](super::CodedValue) chooses its type at
/// run time.
///
/// ```
/// use ossature::multiprocessing::sharedctypes::TypeCode;
///
/// let code = TypeCode::try_from('h')?;
/// assert_eq!((code, code.size(), code.code()), (TypeCode::Short, 2, 'h'));
/// assert!(code.is::<i16>() && !code.is::<u16>());
/// let error = TypeCode::try_from('x').unwrap_err();
/// assert_eq!(error.to_string(), "unknown type code 'x': use c, u, b, B, h, H, i, I, l, L, q, Q, f or d");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TypeCode {
    /// `c`: a byte of text, `u8`. Arrays of it have [`value`](super::Array::value) and [`raw`](super::Array::raw).
    #[doc(alias = "c_char")]
    Char,
    /// `u`: a wide character, `u32`. A `char` cannot live in shared memory, since not every number is one.
    #[doc(alias = "c_wchar")]
    WideChar,
    /// `b`: `i8`.
    #[doc(alias = "c_byte")]
    SignedChar,
    /// `B`: `u8`.
    #[doc(alias = "c_ubyte")]
    UnsignedChar,
    /// `h`: `i16`.
    #[doc(alias = "c_short")]
    Short,
    /// `H`: `u16`.
    #[doc(alias = "c_ushort")]
    UnsignedShort,
    /// `i`: `i32`.
    #[doc(alias = "c_int")]
    Int,
    /// `I`: `u32`.
    #[doc(alias = "c_uint")]
    UnsignedInt,
    /// `l`: `i64`, or `i32` on 32-bit machines.
    #[doc(alias = "c_long")]
    Long,
    /// `L`: `u64`, or `u32` on 32-bit machines.
    #[doc(alias = "c_ulong")]
    UnsignedLong,
    /// `q`: `i64`.
    #[doc(alias = "c_longlong")]
    LongLong,
    /// `Q`: `u64`.
    #[doc(alias = "c_ulonglong")]
    UnsignedLongLong,
    /// `f`: `f32`.
    #[doc(alias = "c_float")]
    Float,
    /// `d`: `f64`.
    #[doc(alias = "c_double")]
    Double,
}

/// The kind of a number, besides its size.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Signed,
    Unsigned,
    Float,
}

/// A number type that a [`TypeCode`] can name.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::sharedctypes::{Items, Number, TypeCode};
/// use ossature::multiprocessing::RawArray;
///
/// fn column<T: Number>(code: char, items: impl Items<T>) -> ossature::Result<RawArray<T>> {
///     assert_eq!(TypeCode::checked::<T>(code)?.size(), size_of::<T>());
///     RawArray::typed(code, items)
/// }
///
/// assert_eq!(column::<f64>('d', 3)?.to_vec(), [0.0; 3], "a length gives zeroes");
/// assert_eq!(column('i', &[4, 5])?.to_vec(), [4, 5]);
/// assert!(column('i', &[0.5_f64]).is_err(), "the code of another type");
/// # Ok::<(), ossature::Error>(())
/// ```
pub trait Number: Plain + Init<Self> {
    /// The kind of the number.
    #[doc(hidden)]
    const KIND: Kind;
}

macro_rules! numbers {
    ($($kind:ident: $($number:ident)+;)+) => {$($(
        impl Number for $number {
            const KIND: Kind = Kind::$kind;
        }
    )+)+};
}

numbers! {
    Signed: i8 i16 i32 i64 isize;
    Unsigned: u8 u16 u32 u64 usize;
    Float: f32 f64;
}

impl TypeCode {
    /// All fourteen codes.
    pub const ALL: [Self; 14] = [
        Self::Char,
        Self::WideChar,
        Self::SignedChar,
        Self::UnsignedChar,
        Self::Short,
        Self::UnsignedShort,
        Self::Int,
        Self::UnsignedInt,
        Self::Long,
        Self::UnsignedLong,
        Self::LongLong,
        Self::UnsignedLongLong,
        Self::Float,
        Self::Double,
    ];

    /// The letter, kind and size of the type.
    const fn meaning(self) -> (char, Kind, usize) {
        match self {
            Self::Char => ('c', Kind::Unsigned, 1),
            Self::WideChar => ('u', Kind::Unsigned, 4),
            Self::SignedChar => ('b', Kind::Signed, 1),
            Self::UnsignedChar => ('B', Kind::Unsigned, 1),
            Self::Short => ('h', Kind::Signed, size_of::<c_short>()),
            Self::UnsignedShort => ('H', Kind::Unsigned, size_of::<c_short>()),
            Self::Int => ('i', Kind::Signed, size_of::<c_int>()),
            Self::UnsignedInt => ('I', Kind::Unsigned, size_of::<c_int>()),
            Self::Long => ('l', Kind::Signed, size_of::<c_long>()),
            Self::UnsignedLong => ('L', Kind::Unsigned, size_of::<c_long>()),
            Self::LongLong => ('q', Kind::Signed, 8),
            Self::UnsignedLongLong => ('Q', Kind::Unsigned, 8),
            Self::Float => ('f', Kind::Float, 4),
            Self::Double => ('d', Kind::Float, 8),
        }
    }

    /// The letter.
    pub const fn code(self) -> char {
        self.meaning().0
    }

    /// The size of one value, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no collection")]
    pub const fn size(self) -> usize {
        self.meaning().2
    }

    /// Whether values of this code have type `T` on this machine.
    pub fn is<T: Number>(self) -> bool {
        let (_, kind, size) = self.meaning();
        kind == T::KIND && size == size_of::<T>()
    }

    /// Returns the type code for `code`, if its values have type `T` on this machine.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a letter that is none of the [fourteen](Self::ALL), or of
    /// another type.
    ///
    /// # Examples
    /// See the example of [`Number`].
    pub fn checked<T: Number>(code: char) -> Result<Self> {
        let found = Self::try_from(code)?;
        if found.is::<T>() {
            return Ok(found);
        }
        let (_, kind, size) = found.meaning();
        let letter = match kind {
            Kind::Signed => 'i',
            Kind::Unsigned => 'u',
            Kind::Float => 'f',
        };
        let (bits, asked) = (8 * size, std::any::type_name::<T>());
        let message = format!("type code '{code}' is {letter}{bits} here, not {asked}");
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

impl TryFrom<char> for TypeCode {
    type Error = Error;

    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for any other letter.
    fn try_from(code: char) -> Result<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code).ok_or_else(|| {
            let message = format!("unknown type code {code:?}: use c, u, b, B, h, H, i, I, l, L, q, Q, f or d");
            Error::new(ErrorKind::InvalidInput, message)
        })
    }
}

impl fmt::Display for TypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}

/// The content of a new array: a length, for zeroes, or the items themselves. Python's `size_or_initializer`.
///
/// # Examples
/// See the example of [`Number`].
pub trait Items<T> {
    /// The items.
    ///
    /// # Errors
    /// The length, when there is nothing but that.
    fn given(&self) -> std::result::Result<&[T], usize>;
}

impl<T> Items<T> for usize {
    fn given(&self) -> std::result::Result<&[T], usize> {
        Err(*self)
    }
}

impl<T, const N: usize> Items<T> for &[T; N] {
    fn given(&self) -> std::result::Result<&[T], usize> {
        Ok(*self)
    }
}

impl<T> Items<T> for &[T] {
    fn given(&self) -> std::result::Result<&[T], usize> {
        Ok(self)
    }
}

impl<T> Items<T> for Vec<T> {
    fn given(&self) -> std::result::Result<&[T], usize> {
        Ok(self)
    }
}
