//! This crate's server and CPython's, each on a given core.

use std::fs;

use ossature::multiprocessing::managers::{DictProxy, Limits};
use ossature::multiprocessing::{Context, Manager};
use ossature_benches::python::Pythons;

/// Keeps all threads of a process on one core.
pub fn pin_process(process: u32, core: usize) {
    // SAFETY: a cpu_set_t is a plain bit set; all zeroes is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET ignores numbers beyond the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs").flatten();
    for thread in threads.filter_map(|thread| thread.file_name().to_str()?.parse::<libc::pid_t>().ok()) {
        // SAFETY: sched_setaffinity(2) reads the size it is given from `set`.
        let answer = unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) };
        assert_eq!(answer, 0, "sched_setaffinity");
    }
}

pub fn server_of(manager: &Manager) -> u32 {
    manager.process().and_then(|process| process.pid()).expect("it runs").as_raw_nonzero().get().unsigned_abs()
}

/// A server with a dict, with or without shared memory, at a path or over TCP.
pub struct Ours {
    /// The server, which ends when this value is dropped.
    _manager: Manager,
    dict: DictProxy<String, i64>,
    key: String,
}

impl Ours {
    pub fn start(core: usize, exchanges: usize, tcp: bool) -> Self {
        let builder = Manager::builder().limits(Limits { exchanges, ..Limits::default() });
        let builder = if tcp { builder.address(("127.0.0.1", 0)) } else { builder };
        let manager = builder.start(Context::Spawn).expect("a server");
        pin_process(server_of(&manager), core);
        let (dict, key) = (manager.dict().expect("a dict"), "k".to_owned());
        dict.insert(&key, &7).expect("the server stores the value");
        assert_eq!(manager.shares_memory().expect("a connection"), exchanges > 0 && !tcp);
        Self { _manager: manager, dict, key }
    }

    pub fn get(&self) {
        assert_eq!(self.dict.get(&self.key).expect("an answer"), Some(7));
    }
}

/// A client of each build of CPython on one core, with a server of that build on another.
pub fn cpython(client: usize, server: usize, tcp: bool) -> Pythons {
    let address = if tcp { "('127.0.0.1', 0)" } else { "None" };
    let [here, there] = [client, server].map(|core| format!("{{{core}}}"));
    Pythons::start(&[
        "import os; from multiprocessing.managers import SyncManager",
        &format!("m = SyncManager(address={address}, authkey=b'k'); m.start()"),
        &format!("os.sched_setaffinity(m._process.pid, {there}); os.sched_setaffinity(0, {here})"),
        &format!("[os.sched_setaffinity(int(t), {there}) for t in os.listdir('/proc/%d/task' % m._process.pid)]"),
        "d = m.dict(); d['k'] = 7; d.get('k')",
        &format!("[os.sched_setaffinity(int(t), {there}) for t in os.listdir('/proc/%d/task' % m._process.pid)]"),
    ])
}
