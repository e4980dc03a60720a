//! A running CPython, on both sides of blocks and lists.

use ossature::multiprocessing::shared_memory::{Item, Layout, ShareableList, SharedMemory, unlink};
use ossature::sys::errno::Errno;

use crate::harness::Test;
use crate::lifetime::next_one;
use crate::peers::Python;
use crate::snake::{Snake, with_each};
use crate::{exists, fresh, lists};

pub const TESTS: &[Test] = &[
    ("pythons_are_found_and_answer", pythons_are_found_and_answer),
    ("python_opens_our_block_and_we_open_its", python_opens_our_block_and_we_open_its),
    ("python_unlinks_at_its_end_what_it_attached_to", python_unlinks_at_its_end_what_it_attached_to),
    ("a_block_that_only_python_uses_loses_its_name", a_block_that_only_python_uses_loses_its_name),
    ("a_block_of_python_is_never_removed_unasked", a_block_of_python_is_never_removed_unasked),
    ("lists_are_the_same_on_both_sides", lists_are_the_same_on_both_sides),
    ("what_python_cuts_and_loses_is_told", what_python_cuts_and_loses_is_told),
];

/// The search for the CPythons takes time that must not count for the next test.
fn pythons_are_found_and_answer() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        let (major, minor, micro) = python.version;
        assert_eq!(snake.value("sys.version_info[:3]"), format!("({major}, {minor}, {micro})"));
        assert!(snake.ask("=1/0").starts_with("ZeroDivisionError"));
        assert_eq!(snake.end(), "");
    });
}

fn python_opens_our_block_and_we_open_its() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        let ours = SharedMemory::create(64).unwrap();
        ours.write(8, &[0.5, -1.0]).unwrap();
        snake.attach(ours.name());
        assert_eq!(snake.value("shm.size, struct.unpack_from('2d', shm.buf, 8)"), "(64, (0.5, -1.0))");
        snake.run("shm.buf[:5] = b'hello'");
        assert_eq!(ours.slice(..5), b"hello");
        snake.run("shm.close()");

        snake.run("mine = SharedMemory(create=True, size=3000)");
        let name = snake.value("mine.name").trim_matches('\'').to_owned();
        assert!(name.starts_with("psm_") && name.len() <= 13, "{name}: as ours");
        let theirs = SharedMemory::open(&name).unwrap();
        assert_eq!((theirs.len(), theirs.is_tracked()), (3000, false));
        theirs.write(2992, b"the end!").unwrap();
        assert_eq!(snake.value("bytes(mine.buf[-8:])"), "b'the end!'");
        snake.run("mine.unlink()");
        theirs.write(0, b"still here").unwrap();
        assert_eq!(snake.value("bytes(mine.buf[:5])"), "b'still'");
        assert_eq!(snake.end(), "");
    });
}

/// Makes a Python attach to a block, in this way, and end. Returns whether the name is still there.
fn survives(python: &Python, attach: impl FnOnce(&mut Snake, &str)) -> bool {
    let ours = SharedMemory::create(8).unwrap();
    let mut snake = Snake::start(python);
    attach(&mut snake, ours.name());
    ours.set(0, 7_u64).unwrap();
    assert_eq!(snake.value("shm.buf[0] + shm.buf[7]"), "7");
    drop(snake.end());
    assert_eq!(ours.get::<u64>(0).unwrap(), 7, "the memory is there in any case");
    let there = exists(ours.name());
    assert_eq!(SharedMemory::open(ours.name()).is_ok(), there);
    there
}

fn python_unlinks_at_its_end_what_it_attached_to() {
    with_each(|python| {
        let attach = |name: &str| format!("shm = SharedMemory('{name}')");
        assert!(!survives(python, |snake, name| snake.run(&attach(name))), "the damage");
        // The remedies that the docs name.
        assert!(survives(python, |snake, name| {
            snake.run(&attach(name));
            snake.run("resource_tracker.unregister('/' + shm.name, 'shared_memory')");
        }));
        if python.version >= (3, 13, 0) {
            assert!(survives(python, |snake, name| snake.run(&format!("shm = SharedMemory('{name}', track=False)"))));
        }
    });
}

fn a_block_that_only_python_uses_loses_its_name() {
    with_each(|python| {
        let name = fresh();
        let mut snake = Snake::start(python);
        let ours = SharedMemory::builder().name(&name).create_with(8, |it| Ok(it.copy_in(0, b"contents")?)).unwrap();
        snake.attach(&name);
        drop(ours);
        assert!(!exists(&name), "nobody with a lock uses it");
        snake.run("shm.buf[0] = ord('C')");
        assert_eq!(snake.value("bytes(shm.buf)"), "b'Contents'", "whoever has it goes on");
        assert!(snake.ask(&format!("SharedMemory('{name}')")).starts_with("FileNotFoundError"));
        snake.run("shm.close()");

        // The remedy: one line makes the Python program a user like any other.
        let ours = SharedMemory::builder().name(&name).create(8).unwrap();
        snake.attach(&name);
        snake.run("fcntl.flock(shm._fd, fcntl.LOCK_SH)");
        drop(ours);
        next_one();
        assert!(exists(&name));
        drop(SharedMemory::open(&name).unwrap());
        assert!(exists(&name));
        snake.run("shm.close()");
        next_one();
        assert!(!exists(&name), "it has closed it");

        // The other remedy: a name that lasts until somebody removes it.
        drop(SharedMemory::builder().name(&name).track(false).create(8).unwrap());
        snake.attach(&name);
        next_one();
        assert!(exists(&name));
        snake.run("resource_tracker.register(shm._name, 'shared_memory')"); // which its `unlink` undoes
        snake.run("shm.unlink()");
        assert!(!exists(&name));
        drop(snake.end());
    });
}

fn a_block_of_python_is_never_removed_unasked() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run("shm = SharedMemory(create=True, size=8)");
        let name = snake.value("shm.name").trim_matches('\'').to_owned();
        drop(SharedMemory::open(&name).unwrap());
        next_one();
        assert!(exists(&name));
        snake.untrack("shm");
        snake.end();
        next_one();
        assert!(exists(&name), "nobody uses it, and it is not ours to remove");
        let opened = SharedMemory::open(&name).unwrap();
        opened.unlink().unwrap(); // asked
        assert!(!exists(&name));
        assert_eq!(unlink(&name).unwrap_err().errno(), Some(Errno::NOENT));
    });
}

/// Python's expressions for the items of `lists::of_all_types`.
const ALL_TYPES: &str =
    r"['hi', b'by', 2.5, -7, None, True, '', 'gr\xfc\xdfe, \u4e16\u754c', -2**63, float('inf'), b'\0x\xff', False]";

fn lists_are_the_same_on_both_sides() {
    with_each(|python| {
        let layout = if python.version < (3, 9, 0) { Layout::Python38 } else { Layout::Python39 };
        let mut snake = Snake::start(python);
        snake.run(&format!("all = {ALL_TYPES}"));

        // Ours, with items whose slots Python makes of the same size: it measures texts in characters.
        let ours = ShareableList::builder().layout(layout).create(lists::of_all_types()).unwrap();
        let name = ours.memory().name();
        snake.run(&format!("shm = L = ShareableList(name='{name}'); shm = L.shm"));
        snake.untrack("shm");
        assert_eq!(
            snake.value("list(L) == all, len(L), L.format"),
            format!("(True, 12, '{}')", ours.format().unwrap())
        );
        assert_eq!(snake.value("[type(x) for x in L] == [type(x) for x in all]"), "True");
        snake.run("mine = ShareableList(all[:6]); L2 = ShareableList(name=mine.shm.name)");
        let first = ShareableList::builder().layout(layout).create(lists::of_all_types().into_iter().take(6)).unwrap();
        let bytes = first.memory().slice(..);
        assert_eq!(snake.value("list(bytes(mine.shm.buf))"), format!("{bytes:?}"), "byte for byte");

        // Both write, both read.
        snake.run("L[0] = 'seven'; L[3] = 2**62; L[-1] = None; L[2] = 'text'; L[1] = 0.25");
        let changed =
            [(0, "seven".into()), (3, (1_i64 << 62).into()), (11, Item::None), (2, "text".into()), (1, 0.25.into())];
        for (index, item) in changed {
            assert_eq!(ours.get(index).unwrap(), item);
        }
        ours.set(0, b"BYTES").unwrap();
        ours.set(1, true).unwrap();
        ours.set(2, 7).unwrap();
        ours.set(7, "short").unwrap();
        assert_eq!(snake.value("L[0], L[1], L[2], L[7]"), "(b'BYTES', True, 7, 'short')");
        assert_eq!(snake.value("L.format"), format!("'{}'", ours.format().unwrap()));
        snake.run("L[0] = 5; L[0] = 'again'");
        assert_eq!((ours.get(0).unwrap().as_str(), ours.raw(0).unwrap().len()), (Some("again"), 8));
        assert_eq!(
            snake.value("L.count(7), L.index(7)"),
            format!("({}, {})", ours.count(7).unwrap(), ours.index(7).unwrap())
        );
        snake.run("shm.close()");

        // Python's own.
        let theirs = ShareableList::open(snake.value("mine.shm.name").trim_matches('\'')).unwrap();
        assert_eq!((theirs.layout(), theirs.to_vec().unwrap()), (layout, lists::of_all_types()[..6].to_vec()));
        theirs.set(0, "ours").unwrap();
        assert_eq!(snake.value("mine[0]"), "'ours'");
        snake.run("mine.shm.close(); L2.shm.close(); mine.shm.unlink()");
        drop(snake.end());
    });
}

fn what_python_cuts_and_loses_is_told() {
    with_each(|python| {
        let mut snake = Snake::start(python);
        snake.run(r"L = ShareableList(['\xe9' * 15, b'end\0\0', 'x\xe9xxxxxx'])");
        let list = ShareableList::open(snake.value("L.shm.name").trim_matches('\'')).unwrap();
        // 30 bytes in a slot of 16: eight characters are left, to Python as to us.
        assert_eq!(list.get(0).unwrap(), Item::from("é".repeat(8)));
        assert_eq!(snake.value("len(L[0])"), "8");
        assert_eq!((list.get(1).unwrap(), list.raw(1).unwrap()), (b"end".into(), b"end\0\0\0\0\0".to_vec()));
        assert_eq!(list.get(2).unwrap(), Item::from("xéxxxxxx"), "nine bytes of sixteen");
        snake.run("L.shm.close(); L.shm.unlink()");
        // Cut in the middle of a character.
        snake.run(r"L = ShareableList(['x\xe9\xe9\xe9\xe9'])");
        let list = ShareableList::open(snake.value("L.shm.name").trim_matches('\'')).unwrap();
        let error = list.get(0).unwrap_err();
        assert!(error.to_string().contains("may have cut it"), "{error}");
        assert!(snake.value("L[0]").starts_with("UnicodeDecodeError"));
        assert_eq!(list.raw(0).unwrap(), b"x\xc3\xa9\xc3\xa9\xc3\xa9\xc3");
        snake.run("L.shm.close(); L.shm.unlink()");
        drop(snake.end());
    });
}
