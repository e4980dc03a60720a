//! From the graph of a pickle to a value: what is used several times is copied, within a bound; what contains itself is
//! refused.

use super::MAX_DEPTH;
use super::graph::{Id, Kind, Made};
use super::machine::Machine;
use super::value::Value;
use crate::error::{Error, Result};

/// Makes values of the nodes that a machine has left.
pub(super) struct Builder<'m, 'a> {
    machine: &'m Machine<'a>,
    /// How many more bytes the values may take.
    room: usize,
    /// The containers at work, the outermost first.
    open: Vec<Open<'m>>,
    /// Which nodes stand in `open`.
    is_open: Vec<bool>,
}

/// A container of which some items are made.
struct Open<'m> {
    id: Id,
    wanted: std::slice::Iter<'m, Id>,
    made: Vec<Value>,
}

impl<'m, 'a> Builder<'m, 'a> {
    pub(super) fn new(machine: &'m Machine<'a>, room: usize) -> Self {
        Self { machine, room, open: Vec::new(), is_open: vec![false; machine.nodes.len()] }
    }

    /// The value of node `root`, without recursion.
    pub(super) fn build(mut self, root: Id) -> Result<Value> {
        let mut next = root;
        loop {
            let mut made = self.begin(next)?;
            // Hands the value up; each container that it completes is a value in turn.
            next = loop {
                let Some(container) = self.open.last_mut() else {
                    return Ok(made.unwrap_or_default()); // some: `begin` makes a value or opens a container
                };
                container.made.extend(made.take());
                if let Some(item) = container.wanted.next() {
                    break *item;
                }
                made = self.close()?;
            };
        }
    }

    /// Makes the value of a node, or opens the container that it is.
    fn begin(&mut self, id: Id) -> Result<Option<Value>> {
        let items = match self.machine.kind(id) {
            Kind::Plain(value) => {
                if let Value::BigInt(big) = value {
                    self.charge(id, big.as_le_bytes().len())?;
                }
                return Ok(Some(value.clone()));
            }
            Kind::Text(text) => {
                self.charge(id, text.len())?;
                return Ok(Some(Value::Text(text.clone().into_owned())));
            }
            Kind::Bytes(_) | Kind::Made(Made::Bytes, ..) => return Ok(Some(Value::Bytes(self.bytes(id)?))),
            Kind::ByteArray(_) | Kind::Made(Made::ByteArray, ..) => return Ok(Some(Value::ByteArray(self.bytes(id)?))),
            Kind::Class(class) => return Err(self.error(id, format_args!("{class} itself is no plain data"))),
            Kind::List(items) | Kind::Tuple(items) | Kind::Dict(items) | Kind::Set(items) | Kind::FrozenSet(items) => {
                items
            }
            Kind::Made(Made::Set | Made::FrozenSet | Made::Dict, list, count) => match self.machine.kind(*list) {
                Kind::List(items) => items.get(..*count).unwrap_or(items),
                _ => return Err(self.error(id, "made of no list")),
            },
        };
        if self.is_open[id] {
            return Err(self.error(id, "contains itself"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.error(id, format_args!("nested more than {MAX_DEPTH} deep")));
        }
        self.charge(id, items.len().saturating_mul(size_of::<Value>()))?;
        self.is_open[id] = true;
        self.open.push(Open { id, wanted: items.iter(), made: Vec::with_capacity(items.len()) });
        Ok(None)
    }

    /// The value of the innermost open container.
    fn close(&mut self) -> Result<Option<Value>> {
        let Some(Open { id, made, .. }) = self.open.pop() else { return Ok(None) };
        self.is_open[id] = false;
        Ok(Some(match self.machine.kind(id) {
            Kind::Tuple(_) => Value::Tuple(made),
            Kind::Dict(_) => Value::Dict(self.pairs(id, made)?),
            Kind::Made(Made::Dict, ..) => {
                let mut flat = Vec::with_capacity(2 * made.len());
                for pair in made {
                    match pair {
                        Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => flat.extend(pair),
                        other => return Err(self.error(id, format_args!("a {} is no pair", other.type_name()))),
                    }
                }
                Value::Dict(self.pairs(id, flat)?)
            }
            Kind::Set(_) | Kind::Made(Made::Set, ..) => Value::Set(self.hashable(id, made)?),
            Kind::FrozenSet(_) | Kind::Made(Made::FrozenSet, ..) => Value::FrozenSet(self.hashable(id, made)?),
            _ => Value::List(made),
        }))
    }

    fn pairs(&self, id: Id, flat: Vec<Value>) -> Result<Vec<(Value, Value)>> {
        let mut pairs = Vec::with_capacity(flat.len() / 2);
        let mut flat = flat.into_iter();
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            if let Some(what) = key.unhashable() {
                return Err(self.error(id, format_args!("a {what} cannot be a key")));
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    fn hashable(&self, id: Id, items: Vec<Value>) -> Result<Vec<Value>> {
        match items.iter().find_map(Value::unhashable) {
            Some(what) => Err(self.error(id, format_args!("a {what} cannot be in a set"))),
            None => Ok(items),
        }
    }

    /// The bytes that a node is, or is made of.
    fn bytes(&mut self, id: Id) -> Result<Vec<u8>> {
        let mut source = id;
        loop {
            match self.machine.kind(source) {
                // An argument is older than what is made of it, so this ends.
                Kind::Made(Made::Bytes | Made::ByteArray, argument, _) => source = *argument,
                Kind::Bytes(bytes) | Kind::ByteArray(bytes) => {
                    self.charge(id, bytes.len())?;
                    return Ok(bytes.clone().into_owned());
                }
                Kind::Text(text) => {
                    self.charge(id, text.len())?;
                    let latin1: std::result::Result<_, _> = text.chars().map(u8::try_from).collect();
                    return latin1
                        .map_err(|_| self.error(source, "the text is not Latin-1, so it stands for no bytes"));
                }
                _ => return Err(self.error(id, "made of neither text nor bytes")),
            }
        }
    }

    fn charge(&mut self, id: Id, size: usize) -> Result<()> {
        match self.room.checked_sub(size) {
            Some(rest) => {
                self.room = rest;
                Ok(())
            }
            None => Err(self.error(id, "one object stands in too many places: the value would be too large")),
        }
    }

    fn error(&self, id: Id, what: impl std::fmt::Display) -> Error {
        self.machine.input.error_at(self.machine.nodes[id].at, what)
    }
}
