//! The compiler's messages for natural mistakes: `tests/mistakes` has a program for each.
//!
//! A program begins with what its answer says. `//> text` is a text of the first line of the answer, which names the
//! mistake. `//~ text` is a text of the answer, in the order of the answer. `//- text` is a text that may not be in the
//! answer. `//= check` means that the type checker answers, `//= build` that the code generator does, and `//= run`
//! that the program itself does. `//= passes` means that the program compiles.
//!
//! The texts are key words, because the compiler's own words change from version to version. All answers are printed by
//! `OSSATURE_SHOW_MISTAKES=1 cargo test --test mistakes -- --nocapture`.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// The compiler stage that a program reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Check,
    Build,
    Run,
    Passes,
}

/// The expectations of a program on the compiler's message.
struct Wanted {
    stage: Stage,
    /// The texts of the first line.
    first: Vec<String>,
    /// The texts in this order.
    texts: Vec<String>,
    absent: Vec<String>,
}

impl Wanted {
    fn of(program: &str) -> Self {
        let mut wanted = Self { stage: Stage::Check, first: Vec::new(), texts: Vec::new(), absent: Vec::new() };
        for line in program.lines() {
            if let Some(text) = line.strip_prefix("//> ") {
                wanted.first.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("//~ ") {
                wanted.texts.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("//- ") {
                wanted.absent.push(text.to_owned());
            } else if let Some(stage) = line.strip_prefix("//= ") {
                wanted.stage = match stage {
                    "check" => Stage::Check,
                    "build" => Stage::Build,
                    "run" => Stage::Run,
                    "passes" => Stage::Passes,
                    other => panic!("there is no stage {other}"),
                };
            }
        }
        assert!(
            wanted.stage == Stage::Passes || !wanted.texts.is_empty() || !wanted.first.is_empty(),
            "a program with a mistake says what the answer is"
        );
        wanted
    }
}

/// The compiler beside the cargo that runs this test, and the library that this test was linked with.
struct Compiler {
    rustc: PathBuf,
    deps: PathBuf,
    library: PathBuf,
    out: PathBuf,
}

impl Compiler {
    fn found() -> Self {
        let here = env::current_exe().expect("this program has a path");
        let deps = here.parent().expect("it lies in a directory").to_owned();
        let library = newest(&deps);
        let cargo = env::var_os("CARGO").map(PathBuf::from);
        let beside = cargo.map(|cargo| cargo.with_file_name("rustc")).filter(|rustc| rustc.exists());
        let rustc = env::var_os("RUSTC").map(PathBuf::from).or(beside).unwrap_or_else(|| "rustc".into());
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
        fs::create_dir_all(&out).expect("the directory for temporary files can be written to");
        Self { rustc, deps, library, out }
    }

    /// Compiles the program; for `Check`, only checks the types.
    fn compile(&self, program: &Path, stage: Stage) -> Output {
        let emit = if stage == Stage::Check { "metadata" } else { "link" };
        let name = program.file_stem().expect("a program has a name");
        let mut dependency = std::ffi::OsString::from("dependency=");
        dependency.push(&self.deps);
        let mut library = std::ffi::OsString::from("ossature=");
        library.push(&self.library);
        Command::new(&self.rustc)
            .args(["--edition=2024", "--color=never", "--emit", emit, "-L"])
            .arg(dependency)
            .arg("--extern")
            .arg(library)
            .arg("-o")
            .arg(self.out.join(name))
            .arg(program)
            .output()
            .expect("the compiler can be started")
    }
}

/// The library that was built last, which is the one that this test was linked with.
fn newest(deps: &Path) -> PathBuf {
    let built = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let files = fs::read_dir(deps).expect("this program's directory can be read").filter_map(Result::ok);
    let libraries = files.map(|file| file.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libossature-") && name.ends_with(".rlib")
    });
    libraries.max_by_key(|path| built(path)).expect("the library lies beside this program")
}

/// The faults of the message for this program; empty if there are none.
fn faults(compiler: &Compiler, path: &Path) -> String {
    let program = fs::read_to_string(path).expect("a program can be read");
    let wanted = Wanted::of(&program);
    let compiled = compiler.compile(path, wanted.stage);
    let mut answer = String::from_utf8_lossy(&compiled.stderr).into_owned();
    let mut faults = String::new();
    let compiles = matches!(wanted.stage, Stage::Run | Stage::Passes);
    if compiled.status.success() != compiles {
        faults.push_str(if compiles { "it does not compile\n" } else { "it compiles\n" });
    } else if wanted.stage == Stage::Build && !compiler.compile(path, Stage::Check).status.success() {
        faults.push_str("the type checker refuses it already: say so in the documentation of `tasks`\n");
    } else if wanted.stage == Stage::Run {
        let ran = Command::new(compiler.out.join(path.file_stem().expect("a program has a name"))).output();
        let ran = ran.expect("what was compiled can be run");
        if ran.status.success() {
            faults.push_str("it runs\n");
        }
        answer = String::from_utf8_lossy(&ran.stderr).into_owned();
    }
    let first = answer.lines().next().unwrap_or_default();
    for text in wanted.first.iter().filter(|text| !first.contains(text.as_str())) {
        faults.push_str(&format!("missing in the first line: {text}\n"));
    }
    // The compiler breaks no line within a text of ours, but indents the lines of its own.
    let mut rest = answer.as_str();
    for text in &wanted.texts {
        match rest.split_once(text.as_str()) {
            Some((_, after)) => rest = after,
            None if answer.contains(text.as_str()) => faults.push_str(&format!("too early: {text}\n")),
            None => faults.push_str(&format!("missing: {text}\n")),
        }
    }
    for text in wanted.absent.iter().filter(|text| answer.contains(text.as_str())) {
        faults.push_str(&format!("not wanted: {text}\n"));
    }
    if env::var_os("OSSATURE_SHOW_MISTAKES").is_some() || !faults.is_empty() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!("==== {name}\n{faults}---- the answer:\n{answer}");
    }
    faults
}

#[test]
fn each_mistake_is_answered_with_its_remedy() {
    // A build with `--target` may have another standard library than the compiler's own.
    let here = env::current_exe().expect("this program has a path");
    if here.components().any(|part| part.as_os_str().to_string_lossy().contains("-linux-")) {
        let _ = std::io::stderr().write_all(b"LEFT OUT: compiles for the machine of the compiler only\n");
        return;
    }
    let compiler = Compiler::found();
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut programs: Vec<_> = fs::read_dir(programs)
        .expect("the programs stand in the repository")
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    programs.sort();
    assert!(!programs.is_empty());
    let wrong = programs.iter().filter(|path| !faults(&compiler, path).is_empty()).count();
    assert_eq!(wrong, 0, "of {} programs", programs.len());
}
