//! The format and the verdict of a line.
//!
//! `RATIO <area>/<row> unit=<unit> ours=<x> rival=<name> theirs=<y> ratio=<r> bar=<=0.85 ok=<yes|no>`, where the unit
//! is ns, instr, share, KiB or faults.

use std::fmt;

/// The bar that a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// The highest allowed quotient of this crate's figure by the rival's.
    AtMost(f64),
    /// As [`AtMost`](Self::AtMost), but given by the row's floor: see [`Bar::above_floor`].
    AboveFloor(f64),
    /// The lowest allowed quotient, for rows where larger is better.
    AtLeast(f64),
    /// The highest allowed difference of this crate's figure less the rival's.
    Plus(f64),
}

impl Bar {
    /// A tenth above the floor: the margin of a row whose bar turned out to be below its own floor.
    const MARGIN: f64 = 1.1;

    /// [`AtMost`](Self::AtMost) `bar`. If even the floor's `ratio` to the same rival does not leave a tenth below
    /// `bar`, a tenth above this ratio instead: nothing can be asked of a row that the least code cannot do.
    pub fn above_floor(bar: f64, ratio: f64) -> Self {
        let least = ratio * Self::MARGIN;
        if least > bar { Self::AboveFloor(least) } else { Self::AtMost(bar) }
    }
}

/// The unit of a row.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Nanoseconds per operation.
    Nanoseconds,
    /// Instructions in user space per operation.
    Instructions,
    /// A fraction between 0 and 1.
    Share,
    /// Memory in KiB.
    Kibibytes,
    /// Page faults per operation.
    PageFaults,
}

/// One judged comparison; its `Display` is the `RATIO` line.
#[derive(Clone, Debug)]
pub struct Line {
    /// `<area>/<row>`.
    pub row: String,
    /// The unit of the two figures.
    pub unit: Unit,
    /// This crate's figure.
    pub ours: f64,
    /// The name of the rival.
    pub rival: String,
    /// The rival's figure; `None` if the rival is not installed.
    pub theirs: Option<f64>,
    /// The ratio, if it is not simply the quotient of the two figures (rounds give a steadier one).
    pub ratio: Option<f64>,
    /// The bar to reach.
    pub bar: Bar,
}

impl Line {
    /// This crate's figure divided by the rival's.
    pub fn ratio(&self) -> Option<f64> {
        self.ratio.or_else(|| self.theirs.map(|theirs| self.ours / theirs))
    }

    /// Whether the bar is reached; `None` without a rival's figure.
    pub fn ok(&self) -> Option<bool> {
        let (theirs, ratio) = (self.theirs?, self.ratio()?);
        Some(match self.bar {
            Bar::AtMost(bar) | Bar::AboveFloor(bar) => ratio <= bar,
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
            Self::AboveFloor(bar) => write!(f, "<={bar:.4}(floor)"),
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

/// Formats a figure with four significant digits and no exponent.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.1}"),
        large if large >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
