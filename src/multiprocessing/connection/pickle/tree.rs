//! Making a value from the graph of a pickle. A node that is used several times is copied, within a limit; a node that
//! contains itself is refused.

use super::graph::{Id, Item, Kind, Made, Shape};
use super::machine::{Graph, too_large};
use super::meter::{Full, Meter};
use super::object::value_of;
use super::value::Value;
use crate::error::{Error, Result};

/// Makes values from the nodes of a graph.
pub(super) struct TreeBuilder<'m, 'a> {
    graph: &'m Graph<'a>,
    meter: Meter,
    max_depth: usize,
    /// The containers whose items are being made, the outermost first.
    open: Vec<Open<'m>>,
    /// The state of each node.
    states: Vec<NodeState>,
    /// The index in `open` of the outermost container that is made again.
    again: Option<usize>,
    /// The number of bytes in copies of values that were made before.
    copied: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeState {
    New,
    /// The node is in `open`.
    Open,
    Made,
}

/// A container of which some items are made.
struct Open<'m> {
    id: Id,
    shape: Shape,
    wanted: std::slice::Iter<'m, Item>,
    made: Filling,
}

enum Filling {
    Items(Vec<Value>),
    /// Pairs, and the key whose value comes next.
    Pairs(Vec<(Value, Value)>, Option<Value>),
    /// Pairs, each a list or a tuple.
    ListOfPairs(Vec<Value>),
}

impl Filling {
    fn add(&mut self, value: Value) {
        match self {
            Self::Items(items) | Self::ListOfPairs(items) => items.push(value),
            Self::Pairs(pairs, key) => match key.take() {
                Some(key) => pairs.push((key, value)),
                None => *key = Some(value),
            },
        }
    }
}

impl<'m, 'a> TreeBuilder<'m, 'a> {
    /// Makes the value of the whole graph, without recursion.
    pub(super) fn build(graph: &'m Graph<'a>, meter: Meter, max_depth: usize) -> Result<Value> {
        let (open, states) = (Vec::new(), Vec::new());
        let mut builder = Self { graph, meter, max_depth, open, states, again: None, copied: 0 };
        if let Err(Full) = builder.meter.charge(graph.nodes.len()) {
            return Err(graph.input.error(too_large(&builder.meter)));
        }
        builder.states = vec![NodeState::New; graph.nodes.len()];
        builder.run()
    }

    fn run(mut self) -> Result<Value> {
        let mut next = self.graph.root;
        loop {
            let mut made = self.begin(next)?;
            // Hands the value up; each container that it completes is a value in turn.
            next = loop {
                let Some(container) = self.open.last_mut() else {
                    return Ok(made.unwrap_or_default()); // some: `begin` makes a value or opens a container
                };
                if let Some(made) = made.take() {
                    container.made.add(made);
                }
                // An item without items is its own value.
                match container.wanted.find_map(|item| match plain(*item) {
                    Some(value) => {
                        container.made.add(value);
                        None
                    }
                    None => Some(*item),
                }) {
                    Some(item) => break item,
                    None => made = self.close()?,
                }
            };
        }
    }

    /// Makes the value of an item, or opens the item if it is a container.
    fn begin(&mut self, item: Item) -> Result<Option<Value>> {
        let id = match item {
            Item::Node(id) => id,
            Item::Empty(shape, at) => {
                self.deeper(at)?;
                return Ok(Some(match shape {
                    Shape::List => Value::List(Vec::new()),
                    Shape::Tuple => Value::Tuple(Vec::new()),
                    Shape::Dict => Value::Dict(Vec::new()),
                    Shape::Set => Value::Set(Vec::new()),
                    Shape::FrozenSet => Value::FrozenSet(Vec::new()),
                    Shape::Object => Value::None, // never: an object has parts
                }));
            }
            other => return Ok(plain(other)),
        };
        let graph = self.graph;
        let Some(node) = graph.nodes.get(id as usize) else { return Ok(None) }; // never: ids are places in the list
        let (shape, items) = match &node.kind {
            Kind::Plain(plain) => return self.begin(*plain),
            Kind::BigInt(big) => {
                self.charge(id, big.as_le_bytes().len())?;
                return Ok(Some(Value::BigInt(big.clone())));
            }
            Kind::Complex(re, im) => return Ok(Some(Value::Complex(*re, *im))),
            Kind::Text(text) => return self.text(id, text).map(Some),
            Kind::OwnText(text) => return self.text(id, text).map(Some),
            Kind::Bytes(_) | Kind::OwnBytes(_) | Kind::Made(Made::Bytes, ..) => {
                return Ok(Some(Value::Bytes(self.bytes(id)?)));
            }
            Kind::ByteArray(_) | Kind::Made(Made::ByteArray, ..) => return Ok(Some(Value::ByteArray(self.bytes(id)?))),
            Kind::Class(class) => return Err(self.error(id, format_args!("{class} itself is not plain data"))),
            Kind::Global(global) => {
                self.charge(id, global.module().len() + global.name().len())?;
                self.set(id, NodeState::Made);
                return Ok(Some((**global).clone().into()));
            }
            Kind::Items(items) => (node.shape, &items[..]),
            Kind::One(item) => (node.shape, std::slice::from_ref(item)),
            Kind::Made(made, list, count) => {
                let shape = match made {
                    Made::Set => Shape::Set,
                    Made::FrozenSet => Shape::FrozenSet,
                    _ => Shape::Dict,
                };
                let items = graph.nodes.get(*list as usize).and_then(|list| list.kind.items());
                let items = items.ok_or_else(|| self.error(id, "not made from a list"))?;
                (shape, items.get(..*count).unwrap_or(items))
            }
        };
        self.open(id, shape, items, matches!(node.kind, Kind::Made(..)))?;
        Ok(None)
    }

    fn open(&mut self, id: Id, shape: Shape, items: &'m [Item], is_made: bool) -> Result<()> {
        let state = self.state(id);
        if state == NodeState::Open {
            return Err(self.error(id, "contains itself"));
        }
        self.deeper(self.at(id))?;
        self.charge(id, items.len().saturating_mul(size_of::<Value>()))?;
        if state == NodeState::Made && self.again.is_none() {
            self.again = Some(self.open.len());
        }
        self.set(id, NodeState::Open);
        let made = match (shape, is_made) {
            (Shape::Dict, true) => Filling::ListOfPairs(Vec::with_capacity(items.len())),
            (Shape::Dict, false) => Filling::Pairs(Vec::with_capacity(items.len() / 2), None),
            _ => Filling::Items(Vec::with_capacity(items.len())),
        };
        self.open.push(Open { id, shape, wanted: items.iter(), made });
        Ok(())
    }

    /// Checks that another container may be nested in the open ones.
    fn deeper(&self, at: u32) -> Result<()> {
        if self.open.len() < self.max_depth {
            return Ok(());
        }
        let (depth, at, setter) = (self.max_depth, at as usize, self.meter.setters().depth);
        let error = |message| self.graph.input.error_at(at, message);
        Err(error(format_args!("nested more than {depth} deep; {setter} allows more")))
    }

    /// Closes the innermost open container, and returns its value.
    fn close(&mut self) -> Result<Option<Value>> {
        let Some(Open { id, shape, made, .. }) = self.open.pop() else { return Ok(None) };
        self.set(id, NodeState::Made);
        if self.again == Some(self.open.len()) {
            self.again = None;
        }
        Ok(Some(match (shape, made) {
            (_, Filling::Pairs(pairs, _)) => self.dict(id, pairs)?,
            (_, Filling::ListOfPairs(list)) => {
                let pairs = self.pairs(id, list)?;
                self.dict(id, pairs)?
            }
            (Shape::Tuple, Filling::Items(items)) => Value::Tuple(items),
            (Shape::Set, Filling::Items(items)) => Value::Set(self.hashable(id, items)?),
            (Shape::FrozenSet, Filling::Items(items)) => Value::FrozenSet(self.hashable(id, items)?),
            (Shape::Object, Filling::Items(parts)) => self.object(id, parts)?,
            (_, Filling::Items(items)) => Value::List(items),
        }))
    }

    fn pairs(&mut self, id: Id, list: Vec<Value>) -> Result<Vec<(Value, Value)>> {
        let (count, room) = (list.len(), list.capacity());
        self.charge(id, count.saturating_mul(size_of::<(Value, Value)>()))?;
        let mut pairs = Vec::with_capacity(count);
        for pair in list {
            match pair {
                Value::List(pair) | Value::Tuple(pair) => match <[Value; 2]>::try_from(pair) {
                    Ok([key, value]) => pairs.push((key, value)),
                    Err(_) => return Err(self.error(id, "a pair needs exactly two items")),
                },
                other => return Err(self.error(id, format_args!("a {} is not a pair", other.type_name()))),
            }
        }
        // The list and the pairs in it were freed.
        self.meter.refund(room * size_of::<Value>() + count * size_of::<(Value, Value)>());
        Ok(pairs)
    }

    /// Makes an object from its parts: the name, the arguments, and optionally the state.
    fn object(&mut self, id: Id, parts: Vec<Value>) -> Result<Value> {
        let mut parts = parts.into_iter();
        let (made_by, args) = (parts.next(), parts.next());
        let (state, more) = (parts.next().unwrap_or_default(), parts.next());
        match (made_by, args, more) {
            (Some(Value::Global(global)), Some(Value::Tuple(args)), None) => Ok(value_of(*global, args, state)),
            _ => Err(self.error(id, "an object needs a name, a tuple of arguments and at most one state")),
        }
    }

    fn dict(&self, id: Id, pairs: Vec<(Value, Value)>) -> Result<Value> {
        match pairs.iter().find_map(|(key, _)| key.unhashable()) {
            Some(what) => Err(self.error(id, format_args!("a {what} cannot be a key"))),
            None => Ok(Value::Dict(pairs)),
        }
    }

    fn hashable(&self, id: Id, items: Vec<Value>) -> Result<Vec<Value>> {
        match items.iter().find_map(Value::unhashable) {
            Some(what) => Err(self.error(id, format_args!("a {what} cannot be in a set"))),
            None => Ok(items),
        }
    }

    fn text(&mut self, id: Id, text: &str) -> Result<Value> {
        self.charge(id, text.len())?;
        self.set(id, NodeState::Made);
        Ok(Value::Text(text.to_owned()))
    }

    /// The bytes in a node, or the bytes that the node is made from.
    fn bytes(&mut self, id: Id) -> Result<Vec<u8>> {
        let graph = self.graph;
        let mut source = id;
        loop {
            let text = match graph.nodes.get(source as usize).map(|node| &node.kind) {
                // An argument is older than what is made of it, so this ends.
                Some(Kind::Made(Made::Bytes | Made::ByteArray, argument, _)) => {
                    source = *argument;
                    continue;
                }
                Some(Kind::Bytes(bytes) | Kind::ByteArray(bytes)) => return self.copy(id, bytes),
                Some(Kind::OwnBytes(bytes)) => return self.copy(id, bytes),
                Some(Kind::Text(text)) => text,
                Some(Kind::OwnText(text)) => &**text,
                _ => return Err(self.error(id, "made from neither text nor bytes")),
            };
            let length = text.chars().count();
            self.charge(id, length)?;
            self.set(id, NodeState::Made);
            return latin1(text, length)
                .ok_or_else(|| self.error(source, "the text is not Latin-1, so it stands for no bytes"));
        }
    }

    fn copy(&mut self, id: Id, bytes: &[u8]) -> Result<Vec<u8>> {
        self.charge(id, bytes.len())?;
        self.set(id, NodeState::Made);
        Ok(bytes.to_vec())
    }

    fn state(&self, id: Id) -> NodeState {
        self.states.get(id as usize).copied().unwrap_or(NodeState::New)
    }

    fn set(&mut self, id: Id, to: NodeState) {
        if let Some(state) = self.states.get_mut(id as usize) {
            *state = to;
        }
    }

    /// Counts the memory of a node before its allocation.
    fn charge(&mut self, id: Id, size: usize) -> Result<()> {
        if self.again.is_some() || self.state(id) == NodeState::Made {
            self.copied = self.copied.saturating_add(size);
        }
        self.meter.charge(size).map_err(|Full| self.too_large(id))
    }

    #[cold]
    fn too_large(&self, id: Id) -> Error {
        let (limit, setter) = (self.meter.limit(), self.meter.setters().memory);
        if self.copied > limit / 2 {
            return self.error(
                id,
                format_args!(
                    "one object stands in too many places: with a copy in each the value would take more than {limit} bytes of \
                     memory; {setter} allows more"
                ),
            );
        }
        self.error(id, too_large(&self.meter))
    }

    fn error(&self, id: Id, what: impl std::fmt::Display) -> Error {
        self.graph.input.error_at(self.at(id) as usize, what)
    }

    fn at(&self, id: Id) -> u32 {
        self.graph.nodes.get(id as usize).map_or(0, |node| node.at)
    }
}

/// The characters of a text as `length` bytes of Latin-1; `None` if there is another character.
fn latin1(text: &str, length: usize) -> Option<Vec<u8>> {
    if text.len() == length {
        return Some(text.as_bytes().to_vec()); // ASCII
    }
    let mut bytes = Vec::with_capacity(length);
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(ascii)?;
        bytes.extend_from_slice(run.as_bytes());
        let others = after.chars().take_while(|character| !character.is_ascii());
        let mut length = 0;
        for character in others {
            bytes.push(u8::try_from(character).ok()?);
            length += character.len_utf8();
        }
        rest = after.get(length..)?;
    }
    Some(bytes)
}

/// The value of an item without items.
fn plain(item: Item) -> Option<Value> {
    Some(match item {
        Item::None => Value::None,
        Item::Bool(value) => Value::Bool(value),
        Item::Int(number) => Value::Int(number),
        Item::Float(number) => Value::Float(number),
        Item::Empty(..) | Item::Node(_) => return None,
    })
}
