//! The log lines of processes about their own actions. Each case is a process of its own, whose standard error is read.
//! The main is not libtest's, so that the cases may fork.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::Test;
use ossature::multiprocessing::logging::{Level, LevelFilter, SUB_DEBUG, SUB_WARNING, TARGET};
use ossature::multiprocessing::util::temp_dir;
use ossature::multiprocessing::{
    Context, Process, Tasks, current_process, freeze_support, get_logger, log_to_stderr, tasks,
};

const TESTS: &[Test] = &[
    ("nothing_is_printed_until_it_is_asked_for", nothing_is_printed_until_it_is_asked_for),
    ("each_level_is_printed_as_cpython_does", each_level_is_printed_as_cpython_does),
    ("the_level_is_warning_until_it_is_set_and_then_kept", the_level_is_warning_until_it_is_set_and_then_kept),
    ("asking_twice_prints_once", asking_twice_prints_once),
    ("the_level_can_be_changed_at_any_time", the_level_can_be_changed_at_any_time),
    ("a_child_that_keeps_the_group_of_root_is_warned_of", a_child_that_keeps_the_group_of_root_is_warned_of),
    ("a_long_message_arrives_whole", a_long_message_arrives_whole),
    ("a_forked_child_goes_on_under_its_own_name", a_forked_child_goes_on_under_its_own_name),
    ("a_spawned_child_does_the_same", a_spawned_child_does_the_same),
    ("the_end_of_daemons_and_children_is_told", the_end_of_daemons_and_children_is_told),
    ("the_directory_for_temporary_files_is_named", the_directory_for_temporary_files_is_named),
    ("a_childs_name_is_the_one_that_it_has_now", a_childs_name_is_the_one_that_it_has_now),
    ("the_facade_gets_everything_under_the_target", the_facade_gets_everything_under_the_target),
    (
        "the_facade_gets_nothing_when_thread_local_values_are_gone",
        the_facade_gets_nothing_when_thread_local_values_are_gone,
    ),
    ("a_logger_of_the_program_and_standard_error_go_together", a_logger_of_the_program_and_standard_error_go_together),
    ("standard_error_that_takes_nothing_is_no_error", standard_error_that_takes_nothing_is_no_error),
];

/// The code of each case, run in a process of its own.
const CASES: &[(&str, fn())] = &[
    ("silent", || {
        get_logger().error("nobody hears this");
        assert_eq!(get_logger().level(), None);
    }),
    ("levels", || {
        let logger = log_to_stderr(LevelFilter::Trace);
        logger.warning(format_args!("warn {}", 1));
        logger.error("e");
        logger.info("i");
        logger.debug("d");
        logger.log(SUB_DEBUG, "s");
        logger.log(SUB_WARNING, "w");
        logger.info("two\nlines");
    }),
    ("group of root", || {
        log_to_stderr(None);
        let user = || Process::builder().uid(65534);
        for builder in [user(), user().gid(65533), Process::builder().uid(0), Process::builder().umask(0)] {
            assert!(builder.fork(|| ()).unwrap().join().unwrap().success());
        }
    }),
    ("default", || {
        let logger = log_to_stderr(None);
        logger.info("not this");
        logger.warning("this");
        logger.set_level(LevelFilter::Debug);
        log_to_stderr(None).debug("and this");
        assert_eq!(logger.level(), Some(LevelFilter::Debug));
    }),
    ("twice", || {
        log_to_stderr(LevelFilter::Info);
        log_to_stderr(LevelFilter::Info).info("once");
    }),
    ("changed", || {
        let logger = log_to_stderr(LevelFilter::Off);
        logger.error("not this");
        logger.set_level(LevelFilter::Error);
        logger.warning("nor this");
        logger.error("this");
    }),
    ("long", || log_to_stderr(LevelFilter::Info).info("x".repeat(10_000))),
    ("fork", || {
        log_to_stderr(LevelFilter::Debug);
        let child = Process::builder().name("Bob").fork(|| get_logger().info("in child")).expect("one thread");
        child.join().expect("it ends");
    }),
    ("spawn", || {
        log_to_stderr(LevelFilter::Debug);
        let child = Process::builder().name("Bob").context(Context::Spawn).start(tell, ()).expect("it begins");
        child.join().expect("it ends");
    }),
    ("ends", || {
        log_to_stderr(LevelFilter::Info);
        let sleeper = || std::thread::sleep(Duration::from_secs(60));
        let daemon = Process::builder().name("demon").daemon(true).fork(sleeper).expect("one thread");
        let daemon = format!("/proc/{}", daemon.pid().expect("a process").as_raw_nonzero());
        let parent = format!("/proc/{}/stat", std::process::id());
        // The parent waits for this child once the parent has reaped the daemon and sleeps.
        let until_waited_for = move || {
            let is_awake = |stat: String| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'));
            while Path::new(&daemon).exists() || std::fs::read_to_string(&parent).is_ok_and(is_awake) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        log_to_stderr(LevelFilter::Error);
        let _child = Process::builder().name("child").fork(until_waited_for).expect("one thread");
        log_to_stderr(LevelFilter::Info);
    }),
    ("directory", || {
        log_to_stderr(LevelFilter::Info);
        println!("{}", temp_dir().expect("there is room").display());
    }),
    ("rename", || {
        log_to_stderr(LevelFilter::Info);
        current_process().set_name("Alice");
        get_logger().info("renamed");
    }),
    ("facade", || {
        log::set_logger(&Program).expect("the first one");
        log::set_max_level(LevelFilter::Debug);
        get_logger().debug("by hand");
        get_logger().log(SUB_DEBUG, "not this");
        Process::builder().name("Bob").fork(|| ()).expect("one thread").join().expect("it ends");
    }),
    ("late", || {
        thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
        log::set_logger(&Program).expect("the first one");
        log::set_max_level(LevelFilter::Debug);
        let ends = || {
            LATE.set(Some(Late));
            get_logger().error("in time");
        };
        std::thread::spawn(ends).join().expect("it ends");
    }),
    ("both", || {
        log::set_logger(&Program).expect("the first one");
        log::set_max_level(LevelFilter::Warn);
        log_to_stderr(LevelFilter::Info);
        get_logger().info("for standard error");
        get_logger().warning("for both");
        log::set_max_level(LevelFilter::Off);
    }),
    ("closed", || {
        let logger = log_to_stderr(LevelFilter::Info);
        logger.info("into the void");
        Process::builder().fork(|| ()).expect("one thread").join().expect("it ends");
    }),
];

fn tell() {
    get_logger().info("in child");
}

static TASKS: Tasks = tasks![tell];

thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// A value that logs when the thread drops its values.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        get_logger().error("when the values of the logger are gone");
    }
}

/// A logger installed by the program.
struct Program;

impl log::Log for Program {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), TARGET);
        // As the loggers of other crates do, which panic when it is gone.
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        eprintln!("program: {} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// The output of the case to standard error.
#[track_caller]
fn stderr_of(case: &str) -> String {
    let output = command(case).output().expect("this program starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{case}: {}: {text}", output.status);
    text
}

fn command(case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--case", case]);
    command
}

fn nothing_is_printed_until_it_is_asked_for() {
    assert_eq!(stderr_of("silent"), "");
}

const LEVELS: &str = "[WARNING/MainProcess] warn 1\n\
    [ERROR/MainProcess] e\n\
    [INFO/MainProcess] i\n\
    [DEBUG/MainProcess] d\n\
    [SUBDEBUG/MainProcess] s\n\
    [WARNING/MainProcess] w\n\
    [INFO/MainProcess] two\nlines\n";

fn each_level_is_printed_as_cpython_does() {
    assert_eq!(stderr_of("levels"), LEVELS);
    let script = "import multiprocessing as mp\n\
        l = mp.log_to_stderr(10)\n\
        l.warning('warn %s', 1); l.error('e'); l.info('i'); l.debug('d'); l.info('two\\nlines')";
    let Ok(python) = Command::new("python3").args(["-c", script]).output() else {
        println!("no python3 to compare with");
        return;
    };
    let theirs = String::from_utf8(python.stderr).expect("text");
    // Python knows two levels more, and has more to say at its end.
    let ours = LEVELS.replace("[SUBDEBUG/MainProcess] s\n[WARNING/MainProcess] w\n", "");
    assert!(theirs.starts_with(&ours), "{theirs}");
}

fn the_level_is_warning_until_it_is_set_and_then_kept() {
    assert_eq!(stderr_of("default"), "[WARNING/MainProcess] this\n[DEBUG/MainProcess] and this\n");
}

fn asking_twice_prints_once() {
    assert_eq!(stderr_of("twice"), "[INFO/MainProcess] once\n");
}

fn the_level_can_be_changed_at_any_time() {
    assert_eq!(stderr_of("changed"), "[ERROR/MainProcess] this\n");
}

fn a_child_that_keeps_the_group_of_root_is_warned_of() {
    if ossature::sys::process::effective_user() != 0 {
        return println!("skipped: needs root");
    }
    let text = stderr_of("group of root");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("[WARNING/MainProcess] the new process has another user but keeps group 0"), "{text}");
    assert!(text.contains("ProcessBuilder::gid"), "{text}");
}

fn a_long_message_arrives_whole() {
    assert_eq!(stderr_of("long"), format!("[INFO/MainProcess] {}\n", "x".repeat(10_000)));
}

/// The output of a process at its end, as Python 2.7 to 3.13 print it.
fn ending(name: &str) -> String {
    format!(
        "[INFO/{name}] process shutting down\n\
         [DEBUG/{name}] running all \"atexit\" finalizers with priority >= 0\n\
         [DEBUG/{name}] running the remaining \"atexit\" finalizers\n"
    )
}

/// The output of the process Bob, and then of its parent.
fn of_bob() -> String {
    let bob = "[INFO/Bob] child process calling self.run()\n[INFO/Bob] in child\n".to_owned()
        + &ending("Bob")
        + "[INFO/Bob] process exiting with exitcode 0\n";
    bob + &ending("MainProcess")
}

fn a_forked_child_goes_on_under_its_own_name() {
    assert_eq!(stderr_of("fork"), of_bob());
}

fn a_spawned_child_does_the_same() {
    assert_eq!(stderr_of("spawn"), of_bob());
}

fn the_end_of_daemons_and_children_is_told() {
    let text = stderr_of("ends");
    let lines: Vec<_> = text.lines().filter(|line| line.contains("/MainProcess]")).collect();
    assert_eq!(
        lines[..2],
        ["[INFO/MainProcess] process shutting down", "[INFO/MainProcess] calling terminate() for daemon demon",]
    );
    assert!(lines.contains(&"[INFO/MainProcess] calling join() for process child"), "{text}");
    assert!(!text.contains("/child]"), "a child inherits the level: {text}");
}

fn the_directory_for_temporary_files_is_named() {
    // A place of its own: what killed processes have left elsewhere is told as well.
    let place = std::env::temp_dir().join(format!("ossature-logging-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a directory is made");
    let output = command("directory").env("TMPDIR", &place).output().expect("this program starts");
    std::fs::remove_dir_all(&place).expect("the directory is there");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (path, told) = (text(output.stdout), text(output.stderr));
    assert!(told.starts_with(&format!("[INFO/MainProcess] created temp directory {path}")), "{told}");
}

fn a_childs_name_is_the_one_that_it_has_now() {
    assert_eq!(stderr_of("rename"), "[INFO/Alice] renamed\n");
}

fn the_facade_gets_everything_under_the_target() {
    let text = stderr_of("facade");
    assert!(text.starts_with("program: DEBUG by hand\nprogram: INFO child process calling self.run()\n"), "{text}");
    let bob = "program: INFO process shutting down\n";
    assert!(text.contains(bob) && text.ends_with("program: INFO process exiting with exitcode 0\n"), "{text}");
    assert_eq!(text.matches(bob).count(), 1, "what the first thread says at the end of the process: {text}");
}

fn the_facade_gets_nothing_when_thread_local_values_are_gone() {
    assert_eq!(stderr_of("late"), "program: ERROR in time\n");
}

fn a_logger_of_the_program_and_standard_error_go_together() {
    let text = stderr_of("both");
    assert_eq!(text, "[INFO/MainProcess] for standard error\n[WARNING/MainProcess] for both\nprogram: WARN for both\n");
}

fn standard_error_that_takes_nothing_is_no_error() {
    let (reader, writer) = harness::pipe();
    drop(reader);
    assert!(command("closed").stderr(writer).status().expect("this program starts").success());
}

fn main() {
    freeze_support(TASKS);
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--case") {
        let name = arguments.next().expect("a name");
        let (_, case) = CASES.iter().find(|(known, _)| *known == name).expect("a case of this name");
        return case();
    }
    // The levels of the facade and of Python stand in the same order.
    assert!(Level::Error < SUB_WARNING && SUB_WARNING < Level::Info && Level::Debug < SUB_DEBUG);
    harness::run(TESTS)
}
