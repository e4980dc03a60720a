//! How a new process gets its task, and what happens if it cannot. A main of its own with one thread, because the new
//! process begins with one as well.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "../sys/tests/fork/harness.rs"]
mod harness;

#[path = "start/context.rs"]
mod context;
#[path = "start/executable.rs"]
mod executable;
#[cfg(ossature_faults)]
#[path = "start/faults.rs"]
mod faults;
#[path = "start/forkserver.rs"]
mod forkserver;
#[path = "start/listener.rs"]
mod listener;
#[path = "start/orders.rs"]
mod orders;
#[path = "start/privileged.rs"]
mod privileged;
#[path = "start/refused.rs"]
mod refused;
#[path = "start/rights.rs"]
mod rights;
#[path = "start/spawn.rs"]
mod spawn;
#[path = "start/streams.rs"]
mod streams;
#[path = "start/stuck.rs"]
mod stuck;
#[path = "start/unnamed.rs"]
mod unnamed;
#[path = "start/values.rs"]
mod values;

use ossature::multiprocessing::{Tasks, freeze_support, tasks};

static TASKS: Tasks = tasks![
    context::default_is_what_started_it,
    context::tell_arguments,
    executable::acts_as_root,
    executable::nine,
    forkserver::wait_for_end,
    forkserver::tell_place,
    forkserver::let_go,
    forkserver::wait_for_a_slow_server,
    forkserver::tell_server,
    forkserver::tell_childs_server,
    forkserver::live_and_be_killed,
    forkserver::sleep_for_ever,
    forkserver::use_server_when_told,
    forkserver::preload,
    forkserver::preloaded,
    forkserver::preload_a_panic,
    forkserver::preload_and_look,
    forkserver::preload_an_end,
    forkserver::preload_and_end,
    forkserver::leave_a_thread,
    forkserver::preload_and_go_deaf,
    forkserver::ask_the_deaf,
    forkserver::preload_a_thread,
    listener::let_one_in,
    orders::weigh,
    orders::tell_of_the_begin,
    refused::dive,
    privileged::capabilities,
    privileged::without_dev,
    privileged::read_nothing,
    rights::tell_rights,
    rights::start_and_lower,
    rights::lower_and_spawn,
    streams::close_and_start,
    streams::preload_and_close,
    streams::start_without_streams,
    streams::look_for_private,
    streams::print_and_start,
    stuck::trace_a_child,
    refused::hear,
    refused::take::<refused::Never>,
    refused::take::<refused::Longer>,
    refused::take::<refused::Panics>,
    refused::take::<refused::Killed>,
    refused::take::<refused::Sleeps>,
    refused::take::<refused::Leaves>,
    refused::take::<refused::Unloaded>,
    spawn::none,
    spawn::six,
    spawn::square,
    spawn::other::square,
    spawn::tell_surroundings,
    spawn::tell_descriptors,
    spawn::count_descriptors,
    spawn::sum,
    spawn::open_path,
    spawn::start_another,
    spawn::panic_with,
    spawn::tell_name,
    spawn::unchanged,
    unnamed::preload_an_end_at_the_first_name,
    unnamed::start_with_a_long_request,
    unnamed::take,
    unnamed::start_and_kill,
    unnamed::preload_a_late_name,
    unnamed::preload_a_failing_name,
    unnamed::tell_of_the_end,
    unnamed::be_named_too_late,
    unnamed::fail_to_be_named,
    values::text,
    values::half,
    values::read,
    values::panics,
    values::leaves,
    values::rests,
    values::leaves_a_child,
    values::counter,
    values::seven,
    values::cut,
];

fn main() {
    if std::env::var_os(context::BIG_MAIN).is_some() {
        // As a program has it that needs a bigger stack than that of its first thread.
        let main = std::thread::Builder::new().name("big main".into()).stack_size(16 << 20).spawn(context::big_main);
        return main.unwrap().join().unwrap();
    }
    context::too_early();
    freeze_support(TASKS);
    match std::env::args().nth(1).as_deref() {
        Some(executable::REPLACED) => return executable::run_replaced(),
        Some(executable::AS_NOBODY) => return executable::run_as_nobody(),
        Some(forkserver::SLEEPERS) => return forkserver::start_sleepers(),
        Some(executable::THROUGH_LOADER) => return executable::run_through_loader(),
        Some(privileged::START) => return privileged::start_some(),
        Some(privileged::ATTACK) => return privileged::attack(),
        _ => {}
    }
    // Open until this process ends, so that nobody takes it for left behind: here, or the first test that needs it had
    // it more.
    ossature::multiprocessing::util::temp_dir().expect("a directory can be made");
    let mut tests = Vec::new();
    for module in [
        context::TESTS,
        spawn::TESTS,
        refused::TESTS,
        executable::TESTS,
        privileged::TESTS,
        forkserver::TESTS,
        orders::TESTS,
        rights::TESTS,
        streams::TESTS,
        stuck::TESTS,
        listener::TESTS,
        values::TESTS,
    ] {
        tests.extend_from_slice(module);
    }
    #[cfg(ossature_faults)]
    {
        tests.extend_from_slice(faults::TESTS);
        tests.extend_from_slice(unnamed::TESTS);
    }
    harness::run(&tests)
}
