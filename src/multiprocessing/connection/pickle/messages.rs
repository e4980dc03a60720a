//! Pickles as messages, compatible with CPython's `send` and `recv` at the other side.

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::eventfd::Until;

use super::{Decoder, Encoder, Value};
use crate::error::Result;
use crate::multiprocessing::connection::receive::Receiving;
use crate::multiprocessing::connection::{Connection, Receiver, Sender};

/// The methods of the types that send pickles. This is a macro for the same reason as `sends!`: two public types have
/// these methods.
macro_rules! sends_pickles {
    ($($Face:ident)*) => {$(
        impl $Face {
            /// Sends plain data for CPython's `recv()`, in every version.
            ///
            /// # Errors
            /// As for [`send_bytes`](Self::send_bytes); [`InvalidInput`](crate::ErrorKind::InvalidInput) as for
            /// [`encode`](super::encode). Nothing is sent then.
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
                self.send_bytes(&self.sending.encoder().encode(value)?)
            }

            /// Does what [`send_pickled`](Self::send_pickled) does within the deadline, with the result of
            /// [`send_bytes_timeout`](Self::send_bytes_timeout).
            ///
            /// # Errors
            /// As for [`send_pickled`](Self::send_pickled).
            ///
            /// # Examples
            /// ```
            /// use std::time::Duration;
            /// use ossature::multiprocessing::connection::{pickle::{Decoder, Value}, pipe};
            ///
            /// let (near, far) = pipe()?;
            /// let (point, minute) = (Value::from((3, 4)), Duration::from_secs(60));
            /// assert!(near.send_pickled_timeout(&point, minute)?.is_complete());
            /// assert_eq!(far.recv_pickled_timeout(minute)?.as_ref(), Some(&point));
            /// near.send_pickled(&point)?;
            /// assert_eq!(far.recv_pickled_max(1000)?, point);
            /// near.send_pickled(&point)?;
            /// assert_eq!(far.recv_pickled_max_timeout(1000, minute)?.as_ref(), Some(&point));
            /// near.send_pickled(&point)?;
            /// assert_eq!(far.recv_pickled_with_timeout(&Decoder::new(), minute)?.as_ref(), Some(&point));
            /// assert!(far.recv_pickled_timeout(Duration::ZERO)?.is_none(), "nothing else was sent");
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn send_pickled_timeout<'c>(&self, value: &Value, timeout: impl Into<Until<'c>>) -> Result<$crate::multiprocessing::connection::Sent> {
                self.send_bytes_timeout(&self.sending.encoder().encode(value)?, timeout)
            }

            /// Sets the protocol of the pickles that this end sends: 2, 3, 4 or 5. The default is 2, which every Python
            /// reads. From 3 on bytes are sent as they are, which is faster, and only Python 3 reads them.
            ///
            /// # Errors
            /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for any other protocol.
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::connection::{pickle::Value, pipe};
            ///
            /// let (near, far) = pipe()?;
            /// near.set_pickle_protocol(3)?;
            /// near.send_pickled(&Value::Bytes(vec![255]))?;
            /// assert_eq!(far.recv_bytes()?, b"\x80\x03C\x01\xff.");
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn set_pickle_protocol(&self, protocol: u8) -> Result<()> {
                self.sending.set_encoder(Encoder::new().protocol(protocol).checked()?);
                Ok(())
            }
        }
    )*};
}

impl Receiving {
    /// Makes a decoder with the limits of the connection.
    fn decoder(&self) -> Decoder {
        let decoder = Decoder::new().of_connection().max_depth(self.depth());
        match self.decoded() {
            Some(bytes) => decoder.max_memory(bytes),
            None => decoder,
        }
    }
}

/// The methods of the types that receive pickles. This is a macro for the same reason as `receives!`: two public types
/// have these methods.
macro_rules! receives_pickles {
    ($($Face:ident)*) => {$(
        impl $Face {
            /// Waits for the next message, and decodes the plain data that CPython's `send(obj)` wrote, in any version.
            ///
            /// The connection's [`max_depth`](Self::max_depth) limits the value, and so does its
            /// [`max_decoded`](Self::max_decoded) if that was set. For other settings use
            /// [`recv_pickled_with`](Self::recv_pickled_with).
            ///
            /// # Errors
            /// As for [`recv_bytes`](Self::recv_bytes); [`Decode`](crate::ErrorKind::Decode) as for
            /// [`decode`](super::decode). The message is dropped then, and the next message can be received.
            #[doc(alias = "recv")]
            pub fn recv_pickled(&self) -> Result<Value> {
                self.recv_pickled_timeout(Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_pickled`](Self::recv_pickled) does within the deadline; `None` when the deadline has
            /// passed.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled).
            pub fn recv_pickled_timeout<'c>(&self, timeout: impl Into<Until<'c>>) -> Result<Option<Value>> {
                self.recv_pickled_with_timeout(&self.receiving.decoder(), timeout)
            }

            /// Does what [`recv_pickled`](Self::recv_pickled) does with the caller's decoder: for other limits on
            /// memory and depth, or for the `str` of Python 2. The decoder's limits replace those of the connection.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled).
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::connection::{pickle::{Decoder, OldStr, Value}, pipe};
            ///
            /// let (near, far) = pipe()?;
            /// near.send_bytes(b"\x80\x02U\x01\xff.")?; // what Python 2.7 sends for '\xff'
            /// let decoder = Decoder::new().old_str(OldStr::Bytes).max_memory(1 << 20);
            /// assert_eq!(far.recv_pickled_with(&decoder)?, Value::Bytes(vec![255]));
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn recv_pickled_with(&self, decoder: &Decoder) -> Result<Value> {
                self.recv_pickled_with_timeout(decoder, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_pickled_with`](Self::recv_pickled_with) does within the deadline; `None` when the
            /// deadline has passed.
            ///
            /// The deadline bounds the arrival of the whole message. A message that has arrived is decoded to its end.
            /// Decoding takes time in proportion to the message's length.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled).
            pub fn recv_pickled_with_timeout<'c>(
                &self,
                decoder: &Decoder,
                timeout: impl Into<Until<'c>>,
            ) -> Result<Option<Value>> {
                self.recv_bytes_timeout(timeout)?.map(|message| decoder.decode(&message)).transpose()
            }

            /// Does what [`recv_pickled`](Self::recv_pickled) does for a message of at most `limit` bytes, whatever
            /// [`max_message`](Self::max_message) says.
            ///
            /// # Errors
            /// As for [`recv_pickled`](Self::recv_pickled) and [`recv_bytes_max`](Self::recv_bytes_max).
            pub fn recv_pickled_max(&self, limit: usize) -> Result<Value> {
                self.recv_pickled_max_timeout(limit, Deadline::NEVER)?.ok_or_else(|| Errno::TIMEDOUT.into())
            }

            /// Does what [`recv_pickled_max`](Self::recv_pickled_max) does within the deadline; `None` when the
            /// deadline has passed.
            ///
            /// # Errors
            /// As for [`recv_pickled_max`](Self::recv_pickled_max).
            pub fn recv_pickled_max_timeout<'c>(
                &self,
                limit: usize,
                timeout: impl Into<Until<'c>>,
            ) -> Result<Option<Value>> {
                let message = self.recv_bytes_max_timeout(limit, timeout)?;
                message.map(|message| self.receiving.decoder().decode(&message)).transpose()
            }
        }
    )*};
}

sends_pickles! { Connection Sender }
receives_pickles! { Connection Receiver }
