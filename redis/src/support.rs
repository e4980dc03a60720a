//! `prog worker`: the command line of a worker, in any program that adds one line to its `main`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use ossature::multiprocessing::pool::engine;
use ossature::{ErrorKind, Result};

use crate::worker::{Worker, exit_code};
use crate::{HostStats, Pool};

/// The text of `prog worker --help`.
const HELP: &str = "\
usage: PROGRAM worker --url URL --pool NAME [-j N] [--accept VERSION]... [--list]

Makes the calls of the pool NAME on the server at URL, until SIGTERM or SIGINT.

  --url URL          redis://host:6379/, rediss://user:password@host/, unix:///path, sentinel://host:26379/SERVER;
                     or the variable OSSATURE_REDIS_URL, which other users do not see
  --pool NAME        the name that programs give to Pool::connect
  -j, --processes N  how many processes make calls; as many as there are processors otherwise
  --accept VERSION   make calls of programs that accept this version, too
  --outage SECONDS   end after the server was away for so long; 600 otherwise
  --lease SECONDS    after how much silence a host is lost; 10 otherwise, and the same everywhere
  --list             say who works for the pool, and end
";

/// In a program started as `PROGRAM worker ...`, works until a signal ends it, and ends the process. In any other
/// program, returns at once.
///
/// Call it in the second line of `main`, after [`freeze_support`](ossature::multiprocessing::freeze_support).
///
/// # Examples
/// ```
/// use ossature::multiprocessing::{Tasks, freeze_support, tasks};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// static TASKS: Tasks = tasks![square];
///
/// fn main() {
///     freeze_support(TASKS);
///     ossature_redis::worker_support();
///     // The program itself, which connects to the pool.
/// }
/// ```
pub fn worker_support() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != "worker") {
        return;
    }
    let code = match Order::read(arguments).and_then(Order::carry_out) {
        Ok(()) => exit_code(Ok(())),
        Err(error) => exit_code(Err(error)),
    };
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Help,
    List { url: String, pool: String },
    Work { url: String, pool: String, processes: Option<usize>, versions: Vec<String>, times: [Option<u64>; 2] },
}

fn wrong(text: String) -> ossature::Error {
    engine::error(ErrorKind::InvalidInput, format!("{text}; see `worker --help`"))
}

impl Order {
    fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments.map(|argument| {
            argument.into_string().map_err(|argument| wrong(format!("{} is not UTF-8", argument.to_string_lossy())))
        });
        let (mut url, mut pool, mut processes, mut versions) = (None, None, None, Vec::new());
        let (mut times, mut list) = ([None; 2], false);
        while let Some(argument) = arguments.next().transpose()? {
            let (name, mut given) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let mut value = || match given.take() {
                Some(value) => Ok(value),
                None => arguments.next().unwrap_or_else(|| Err(wrong(format!("{name} needs a value")))),
            };
            let number = |text: String| text.parse().map_err(|_| wrong(format!("{text:?} is not a number")));
            match name.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--url" => url = Some(value()?),
                "--pool" => pool = Some(value()?),
                "-j" | "--processes" => processes = Some(number(value()?)? as usize),
                "--accept" => versions.push(value()?),
                "--outage" => times[0] = Some(number(value()?)?),
                "--lease" => times[1] = Some(number(value()?)?),
                "--list" => list = true,
                _ => return Err(wrong(format!("unknown option {name:?}"))),
            }
        }
        let url =
            url.or_else(|| std::env::var("OSSATURE_REDIS_URL").ok()).ok_or_else(|| wrong("--url is missing".into()))?;
        let pool = pool.ok_or_else(|| wrong("--pool is missing".into()))?;
        Ok(match list {
            true => Self::List { url, pool },
            false => Self::Work { url, pool, processes, versions, times },
        })
    }

    fn carry_out(self) -> Result<()> {
        match self {
            Self::Help => print!("{HELP}"),
            Self::List { url, pool } => {
                let pool = Pool::builder().accept("list")?.connect(&url, &pool)?;
                print!("{}", listed(&pool.hosts(), pool.dead_letters()?.len()));
            }
            Self::Work { url, pool, processes, versions, times } => {
                let mut worker = Worker::new(&url, &pool)?;
                for version in versions {
                    worker = worker.accept(&version)?;
                }
                if let Some(processes) = processes {
                    worker = worker.processes(processes);
                }
                if let Some(seconds) = times[0] {
                    worker = worker.outage(Duration::from_secs(seconds));
                }
                if let Some(seconds) = times[1] {
                    worker = worker.lease(Duration::from_secs(seconds.max(1)));
                }
                worker.run()?;
            }
        }
        Ok(())
    }
}

/// Formats the table of workers.
fn listed(hosts: &[HostStats], dead: usize) -> String {
    let mut text = format!("{:<24} {:>8} {:>9} {:>7} {:>12}  builds\n", "host", "pid", "processes", "running", "calls");
    for is in hosts {
        let HostStats { host, pid, processes, running, calls, builds } = is;
        text += &format!("{host:<24} {pid:>8} {processes:>9} {running:>7} {calls:>12}  {}\n", builds.join(","));
    }
    let processes: usize = hosts.iter().map(|is| is.processes).sum();
    text + &format!("{} workers, {processes} processes, {dead} dead letters\n", hosts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Order> {
        Order::read(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    #[test]
    fn a_command_line_reads_as_it_says() {
        let order = read("--url redis://a/ --pool=render -j 8 --accept one --accept=two --lease 3").unwrap();
        let expected = Order::Work {
            url: "redis://a/".into(),
            pool: "render".into(),
            processes: Some(8),
            versions: vec!["one".into(), "two".into()],
            times: [None, Some(3)],
        };
        assert_eq!(order, expected);
        assert_eq!(read("--list --url u --pool p").unwrap(), Order::List { url: "u".into(), pool: "p".into() });
        assert_eq!(read("--help").unwrap(), Order::Help);
        for (line, says) in [
            ("--pool", "needs a value"),
            ("-j x", "not a number"),
            ("--urn u", "unknown option"),
            ("--url u", "--pool is missing"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }
}
