//! The macro that makes a served type from an ordinary `impl` block.

/// Makes the type of an `impl` block a served type, and defines a proxy with the same methods.
///
/// The block stays what it is: its methods can be called here as usual. The proxy has each method too; there a call
/// goes to the object on its server, and returns a [`Result`](crate::Result). Arguments and results are serde values. A
/// method that returns `Result<T, E>`, under that name, has a proxy method that returns the `T`; an `Err` arrives as an
/// [`Exception`](crate::multiprocessing::managers::Exception). A method that returns
/// [`Handed`](crate::multiprocessing::managers::Handed) answers with another object, and its caller gets a proxy. A
/// method may take proxies.
///
/// The function `new`, if there is one, makes an object for a client. The proxy has a `new` with a
/// [`Manager`](crate::multiprocessing::Manager) before these arguments.
///
/// Methods take `&self` or `&mut self` and arguments with plain names; they have no generics. Several calls of `&self`
/// methods run side by side. All run on threads of the server that are made for this, so that a method may wait.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::managers::{self, Handed};
/// use ossature::multiprocessing::{Context, Manager, Tasks, freeze_support, managed, tasks};
///
/// pub struct Account {
///     balance: i64,
/// }
///
/// managed! {
///     /// An account of the bank.
///     impl Account as AccountProxy {
///         pub fn new(balance: i64) -> Self {
///             Self { balance }
///         }
///
///         pub fn balance(&self) -> i64 {
///             self.balance
///         }
///
///         pub fn withdraw(&mut self, amount: i64) -> Result<i64, String> {
///             if amount > self.balance {
///                 return Err(format!("{amount} is more than {}", self.balance));
///             }
///             self.balance -= amount;
///             Ok(self.balance)
///         }
///     }
/// }
///
/// pub struct Bank;
///
/// managed! {
///     impl Bank as BankProxy {
///         pub fn new() -> Self {
///             Self
///         }
///
///         pub fn open(&self, balance: i64) -> Handed<Account> {
///             Handed::new(Account::new(balance))
///         }
///
///         pub fn audit(&self, account: AccountProxy) -> Result<i64, ossature::Error> {
///             account.balance() // a call of the object, which may live on another server
///         }
///     }
/// }
///
/// type Types = (Account, Bank);
/// static TASKS: Tasks = tasks![managers::serve::<Types>];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let manager = Manager::builder().types::<Types>().start(Context::Spawn)?;
///     let bank = BankProxy::new(&manager)?;
///     let account: AccountProxy = bank.open(100)?;
///     assert_eq!(account.withdraw(30)?, 70);
///     assert_eq!(bank.audit(account.clone())?, 70);
///
///     let error = account.withdraw(1000).unwrap_err();
///     assert_eq!(error.kind(), ossature::ErrorKind::Remote);
///     assert_eq!(error.to_string(), "RuntimeError: 1000 is more than 70");
///     Ok(())
/// }
/// ```
#[macro_export]
#[doc(alias = "MakeProxyType")]
macro_rules! managed {
    ($(#[$head:meta])* impl $Type:ident as $Proxy:ident { $($body:tt)* }) => {
        $crate::managed! { @items [$(#[$head])*] $Type $Proxy [] [] $($body)* }
    };

    // ---- one item after the other, into one form ------------------------------------------------------------------
    (@items $head:tt $Type:ident $Proxy:ident [] $methods:tt
        $(#[$meta:meta])* $vis:vis fn new($($arg:ident : $arg_type:ty),* $(,)?) -> Self $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy
            [{ [$(#[$meta])*] [$vis] [$($arg : $arg_type),*] $block }] $methods $($rest)*
        }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&mut $self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            -> Result<$ok:ty $(, $err:ty)?> $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] writing [&mut $self] $name [$($arg : $arg_type),*] [result $ok [Result<$ok $(, $err)?>]] $block }
        ] $($rest)* }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&mut $self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            -> $answer:ty $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] writing [&mut $self] $name [$($arg : $arg_type),*] [value $answer [$answer]] $block }
        ] $($rest)* }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&mut $self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] writing [&mut $self] $name [$($arg : $arg_type),*] [value () [()]] $block }
        ] $($rest)* }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&$self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            -> Result<$ok:ty $(, $err:ty)?> $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] reading [&$self] $name [$($arg : $arg_type),*] [result $ok [Result<$ok $(, $err)?>]] $block }
        ] $($rest)* }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&$self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            -> $answer:ty $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] reading [&$self] $name [$($arg : $arg_type),*] [value $answer [$answer]] $block }
        ] $($rest)* }
    };
    (@items $head:tt $Type:ident $Proxy:ident $new:tt [$($methods:tt)*]
        $(#[$meta:meta])* $vis:vis fn $name:ident(&$self:ident $(, $arg:ident : $arg_type:ty)* $(,)?)
            $block:block $($rest:tt)*
    ) => {
        $crate::managed! { @items $head $Type $Proxy $new [$($methods)*
            { [$(#[$meta])*] [$vis] reading [&$self] $name [$($arg : $arg_type),*] [value () [()]] $block }
        ] $($rest)* }
    };

    // ---- all of them ----------------------------------------------------------------------------------------------
    (@items [$($head:tt)*] $Type:ident $Proxy:ident [$({ $($new:tt)* })?] [$({ $($method:tt)* })*]) => {
        impl $Type {
            $($crate::managed! { @new $($new)* })?
            $($crate::managed! { @method $($method)* })*
        }

        impl $crate::multiprocessing::managers::Managed for $Type {
            type Proxy = $Proxy;

            const TYPEID: &'static str = ::core::stringify!($Type);

            const METHODS: &'static [&'static str] = &[$($crate::managed! { @name $($method)* }),*];

            #[allow(unreachable_code, unused_variables, reason = "not every type has a `new`")]
            fn make(
                arguments: $crate::multiprocessing::managers::Arguments,
            ) -> ::core::result::Result<Self, $crate::multiprocessing::managers::Exception> {
                $(return $crate::managed! { @make arguments $($new)* };)?
                ::core::result::Result::Err($crate::multiprocessing::managers::Exception::new(
                    "TypeError",
                    ::core::concat!(::core::stringify!($Type), " has no `new`: only methods of other objects return it"),
                ))
            }

            fn call(
                object: &::std::sync::RwLock<Self>,
                method: &str,
                arguments: $crate::multiprocessing::managers::Arguments,
            ) -> $crate::multiprocessing::managers::Outcome {
                $($crate::managed! { @dispatch object method arguments $($method)* })*
                ::core::result::Result::Err($crate::multiprocessing::managers::Exception::new("AttributeError", method))
            }
        }

        $($head)*
        #[doc = ::core::concat!("The proxy of a served [`", ::core::stringify!($Type), "`].")]
        #[derive(Clone, Debug)]
        pub struct $Proxy {
            proxy: $crate::multiprocessing::managers::Proxy,
        }

        #[allow(dead_code, reason = "a program may call some of them on the object only")]
        impl $Proxy {
            $($crate::managed! { @remote_new $Type $($new)* })?
            $($crate::managed! { @remote $($method)* })*
        }

        impl $crate::multiprocessing::managers::serde::Serialize for $Proxy {
            fn serialize<S: $crate::multiprocessing::managers::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::multiprocessing::managers::serde::Serialize::serialize(&self.proxy, serializer)
            }
        }

        impl<'de> $crate::multiprocessing::managers::serde::Deserialize<'de> for $Proxy {
            fn deserialize<D: $crate::multiprocessing::managers::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                let proxy = $crate::multiprocessing::managers::serde::Deserialize::deserialize(deserializer)?;
                ::core::result::Result::Ok(Self { proxy })
            }
        }

        impl ::core::convert::From<$crate::multiprocessing::managers::Proxy> for $Proxy {
            fn from(proxy: $crate::multiprocessing::managers::Proxy) -> Self {
                Self { proxy }
            }
        }

        impl ::core::convert::AsRef<$crate::multiprocessing::managers::Proxy> for $Proxy {
            fn as_ref(&self) -> &$crate::multiprocessing::managers::Proxy {
                &self.proxy
            }
        }
    };

    // ---- the parts of one -----------------------------------------------------------------------------------------
    (@new [$($meta:tt)*] [$vis:vis] [$($arg:ident : $arg_type:ty),*] $block:block) => {
        $($meta)*
        #[allow(clippy::new_without_default, reason = "clients call it by its name")]
        $vis fn new($($arg: $arg_type),*) -> Self $block
    };
    (@make $arguments:ident [$($meta:tt)*] [$vis:vis] [$($arg:ident : $arg_type:ty),*] $block:block) => {
        $arguments
            .take::<($($arg_type,)*)>(&[$(::core::stringify!($arg)),*])
            .map(|($($arg,)*)| Self::new($($arg),*))
    };
    (@remote_new $Type:ident [$($meta:tt)*] [$vis:vis] [$($arg:ident : $arg_type:ty),*] $block:block) => {
        /// Makes an object on the server of a manager.
        ///
        /// # Errors
        /// As for `Manager::create`.
        $vis fn new(manager: &$crate::multiprocessing::Manager $(, $arg: $arg_type)*) -> $crate::Result<Self> {
            manager.make::<$Type>(&($($arg,)*))
        }
    };
    (@method [$($meta:tt)*] [$vis:vis] $mode:ident [$($self:tt)*] $name:ident [$($arg:ident : $arg_type:ty),*]
        [$kind:ident $there:ty [$($answer:tt)*]] $block:block
    ) => {
        $($meta)*
        $vis fn $name($($self)* $(, $arg: $arg_type)*) -> $($answer)* $block
    };
    (@name [$($meta:tt)*] [$vis:vis] $mode:ident [$($self:tt)*] $name:ident $($rest:tt)*) => {
        ::core::stringify!($name)
    };
    (@dispatch $object:ident $method:ident $arguments:ident [$($meta:tt)*] [$vis:vis] $mode:ident [$($self:tt)*]
        $name:ident [$($arg:ident : $arg_type:ty),*] [$kind:ident $there:ty [$($answer:tt)*]] $block:block
    ) => {
        if $method == ::core::stringify!($name) {
            let ($($arg,)*) = $arguments.take::<($($arg_type,)*)>(&[$(::core::stringify!($arg)),*])?;
            let answer = $crate::multiprocessing::managers::$mode($object, |it| it.$name($($arg),*));
            return $crate::managed! { @answer $kind answer };
        }
    };
    (@answer result $answer:ident) => { $crate::multiprocessing::managers::answer_result($answer) };
    (@answer value $answer:ident) => { $crate::multiprocessing::managers::Returned::answer($answer) };
    (@remote [$($meta:tt)*] [$vis:vis] $mode:ident [$($self:tt)*] $name:ident [$($arg:ident : $arg_type:ty),*]
        [$kind:ident $there:ty [$($answer:tt)*]] $block:block
    ) => {
        $($meta)*
        ///
        /// # Errors
        /// As for `Proxy::call`.
        $vis fn $name(
            &self $(, $arg: $arg_type)*
        ) -> $crate::Result<<$there as $crate::multiprocessing::managers::Returned>::There> {
            self.proxy.call::<$there>(::core::stringify!($name), &($($arg,)*))
        }
    };
}
