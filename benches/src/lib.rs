//! The harness of every bench: rivals beside this crate in interleaved rounds, one `RATIO` line for each row and rival.
//!
//! | module | content |
//! | --- | --- |
//! | [`bench`](mod@bench) | the command line, and the process that counts instructions instead of time |
//! | [`rounds`] | short bursts of each contender in turn, and the ratio that results |
//! | [`callgrind`] | instructions of one operation, by valgrind |
//! | [`placement`] | whether the two cores are near or far |
//! | [`report`] | the format and the verdict of a line |
//! | [`machine`] | pinning, descriptor limits, the name of the processor |
//! | [`pair`] | two processes at work on one object |
//! | [`parties`] | several processes or threads at work on one object, for a fixed number of operations |
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
