//! The same keys for GNU readline, under CPython, and for this crate's editor, each on a pseudo-terminal. The program
//! compares the accepted line, the text that a yank inserts at its end, and the screen with its cursor before the end.

#[path = "keys_vs_readline/cases.rs"]
mod cases;
#[path = "family/guided.rs"]
mod guided;
#[path = "keys_vs_readline/listed.rs"]
mod listed;
#[path = "keys_vs_readline/side.rs"]
mod side;

use std::process::ExitCode;

use cases::{Case, Random};
use guided::{Outcome, run, unknown};
use side::{Answer, Side};

const USAGE: &str = "\
usage: keys_vs_readline [--seed N --cases M] [--only TEXT] [--self-test]
Sends key strokes to GNU readline (python3's) and to this editor, and prints every difference. Without arguments: the
table tests/readline/keys.tsv. Exit status 1 if a difference is not listed.
  --seed N --cases M  random keys instead of the table; of these with --only NAME one case
  --only TEXT         the cases of the table whose name has this text
  --self-test         a part of the table and some random keys; libedit is refused";

/// The counts of one run.
#[derive(Default)]
struct Counts {
    same: usize,
    listed: usize,
    different: usize,
}

/// Both editors with one set of init lines.
struct Pair {
    settings: String,
    gnu: Side,
    ours: Side,
}

impl Pair {
    fn start(python: &str, settings: &str) -> Outcome<Self> {
        Ok(Self { settings: settings.to_owned(), gnu: Side::python(python, settings)?, ours: Side::ours(settings)? })
    }

    /// Types the keys into both editors, at once or one by one.
    fn ask(&mut self, case: &Case, slowly: bool) -> Outcome<(Answer, Answer)> {
        self.gnu.begin(case, slowly)?;
        self.ours.begin(case, slowly)?;
        Ok((self.gnu.finish(case)?, self.ours.finish(case)?))
    }
}

fn compare(python: &str, cases: &[Case], counts: &mut Counts) -> Outcome {
    let mut pair: Option<Pair> = None;
    for case in cases {
        let mut now = match pair.take().filter(|pair| pair.settings == case.settings) {
            Some(pair) => pair,
            None => Pair::start(python, &case.settings)?,
        };
        let (mut gnu, mut ours) = now.ask(case, false)?;
        if gnu != ours {
            // Keys that are typed ahead, and what the cases before have left, make no difference of their own.
            now = Pair::start(python, &case.settings)?;
            (gnu, ours) = now.ask(case, true)?;
        }
        if gnu == ours {
            counts.same += 1;
            if gnu.line.is_some() {
                pair = Some(now);
            }
        } else if let Some(reason) = listed::reason(case, &gnu, &ours, |keys| type_instead(case, keys))? {
            counts.listed += 1;
            println!("listed: {} ({reason})", case.name);
        } else {
            counts.different += 1;
            println!("different: {}\n  keys: {}\n  GNU:  {gnu}\n  ours: {ours}", case.name, cases::shown(&case.keys));
        }
        // After a difference both begin anew, so that a remembered state does not spoil the next case.
    }
    Ok(())
}

/// Types other keys than those of the case into this crate's editor.
fn type_instead(case: &Case, keys: Vec<u8>) -> Outcome<Answer> {
    let case =
        Case { keys, name: case.name.clone(), settings: case.settings.clone(), history: case.history.clone(), ..*case };
    let mut ours = Side::ours(&case.settings)?;
    ours.begin(&case, true)?;
    ours.finish(&case)
}

fn whole(python: &str, cases: &[Case]) -> Outcome {
    let mut counts = Counts::default();
    compare(python, cases, &mut counts)?;
    let Counts { same, listed, different } = counts;
    println!("cases={} same={same} listed={listed} different={different}", cases.len());
    if different == 0 { Ok(()) } else { Err(format!("{different} differences are not listed").into()) }
}

/// The interpreter, if its module is GNU readline; prints the version.
fn oracle() -> Option<String> {
    match side::python_with_gnu_readline() {
        Ok((python, version)) => {
            println!("oracle: GNU readline {version}, of {python}");
            Some(python)
        }
        Err(why) => {
            println!("SKIPPED: {why}");
            None
        }
    }
}

fn program(arguments: &[&str]) -> Outcome {
    if let ["--ours", socket, settings] = arguments {
        return side::be_ours(socket, settings);
    }
    let cases = match arguments {
        [] => cases::table()?,
        ["--only", text] => cases::table()?.into_iter().filter(|case| case.name.contains(text)).collect(),
        ["--seed", seed, "--cases", count] => Random::new(seed.parse()?).cases(count.parse()?),
        ["--seed", seed, "--cases", count, "--only", name] => {
            Random::new(seed.parse()?).cases(count.parse()?).into_iter().filter(|case| case.name == *name).collect()
        }
        _ => return unknown(arguments),
    };
    match oracle() {
        Some(python) => whole(&python, &cases),
        None => Ok(()),
    }
}

fn check() -> Outcome {
    let Some(python) = oracle() else { return Ok(()) };
    side::refuses_libedit(&python)?;
    let mut cases: Vec<Case> = cases::table()?.into_iter().step_by(8).collect();
    cases.extend(Random::new(1).cases(10));
    whole(&python, &cases)
}

fn main() -> ExitCode {
    run(USAGE, program, check)
}
