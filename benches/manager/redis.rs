//! Debian's redis-server on a Unix socket, and a minimal handwritten client.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::served::pin_process;

/// The redis-server; dropping the value kills it.
pub struct Redis {
    child: Child,
    socket: PathBuf,
    stream: UnixStream,
}

impl Redis {
    /// Starts a redis-server; `None` if it is not installed.
    pub fn start(core: usize) -> Option<Self> {
        let socket = std::env::temp_dir().join(format!("ossature_bench_redis_{}_{core}", std::process::id()));
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let begun = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if begun.elapsed() < Duration::from_secs(20) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("redis-server does not listen: {error}"),
            }
        };
        pin_process(child.id(), core);
        let redis = Self { child, socket, stream };
        redis.call(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n7\r\n", b"+OK\r\n");
        Some(redis)
    }

    fn call(&self, request: &[u8], wanted: &[u8]) {
        (&self.stream).write_all(request).expect("it reads");
        let mut reply = [0; 64];
        let length = (&self.stream).read(&mut reply).expect("it replies");
        assert_eq!(&reply[..length], wanted);
    }

    pub fn get(&self) {
        self.call(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$1\r\n7\r\n");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It is killed and reaped here; if that fails it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
