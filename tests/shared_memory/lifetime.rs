//! Which process removes a name, and when.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::time::{Duration, Instant};

use ossature::multiprocessing::connection::pipe as connections;
use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory, unlink};
use ossature::multiprocessing::{Process, Value};
use ossature::sys::errno::Errno;
use ossature::sys::flock::{try_lock_exclusive, try_lock_shared};
use ossature::sys::process::{Child, ExitStatus, fork};

use crate::harness::{Test, killed_holding, pipe, rest};
use crate::{exists, file, fresh};

pub const TESTS: &[Test] = &[
    ("the_last_user_takes_the_name_along", the_last_user_takes_the_name_along),
    ("a_killed_users_name_is_removed_by_the_next", a_killed_users_name_is_removed_by_the_next),
    ("a_name_that_somebody_uses_outlives_its_maker", a_name_that_somebody_uses_outlives_its_maker),
    ("a_forked_child_keeps_the_name", a_forked_child_keeps_the_name),
    ("clones_of_a_block_are_one_user", clones_of_a_block_are_one_user),
    ("untracked_names_stay", untracked_names_stay),
    ("what_a_killed_maker_or_remover_left_is_removed", what_a_killed_maker_or_remover_left_is_removed),
    ("names_of_others_are_never_removed", names_of_others_are_never_removed),
    ("an_exclusive_lock_of_a_stranger_is_an_error", an_exclusive_lock_of_a_stranger_is_an_error),
    ("a_name_that_lost_its_object_is_found_out", a_name_that_lost_its_object_is_found_out),
    ("blocks_need_no_descriptor", blocks_need_no_descriptor),
    ("a_block_reaches_a_spawned_process", a_block_reaches_a_spawned_process),
    ("a_block_on_its_way_is_in_use", a_block_on_its_way_is_in_use),
];

/// Makes a block; that removes all unused ones.
pub fn next_one() {
    drop(SharedMemory::create(1).unwrap());
}

/// The private names without a lock that stay so for a while. A process that is about to lock its own name has it
/// unlocked only for a moment.
pub fn private_names() -> Vec<String> {
    let now = || {
        let entries = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let unlocked = |name: &String| File::open(file(name)).is_ok_and(|file| try_lock_exclusive(&file).unwrap());
        let private = |name: &String| {
            let digits = name.trim_start_matches("sem.").strip_prefix(".ossature-").unwrap_or_default();
            digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        names.filter(|name| private(name) && unlocked(name)).collect::<Vec<_>>()
    };
    let mut left = now();
    for _ in 0..20 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        let still = now();
        left.retain(|name| still.contains(name));
    }
    left
}

/// Starts a process that keeps the result of `hold` until it is killed.
pub fn holder<G>(hold: impl FnOnce() -> G) -> Child {
    let (mut told, tell) = pipe();
    let child = fork(|| {
        let _held = hold();
        (&tell).write_all(b"h").unwrap();
        rest()
    })
    .unwrap();
    drop(tell);
    told.read_exact(&mut [0]).unwrap();
    child
}

pub fn kill(mut child: Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn the_last_user_takes_the_name_along() {
    let name = fresh();
    let first = SharedMemory::builder().name(&name).create(8).unwrap();
    let second = SharedMemory::open(&name).unwrap();
    drop(first);
    assert!(exists(&name), "the second uses it");
    assert_eq!(second.slice(..), [0; 8]);
    second.close();
    assert!(!exists(&name));
    // Several that end at once: the last one removes it, whoever that is.
    for _ in 0..20 {
        let racers = (0..4).map(|_| {
            fork(|| {
                drop(SharedMemory::builder().name(&name).create(8).or_else(|_| SharedMemory::open(&name)));
                0
            })
        });
        let mut racers: Vec<Child> = racers.map(Result::unwrap).collect();
        racers.iter_mut().for_each(|child| assert_eq!(child.wait(), Ok(ExitStatus::Code(0))));
        assert!(!exists(&name), "nobody uses it");
    }
}

fn a_killed_users_name_is_removed_by_the_next() {
    let name = fresh();
    killed_holding(|| SharedMemory::builder().name(&name).create(8).unwrap());
    assert!(exists(&name), "nobody was left to remove it");
    next_one();
    assert!(!exists(&name));
    killed_holding(|| SharedMemory::builder().name(&name).create(8).unwrap());
    assert_eq!(SharedMemory::open(&name).unwrap_err().errno(), Some(Errno::NOENT), "removed by who opens, too");
    killed_holding(|| ShareableList::builder().name(&name).create(["list"]).unwrap());
    let again = SharedMemory::builder().name(&name).create(16).unwrap();
    assert_eq!(again.len(), 16, "the name is free at once");
}

fn a_name_that_somebody_uses_outlives_its_maker() {
    let name = fresh();
    let maker = holder(|| SharedMemory::builder().name(&name).create_with(8, |it| Ok(it.copy_in(0, b"maker")?)));
    let user = holder(|| SharedMemory::open(&name).unwrap());
    kill(maker);
    next_one();
    assert!(exists(&name), "the user lives");
    assert_eq!(SharedMemory::open(&name).unwrap().slice(..5), b"maker");
    assert!(exists(&name), "and goes on when another has come and gone");
    kill(user);
    next_one();
    assert!(!exists(&name));
}

fn a_forked_child_keeps_the_name() {
    let name = fresh();
    let memory = SharedMemory::builder().name(&name).create(8).unwrap();
    let child = holder(|| ());
    memory.set(0, 5_u64).unwrap();
    drop(memory);
    next_one();
    assert_eq!(SharedMemory::open(&name).unwrap().get::<u64>(0).unwrap(), 5, "the child has the mapping");
    kill(child);
    next_one();
    assert!(!exists(&name));
    // And a child that drops its copy removes nothing that its parent uses.
    let memory = SharedMemory::builder().name(&name).create(8).unwrap();
    let mut held = Some(memory);
    let mut child = fork(|| {
        drop(held.take());
        0
    })
    .unwrap();
    assert_eq!(child.wait(), Ok(ExitStatus::Code(0)));
    next_one();
    assert!(exists(&name));
}

fn clones_of_a_block_are_one_user() {
    let memory = SharedMemory::create(8).unwrap();
    let name = memory.name().to_owned();
    let (clone, last) = (memory.try_clone().unwrap(), memory.try_clone().unwrap());
    memory.close();
    drop(clone);
    next_one();
    assert!(exists(&name), "the last clone uses it");
    SharedMemory::open(&name).unwrap().set(0, 7_u64).unwrap();
    assert_eq!(last.get::<u64>(0).unwrap(), 7);
    // A clone needs no name.
    last.unlink().unwrap();
    let nameless = last.try_clone().unwrap();
    last.set(0, 8_u64).unwrap();
    drop(last);
    assert_eq!(nameless.get::<u64>(0).unwrap(), 8);

    let list = ShareableList::new(["one", "two"]).unwrap();
    let name = list.memory().name().to_owned();
    let clone = list.try_clone().unwrap();
    list.set(1, "six").unwrap();
    drop(list);
    assert_eq!(clone.get(1).unwrap().as_str(), Some("six"));
    assert!(exists(&name));
    drop(clone);
    assert!(!exists(&name));
}

fn untracked_names_stay() {
    let name = fresh();
    killed_holding(|| SharedMemory::builder().name(&name).track(false).create(8).unwrap());
    next_one();
    let memory = SharedMemory::open(&name).unwrap();
    assert!(!memory.is_tracked());
    drop(memory);
    next_one();
    assert!(exists(&name));
    unlink(&name).unwrap();
    assert!(!exists(&name));
}

fn what_a_killed_maker_or_remover_left_is_removed() {
    let digits = |n: u32| format!("{:08x}{n:08x}", std::process::id());
    let names = [format!(".ossature-{}", digits(1)), format!("sem..ossature-{}", digits(2))];
    let others = [format!(".ossature-{}x", digits(3)), ".ossature-".to_owned() + &fresh()];
    for name in names.iter().chain(&others) {
        std::fs::write(file(name), "half").unwrap();
    }
    let held = File::open(file(&names[0])).unwrap();
    assert!(try_lock_shared(&held).unwrap());
    next_one();
    assert_eq!(names.each_ref().map(|name| exists(name)), [true, false], "the first one's maker lives");
    drop(held);
    next_one();
    assert!(!exists(&names[0]));
    assert_eq!(others.each_ref().map(|name| exists(name)), [true; 2], "names of another form");
    others.iter().for_each(|name| std::fs::remove_file(file(name)).unwrap());
}

fn names_of_others_are_never_removed() {
    let [plain, link, folder, marked] = [(); 4].map(|()| fresh());
    std::fs::write(file(&plain), "CPython's").unwrap();
    std::os::unix::fs::symlink("/nowhere", file(&link)).unwrap();
    std::fs::create_dir(file(&folder)).unwrap();
    std::fs::set_permissions(file(&folder), PermissionsExt::from_mode(0o1700)).unwrap();
    OpenOptions::new().write(true).create_new(true).mode(0o1600).open(file(&marked)).unwrap();
    next_one();
    assert!(exists(&plain) && exists(&link) && exists(&folder));
    assert!(!exists(&marked), "which looks like one of ours that nobody uses");
    // A name that went to another object is left to that one.
    let memory = SharedMemory::builder().name(&marked).create(8).unwrap();
    std::fs::rename(file(&plain), file(&marked)).unwrap();
    drop(memory);
    assert_eq!(std::fs::read(file(&marked)).unwrap(), b"CPython's");
    std::fs::remove_file(file(&marked)).unwrap();
    std::fs::remove_file(file(&link)).unwrap();
    std::fs::remove_dir(file(&folder)).unwrap();
}

fn an_exclusive_lock_of_a_stranger_is_an_error() {
    let name = fresh();
    std::fs::write(file(&name), "marked").unwrap();
    let stranger = File::open(file(&name)).unwrap();
    stranger.set_permissions(PermissionsExt::from_mode(0o1600)).unwrap();
    assert!(try_lock_exclusive(&stranger).unwrap());
    let begin = Instant::now();
    let error = SharedMemory::open(&name).unwrap_err();
    assert!(begin.elapsed() >= Duration::from_secs(1), "it might have been a moment's matter");
    assert!(error.errno() == Some(Errno::BUSY) && error.to_string().contains("locked exclusively"), "{error}");
    assert!(exists(&name), "who holds a lock is a user");
    drop(stranger);
    assert_eq!(SharedMemory::open(&name).unwrap_err().errno(), Some(Errno::NOENT), "now it has none");
}

/// A remover is stopped between its steps: while the name is at its old place, and while it is at a private one.
fn a_name_that_lost_its_object_is_found_out() {
    let name = fresh();
    let memory = SharedMemory::builder().name(&name).create(8).unwrap();
    let private = format!(".ossature-{:016x}", std::process::id());
    std::fs::rename(file(&name), file(&private)).unwrap();
    assert_eq!(SharedMemory::open(&name).unwrap_err().errno(), Some(Errno::NOENT));
    assert_eq!(memory.unlink().unwrap_err().errno(), Some(Errno::NOENT));
    next_one();
    assert!(exists(&private), "it is in use");
    let id = file(&private).metadata().unwrap().ino();
    drop(memory);
    next_one();
    assert!(!exists(&private), "{id}");
}

fn blocks_need_no_descriptor() {
    let before = crate::harness::descriptors();
    let blocks: Vec<SharedMemory> = (0..100).map(|_| SharedMemory::create(1).unwrap()).collect();
    assert_eq!(crate::harness::descriptors(), before);
    next_one();
    assert!(blocks.iter().all(|block| exists(block.name())), "the mappings hold the locks");
    let names: Vec<String> = blocks.iter().map(|block| block.name().to_owned()).collect();
    drop(blocks);
    assert!(!names.iter().any(|name| exists(name)));
}

pub fn add_up(memory: SharedMemory, list: ShareableList, sum: Value<i64>) -> ossature::Result<()> {
    let mut numbers = [0_i64; 3];
    memory.read(0, &mut numbers)?;
    let listed: i64 = list.to_vec()?.iter().filter_map(|item| item.as_int()).sum();
    sum.set(numbers.iter().sum::<i64>() + listed)
}

fn a_block_reaches_a_spawned_process() {
    let memory = SharedMemory::create(24).unwrap();
    memory.write(0, &[1_i64, 2, 3]).unwrap();
    let list = ShareableList::new([10, 20]).unwrap();
    let names = [memory.name().to_owned(), list.memory().name().to_owned()];
    let sum = Value::new(0_i64).unwrap();
    // The parent gives its own away, so that nobody uses them before the child does.
    let process = Process::spawn(add_up, (memory, list, sum.try_clone().unwrap())).unwrap();
    process.join().unwrap();
    assert_eq!((process.exit_code(), sum.get().unwrap()), (Some(0), 36));
    next_one();
    assert!(!names.iter().any(|name| exists(name)), "the child was the last user");
}

fn a_block_on_its_way_is_in_use() {
    let (near, far) = connections().unwrap();
    let memory = SharedMemory::create(8).unwrap();
    let name = memory.name().to_owned();
    memory.set(0, 3_u64).unwrap();
    near.send(&memory).unwrap();
    drop(memory);
    next_one();
    assert!(exists(&name), "it is in the pipe");
    let there: SharedMemory = far.recv().unwrap();
    assert_eq!((there.name(), there.get::<u64>(0).unwrap()), (name.as_str(), 3));
    // Without its name it cannot be sent, and what took the name is not taken for it.
    near.send(&there).unwrap();
    there.unlink().unwrap();
    assert!(near.send(&there).unwrap_err().to_string().contains(&name));
    let other = SharedMemory::builder().name(&name).create(8).unwrap();
    let error = far.recv::<SharedMemory>().unwrap_err();
    assert!(error.to_string().contains("a different block"), "{error}");
    drop((there, other));
    assert!(!exists(&name));
}
