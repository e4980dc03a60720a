//! Which servers this process knows, and by which key.

use std::sync::{Arc, Weak};

use ossature_sys::sync::lock::Lock;

use super::client::Client;
use crate::error::Result;
use crate::multiprocessing::connection::{Address, AuthKey};
use crate::multiprocessing::process::current_process;

struct Known {
    address: Address,
    key: AuthKey,
    client: Weak<Client>,
}

static KNOWN: Lock<Vec<Known>> = Lock::new(Vec::new());

/// Notes the key of a server, for proxies that come without one.
pub(super) fn remember(address: &Address, key: &AuthKey) {
    let mut known = KNOWN.lock();
    match known.iter_mut().find(|known| known.address == *address) {
        Some(known) => known.key = key.clone(),
        None => known.push(Known { address: address.clone(), key: key.clone(), client: Weak::new() }),
    }
}

/// The client of a server. Without a noted key it has this process's.
pub(super) fn client_of(address: &Address) -> Result<Arc<Client>> {
    let mut known = KNOWN.lock();
    let place = match known.iter().position(|known| known.address == *address) {
        Some(place) => place,
        None => {
            let key = current_process().authkey()?;
            known.push(Known { address: address.clone(), key, client: Weak::new() });
            known.len() - 1
        }
    };
    let Some(known) = known.get_mut(place) else { unreachable!("it was just found") };
    Ok(known.client.upgrade().unwrap_or_else(|| {
        let client = Arc::new(Client::new(known.address.clone(), known.key.clone()));
        known.client = Arc::downgrade(&client);
        client
    }))
}
