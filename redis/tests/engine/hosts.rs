//! Three hosts, each with a server, a Sentinel and a worker: one of them is killed as a whole, or cut off from the
//! others.
//!
//! Those that are killed are process groups on three addresses of loopback. Those that are cut off are network
//! namespaces on a bridge, in namespaces of the test's own, which need no rights. Where the kernel allows none, the
//! processes of the host are stopped instead.

use std::process::{Command, Stdio};
use std::time::Duration;

use ossature_redis::Pool;

use crate::support::{Folder, LONG, Owned, Test, free_port, program, until};
use crate::work::*;

pub const TESTS: &[Test] = &[
    ("a_host_that_is_killed_with_its_primary_loses_nothing", a_host_that_is_killed_with_its_primary_loses_nothing),
    ("a_host_that_is_cut_off_with_its_primary_loses_nothing", a_host_that_is_cut_off_with_its_primary_loses_nothing),
];

/// The processes of one simulated machine.
struct Host {
    folder: Folder,
    address: String,
    /// The ports of its server and its Sentinel.
    ports: (u16, u16),
    /// The network namespace.
    space: Option<String>,
    /// The processes of the host, all in the process group of the first.
    processes: Vec<Owned>,
}

impl Host {
    fn new(address: String, space: Option<String>) -> Self {
        Self { folder: Folder::new(), address, ports: (free_port(), free_port()), space, processes: Vec::new() }
    }

    fn start(&mut self, command: &[&str]) {
        let mut whole = match &self.space {
            Some(space) => {
                let mut whole = program("ip");
                whole.args(["netns", "exec", space]).args(command);
                whole
            }
            None => {
                let mut whole = program(command[0]);
                whole.args(&command[1..]);
                whole
            }
        };
        whole.stdout(Stdio::null());
        let first = self.processes.first().map_or(0, Owned::pid);
        self.processes.push(Owned::start_in(whole, first));
    }

    fn start_server(&mut self, primary: Option<&(String, u16)>) {
        let (folder, port) = (self.folder.0.display().to_string(), self.ports.0.to_string());
        let address = self.address.clone();
        let mut line =
            vec!["redis-server", "--bind", &address, "--port", &port, "--dir", &folder, "--protected-mode", "no"];
        line.extend(["--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"]);
        line.extend(["--replica-announce-ip", &address]);
        let of = primary.map(|(address, port)| [address.clone(), port.to_string()]);
        if let Some([address, port]) = &of {
            line.extend(["--replicaof", address, port]);
        }
        self.start(&line);
        until("the server answers", || self.say(&["PING"]) == "PONG");
    }

    fn start_sentinel(&mut self, primary: &(String, u16)) {
        let path = self.folder.0.join("sentinel.conf");
        let text = format!(
            "port {}\nbind {address}\nprotected-mode no\nsentinel announce-ip {address}\ndir {}\n\
             sentinel monitor main {} {} 2\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n",
            self.ports.1,
            self.folder.0.display(),
            primary.0,
            primary.1,
            address = self.address,
        );
        std::fs::write(&path, text).unwrap();
        self.start(&["redis-server", &path.display().to_string(), "--sentinel"]);
    }

    fn start_worker(&mut self, url: &str) {
        let path = std::env::current_exe().unwrap().display().to_string();
        self.start(&[&path, "worker", "--url", url, "--pool", "p", "--lease", "2", "-j", "1"]);
    }

    /// The reply of its server; empty if the server does not run.
    fn say(&self, words: &[&str]) -> String {
        self.ask(self.ports.0, words)
    }

    fn ask(&self, port: u16, words: &[&str]) -> String {
        let mut ask = Command::new("timeout");
        ask.args(["2", "redis-cli", "-h", &self.address, "-p", &port.to_string()]).args(words);
        let said = ask.stderr(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
    }

    fn is_primary(&self) -> bool {
        self.say(&["ROLE"]).starts_with("master")
    }

    fn knows_all(&self) -> bool {
        let said = self.ask(self.ports.1, &["SENTINEL", "MASTER", "main"]).replace('\n', " ");
        said.contains("num-slaves 2") && said.contains("num-other-sentinels 2")
    }

    fn signal_all(&self, signal: &str) {
        let group = format!("-{}", self.processes[0].pid());
        assert!(Command::new("kill").args([signal, "--", &group]).status().unwrap().success());
    }

    fn kill(&mut self) {
        self.signal_all("-KILL");
        self.processes.clear();
    }
}

/// Runs a primary with two replicas and three Sentinels over three hosts, of which the first fails and comes back.
fn a_host_goes(mut hosts: [Host; 3], mut go: impl FnMut(&mut Host), mut come_back: impl FnMut(&mut Host, &str)) {
    let primary = (hosts[0].address.clone(), hosts[0].ports.0);
    hosts[0].start_server(None);
    hosts[1..].iter_mut().for_each(|host| host.start_server(Some(&primary)));
    let linked = |host: &Host| host.say(&["INFO", "replication"]).contains("master_link_status:up");
    until("the replicas have their copies", || hosts[1..].iter().all(linked));
    hosts.iter_mut().for_each(|host| host.start_sentinel(&primary));
    until("the Sentinels know all", || hosts.iter().all(Host::knows_all));
    let sentinels: Vec<_> = hosts.iter().map(|host| format!("{}:{}", host.address, host.ports.1)).collect();
    let url = format!("sentinel://{}/main", sentinels.join(","));
    hosts.iter_mut().for_each(|host| host.start_worker(&url));
    let pool: Pool = pool().retries(9).connect(&url, "p").unwrap();
    until("all work", || pool.workers() == 3);

    let expected: Vec<u64> = (0..3000).map(|n| n % 3).collect();
    let naps = pool.map_async(nap, expected.clone()).unwrap();
    until("some have ended", || naps.ended().unwrap() > 100);
    go(&mut hosts[0]);
    let ended = naps.ended().unwrap();
    assert!(ended < 3000, "the host went too late: {ended}");
    assert_eq!(naps.get().unwrap(), expected, "each result once, in its place");
    assert!(hosts[1..].iter().any(Host::is_primary), "another one took over");
    until("the host is lost", || pool.workers() == 2);

    come_back(&mut hosts[0], &url);
    until("it is a replica, and works", || !hosts[0].is_primary() && linked(&hosts[0]) && pool.workers() == 3);
    assert_eq!(pool.map(nap, expected.clone()).unwrap(), expected);
}

fn on_loopback() -> [Host; 3] {
    [2, 3, 4].map(|number| Host::new(format!("127.0.0.{number}"), None))
}

fn a_host_that_is_killed_with_its_primary_loses_nothing() {
    a_host_goes(on_loopback(), Host::kill, |host, url| {
        host.start_server(None); // as it was; the Sentinels make it a replica
        let path = host.folder.0.join("sentinel.conf").display().to_string();
        host.start(&["redis-server", &path, "--sentinel"]);
        host.start_worker(url);
    });
}

/// Options for namespaces of users, networks, mounts and processes, which end with their process.
const SPACES: [&str; 5] = ["--user", "--map-root-user", "-nmpf", "--kill-child", "--mount-proc"];

fn a_host_that_is_cut_off_with_its_primary_loses_nothing() {
    let allowed = Command::new("unshare").args(SPACES).args(["sh", "-c", BRIDGE]).output();
    if !allowed.is_ok_and(|said| said.status.success()) {
        println!("no namespaces here: the processes of a host are stopped instead");
        let go = |host: &mut Host| {
            host.signal_all("-STOP");
            std::thread::sleep(Duration::from_secs(3)); // until another one takes over
        };
        return a_host_goes(on_loopback(), go, |host, _| host.signal_all("-CONT"));
    }
    let mut inside = program("unshare");
    inside.args(SPACES).arg(std::env::current_exe().unwrap()).args(["--cut-off", "-", "-"]);
    let mut inside = Owned::start(inside);
    assert_eq!(inside.join_within(LONG * 2), Some(0));
}

/// The script that connects three namespaces by a bridge.
const BRIDGE: &str = "set -e
mount -t tmpfs none /run
ip link set lo up
ip link add bridge0 type bridge
ip link set bridge0 up
ip addr add 10.77.0.254/24 dev bridge0
for n in 1 2 3; do
  ip netns add host$n
  ip link add cable$n type veth peer name eth0 netns host$n
  ip link set cable$n master bridge0 up
  ip -n host$n addr add 10.77.0.$n/24 dev eth0
  ip -n host$n link set eth0 up
  ip -n host$n link set lo up
done";

/// Runs the test above, in its own namespaces.
pub fn cut_off() -> ! {
    assert!(Command::new("sh").args(["-c", BRIDGE]).status().unwrap().success());
    let hosts = [1, 2, 3].map(|n| Host::new(format!("10.77.0.{n}"), Some(format!("host{n}"))));
    let link = |to: &'static str| {
        move |host: &mut Host| {
            let cable = host.space.as_deref().unwrap().replace("host", "cable");
            assert!(Command::new("ip").args(["link", "set", &cable, to]).status().unwrap().success());
        }
    };
    let up = link("up");
    a_host_goes(hosts, link("down"), move |host, _| up(host));
    std::process::exit(0)
}
