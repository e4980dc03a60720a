//! The synchronization types of Python's manual, one exercise after the other. They run among processes and among
//! threads over shared memory, and among processes over the objects of a manager. The output is the same in all three
//! cases.
//!
//! `cargo run --example mp_sync [-- --among processes|threads|manager]`. With `--self-test` it checks what it prints.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::process::ExitCode;
use std::time::Duration;

use ossature::Result;
use ossature::multiprocessing::managers::{ConditionProxy, EventProxy, QueueProxy, SemaphoreProxy, ValueProxy};
use ossature::multiprocessing::{
    BoundedSemaphore, Condition, Context, Event, Manager, Process, Queue, Value, freeze_support, tasks,
};
use own::{Outcome, option, self_test};

const USAGE: &str = "\
usage: mp_sync [--among processes|threads|manager] [--self-test]
Five workers use a value, a queue, a condition, a bounded semaphore and an event.
  --among KIND  what the workers are: processes, threads, or processes that use the objects of a manager (default: all three)
  --self-test   checks what is printed";

const WORKERS: i64 = 5;
/// The maximum number of workers inside at a time.
const SEATS: i64 = 3;
const PATIENCE: Duration = Duration::from_secs(50);

/// The objects that the workers share, in shared memory or on a manager.
trait Tools: Send + Sized + 'static {
    /// Returns handles for one more worker.
    fn another(&self) -> Result<Self>;
    /// Adds to the value under the lock of the condition, notifies the others, and returns the sum.
    fn add(&self, number: i64) -> Result<i64>;
    /// Waits until the value is `sum`.
    fn wait_for_sum(&self, sum: i64) -> Result<bool>;
    fn put(&self, text: String) -> Result<()>;
    fn get(&self) -> Result<Option<String>>;
    fn enter(&self) -> Result<()>;
    fn leave(&self) -> Result<()>;
    fn wait_for_event(&self) -> Result<bool>;
    fn set_event(&self) -> Result<()>;
}

/// The objects in shared memory, for processes and threads alike.
struct Shared {
    total: Value<i64>,
    texts: Queue<String>,
    changed: Condition,
    seats: BoundedSemaphore,
    go: Event,
}

impl Shared {
    fn new() -> Result<Self> {
        Ok(Self {
            total: Value::new(0)?,
            texts: Queue::new()?,
            changed: Condition::new()?,
            seats: BoundedSemaphore::new(SEATS as u32)?,
            go: Event::new()?,
        })
    }
}

impl Tools for Shared {
    fn another(&self) -> Result<Self> {
        Ok(Self {
            total: self.total.try_clone()?,
            texts: self.texts.try_clone()?,
            changed: self.changed.try_clone()?,
            seats: self.seats.try_clone()?,
            go: self.go.try_clone()?,
        })
    }

    fn add(&self, number: i64) -> Result<i64> {
        self.changed.acquire()?;
        let sum = self.total.with(|total| {
            *total += number;
            *total
        })?;
        self.changed.notify_all()?;
        self.changed.release()?;
        Ok(sum)
    }

    fn wait_for_sum(&self, sum: i64) -> Result<bool> {
        self.changed.acquire()?;
        let reached = self.changed.wait_for(|| self.total.get().is_ok_and(|total| total == sum), PATIENCE)?;
        self.changed.release()?;
        Ok(reached)
    }

    fn put(&self, text: String) -> Result<()> {
        Ok(self.texts.put(text)?)
    }

    fn get(&self) -> Result<Option<String>> {
        self.texts.get_timeout(PATIENCE)
    }

    fn enter(&self) -> Result<()> {
        self.seats.acquire()
    }

    fn leave(&self) -> Result<()> {
        self.seats.release()
    }

    fn wait_for_event(&self) -> Result<bool> {
        self.go.wait_timeout(PATIENCE)
    }

    fn set_event(&self) -> Result<()> {
        self.go.set();
        Ok(())
    }
}

/// The objects on the server of a manager.
#[derive(Clone)]
struct Served {
    total: ValueProxy<i64>,
    texts: QueueProxy<String>,
    changed: ConditionProxy,
    seats: SemaphoreProxy,
    go: EventProxy,
}

impl Served {
    fn new(manager: &Manager) -> Result<Self> {
        Ok(Self {
            total: manager.value("q", &0)?,
            texts: manager.queue(0)?,
            changed: manager.condition()?,
            seats: manager.bounded_semaphore(SEATS as u32)?,
            go: manager.event()?,
        })
    }
}

impl Tools for Served {
    fn another(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn add(&self, number: i64) -> Result<i64> {
        self.changed.acquire()?;
        let sum = self.total.get()? + number;
        self.total.set(&sum)?;
        self.changed.notify_all()?;
        self.changed.release()?;
        Ok(sum)
    }

    fn wait_for_sum(&self, sum: i64) -> Result<bool> {
        self.changed.acquire()?;
        let reached = self.changed.wait_for(|| Ok(self.total.get()? == sum), PATIENCE)?;
        self.changed.release()?;
        Ok(reached)
    }

    fn put(&self, text: String) -> Result<()> {
        self.texts.put(&text)
    }

    fn get(&self) -> Result<Option<String>> {
        self.texts.get_timeout(PATIENCE)
    }

    fn enter(&self) -> Result<()> {
        self.seats.acquire().map(drop)
    }

    fn leave(&self) -> Result<()> {
        self.seats.release()
    }

    fn wait_for_event(&self) -> Result<bool> {
        self.go.wait_timeout(PATIENCE)
    }

    fn set_event(&self) -> Result<()> {
        self.go.set()
    }
}

/// Waits for the start, holds a seat for a while, adds its number, and reports this.
fn work<T: Tools>(tools: &T, number: i64) -> Result<()> {
    let began = tools.wait_for_event()?;
    tools.enter()?;
    tools.put(format!("worker {number} is inside, the event is {}", if began { "set" } else { "not set" }))?;
    std::thread::sleep(Duration::from_millis(5));
    tools.leave()?;
    tools.add(number)?;
    Ok(())
}

fn exercise<T: Tools>(tools: &T, start: impl Fn(T, i64) -> Result<Process>) -> Outcome {
    let workers = (1..=WORKERS).map(|number| start(tools.another()?, number)).collect::<Result<Vec<_>>>()?;
    tools.set_event()?;
    let mut texts =
        (0..WORKERS).map(|_| Ok(tools.get()?.ok_or("a worker reported nothing")?)).collect::<Outcome<Vec<_>>>()?;
    texts.sort();
    println!("{}", texts.join("\n"));
    let sum = (1..=WORKERS).sum();
    println!("the sum is {sum}: {}", tools.wait_for_sum(sum)?);
    for worker in workers {
        worker.join()?;
        if worker.exit_code() != Some(0) {
            return Err(format!("{} failed", worker.name()).into());
        }
    }
    (0..SEATS).try_for_each(|_| tools.enter())?;
    (0..SEATS).try_for_each(|_| tools.leave())?;
    println!("one release too many is an error: {}", tools.leave().is_err());
    Ok(())
}

fn program() -> Outcome {
    if let Some(text) = self_test(&[])? {
        let part = "worker 1 is inside, the event is set\nworker 2 is inside, the event is set\n\
             worker 3 is inside, the event is set\nworker 4 is inside, the event is set\n\
             worker 5 is inside, the event is set\nthe sum is 15: true\none release too many is an error: true\n";
        assert_eq!(text, ["processes", "threads", "manager"].map(|kind| format!("among {kind}\n{part}")).concat());
        return Ok(());
    }
    let among = option("among");
    let fork = |tools: Shared, number| Process::builder().fork(|| work(&tools, number));
    for kind in ["processes", "threads", "manager"] {
        if among.as_deref().is_some_and(|among| among != kind) {
            continue;
        }
        println!("among {kind}");
        match kind {
            "processes" => exercise(&Shared::new()?, fork)?,
            "threads" => {
                exercise(&Shared::new()?, |tools, number| Process::builder().thread(move || work(&tools, number)))?;
            }
            _ => {
                let manager = Manager::start(Context::Spawn)?;
                let start = |tools: Served, number| Process::builder().fork(|| work(&tools, number));
                exercise(&Served::new(&manager)?, start)?;
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(tasks![]);
    front::run(USAGE, program)
}
