//! The common parts of the typed proxies of built-in types.

use crate::error::Result;
use crate::multiprocessing::managers::Exception;

/// Defines a typed proxy: its struct and its serialisation.
macro_rules! typed {
    ($(#[$meta:meta])* $Proxy:ident $(<$($T:ident),+>)?) => {
        $(#[$meta])*
        pub struct $Proxy $(<$($T),+>)? {
            proxy: $crate::multiprocessing::managers::Proxy,
            $(types: std::marker::PhantomData<fn() -> ($($T,)+)>,)?
        }

        impl $(<$($T),+>)? From<$crate::multiprocessing::managers::Proxy> for $Proxy $(<$($T),+>)? {
            /// Trusts that the object has this type; if not, a call returns an error.
            fn from(proxy: $crate::multiprocessing::managers::Proxy) -> Self {
                Self { proxy, $(types: std::marker::PhantomData::<fn() -> ($($T,)+)>)? }
            }
        }

        impl $(<$($T),+>)? AsRef<$crate::multiprocessing::managers::Proxy> for $Proxy $(<$($T),+>)? {
            fn as_ref(&self) -> &$crate::multiprocessing::managers::Proxy {
                &self.proxy
            }
        }

        impl $(<$($T),+>)? Clone for $Proxy $(<$($T),+>)? {
            fn clone(&self) -> Self {
                self.proxy.clone().into()
            }
        }

        impl $(<$($T),+>)? std::fmt::Debug for $Proxy $(<$($T),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.proxy.fmt(f)
            }
        }

        impl $(<$($T),+>)? serde::Serialize for $Proxy $(<$($T),+>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                self.proxy.serialize(serializer)
            }
        }

        impl<'de $($(, $T)+)?> serde::Deserialize<'de> for $Proxy $(<$($T),+>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                $crate::multiprocessing::managers::Proxy::deserialize(deserializer).map(Into::into)
            }
        }
    };
}

/// Defines methods that make one call each, with the errors of a call. `within` names the limit that the server
/// applies; `waits` marks methods that wait for other clients without a limit.
macro_rules! calls {
    (@call $it:expr, $answer:ty, $method:literal, $args:expr) => {
        $it.call_within::<$answer>($method, $args, std::time::Duration::ZERO)
    };
    (@call $it:expr, $answer:ty, $method:literal, $args:expr, waits) => {
        $it.call::<$answer>($method, $args)
    };
    (@call $it:expr, $answer:ty, $method:literal, $args:expr, within $limit:ident) => {
        $it.call_within::<$answer>($method, $args, $limit)
    };
    ($($(#[$meta:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty
        = $method:literal($($value:expr),*) $($how:ident $($limit:ident)?)?;)*) =>
    {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// As for [`Proxy::call`](crate::multiprocessing::managers::Proxy::call).
        pub fn $name(&self $(, $arg: $type)*) -> crate::error::Result<$answer> {
            calls! { @call self.proxy, $answer, $method, ($($value,)*) $(, $how $($limit)?)? }
        }
    )*};
}

pub(super) use {calls, typed};

/// Turns an exception of the given class into `None`.
pub(super) fn unless<T>(result: Result<T>, class: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if Exception::inside(&error).is_some_and(|it| it.class() == class) => Ok(None),
        Err(error) => Err(error),
    }
}
