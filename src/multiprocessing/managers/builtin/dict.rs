//! Python's `dict`: keys in the order of their insertion.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::hash::Keyed;
use super::helpers::{Raised, args, iterate, made, no_method, type_error};
use crate::multiprocessing::connection::pickle::{Value, encode};
use crate::multiprocessing::managers::compact::{UnreadArgs, UnreadKey, Writer};
use crate::multiprocessing::managers::server::item::Item;
use crate::multiprocessing::managers::server::local::{Answer, Call, CallContext, Local, Made, Outcome, Step};
use crate::multiprocessing::managers::server::usage::cost;
use crate::multiprocessing::managers::token::repr;
use crate::multiprocessing::managers::{Arguments, Exception};

pub(super) const METHODS: &[&str] = &[
    "__contains__",
    "__delitem__",
    "__getitem__",
    "__ior__",
    "__iter__",
    "__len__",
    "__or__",
    "__reversed__",
    "__ror__",
    "__setitem__",
    "clear",
    "copy",
    "get",
    "has_key",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];

/// The tag of a key that is a text.
const TEXT: u8 = b't';

/// The tag of a key that is an integer.
const INT: u8 = b'i';

/// The maximum length of a short key, including its tag.
const SHORT: usize = 32;

/// Encodes a key: equal keys have the same bytes, whatever their types. Short kinds have a tag and their bytes; other
/// keys are pickles, which never begin with a tag.
pub(super) fn key_of(value: &Value) -> Raised<Vec<u8>> {
    let tagged = |tag: u8, bytes: &[u8]| {
        let mut key = Vec::with_capacity(1 + bytes.len());
        key.push(tag);
        key.extend_from_slice(bytes);
        Ok(key)
    };
    match value {
        Value::Text(text) => tagged(TEXT, text.as_bytes()),
        Value::Bytes(bytes) => tagged(b'b', bytes),
        other => match plain(other) {
            Value::Int(number) => tagged(INT, &number.to_le_bytes()),
            // A pickle of protocol 2 refuses an item of a set that Python cannot hash.
            plain => encode(&Value::Set(vec![plain])).map_err(|_| {
                let what = value.type_name();
                type_error(format!("unhashable type: '{what}'"))
            }),
        },
    }
}

/// Converts the value so that all equal numbers have one form.
fn plain(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => Value::Int((*flag).into()),
        // 2 to the 53rd: beyond it floats skip integers.
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
            Value::Int(*number as i64)
        }
        Value::Tuple(items) => Value::Tuple(items.iter().map(plain).collect()),
        Value::FrozenSet(items) => {
            let mut items: Vec<_> = items.iter().map(plain).collect();
            items.sort_by_key(|item| encode(item).unwrap_or_default());
            Value::FrozenSet(items)
        }
        other => other.clone(),
    }
}

#[derive(Default)]
pub(super) struct HashTable {
    places: HashMap<Vec<u8>, u64, Keyed>,
    entries: BTreeMap<u64, (Value, Item)>,
    next: u64,
    /// The number of entries, shared with iterators.
    pub(super) len: Arc<AtomicUsize>,
}

impl HashTable {
    /// Finds the place of a key. The search for a short text allocates nothing.
    fn place(&self, key: &Value) -> Raised<Option<u64>> {
        match key {
            Value::Text(text) if text.len() < SHORT => Ok(self.place_of_short(TEXT, text.as_bytes())),
            key => Ok(self.places.get(&key_of(key)?).copied()),
        }
    }

    /// Finds the place of a key of a tag and at most 31 bytes; `None` for more bytes.
    #[inline]
    fn place_of_short(&self, letter: u8, bytes: &[u8]) -> Option<u64> {
        let mut room = [letter; SHORT];
        room.get_mut(1..=bytes.len())?.copy_from_slice(bytes);
        self.places.get(room.get(..=bytes.len())?).copied()
    }

    /// Finds the item of a key that was not decoded; `None` for a long key too.
    #[inline]
    fn look(&self, key: &UnreadKey<'_>) -> Option<&Item> {
        let place = match key {
            UnreadKey::Text(bytes) => self.place_of_short(TEXT, bytes),
            UnreadKey::Int(number) => self.place_of_short(INT, &number.to_le_bytes()),
        };
        Some(&self.entries.get(&place?)?.1)
    }

    pub(super) fn get(&self, key: &Value) -> Raised<Option<&Item>> {
        let place = self.place(key)?;
        Ok(place.and_then(|place| self.entries.get(&place)).map(|(_, item)| item))
    }

    pub(super) fn insert(&mut self, key: Value, item: Item) -> Raised<()> {
        let name = key_of(&key)?;
        match self.places.get(&name).and_then(|place| self.entries.get_mut(place)) {
            Some((_, slot)) => *slot = item,
            None => {
                self.places.insert(name, self.next);
                self.entries.insert(self.next, (key, item));
                self.next += 1;
            }
        }
        self.len.store(self.entries.len(), Relaxed);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &Value) -> Raised<Option<(Value, Item)>> {
        let entry = self.places.remove(&key_of(key)?).and_then(|place| self.entries.remove(&place));
        self.len.store(self.entries.len(), Relaxed);
        Ok(entry)
    }

    pub(super) fn pop(&mut self) -> Option<(Value, Item)> {
        let (_, (key, item)) = self.entries.pop_last()?;
        if let Ok(name) = key_of(&key) {
            self.places.remove(&name);
        }
        self.len.store(self.entries.len(), Relaxed);
        Some((key, item))
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.entries.clear();
        self.len.store(0, Relaxed);
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn keys(&self) -> Vec<Value> {
        self.entries.values().map(|(key, _)| key.clone()).collect()
    }

    fn pairs(&self) -> Vec<(Value, Value)> {
        self.entries.values().map(|(key, item)| (key.clone(), item.value.clone())).collect()
    }
}

struct Dict(HashTable);

/// The pairs of a dict, or of a sequence of pairs.
fn pairs_of(value: Value) -> Raised<Vec<(Value, Value)>> {
    match value {
        Value::None => Ok(Vec::new()),
        Value::Dict(pairs) => Ok(pairs),
        other => iterate(other)?
            .into_iter()
            .map(|pair| match <[Value; 2]>::try_from(iterate(pair)?) {
                Ok([key, value]) => Ok((key, value)),
                Err(_) => Err(Exception::new("ValueError", "a dict must be made from pairs")),
            })
            .collect(),
    }
}

/// Collects the entries of one positional argument and of the named arguments.
fn entries(mut arguments: Arguments) -> Raised<Vec<(Value, Value)>> {
    let kwds = std::mem::take(&mut arguments.kwds);
    let [from] = args(arguments, ["iterable"])?;
    let mut pairs = pairs_of(from)?;
    pairs.extend(kwds.into_iter().map(|(name, value)| (name.into(), value)));
    Ok(pairs)
}

pub(super) fn make(arguments: Arguments, context: &mut CallContext) -> Raised<Made> {
    let mut dict = Dict(HashTable::default());
    dict.update(entries(arguments)?, context)?;
    Ok(made("dict", METHODS, dict))
}

fn key_error(key: Value) -> Exception {
    Exception::with_args("KeyError", vec![key])
}

impl Dict {
    fn update(&mut self, pairs: Vec<(Value, Value)>, context: &mut CallContext) -> Raised<()> {
        for (key, value) in pairs {
            let item = context.keep_under(value, 2 * cost(&key))?;
            self.0.insert(key, item)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Answer> {
        let Call { method, mut arguments, .. } = call;
        // Python distinguishes an absent default from `None`.
        let given = arguments.args.len() + arguments.kwds.len();
        Ok(Answer::Value(match method {
            "__len__" => args(arguments, []).map(|[]| self.0.count().into())?,
            "__getitem__" => {
                let [key] = args(arguments, ["key"])?;
                let value = self.0.get(&key)?.map(|item| item.value.clone());
                value.ok_or_else(|| key_error(key))?
            }
            "__setitem__" => {
                let [key, value] = args(arguments, ["key", "value"])?;
                self.update(vec![(key, value)], context)?;
                Value::None
            }
            "__delitem__" => {
                let [key] = args(arguments, ["key"])?;
                drop(self.0.remove(&key)?.ok_or_else(|| key_error(key))?);
                Value::None
            }
            "__contains__" | "has_key" => {
                let [key] = args(arguments, ["key"])?;
                self.0.get(&key)?.is_some().into()
            }
            "get" => {
                let [key, default] = args(arguments, ["key", "default"])?;
                self.0.get(&key)?.map_or(default, |item| item.value.clone())
            }
            "setdefault" => {
                let [key, default] = args(arguments, ["key", "default"])?;
                if let Some(item) = self.0.get(&key)? {
                    return Ok(Answer::Value(item.value.clone()));
                }
                self.update(vec![(key, default.clone())], context)?;
                default
            }
            "pop" => {
                let [key, default] = args(arguments, ["key", "default"])?;
                match self.0.remove(&key)? {
                    Some((_, item)) => item.value.clone(),
                    None if given > 1 => default,
                    None => return Err(key_error(key)),
                }
            }
            "popitem" => match self.0.pop() {
                Some((key, item)) => Value::Tuple(vec![key, item.value.clone()]),
                None => return Err(Exception::new("KeyError", "popitem(): dictionary is empty")),
            },
            "keys" => Value::List(self.0.keys()),
            "__reversed__" => Value::List(self.0.keys().into_iter().rev().collect()),
            "values" => Value::List(self.0.pairs().into_iter().map(|(_, value)| value).collect()),
            "items" => {
                Value::List(self.0.pairs().into_iter().map(|(key, value)| Value::Tuple(vec![key, value])).collect())
            }
            "__iter__" => {
                return Ok(Answer::Object(super::iterator::over(
                    self.0.keys(),
                    self.0.len.clone(),
                    "dictionary",
                    context,
                )?));
            }
            "copy" => Value::Dict(self.0.pairs()),
            "clear" => {
                self.0.clear();
                Value::None
            }
            "update" => {
                let pairs = entries(std::mem::take(&mut arguments))?;
                self.update(pairs, context)?;
                Value::None
            }
            "__ior__" => {
                let [other] = args(arguments, ["value"])?;
                self.update(pairs_of(other)?, context)?;
                Value::None
            }
            "__or__" | "__ror__" => {
                let [other] = args(arguments, ["value"])?;
                let (ours, theirs) = (self.0.pairs(), pairs_of(other)?);
                let (first, second) = if method == "__or__" { (ours, theirs) } else { (theirs, ours) };
                let mut both: Vec<(Value, Value)> = Vec::new();
                let mut places = HashMap::new();
                for (key, value) in first.into_iter().chain(second) {
                    let place = *places.entry(key_of(&key)?).or_insert(both.len());
                    match both.get_mut(place) {
                        Some((_, slot)) => *slot = value,
                        None => both.push((key, value)),
                    }
                }
                Value::Dict(both)
            }
            other => return Err(no_method("dict", other)),
        }))
    }
}

impl Local for Dict {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        Step::Done(self.carry_out(call, context))
    }

    fn look(&self, method: &[u8], args: UnreadArgs<'_>, out: &mut Writer<'_>) -> Option<()> {
        match method {
            b"get" | b"__getitem__" => out.value(&self.0.look(&args.only()?)?.value, 1).ok(),
            b"__contains__" => self.0.look(&args.only()?).and_then(|_| out.value(&true.into(), 1).ok()),
            b"__len__" if args.is_empty() => out.value(&self.0.count().into(), 1).ok(),
            _ => None,
        }
    }

    fn value(&self) -> Outcome {
        Ok(Answer::Value(Value::Dict(self.0.pairs())))
    }

    fn repr(&self) -> String {
        repr(&Value::Dict(self.0.pairs()))
    }
}
