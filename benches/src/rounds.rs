//! Short bursts of each contender in turn, and the ratio that results.
//!
//! The conditions of a machine change: its clock, its neighbours, the host's placement of its cores. So no contender is
//! measured for long. In each round every contender runs one burst of some hundred microseconds, and the order turns
//! from round to round. The ratio of a row is the **median of the ratios within the rounds**, because both sides of a
//! round saw the same machine. An interrupted burst affects one round of some hundreds. Where the contenders own kernel
//! objects, rounds are [merged](Samples::merge) over several sets of objects, because the address of an object changes
//! figures by some percent.

use std::time::{Duration, Instant};

/// One burst of a contender; returns its figure, for example nanoseconds per operation.
type Burst<'a> = Box<dyn FnMut(u64) -> f64 + 'a>;

/// The contenders of one table.
#[derive(Default)]
pub struct Rounds<'a> {
    contenders: Vec<(&'static str, Burst<'a>)>,
}

impl std::fmt::Debug for Rounds<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.contenders.iter().map(|(name, _)| name)).finish()
    }
}

impl<'a> Rounds<'a> {
    /// Creates an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a contender that repeats `operation`.
    pub fn add(&mut self, name: &'static str, mut operation: impl FnMut() + 'a) {
        self.add_burst(name, move |repeats| {
            let start = Instant::now();
            for _ in 0..repeats {
                operation();
            }
            start.elapsed().as_nanos() as f64 / repeats as f64
        });
    }

    /// Adds a contender that measures itself: it receives the number of operations and returns nanoseconds per
    /// operation.
    pub fn add_burst(&mut self, name: &'static str, burst: impl FnMut(u64) -> f64 + 'a) {
        self.contenders.push((name, Box::new(burst)));
    }

    /// Runs `rounds` rounds with bursts of about `span`, after one burst per contender to warm up.
    pub fn run(&mut self, rounds: usize, span: Duration) -> Samples {
        let mut repeats = Vec::new();
        for (_, burst) in &mut self.contenders {
            let few = burst(16);
            let each = burst((20_000.0 / few.max(1.0)) as u64 + 16);
            repeats.push((span.as_nanos() as f64 / each.max(0.5)) as u64 + 1);
        }
        let mut samples = Samples {
            names: self.contenders.iter().map(|(name, _)| *name).collect(),
            figures: vec![Vec::with_capacity(rounds); self.contenders.len()],
        };
        let turns = self.contenders.len();
        for round in 0..rounds {
            for turn in 0..turns {
                // Every second round runs backwards, so that nobody always follows the same neighbour.
                let turn = if round % 2 == 0 { turn } else { turns - 1 - turn };
                let at = (turn + round / 2) % turns;
                samples.figures[at].push((self.contenders[at].1)(repeats[at]));
            }
        }
        samples
    }
}

/// The figures of the contenders, round by round.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    names: Vec<&'static str>,
    figures: Vec<Vec<f64>>,
}

impl Samples {
    /// Creates samples without rounds, for contenders that do not take turns in a [`Rounds`].
    pub fn of_names(names: impl IntoIterator<Item = &'static str>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        Self { figures: vec![Vec::new(); names.len()], names }
    }

    /// Adds one figure of one contender; all contenders need the same number of figures.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub fn push(&mut self, name: &str, figure: f64) {
        let at = self.place_of(name);
        self.figures[at].push(figure);
    }

    /// Adds the rounds of another run of the same contenders.
    ///
    /// # Panics
    ///
    /// If the contenders are others.
    pub fn merge(&mut self, other: Self) {
        if self.names.is_empty() {
            *self = other;
            return;
        }
        assert_eq!(self.names, other.names);
        for (mine, theirs) in self.figures.iter_mut().zip(other.figures) {
            mine.extend(theirs);
        }
    }

    /// The figures of one contender, one per round.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub fn of(&self, name: &str) -> &[f64] {
        &self.figures[self.place_of(name)]
    }

    fn place_of(&self, name: &str) -> usize {
        let at = self.names.iter().position(|known| *known == name);
        at.unwrap_or_else(|| panic!("no contender has the name {name}: {:?}", self.names))
    }

    /// The median figure of one contender.
    pub fn median(&self, name: &str) -> f64 {
        median(self.of(name).iter().copied())
    }

    /// The median of the ratios within the rounds.
    pub fn ratio(&self, ours: &str, theirs: &str) -> f64 {
        median(self.of(ours).iter().zip(self.of(theirs)).map(|(ours, theirs)| ours / theirs))
    }
}

/// The median of some figures; the upper one for an even number of them.
///
/// # Panics
///
/// If there are none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
