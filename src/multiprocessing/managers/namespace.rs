//! Completion of the method names of a proxy.

use super::proxy::Proxy;
use crate::rlcompleter::{Kind, Namespace, Symbol};

/// Completes the names of the callable methods, without a call to the server.
impl Namespace for Proxy {
    fn symbols(&self) -> Vec<Symbol> {
        self.exposed().iter().map(|method| Symbol::new(method, Kind::Callable)).collect()
    }
}
