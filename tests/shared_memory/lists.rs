//! The values of a list, and blocks that are not lists.

use std::os::unix::fs::{FileExt, MetadataExt};

use ossature::ErrorKind;
use ossature::multiprocessing::shared_memory::{Item, Layout, ShareableList, SharedMemory, unlink};

use crate::harness::Test;
use crate::{file, fresh};

pub const TESTS: &[Test] = &[
    ("a_list_keeps_every_type_of_item", a_list_keeps_every_type_of_item),
    ("a_list_has_the_worked_size_of_cpython", a_list_has_the_worked_size_of_cpython),
    ("slots_keep_their_size_and_change_their_type", slots_keep_their_size_and_change_their_type),
    ("items_are_found_as_python_compares_them", items_are_found_as_python_compares_them),
    ("nulls_at_the_end_are_refused", nulls_at_the_end_are_refused),
    ("a_block_that_is_no_list_is_an_error", a_block_that_is_no_list_is_an_error),
    ("slots_that_no_format_can_name_are_refused", slots_that_no_format_can_name_are_refused),
    ("lists_of_nothing_and_of_a_given_name_are_made", lists_of_nothing_and_of_a_given_name_are_made),
];

/// An item of each type.
pub fn of_all_types() -> Vec<Item> {
    vec![
        Item::from("hi"),
        b"by".into(),
        2.5.into(),
        (-7).into(),
        Item::None,
        true.into(),
        "".into(),
        "grüße, 世界".into(),
        i64::MIN.into(),
        f64::INFINITY.into(),
        b"\0x\xff".into(),
        false.into(),
    ]
}

fn a_list_keeps_every_type_of_item() {
    for layout in [Layout::Python39, Layout::Python38] {
        let list = ShareableList::builder().layout(layout).create(of_all_types()).unwrap();
        let same = ShareableList::open(list.memory().name()).unwrap();
        assert_eq!((same.layout(), same.len(), same.to_vec().unwrap()), (layout, 12, of_all_types()));
        assert_eq!(same.iter().len(), 12);
        assert_eq!((&same).into_iter().nth(3).unwrap().unwrap(), Item::Int(-7));
        for index in [-1_isize, -12, 0, 11] {
            let place = usize::try_from(index).unwrap_or((12 + index) as usize);
            assert_eq!(same.get(index).unwrap(), of_all_types()[place]);
        }
        for index in [12, -13] {
            assert_eq!(same.get(index).unwrap_err().kind(), ErrorKind::OutOfRange);
            assert_eq!(same.set(index, 1).unwrap_err().kind(), ErrorKind::OutOfRange);
        }
    }
}

fn a_list_has_the_worked_size_of_cpython() {
    let items: [Item; 6] = ["hi".into(), b"by".into(), 2.5.into(), 7.into(), Item::None, true.into()];
    let list = ShareableList::new(items.clone()).unwrap();
    assert_eq!(list.memory().len(), 166);
    assert_eq!(list.format().unwrap(), "8s8sdqxxxxxx?xxxxxxxx?");
    let name = list.memory().name();
    assert_eq!(format!("{list:?}"), format!("ShareableList([\"hi\", b\"by\", 2.5, 7, None, True], name={name:?})"));
    let old = ShareableList::builder().layout(Layout::Python38).create(items).unwrap();
    assert_eq!(old.memory().len(), 158);
}

fn slots_keep_their_size_and_change_their_type() {
    let list = ShareableList::new([Item::from("eight888"), 1.into()]).unwrap();
    assert_eq!(list.raw(0).unwrap().len(), 16, "one more than it needs");
    list.set(0, "sixteen letters!").unwrap();
    assert_eq!(list.get(0).unwrap().as_str(), Some("sixteen letters!"));
    let error = list.set(0, "seventeen letters").unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.to_string().contains("17 bytes do not fit into a slot of 16")
    );
    assert_eq!(list.get(0).unwrap().as_str(), Some("sixteen letters!"), "nothing is changed then");
    list.set(0, 5).unwrap();
    assert_eq!((list.get(0).unwrap(), list.format().unwrap()), (5.into(), "qq".to_owned()));
    list.set(0, b"bytes").unwrap();
    assert_eq!((list.get(0).unwrap(), list.format().unwrap()), (b"bytes".into(), "16sq".to_owned()));
    list.set(1, "8 bytes!").unwrap();
    assert_eq!(list.get(1).unwrap().as_str(), Some("8 bytes!"), "a number's slot has room for eight");
    assert!(list.set(1, "9 bytes!!").is_err());
    list.set(1, None::<i64>).unwrap();
    assert!(list.get(1).unwrap().is_none());
    let text = "é".repeat(15);
    let list = ShareableList::new([text.as_str()]).unwrap();
    assert_eq!(list.get(0).unwrap().as_str(), Some(text.as_str()), "measured in bytes");
    let error = ShareableList::new(["x".repeat(9_999_992)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLong, "{error}");
}

fn items_are_found_as_python_compares_them() {
    let items: [Item; 6] = [1.into(), 1.0.into(), true.into(), "1".into(), b"1".into(), Item::None];
    let list = ShareableList::new(items).unwrap();
    assert_eq!((list.count(1).unwrap(), list.count("1").unwrap(), list.count(None::<i64>).unwrap()), (3, 1, 1));
    assert_eq!((list.index(true).unwrap(), list.index(b"1").unwrap()), (0, 4));
    assert_eq!((list.count(0).unwrap(), list.count(f64::NAN).unwrap()), (0, 0));
    assert_eq!(list.index("2").unwrap_err().kind(), ErrorKind::InvalidInput);
    let large = (1_i64 << 53) + 1;
    assert!(!Item::from(large).equals(&Item::from(large as f64)), "without rounding");
    assert!(!Item::from(i64::MAX).equals(&Item::from(i64::MAX as f64)));
    assert!(Item::from(i64::MIN).equals(&Item::from(i64::MIN as f64)));
    assert!(!Item::from(1).equals(&Item::from(1.5)) && Item::from(1) != Item::from(1.0));
}

fn nulls_at_the_end_are_refused() {
    for item in [Item::from("text\0"), b"\0".into(), b"bytes\0\0".into()] {
        let error = ShareableList::new([item.clone()]).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("null"), "{error}");
        let list = ShareableList::new(["long enough"]).unwrap();
        assert_eq!(list.set(0, item).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Makes a block of these words.
fn block(words: &[i64], more: &[u8]) -> SharedMemory {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).chain(more.iter().copied()).collect();
    SharedMemory::builder().create_with(bytes.len(), |memory| Ok(memory.copy_in(0, &bytes)?)).unwrap()
}

fn a_block_that_is_no_list_is_an_error() {
    let format = i64::from_ne_bytes(*b"q\0\0\0\0\0\0\0");
    let good = block(&[1, 0, 8, 42, format], &[0]);
    assert_eq!(ShareableList::open(good.name()).unwrap().to_vec().unwrap(), [Item::Int(42)]);
    let max = i64::MAX;
    for words in [
        &[-1][..],
        &[1],
        &[max, 0, 8, 42, format, 0],
        &[1, 0, 7, 42, format, 0],
        &[1, 0, -8, 42, format, 0],
        &[1, 0, 16, 42, format, 0],
        &[1, 0, max, 42, format, 0],
        &[2, 0, 8, 8, 1, 2, format, format, 0],
        &[2, 8, max, 1, 2, format, format, 0],
        &[2, 8, max - 7, 1, 2, format, format, 0],
        &[1, 7, 42, format, 0],
    ] {
        let memory = block(words, &[]);
        let error = ShareableList::open(memory.name()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{words:?}: {error}");
    }
    for (format, code) in [
        (*b"q\0\0\0\0\0\0\0", 1), // a text that is a number
        (*b"q\0\0\0\0\0\0\0", 9),
        (*b"8s\0\0\0\0\0\0", 0),
        (*b"16s\0\0\0\0\0", 1), // longer than its slot
        (*b"9999999s", 2),
        (*b"-1s\0\0\0\0\0", 2),
        (*b"s\0\0\0\0\0\0\0", 2),
        (*b"z\0\0\0\0\0\0\0", 0),
        (*b"\xff\xfe\0\0\0\0\0\0", 0),
    ] {
        let memory = block(&[1, 0, 8, 42, i64::from_ne_bytes(format)], &[code]);
        let list = ShareableList::open(memory.name()).unwrap();
        let error = list.get(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{format:?} {code}: {error}");
        list.set(0, 7).unwrap(); // which makes it an item again
        assert_eq!(list.get(0).unwrap(), Item::Int(7));
    }
    let cut = block(&[1, 0, 8, i64::from_ne_bytes(*b"123456\xc3\0"), i64::from_ne_bytes(*b"8s\0\0\0\0\0\0")], &[1]);
    let list = ShareableList::open(cut.name()).unwrap();
    assert!(list.get(0).unwrap_err().to_string().contains("raw()"));
    assert_eq!(list.raw(0).unwrap(), b"123456\xc3\0");
}

/// Makes a list of one item in a file with holes, with a slot of this size. The file takes a few pages.
fn sparse(name: &str, slot: u64, format: &[u8; 8], code: u8) {
    let file = std::fs::File::create(file(name)).unwrap();
    let words = [1, 0, slot].map(u64::to_ne_bytes);
    file.write_all_at(words.as_flattened(), 0).unwrap();
    file.write_all_at(&[&format[..], &[code]].concat(), 24 + slot).unwrap();
}

fn slots_that_no_format_can_name_are_refused() {
    let name = fresh();
    let huge = if cfg!(target_pointer_width = "64") { 1 << 40 } else { 1 << 28 };
    for slot in [10_000_000, huge] {
        sparse(&name, slot, b"q\0\0\0\0\0\0\0", 0);
        let error = ShareableList::open(&name).unwrap_err();
        assert!(error.kind() == ErrorKind::Decode && error.to_string().contains("longer than a format"), "{error}");
        unlink(&name).unwrap();
    }
    for (format, code, item) in [(b"q\0\0\0\0\0\0\0", 0, Item::Int(0)), (b"9999999s", 1, "".into())] {
        sparse(&name, 9_999_999, format, code);
        let list = ShareableList::open(&name).unwrap();
        assert_eq!(list.get(0).unwrap(), item);
        if code == 0 {
            let blocks = file(&name).metadata().unwrap().blocks();
            assert!(blocks < 1000, "a number is read without the rest of its slot: {blocks} blocks");
        }
        unlink(&name).unwrap();
    }
}

fn lists_of_nothing_and_of_a_given_name_are_made() {
    let name = fresh();
    let list = ShareableList::builder().name(&name).create::<Item>([]).unwrap();
    assert!(list.is_empty() && list.memory().len() == 16 && list.to_vec().unwrap().is_empty());
    assert!(ShareableList::open(&name).unwrap().is_empty());
    assert!(ShareableList::builder().name(&name).create([1]).is_err(), "the name is taken");
    let old = ShareableList::builder().layout(Layout::Python38).create::<Item>([]).unwrap();
    assert_eq!((old.memory().len(), ShareableList::open(old.memory().name()).unwrap().len()), (8, 0));
}
