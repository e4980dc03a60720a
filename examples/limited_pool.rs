//! A server that allows three connections at a time and six workers that want more: the limited resource of Python's
//! chapter on semaphores.
//!
//! `cargo run --example limited_pool`; with `--self-test` it checks that no connection was refused.

mod family;
#[path = "family/front.rs"]
mod front;

use std::process::ExitCode;
use std::time::Duration;

use family::{Outcome, is_self_test, join, start};
use ossature::multiprocessing::{BoundedSemaphore, Value};
use ossature::sys::shareable;

const USAGE: &str = "\
usage: limited_pool [--self-test]
Six workers share a server that takes three connections at a time.
  --self-test  checks that no connection was refused";

const MAX_CONNECTIONS: u32 = 3;
const WORKERS: u32 = 6;
const JOBS: u32 = 4;

shareable! {
    /// The server's count of connections.
    #[derive(Clone, Copy)]
    struct Load { open: u32, served: u32 }
}

struct Connection<'s>(&'s Value<Load>);

impl<'s> Connection<'s> {
    fn open(server: &'s Value<Load>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut load = server.lock()?;
        if load.open == MAX_CONNECTIONS {
            return Err("connection refused: too many connections".into());
        }
        load.open += 1;
        Ok(Self(server))
    }

    fn ask(&self) -> Outcome {
        std::thread::sleep(Duration::from_millis(3));
        Ok(self.0.with(|load| load.served += 1)?)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let _ = self.0.with(|load| load.open -= 1);
    }
}

fn work(pool: &BoundedSemaphore, server: &Value<Load>, worker: u32) -> Outcome {
    for job in 0..JOBS {
        // Python: with pool_sema: the unit is given back after the connection is closed.
        let _seat = pool.permit()?;
        let connection = Connection::open(server)?;
        connection.ask()?;
        println!("worker {worker} finished job {job}");
    }
    Ok(())
}

fn program() -> Outcome {
    let pool = BoundedSemaphore::new(MAX_CONNECTIONS)?;
    let server = Value::new(Load::init(0, 0))?;
    let workers = (0..WORKERS).map(|worker| {
        let (pool, server) = (&pool, &server);
        start(move || work(pool, server, worker))
    });
    join(workers.collect::<Result<Vec<_>, _>>()?)?;
    if is_self_test() {
        let Load { open, served } = server.get()?;
        assert_eq!((open, served, pool.get_value()), (0, WORKERS * JOBS, MAX_CONNECTIONS));
        assert!(pool.release().is_err(), "bounded: a unit too many would let a fourth connection in");
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
