//! The exception that a method of a served object raised, with its own name.

use std::any::{Any, type_name};
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::multiprocessing::connection::pickle::{Global, Object, Value};

/// An exception that is sent between a server and its clients: a class, arguments and the text of a traceback.
///
/// A method of a served object that returns `Err` raises one. An `Exception` keeps its class. Any other error becomes a
/// `RuntimeError` with the text of the error, and the name of its Rust type as the attribute `rust_type`. A client in
/// Rust gets an [`Error`] of the kind [`Remote`](ErrorKind::Remote) whose [source](std::error::Error::source) is the
/// exception; a client in Python gets the exception itself.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::managers::Exception;
///
/// let missing = Exception::new("KeyError", "spam");
/// assert_eq!((missing.class(), missing.message().as_str()), ("KeyError", "spam"));
/// assert_eq!(missing.to_string(), "KeyError: spam");
/// assert_eq!((missing.rust_type(), missing.traceback()), (None, None), "no server has raised it");
///
/// let pair = Exception::with_args("bank.Refused", vec![7.into(), "too much".into()]);
/// assert_eq!((pair.args().len(), pair.message().as_str()), (2, "7"));
/// let error = ossature::Error::from(pair);
/// assert_eq!(error.kind(), ossature::ErrorKind::Remote);
/// assert_eq!(Exception::inside(&error).map(Exception::class), Some("bank.Refused"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[doc(alias = "RemoteError")]
pub struct Exception {
    class: String,
    args: Vec<Value>,
    rust_type: Option<String>,
    traceback: Option<String>,
}

/// The class of CPython's errors that a server raises outside the methods of an object.
const REMOTE_ERROR: &str = "multiprocessing.managers.RemoteError";

impl Exception {
    /// Makes an exception of a class with one argument, a text. A built-in class of Python has a bare name, `KeyError`;
    /// any other class has its module before it, `queue.Empty`.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self::with_args(class, vec![Value::Text(message.into())])
    }

    /// Makes an exception of a class with these arguments.
    pub fn with_args(class: impl Into<String>, args: Vec<Value>) -> Self {
        Self { class: class.into(), args, rust_type: None, traceback: None }
    }

    /// The class, as in [`new`](Self::new).
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The arguments.
    pub fn args(&self) -> &[Value] {
        &self.args
    }

    /// The first argument, as text.
    pub fn message(&self) -> String {
        match self.args.first() {
            Some(Value::Text(text)) => text.clone(),
            Some(other) => super::token::repr(other),
            None => String::new(),
        }
    }

    /// The Rust type of the error, if a server in Rust raised the exception.
    pub fn rust_type(&self) -> Option<&str> {
        self.rust_type.as_deref()
    }

    /// The traceback of the error, as the server reports it.
    #[doc(alias = "backtrace")]
    pub fn traceback(&self) -> Option<&str> {
        self.traceback.as_deref()
    }

    /// Makes the exception of a server that could not even call a method, from the text of a traceback.
    pub(super) fn remote(text: String) -> Self {
        let mut exception = Self::new(REMOTE_ERROR, "the server could not carry out the call");
        exception.traceback = Some(text);
        exception
    }

    pub(super) fn is_remote(&self) -> bool {
        self.class == REMOTE_ERROR
    }

    /// Makes an exception from the error of a method.
    pub(super) fn of<E: fmt::Display + Any>(error: E) -> Self {
        let any: &dyn Any = &error;
        if let Some(exception) = any.downcast_ref::<Self>() {
            return exception.clone();
        }
        if let Some(exception) = any.downcast_ref::<Error>().and_then(Self::inside) {
            return exception.clone();
        }
        let mut exception = Self::new("RuntimeError", error.to_string());
        exception.rust_type = Some(type_name::<E>().to_owned());
        exception
    }

    /// The exception that caused an error.
    pub fn inside(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    pub(super) fn panicked(message: &str, traceback: String) -> Self {
        let mut exception = Self::new("RuntimeError", format!("the method panicked: {message}"));
        exception.rust_type = Some("panic".to_owned());
        exception.traceback = Some(traceback);
        exception
    }

    /// Converts the exception to the object that CPython pickles. The names are those of Python 2, which Python 3 reads
    /// too.
    pub(super) fn to_value(&self) -> Value {
        let (module, name) = match self.class.rsplit_once('.') {
            Some(("queue", name @ ("Empty" | "Full"))) => ("Queue", name),
            Some((module, name)) => (module, name),
            None => ("exceptions", self.class.as_str()),
        };
        let mut object = Object::new(Global::new(module, name), self.args.clone());
        let attributes = [("rust_type", &self.rust_type), ("traceback", &self.traceback)];
        let given = attributes.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        let given = Value::dict(given);
        if given != Value::Dict(Vec::new()) {
            object.state = given;
        }
        object.into()
    }

    /// Makes an exception from the payload of an error.
    pub(super) fn from_value(value: Value) -> Self {
        let Value::Object(object) = value else {
            return Self::new(
                "ValueError",
                format!("the server raised {}, which is not an exception", super::token::repr(&value)),
            );
        };
        let Object { made_by, mut args, state } = *object;
        let class = match (made_by.module(), made_by.name()) {
            // An exception from a pool of CPython, with the text of its traceback.
            ("multiprocessing.pool", "rebuild_exc") if args.len() == 2 => {
                let text = args.pop();
                let mut inner = Self::from_value(args.pop().unwrap_or_default());
                inner.traceback = text.and_then(|text| text.as_str().map(str::to_owned));
                return inner;
            }
            ("builtins" | "__builtin__" | "exceptions", name) => name.to_owned(),
            ("Queue" | "_queue" | "queue", name) => format!("queue.{name}"),
            (module, name) => format!("{module}.{name}"),
        };
        let text = |name| state.get(name).and_then(Value::as_str).map(str::to_owned);
        let (rust_type, traceback) = (text("rust_type"), text("traceback"));
        Self { class, args, rust_type, traceback }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_remote() {
            let (line, text) = ("-".repeat(75), self.traceback.as_deref().unwrap_or_default());
            return write!(f, "\n{line}\n{text}{line}");
        }
        f.write_str(&self.class)?;
        match self.args.as_slice() {
            [] => Ok(()),
            _ => write!(f, ": {}", self.message()),
        }
    }
}

impl std::error::Error for Exception {}

/// Makes an [`ErrorKind::Remote`] with the exception as the source.
impl From<Exception> for Error {
    fn from(exception: Exception) -> Self {
        Self::caused(ErrorKind::Remote, None, exception)
    }
}
