//! A process says hello: the first program of Python's chapter on `multiprocessing`, started with every start method.
//!
//! `cargo run --example hello_process [-- NAME]`; with `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::io::Write;
use std::process::ExitCode;

use ossature::multiprocessing::{
    Context, Process, Tasks, current_process, freeze_support, get_all_start_methods, parent_process, tasks,
};
use own::{Outcome, self_test};

const USAGE: &str = "\
usage: hello_process [NAME] [--self-test]
Starts a process that says hello to NAME, in every way that there is.
  --self-test  checks what is printed";

fn info(title: &str) {
    let me = current_process();
    println!("{title}: {}, process {}", me.name(), me.pid().as_raw_nonzero());
    if let Some(parent) = parent_process() {
        println!("  started by {}, process {:?}", parent.name(), parent.pid().map(|pid| pid.as_raw_nonzero()));
    }
}

fn hello(name: String) {
    info("hello");
    println!("  hello {name}");
}

static TASKS: Tasks = tasks![hello];

fn program() -> Outcome {
    if let Some(text) = self_test(&["bob"])? {
        let ways = get_all_start_methods().len() + 2;
        assert_eq!(text.matches("  hello bob\n").count(), ways, "{text}");
        assert_eq!(text.matches("  started by MainProcess").count(), ways - 1, "a thread is not a process: {text}");
        return Ok(());
    }
    let name = std::env::args().nth(1).unwrap_or_else(|| "world".to_owned());
    info("main");
    // A copy of this process runs any closure, and has what that borrows.
    Process::fork(|| hello(name.clone()))?.join()?;
    // In every other way a process gets a function by name, and its arguments as values.
    for method in get_all_start_methods().into_iter().chain([Context::Thread]) {
        std::io::stdout().flush()?;
        let process = Process::builder().context(method).start(hello, (name.clone(),))?;
        process.join()?;
        println!("{process:?}");
    }
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS); // a new process goes no further than this
    front::run(USAGE, program)
}
