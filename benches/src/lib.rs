//! The harness of every bench: rivals beside this crate in interleaved rounds, one `RATIO` line for each row and rival.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`bench`] | the command line, and the process that counts instructions instead of time |
//! | [`rounds`] | short bursts of each contender in turn, and the ratio that comes out of them |
//! | [`callgrind`] | instructions of one operation, by valgrind |
//! | [`placement`] | whether the two cores are near or far |
//! | [`report`] | how a line is written and judged |
//! | [`machine`] | pinning, descriptor limits |
//! | [`pair`] | two processes at work on one thing |
//! | [`parties`] | several processes or threads at work on one thing, for so many operations |
//! | [`python`] | CPython as a rival |
//! | [`rivals`] | rivals that have no crate |

pub mod bench;
pub mod callgrind;
pub mod machine;
pub mod pair;
pub mod parties;
pub mod placement;
pub mod python;
pub mod report;
pub mod rivals;
pub mod rounds;
