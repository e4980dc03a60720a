//! The stack machine that a pickle is a program for, with every opcode that could run something left out.

use std::borrow::Cow;
use std::collections::HashMap;

use super::bigint::{decimal, integer};
use super::graph::{Class, Id, Kind, Made, Node};
use super::input::Input;
use super::opcode as op;
use super::text::{literal, number, raw_unicode};
use super::value::Value;
use super::{HIGHEST_PROTOCOL, OldStr};
use crate::error::{Error, Result};

pub(super) struct Machine<'a> {
    pub(super) input: Input<'a>,
    pub(super) nodes: Vec<Node<'a>>,
    old_str: OldStr,
    stack: Vec<Id>,
    /// How high the stack stood at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], old_str: OldStr) -> Self {
        let (nodes, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { input: Input::new(bytes), nodes, old_str, stack, marks, memo: HashMap::new() }
    }

    /// Runs to STOP and answers what is left on the stack.
    pub(super) fn run(&mut self) -> Result<Id> {
        loop {
            let opcode = self.input.opcode()?;
            if opcode == op::STOP {
                break;
            }
            self.step(opcode)?;
        }
        let result = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(self.error("more than one value is left on the stack"));
        }
        if self.input.left() > 0 {
            return Err(self.error(format_args!("{} bytes follow", self.input.left())));
        }
        Ok(result)
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::PROTO => self.protocol(),
            op::FRAME => self.frame(),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP if self.marks.last() == Some(&self.stack.len()) => self.pop_mark().map(drop),
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_mark().map(drop),
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(opcode),
            op::GET | op::BINGET | op::LONG_BINGET => self.get(opcode),

            op::NONE => self.plain(Value::None),
            op::NEWTRUE => self.plain(Value::Bool(true)),
            op::NEWFALSE => self.plain(Value::Bool(false)),
            op::BININT1 => self.input.array().and_then(|[byte]| self.plain(Value::from(byte))),
            op::BININT2 => self.input.array().and_then(|word| self.plain(u16::from_le_bytes(word).into())),
            op::BININT => self.input.array().and_then(|word| self.plain(i32::from_le_bytes(word).into())),
            op::LONG1 => self.input.counted::<1>().and_then(|bytes| self.plain(integer(bytes))),
            op::LONG4 => self.input.counted::<4>().and_then(|bytes| self.plain(integer(bytes))),
            op::INT | op::LONG | op::FLOAT => self.number(opcode),
            op::BINFLOAT => self.input.array().and_then(|word| self.plain(f64::from_be_bytes(word).into())),

            op::STRING | op::SHORT_BINSTRING | op::BINSTRING => self.old_str(opcode),
            op::UNICODE => {
                let line = self.input.line()?;
                let text = raw_unicode(line).ok_or_else(|| self.error("not the escaped form of a text"))?;
                self.push(Kind::Text(text.into()))
            }
            op::SHORT_BINUNICODE => self.input.counted::<1>().and_then(|bytes| self.text(bytes)),
            op::BINUNICODE => self.input.counted::<4>().and_then(|bytes| self.text(bytes)),
            op::BINUNICODE8 => self.input.counted::<8>().and_then(|bytes| self.text(bytes)),
            op::SHORT_BINBYTES => self.input.counted::<1>().and_then(|bytes| self.push(Kind::Bytes(bytes.into()))),
            op::BINBYTES => self.input.counted::<4>().and_then(|bytes| self.push(Kind::Bytes(bytes.into()))),
            op::BINBYTES8 => self.input.counted::<8>().and_then(|bytes| self.push(Kind::Bytes(bytes.into()))),
            op::BYTEARRAY8 => self.input.counted::<8>().and_then(|bytes| self.push(Kind::ByteArray(bytes.into()))),

            op::EMPTY_LIST => self.push(Kind::List(Vec::new())),
            op::EMPTY_TUPLE => self.push(Kind::Tuple(Vec::new())),
            op::EMPTY_DICT => self.push(Kind::Dict(Vec::new())),
            op::EMPTY_SET => self.push(Kind::Set(Vec::new())),
            op::LIST => self.pop_mark().and_then(|items| self.push(Kind::List(items))),
            op::TUPLE => self.pop_mark().and_then(|items| self.push(Kind::Tuple(items))),
            op::FROZENSET => self.pop_mark().and_then(|items| self.push(Kind::FrozenSet(items))),
            op::DICT => {
                self.pop_mark().and_then(|items| self.even(items)).and_then(|items| self.push(Kind::Dict(items)))
            }
            op::TUPLE1 => self.pop_some(1).and_then(|items| self.push(Kind::Tuple(items))),
            op::TUPLE2 => self.pop_some(2).and_then(|items| self.push(Kind::Tuple(items))),
            op::TUPLE3 => self.pop_some(3).and_then(|items| self.push(Kind::Tuple(items))),
            op::APPEND => self.pop_some(1).and_then(|item| self.extend(opcode, item)),
            op::SETITEM => self.pop_some(2).and_then(|pair| self.extend(opcode, pair)),
            op::APPENDS | op::ADDITEMS => self.pop_mark().and_then(|items| self.extend(opcode, items)),
            op::SETITEMS => {
                self.pop_mark().and_then(|items| self.even(items)).and_then(|items| self.extend(opcode, items))
            }

            op::GLOBAL => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.class(&String::from_utf8_lossy(module), &String::from_utf8_lossy(name))
            }
            op::STACK_GLOBAL => self.stack_global(),
            op::REDUCE => self.reduce(),
            op::INST | op::OBJ | op::BUILD | op::NEWOBJ | op::NEWOBJ_EX => {
                Err(self.error("makes an object; only plain data is read"))
            }
            op::PERSID | op::BINPERSID => Err(self.error("names an object kept elsewhere; only plain data is read")),
            op::EXT1 | op::EXT2 | op::EXT4 => Err(self.error("names a registered class; only plain data is read")),
            op::NEXT_BUFFER | op::READONLY_BUFFER => Err(self.error("wants a buffer from outside; there is none")),
            _ => Err(self.error("no such opcode")),
        }
    }

    // ---- the stack ------------------------------------------------------------------------------------------------

    fn error(&self, what: impl std::fmt::Display) -> Error {
        self.input.error(what)
    }

    pub(super) fn kind(&self, id: Id) -> &Kind<'a> {
        &self.nodes[id].kind // ids are places in the list, which only grows
    }

    fn push(&mut self, kind: Kind<'a>) -> Result<()> {
        self.stack.push(self.nodes.len());
        self.nodes.push(Node { at: self.input.opcode_at(), kind });
        Ok(())
    }

    fn plain(&mut self, value: Value) -> Result<()> {
        self.push(Kind::Plain(value))
    }

    fn text(&mut self, bytes: &'a [u8]) -> Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Kind::Text(text.into())),
            Err(error) => Err(self.error(format_args!("not UTF-8 ({error})"))),
        }
    }

    /// The last `count` above the open mark, the lowest first.
    fn pop_some(&mut self, count: usize) -> Result<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(at) if at >= floor => Ok(self.stack.split_off(at)),
            _ => Err(self.error("the stack is empty")),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).unwrap_or_default();
        above.last().copied().ok_or_else(|| self.error("the stack is empty"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.error("no mark is open"))?;
        Ok(self.stack.split_off(mark))
    }

    fn even(&self, items: Vec<Id>) -> Result<Vec<Id>> {
        if items.len() % 2 == 0 { Ok(items) } else { Err(self.error("a key without a value")) }
    }

    /// Adds `items` to the container on top of the stack.
    fn extend(&mut self, opcode: u8, items: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        let into = match (opcode, &mut self.nodes[top].kind) {
            (op::APPEND | op::APPENDS, Kind::List(list)) => list,
            (op::SETITEM | op::SETITEMS, Kind::Dict(pairs)) => pairs,
            (op::ADDITEMS, Kind::Set(set)) => set,
            _ => return Err(self.error("what is on the stack is not of the type that it adds to")),
        };
        into.extend(items);
        Ok(())
    }

    // ---- the memo -------------------------------------------------------------------------------------------------

    fn index(&mut self, opcode: u8) -> Result<u32> {
        match opcode {
            op::PUT | op::GET => {
                let line = self.input.line()?;
                number(line, 10).ok_or_else(|| self.error("not a number"))
            }
            op::BINPUT | op::BINGET => self.input.array().map(|[byte]| byte.into()),
            op::MEMOIZE => u32::try_from(self.memo.len()).map_err(|_| self.error("the memo is full")),
            _ => self.input.array().map(u32::from_le_bytes),
        }
    }

    fn put(&mut self, opcode: u8) -> Result<()> {
        let (index, top) = (self.index(opcode)?, self.top()?);
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Result<()> {
        let index = self.index(opcode)?;
        let id = self.memo.get(&index).copied();
        self.stack.push(id.ok_or_else(|| self.error(format_args!("nothing was put under {index}")))?);
        Ok(())
    }

    // ---- opcodes with more to them --------------------------------------------------------------------------------

    fn protocol(&mut self) -> Result<()> {
        let [protocol] = self.input.array()?;
        if protocol > HIGHEST_PROTOCOL {
            return Err(self.error(format_args!("protocol {protocol} is not known, the highest is {HIGHEST_PROTOCOL}")));
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<()> {
        let length = self.input.length::<8>()?;
        if length > self.input.left() {
            return Err(self.error(format_args!("a frame of {length} bytes, {} are left", self.input.left())));
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Result<()> {
        let line = self.input.line()?;
        let value = match (opcode, line) {
            (op::INT, b"00") => Some(Value::Bool(false)),
            (op::INT, b"01") => Some(Value::Bool(true)),
            (op::FLOAT, _) => float(line).map(Value::Float),
            (op::LONG, [digits @ .., b'L']) => decimal(digits),
            _ => decimal(line),
        };
        self.plain(value.ok_or_else(|| self.error("not a number, or too long a one"))?)
    }

    fn old_str(&mut self, opcode: u8) -> Result<()> {
        let bytes: Cow<'a, [u8]> = match opcode {
            op::SHORT_BINSTRING => self.input.counted::<1>()?.into(),
            op::BINSTRING => self.input.counted::<4>()?.into(),
            _ => {
                let line = self.input.line()?;
                literal(line).ok_or_else(|| self.error("not a string literal"))?.into()
            }
        };
        match (self.old_str, bytes) {
            (OldStr::Bytes, bytes) => self.push(Kind::Bytes(bytes)),
            (OldStr::Text, Cow::Borrowed(bytes)) if bytes.is_ascii() => self.text(bytes),
            (OldStr::Text, Cow::Owned(bytes)) if bytes.is_ascii() => {
                let text = String::from_utf8(bytes).map_err(|_| self.error("not ASCII"))?;
                self.push(Kind::Text(text.into()))
            }
            _ => Err(self.error("a str of Python 2 that is not ASCII; OldStr::Bytes would take it as bytes")),
        }
    }

    fn class(&mut self, module: &str, name: &str) -> Result<()> {
        match Class::find(module, name) {
            Some(class) => self.push(Kind::Class(class)),
            None => Err(self.error(format_args!("names {module}.{name}; only plain data is read"))),
        }
    }

    fn stack_global(&mut self) -> Result<()> {
        let names = self.pop_some(2)?;
        let names: Vec<_> = names.into_iter().map(|id| self.kind(id)).collect();
        let [Kind::Text(module), Kind::Text(name)] = names.as_slice() else {
            return Err(self.error("a class is named by two texts"));
        };
        let (module, name) = (module.clone().into_owned(), name.clone().into_owned());
        self.class(&module, &name)
    }

    /// What a call of a known class would have made, without calling it.
    fn reduce(&mut self) -> Result<()> {
        let call = self.pop_some(2)?;
        let call: Vec<_> = call.into_iter().map(|id| self.kind(id)).collect();
        let [Kind::Class(class), Kind::Tuple(ids)] = call.as_slice() else {
            return Err(self.error("calls something; only plain data is read"));
        };
        let arguments: Vec<_> = ids.iter().take(3).map(|id| (*id, self.kind(*id))).collect();
        let made = match (class, arguments.as_slice()) {
            (Class::Set, []) => Kind::Set(Vec::new()),
            (Class::Set, [(list, Kind::List(items))]) => Kind::Made(Made::Set, *list, items.len()),
            (Class::FrozenSet, []) => Kind::FrozenSet(Vec::new()),
            (Class::FrozenSet, [(list, Kind::List(items))]) => Kind::Made(Made::FrozenSet, *list, items.len()),
            (Class::OrderedDict, []) => Kind::Dict(Vec::new()),
            (Class::OrderedDict, [(list, Kind::List(items))]) => Kind::Made(Made::Dict, *list, items.len()),
            (Class::Bytes, []) => Kind::Bytes((&[]).into()),
            (Class::Encode, [(text, Kind::Text(_)), (_, codec)]) if is_latin1(codec) => {
                Kind::Made(Made::Bytes, *text, 0)
            }
            (Class::ByteArray, []) => Kind::ByteArray((&[]).into()),
            (Class::ByteArray, [(bytes, Kind::Bytes(_) | Kind::Made(Made::Bytes, ..))]) => {
                Kind::Made(Made::ByteArray, *bytes, 0)
            }
            (Class::ByteArray, [(text, Kind::Text(_)), (_, codec)]) if is_latin1(codec) => {
                Kind::Made(Made::ByteArray, *text, 0)
            }
            (Class::Complex, [(_, Kind::Plain(Value::Float(re))), (_, Kind::Plain(Value::Float(im)))]) => {
                Kind::Plain(Value::Complex(*re, *im))
            }
            _ => return Err(self.error(format_args!("{class} of these arguments is not plain data"))),
        };
        self.push(made)
    }
}

/// The number of a line as `repr` writes it. One that is too large for a float is none, though infinity is one.
fn float(line: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(line).ok()?.parse().ok()?;
    (!number.is_infinite() || !line.iter().any(u8::is_ascii_digit)).then_some(number)
}

/// The one codec that pickles write bytes with, under both spellings; Python 2 writes the name as a str.
fn is_latin1(kind: &Kind<'_>) -> bool {
    match kind {
        Kind::Text(name) => matches!(&**name, "latin1" | "latin-1"),
        Kind::Bytes(name) => matches!(&**name, b"latin1" | b"latin-1"),
        _ => false,
    }
}
