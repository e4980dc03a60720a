//! The items that a list can have.

use std::fmt;

/// An item of a [`ShareableList`](super::ShareableList): one of the Python values that such a list supports.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::shared_memory::Item;
///
/// let items: [Item; 5] = [1.into(), 2.5.into(), "three".into(), vec![4_u8].into(), None::<bool>.into()];
/// assert_eq!(items[0].as_int(), Some(1));
/// assert_eq!((items[1].as_float(), items[2].as_str()), (Some(2.5), Some("three")));
/// assert_eq!((items[3].as_bytes(), items[4].is_none()), (Some(&[4][..]), true));
/// assert_eq!(Item::from(true).as_bool(), Some(true));
/// assert!(Item::from(1).equals(&Item::from(1.0)), "as in Python");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub enum Item {
    /// Python's `None`.
    None,
    /// A number of 64 bits; Python's `int` may be longer, but not in a list.
    Int(i64),
    /// Python's `float`.
    Float(f64),
    /// Python's `bool`.
    Bool(bool),
    /// Python's `str`.
    Str(String),
    /// Python's `bytes`.
    Bytes(Vec<u8>),
}

impl Item {
    /// The number, if the item is an integer.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The number, if the item is a float.
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(number) = self { Some(*number) } else { None }
    }

    /// The truth value, if the item is a bool.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The text, if the item is a text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The bytes, if the item is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Whether the item is Python's `None`.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Compares like Python's `==`: numbers and truth values of different types are compared by their value. Rust's
    /// `==` compares types too.
    pub fn equals(&self, other: &Self) -> bool {
        match (self.worth(), other.worth()) {
            (Some(Worth::Int(one)), Some(Worth::Int(two))) => one == two,
            (Some(Worth::Float(one)), Some(Worth::Float(two))) => one == two,
            (Some(Worth::Int(int)), Some(Worth::Float(float))) | (Some(Worth::Float(float)), Some(Worth::Int(int))) => {
                is_exactly(int, float)
            }
            (None, None) => self == other,
            _ => false,
        }
    }

    fn worth(&self) -> Option<Worth> {
        match *self {
            Self::Int(number) => Some(Worth::Int(number)),
            Self::Bool(truth) => Some(Worth::Int(i64::from(truth))),
            Self::Float(number) => Some(Worth::Float(number)),
            _ => None,
        }
    }
}

/// The numeric value of an item, for comparisons.
enum Worth {
    Int(i64),
    Float(f64),
}

/// Whether both are the same number, without rounding the integer.
fn is_exactly(int: i64, float: f64) -> bool {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63, beyond which a conversion would be cut
    (-LIMIT..LIMIT).contains(&float) && float.fract() == 0.0 && float as i64 == int
}

/// Formats the item as Python prints it, but with the quotes of Rust.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => fmt::Debug::fmt(number, f),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Str(text) => fmt::Debug::fmt(text, f),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        }
    }
}

macro_rules! from {
    ($($type:ty: $value:ident => $item:expr;)+) => {$(
        impl From<$type> for Item {
            fn from($value: $type) -> Self {
                $item
            }
        }
    )+};
}

from! {
    i8: number => Self::Int(number.into());
    i16: number => Self::Int(number.into());
    i32: number => Self::Int(number.into());
    i64: number => Self::Int(number);
    u8: number => Self::Int(number.into());
    u16: number => Self::Int(number.into());
    u32: number => Self::Int(number.into());
    f32: number => Self::Float(number.into());
    f64: number => Self::Float(number);
    bool: truth => Self::Bool(truth);
    &str: text => Self::Str(text.to_owned());
    String: text => Self::Str(text);
    &[u8]: bytes => Self::Bytes(bytes.to_vec());
    Vec<u8>: bytes => Self::Bytes(bytes);
}

impl<const N: usize> From<&[u8; N]> for Item {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Item {
    fn from(item: Option<T>) -> Self {
        item.map_or(Self::None, Into::into)
    }
}
