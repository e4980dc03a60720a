//! The command line.

use crate::board::{FEW, MOST};

pub const USAGE: &str =
    "usage: storm NAME|all [--kills N | --minutes N] [--seed N] [--participants N] [--step [--stride N] [--most N]]
       storm --self-test

  --kills N    kill so many participants at random instants (2000)
  --minutes N  go on for so long, and see that memory and descriptors stay as after the first minute
  --seed N     where the random numbers begin (1)
  --participants N
               let N processes use a lock, rlock, rwlock, condition, permit or barrier at once, 4 to 512 (4)
  --step       kill one participant of a primitive after 1, 2, 3, ... instructions instead
  --stride N   with --step: every Nth instruction only (1)
  --most N     with --step: so many instructions of each scene only, evenly (all)
  --self-test  a short storm of both kinds of each";

/// The kind of storm: random kills, or steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Kills,
    Step,
}

#[derive(Debug)]
pub struct Arguments {
    pub name: String,
    pub kills: u32,
    pub seed: u64,
    /// The number of processes of a storm that can have more than a few.
    pub participants: usize,
    pub stride: u32,
    pub most: u32,
    /// The duration of the form that watches memory.
    pub minutes: Option<u64>,
    step: bool,
    self_test: bool,
}

impl Arguments {
    pub fn names_it(&self, primitive: &str) -> bool {
        self.name == "all" || self.name == primitive
    }

    pub fn modes(&self) -> Vec<Mode> {
        match (self.self_test, self.step) {
            (true, _) => vec![Mode::Kills, Mode::Step],
            (false, true) => vec![Mode::Step],
            (false, false) => vec![Mode::Kills],
        }
    }
}

/// Parses the command line; `None` if it requests help.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments {
        name: String::new(),
        kills: 2000,
        seed: 1,
        participants: FEW,
        stride: 1,
        most: u32::MAX,
        minutes: None,
        step: false,
        self_test: false,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--kills" => parsed.kills = number(&word, words.next())?,
            "--minutes" => parsed.minutes = Some(number(&word, words.next())?),
            "--seed" => parsed.seed = number(&word, words.next())?,
            "--help" | "-h" => return Ok(None),
            "--participants" => parsed.participants = number(&word, words.next())?,
            "--step" => parsed.step = true,
            "--stride" => parsed.stride = number::<u32>(&word, words.next())?.max(1),
            "--most" => parsed.most = number::<u32>(&word, words.next())?.max(1),
            "--self-test" => {
                parsed.self_test = true;
                parsed.kills = 12;
                parsed.most = 1;
                parsed.name = "all".to_owned();
            }
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            name if parsed.name.is_empty() => parsed.name = name.to_owned(),
            extra => return Err(format!("unexpected argument {extra:?}: give one name at a time, or all")),
        }
    }
    if parsed.name.is_empty() {
        return Err("which storm?".to_owned());
    }
    if parsed.kills == 0 {
        return Err("--kills 0 shows nothing; use at least 1".to_owned());
    }
    if !(FEW..=MOST).contains(&parsed.participants) {
        return Err(format!("--participants must be {FEW} to {MOST}"));
    }
    Ok(Some(parsed))
}

fn number<N: std::str::FromStr>(option: &str, word: Option<String>) -> Result<N, String> {
    let word = word.ok_or_else(|| format!("{option} needs a number"))?;
    word.parse().map_err(|_| format!("{option} needs a number, not {word:?}"))
}
