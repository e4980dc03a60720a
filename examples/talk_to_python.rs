//! A Python program requests work from this program, and sends back the result. Both know a key, and nothing that comes
//! over the connection is executed.

#[path = "family/guided.rs"]
mod guided;

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use guided::{Outcome, Running, expect, run, unknown};
use ossature::multiprocessing::connection::pickle::{Value, from_value, to_value};
use ossature::multiprocessing::connection::{Address, AuthKey, ConnectBuilder, Connection, Family, Listener};

const USAGE: &str = "\
usage: talk_to_python [--without]
Sends a job to a Python program over multiprocessing.connection, and prints its answer.
  --without    does Python's part in Rust, as it does where no python3 is installed
  --self-test  runs both ways and compares";

/// The Python program. It reads the key from standard input, because every user may read a command line.
const PYTHON: &str = "\
import sys
from multiprocessing.connection import Client
address, key = sys.argv[1], sys.stdin.buffer.read()
with Client(address, authkey=key) as conn:
    job = conn.recv()
    conn.send({'name': job['name'], 'sum': sum(job['numbers']), 'longest': max(job['words'], key=len)})
";

const LIMIT: Duration = Duration::from_secs(8);

#[derive(serde::Serialize)]
struct Job {
    name: String,
    numbers: Vec<u64>,
    words: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Answer {
    name: String,
    sum: u64,
    longest: String,
}

/// Sends one client a job and reads the answer.
fn serve(listener: &Listener) -> Outcome<Answer> {
    let connection = listener.accept_timeout(LIMIT)?.ok_or("no client connected in time")?;
    let words = ["bone", "marrow", "rib"].map(str::to_owned).to_vec();
    connection.send_pickled(&to_value(&Job { name: "first".into(), numbers: vec![1, 2, 3], words })?)?;
    let answer = connection.recv_pickled_timeout(LIMIT)?.ok_or("the client did not answer in time")?;
    Ok(from_value(answer)?)
}

/// Does in Rust what the Python program does.
fn instead_of_python(connection: &Connection) -> Outcome {
    let job = connection.recv_pickled_timeout(LIMIT)?.ok_or("no job came")?;
    let items = |name: &str| job.get(name).and_then(Value::as_items).unwrap_or_default();
    let sum: i64 = items("numbers").iter().filter_map(Value::as_int).sum();
    let longest = items("words").iter().filter_map(Value::as_str).max_by_key(|word| word.len());
    let name = job.get("name").cloned().unwrap_or_default();
    let answer = [("name", name), ("sum", sum.into()), ("longest", longest.unwrap_or_default().into())];
    Ok(connection.send_pickled(&Value::dict(answer))?)
}

fn program(arguments: &[&str]) -> Outcome {
    let without = match arguments {
        [] => false,
        ["--without"] => true,
        _ => return unknown(arguments),
    };
    let key = AuthKey::random()?;
    let listener = Listener::builder().authkey(&key).bind(Address::arbitrary(Family::Unix)?)?;
    let address = listener.address().clone();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, &address.to_string()]).stdin(Stdio::piped());
    let started = if without { None } else { Some(python.spawn()) };
    let answer = if let Some(Ok(mut python)) = started {
        python.stdin.take().ok_or("Python has no standard input")?.write_all(key.as_bytes())?;
        let answer = serve(&listener);
        if answer.is_err() {
            let _ = python.kill(); // it may wait for ever
        }
        let status = python.wait()?;
        if !status.success() && answer.is_ok() {
            return Err(format!("Python failed: {status}").into());
        }
        answer?
    } else {
        if let Some(Err(error)) = started {
            println!("python3 does not start ({error}); its part runs in Rust");
        }
        let client = thread::spawn(move || instead_of_python(&ConnectBuilder::new().authkey(&key).connect(&address)?));
        let answer = serve(&listener);
        client.join().map_err(|_| "the client panicked")??;
        answer?
    };
    println!("{}: sum {}, longest word {}", answer.name, answer.sum, answer.longest);
    Ok(())
}

fn self_test() -> Outcome {
    let right = "first: sum 6, longest word marrow\n";
    for arguments in [&[][..], &["--without"]] {
        let text = Running::start(arguments)?.finish()?;
        expect(text.ends_with(right), "the answer is right", &text)?;
    }
    println!("ok");
    Ok(())
}

fn main() -> ExitCode {
    run(USAGE, program, self_test)
}
