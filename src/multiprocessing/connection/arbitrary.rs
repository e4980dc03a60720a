//! Unused addresses.

use super::{Address, Family};
use crate::error::{Error, Result};
use crate::multiprocessing::util;

impl Address {
    /// Returns an unused address of the family: port 0 of this machine for the internet. For [`Family::Unix`] it is a
    /// new path in the process's own [directory](util::temp_dir()), `<tmp>/pymp-XXXXXXXX/listener-XXXXXXXX`. Only this
    /// user may enter the directory.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) when the directory cannot be made.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::{Address, Family};
    ///
    /// assert_eq!(Address::arbitrary(Family::Inet)?, Address::from(("localhost", 0)));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "arbitrary_address")]
    pub fn arbitrary(family: Family) -> Result<Self> {
        match family {
            Family::Inet => Ok(Self::Inet("localhost".into(), 0)),
            Family::Inet6 => Ok(Self::Inet6("localhost".into(), 0)),
            Family::Unix => {
                let name = util::letters().map_err(|errno| Error::os(errno, "cannot make a name"))?;
                Ok(Self::Unix(util::temp_dir()?.join(format!("listener-{name}"))))
            }
        }
    }
}
