//! The methods of a proxy as names to complete.

use super::proxy::Proxy;
use crate::rlcompleter::{Kind, Namespace, Symbol};

/// The names are the methods that may be called. No call goes to the server.
impl Namespace for Proxy {
    fn symbols(&self) -> Vec<Symbol> {
        self.exposed().iter().map(|method| Symbol::new(method, Kind::Callable)).collect()
    }
}
