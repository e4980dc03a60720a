//! Shared memory: values written through one mapping are read through another, and foreign memory is refused.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::os::unix::fs::MetadataExt;
use std::thread;

use ossature_sys::fd::{OwnedFd, duplicate};
use ossature_sys::mmap::{Memfd, Region, Seals};
use ossature_sys::scope::Shared;
use ossature_sys::shareable;
use ossature_sys::shm::{
    AttachError, Description, Fields, FileId, OutOfBounds, Plain, Racy, RacySlice, Shareable, Shm, Zeroed,
    is_shared_memory,
};
use ossature_sys::sync::lock::Lock;

shareable! {
    struct Board {
        turns: AtomicU32,
        score: Lock<[u32; 4], Shared>,
        seen: Racy<u64>,
    }
}

shareable! {
    #[derive(Debug, PartialEq)]
    plain struct Pixel { r: u8, g: u8, b: u8 }
}

fn descriptor<T: ?Sized + Shareable>(shm: &Shm<T>) -> OwnedFd {
    // SAFETY: the tests use the memory through `Shm`, or look at it while nobody else uses it.
    duplicate(unsafe { shm.descriptor() }).unwrap()
}

fn attach<T: Shareable>(memory: OwnedFd) -> Result<Shm<T>, AttachError> {
    // SAFETY: all who have the descriptor are in this test, and use it through `Shm`.
    unsafe { Shm::from_fd(memory) }
}

#[test]
fn attached_memory_is_the_same_memory() {
    needs!(shared_locks);
    let board = Shm::place(Board::init(AtomicU32::new(3), Lock::shared([1, 2, 3, 4]), Racy::new(9))).unwrap();
    let other: Shm<Board> = attach(descriptor(&board)).unwrap();
    other.turns.fetch_add(1, Relaxed);
    other.score.lock().unwrap()[2] = 30;
    other.seen.set(u64::MAX);
    assert_eq!(board.turns.load(Relaxed), 4);
    assert_eq!(*board.score.lock().unwrap(), [1, 2, 30, 4]);
    assert_eq!(board.seen.get(), u64::MAX);
}

#[test]
fn file_id_is_that_of_the_file() {
    let (one, other) = (Shm::place(1_u32).unwrap(), Shm::place(1_u32).unwrap());
    assert_eq!(one.file_id(), Ok(FileId::of(descriptor(&one)).unwrap()));
    assert_eq!(one.file_id(), one.try_clone().unwrap().file_id());
    assert_ne!(one.file_id(), other.file_id());
}

#[test]
fn slice_keeps_its_length() {
    let cells = Shm::place_slice(1000, |index| Racy::new(index as u16)).unwrap();
    // SAFETY: as in `attach`.
    let other = unsafe { Shm::<[Racy<u16>]>::slice_from_fd(descriptor(&cells)) }.unwrap();
    assert_eq!(other.len(), 1000);
    assert_eq!(other[999].get(), 999);
    assert_eq!(cells.try_clone().unwrap()[7].get(), 7);
    assert_eq!(Shm::place_slice(0, |_| 0_u8).unwrap().len(), 0);
    for too_many in
        [usize::MAX, usize::MAX >> 3, isize::MAX as usize >> if cfg!(target_pointer_width = "64") { 4 } else { 0 }]
    {
        // More than the machine has: refused before the kernel begins to look for pages.
        assert!(Shm::place_slice(too_many, |_| 0_u64).is_err());
    }
}

#[test]
fn other_type_is_refused() {
    needs!(shared_locks);
    let board = Shm::place(Board::init(AtomicU32::new(3), Lock::shared([1, 2, 3, 4]), Racy::new(9))).unwrap();
    assert_eq!(attach::<u64>(descriptor(&board)).unwrap_err(), AttachError::OtherType);
    assert_eq!(attach::<i32>(descriptor(&Shm::place(5_u32).unwrap())).unwrap_err(), AttachError::OtherType);
    let four = Shm::place([1_u32; 4]).unwrap();
    assert_eq!(attach::<[u32; 5]>(descriptor(&four)).unwrap_err(), AttachError::OtherType);
    // SAFETY: as in `attach`.
    let slice = unsafe { Shm::<[u32]>::slice_from_fd(descriptor(&four)) };
    assert_eq!(slice.unwrap_err(), AttachError::OtherType);
}

#[test]
fn fields_of_other_names_or_types_are_another_type() {
    mod a {
        ossature_sys::shareable! { pub struct S { pub x: u32, pub y: u32 } }
    }
    mod b {
        ossature_sys::shareable! { pub struct S { pub y: u32, pub x: u32 } }
    }
    mod c {
        ossature_sys::shareable! { pub struct S { pub x: u32, pub y: i32 } }
    }
    mod d {
        ossature_sys::shareable! { #[repr(align(64))] pub struct S { pub x: u32, pub y: u32 } }
    }
    mod e {
        ossature_sys::shareable! { pub struct S { pub x: u32, pub y: u32, pub z: u32 } }
    }
    // Layouts that are the same, and names that are those of a part or a primitive.
    ossature_sys::shareable! { struct Lock { data: u32 } }
    ossature_sys::shareable! { struct Racy { data: u32 } }
    let prints = [
        a::S::FINGERPRINT,
        b::S::FINGERPRINT,
        c::S::FINGERPRINT,
        d::S::FINGERPRINT,
        e::S::FINGERPRINT,
        Board::FINGERPRINT,
        Lock::FINGERPRINT,
        Racy::FINGERPRINT,
        <super::shm::Lock<u32, Shared>>::FINGERPRINT,
        <super::shm::Lock<u64, Shared>>::FINGERPRINT,
        <super::shm::Lock<[u32], Shared>>::FINGERPRINT,
        <super::shm::Lock<[u32; 1], Shared>>::FINGERPRINT,
        <super::shm::Lock<(), Shared>>::FINGERPRINT,
        <super::shm::Racy<u32>>::FINGERPRINT,
        <super::shm::Racy<[u32; 2]>>::FINGERPRINT,
        <[super::shm::Racy<u32>; 2]>::FINGERPRINT,
        <[u32]>::FINGERPRINT,
        <[u32; 1]>::FINGERPRINT,
        <[u32; 2]>::FINGERPRINT,
        <[[u32; 1]; 2]>::FINGERPRINT,
        <[[u32; 2]; 1]>::FINGERPRINT,
        <[u64; 2]>::FINGERPRINT,
        <()>::FINGERPRINT,
        u32::FINGERPRINT,
        i32::FINGERPRINT,
        f32::FINGERPRINT,
        u64::FINGERPRINT,
        usize::FINGERPRINT,
        AtomicU32::FINGERPRINT,
    ];
    for (i, one) in prints.iter().enumerate() {
        assert!(prints[..i].iter().all(|other| other != one), "{i}");
    }
}

#[test]
fn fingerprint_is_a_sha_256_of_items_with_tags_and_lengths() {
    let nothing = Description::of("nothing").fingerprint();
    assert_eq!(<()>::FINGERPRINT, nothing);
    assert_eq!(format!("{nothing:?}"), "Fingerprint(9054a9901eb13e736a8f6276ce84caf5de97de5783231c983100c15d534163c7)");
    let pair = Description::of("pair").text(&"x".repeat(100)).number(7).part(nothing).fingerprint();
    assert_eq!(format!("{pair:?}"), "Fingerprint(dc5c641d81c6c62fff3d66255634497b337c302050534901bc24f4a97a935521)");
    // What one item says, two cannot.
    let of = || Description::of("kind");
    let seven = "\u{7}\0\0\0\0\0\0\0";
    let prints = [
        of(),
        of().text(""),
        of().text("ab"),
        of().text("a").text("b"),
        of().text("").text("ab"),
        of().text(seven),
        of().number(7),
        of().number(7).number(7),
        of().part(nothing),
        Description::of("kin").text("d"),
    ]
    .map(Description::fingerprint);
    for (i, one) in prints.iter().enumerate() {
        assert!(prints[..i].iter().all(|other| other != one), "{i}");
    }
}

#[test]
fn types_of_one_name_and_layout_are_told_apart_within_one_image() {
    mod one {
        ossature_sys::shareable! { #[derive(Debug)] pub struct Twin { pub x: u64 } }
    }
    mod two {
        ossature_sys::shareable! { #[derive(Debug)] pub struct Twin { pub x: u64 } }
    }
    assert_eq!(one::Twin::FINGERPRINT, two::Twin::FINGERPRINT);
    let shm = Shm::place(one::Twin::init(5)).unwrap();
    assert_eq!(attach::<two::Twin>(descriptor(&shm)).unwrap_err(), AttachError::OtherType);
    assert_eq!(attach::<one::Twin>(descriptor(&shm)).unwrap().x, 5);
    // Another build numbers its types anew, so from its memory only the fingerprint counts.
    change(&descriptor(&shm), IMAGE_AT);
    assert_eq!(attach::<two::Twin>(descriptor(&shm)).unwrap().x, 5);
}

#[test]
#[should_panic(expected = "a shared struct has the layout of C and the fields that `shareable!` was shown")]
fn fields_that_do_not_fill_the_struct_are_refused() {
    // As `shareable!` does it, of all fields but the last.
    let fields = Fields::<Board>::of("Board")
        .with("turns", core::mem::offset_of!(Board, turns), |whole: &Board| &whole.turns)
        .with("score", core::mem::offset_of!(Board, score), |whole: &Board| &whole.score);
    println!("{:?}", fields.fingerprint());
}

/// The number of the program image in the header of this program's shared memory.
fn image_of_this_program() -> u64 {
    let shm = Shm::place(5_u32).unwrap();
    let mut image = [0; 8];
    Region::shared(descriptor(&shm), 128).unwrap().copy_out(IMAGE_AT, &mut image).unwrap();
    u64::from_ne_bytes(image)
}

#[test]
fn image_is_known_and_the_same_in_every_process_that_runs_it() {
    const TOLD: &str = "image: ";
    let image = image_of_this_program();
    println!("{TOLD}{image}");
    assert_ne!(image, 0);
    if std::env::var_os("OSSATURE_IMAGE_IS_ASKED").is_some() {
        return;
    }
    needs!(own_program);
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "shm::image_is_known_and_the_same_in_every_process_that_runs_it", "--nocapture"]);
    let output = again.env("OSSATURE_IMAGE_IS_ASKED", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("{TOLD}{image}\n")), "{text}");
}

#[test]
fn value_array_and_slice_of_one_are_three_types() {
    needs!(shared_locks);
    let (value, array) = (Shm::place(7_u32).unwrap(), Shm::place([7_u32]).unwrap());
    let (slice, locked) = (Shm::place_slice(1, |_| 7_u32).unwrap(), Shm::place_locked_slice(1, |_| 7_u32).unwrap());
    let all = || [descriptor(&value), descriptor(&array), descriptor(&slice), descriptor(&locked)];
    let kinds: [fn(OwnedFd) -> bool; 4] = [
        |fd| attach::<u32>(fd).is_ok(),
        |fd| attach::<[u32; 1]>(fd).is_ok(),
        // SAFETY: as in `attach`.
        |fd| unsafe { Shm::<[u32]>::slice_from_fd(fd) }.is_ok(),
        // SAFETY: as in `attach`.
        |fd| unsafe { Shm::<Lock<[u32], Shared>>::locked_slice_from_fd(fd) }.is_ok(),
    ];
    for (i, kind) in kinds.iter().enumerate() {
        assert_eq!(all().map(kind), core::array::from_fn(|other| other == i));
    }
}

#[test]
fn memory_that_could_shrink_is_refused() {
    let memory = Memfd::new(c"unsealed").unwrap();
    memory.set_len(4096).unwrap();
    assert_eq!(attach::<u32>(memory.into()).unwrap_err(), AttachError::NotSealed);
    let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    assert_eq!(attach::<u32>(null).unwrap_err(), AttachError::NotSealed);
}

#[test]
fn foreign_or_short_memory_is_refused() {
    for len in [0, 8, 4096] {
        let memory = Memfd::new(c"foreign").unwrap();
        memory.set_len(len).unwrap();
        memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL).unwrap();
        assert_eq!(attach::<u32>(memory.into()).unwrap_err(), AttachError::NotOurs);
    }
}

/// The offsets of the header's fields. Two programs must agree on this layout.
const ABI_AT: usize = 8;
const FINGERPRINT_AT: usize = 40;
const IMAGE_AT: usize = 80;
const PID_NAMESPACE_AT: usize = 88;

/// Changes a field of the header.
fn change(memory: &OwnedFd, at: usize) {
    let region = Region::shared(memory, 128).unwrap();
    let mut field = [0; 8];
    region.copy_out(at, &mut field).unwrap();
    field[3] ^= 0x40;
    region.copy_in(at, &field).unwrap();
}

#[test]
fn other_abi_type_and_pid_namespace_are_refused() {
    let fingerprint = (FINGERPRINT_AT..IMAGE_AT - 8).step_by(8).map(|at| (at, AttachError::OtherType));
    let others = [(ABI_AT, AttachError::OtherAbi), (PID_NAMESPACE_AT, AttachError::OtherPidNamespace)];
    for (at, expected) in fingerprint.chain(others) {
        let shm = Shm::place(5_u32).unwrap();
        let memory = descriptor(&shm);
        change(&memory, at);
        assert_eq!(attach::<u32>(memory).unwrap_err(), expected);
        assert!(!expected.to_string().is_empty());
    }
}

#[test]
fn sealed_memory_cannot_be_resized() {
    let shm = Shm::place(5_u32).unwrap();
    let memory = Memfd::from_fd(descriptor(&shm)).unwrap();
    assert!(memory.set_len(0).is_err());
    assert!(memory.set_len(1 << 20).is_err());
    assert!(memory.add_seals(Seals::WRITE).is_err());
}

/// The number of the memory file. Other tests may map their files at an address that was just given back.
fn file<T: ?Sized + Shareable>(shm: &Shm<T>) -> u64 {
    std::fs::File::from(descriptor(shm)).metadata().unwrap().ino()
}

fn mapped(file: u64, address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        let range = usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap();
        let inode = rest.split_whitespace().nth(4).unwrap();
        range.contains(&address) && inode == file.to_string()
    })
}

/// A thread that has taken the word and not yet linked it, through another mapping, has no entry in this one. The state
/// is made by hand, because it lasts for a few instructions.
#[test]
fn mapping_goes_while_a_thread_takes_the_lock_through_another() {
    needs!(own_nodes);
    let lock = Shm::place(Lock::<(), Shared>::shared(())).unwrap();
    let other = lock.try_clone().unwrap();
    let (file, address) = (file(&lock), core::ptr::from_ref(&*lock) as usize);
    let words = core::ptr::from_ref(&*other).cast::<AtomicU32>();
    // SAFETY: the lock is made of atomic numbers, of which these are halves or wholes.
    let words = unsafe { core::slice::from_raw_parts(words, size_of_val(&*other) / 4) };
    let me = || rustix::thread::gettid().as_raw_nonzero().get() as u32;
    let find = || {
        let _held = lock.lock().unwrap();
        let owner = words.iter().position(|word| word.load(SeqCst) == me()).unwrap();
        assert!(words.iter().skip(owner + 1).all(|word| word.load(SeqCst) != me()));
        owner
    };
    let owner = thread::scope(|scope| scope.spawn(find).join().unwrap());
    words[owner].store(me(), SeqCst);
    drop(lock);
    assert!(!mapped(file, address));
    words[owner].store(0, SeqCst);
    assert!(mapped(file, core::ptr::from_ref(&*other) as usize));
    drop(other.lock().unwrap());
}

/// A guard is leaked, and its memory unmapped. When libc then takes another robust mutex, it would write to the next
/// mapping at that address.
#[test]
fn mapping_with_a_leaked_guard_is_leaked_too() {
    needs!(shared_locks);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let (file, address) = (file(&lock), core::ptr::from_ref(&*lock) as usize);
    thread::spawn(move || {
        core::mem::forget(lock.lock().unwrap());
        drop(lock);
        assert!(mapped(file, address));
        // The list still goes through the leaked node, and works.
        let next = Shm::place(Lock::<u32, Shared>::shared(1)).unwrap();
        assert_eq!(*next.lock().unwrap(), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn mapping_without_guards_is_unmapped_even_while_another_mapping_has_one() {
    needs!(own_nodes);
    let lock = Shm::place(Lock::<u32, Shared>::shared(0)).unwrap();
    let clone = lock.try_clone().unwrap();
    let (file, address) = (file(&clone), core::ptr::from_ref(&*clone) as usize);
    assert!(mapped(file, address));
    let held = lock.lock().unwrap();
    drop(clone);
    assert!(!mapped(file, address));
    drop(held);
}

#[test]
fn racy_cells_of_every_width_keep_their_value() {
    fn check<T: Plain + PartialEq + core::fmt::Debug>(one: T, two: T) {
        let cell = Racy::new(one);
        assert_eq!(cell.get(), one);
        cell.set(two);
        assert_eq!(cell.get(), two);
    }
    check(1_u8, 255);
    check(1_i16, -2);
    check(1_u32, u32::MAX);
    check(1.5_f64, -0.25);
    check(1_u128, u128::MAX - 5);
    check([1_u8; 7], [2; 7]);
    check([1_u64; 5], [u64::MAX; 5]);
    check(Pixel { r: 1, g: 2, b: 3 }, Pixel { r: 250, g: 251, b: 252 });
}

#[test]
fn words_of_a_racy_cell_are_never_torn() {
    let cell = Shm::place(Racy::new(0_usize)).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..200_000 {
                cell.set(if turn % 2 == 0 { 0 } else { usize::MAX });
            }
        });
        while !writer.is_finished() {
            let seen = cell.get();
            assert!(seen == 0 || seen == usize::MAX, "{seen:x}");
        }
    });
}

#[test]
fn locked_slice_is_the_same_through_another_mapping() {
    needs!(shared_locks);
    let lock = Shm::place_locked_slice(1000, |index| index as u16).unwrap();
    // SAFETY: as in `attach`.
    let other = unsafe { Shm::<Lock<[u16], Shared>>::locked_slice_from_fd(descriptor(&lock)) }.unwrap();
    assert_eq!((other.len(), other.is_empty()), (1000, false));
    other.lock().unwrap()[999] += 1;
    let clone = lock.try_clone().unwrap();
    assert_eq!(lock.lock().unwrap()[999], 1000);
    assert!(clone.lock().unwrap().iter().take(999).copied().eq(0..999));
    assert!(format!("{clone:?}").contains("1000"));
}

#[test]
fn locked_slices_of_any_alignment_and_length_have_room() {
    needs!(shared_locks);
    fn check<T: Plain + PartialEq + core::fmt::Debug>(full: T) {
        for len in [0, 1, 2, 3, 63, 64, 65, 4097] {
            let lock = Shm::<Lock<[T], Shared>>::place_locked_slice(len, |_| Zeroed).unwrap();
            let mut items = lock.lock().unwrap();
            assert_eq!(items.len(), len);
            assert!(items.as_ptr().is_aligned());
            items.fill(full);
            drop(items);
            // What stands before the items is untouched: the lock works, and holds them.
            assert!(lock.try_clone().unwrap().lock().unwrap().iter().all(|item| *item == full));
        }
    }
    check(u8::MAX);
    check(u32::MAX);
    check(u64::MAX);
    check(u128::MAX);
    check([u8::MAX; 3]);
    check(Pixel { r: 255, g: 254, b: 253 });
}

#[test]
fn locked_slice_refuses_other_types_and_lengths_that_cannot_be() {
    needs!(shared_locks);
    let lock = Shm::place_locked_slice(4, |_| 7_u32).unwrap();
    // SAFETY: as in `attach`.
    let wider = unsafe { Shm::<Lock<[u64], Shared>>::locked_slice_from_fd(descriptor(&lock)) };
    assert_eq!(wider.unwrap_err(), AttachError::OtherType);
    // SAFETY: as in `attach`.
    let bare = unsafe { Shm::<[u32]>::slice_from_fd(descriptor(&lock)) };
    assert_eq!(bare.unwrap_err(), AttachError::OtherType);
    assert_eq!(attach::<Lock<u32, Shared>>(descriptor(&lock)).unwrap_err(), AttachError::OtherType);
    for too_many in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
        assert!(Shm::place_locked_slice(too_many, |_| 0_u64).is_err());
    }
}

#[test]
fn initialiser_that_fails_ends_the_slice() {
    needs!(shared_locks);
    /// An initialiser that fails for one item.
    struct Fails(bool);
    // SAFETY: on success the number is written.
    unsafe impl ossature_sys::shm::Init<u32> for Fails {
        unsafe fn init(self, place: *mut u32) -> ossature_sys::errno::Result<()> {
            if self.0 {
                return Err(ossature_sys::errno::Errno::NOMEM);
            }
            // SAFETY: the caller's obligation.
            unsafe { place.write(1) };
            Ok(())
        }
    }
    let mut made = 0;
    let slice = Shm::<Lock<[u32], Shared>>::place_locked_slice(10, |index| {
        made = index;
        Fails(index == 4)
    });
    assert_eq!((slice.err(), made), (Some(ossature_sys::errno::Errno::NOMEM), 4));
}

#[test]
fn leaked_guard_of_a_slice_keeps_its_mapping() {
    needs!(shared_locks);
    let lock = Shm::place_locked_slice(3, |_| 0_u8).unwrap();
    let (file, address) = (file(&lock), core::ptr::from_ref(&*lock).cast::<u8>() as usize);
    thread::spawn(move || {
        core::mem::forget(lock.lock().unwrap());
        drop(lock);
        assert!(mapped(file, address));
    })
    .join()
    .unwrap();
}

#[test]
fn racy_slices_are_copied_whole_within_their_bounds() {
    let cells = Shm::place_slice(100, |index| Racy::new(index as u64)).unwrap();
    let mut out = [0; 10];
    cells.copy_out(90, &mut out).unwrap();
    assert!(out.into_iter().eq(90..100));
    cells.copy_in(0, &out).unwrap();
    assert!(cells.iter().take(11).map(Racy::get).eq((90..100).chain([10])));
    cells[50..60].set_all(u64::MAX);
    assert!(cells.iter().enumerate().all(|(i, cell)| (cell.get() == u64::MAX) == (50..60).contains(&i)));

    let beyond = |index| Err(OutOfBounds { index, len: 100 });
    assert_eq!(cells.copy_out(91, &mut out), beyond(100));
    assert_eq!(cells.copy_in(usize::MAX, &out), beyond(usize::MAX));
    assert_eq!(cells.copy_out(101, &mut []), beyond(101));
    assert_eq!(cells.copy_out(100, &mut []), Ok(()));
    assert_eq!(OutOfBounds { index: 100, len: 99 }.to_string(), "index 100 is out of range: there are 99 items");
}

#[test]
fn racy_slices_may_be_written_by_all_at_once() {
    let cells = Shm::place_slice(3000, |_| Racy::new(0_u8)).unwrap();
    thread::scope(|scope| {
        let writers = [1_u8, 2].map(|byte| {
            let cells = &cells;
            scope.spawn(move || (0..300).for_each(|_| cells.copy_in(0, &[byte; 3000]).unwrap()))
        });
        let mut seen = vec![0; 3000];
        while writers.iter().any(|writer| !writer.is_finished()) {
            cells.copy_out(0, &mut seen).unwrap();
            assert!(seen.iter().all(|byte| *byte < 3));
        }
    });
    assert!(cells.iter().all(|cell| cell.get() != 0));
}

#[test]
fn descriptor_of_shared_memory_is_told_from_any_other() {
    assert!(is_shared_memory(&descriptor(&Shm::place(5_u32).unwrap())));
    let plain = Memfd::new(c"plain").unwrap();
    plain.set_len(4096).unwrap();
    assert!(!is_shared_memory(&duplicate(&plain).unwrap()));
    plain.add_seals(Seals::SHRINK | Seals::GROW | Seals::SEAL).unwrap();
    assert!(!is_shared_memory(&plain.into()), "sealed like it, and without its header");
    let (reader, _writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::empty()).unwrap();
    assert!(!is_shared_memory(&reader));
}
