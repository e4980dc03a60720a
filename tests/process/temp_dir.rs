//! The temporary directory of a process: where it is, and which process removes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ossature::multiprocessing::Process;
use ossature::multiprocessing::connection::{Address, Family, Listener};
use ossature::multiprocessing::util::temp_dir;
use ossature::sys::errno::Errno;
use ossature::sys::process::{ExitStatus, effective_user};

use crate::harness::Test;
use crate::worlds::{Scratch, put, succeeds, wait_for};

pub const TESTS: &[Test] = &[
    ("a_temporary_directory_goes_with_its_maker", a_temporary_directory_goes_with_its_maker),
    ("a_long_path_gives_way_to_a_short_one", a_long_path_gives_way_to_a_short_one),
    ("an_unusable_place_gives_way_to_another", an_unusable_place_gives_way_to_another),
    ("few_descriptors_are_an_error_and_leave_no_directory", few_descriptors_are_an_error_and_leave_no_directory),
    ("what_a_killed_process_left_is_removed_by_the_next", what_a_killed_process_left_is_removed_by_the_next),
    ("what_a_process_had_begun_to_make_is_removed", what_a_process_had_begun_to_make_is_removed),
    ("makers_killed_at_any_moment_leave_nothing", makers_killed_at_any_moment_leave_nothing),
    ("what_another_uses_or_made_stays", what_another_uses_or_made_stays),
    ("a_directory_with_what_cannot_be_removed_keeps_its_mark", a_directory_with_what_cannot_be_removed_keeps_its_mark),
];

fn a_temporary_directory_goes_with_its_maker() {
    let scratch = Scratch::new();
    succeeds(Process::fork(|| {
        let path = temp_dir().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("pymp-") && name.len() == 13, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(temp_dir().unwrap(), path);
        fs::write(path.join("left"), "").unwrap();
        succeeds(Process::fork(|| assert_eq!(temp_dir().unwrap(), path)));
        assert!(path.join("left").exists(), "its child left it alone");
        put(&scratch.path("path"), path.to_str().unwrap());
    }));
    assert!(!Path::new(&scratch.read("path")).exists());
}

fn a_long_path_gives_way_to_a_short_one() {
    let scratch = Scratch::new();
    for (length, stays) in [(75, true), (76, false)] {
        let long = scratch.path(&"l".repeat(length - scratch.path("").as_os_str().len()));
        fs::create_dir(&long).unwrap();
        assert_eq!(long.as_os_str().len(), length);
        succeeds(Process::fork(|| {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", &long) };
            let path = temp_dir().unwrap();
            assert_eq!(path.starts_with(&long), stays, "{path:?}");
            assert!(path.join("listener-12345678").as_os_str().len() < 108);
        }));
    }
}

/// Runs `body` in a process of its own, whose temporary directory is below `base`. Returns the text of `body`.
fn below(base: &Path, body: impl FnOnce() -> String) -> String {
    let scratch = Scratch::new();
    succeeds(Process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", base) };
        put(&scratch.path("said"), &body());
    }));
    scratch.read("said")
}

fn own_directory() -> String {
    temp_dir().unwrap().to_str().unwrap().to_owned()
}

fn an_unusable_place_gives_way_to_another() {
    let scratch = Scratch::new();
    put(&scratch.path("file"), "");
    for base in ["nowhere", "file"] {
        let made = below(&scratch.path(base), || {
            let path = own_directory();
            let address = Address::arbitrary(Family::Unix).unwrap();
            drop(Listener::bind(address).unwrap());
            path
        });
        assert!(!made.starts_with(&scratch.text("")) && made.contains("/pymp-"), "{made}");
        assert!(!Path::new(&made).exists(), "removed at the end");
    }
}

fn few_descriptors_are_an_error_and_leave_no_directory() {
    for left in 0..5 {
        let scratch = Scratch::new();
        let child = ossature::sys::process::fork(|| {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", scratch.path("")) };
            let limit = ossature::sys::process::Rlimit { current: Some(64), maximum: Some(64) };
            ossature::sys::process::set_rlimit(ossature::sys::process::Resource::Nofile, limit).unwrap();
            let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
            files.truncate(files.len() - left);
            let made = temp_dir();
            drop(files);
            let count = fs::read_dir(scratch.path("")).unwrap().count();
            match made {
                Ok(_) => u8::from(count != 1),
                Err(error) => {
                    let text = error.to_string();
                    let named = ["temporary directory", "this process have 64 descriptors"];
                    let told = error.errno() == Some(Errno::MFILE) && named.iter().all(|named| text.contains(named));
                    u8::from(!told || count != 0)
                }
            }
        });
        assert_eq!(child.unwrap().wait(), Ok(ExitStatus::Code(0)), "{left} left");
    }
}

/// Starts a process below `base` with a directory of its own, and kills it if `kill`. Otherwise it lives until the
/// handle is killed.
fn with_directory(base: &Path, scratch: &Scratch) -> (ossature::sys::process::Child, String) {
    let said = scratch.path(&format!("said-{}", fs::read_dir(scratch.path("")).unwrap().count()));
    let child = ossature::sys::process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", base) };
        let path = own_directory();
        fs::create_dir(Path::new(&path).join("folder")).unwrap();
        put(&Path::new(&path).join("folder").join("file"), "left");
        put(&said, &path);
        std::thread::sleep(Duration::from_secs(1000));
        0
    });
    wait_for(&said);
    (child.unwrap(), fs::read_to_string(said).unwrap())
}

fn what_a_killed_process_left_is_removed_by_the_next() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    let (mut killed, left) = with_directory(&base, &scratch);
    let (mut living, used) = with_directory(&base, &scratch);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(Path::new(&left).join("folder/file").exists());
    let made = below(&base, own_directory);
    assert!(!Path::new(&left).exists(), "its owner is gone");
    assert!(Path::new(&used).join("folder/file").exists(), "its owner lives");
    assert!(made != left && made != used && !Path::new(&made).exists());
    living.kill().unwrap();
    living.wait().unwrap();
    below(&base, own_directory);
    assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
}

fn private_directory(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn what_a_process_had_begun_to_make_is_removed() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    for name in ["abcdefgh", "bcdefghi", "cdefghij", "defghijk", "ABCDEFGH", "abcdefghi"] {
        private_directory(&base.join(format!(".ossature-{name}")));
    }
    put(&base.join(".ossature-bcdefghi/.ossature"), ""); // killed when it had marked the directory
    put(&base.join(".ossature-cdefghij/file"), "of another program");
    fs::set_permissions(base.join(".ossature-defghijk"), fs::Permissions::from_mode(0o755)).unwrap();
    below(&base, own_directory);
    let mut left: Vec<_> =
        fs::read_dir(&base).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [".ossature-ABCDEFGH", ".ossature-abcdefghi", ".ossature-cdefghij", ".ossature-defghijk"]);
}

/// The moments are spread over the creation of a directory, which takes about a tenth of a millisecond.
fn makers_killed_at_any_moment_leave_nothing() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    let mut left = 0;
    for turn in 0..400_u32 {
        let (reader, writer) = ossature::sys::pipe::pipe(ossature::sys::pipe::Flags::empty()).unwrap();
        let mut maker = ossature::sys::process::fork(|| {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", &base) };
            ossature::sys::fd::write(&writer, b"b").unwrap();
            loop {
                let _ = own_directory();
                std::thread::park();
            }
        })
        .unwrap();
        drop(writer);
        ossature::sys::fd::read(&reader, &mut [0]).unwrap();
        let moment = std::time::Instant::now();
        while moment.elapsed() < Duration::from_micros(u64::from(turn)) {}
        maker.kill().unwrap();
        maker.wait().unwrap();
        left += fs::read_dir(&base).unwrap().count();
    }
    // Each start removes at most sixteen.
    for _ in 0..400_u32.div_ceil(16) {
        below(&base, own_directory);
    }
    assert!(left > 0, "some were killed with a directory");
    assert_eq!(fs::read_dir(&base).unwrap().count(), 0);
}

fn what_another_uses_or_made_stays() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    // CPython's has the same name, and nobody's mark.
    let pythons = base.join("pymp-abcdefgh");
    fs::create_dir(&pythons).unwrap();
    fs::set_permissions(&pythons, fs::Permissions::from_mode(0o700)).unwrap();
    // Something marked elsewhere, to which a link leads.
    let elsewhere = scratch.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
    put(&elsewhere.join(".ossature"), "");
    std::os::unix::fs::symlink(&elsewhere, base.join("pymp-bcdefghi")).unwrap();
    // One that a child of the killed process uses on.
    let (ready, go) = (scratch.path("ready"), scratch.path("go"));
    let mut maker = ossature::sys::process::fork(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("TMPDIR", &base) };
        let path = own_directory();
        let child = Process::fork(|| {
            wait_for(&go);
            assert_eq!(own_directory(), path);
        });
        put(&ready, &path);
        child.unwrap().join().map_or(1, |_| 0)
    })
    .unwrap();
    wait_for(&ready);
    maker.kill().unwrap();
    maker.wait().unwrap();
    below(&base, own_directory);
    let used = scratch.read("ready");
    assert!(pythons.exists() && elsewhere.join(".ossature").exists() && Path::new(&used).exists());
    put(&go, "");
    while Path::new(&used).exists() {
        below(&base, own_directory);
    }
}

/// This user cannot remove another user's file, or a file in a directory without write permission.
fn a_directory_with_what_cannot_be_removed_keeps_its_mark() {
    let scratch = Scratch::new();
    let base = scratch.path("base");
    fs::create_dir(&base).unwrap();
    for path in [scratch.path(""), base.clone()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Root can remove everything.
    let as_nobody = |body: fn(&Path)| {
        let base = base.clone();
        let body = move || {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TMPDIR", &base) };
            body(temp_dir().unwrap().as_ref());
        };
        let builder = Process::builder();
        let builder = if effective_user() == 0 { builder.uid(65534).gid(65534) } else { builder };
        succeeds(builder.fork(body));
    };
    as_nobody(|own| {
        fs::create_dir(own.join("shut")).unwrap();
        put(&own.join("shut/file"), "");
        put(&own.join("file"), "");
        fs::set_permissions(own.join("shut"), fs::Permissions::from_mode(0o500)).unwrap();
    });
    let left = || fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [kept] = left().try_into().unwrap();
    assert!(kept.join(".ossature").exists() && kept.join("shut/file").exists() && !kept.join("file").exists());
    as_nobody(|_| ());
    let [kept] = left().try_into().unwrap();
    assert!(kept.join(".ossature").exists(), "the next program could not remove it either");
    fs::set_permissions(kept.join("shut"), fs::Permissions::from_mode(0o700)).unwrap();
    as_nobody(|_| ());
    assert!(left().is_empty(), "the next program has removed it");
}
