//! The types that the tests serve.

use std::time::Duration;

use ossature::managed;
use ossature::multiprocessing::managers::{Exception, Handed, Registry, Types};

#[derive(Debug)]
pub struct Account {
    balance: i64,
}

managed! {
    /// Documented by the program.
    impl Account as AccountProxy {
        pub fn new(balance: i64) -> Self {
            Self { balance }
        }

        pub fn balance(&self) -> i64 {
            self.balance
        }

        pub fn deposit(&mut self, amount: i64, note: Option<String>) -> String {
            self.balance += amount;
            note.unwrap_or_else(|| "none".to_owned())
        }

        pub fn withdraw(&mut self, amount: i64) -> Result<i64, Exception> {
            if amount > self.balance {
                return Err(Exception::new("ValueError", format!("{amount} is more than {}", self.balance)));
            }
            self.balance -= amount;
            Ok(self.balance)
        }

        pub fn parse(&self, text: String) -> Result<i64, std::num::ParseIntError> {
            text.parse()
        }

        pub fn explode(&mut self) {
            panic!("the vault is open");
        }

        pub fn take_from(&mut self, other: AccountProxy, amount: i64) -> Result<i64, ossature::Error> {
            other.withdraw(amount)?;
            self.balance += amount;
            Ok(self.balance)
        }

        pub fn sleep(&self, millis: u64) {
            std::thread::sleep(Duration::from_millis(millis));
        }

        pub fn branch(&self) -> Handed<Account> {
            Handed::new(Self { balance: self.balance / 2 })
        }

        pub fn slow_branch(&self, millis: u64) -> Handed<Account> {
            self.sleep(millis);
            self.branch()
        }

        pub fn try_branch(&self, allowed: bool) -> Result<Handed<Account>, String> {
            if allowed { Ok(self.branch()) } else { Err("not allowed".to_owned()) }
        }
    }
}

/// A method that only the proxy has.
impl AccountProxy {
    pub fn empty(&self) -> ossature::Result<i64> {
        let all = self.balance()?;
        self.as_ref().call::<i64>("withdraw", (all,))
    }
}

/// A registry with the account, under a second name too, and without `Barrier`.
#[derive(Debug)]
pub struct Bank;

impl Types for Bank {
    fn register(registry: &mut Registry) {
        registry.add::<Account>().add_as::<Account>("Savings").remove("Barrier");
    }
}
