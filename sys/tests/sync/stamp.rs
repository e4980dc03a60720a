//! The stamp: makes one test for each world from one behaviour.

/// Makes `TESTS` from generic functions: `stamp! { "file": in GROUP: name, name; in GROUP: name; }`.
///
/// | group | worlds |
/// | --- | --- |
/// | `all` | private by threads, shared by threads, shared by processes, local |
/// | `peers` | all but local: where there is somebody else |
/// | `shared` | shared by threads, shared by processes: where somebody may die |
/// | `threads` | private and shared by threads: where what is not in shared memory is seen by all |
/// | `fallible` | all but private: where a refusal is an answer |
/// | `processes` | shared by processes |
/// | `alone` | local |
macro_rules! stamp {
    ($file:literal: $(in $group:ident: $($name:ident),+;)+) => {
        pub const TESTS: &[crate::harness::Test] = &{
            const GROUPS: &[&[crate::harness::Test]] = &[$($(stamp!(@ $group $file $name)),+),+];
            const LEN: usize = crate::stamp::sum(GROUPS);
            crate::stamp::flat::<LEN>(GROUPS)
        };
    };
    (@ all $file:literal $name:ident) => { stamp!(# $file $name: private shared processes local) };
    (@ peers $file:literal $name:ident) => { stamp!(# $file $name: private shared processes) };
    (@ shared $file:literal $name:ident) => { stamp!(# $file $name: shared processes) };
    (@ threads $file:literal $name:ident) => { stamp!(# $file $name: private shared) };
    (@ fallible $file:literal $name:ident) => { stamp!(# $file $name: shared processes local) };
    (@ processes $file:literal $name:ident) => { stamp!(# $file $name: processes) };
    (@ alone $file:literal $name:ident) => { stamp!(# $file $name: local) };
    (# $file:literal $name:ident: $($world:ident)+) => {
        &[$((
            concat!($file, "::", stringify!($world), "::", stringify!($name)),
            $name::<crate::stamp::world::$world> as fn(),
        )),+]
    };
}

/// The worlds, under the names that the tests use.
#[allow(non_camel_case_types, reason = "they are parts of the names of tests")]
pub mod world {
    use ossature_sys::scope::{Private, Shared};

    use crate::world::{Alone, Processes, Threads};

    pub type private = Threads<Private>;
    pub type shared = Threads<Shared>;
    pub type processes = Processes;
    pub type local = Alone;
}

use crate::harness::Test;

pub const fn sum(groups: &[&[Test]]) -> usize {
    let (mut n, mut at) = (0, 0);
    while at < groups.len() {
        n += groups[at].len();
        at += 1;
    }
    n
}

pub const fn flat<const LEN: usize>(groups: &[&[Test]]) -> [Test; LEN] {
    fn none() {}
    let mut tests: [Test; LEN] = [("", none); LEN];
    let (mut n, mut group) = (0, 0);
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            tests[n] = groups[group][at];
            n += 1;
            at += 1;
        }
        group += 1;
    }
    tests
}
