//! Keys, handshakes, addresses, listeners and clients.

mod accept;
mod address;
mod adopt;
mod bind;
mod client;
mod handshake;
mod hostile;
mod incoming;

use std::os::unix::net::UnixStream;

use ossature::multiprocessing::connection::{
    Address, AuthKey, ConnectBuilder, Connection, Family, Listener, ListenerBuilder,
};

fn key() -> AuthKey {
    AuthKey::from("peekaboo")
}

fn fresh() -> Address {
    Address::arbitrary(Family::Unix).unwrap()
}

/// An abstract name that no other run of the tests has.
fn in_no_file_system(name: &str) -> Address {
    Address::Abstract(format!("ossature-{name}-{}", std::process::id()).into())
}

/// A builder with the key.
fn keyed() -> ListenerBuilder {
    Listener::builder().authkey(&key())
}

/// A socket at a listener's path, without a handshake yet.
fn raw(listener: &Listener) -> UnixStream {
    let Address::Unix(path) = listener.address() else { panic!("not a path") };
    UnixStream::connect(path).unwrap()
}

/// A client with the key, on a thread of its own because the listener has its part in the handshake.
fn client(address: &Address) -> std::thread::JoinHandle<ossature::Result<Connection>> {
    let address = address.clone();
    std::thread::spawn(move || ConnectBuilder::new().authkey(&key()).connect(address))
}
