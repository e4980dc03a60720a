//! Instructions of one operation, by valgrind.
//!
//! The bench runs itself under `valgrind --tool=callgrind`, once for some operations and once for more of them, and
//! divides the difference: what starting and ending cost falls out, and what is left is the same in every run. The loop
//! around the operation is counted on both sides of a comparison alike. Kernel time is not seen: these are the
//! instructions a wrapper adds in user space.

use std::process::Command;

const FEW: u64 = 1_000;
const MANY: u64 = 6_000;
const PLEASE: &str = "OSSATURE_BENCH_COUNT";

/// An operation whose instructions can be counted: its name, and the function that repeats it the given number of
/// times.
pub type Counted = (&'static str, fn(u64));

/// In a process that was started to count instructions, repeats the operation and returns `true`.
///
/// # Panics
///
/// If the row that was asked for is unknown.
pub fn counting(rows: &[Counted]) -> bool {
    let Ok(wish) = std::env::var(PLEASE) else { return false };
    let (name, repeats) = wish.split_once(' ').expect("a row and a number");
    let (_, run) = rows.iter().find(|(known, _)| *known == name).expect("a row of this bench");
    run(repeats.parse().expect("a number"));
    true
}

/// The instructions of one operation of the row `name`; `None` without valgrind.
pub fn instructions(name: &str) -> Option<f64> {
    let few = total(name, FEW)?;
    let many = total(name, MANY)?;
    Some((many - few) / (MANY - FEW) as f64)
}

fn total(name: &str, repeats: u64) -> Option<f64> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.env(PLEASE, format!("{name} {repeats}"));
    total_of(name, &command)
}

/// All instructions of a program, for a rival that is not linked into this program; `None` without valgrind.
pub fn total_of(name: &str, command: &Command) -> Option<f64> {
    let envs = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(envs)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Some(count),
        _ => {
            eprintln!("callgrind cannot count {name}:\n{said}");
            None
        }
    }
}
