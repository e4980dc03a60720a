//! Integers too large for a machine word: Python's have no limit.

use std::fmt;

/// An integer outside the range of `i64`: its two's complement in as few bytes as possible, the least significant byte
/// first.
///
/// No arithmetic; `i128` and `u128` are made of it and it of them, and a big-number library takes [`as_le_bytes`](
/// Self::as_le_bytes).
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{BigInt, Value};
///
/// let Value::BigInt(big) = Value::from(u64::MAX) else { panic!("it does not fit i64") };
/// assert_eq!(u64::try_from(&big), Ok(u64::MAX));
/// assert_eq!(big.as_le_bytes(), [255, 255, 255, 255, 255, 255, 255, 255, 0]);
/// ```
///
/// A number that does not fit, and one below zero:
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{BigInt, DoesNotFit, Value};
///
/// let Value::BigInt(big) = Value::from(u128::MAX) else { panic!("it does not fit i64") };
/// let narrow: Result<u64, DoesNotFit> = u64::try_from(&big);
/// assert!(narrow.is_err() && !big.is_negative());
/// assert_eq!(u128::try_from(&big), Ok(u128::MAX));
/// # let _: &BigInt = &big;
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BigInt(Box<[u8]>);

impl BigInt {
    /// The bytes of the two's complement, the least significant first; the highest bit of the last byte is the sign.
    pub fn as_le_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the integer is negative.
    pub fn is_negative(&self) -> bool {
        self.0.last().is_some_and(|last| *last >= 0x80)
    }
}

/// Returns the integer with the two's complement `bytes`, the least significant first, of any length; no bytes mean
/// zero.
///
/// An integer that fits `i64` is never a `BigInt`, so that one number has one form.
pub(super) fn integer(bytes: &[u8]) -> Result<i64, BigInt> {
    let bytes = minimal(bytes);
    widen::<8>(bytes).map(i64::from_le_bytes).ok_or_else(|| BigInt(bytes.into()))
}

/// Returns `bytes` without the trailing bytes that only repeat the sign.
pub(super) fn minimal(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes {
        let negative = rest.last().is_some_and(|next| *next >= 0x80);
        let repeats = match last {
            0x00 => !negative,
            0xff => negative,
            _ => false,
        };
        if !repeats {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Extends `bytes` to `N` bytes by repeating the sign; `None` if `bytes` is longer.
fn widen<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let mut word = [if negative { 0xff } else { 0 }; N];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(word)
}

/// Parses decimal digits with an optional `-` before them.
///
/// No more than [`MAX_DIGITS`], because the work grows with their square.
pub(super) fn decimal(text: &[u8]) -> Option<Result<i64, BigInt>> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // No Python writes zeros before a number, or a sign before zero: it would take them for octal numbers and bools.
    if matches!((negative, digits), (_, [b'0', _, ..]) | (true, [b'0'])) {
        return None;
    }
    // 32-bit limbs, the least first; nine digits at a time.
    let mut limbs: Vec<u32> = Vec::new();
    for chunk in digits.chunks(9) {
        let scale = 10_u64.pow(chunk.len() as u32); // at most 10^9
        let mut carry = chunk.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        for limb in &mut limbs {
            let sum = u64::from(*limb) * scale + carry;
            *limb = sum as u32; // the low half; the high half is carried
            carry = sum >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32); // below 10^9, as every carry is
        }
    }
    let mut bytes: Vec<u8> = limbs.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.push(0); // room for the sign
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            (*byte, carry) = (!*byte).overflowing_add(carry.into());
        }
    }
    Some(integer(&bytes))
}

/// The maximum number of decimal digits that is parsed: CPython's default (`sys.int_info.default_max_str_digits`).
pub(super) const MAX_DIGITS: usize = 4300;

/// Shows the bytes, the most significant first: the sign and the digits of the magnitude would need arithmetic.
impl fmt::Debug for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BigInt(0x")?;
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

/// The error of a conversion to a type that cannot hold the integer.
///
/// # Examples
/// See the example of [`BigInt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit(());

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the integer does not fit the type")
    }
}

impl std::error::Error for DoesNotFit {}

impl TryFrom<&BigInt> for i128 {
    type Error = DoesNotFit;

    fn try_from(big: &BigInt) -> Result<Self, DoesNotFit> {
        widen(&big.0).map(Self::from_le_bytes).ok_or(DoesNotFit(()))
    }
}

impl TryFrom<&BigInt> for u128 {
    type Error = DoesNotFit;

    fn try_from(big: &BigInt) -> Result<Self, DoesNotFit> {
        let [low @ .., 0] = widen::<17>(&big.0).ok_or(DoesNotFit(()))? else { return Err(DoesNotFit(())) };
        Ok(Self::from_le_bytes(low))
    }
}

impl TryFrom<&BigInt> for u64 {
    type Error = DoesNotFit;

    fn try_from(big: &BigInt) -> Result<Self, DoesNotFit> {
        u128::try_from(big)?.try_into().map_err(|_| DoesNotFit(()))
    }
}
