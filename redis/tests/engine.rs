//! Pools over servers of the tests' own: each line of the table in the crate's documentation. A main of its own,
//! because the same program is the workers.

mod support;

#[path = "engine/calls.rs"]
mod calls;
#[path = "engine/failures.rs"]
mod failures;
#[path = "engine/queues.rs"]
mod queues;
#[path = "engine/refusals.rs"]
mod refusals;
#[cfg(feature = "tls")]
#[path = "engine/tls.rs"]
mod tls;
#[path = "engine/work.rs"]
mod work;

fn main() {
    ossature::multiprocessing::freeze_support(work::TASKS);
    ossature_redis::worker_support();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, url, path] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        match first {
            "--client" => failures::client(url, path),
            "--getter" => queues::getter(url, path),
            #[cfg(feature = "tls")]
            "--trusts" => tls::client(url),
            _ => {}
        }
    }
    let mut tests = Vec::new();
    for module in [calls::TESTS, failures::TESTS, queues::TESTS, refusals::TESTS] {
        tests.extend_from_slice(module);
    }
    #[cfg(feature = "tls")]
    tests.extend_from_slice(tls::TESTS);
    support::run(&tests);
}
