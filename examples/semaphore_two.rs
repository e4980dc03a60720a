//! Five processes pass a semaphore of two: never more than two of them are inside.
//!
//! `cargo run --example semaphore_two`; with `--self-test` it checks that.

mod family;
#[path = "family/front.rs"]
mod front;

use std::process::ExitCode;
use std::time::Duration;

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::{Array, Semaphore, Value};

const USAGE: &str = "\
usage: semaphore_two [--self-test]
Five processes pass a semaphore of two.
  --self-test  checks that never more than two were inside";

fn pass(seats: &Semaphore, inside: &Value<u32>, most: &Value<u32>, number: u32) -> Outcome {
    let _seat = seats.permit()?; // Python: with seats: it comes back at the end, also if this process is killed
    let now = inside.with(|inside| {
        *inside += 1;
        *inside
    })?;
    most.with(|most| *most = now.max(*most))?;
    println!("process {number} is inside, one of {now}");
    std::thread::sleep(Duration::from_millis(20));
    inside.with(|inside| *inside -= 1)?;
    Ok(())
}

fn program() -> Outcome {
    let seats = Semaphore::new(2)?;
    let (inside, most, passed) = (Value::new(0)?, Value::new(0)?, Array::from_slice(&[0_u8; 5])?);
    let children = (0..5).map(|number| {
        let (seats, inside, most, passed) = (&seats, &inside, &most, &passed);
        start(move || {
            pass(seats, inside, most, number)?;
            Ok(passed.set(number as usize, 1)?)
        })
    });
    join(children.collect::<Result<Vec<_>, _>>()?)?;
    println!("at most {} were inside at a time", most.get()?);
    if is_self_test() {
        assert_eq!((passed.to_vec()?, inside.get()?, seats.get_value()), (vec![1; 5], 0, 2));
        assert!((1..=2).contains(&most.get()?));
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
