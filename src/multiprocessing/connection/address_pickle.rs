//! Addresses in pickles, as CPython writes them: `('127.0.0.1', 80)`, `'/run/echo'`, `'\0echo'`.

use super::Address;
use super::pickle::Value;
use crate::error::{Error, ErrorKind, Result};

impl TryFrom<&Address> for Value {
    type Error = Error;

    /// A pair, or a text; bytes for an abstract name that is not a text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what Python's `multiprocessing` has no form for: IPv6, and a path that is not a
    /// text.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::{Address, pickle::Value};
    ///
    /// let address = Address::from(("127.0.0.1", 80));
    /// let value = Value::try_from(&address)?;
    /// assert_eq!(value, Value::from(("127.0.0.1", 80)));
    /// assert_eq!(Address::try_from(&value)?, address);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    fn try_from(address: &Address) -> Result<Self> {
        let with_zero = |name: &[u8]| [b"\0", name].concat();
        match address {
            Address::Inet(host, port) => Ok(Self::from((host.as_str(), *port))),
            Address::Unix(path) => path.to_str().map(Self::from).ok_or_else(|| no_form(address)),
            Address::Abstract(name) => Ok(match String::from_utf8(with_zero(name)) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::Bytes(error.into_bytes()),
            }),
            Address::Inet6(..) => Err(no_form(address)),
        }
    }
}

fn no_form(address: &Address) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{address}: Python's multiprocessing does not support this address"))
}

impl TryFrom<&Value> for Address {
    type Error = Error;

    /// Accepts what Python accepts as an address: a pair of text and port, a text, or bytes that begin with a zero.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything else.
    fn try_from(value: &Value) -> Result<Self> {
        let invalid = || Error::new(ErrorKind::InvalidInput, "not an address: expected (host, port) or a string");
        match value {
            Value::Text(text) => text.as_str().try_into(),
            Value::Bytes(bytes) => bytes.as_slice().try_into(),
            Value::Tuple(items) => match items.as_slice() {
                [Value::Text(host), Value::Int(port)] => {
                    let port = u16::try_from(*port).map_err(|_| invalid())?;
                    Ok(Self::Inet(host.clone(), port))
                }
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        }
    }
}
