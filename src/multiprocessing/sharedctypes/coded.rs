//! Values and arrays of a type that is known only at run time.

use std::any::Any;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Index, Number, RawArray, TypeCode};
use crate::error::{Error, ErrorKind, Result};

/// A number of any type that a [`TypeCode`] can name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// An integer.
    Int(i128),
    /// A floating-point number.
    Float(f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// A number that converts to a scalar, and back if it fits.
trait Convert: Number + Into<Scalar> {
    fn of(scalar: Scalar) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($number:ident)+) => {$(
        impl From<$number> for Scalar {
            fn from(value: $number) -> Self {
                Self::Int(value.into())
            }
        }

        impl Convert for $number {
            fn of(scalar: Scalar) -> Option<Self> {
                match scalar {
                    Scalar::Int(value) => value.try_into().ok(),
                    Scalar::Float(_) => None,
                }
            }
        }
    )+};
}

macro_rules! fractions {
    ($($number:ident)+) => {$(
        impl From<$number> for Scalar {
            fn from(value: $number) -> Self {
                Self::Float(value.into())
            }
        }

        impl Convert for $number {
            fn of(scalar: Scalar) -> Option<Self> {
                Some(match scalar {
                    Scalar::Int(value) => value as $number,
                    Scalar::Float(value) => value as $number,
                })
            }
        }
    )+};
}

whole_numbers!(u8 u16 u32 u64 i8 i16 i32 i64);
fractions!(f32 f64);

/// An array in shared memory without a lock, of a type that a code names at run time. It is for bindings, and for
/// layouts that are read from a file. If the type is known, use [`RawArray`].
///
/// Items are read and written as [`Scalar`]s. [`of`](Self::of) lends the whole array under its Rust type.
///
/// Differs from Python: a number that does not fit is an error, and not cut off.
///
/// ```
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::sharedctypes::{CodedArray, Scalar, TypeCode};
///
/// let code: char = "h".parse().unwrap(); // from a file, or another language
/// let samples = CodedArray::new(TypeCode::try_from(code)?, 4)?;
/// samples.set(-1, 300)?;
/// assert_eq!(samples.get(3)?, Scalar::Int(300));
/// assert_eq!(samples.set(0, 40_000).unwrap_err().kind(), ErrorKind::InvalidInput);
/// assert_eq!(samples.of::<i16>().unwrap().to_vec(), [0, 0, 0, 300]);
/// assert!(samples.of::<u16>().is_none());
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// ```
/// use ossature::multiprocessing::sharedctypes::{CodedArray, CodedValue, TypeCode};
///
/// let items = CodedArray::new(TypeCode::try_from('i')?, 3)?;
/// let same = items.try_clone()?; // another mapping of the same memory
/// same.set(-1, 7)?;
/// assert_eq!((items.len(), items.is_empty(), items.get(2)?), (3, false, 7.into()));
///
/// let value = CodedValue::new(TypeCode::try_from('d')?, 0.5)?;
/// value.try_clone()?.set(1.5)?;
/// assert_eq!(value.get(), 1.5.into());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct CodedArray {
    code: char,
    cells: Cells,
}

macro_rules! cells {
    ($($Name:ident $number:ident),+) => {
        #[derive(Debug, Serialize, Deserialize)]
        enum Cells {
            $($Name(RawArray<$number>),)+
        }

        impl Cells {
            fn new(code: TypeCode, len: usize) -> Result<Self> {
                $(if code.is::<$number>() {
                    return Ok(Self::$Name(RawArray::new(len)?));
                })+
                Err(Error::new(ErrorKind::Unsupported, format!("type code '{code}' has no Rust type on this machine")))
            }

            fn try_clone(&self) -> Result<Self> {
                Ok(match self {
                    $(Self::$Name(items) => Self::$Name(items.try_clone()?),)+
                })
            }

            fn len(&self) -> usize {
                match self {
                    $(Self::$Name(items) => items.len(),)+
                }
            }

            fn get(&self, index: impl Index) -> Result<Scalar> {
                Ok(match self {
                    $(Self::$Name(items) => items.get(index)?.into(),)+
                })
            }

            /// Replaces an item; false if the value does not fit.
            fn set(&self, index: impl Index, value: Scalar) -> Result<bool> {
                match self {
                    $(Self::$Name(items) => match $number::of(value) {
                        Some(value) => items.set(index, value).map(|()| true),
                        None => Ok(false),
                    },)+
                }
            }

            fn as_any(&self) -> &dyn Any {
                match self {
                    $(Self::$Name(items) => items,)+
                }
            }
        }
    };
}

cells!(I8 i8, U8 u8, I16 i16, U16 u16, I32 i32, U32 u32, I64 i64, U64 u64, F32 f32, F64 f64);

impl CodedArray {
    /// Makes an array of `len` zeroes.
    ///
    /// # Errors
    /// As [`RawArray::new`].
    pub fn new(code: TypeCode, len: usize) -> Result<Self> {
        Ok(Self { code: code.code(), cells: Cells::new(code, len)? })
    }

    /// The type code of the array.
    pub fn code(&self) -> char {
        self.code
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether the array is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one item.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) for an index out of range.
    pub fn get(&self, index: impl Index) -> Result<Scalar> {
        self.cells.get(index)
    }

    /// Replaces one item. An integer may become a float, rounded; a float does not become an integer.
    ///
    /// # Errors
    /// [`OutOfRange`](ErrorKind::OutOfRange) for an index out of range; [`InvalidInput`](ErrorKind::InvalidInput) when
    /// the value does not fit the type.
    pub fn set(&self, index: impl Index, value: impl Into<Scalar>) -> Result<()> {
        let value = value.into();
        if self.cells.set(index, value)? {
            return Ok(());
        }
        let message = format!("{value} does not fit type code '{}'; choose a wider type", self.code);
        Err(Error::new(ErrorKind::InvalidInput, message))
    }

    /// Returns the array with its Rust type; `None` if its items have another type.
    pub fn of<T: Number>(&self) -> Option<&RawArray<T>> {
        self.cells.as_any().downcast_ref()
    }

    /// Makes a second mapping of the same memory, for another owner.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the mapping.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { code: self.code, cells: self.cells.try_clone()? })
    }
}

/// A value in shared memory without a lock, of a type that a code names at run time: a [`CodedArray`] of one item.
///
/// ```
/// use ossature::multiprocessing::sharedctypes::{CodedValue, Scalar, TypeCode};
///
/// let count = CodedValue::new(TypeCode::try_from('d')?, 2)?; // RawValue('d', 2)
/// count.set(0.5)?;
/// assert_eq!((count.get(), count.code()), (Scalar::Float(0.5), 'd'));
/// assert!(CodedValue::new(TypeCode::try_from('B')?, -1).is_err());
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct CodedValue(CodedArray);

impl CodedValue {
    /// Makes a value in shared memory.
    ///
    /// # Errors
    /// As [`RawArray::new`]; [`InvalidInput`](ErrorKind::InvalidInput) when the value does not fit the type.
    pub fn new(code: TypeCode, value: impl Into<Scalar>) -> Result<Self> {
        let made = Self(CodedArray::new(code, 1)?);
        made.set(value)?;
        Ok(made)
    }

    /// The type code of the value.
    pub fn code(&self) -> char {
        self.0.code()
    }

    /// The value.
    pub fn get(&self) -> Scalar {
        // There is one item. An object that another process made without an item reads as 0.
        self.0.get(0).unwrap_or(Scalar::Int(0))
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the value does not fit the type.
    pub fn set(&self, value: impl Into<Scalar>) -> Result<()> {
        self.0.set(0, value)
    }

    /// Makes a second mapping of the same memory, for another owner.
    ///
    /// # Errors
    /// As [`CodedArray::try_clone`].
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}
