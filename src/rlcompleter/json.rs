//! A JSON value as a namespace: the keys of objects are names, and their values are inside.

use serde_json::Value;

use super::namespace::{Kind, Namespace, Symbol};

/// Keys that are not names, such as keys with blanks, are left out, because they cannot be written after a dot. Arrays
/// and plain values have no names inside.
///
/// ```
/// use ossature::rlcompleter::Completer;
///
/// let config = serde_json::json!({"server": {"port": 80, "host": "a"}, "two words": 1});
/// let completer = Completer::new(config);
/// assert_eq!(completer.global_matches(""), ["server"]);
/// assert_eq!(completer.attr_matches("server.p"), ["server.port"]);
/// ```
impl Namespace for Value {
    fn symbols(&self) -> Vec<Symbol> {
        let is_name =
            |key: &str| !key.is_empty() && key.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        let keys = self.as_object().into_iter().flat_map(serde_json::Map::keys);
        keys.filter(|key| is_name(key)).map(|key| Symbol::new(key, Kind::Value)).collect()
    }

    fn inside(&self, name: &str) -> Option<Box<dyn Namespace + '_>> {
        self.get(name).map(|value| Box::new(value) as _)
    }
}
