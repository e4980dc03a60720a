//! Serialising a proxy for another process.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::proxy::{Proxy, Referent};
use super::token::{Token, class_of};
use super::{known, outgoing};
use crate::error::Result;
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::{Value, from_value};

#[derive(Serialize, Deserialize)]
#[serde(rename = "\0ossature::Global")]
struct Name((String, String));

#[derive(Serialize, Deserialize)]
#[serde(rename = "\0ossature::Object")]
struct Record<A>((Name, A));

/// An address in Python's form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AddressForm {
    Text(String),
    Pair(String, u16),
}

#[derive(Serialize, Deserialize)]
struct Kwds {
    #[serde(default)]
    exposed: Vec<String>,
}

/// A proxy in the form of a pickle.
type Pickled = Record<(Name, Record<(String, AddressForm, String)>, String, Kwds)>;

/// A proxy in the form for processes of the same program.
#[derive(Serialize, Deserialize)]
struct Transit {
    typeid: String,
    address: Address,
    ident: String,
    exposed: Vec<String>,
    ticket: Option<String>,
    serializer: super::Serializer,
}

fn class(name: &str) -> Name {
    Name(("multiprocessing.managers".to_owned(), name.to_owned()))
}

impl Proxy {
    fn pickled(&self) -> Result<Pickled> {
        let Referent { client, typeid, ident, exposed, .. } = &*self.0;
        let address = match Value::try_from(client.address())? {
            Value::Text(text) => AddressForm::Text(text),
            pair => from_value::<(String, u16)>(pair).map(|(host, port)| AddressForm::Pair(host, port))?,
        };
        let token = Record((class("Token"), (typeid.clone(), address, ident.clone())));
        let kwds = Kwds { exposed: exposed.clone() };
        Ok(Record((class("RebuildProxy"), (class(class_of(typeid)), token, "pickle".to_owned(), kwds))))
    }

    fn unpickled(Record((_, (_, Record((_, (typeid, address, ident))), _, kwds))): Pickled) -> Result<Self> {
        let address = match address {
            AddressForm::Text(text) => Address::try_from(text.as_str())?,
            AddressForm::Pair(host, port) => Address::Inet(host, port),
        };
        let client = known::client_of(&address)?;
        let mut exposed = kwds.exposed;
        let token = Token { typeid, address, ident };
        if exposed.is_empty() {
            let methods = client.ask("get_methods", vec![token.to_value()?], Vec::new())?;
            exposed = super::wire::texts(&methods)?;
        }
        Self::count(client, token, exposed, None)
    }

    /// Lends a reference that lasts until the receiver has its own.
    fn lent(&self) -> Result<Transit> {
        let Referent { client, typeid, ident, exposed, .. } = &*self.0;
        let ticket = match client.is_rust()? {
            true => Some(from_value(client.ask("lend", vec![ident.as_str().into()], Vec::new())?)?),
            false => None,
        };
        let (typeid, ident, exposed) = (typeid.clone(), ident.clone(), exposed.clone());
        let (address, serializer) = (client.address().clone(), client.serializer());
        Ok(Transit { typeid, address, ident, exposed, ticket, serializer })
    }

    fn taken(transit: Transit) -> Result<Self> {
        let Transit { typeid, address, ident, exposed, ticket, serializer } = transit;
        let client = known::client_by(&address, serializer)?;
        Self::count(client, Token { typeid, address, ident }, exposed, ticket)
    }
}

/// Serialises the proxy for a server as CPython pickles it. A message between processes of this program also has a
/// borrowed reference, which the sender requests from the server.
impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            outgoing::note(self);
            self.pickled().map_err(S::Error::custom)?.serialize(serializer)
        } else {
            self.lent().map_err(S::Error::custom)?.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::unpickled(Pickled::deserialize(deserializer)?).map_err(D::Error::custom)
        } else {
            Self::taken(Transit::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}
