//! Customized managers and proxies, as in Python's manual. One type has two names, each with its own list of methods. A
//! generator has a proxy that is an iterator. The functions of a module have a proxy too.
//!
//! `cargo run --example custom_manager`. With `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;

use ossature::managed;
use ossature::multiprocessing::managers::{self, Access, Proxy, Registry, Types};
use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
use own::{Outcome, self_test};

const USAGE: &str = "\
usage: custom_manager [--self-test]
A server of objects of this program's own types, and proxies with other methods than the types have.
  --self-test  checks what is printed";

/// A type whose methods return the method that was called.
#[derive(Debug)]
pub struct Foo;

managed! {
    impl Foo as FooProxy {
        /// Creates the object for a client.
        pub fn new() -> Self {
            Self
        }

        /// Returns a text that names this method.
        pub fn f(&self) -> String {
            "you called Foo.f()".to_owned()
        }

        /// Returns a text that names this method too.
        pub fn g(&self) -> String {
            "you called Foo.g()".to_owned()
        }

        /// Returns such a text too; only clients of `Foo2` can call this method.
        pub fn _h(&self) -> String {
            "you called Foo._h()".to_owned()
        }
    }
}

/// The squares of 0 to 9, one after the other.
#[derive(Debug)]
pub struct Squares(u64);

managed! {
    impl Squares as SquaresProxy {
        /// Creates the generator for a client.
        pub fn new() -> Self {
            Self(0)
        }

        /// The next square; `None` at the end.
        pub fn next_square(&mut self) -> Option<u64> {
            let number = self.0;
            self.0 += 1;
            (number < 10).then_some(number * number)
        }
    }
}

/// A proxy is a struct of this program, so it can have further methods and traits.
impl Iterator for SquaresProxy {
    type Item = ossature::Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_square().transpose()
    }
}

/// Functions that need no state.
#[derive(Debug)]
pub struct Operator;

managed! {
    impl Operator as OperatorProxy {
        /// Creates the object for a client.
        pub fn new() -> Self {
            Self
        }

        /// The sum of `a` and `b`.
        pub fn add(&self, a: i64, b: i64) -> i64 {
            a + b
        }

        /// The power, if it fits in 128 bits.
        pub fn pow(&self, base: u128, exponent: u32) -> Result<u128, String> {
            base.checked_pow(exponent).ok_or_else(|| format!("{base} to the power of {exponent} is too large"))
        }
    }
}

/// What the server serves: `Foo1` and `Foo2` are the same type with different methods.
struct Served;

impl Types for Served {
    fn register(registry: &mut Registry) {
        registry
            .add_as::<Foo>("Foo1")
            .allow("Foo1", Access::new().methods(["f", "g"]))
            .add_as::<Foo>("Foo2")
            .allow("Foo2", Access::new().methods(["g", "_h"]))
            .add_as::<Squares>("baz")
            .add_as::<Operator>("operator");
    }
}

fn line() {
    println!("{}", "-".repeat(20));
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let line = "-".repeat(20);
        let wanted = [
            &*line,
            "you called Foo.f()",
            "you called Foo.g()",
            "Foo1 has [\"f\", \"g\"]",
            "AttributeError: method '_h' of 'Foo' object is not exposed",
            &line,
            "you called Foo.g()",
            "you called Foo._h()",
            "Foo2 has [\"_h\", \"g\"]",
            &line,
            "<0> <1> <4> <9> <16> <25> <36> <49> <64> <81>",
            &line,
            "op.add(23, 45) = 68",
            "op.pow(2, 94) = 19807040628566084398385987584",
            "op.pow(2, 200): RuntimeError: 2 to the power of 200 is too large",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
        return Ok(());
    }
    let manager = Manager::builder().types::<Served>().start(Context::Spawn)?;
    let sorted = |proxy: &Proxy| {
        let mut methods = proxy.exposed().to_vec();
        methods.sort();
        methods
    };

    line();
    let f1 = FooProxy::from(manager.create("Foo1", ())?);
    println!("{}\n{}", f1.f()?, f1.g()?);
    println!("Foo1 has {:?}", sorted(f1.as_ref()));
    match f1._h() {
        Err(error) if error.to_string().contains("is not in exposed") => {
            println!("AttributeError: method '_h' of 'Foo' object is not exposed");
        }
        other => return Err(format!("Foo1 has a method that it does not expose: {other:?}").into()),
    }

    line();
    let f2 = FooProxy::from(manager.create("Foo2", ())?);
    println!("{}\n{}", f2.g()?, f2._h()?);
    println!("Foo2 has {:?}", sorted(f2.as_ref()));

    line();
    let squares = SquaresProxy::from(manager.create("baz", ())?);
    let shown = squares.map(|square| Ok(format!("<{}>", square?))).collect::<ossature::Result<Vec<_>>>()?;
    println!("{}", shown.join(" "));

    line();
    let op = OperatorProxy::from(manager.create("operator", ())?);
    println!("op.add(23, 45) = {}", op.add(23, 45)?);
    println!("op.pow(2, 94) = {}", op.pow(2, 94)?);
    if let Err(error) = op.pow(2, 200) {
        println!("op.pow(2, 200): {error}");
    }
    manager.shutdown()?;
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(tasks![managers::serve::<Served>]);
    front::run(USAGE, program)
}
