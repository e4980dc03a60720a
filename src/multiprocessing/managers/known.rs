//! The servers that this process knows, and their keys.

use std::sync::{Arc, Weak};

use ossature_sys::sync::lock::Lock;

use super::Serializer;
use super::client::Client;
use crate::error::Result;
use crate::multiprocessing::connection::{Address, AuthKey};
use crate::multiprocessing::process::current_process;

struct Known {
    address: Address,
    key: AuthKey,
    serializer: Serializer,
    client: Weak<Client>,
}

static KNOWN: Lock<Vec<Known>> = Lock::new(Vec::new());

/// Records the key and the serializer of a server, for proxies that come without a key.
pub(super) fn remember(address: &Address, key: &AuthKey, serializer: Serializer) {
    let mut known = KNOWN.lock();
    match known.iter_mut().find(|known| known.address == *address) {
        Some(known) => (known.key, known.serializer) = (key.clone(), serializer),
        None => known.push(Known { address: address.clone(), key: key.clone(), serializer, client: Weak::new() }),
    }
}

/// Returns a client of a server with the given key: the existing client of this process, or a new one that is not
/// recorded yet.
pub(super) fn client_with(address: &Address, key: &AuthKey, serializer: Serializer) -> Arc<Client> {
    let known = KNOWN.lock();
    let live = known.iter().find(|known| known.address == *address).and_then(|known| known.client.upgrade());
    drop(known);
    live.filter(|client| client.is_by(key, serializer))
        .unwrap_or_else(|| Arc::new(Client::new(address.clone(), key.clone(), serializer)))
}

/// Records a client whose server has accepted the key, for proxies that come without a key.
pub(super) fn remember_client(client: &Arc<Client>) {
    remember(client.address(), client.key(), client.serializer());
    let mut known = KNOWN.lock();
    if let Some(known) = known.iter_mut().find(|known| known.address == *client.address()) {
        known.client = Arc::downgrade(client);
    }
}

/// Returns the client of a server. An unknown server is assumed to use the key of this process, and pickles.
pub(super) fn client_of(address: &Address) -> Result<Arc<Client>> {
    client_by(address, Serializer::Pickle)
}

/// Returns the client of a server. An unknown server is assumed to use the key of this process, and the given
/// serializer.
pub(super) fn client_by(address: &Address, serializer: Serializer) -> Result<Arc<Client>> {
    let mut known = KNOWN.lock();
    let place = match known.iter().position(|known| known.address == *address) {
        Some(place) => place,
        None => {
            let key = current_process().authkey()?;
            known.push(Known { address: address.clone(), key, serializer, client: Weak::new() });
            known.len() - 1
        }
    };
    let Some(known) = known.get_mut(place) else { unreachable!("it was just found") };
    let client = known.client.upgrade().filter(|client| client.serializer() == known.serializer);
    Ok(client.unwrap_or_else(|| {
        let client = Arc::new(Client::new(known.address.clone(), known.key.clone(), known.serializer));
        known.client = Arc::downgrade(&client);
        client
    }))
}
