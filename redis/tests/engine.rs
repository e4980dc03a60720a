//! Pools over servers of the tests' own: each line of the table in the crate's documentation. A main of its own,
//! because the same program is the workers.

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
#[cfg(feature = "tls")]
#[path = "engine/tls.rs"]
mod tls;
#[path = "engine/work.rs"]
mod work;

/// The tables of what fails, in the crate's documentation.
fn every_line_of_the_tables_has_its_tests() {
    let lines = include_str!("../src/lib.rs").lines().filter_map(|line| line.strip_prefix("//! "));
    let section = lines.skip_while(|line| *line != "# What happens when something fails").skip(1);
    let rows = section.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| "));
    let mut count = 0;
    for row in rows.filter(|row| !row.starts_with("| ---") && !row.starts_with("| what fails")) {
        let named = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in named.split(", ") {
            let test = test.trim_matches('`');
            let all = [calls::TESTS, failures::TESTS, hosts::TESTS, queues::TESTS, refusals::TESTS];
            let is_there = all.concat().iter().any(|(name, _)| *name == test);
            // Built with the feature `tls` alone.
            assert!(is_there || include_str!("engine/tls.rs").contains(&format!("fn {test}()")), "{test:?} of {row}");
        }
        count += 1;
    }
    assert!(count >= 20, "{count} lines");
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
    for module in [calls::TESTS, failures::TESTS, hosts::TESTS, queues::TESTS, refusals::TESTS] {
        tests.extend_from_slice(module);
    }
    #[cfg(feature = "tls")]
    tests.extend_from_slice(tls::TESTS);
    support::run(&tests);
}
