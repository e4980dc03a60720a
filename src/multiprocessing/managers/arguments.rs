//! The arguments of one call, positional and named.

use serde::de::DeserializeOwned;

use super::Exception;
use crate::multiprocessing::connection::pickle::{Value, from_value};

/// The arguments of a call of a served object's method. The macro [`managed!`](crate::managed) takes them apart.
///
/// # Examples
/// See the example of [`managed!`](crate::managed).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    pub(super) args: Vec<Value>,
    pub(super) kwds: Vec<(String, Value)>,
}

impl Arguments {
    /// Sorts the values by the names of the parameters; a missing argument is `None`.
    pub(super) fn by_names(self, names: &[&str]) -> Result<Vec<Value>, Exception> {
        let Self { args, kwds } = self;
        if args.len() > names.len() {
            let message =
                format!("takes {} arguments ({}), but {} were given", names.len(), names.join(", "), args.len());
            return Err(Exception::new("TypeError", message));
        }
        let given = args.len();
        let mut values = args;
        values.resize(names.len(), Value::None);
        if kwds.is_empty() {
            return Ok(values);
        }
        let mut seen = vec![false; names.len()];
        for (name, value) in kwds {
            let place = names.iter().position(|known| *known == name);
            match place.and_then(|place| Some((place, values.get_mut(place)?, seen.get_mut(place)?))) {
                Some((place, _, seen)) if place < given || *seen => {
                    return Err(Exception::new("TypeError", format!("the argument {name} was given twice")));
                }
                Some((_, slot, seen)) => (*slot, *seen) = (value, true),
                None => return Err(Exception::new("TypeError", format!("there is no argument {name}"))),
            }
        }
        Ok(values)
    }

    /// Converts the arguments to a tuple.
    ///
    /// # Errors
    /// A `TypeError` when there are too many, or one is not of its type.
    #[doc(hidden)]
    pub fn take<T: DeserializeOwned>(self, names: &[&str]) -> Result<T, Exception> {
        let values = self.by_names(names)?;
        from_value(if names.is_empty() { Value::None } else { Value::Tuple(values) }).map_err(|error| {
            Exception::new("TypeError", format!("the arguments ({}) have the wrong types: {error}", names.join(", ")))
        })
    }
}
