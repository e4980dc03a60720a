//! Arrays of bytes as text that ends at a NUL: the extra attributes of Python's arrays of code `c`.

use super::{Array, RawArray};
use crate::error::{Error, ErrorKind, Result};

/// Cuts the bytes at the first NUL.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

fn fits(bytes: &[u8], len: usize) -> Result<()> {
    if bytes.len() <= len {
        return Ok(());
    }
    let message = format!("{} bytes do not fit into an array of {len}", bytes.len());
    Err(Error::new(ErrorKind::InvalidInput, message))
}

impl Array<u8> {
    /// The bytes up to the first NUL, or all: `value` of Python's character arrays.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::Array;
    ///
    /// let text = Array::<u8>::from_slice(b"hello world")?;
    /// text.set_value(b"bye")?;
    /// assert_eq!(text.value()?, b"bye");
    /// assert_eq!(text.raw()?, b"bye\0o world", "behind the text is what was there");
    /// text.set_raw(b"HI")?;
    /// assert_eq!(text.value()?, b"HIe");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn value(&self) -> Result<Vec<u8>> {
        self.to_vec().map(text)
    }

    /// Replaces the first bytes, with a NUL after them if there is room.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`InvalidInput`](crate::ErrorKind::InvalidInput) when they do not fit.
    pub fn set_value(&self, bytes: &[u8]) -> Result<()> {
        fits(bytes, self.len())?;
        self.with(|all| {
            let (begin, rest) = all.split_at_mut(bytes.len());
            begin.copy_from_slice(bytes);
            if let Some(end) = rest.first_mut() {
                *end = 0;
            }
        })
    }

    /// All bytes: `raw` of Python's character arrays.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn raw(&self) -> Result<Vec<u8>> {
        self.to_vec()
    }

    /// Replaces the first bytes, and leaves the bytes after them unchanged.
    ///
    /// # Errors
    /// As [`set_value`](Self::set_value).
    pub fn set_raw(&self, bytes: &[u8]) -> Result<()> {
        fits(bytes, self.len())?;
        self.set_slice(..bytes.len(), bytes)
    }
}

impl RawArray<u8> {
    /// The bytes up to the first NUL, or all: `value` of Python's character arrays.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::RawArray;
    ///
    /// let text = RawArray::<u8>::new(6)?;
    /// text.set_value(b"bye")?;
    /// text.set_raw(b"B")?;
    /// assert_eq!((text.value(), text.raw()), (b"Bye".to_vec(), b"Bye\0\0\0".to_vec()));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn value(&self) -> Vec<u8> {
        text(self.to_vec())
    }

    /// Replaces the first bytes, with a NUL after them if there is room.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when they do not fit.
    pub fn set_value(&self, bytes: &[u8]) -> Result<()> {
        self.set_raw(bytes)?;
        if let Some(end) = <[_]>::get(self, bytes.len()) {
            end.set(0);
        }
        Ok(())
    }

    /// All bytes: `raw` of Python's character arrays.
    pub fn raw(&self) -> Vec<u8> {
        self.to_vec()
    }

    /// Replaces the first bytes, and leaves the bytes after them unchanged.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when they do not fit.
    pub fn set_raw(&self, bytes: &[u8]) -> Result<()> {
        fits(bytes, self.len())?;
        self.set_slice(..bytes.len(), bytes)
    }
}
