//! The list of the objects of a server, for debugging.

use super::exception::Exception;
use super::manager::Manager;
use super::proxy::Proxy;
use super::served::Answer;
use super::served::Arrived;
use super::served::Outcome;
use super::served::Returned;
use crate::error::Result;
use crate::multiprocessing::connection::pickle::Value;

/// The description of an object by its server. See the example of [`Manager::objects`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// The object's name on the server: the value of [`Proxy::ident`], which [`Manager::attach`] takes.
    pub ident: String,
    /// The number of references.
    pub references: u64,
    /// The object as text, cut after 75 characters.
    pub shown: String,
}

/// The result of a method, of any type, for programs that know only at run time what they call.
///
/// ```standalone_crate
/// use ossature::multiprocessing::connection::pickle::Value;
/// use ossature::multiprocessing::managers::{Manager, Reply};
/// use ossature::multiprocessing::{Context, freeze_support, tasks};
///
/// # fn main() -> ossature::Result<()> {
/// freeze_support(tasks![]);
/// let manager = Manager::start(Context::Spawn)?;
/// let list = manager.create("list", (vec![1, 2],))?;
/// match list.call::<Reply>("pop", ())? {
///     Reply::Value(value) => assert_eq!(value, Value::Int(2)),
///     Reply::Object(proxy) => println!("an object with the methods {:?}", proxy.exposed()),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub enum Reply {
    /// Plain data.
    Value(Value),
    /// An object that stays on the server.
    Object(Proxy),
}

impl Returned for Reply {
    type There = Self;

    fn answer(self) -> Outcome {
        match self {
            Self::Value(value) => Ok(Answer::Value(value)),
            Self::Object(proxy) => {
                proxy.to_value().map(Answer::Value).map_err(|error| Exception::new("TypeError", error.to_string()))
            }
        }
    }

    fn arrive(reply: Arrived) -> Result<Self> {
        Ok(match reply {
            Arrived::Value(value) => Self::Value(value),
            Arrived::Proxy(proxy) => Self::Object(proxy),
        })
    }
}

impl Manager {
    /// The objects of the server, from all clients: the parts of [`debug_info`](Self::debug_info).
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let list = manager.create("list", (vec![1, 2],))?;
    /// let objects = manager.objects()?;
    /// assert_eq!((objects.len(), objects[0].shown.as_str()), (1, "[1, 2]"));
    ///
    /// let found = manager.attach(&objects[0].ident)?;
    /// found.call::<()>("append", (3,))?;
    /// assert_eq!(list.display()?, "[1, 2, 3]");
    /// # Ok(()) }
    /// ```
    pub fn objects(&self) -> Result<Vec<ObjectInfo>> {
        Ok(parsed(&self.debug_info()?))
    }

    /// Makes a proxy of an existing object from the name that [`objects`](Self::objects) returns. The object lives at
    /// least as long as the proxy. The [type](Proxy::typeid) of the proxy is `object`, because servers do not report
    /// the type.
    ///
    /// # Errors
    /// [`Remote`](crate::ErrorKind::Remote) if the server does not have the object, or does not have it any more;
    /// otherwise as for [`Proxy::call`].
    pub fn attach(&self, ident: &str) -> Result<Proxy> {
        Proxy::attached(self.client.clone(), ident)
    }
}

/// Splits the text of `debug_info`: for each object a line with its name and references, then its text, which may have
/// several lines.
fn parsed(text: &str) -> Vec<ObjectInfo> {
    let mut objects: Vec<ObjectInfo> = Vec::new();
    for line in text.lines() {
        let head = line.strip_prefix("  ").and_then(|line| line.split_once(":       refcount="));
        let head = head.and_then(|(ident, count)| Some((ident, count.parse().ok()?)));
        match head.filter(|(ident, _)| !ident.contains(' ')) {
            Some((ident, references)) => {
                objects.push(ObjectInfo { ident: ident.to_owned(), references, shown: String::new() });
            }
            None => {
                let Some(last) = objects.last_mut() else { continue };
                if !last.shown.is_empty() {
                    last.shown.push('\n');
                }
                last.shown.push_str(line.strip_prefix("    ").unwrap_or(line));
            }
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_cpython_is_understood() {
        let text = "  7f1:       refcount=1\n    [1, 2]\n  7f2:       refcount=12\n    two\nlines\n  7f3:       refcount=1\n    ";
        let found = parsed(text);
        let all: Vec<_> = found.iter().map(|it| (it.ident.as_str(), it.references, it.shown.as_str())).collect();
        assert_eq!(all, [("7f1", 1, "[1, 2]"), ("7f2", 12, "two\nlines"), ("7f3", 1, "")]);
        assert_eq!(parsed("nothing of it\n"), []);
    }
}
