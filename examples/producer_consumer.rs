//! A producer and two consumers on a condition: a belt with four slots in shared memory.
//!
//! `cargo run --example producer_consumer`; with `--self-test` it checks that every item arrived once.

mod family;
#[path = "family/front.rs"]
mod front;

use std::process::ExitCode;
use std::time::Duration;

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::{Condition, RawArray, RawValue};

const USAGE: &str = "\
usage: producer_consumer [--self-test]
A producer and two consumers share a belt with four places, under a condition.
  --self-test  checks that every item arrived once";

const PLACES: u32 = 4;
const ITEMS: u32 = 40;
/// The maximum wait of the producer for a free slot, because the consumers may have died.
const PATIENCE: Duration = Duration::from_secs(3);

/// The belt. Every access holds the condition's lock, so the values need no locks of their own.
struct Belt {
    changed: Condition,
    places: RawArray<u32>,
    put: RawValue<u32>,
    taken: RawValue<u32>,
}

impl Belt {
    fn new() -> ossature::Result<Self> {
        Ok(Self {
            changed: Condition::new()?,
            places: RawArray::new(PLACES as usize)?,
            put: RawValue::new(0)?,
            taken: RawValue::new(0)?,
        })
    }

    fn put(&self, item: u32) -> Outcome {
        let _held = self.changed.lock()?; // Python: with changed:
        if !self.changed.wait_for(|| self.put.get() - self.taken.get() < PLACES, PATIENCE)? {
            return Err("the belt stays full: no consumer takes an item".into());
        }
        self.places.set((self.put.get() % PLACES) as usize, item)?;
        self.put.set(self.put.get() + 1);
        self.changed.notify_all()?;
        Ok(())
    }

    /// Takes the next item; `None` after the last one.
    fn take(&self) -> ossature::Result<Option<u32>> {
        let _held = self.changed.lock()?;
        self.changed.wait_for(|| self.put.get() > self.taken.get() || self.taken.get() == ITEMS, None)?;
        if self.taken.get() == ITEMS {
            return Ok(None);
        }
        let item = self.places.get((self.taken.get() % PLACES) as usize)?;
        self.taken.set(self.taken.get() + 1);
        self.changed.notify_all()?;
        Ok(Some(item))
    }
}

fn program() -> Outcome {
    let (belt, arrived) = (Belt::new()?, RawArray::<u32>::new(ITEMS as usize)?);
    let consume = |name: &str| -> Outcome {
        while let Some(item) = belt.take()? {
            println!("{name} takes {item}");
            arrived.set(item as usize, arrived.get(item as usize)? + 1)?;
        }
        Ok(())
    };
    let consumers = [start(|| consume("the one"))?, start(|| consume("the other"))?];
    let producer = start(|| (0..ITEMS).try_for_each(|item| belt.put(item)))?;
    join([producer])?;
    join(consumers)?;
    if is_self_test() {
        assert_eq!(arrived.to_vec(), [1; ITEMS as usize], "every item arrives once");
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
