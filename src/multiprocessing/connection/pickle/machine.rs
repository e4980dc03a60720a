//! The stack machine that executes a pickle, without the opcodes that could run code.

use std::borrow::Cow;

use super::bigint::{decimal, integer};
use super::global::Global;
use super::graph::{Class, Id, Item, Kind, Made, Node, Shape};
use super::input::Input;
use super::memo::Memo;
use super::meter::{Full, Meter};
use super::object::LONGEST_NAME;
use super::opcode as op;
use super::stack::Stack;
use super::text::{literal, number, raw_unicode};
use super::value::{Value, whole};
use super::{HIGHEST_PROTOCOL, OldStr};
use crate::error::{Error, Result};

pub(super) struct Machine<'a> {
    input: Input<'a>,
    nodes: Vec<Node<'a>>,
    old_str: OldStr,
    /// Whether classes and objects are kept as records.
    objects: bool,
    stack: Stack,
    memo: Memo,
    meter: Meter,
}

/// The graph of a pickle: the nodes, and the item that remains on the stack.
pub(super) struct Graph<'a> {
    pub(super) input: Input<'a>,
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Item,
    pub(super) meter: Meter,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], old_str: OldStr, objects: bool, meter: Meter) -> Self {
        Self {
            input: Input::new(bytes),
            nodes: Vec::new(),
            old_str,
            objects,
            stack: Stack::default(),
            memo: Memo::default(),
            meter,
        }
    }

    /// Executes the opcodes up to STOP.
    pub(super) fn run(mut self) -> Result<Graph<'a>> {
        loop {
            let opcode = self.input.opcode()?;
            if opcode == op::STOP {
                break;
            }
            self.step(opcode)?;
        }
        let root = self.pop()?;
        if !self.stack.top().is_empty() || self.stack.has_mark() {
            return Err(self.error("more than one value is left on the stack"));
        }
        if self.input.left() > 0 {
            return Err(self.error(format_args!("{} bytes follow it", self.input.left())));
        }
        let Self { input, nodes, stack, memo, mut meter, .. } = self;
        stack.free(&mut meter);
        memo.free(&mut meter);
        Ok(Graph { input, nodes, root, meter })
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::PROTO => self.protocol(),
            op::FRAME => self.frame(),
            op::MARK => {
                let marked = self.stack.mark(&mut self.meter);
                self.charged(marked)
            }
            op::POP if self.stack.top().is_empty() && self.stack.has_mark() => self.drop_mark(),
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.drop_mark(),
            op::DUP => self.dup(),
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(opcode),
            op::GET | op::BINGET | op::LONG_BINGET => self.get(opcode),

            op::NONE => self.push(Item::None),
            op::NEWTRUE => self.push(Item::Bool(true)),
            op::NEWFALSE => self.push(Item::Bool(false)),
            op::BININT1 => self.input.array().and_then(|[byte]| self.push(Item::Int(byte.into()))),
            op::BININT2 => self.input.array().and_then(|word| self.push(Item::Int(u16::from_le_bytes(word).into()))),
            op::BININT => self.input.array().and_then(|word| self.push(Item::Int(i32::from_le_bytes(word).into()))),
            op::LONG1 => self.input.counted::<1>().and_then(|bytes| self.long(bytes)),
            op::LONG4 => self.input.counted::<4>().and_then(|bytes| self.long(bytes)),
            op::INT | op::LONG | op::FLOAT => self.number(opcode),
            op::BINFLOAT => self.input.array().and_then(|word| self.push(Item::Float(f64::from_be_bytes(word)))),

            op::STRING | op::SHORT_BINSTRING | op::BINSTRING => self.old_str(opcode),
            op::UNICODE => self.unicode(),
            op::SHORT_BINUNICODE => self.input.counted::<1>().and_then(|bytes| self.text(bytes)),
            op::BINUNICODE => self.input.counted::<4>().and_then(|bytes| self.text(bytes)),
            op::BINUNICODE8 => self.input.counted::<8>().and_then(|bytes| self.text(bytes)),
            op::SHORT_BINBYTES => self.input.counted::<1>().and_then(|bytes| self.make(Kind::Bytes(bytes))),
            op::BINBYTES => self.input.counted::<4>().and_then(|bytes| self.make(Kind::Bytes(bytes))),
            op::BINBYTES8 => self.input.counted::<8>().and_then(|bytes| self.make(Kind::Bytes(bytes))),
            op::BYTEARRAY8 => self.input.counted::<8>().and_then(|bytes| self.make(Kind::ByteArray(bytes))),

            op::EMPTY_LIST => self.push_empty(Shape::List),
            op::EMPTY_TUPLE => self.push_empty(Shape::Tuple),
            op::EMPTY_DICT => self.push_empty(Shape::Dict),
            op::EMPTY_SET => self.push_empty(Shape::Set),
            op::LIST => self.contain(Shape::List),
            op::TUPLE => self.contain(Shape::Tuple),
            op::FROZENSET => self.contain(Shape::FrozenSet),
            op::DICT => self.contain(Shape::Dict),
            op::TUPLE1 => self.pop_some().and_then(|[item]| self.make_container(Shape::Tuple, Kind::One(item))),
            op::TUPLE2 => self.pop_some::<2>().and_then(|items| self.some(Shape::Tuple, &items)),
            op::TUPLE3 => self.pop_some::<3>().and_then(|items| self.some(Shape::Tuple, &items)),
            op::APPEND => self.pop_some::<1>().and_then(|item| self.append(Shape::List, &item)),
            op::SETITEM => self.pop_some::<2>().and_then(|pair| self.append(Shape::Dict, &pair)),
            op::APPENDS => self.extend(Shape::List),
            op::ADDITEMS => self.extend(Shape::Set),
            op::SETITEMS => self.extend(Shape::Dict),

            op::GLOBAL => {
                let (module, name) = (shown(self.input.line()?), shown(self.input.line()?));
                self.class(&module, &name)
            }
            op::STACK_GLOBAL => self.stack_global(),
            op::REDUCE => self.reduce(),
            op::NEWOBJ if self.objects => self.object(),
            op::BUILD if self.objects => self.pop_some::<1>().and_then(|state| self.append(Shape::Object, &state)),
            op::INST | op::OBJ | op::BUILD | op::NEWOBJ | op::NEWOBJ_EX => {
                Err(self.error("makes an object; only plain data is read"))
            }
            op::PERSID | op::BINPERSID => Err(self.error("refers to a persistent object; only plain data is read")),
            op::EXT1 | op::EXT2 | op::EXT4 => Err(self.error("refers to a registered class; only plain data is read")),
            op::NEXT_BUFFER | op::READONLY_BUFFER => Err(self.error("needs an out-of-band buffer; there is none")),
            _ => Err(self.error("no such opcode")),
        }
    }

    // ---- the stack ------------------------------------------------------------------------------------------------

    fn error(&self, what: impl std::fmt::Display) -> Error {
        self.input.error(what)
    }

    /// Turns the meter's refusal into an error that names the current opcode.
    fn charged<T>(&self, result: std::result::Result<T, Full>) -> Result<T> {
        result.map_err(|Full| self.too_large())
    }

    #[cold]
    fn too_large(&self) -> Error {
        self.error(too_large(&self.meter))
    }

    #[inline]
    fn push(&mut self, item: Item) -> Result<()> {
        match self.stack.push(&mut self.meter, item) {
            Ok(()) => Ok(()),
            Err(Full) => Err(self.too_large()),
        }
    }

    /// Adds a node that the opcode at the given offset made.
    fn node(&mut self, at: u32, shape: Shape, kind: Kind<'a>) -> Result<Id> {
        let reserved = self.meter.reserve(&mut self.nodes, 1);
        self.charged(reserved)?;
        let id = Id::try_from(self.nodes.len()).ok().filter(|id| *id < Id::MAX);
        let id = id.ok_or_else(|| self.error("more objects than can be counted"))?;
        self.nodes.push(Node { kind, at, shape });
        Ok(id)
    }

    /// The offset of the current opcode, at most 4 GiB.
    fn at(&self) -> u32 {
        u32::try_from(self.input.opcode_at()).unwrap_or(u32::MAX)
    }

    fn push_empty(&mut self, shape: Shape) -> Result<()> {
        self.push(Item::Empty(shape, self.at()))
    }

    fn make(&mut self, kind: Kind<'a>) -> Result<()> {
        self.make_container(Shape::Tuple, kind) // it has no items
    }

    fn make_container(&mut self, shape: Shape, kind: Kind<'a>) -> Result<()> {
        let id = self.node(self.at(), shape, kind)?;
        self.push(Item::Node(id))
    }

    fn kind(&self, item: Item) -> Option<&Node<'a>> {
        match item {
            Item::Node(id) => self.nodes.get(id as usize),
            _ => None,
        }
    }

    /// The items of a container of the given kind.
    fn items(&self, wanted: Shape, item: Item) -> Option<&[Item]> {
        match item {
            Item::Empty(shape, _) if shape == wanted => Some(&[]),
            Item::Node(_) => {
                let node = self.kind(item)?;
                match &node.kind {
                    Kind::Plain(plain) => self.items(wanted, *plain),
                    kind if node.shape == wanted => kind.items(),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn long(&mut self, bytes: &[u8]) -> Result<()> {
        let charged = self.meter.charge(bytes.len());
        self.charged(charged)?;
        match integer(bytes) {
            Err(big) => self.make(Kind::BigInt(big)),
            Ok(number) => {
                self.meter.refund(bytes.len());
                self.push(Item::Int(number))
            }
        }
    }

    fn text(&mut self, bytes: &'a [u8]) -> Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.make(Kind::Text(text)),
            Err(error) => Err(self.error(format_args!("not UTF-8 ({error})"))),
        }
    }

    /// Reads a line of text. Characters beyond ASCII take more bytes in memory than in the line.
    fn unicode(&mut self) -> Result<()> {
        let line = self.input.line()?;
        let most = line.len().saturating_mul(2);
        let charged = self.meter.charge(most);
        self.charged(charged)?;
        let text = raw_unicode(line).ok_or_else(|| self.error("not the escaped form of a text"))?;
        self.meter.refund(most - text.len().min(most));
        self.make(Kind::OwnText(text.into()))
    }

    fn pop_some<const N: usize>(&mut self) -> Result<[Item; N]> {
        self.stack.pop_some().ok_or_else(|| self.error("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Item> {
        self.stack.pop().ok_or_else(|| self.error("the stack is empty"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Item>> {
        self.stack.pop_mark().ok_or_else(|| self.error("no mark is open"))
    }

    fn drop_mark(&mut self) -> Result<()> {
        let items = self.pop_mark()?;
        let given = self.stack.give_back(&mut self.meter, items);
        self.charged(given)
    }

    /// Returns the node of the top item of the stack; makes a node if the item has none.
    fn top_node(&mut self) -> Result<Id> {
        let top = self.stack.top().last().copied().ok_or_else(|| self.error("the stack is empty"))?;
        let id = match top {
            Item::Node(id) => return Ok(id),
            Item::Empty(shape, at) => self.node(at, shape, Kind::Items(Vec::new()))?,
            plain => self.node(self.at(), Shape::Tuple, Kind::Plain(plain))?,
        };
        if let Some(top) = self.stack.last_mut() {
            *top = Item::Node(id);
        }
        Ok(id)
    }

    fn dup(&mut self) -> Result<()> {
        let id = self.top_node()?;
        self.push(Item::Node(id))
    }

    // ---- containers -----------------------------------------------------------------------------------------------

    fn even(&self, shape: Shape, items: &[Item]) -> Result<()> {
        if shape == Shape::Dict && items.len() % 2 != 0 {
            return Err(self.error("a key without a value"));
        }
        Ok(())
    }

    /// Makes a container of the items above the mark.
    fn contain(&mut self, shape: Shape) -> Result<()> {
        let items = self.pop_mark()?;
        self.even(shape, &items)?;
        if items.is_empty() {
            let given = self.stack.give_back(&mut self.meter, items);
            self.charged(given)?;
            return self.push_empty(shape);
        }
        let kept = self.stack.keep(&mut self.meter, items);
        let kept = self.charged(kept)?;
        self.make_container(shape, Kind::Items(kept))
    }

    fn some(&mut self, shape: Shape, items: &[Item]) -> Result<()> {
        let mut kept = Vec::new();
        let reserved = self.meter.reserve(&mut kept, items.len());
        self.charged(reserved)?;
        kept.extend_from_slice(items);
        self.make_container(shape, Kind::Items(kept))
    }

    /// Lets `add` add to the items of the container on top of the stack.
    fn add_to_top(
        &mut self,
        shape: Shape,
        add: impl FnOnce(&mut Stack, &mut Meter, &mut Vec<Item>) -> std::result::Result<(), Full>,
    ) -> Result<()> {
        let top = self.top_node()?;
        let added = match self.nodes.get_mut(top as usize) {
            Some(Node { kind: Kind::Items(items), shape: of, .. }) if *of == shape => {
                add(&mut self.stack, &mut self.meter, items)
            }
            _ => return Err(self.error("cannot add to the item on the stack, which has another type")),
        };
        self.charged(added)
    }

    fn append(&mut self, shape: Shape, some: &[Item]) -> Result<()> {
        self.add_to_top(shape, |_, meter, items| {
            meter.reserve(items, some.len())?;
            items.extend_from_slice(some);
            Ok(())
        })
    }

    /// Adds the items above the mark.
    fn extend(&mut self, shape: Shape) -> Result<()> {
        let some = self.pop_mark()?;
        self.even(shape, &some)?;
        self.add_to_top(shape, |stack, meter, items| stack.add(meter, items, some))
    }

    // ---- the memo -------------------------------------------------------------------------------------------------

    fn index(&mut self, opcode: u8) -> Result<u32> {
        match opcode {
            op::PUT | op::GET => {
                let line = self.input.line()?;
                number(line, 10).ok_or_else(|| self.error("not a number"))
            }
            op::BINPUT | op::BINGET => self.input.array().map(|[byte]| byte.into()),
            op::MEMOIZE => Ok(self.memo.len()),
            _ => self.input.array().map(u32::from_le_bytes),
        }
    }

    fn put(&mut self, opcode: u8) -> Result<()> {
        let (index, top) = (self.index(opcode)?, self.top_node()?);
        let put = self.memo.put(&mut self.meter, index, top);
        self.charged(put)
    }

    fn get(&mut self, opcode: u8) -> Result<()> {
        let index = self.index(opcode)?;
        let id = self.memo.get(index).ok_or_else(|| self.error(format_args!("no memo entry {index}")))?;
        self.push(Item::Node(id))
    }

    // ---- opcodes with more to them --------------------------------------------------------------------------------

    fn protocol(&mut self) -> Result<()> {
        let [protocol] = self.input.array()?;
        if protocol > HIGHEST_PROTOCOL {
            return Err(self.error(format_args!("protocol {protocol} is unknown; the highest is {HIGHEST_PROTOCOL}")));
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<()> {
        let length = self.input.length::<8>()?;
        if length > self.input.left() {
            return Err(self.error(format_args!("a frame of {length} bytes, but {} are left", self.input.left())));
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Result<()> {
        let line = self.input.line()?;
        let value = match (opcode, line) {
            (op::INT, b"00") => Some(Value::Bool(false)),
            (op::INT, b"01") => Some(Value::Bool(true)),
            (op::FLOAT, _) => float(line).map(Value::Float),
            (op::LONG, [digits @ .., b'L']) => decimal(digits).map(whole),
            _ => decimal(line).map(whole),
        };
        match value {
            Some(Value::Bool(value)) => self.push(Item::Bool(value)),
            Some(Value::Float(number)) => self.push(Item::Float(number)),
            Some(Value::Int(number)) => self.push(Item::Int(number)),
            Some(Value::BigInt(big)) => {
                let charged = self.meter.charge(big.as_le_bytes().len());
                self.charged(charged)?;
                self.make(Kind::BigInt(big))
            }
            _ => Err(self.error("not a number, or too long")),
        }
    }

    fn old_str(&mut self, opcode: u8) -> Result<()> {
        let bytes = match opcode {
            op::SHORT_BINSTRING => self.input.counted::<1>()?,
            op::BINSTRING => self.input.counted::<4>()?,
            _ => return self.old_literal(),
        };
        match self.old_str {
            OldStr::Bytes => self.make(Kind::Bytes(bytes)),
            OldStr::Text if bytes.is_ascii() => self.text(bytes),
            OldStr::Text => Err(self.error(NOT_ASCII)),
        }
    }

    /// Reads a line with a Python 2 `str` literal, which may contain escapes.
    fn old_literal(&mut self) -> Result<()> {
        let line = self.input.line()?;
        let charged = self.meter.charge(line.len());
        self.charged(charged)?;
        let bytes = literal(line).ok_or_else(|| self.error("not a string literal"))?;
        self.meter.refund(line.len() - bytes.len().min(line.len()));
        match self.old_str {
            OldStr::Bytes => self.make(Kind::OwnBytes(bytes.into())),
            OldStr::Text => match String::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => self.make(Kind::OwnText(text.into())),
                _ => Err(self.error(NOT_ASCII)),
            },
        }
    }

    fn class(&mut self, module: &str, name: &str) -> Result<()> {
        match Class::find(module, name) {
            Some(class) => self.make(Kind::Class(class)),
            None if self.objects && module.len().max(name.len()) < LONGEST_NAME => {
                let charged = self.meter.charge(size_of::<Global>() + module.len() + name.len());
                self.charged(charged)?;
                self.make(Kind::Global(Box::new(Global::new(module, name))))
            }
            None => {
                // The part of the name that the message shows.
                let (module, name) = (module.chars().take(80), name.chars().take(80));
                let name: String = module.chain(['.']).chain(name).collect();
                Err(self.error(format_args!("refers to {name}; only plain data is read")))
            }
        }
    }

    fn stack_global(&mut self) -> Result<()> {
        let [module, name] = self.pop_some()?;
        let (Some(module), Some(name)) = (self.text_of(module), self.text_of(name)) else {
            return Err(self.error("needs the two texts that name a class"));
        };
        // No known name is longer.
        let (module, name): (String, String) = (module.chars().take(80).collect(), name.chars().take(80).collect());
        self.class(&module, &name)
    }

    fn text_of(&self, item: Item) -> Option<&str> {
        match &self.kind(item)?.kind {
            Kind::Text(text) => Some(text),
            Kind::OwnText(text) => Some(text),
            _ => None,
        }
    }

    fn bytes_of(&self, item: Item) -> Option<&[u8]> {
        match &self.kind(item)?.kind {
            Kind::Bytes(bytes) => Some(bytes),
            Kind::OwnBytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn float_of(&self, item: Item) -> Option<f64> {
        match item {
            Item::Float(number) => Some(number),
            Item::Node(_) => match self.kind(item)?.kind {
                Kind::Plain(Item::Float(number)) => Some(number),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_global(&self, item: Item) -> bool {
        self.kind(item).is_some_and(|node| matches!(node.kind, Kind::Global(_)))
    }

    /// Makes the record of a call of a class or function with its arguments.
    fn object(&mut self) -> Result<()> {
        let parts = self.pop_some::<2>()?;
        let [global, arguments] = parts;
        if !self.is_global(global) || self.items(Shape::Tuple, arguments).is_none() {
            return Err(self.error("needs a name and a tuple of arguments"));
        }
        self.some(Shape::Object, &parts)
    }

    /// Makes the result that a call of a known class would have, without the call.
    fn reduce(&mut self) -> Result<()> {
        if matches!(self.stack.top(), [.., class, _] if self.is_global(*class)) {
            return self.object();
        }
        let [class, arguments] = self.pop_some()?;
        let class = self.kind(class).map(|node| &node.kind);
        let (Some(Kind::Class(class)), Some(arguments)) = (class, self.items(Shape::Tuple, arguments)) else {
            return Err(self.error("calls a class or function; only plain data is read"));
        };
        let class = *class;
        let made = match *arguments {
            [] => match class {
                Class::Set => return self.push_empty(Shape::Set),
                Class::FrozenSet => return self.push_empty(Shape::FrozenSet),
                Class::OrderedDict => return self.push_empty(Shape::Dict),
                Class::Bytes => Some(Kind::Bytes(&[])),
                Class::ByteArray => Some(Kind::ByteArray(&[])),
                Class::Complex | Class::Encode => None,
            },
            [argument] => {
                let (shape, made) = match class {
                    Class::Set => (Shape::Set, Made::Set),
                    Class::FrozenSet => (Shape::FrozenSet, Made::FrozenSet),
                    Class::OrderedDict => (Shape::Dict, Made::Dict),
                    _ => (Shape::Tuple, Made::ByteArray),
                };
                match (made, argument, self.items(Shape::List, argument)) {
                    (Made::ByteArray, Item::Node(id), _) if class == Class::ByteArray && self.is_bytes(argument) => {
                        Some(Kind::Made(made, id, 0))
                    }
                    (Made::ByteArray, ..) => None,
                    (_, Item::Empty(..), Some(_)) => return self.push_empty(shape),
                    (_, Item::Node(id), Some(items)) => Some(Kind::Made(made, id, items.len())),
                    _ => None,
                }
            }
            [first, second] => match (class, first) {
                (Class::Complex, _) => {
                    self.float_of(first).zip(self.float_of(second)).map(|(re, im)| Kind::Complex(re, im))
                }
                (Class::Encode | Class::ByteArray, Item::Node(id))
                    if self.text_of(first).is_some() && self.is_latin1(second) =>
                {
                    let made = if class == Class::Encode { Made::Bytes } else { Made::ByteArray };
                    Some(Kind::Made(made, id, 0))
                }
                _ => None,
            },
            _ => None,
        };
        match made {
            Some(made) => self.make(made),
            None => Err(self.error(format_args!("{class} with these arguments is not plain data"))),
        }
    }

    fn is_bytes(&self, item: Item) -> bool {
        let made = self.kind(item).is_some_and(|node| matches!(node.kind, Kind::Made(Made::Bytes, ..)));
        made || self.bytes_of(item).is_some()
    }

    /// Whether the item names Latin-1, the only codec with which pickles write bytes. Both spellings count; Python 2
    /// writes the name as a `str`.
    fn is_latin1(&self, item: Item) -> bool {
        let name = self.text_of(item).map(str::as_bytes).or_else(|| self.bytes_of(item));
        name.is_some_and(|name| matches!(name, b"latin1" | b"latin-1"))
    }
}

/// Returns the part of a line that is used. No known name is longer, so a line that is cut here names nothing known. A
/// text with replacement characters takes more memory than the bytes that it stands for.
fn shown(line: &[u8]) -> Cow<'_, str> {
    const MOST: usize = 80 * 4;
    String::from_utf8_lossy(line.get(..MOST).unwrap_or(line))
}

const NOT_ASCII: &str = "a str of Python 2 that is not ASCII; OldStr::Bytes would take it as bytes";

/// The error text when the meter is full.
pub(super) fn too_large(meter: &Meter) -> String {
    let (limit, setter) = (meter.limit(), meter.setters().memory);
    format!("decoding it takes more than {limit} bytes of memory; {setter} allows more")
}

/// Parses a float as `repr` writes it. A number too large for a float is an error, though the text `inf` is not.
fn float(line: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(line).ok()?.parse().ok()?;
    (!number.is_infinite() || !line.iter().any(u8::is_ascii_digit)).then_some(number)
}
