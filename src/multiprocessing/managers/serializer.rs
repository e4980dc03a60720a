//! The formats of messages.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::multiprocessing::connection::pickle::{self, Value};
use crate::multiprocessing::connection::xmlrpc;

/// The format in which a client and a server write their messages: the `serializer` of Python's managers.
///
/// A server here needs no setting: it reads both, and answers in the form of the request. A server of CPython has one,
/// and its clients have to choose the same: [`Manager::connect_with`](super::Manager::connect_with).
///
/// # Examples
/// ```
/// use ossature::ErrorKind;
/// use ossature::multiprocessing::connection::AuthKey;
/// use ossature::multiprocessing::managers::{Manager, Serializer};
///
/// let key = AuthKey::from("abracadabra");
/// let server = Manager::builder().authkey(&key).bind()?;
/// let (address, stop) = (server.address().clone(), server.stopper());
/// let serving = std::thread::spawn(move || server.serve_forever());
///
/// let manager = Manager::connect_with(address, &key, Serializer::XmlRpc)?;
/// let list = manager.create("list", ([1, 2],))?;
/// list.call::<()>("append", ("three",))?;
/// assert_eq!(list.display()?, "[1, 2, 'three']");
/// let error = list.call::<()>("append", (1_u64 << 40,)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput, "no int of more than 32 bits");
/// # drop((list, manager));
/// # stop.stop();
/// # serving.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Serializer {
    /// Pickles of plain data, exceptions and proxies: Python's `'pickle'`.
    #[default]
    Pickle,
    /// Documents of [XML-RPC](xmlrpc): Python's `'xmlrpclib'`.
    ///
    /// Tuples arrive as lists. Large ints, sets, keys that are not texts, and proxies are errors at the sender. A
    /// method that hands out an object cannot be called. An exception of a method arrives as the text of a traceback,
    /// without its class.
    #[doc(alias = "xmlrpclib")]
    XmlRpc,
}

impl Serializer {
    /// Returns the format of a message. No pickle begins with a `<`.
    pub(super) fn of(message: &[u8]) -> Self {
        if message.first() == Some(&b'<') { Self::XmlRpc } else { Self::Pickle }
    }

    pub(super) fn encode(self, value: &Value) -> Result<Vec<u8>> {
        match self {
            Self::Pickle => pickle::encode(value),
            Self::XmlRpc => xmlrpc::encode(value),
        }
    }

    /// Decodes a message whose containers are nested at most `depth` deep. XML-RPC has one limit for all messages,
    /// which the sender respects too.
    pub(super) fn decode(self, bytes: &[u8], depth: usize) -> Result<Value> {
        match self {
            // The decoder's bound on memory is at least the size of the message itself.
            Self::Pickle => pickle::Decoder::new().objects().of_manager().max_depth(depth).decode(bytes),
            Self::XmlRpc => xmlrpc::decode(bytes),
        }
    }
}
