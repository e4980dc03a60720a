//! Python's `Array(typecode, sequence)` of a manager: an `array.array`.

use super::helpers::{Raised, args, int, iterate, made, no_method, type_error};
use super::slice::Index;
use crate::multiprocessing::connection::pickle::{Global, Object, Value};
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::server::usage::Charge;
use crate::multiprocessing::managers::token::repr;
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &["__len__", "__getitem__", "__setitem__", "__getslice__", "__setslice__"];

struct Array {
    code: Code,
    items: Vec<Value>,
    _charge: Charge,
}

/// The type of the items.
#[derive(Clone, Copy)]
enum Code {
    Int(char, i128, i128),
    Float(char),
    Text,
}

impl Code {
    fn of(value: &Value) -> Raised<Self> {
        let code = value.as_str().and_then(|text| text.chars().next().filter(|c| text.len() == c.len_utf8()));
        let signed = |code, bits: u32| Self::Int(code, -(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1);
        let unsigned = |code, bits: u32| Self::Int(code, 0, (1_i128 << bits) - 1);
        Ok(match code {
            Some('b') => signed('b', 8),
            Some('B') => unsigned('B', 8),
            Some('h') => signed('h', 16),
            Some('H') => unsigned('H', 16),
            Some('i') => signed('i', 32),
            Some('I') => unsigned('I', 32),
            Some('l') => signed('l', isize::BITS),
            Some('L') => unsigned('L', usize::BITS),
            Some('q') => signed('q', 64),
            Some('Q') => unsigned('Q', 64),
            Some(code @ ('f' | 'd')) => Self::Float(code),
            Some('u' | 'c') => Self::Text,
            _ => {
                let known = "bad typecode (must be b, B, u, h, H, i, I, l, L, q, Q, f or d)";
                return Err(Exception::new("ValueError", known));
            }
        })
    }

    fn check(self, value: Value) -> Raised<Value> {
        match (self, &value) {
            (Self::Int(_, least, most), Value::Int(_) | Value::Bool(_)) => {
                let number = i128::from(int(&value)?);
                self.within(number, least, most)?;
                Ok(number.into())
            }
            (Self::Int(_, least, most), Value::BigInt(big)) => {
                let number = i128::try_from(big).map_err(|_| self.overflow())?;
                self.within(number, least, most)?;
                Ok(number.into())
            }
            (Self::Float(code), _) => {
                let number = value.as_float().or_else(|| int(&value).ok().map(|it| it as f64));
                let number = number.ok_or_else(|| type_error("must be real number"))?;
                Ok(if code == 'f' { f64::from(number as f32) } else { number }.into())
            }
            (Self::Text, Value::Text(text)) if text.chars().count() == 1 => Ok(value),
            _ => Err(type_error(format!("'{}' object does not fit the array", value.type_name()))),
        }
    }

    fn within(self, number: i128, least: i128, most: i128) -> Raised<()> {
        if (least..=most).contains(&number) { Ok(()) } else { Err(self.overflow()) }
    }

    fn overflow(self) -> Exception {
        Exception::new("OverflowError", "the number is out of range for the array")
    }

    fn text(self) -> String {
        match self {
            Self::Int(code, ..) | Self::Float(code) => code.into(),
            Self::Text => "u".into(),
        }
    }
}

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    let [code, items, _lock] = args(arguments, ["typecode", "sequence", "lock"])?;
    let code = Code::of(&code)?;
    let items = iterate(items)?.into_iter().map(|item| code.check(item)).collect::<Raised<Vec<_>>>()?;
    let _charge = context.charge_for(&items)?; // an item is replaced by one of the same size
    Ok(made("Array", METHODS, Array { code, items, _charge }))
}

impl Array {
    /// Returns the array as an object of Python's class; a client in Rust reads it as a list.
    fn sent(&self, items: Vec<Value>) -> Value {
        let args = vec![self.code.text().into(), Value::List(items)];
        Object::new(Global::new("array", "array"), args).into()
    }

    fn get(&self, index: &Index) -> Value {
        let at = |place: &usize| self.items.get(*place).cloned().unwrap_or_default();
        match index {
            Index::One(place) => at(place),
            Index::Many(places, ..) => self.sent(places.iter().map(at).collect()),
        }
    }

    fn set(&mut self, index: Index, value: Value) -> Raised<Value> {
        let code = self.code;
        match index {
            Index::One(place) => {
                let value = code.check(value)?;
                if let Some(slot) = self.items.get_mut(place) {
                    *slot = value;
                }
            }
            Index::Many(places, ..) => {
                let values: Vec<Value> = iterate(value)?.into_iter().map(|it| code.check(it)).collect::<Raised<_>>()?;
                if values.len() != places.len() {
                    return Err(Exception::new(
                        "ValueError",
                        "a slice and its replacement must have the same number of items",
                    ));
                }
                for (place, value) in places.into_iter().zip(values) {
                    if let Some(slot) = self.items.get_mut(place) {
                        *slot = value;
                    }
                }
            }
        }
        Ok(Value::None)
    }

    fn carry_out(&mut self, call: Call<'_>) -> Raised<Value> {
        let len = self.items.len();
        match call.method {
            "__len__" => args(call.arguments, []).map(|[]| len.into()),
            "__getitem__" => {
                let [index] = args(call.arguments, ["index"])?;
                Ok(self.get(&Index::of(&index, len, "array")?))
            }
            "__setitem__" => {
                let [index, value] = args(call.arguments, ["index", "value"])?;
                self.set(Index::of(&index, len, "array assignment")?, value)
            }
            "__getslice__" => {
                let [start, stop] = args(call.arguments, ["start", "stop"])?;
                Ok(self.get(&Index::slice(&start, &stop, &Value::None, len)?))
            }
            "__setslice__" => {
                let [start, stop, value] = args(call.arguments, ["start", "stop", "value"])?;
                self.set(Index::slice(&start, &stop, &Value::None, len)?, value)
            }
            other => Err(no_method("array", other)),
        }
    }
}

impl Local for Array {
    fn call(&mut self, call: Call<'_>, _: &mut CallContext) -> Step {
        self.carry_out(call).map(Answer::Value).into()
    }

    fn value(&self) -> Outcome {
        Ok(Answer::Value(self.sent(self.items.clone())))
    }

    fn repr(&self) -> String {
        format!("array('{}', {})", self.code.text(), repr(&Value::List(self.items.clone())))
    }
}
