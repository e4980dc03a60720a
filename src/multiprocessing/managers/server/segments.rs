//! Blocks of shared memory that live as long as the server, as CPython's `SharedMemoryServer` keeps them.
//!
//! The server uses each block, so that a block which this library made keeps its name after its maker has ended. At the
//! end of the server the names are removed. If the server is killed, a block has one user less, and its last user
//! removes the name.

use std::collections::BTreeMap;

use super::super::{Arguments, Exception};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::shared_memory::SharedMemory;

type Raised<T> = Result<T, Exception>;

pub(super) struct Segments {
    held: BTreeMap<String, SharedMemory>,
    most: usize,
}

impl Segments {
    pub(super) fn new(most: usize) -> Self {
        Self { held: BTreeMap::new(), most }
    }

    /// Whether clients may register blocks.
    pub(super) fn is_open(&self) -> bool {
        self.most > 0
    }

    /// Reads the name in a request to register a block.
    pub(super) fn asked(arguments: Arguments) -> Raised<String> {
        let (name,): (String,) = arguments.take(&["segment_name"])?;
        Ok(name)
    }

    /// Keeps a block until the end of the server. A block that is registered again is kept once.
    pub(super) fn keep(&mut self, memory: SharedMemory) -> Raised<()> {
        if self.held.len() >= self.most && !self.held.contains_key(memory.name()) {
            let message = format!("the server keeps {} blocks, and Limits::segments allows no more", self.most);
            return Err(Exception::new("MemoryError", message));
        }
        self.held.insert(memory.name().to_owned(), memory);
        Ok(())
    }

    /// Removes the name of a block now.
    pub(super) fn release(&mut self, arguments: Arguments) -> Raised<()> {
        let name = Self::asked(arguments)?;
        let Some(memory) = self.held.remove(name.strip_prefix('/').unwrap_or(&name)) else {
            let shown: String = name.chars().take(40).collect();
            return Err(Exception::new("ValueError", format!("the server does not keep a block {shown}")));
        };
        memory.unlink().map_err(Exception::of)
    }

    pub(super) fn names(&self) -> Value {
        Value::List(self.held.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for memory in self.held.values() {
            let _ = memory.unlink(); // somebody has removed the name already
        }
    }
}
