//! How a line is written and judged.
//!
//! `RATIO <area>/<row> unit=<unit> ours=<x> rival=<name> theirs=<y> ratio=<r> bar=<=0.85 ok=<yes|no>`, where the unit
//! is ns, instr, share, KiB or faults.

use std::fmt;

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Ours over theirs, at most this.
    AtMost(f64),
    /// Ours over theirs, at least this: for rows where larger is better.
    AtLeast(f64),
    /// Ours less theirs, at most this.
    Plus(f64),
}

/// What a row counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Nanoseconds an operation.
    Nanoseconds,
    /// Instructions in user space an operation.
    Instructions,
    /// A share between 0 and 1.
    Share,
    /// Memory.
    Kibibytes,
    /// Page faults an operation.
    PageFaults,
}

/// One judged comparison; its `Display` is the `RATIO` line.
#[derive(Clone, Debug)]
pub struct Line {
    /// `<area>/<row>`.
    pub row: String,
    /// What the two figures count.
    pub unit: Unit,
    /// Our figure.
    pub ours: f64,
    /// Whom we are held against.
    pub rival: String,
    /// The rival's figure; `None` when it is not installed.
    pub theirs: Option<f64>,
    /// The ratio, where it is not simply the quotient of the two figures (rounds give a steadier one).
    pub ratio: Option<f64>,
    /// What has to be reached.
    pub bar: Bar,
}

impl Line {
    /// Ours over theirs.
    pub fn ratio(&self) -> Option<f64> {
        self.ratio.or_else(|| self.theirs.map(|theirs| self.ours / theirs))
    }

    /// Whether the bar is reached; `None` when there is nothing to compare with.
    pub fn ok(&self) -> Option<bool> {
        let (theirs, ratio) = (self.theirs?, self.ratio()?);
        Some(match self.bar {
            Bar::AtMost(bar) => ratio <= bar,
            Bar::AtLeast(bar) => ratio >= bar,
            Bar::Plus(bar) => self.ours - theirs <= bar,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, unit, ours, rival, bar, .. } = self;
        write!(f, "RATIO {row} unit={unit} ours={} rival={rival} ", figure(*ours))?;
        match (self.theirs, self.ratio()) {
            (Some(theirs), Some(ratio)) => write!(f, "theirs={} ratio={ratio:.4} ", figure(theirs))?,
            _ => f.write_str("theirs=absent ratio=unknown ")?,
        }
        let ok = self.ok().map_or("unknown", |ok| if ok { "yes" } else { "no" });
        write!(f, "bar={bar} ok={ok}")
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "<={bar}"),
            Self::AtLeast(bar) => write!(f, ">={bar}"),
            Self::Plus(bar) => write!(f, "+{bar}"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "ns",
            Self::Instructions => "instr",
            Self::Share => "share",
            Self::Kibibytes => "KiB",
            Self::PageFaults => "faults",
        })
    }
}

/// Four significant digits and no exponent.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.1}"),
        large if large >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
