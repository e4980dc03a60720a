//! Pools over the tests' own servers: each row of the tables in the crate's documentation. The test has its own main,
//! because the same program serves as the workers.

mod support;

#[path = "engine/calls.rs"]
mod calls;
#[path = "engine/failures.rs"]
mod failures;
#[path = "engine/hosts.rs"]
mod hosts;
#[path = "engine/queues.rs"]
mod queues;
#[path = "engine/refusals.rs"]
mod refusals;
#[path = "engine/steps.rs"]
mod steps;
#[cfg(feature = "tls")]
#[path = "engine/tls.rs"]
mod tls;
#[path = "engine/work.rs"]
mod work;

/// Checks the tables of failures in the crate's documentation.
fn every_line_of_the_tables_has_its_tests() {
    let lines = include_str!("../src/lib.rs").lines().filter_map(|line| line.strip_prefix("//!"));
    let section = lines.skip_while(|line| *line != " # What happens when something fails").skip(1);
    let section: Vec<&str> = section.take_while(|line| !line.starts_with(" #")).collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let rows = section.iter().filter_map(|line| number(line.strip_prefix(" | ")?.split(' ').next()?));
    let rows: Vec<usize> = rows.collect();
    assert!(rows.len() >= 20 && rows.iter().copied().eq(1..=rows.len()), "{rows:?}");
    let all = [calls::TESTS, failures::TESTS, hosts::TESTS, queues::TESTS, refusals::TESTS].concat();
    let mut named = Vec::new();
    for line in &section {
        let at = line.trim_start().split_once(". `").and_then(|(at, _)| number(at));
        named.extend(at);
        if at.is_some() || line.starts_with("    `") {
            for test in line.split('`').skip(1).step_by(2) {
                // One file is built with the feature `tls` alone.
                let is_there = all.iter().any(|(name, _)| *name == test)
                    || include_str!("engine/tls.rs").contains(&format!("fn {test}()"));
                assert!(is_there, "{test:?} of {line}");
            }
        }
    }
    assert_eq!(named, rows, "each line has tests");
}

fn main() {
    ossature::multiprocessing::freeze_support(work::TASKS);
    ossature_redis::worker_support();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, url, path] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        match first {
            "--client" => failures::client(url, path),
            "--getter" => queues::getter(url, path),
            "--cut-off" => hosts::cut_off(),
            "--owner" => failures::owner(path),
            #[cfg(feature = "tls")]
            "--trusts" => tls::client(url),
            _ => {}
        }
    }
    let mut tests: Vec<support::Test> =
        vec![("every_line_of_the_tables_has_its_tests", every_line_of_the_tables_has_its_tests)];
    for module in [calls::TESTS, failures::TESTS, hosts::TESTS, queues::TESTS, refusals::TESTS, steps::TESTS] {
        tests.extend_from_slice(module);
    }
    #[cfg(feature = "tls")]
    tests.extend_from_slice(tls::TESTS);
    support::run(&tests);
}
