//! Names, C numbers, and events as values.

use std::cmp::Ordering;

use ossature_sys::kqueue::{Filter, Flags, Kevent, Notes};

#[test]
fn filters_have_their_c_numbers() {
    let numbers = [
        (Filter::READ, -1),
        (Filter::WRITE, -2),
        (Filter::AIO, -3),
        (Filter::VNODE, -4),
        (Filter::PROC, -5),
        (Filter::SIGNAL, -6),
        (Filter::TIMER, -7),
        (Filter::NETDEV, -8),
        (Filter::FS, -9),
        (Filter::USER, -11),
        (Filter::EMPTY, -13),
    ];
    for (filter, number) in numbers {
        assert_eq!(filter.number(), number, "{filter:?}");
        assert_eq!(Filter::from_number(number), filter);
        assert!(!format!("{filter:?}").starts_with("Filter("));
    }
}

#[test]
fn flags_have_their_c_numbers() {
    let numbers = [
        (Flags::ADD, 0x1),
        (Flags::DELETE, 0x2),
        (Flags::ENABLE, 0x4),
        (Flags::DISABLE, 0x8),
        (Flags::ONESHOT, 0x10),
        (Flags::CLEAR, 0x20),
        (Flags::RECEIPT, 0x40),
        (Flags::DISPATCH, 0x80),
        (Flags::DISPATCH2, 0x180),
        (Flags::SYSFLAGS, 0xf000),
        (Flags::FLAG1, 0x2000),
        (Flags::EOF, 0x8000),
        (Flags::ERROR, 0x4000),
    ];
    for (flags, number) in numbers {
        assert_eq!(flags.bits(), number, "{flags:?}");
    }
}

#[test]
fn notes_have_their_c_numbers() {
    let numbers = [
        (Notes::LOWAT, 0x1),
        (Notes::DELETE, 0x1),
        (Notes::WRITE, 0x2),
        (Notes::EXTEND, 0x4),
        (Notes::ATTRIB, 0x8),
        (Notes::LINK, 0x10),
        (Notes::RENAME, 0x20),
        (Notes::REVOKE, 0x40),
        (Notes::OPEN, 0x80),
        (Notes::CLOSE, 0x100),
        (Notes::CLOSE_WRITE, 0x200),
        (Notes::READ, 0x400),
        (Notes::EXIT, 0x8000_0000),
        (Notes::FORK, 0x4000_0000),
        (Notes::EXEC, 0x2000_0000),
        (Notes::PCTRLMASK, 0xf000_0000),
        (Notes::PDATAMASK, 0x000f_ffff),
        (Notes::TRACK, 0x1),
        (Notes::TRACKERR, 0x2),
        (Notes::CHILD, 0x4),
        (Notes::LINKUP, 0x1),
        (Notes::LINKDOWN, 0x2),
        (Notes::LINKINV, 0x4),
        (Notes::TRIGGER, 0x0100_0000),
        (Notes::FFAND, 0x4000_0000),
        (Notes::FFOR, 0x8000_0000),
        (Notes::FFCOPY, 0xc000_0000),
        (Notes::FFCTRLMASK, 0xc000_0000),
        (Notes::FFLAGSMASK, 0x00ff_ffff),
        (Notes::SECONDS, 0x1),
        (Notes::MSECONDS, 0x2),
        (Notes::USECONDS, 0x4),
        (Notes::NSECONDS, 0x8),
        (Notes::ABSTIME, 0x10),
    ];
    for (notes, number) in numbers {
        assert_eq!(notes.bits(), number, "{number:#x}");
    }
}

#[test]
fn a_record_has_pythons_defaults() {
    let event = Kevent::new(7, Filter::READ);
    assert_eq!((event.ident(), event.filter(), event.flags()), (7, Filter::READ, Flags::ADD));
    assert_eq!((event.notes(), event.data(), event.udata()), (Notes::empty(), 0, 0));
    let wide = Kevent::new(usize::MAX, Filter::USER).with_data(i64::MIN).with_udata(usize::MAX);
    assert_eq!((wide.ident(), wide.data(), wide.udata()), (usize::MAX, i64::MIN, usize::MAX));
}

/// Python's test_create_event: each field in turn decides the order, from the ident on.
#[test]
fn records_compare_and_order_by_every_field() {
    let base = Kevent::new(1, Filter::WRITE);
    let larger = [
        Kevent::new(2, Filter::from_number(i16::MIN)),
        Kevent::new(1, Filter::READ),
        base.with_flags(Flags::DELETE),
        base.with_notes(Notes::DELETE),
        base.with_data(1),
        base.with_udata(1),
    ];
    assert_eq!(base, Kevent::new(1, Filter::WRITE));
    for event in larger {
        assert_ne!(base, event);
        assert_eq!(base.cmp(&event), Ordering::Less, "{event:?}");
        assert_eq!([base < event, event > base, base <= event, event >= base], [true; 4]);
    }
    let mut sorted = larger.to_vec();
    sorted.sort();
    sorted.reverse();
    assert_eq!(sorted, larger, "the earlier a field stands, the more it weighs");
    assert!(base.with_data(-1) < base, "data is signed");
}
