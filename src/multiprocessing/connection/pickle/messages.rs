//! Pickles as messages: what CPython's `send` and `recv` are at the other side.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;

use super::{Value, decode, encode};
use crate::error::Result;
use crate::multiprocessing::connection::{Connection, Receiver, Sender};

macro_rules! sends_pickles {
    ($($Face:ident)*) => {$(
        impl $Face {
            /// Sends plain data as CPython's `recv()` reads it, in every version.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes); [`InvalidInput`](crate::ErrorKind::InvalidInput) as for [`encode`]. Nothing is
            /// sent then.
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::connection::{pickle::{Value, from_value}, pipe};
            ///
            /// let (near, far) = pipe()?;
            /// near.send_pickled(&Value::from(("spam", 42)))?;
            /// let (word, number): (String, i64) = from_value(far.recv_pickled()?)?;
            /// assert_eq!((word.as_str(), number), ("spam", 42));
            /// # Ok::<(), ossature::Error>(())
            /// ```
            #[doc(alias = "send")]
            pub fn send_pickled(&self, value: &Value) -> Result<()> {
                self.send_bytes(&encode(value)?)
            }

            /// The same within the deadline; as [`send_bytes_timeout`](Self::send_bytes_timeout).
            ///
            /// # Errors
            /// As for [`send_pickled`](Self::send_pickled).
            pub fn send_pickled_timeout(&self, value: &Value, timeout: impl Into<Deadline>) -> Result<$crate::multiprocessing::connection::Sent> {
                self.send_bytes_timeout(&encode(value)?, timeout)
            }
        }
    )*};
}

macro_rules! receives_pickles {
    ($($Face:ident)*) => {$(
        impl $Face {
            /// Waits for the next message, and reads the plain data in it that CPython's `send(obj)` wrote, in any version.
            ///
            /// For a [`Decoder`](super::Decoder) with other settings, give it the [bytes](Self::recv_bytes).
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes); [`Decode`](crate::ErrorKind::Decode) as for [`decode`]. The message is gone then,
            /// and the next one can be received.
            #[doc(alias = "recv")]
            pub fn recv_pickled(&self) -> Result<Value> {
                self.recv_pickled_timeout(Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// The same within the deadline; `None` when that is over.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled).
            pub fn recv_pickled_timeout(&self, timeout: impl Into<Deadline>) -> Result<Option<Value>> {
                self.recv_bytes_timeout(timeout)?.map(|message| decode(&message)).transpose()
            }

            /// [`recv_pickled`](Self::recv_pickled) for a message of at most so many bytes, whatever
            /// [`max_message`](Self::max_message) says.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled) and [`recv_bytes_max`](Self::recv_bytes_max).
            pub fn recv_pickled_max(&self, limit: usize) -> Result<Value> {
                self.recv_pickled_max_timeout(limit, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// The same within the deadline; `None` when that is over.
            ///
            /// # Errors
            /// As for [`recv_pickled_max`](Self::recv_pickled_max).
            pub fn recv_pickled_max_timeout(
                &self,
                limit: usize,
                timeout: impl Into<Deadline>,
            ) -> Result<Option<Value>> {
                self.recv_bytes_max_timeout(limit, timeout)?.map(|message| decode(&message)).transpose()
            }
        }
    )*};
}

sends_pickles! { Connection Sender }
receives_pickles! { Connection Receiver }
