//! The history and its files, as in CPython's `readline` over GNU readline 8.2, and beside other processes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use ossature::ErrorKind;
use ossature::readline::{History, HistoryForm};
use ossature::sys::errno::Errno;

/// A directory that is removed with its files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-history-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, text: &[u8]) -> PathBuf {
        let path = self.0.join("history");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(history: &History) -> Vec<String> {
    history.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn of(lines: &[&str]) -> History {
    let mut history = History::new();
    history.extend(lines);
    history
}

/// History files, and CPython's list after it read each.
const FILES: &[(&[u8], &[&str])] = &[
    (b"a\nb\n", &["a", "b"]),
    (b"a\nb", &["a"]),
    (b"", &[]),
    (b"\n", &[]),
    (b"\n\n\na\n\n\nb\n\n", &["a", "b"]),
    (b"# x\n#12\na\n", &["# x", "#12", "a"]),
    (b"#12\na\n", &["a"]),
    (b"#1700000000\na\n#1700000001\nb\nc\n", &["a", "b", "c"]),
    (b"a\n#1700000000\nb\n", &["a", "#1700000000", "b"]),
    (b"a\r\nb\r\n", &["a", "b"]),
    (b"  a\n\tb \n", &["  a", "\tb "]),
    (b"#1700000000\n#1700000001\nb\n", &["b"]),
    (b"#1\nline one\nline two\n#2\nz\n", &["line one", "line two", "z"]),
    (b"\r\na\r\n\r\n", &["a"]),
    (b"#1700000000\n", &[]),
    (b"#17 x\na\n", &["a"]),
];

#[test]
fn a_file_adds_its_lines_to_the_list() {
    let folder = Folder::new("load");
    for (text, wanted) in FILES {
        let mut history = of(&["before"]);
        let count = history.load(folder.file(text)).unwrap();
        assert_eq!(
            (count, &lines(&history)[1..]),
            (wanted.len(), &wanted.map(String::from)[..]),
            "{}",
            text.escape_ascii()
        );
    }
    let missing = History::new().load(folder.0.join("none")).unwrap_err();
    assert_eq!(missing.errno(), Some(Errno::NOENT), "{missing}");
    assert!(missing.to_string().contains("none"), "{missing}");
    assert_eq!(History::new().load(&folder.0).unwrap_err().errno(), Some(Errno::INVAL), "a folder");
}

trait Strings {
    fn map(&self, f: fn(&'static str) -> String) -> Vec<String>;
}

impl Strings for &[&'static str] {
    fn map(&self, f: fn(&'static str) -> String) -> Vec<String> {
        self.iter().map(|&it| f(it)).collect()
    }
}

#[test]
fn cpython_reads_the_same_lines() {
    let folder = Folder::new("cpython");
    let script = "import readline, sys\n\
                  if 'GNU' not in (readline.__doc__ or '') or getattr(readline, '_READLINE_LIBRARY_VERSION', '') != '8.2':\n\
                  \x20   sys.exit(3)\n\
                  for path in sys.argv[1:]:\n\
                  \x20   readline.clear_history()\n\
                  \x20   readline.read_history_file(path)\n\
                  \x20   count = readline.get_current_history_length()\n\
                  \x20   print([readline.get_history_item(n + 1) for n in range(count)])\n";
    let paths: Vec<_> = (0..FILES.len()).map(|n| folder.0.join(n.to_string())).collect();
    for (path, (text, _)) in paths.iter().zip(FILES) {
        fs::write(path, text).unwrap();
    }
    let asked = Command::new("python3").args(["-c", script]).args(&paths).env("INPUTRC", "/dev/null").output();
    let said = match asked {
        Ok(said) if said.status.success() => String::from_utf8(said.stdout).unwrap(),
        _ => return println!("SKIPPED: no python3 with GNU readline 8.2"),
    };
    let ours = |(_, wanted): &(&[u8], &[&str])| {
        let quoted: Vec<_> = wanted.iter().map(|line| format!("'{}'", line.replace('\t', "\\t"))).collect();
        format!("[{}]", quoted.join(", "))
    };
    assert_eq!(said.lines().collect::<Vec<_>>(), FILES.iter().map(ours).collect::<Vec<_>>());
}

#[test]
fn bytes_of_every_kind_are_kept() {
    let folder = Folder::new("bytes");
    let mut history = History::new();
    let line: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    history.push(&line);
    history.push(b"\xff\0\xfe");
    let path = folder.0.join("h");
    history.save(&path).unwrap();
    let mut again = History::new();
    again.load(&path).unwrap();
    assert_eq!(again.iter().collect::<Vec<_>>(), [&line[..], b"\xff\0\xfe"]);
}

#[test]
fn a_saved_file_has_each_line_and_is_the_owners_alone() {
    let folder = Folder::new("save");
    let path = folder.file(b"what was there\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    of(&["a", "", "a\nb", "c", "#12"]).save(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n\na\nb\nc\n#12\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let fresh = folder.0.join("fresh");
    of(&["a"]).save(&fresh).unwrap();
    assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o7777, 0o600);
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    of(&["by the link"]).save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "by the link\n");
    let names: HashSet<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing is left behind: {names:?}");
    assert_eq!(of(&[]).save("/nonexistent/file").unwrap_err().errno(), Some(Errno::NOENT));
    of(&["a"]).save("/dev/null").unwrap();
}

#[test]
fn appending_needs_a_file_and_adds_the_last_lines() {
    let folder = Folder::new("append");
    let history = of(&["a", "b\nc", "d"]);
    for (count, wanted) in [(2, "old\nb\nc\nd\n"), (0, "old\n"), (100, "old\na\nb\nc\nd\n")] {
        let path = folder.file(b"old\n");
        history.append(count, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
    }
    assert_eq!(history.append(1, folder.0.join("none")).unwrap_err().errno(), Some(Errno::NOENT));
    let torn = folder.file(b"old\ntorn");
    history.append(1, &torn).unwrap();
    assert_eq!(fs::read_to_string(&torn).unwrap(), "old\ntorn\nd\n", "a torn line swallows nothing");
}

#[test]
fn a_limit_of_the_file_counts_its_lines() {
    let folder = Folder::new("lines");
    let mut history = of(&["a", "b\nc", "d"]);
    for (most, wanted) in [
        (Some(3), "b\nc\nd\n"),
        (Some(2), "c\nd\n"),
        (Some(1), "d\n"),
        (Some(0), ""),
        (Some(9), "a\nb\nc\nd\n"),
        (None, "a\nb\nc\nd\n"),
    ] {
        history.set_max_file_lines(most);
        assert_eq!(history.max_file_lines(), most);
        let path = folder.file(b"old\n");
        history.save(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted, "{most:?}");
        assert_eq!(history.len(), 3, "the list stays");
    }
    for (most, wanted) in [(3, "old2\nc\nd\n"), (2, "c\nd\n"), (1, "d\n"), (0, "")] {
        let path = folder.file(b"old\nold2\n");
        history.set_max_file_lines(Some(most));
        history.append(2, &path).unwrap();
        let wanted = wanted.replace("old2\nc\n", "b\nc\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted, "{most:?}");
    }
    let path = folder.file(b"1\n2\n3\n4");
    History::truncate_file(&path, 2).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "3\n4");
}

#[test]
fn items_are_found_from_one_and_changed_from_zero() {
    let mut history = of(&["a", "b", "c"]);
    for (index, wanted) in [(-1, None), (0, None), (1, Some("a")), (3, Some("c")), (4, None), (isize::MAX, None)] {
        assert_eq!(history.get_1based(index), wanted.map(str::as_bytes), "{index}");
    }
    assert_eq!(history.replace(0, "A").unwrap(), b"a");
    assert_eq!(history.remove(1).unwrap(), b"b");
    assert_eq!(lines(&history), ["A", "c"]);
    for error in [history.remove(2).unwrap_err(), history.replace(2, "x").unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
    }
    history.push("");
    history.push("c");
    history.push("c");
    assert_eq!(lines(&history), ["A", "c", "", "c", "c"], "stored as given");
    assert_eq!(history.len(), 5);
    history.clear();
    assert!(history.is_empty());
    assert_eq!(history.get(0), None);
}

#[test]
fn a_limit_of_the_list_keeps_the_newest() {
    let folder = Folder::new("limit");
    let mut history = of(&["a", "b", "c"]);
    history.set_max_entries(Some(2));
    assert_eq!((lines(&history), history.dropped()), (vec!["b".into(), "c".into()], 1));
    history.push("d");
    assert_eq!(lines(&history), ["c", "d"]);
    assert_eq!(history.get_1based(1), Some(&b"c"[..]));
    let twice: String = (0..20).map(|n| format!("item {n}\n")).collect();
    history.set_max_entries(Some(10));
    assert_eq!(history.load(folder.file(twice.as_bytes())).unwrap(), 20);
    assert_eq!((history.len(), history.get(0), history.get(9)), (10, Some(&b"item 10"[..]), Some(&b"item 19"[..])));
    history.push("last");
    history.save(folder.0.join("out")).unwrap();
    let saved = fs::read_to_string(folder.0.join("out")).unwrap();
    assert_eq!((saved.lines().count(), saved.lines().last()), (10, Some("last")));
    history.set_max_entries(None);
    history.push("more");
    assert_eq!(history.len(), 11);
    history.set_max_entries(Some(0));
    history.push("none");
    assert!(history.is_empty());
}

#[test]
fn times_are_kept_and_lines_of_several_lines_with_them() {
    let folder = Folder::new("times");
    let path = folder.0.join("h");
    let mut history = History::new();
    history.set_timestamps(true);
    history.push("one\ntwo");
    history.push("three");
    let age = SystemTime::now().duration_since(history.time(0).unwrap()).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
    history.save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("#1")).count(), 2, "{text}");
    let mut again = History::new();
    again.set_timestamps(true);
    again.load(&path).unwrap();
    assert_eq!((lines(&again), again.time(1)), (lines(&history), history.time(1)));
    again.set_max_file_lines(Some(1));
    again.append(0, &path).unwrap();
    assert!(fs::read_to_string(&path).unwrap().ends_with("\nthree\n"));
    again.clear();
    again.load(&path).unwrap();
    assert_eq!(lines(&again), ["three"], "a limit counts lines of the history");
    again.load(folder.file(b"#99999999999999999999\nfar\n")).unwrap();
    let _ = again.time(1); // the end of all times, if the system knows such a time
}

#[test]
fn files_of_libedit_are_read_and_written() {
    let folder = Folder::new("libedit");
    // Written by libedit 3.1.
    let theirs = b"_HiStOrY_V2_\na\\040b\nc\\011d\nx\\012y\nback\\134slash\nh\xc3\xa9\n\\^A\\^?\n\xff\nplain\n#hash\n\\040\\040\n\"q\"\n^M-x\nend\\040\n1\\^M2\\^[\n";
    let path = folder.file(theirs);
    let mut history = History::new();
    history.load(&path).unwrap();
    let wanted: &[&[u8]] = &[
        b"a b",
        b"c\td",
        b"x\ny",
        b"back\\slash",
        b"h\xc3\xa9",
        b"\x01\x7f",
        b"\xff",
        b"plain",
        b"#hash",
        b"  ",
        b"\"q\"",
        b"^M-x",
        b"end ",
        b"1\r2\x1b",
    ];
    assert_eq!(history.iter().collect::<Vec<_>>(), wanted);
    assert_eq!(history.form(), HistoryForm::Readline);
    history.set_form(HistoryForm::Libedit);
    history.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), theirs);
    history.push("p q");
    history.set_form(HistoryForm::Readline);
    history.append(1, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [&theirs[..], b"p\\040q\n"].concat(), "the file's form counts");
    history.set_max_file_lines(Some(1));
    history.append(0, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"_HiStOrY_V2_\np\\040q\n", "the header stays");
    for (text, wanted) in [
        (&b"\\M-a\\M^A\\s\\n\\$x\n"[..], &b"\xe1\x81 \nx"[..]),
        (b"\\\\ \\q\\\n", b"\\ \\q\\"),
        (b"\\7\\77\\777\n", b"\x07\x3f\xff"),
    ] {
        let mut history = History::new();
        history.load(folder.file(&[b"_HiStOrY_V2_\n", text].concat())).unwrap();
        assert_eq!(history.get(0).unwrap().escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }
}

#[test]
fn lines_are_found_by_their_beginning_and_by_a_part() {
    let history = of(&["make", "ls -l", "make test", "cargo make"]);
    assert_eq!(history.find_prefix("make", ..), Some(2));
    assert_eq!(history.find_prefix("make", ..2), Some(0));
    assert_eq!(history.find_prefix_forward("make", 1..), Some(2));
    assert_eq!(history.find_prefix("x", ..), None);
    assert_eq!(history.find("make", ..), Some((3, 6)));
    assert_eq!(history.find("s", ..=1), Some((1, 1)));
    assert_eq!(history.find_forward("e", ..), Some((0, 3)));
    assert_eq!(history.find("make", 7..9), None, "a range outside");
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = history.find_forward("make", 3..1);
    assert_eq!(reversed, None);
}

#[test]
fn the_list_does_what_a_plain_one_does() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut ours, mut plain) = (History::new(), Vec::<Vec<u8>>::new());
    for step in 0..20_000 {
        let line = vec![b'a' + (step % 26) as u8; random(200)];
        match random(10) {
            0 if !plain.is_empty() => {
                let at = random(plain.len());
                assert_eq!(ours.remove(at).unwrap(), plain.remove(at));
            }
            1..=3 if !plain.is_empty() => {
                let at = random(plain.len());
                assert_eq!(ours.replace(at, &line).unwrap(), std::mem::replace(&mut plain[at], line));
            }
            4 if random(50) == 0 => {
                let most = random(100);
                ours.set_max_entries(Some(most));
                ours.set_max_entries(None);
                plain.drain(..plain.len().saturating_sub(most));
            }
            _ => {
                ours.push(&line);
                plain.push(line);
            }
        }
        assert!(step % 500 != 0 || ours.iter().eq(plain.iter()), "step {step}");
    }
    assert!(ours.iter().eq(plain.iter()));
}

#[test]
fn a_million_lines_are_loaded_and_searched() {
    let folder = Folder::new("million");
    let text: String = (0..1_000_000).map(|n| format!("command number {n} --with some=options\n")).collect();
    let path = folder.file(text.as_bytes());
    let mut history = History::new();
    assert_eq!(history.load(&path).unwrap(), 1_000_000);
    assert_eq!(history.find_prefix("command number 3 ", ..), Some(3));
    assert_eq!(history.find("number 7 ", ..), Some((7, 8)));
    history.save(&path).unwrap();
    assert!(fs::read(&path).unwrap() == text.as_bytes(), "the same file");
}

/// Runs one of the parts for other processes below, in another process.
fn another(part: &str, path: &std::path::Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", part, "--nocapture"]).env("OSSATURE_HISTORY", path).stdout(Stdio::null());
    command
}

/// The number of appending processes, and of lines of each.
const APPENDING: (usize, usize) = (6, 400);

#[test]
fn part_that_appends() {
    let Some(path) = std::env::var_os("OSSATURE_HISTORY") else { return }; // the tests that start it say where
    let mut history = History::new();
    history.set_max_file_lines(Some(APPENDING.0 * APPENDING.1));
    for n in 0..APPENDING.1 {
        history.push(format!("{} {n} {}", std::process::id(), "x".repeat(n % 7)));
        history.append(1, &path).unwrap();
    }
}

#[test]
fn processes_that_append_at_once_lose_no_line() {
    // In memory where the machine has such a folder: the more often the file is replaced, the more the processes
    // collide.
    let place = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
    let folder = Folder(place.join(format!("ossature-history-crowd-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let (processes, each) = APPENDING;
    // More lines than the limit, so that every append replaces the file, too, and takes an old line.
    let path = folder.file("old\n".repeat(processes * each + 10).as_bytes());
    let children: Vec<_> =
        (0..processes).map(|_| another("history::part_that_appends", &path, "").spawn().unwrap()).collect();
    let ids: Vec<_> = children.iter().map(std::process::Child::id).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(&path).unwrap();
    let wanted: HashSet<String> =
        ids.iter().flat_map(|id| (0..each).map(move |n| format!("{id} {n} {}", "x".repeat(n % 7)))).collect();
    assert_eq!(text.lines().map(str::to_owned).collect::<HashSet<_>>(), wanted);
    assert_eq!(text.lines().count(), wanted.len());
}

#[test]
fn part_that_may_write_little() {
    let Some(path) = std::env::var_os("OSSATURE_HISTORY") else { return };
    let mut history = of(&["x"]);
    history.push("y".repeat(5000));
    for error in [history.save(&path).unwrap_err(), history.append(1, &path).unwrap_err()] {
        assert_eq!(error.errno(), Some(Errno::FBIG), "{error}");
    }
    history.set_max_file_lines(Some(1));
    assert!(history.append(1, &path).is_err());
}

#[test]
fn an_error_never_shortens_a_file() {
    let folder = Folder::new("error");
    let path = folder.file(b"precious\nlines\n");
    let mut child =
        another("history::part_that_may_write_little", &path, "trap '' XFSZ; ulimit -f 2;").spawn().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(&path).unwrap(), b"precious\nlines\n");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file stays");
    assert_eq!(of(&["a"]).append(1, "/dev/full").unwrap_err().errno(), Some(Errno::NOSPC));
}
