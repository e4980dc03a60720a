//! Addresses `rediss://`: which servers the program trusts, and its errors about others.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Folder, Server, Test, free_port};
use crate::work::*;

pub const TESTS: &[Test] =
    &[("a_server_is_trusted_by_its_certificate_and_name", a_server_is_trusted_by_its_certificate_and_name)];

fn openssl(folder: &Path, line: &str) {
    let said = Command::new("openssl").current_dir(folder).args(line.split(' ')).output().unwrap();
    assert!(said.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&said.stderr));
}

fn a_server_is_trusted_by_its_certificate_and_name() {
    let folder = Folder::new();
    openssl(&folder.0, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl(&folder.0, "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    std::fs::write(folder.0.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        &folder.0,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
    let (port, place) = (free_port().to_string(), |name: &str| folder.0.join(name).display().to_string());
    let (ca, certificate, key) = (place("ca.pem"), place("server.pem"), place("server.key"));
    let mut options = vec!["--tls-port", &port, "--tls-auth-clients", "no"];
    options.extend(["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate, "--tls-key-file", &key]);
    let _server = Server::with(&options);
    let connect = |host: &str, trusts: &str| -> (bool, String) {
        let mut client = Command::new(std::env::current_exe().unwrap());
        client.args(["--trusts", &format!("rediss://{host}:{port}/"), "-"]).env("SSL_CERT_FILE", trusts);
        let Output { status, stderr, .. } = client.stdin(Stdio::null()).output().unwrap();
        (status.success(), String::from_utf8_lossy(&stderr).into_owned())
    };
    let (good, said) = connect("localhost", &ca);
    assert!(good, "{said}");
    for (host, trusts) in [("127.0.0.1", &ca), ("localhost", &certificate)] {
        let (good, said) = connect(host, trusts);
        assert!(
            !good && said.contains("Auth") && said.contains("certificate") && said.contains(host),
            "{host}: {said}"
        );
    }
}

/// Runs the program that trusts the servers that its environment names.
pub fn client(url: &str) -> ! {
    match pool().connect(url, "p") {
        Ok(_) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error:?}");
            std::process::exit(1)
        }
    }
}
