//! Lists in named memory, with any bytes in their blocks. A list answers as a plain reader of CPython's layout does, or
//! with an error; an item that is set is the only one that changes.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::shared_memory::{Item, Layout, ShareableList, SharedMemory};

/// What is written into a list, or found there.
#[derive(Arbitrary, Debug)]
enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    Bytes(Vec<u8>),
    None,
}

impl From<Value> for Item {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Bool(truth) => truth.into(),
            Value::Str(text) => text.as_str().into(),
            Value::Bytes(bytes) => bytes.as_slice().into(),
            Value::None => Self::None,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Block {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A list, some bytes of which were changed.
    List { old: bool, items: Vec<Value>, changes: Vec<(u16, u8)> },
}

/// The bytes of a block.
fn bytes_of(block: Block) -> Option<Vec<u8>> {
    let (old, items, changes) = match block {
        Block::Bytes(bytes) => return (!bytes.is_empty()).then_some(bytes),
        Block::List { old, items, changes } => (old, items, changes),
    };
    let layout = if old { Layout::Python38 } else { Layout::Python39 };
    let list = ShareableList::builder().layout(layout).create(items).ok()?; // an item with a null at its end
    let mut bytes = list.memory().slice(..);
    for (at, byte) in changes {
        let at = usize::from(at) % bytes.len();
        bytes[at] = byte;
    }
    Some(bytes)
}

/// A plain reader of the layout, which knows nothing of errors: where a slot lies, its format and its code.
fn plain(bytes: &[u8], list: &ShareableList, index: usize) -> (Vec<u8>, Vec<u8>, u8) {
    let word = |at: usize| usize::try_from(i64::from_ne_bytes(bytes[8 * at..][..8].try_into().expect("8 bytes"))).expect("a length");
    let count = word(0);
    assert_eq!(count, list.len());
    let (data, begin, end, all) = match list.layout() {
        Layout::Python38 => {
            let sum = |items: usize| (0..items).map(|item| word(1 + item)).sum::<usize>();
            (8 * (1 + count), sum(index), sum(index + 1), sum(count))
        }
        _ => (8 * (2 + count), word(1 + index), word(2 + index), word(1 + count)),
    };
    let formats = data + all;
    let format = bytes[formats + 8 * index..][..8].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let format = bytes[formats + 8 * index..][..format].to_vec();
    (bytes[data + begin..data + end].to_vec(), format, bytes[formats + 8 * count + index])
}

/// What CPython's `struct.unpack` makes of a slot, if that is an item at all.
fn item(slot: &[u8], format: &[u8], code: u8) -> Option<Item> {
    let first = || slot[..8].try_into().expect("8 bytes");
    let text = || {
        let digits = std::str::from_utf8(format.strip_suffix(b"s")?).ok()?;
        let text = slot.get(..digits.parse::<usize>().ok()?)?;
        Some(text[..text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec())
    };
    match (code, format) {
        (3, _) if format.is_ascii() => Some(Item::None),
        (0, b"q") => Some(i64::from_ne_bytes(first()).into()),
        (0, b"d") => Some(f64::from_ne_bytes(first()).into()),
        (0, b"xxxxxxx?") => Some((slot[7] != 0).into()),
        (1, _) => Some(String::from_utf8(text()?).ok()?.as_str().into()),
        (2, _) => Some(text()?.as_slice().into()),
        _ => None,
    }
}

/// By their text: a NaN is not equal to itself.
fn same(one: &Item, other: &Item) -> bool {
    match (one, other) {
        (Item::Float(one), Item::Float(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

fuzz_target!(|input: (Block, Vec<(u8, Value)>)| {
    let (block, sets) = input;
    let Some(bytes) = bytes_of(block) else { return };
    let memory = SharedMemory::create(bytes.len()).expect("there is memory");
    memory.write(0, &bytes).expect("it is as long");
    let Ok(list) = ShareableList::open(memory.name()) else { return };
    let check = |place: usize| {
        let (slot, format, code) = plain(&memory.slice(..), &list, place);
        assert_eq!(list.raw(place).expect("it is there"), slot);
        match (list.get(place), item(&slot, &format, code)) {
            (Ok(ours), Some(plain)) => assert!(same(&ours, &plain), "{ours:?} is not {plain:?}"),
            (Err(_), None) => {}
            other => panic!("{other:?} of {slot:?}, {format:?}, {code}"),
        }
    };
    (0..list.len()).for_each(check);
    assert!(list.get(list.len()).is_err() && list.iter().len() == list.len());
    let _ = (list.format(), list.to_vec(), list.count(1), list.index("x"), format!("{list:?}"));
    for (place, value) in sets {
        let place = if list.is_empty() { 0 } else { usize::from(place) % list.len() };
        let before: Vec<_> = (0..list.len()).map(|other| plain(&memory.slice(..), &list, other)).collect();
        let item = Item::from(value);
        let set = list.set(place, item.clone());
        for (other, old) in before.iter().enumerate() {
            let now = plain(&memory.slice(..), &list, other);
            assert!(now == *old || (other == place && set.is_ok()), "{other} changed with {place}: {set:?}");
        }
        if set.is_ok() {
            assert!(same(&list.get(place).expect("it was set"), &item));
        }
    }
});
