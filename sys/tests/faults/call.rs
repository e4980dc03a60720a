//! The calls of a program's own wrappers, in Rust and in C.

use std::ffi::{c_char, c_int};
use std::io;
use std::process::Command;

use ossature_sys::errno::Errno;
use ossature_sys::faults::sweep::{Failure, Sweep};
use ossature_sys::faults::{self, Fault, Rule};

use crate::sweep::alone;

fn wrapper() -> io::Result<u32> {
    faults::call("wrapped", || Ok(7))
}

#[test]
fn a_call_of_a_wrapper_fails_with_the_error_of_its_own_type() {
    let _alone = alone();
    assert_eq!(wrapper().unwrap(), 7);
    let rule = Rule::on("wrapped", Fault::Fail(Errno::NOSPC)).nth(2).arm().unwrap();
    assert_eq!(wrapper().unwrap(), 7);
    assert_eq!(wrapper().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!((rule.seen(), rule.hits()), (2, 1));
    assert_eq!(faults::call::<u32, Errno>("other", || Ok(8)), Ok(8));
}

#[test]
fn a_rule_for_all_tells_which_call_it_met() {
    let _alone = alone();
    let rule = Rule::on("*", Fault::Count).arm().unwrap();
    assert_eq!(&*rule.met(), "");
    wrapper().unwrap();
    assert_eq!((&*rule.met(), rule.met().to_string()), ("wrapped", "wrapped".to_owned()));
    // 32 bytes of it, without the letter that lies across the end.
    faults::call::<(), Errno>("a_name_that_is_too_long_for_it_ünd_more", || Ok(())).unwrap();
    assert_eq!(&*rule.met(), "a_name_that_is_too_long_for_it_");
    drop(rule);
    assert_eq!(&*Rule::on("*", Fault::Count).arm().unwrap().met(), "");
}

#[test]
fn a_transfer_of_a_wrapper_is_shortened() {
    let _alone = alone();
    assert_eq!(faults::allowed("moved", 10), 10);
    let _rule = Rule::on("moved", Fault::Shorten(3)).arm().unwrap();
    assert_eq!([10, 2, 0].map(|len| faults::allowed("moved", len)), [3, 2, 0]);
    assert_eq!(faults::allowed("other", 10), 10);
}

#[test]
fn a_sweep_says_why_it_ended() {
    let _alone = alone();
    let sweep = Sweep::new(&[Errno::IO]).ignore_threads();
    assert_eq!(sweep.run(|| Ok::<_, ()>(())), Err(Failure::NoCall));
    assert!(sweep.run(|| Ok::<_, ()>(())).unwrap_err().to_string().contains("wrap its calls in"));
    assert_eq!(sweep.run(|| Err::<(), _>(3)), Err(Failure::Undisturbed(3)));
    let mut runs = 0;
    let fewer = || {
        runs += 1;
        (runs..3).try_for_each(|_| wrapper().map(drop))
    };
    assert!(matches!(sweep.run(fewer), Err(Failure::Unsteady { nth: 1, calls: 1 })));
    let rules = [(); 16].map(|()| Rule::on("unheard", Fault::Count).arm().unwrap());
    assert!(matches!(sweep.run(wrapper), Err(Failure::NoRuleLeft)));
    drop(rules);
    let swept = sweep.run(|| wrapper().or(Ok::<_, io::Error>(0))).unwrap();
    assert_eq!((swept.calls, swept.refused, swept.survived), (1, 0, 1));
}

#[test]
fn a_sweep_of_a_name_that_is_never_called_names_the_calls_that_are() {
    let _alone = alone();
    let mut seen = 0;
    let both = || wrapper().and_then(|_| faults::call::<_, io::Error>("second", || Ok(7))).and_then(|_| wrapper());
    let sweep = Sweep::new(&[Errno::IO]).ignore_threads().of("wraped");
    let failure = sweep.run_with(both, |_, answer| seen += u32::from(answer.is_ok())).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the operation makes no call named \"wraped\", so nothing was tested: choose one of the names that it calls (wrapped, \
         second)"
    );
    assert_eq!(seen, 2 + 4, "each answer was handed on");
    let names = [
        "one_call_of_twenty_one",
        "two_calls_of_twenty_two",
        "three_calls_of_twenty_four",
        "four",
        "a_fifth_call_of_many",
    ];
    let many = || names.iter().try_for_each(|name| faults::call::<_, Errno>(name, || Ok(())));
    let Err(Failure::NotMet { met, .. }) = sweep.run(many) else { panic!("another failure") };
    assert_eq!(&*met, "one_call_of_twenty_one, two_calls_of_twenty_two, three_calls_of_twenty_four, four, ..");
    assert_eq!(sweep.run(|| Ok::<_, ()>(())), Err(Failure::NoCall));
}

// SAFETY: as `include/ossature_faults.h` declares them.
unsafe extern "C" {
    fn ossature_fault(name: *const c_char) -> c_int;
    fn ossature_allowed(name: *const c_char, len: usize) -> usize;
}

fn fault(name: &std::ffi::CStr) -> (c_int, Option<i32>) {
    // SAFETY: the name is a string of C's.
    let answer = unsafe { ossature_fault(name.as_ptr()) };
    (answer, io::Error::last_os_error().raw_os_error())
}

#[test]
fn a_call_in_c_fails_and_sets_errno() {
    let _alone = alone();
    assert_eq!(fault(c"wrapped_in_c").0, 0);
    let rule = Rule::on("wrapped_in_c", Fault::Fail(Errno::XDEV)).arm().unwrap();
    assert_eq!(fault(c"wrapped_in_c"), (-1, Some(libc::EXDEV)));
    drop(rule);
    assert_eq!(fault(c"wrapped_in_c").0, 0);
    let _rule = Rule::on("moved_in_c", Fault::Shorten(3)).arm().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { ossature_allowed(c"moved_in_c".as_ptr(), 10) }, 3);
}

/// The header's macros, with stand-ins for the two functions. A call that is set to fail is not made. Without the
/// switch nothing of the hook remains.
const PROGRAM: &str = r#"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "ossature_faults.h"
#ifdef OSSATURE_FAULTS
int ossature_fault(const char *name) { errno = 5; return strcmp(name, "fails") ? 0 : -1; }
size_t ossature_allowed(const char *name, size_t len) { return name[0] == 's' ? 3 : len; }
#endif
static int made;
static int call(void) { made++; return 7; }
int main(void) {
    int failed = OSSATURE_CALL("fails", call()), well = OSSATURE_CALL("other", call());
    size_t most = OSSATURE_ALLOWED("short", (size_t)10);
#ifdef OSSATURE_FAULTS
    return !(failed == -1 && errno == 5 && well == 7 && made == 1 && most == 3);
#else
    return !(failed == 7 && well == 7 && made == 2 && most == 10);
#endif
}
"#;

#[test]
fn the_header_is_c_and_its_macros_pass_the_hook() {
    let _alone = alone();
    let Ok(compiler) = Command::new("cc").arg("--version").output() else {
        println!("LEFT OUT: there is no C compiler");
        return;
    };
    assert!(compiler.status.success());
    let place = std::env::temp_dir().join(format!("ossature-header-{}", std::process::id()));
    let (source, program) = (place.with_extension("c"), place.with_extension("bin"));
    std::fs::write(&source, PROGRAM).unwrap();
    for switch in [&["-DOSSATURE_FAULTS"][..], &[]] {
        let built = Command::new("cc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
            .args(switch)
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        assert!(Command::new(&program).status().unwrap().success(), "{switch:?}");
    }
    std::fs::remove_file(source).unwrap();
    std::fs::remove_file(program).unwrap();
}
