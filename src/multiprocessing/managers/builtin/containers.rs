//! Typed proxies of containers and values.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::typed::{calls, typed, unless};
use crate::error::Result;
use crate::multiprocessing::Manager;
use crate::multiprocessing::connection::pickle::{Value, to_value};
#[allow(unused_imports, reason = "the docs link to it")]
use crate::multiprocessing::managers::Proxy;

/// A type that a manager's container may hold: serde values, proxies included.
///
/// # Examples
/// See the example of [`ListProxy`].
pub trait Element: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Element for T {}

typed! {
    /// A proxy of a list on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let list = manager.list([3, 1, 2])?;
    /// list.push(&5)?;
    /// list.sort()?;
    /// assert_eq!((list.to_vec()?, list.len()?, list.get(-1)?), (vec![1, 2, 3, 5], 4, Some(5)));
    /// assert_eq!((list.pop()?, list.remove(0)?, list.get(7)?), (Some(5), Some(1), None));
    /// list.insert(0, &7)?;
    /// list.set(1, &8)?;
    /// list.extend(&[9, 9])?;
    /// list.reverse()?;
    /// assert_eq!(list.to_vec()?, [9, 9, 3, 8, 7]);
    /// assert!(list.contains(&8)? && list.count(&9)? == 2 && !list.is_empty()?);
    /// list.clear()?;
    ///
    /// let nested = manager.list([list.clone()])?; // a container of containers: the inner one is shared
    /// list.push(&1)?;
    /// assert_eq!(nested.get(0)?.expect("it is there").to_vec()?, [1]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "BaseListProxy")]
    ListProxy<T>
}

impl<T: Element> ListProxy<T> {
    calls! {
        /// The number of items.
        len() -> u64 = "__len__"();
        /// Adds an item at the end.
        #[doc(alias = "append")]
        push(item: &T) -> () = "append"(item);
        /// Adds items at the end.
        extend(items: &[T]) -> () = "extend"(items);
        /// Adds an item before the item at the given index.
        insert(index: i64, item: &T) -> () = "insert"(index, item);
        /// Replaces the item at the given index; an error if the index has no item.
        #[doc(alias = "__setitem__")]
        set(index: i64, item: &T) -> () = "__setitem__"(index, item);
        /// Whether an item is equal to this one.
        #[doc(alias = "__contains__")]
        contains(item: &T) -> bool = "__contains__"(item);
        /// The number of items that are equal to this one.
        count(item: &T) -> u64 = "count"(item);
        /// Sorts the items, which are numbers, texts, or sequences of them.
        sort() -> () = "sort"();
        /// Reverses the order of the items.
        reverse() -> () = "reverse"();
        /// Removes all items.
        clear() -> () = "clear"();
        /// Returns a copy of all items.
        #[doc(alias = "copy")]
        to_vec() -> Vec<T> = "#GETVALUE"();
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The item at the given index; negative indices count from the end. `None` if the index has no item.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: i64) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("__getitem__", (index,), Duration::ZERO), "IndexError")
    }

    /// Removes the last item.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn pop(&self) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("pop", (), Duration::ZERO), "IndexError")
    }

    /// Removes the item at the given index.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__delitem__")]
    pub fn remove(&self, index: i64) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("pop", (index,), Duration::ZERO), "IndexError")
    }
}

typed! {
    /// A proxy of a dict on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let ages = manager.dict::<String, u32>()?;
    /// let (ann, bob) = ("Ann".to_owned(), "Bob".to_owned());
    /// ages.insert(&ann, &41)?;
    /// assert_eq!(ages.get(&ann)?, Some(41));
    /// assert_eq!((ages.set_default(&bob, &7)?, ages.len()?), (7, 2));
    /// assert_eq!(ages.items()?, [(ann.clone(), 41), (bob.clone(), 7)]);
    /// assert_eq!((ages.keys()?, ages.values()?), (vec![ann.clone(), bob.clone()], vec![41, 7]));
    /// assert_eq!((ages.remove(&bob)?, ages.get(&bob)?, ages.contains_key(&ann)?), (Some(7), None, true));
    /// assert_eq!(ages.pop_item()?, Some((ann, 41)));
    /// ages.clear()?;
    /// assert!(ages.is_empty()?);
    /// # Ok(()) }
    /// ```
    DictProxy<K, V>
}

impl<K: Element, V: Element> DictProxy<K, V> {
    calls! {
        /// The number of entries.
        len() -> u64 = "__len__"();
        /// Sets the value of the key.
        #[doc(alias = "__setitem__")]
        insert(key: &K, value: &V) -> () = "__setitem__"(key, value);
        /// The value of the key, if the dict has the key.
        get(key: &K) -> Option<V> = "get"(key);
        /// The value of the key, which becomes `value` if the dict did not have the key.
        #[doc(alias = "setdefault")]
        set_default(key: &K, value: &V) -> V = "setdefault"(key, value);
        /// Whether the dict has the key.
        #[doc(alias = "__contains__")]
        contains_key(key: &K) -> bool = "__contains__"(key);
        /// The keys, in the order of their insertion.
        keys() -> Vec<K> = "keys"();
        /// The values, in the same order.
        values() -> Vec<V> = "values"();
        /// Keys and values.
        items() -> Vec<(K, V)> = "items"();
        /// Removes all entries.
        clear() -> () = "clear"();
    }

    /// Whether there are no entries.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Iterates over the keys, with a call for each. The exception is `RuntimeError` if the dict gains or loses entries
    /// meanwhile.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__iter__")]
    pub fn iter(&self) -> Result<IteratorProxy<K>> {
        self.proxy.call_within::<IteratorProxy<K>>("__iter__", (), Duration::ZERO)
    }

    /// Removes a key and returns its value.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "pop")]
    pub fn remove(&self, key: &K) -> Result<Option<V>> {
        unless(self.proxy.call_within::<V>("pop", (key,), Duration::ZERO), "KeyError")
    }

    /// Removes the newest entry.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "popitem")]
    pub fn pop_item(&self) -> Result<Option<(K, V)>> {
        unless(self.proxy.call_within::<(K, V)>("popitem", (), Duration::ZERO), "KeyError")
    }
}

typed! {
    /// A proxy of an iterator on a server, returned by [`DictProxy::iter`] or by a method of a server of CPython.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    /// use ossature::multiprocessing::managers::IteratorProxy;
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.insert(&"Ann".to_owned(), &41)?;
    /// let names: IteratorProxy<String> = ages.iter()?;
    /// assert_eq!(names.collect::<ossature::Result<Vec<_>>>()?, ["Ann"]);
    ///
    /// let mut names = ages.iter()?;
    /// ages.clear()?;
    /// assert!(names.next().is_some_and(|name| name.is_err()));
    /// # Ok(()) }
    /// ```
    IteratorProxy<T>
}

impl<T: Element> Iterator for IteratorProxy<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let next = self.proxy.call::<T>("__next__", ());
        unless(next, "StopIteration").transpose()
    }
}

typed! {
    /// A proxy of a set on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let seen = manager.set([1, 2])?;
    /// seen.insert(&2)?;
    /// seen.insert(&3)?;
    /// assert!(seen.contains(&3)? && seen.len()? == 3 && !seen.is_empty()?);
    /// seen.remove(&1)?;
    /// assert_eq!((seen.to_vec()?, seen.union(&[9])?), (vec![2, 3], vec![2, 3, 9]));
    /// seen.clear()?;
    /// # Ok(()) }
    /// ```
    SetProxy<T>
}

impl<T: Element> SetProxy<T> {
    calls! {
        /// The number of items.
        len() -> u64 = "__len__"();
        /// Adds an item if the set does not have it.
        #[doc(alias = "add")]
        insert(item: &T) -> () = "add"(item);
        /// Removes an item if the set has it.
        #[doc(alias = "discard")]
        remove(item: &T) -> () = "discard"(item);
        /// Whether the set has the item.
        #[doc(alias = "__contains__")]
        contains(item: &T) -> bool = "__contains__"(item);
        /// Returns a copy of all items.
        to_vec() -> Vec<T> = "#GETVALUE"();
        /// The items of this set and of the others.
        union(others: &[T]) -> Vec<T> = "union"(others);
        /// The items that are also among the others.
        intersection(others: &[T]) -> Vec<T> = "intersection"(others);
        /// The items that are not among the others.
        difference(others: &[T]) -> Vec<T> = "difference"(others);
        /// Removes all items.
        clear() -> () = "clear"();
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

typed! {
    /// A proxy of a namespace on a server: names, and values of any types.
    ///
    /// Differs from Python, where a name that begins with an underscore is an attribute of the proxy: here all names
    /// are of the object.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let shared = manager.namespace()?;
    /// shared.set("x", &10)?;
    /// shared.set("name", &"hello")?;
    /// assert_eq!((shared.get::<i64>("x")?, shared.get::<i64>("y")?), (Some(10), None));
    /// shared.delete("x")?;
    /// assert_eq!(shared.as_ref().display()?, "Namespace(name='hello')");
    /// # Ok(()) }
    /// ```
    NamespaceProxy
}

impl NamespaceProxy {
    /// The value of a name; `None` if the namespace does not have the name.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__getattribute__")]
    pub fn get<T: Element>(&self, name: &str) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("__getattribute__", (name,), Duration::ZERO), "AttributeError")
    }

    /// Sets the value of a name.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__setattr__")]
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        self.proxy.call_within::<()>("__setattr__", (name, value), Duration::ZERO)
    }

    calls! {
        /// Removes a name; an error if the namespace does not have it.
        #[doc(alias = "__delattr__")]
        delete(name: &str) -> () = "__delattr__"(name);
    }
}

typed! {
    /// A proxy of a value on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let total = manager.value("d", &1.5)?;
    /// total.set(&2.5)?;
    /// assert_eq!((total.get()?, total.as_ref().display()?), (2.5, "Value('d', 2.5)".to_owned()));
    /// # Ok(()) }
    /// ```
    ValueProxy<T>
}

impl<T: Element> ValueProxy<T> {
    calls! {
        /// The value.
        #[doc(alias = "value")]
        get() -> T = "get"();
        /// Replaces the value. Other clients may do so between a `get` and a `set`, unless all of them take a lock.
        set(value: &T) -> () = "set"(value);
    }
}

typed! {
    /// A proxy of an array of numbers on a server.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let bytes = manager.array("B", &[1_u8, 2, 3])?;
    /// bytes.set(-1, &9)?;
    /// assert_eq!((bytes.to_vec()?, bytes.get(1)?, bytes.len()?), (vec![1, 2, 9], Some(2), 3));
    /// # Ok(()) }
    /// ```
    ArrayProxy<T>
}

impl<T: Element> ArrayProxy<T> {
    calls! {
        /// The number of items.
        #[allow(clippy::len_without_is_empty, reason = "a call that may fail; an array rarely is")]
        len() -> u64 = "__len__"();
        /// Replaces the item at the given index; an error if the index has no item.
        #[doc(alias = "__setitem__")]
        set(index: i64, item: &T) -> () = "__setitem__"(index, item);
        /// Returns a copy of all items.
        to_vec() -> Vec<T> = "#GETVALUE"();
    }

    /// The item at the given index; negative indices count from the end. `None` if the index has no item.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: i64) -> Result<Option<T>> {
        unless(self.proxy.call_within::<T>("__getitem__", (index,), Duration::ZERO), "IndexError")
    }
}

/// The built-in containers.
impl Manager {
    /// Makes a list on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn list<T: Element>(&self, items: impl IntoIterator<Item = T>) -> Result<ListProxy<T>> {
        self.create("list", (items.into_iter().collect::<Vec<T>>(),)).map(Into::into)
    }

    /// Makes an empty dict on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn dict<K: Element, V: Element>(&self) -> Result<DictProxy<K, V>> {
        self.create("dict", ()).map(Into::into)
    }

    /// Makes a set on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create); servers of CPython know the type from 3.14 on.
    pub fn set<T: Element>(&self, items: impl IntoIterator<Item = T>) -> Result<SetProxy<T>> {
        self.create("set", (items.into_iter().collect::<Vec<T>>(),)).map(Into::into)
    }

    /// Makes a namespace on the server.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn namespace(&self) -> Result<NamespaceProxy> {
        self.create("Namespace", ()).map(Into::into)
    }

    /// Makes a value on the server, labelled with Python's code of its type.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn value<T: Element>(&self, typecode: &str, value: &T) -> Result<ValueProxy<T>> {
        self.create("Value", (typecode, value)).map(Into::into)
    }

    /// Makes an array of numbers on the server, of [Python's code](https://docs.python.org/3/library/array.html).
    ///
    /// # Errors
    /// As for [`create`](Self::create); [`Remote`](crate::ErrorKind::Remote) for an item that the type does not hold.
    pub fn array<T: Element>(&self, typecode: &str, items: &[T]) -> Result<ArrayProxy<T>> {
        let items = items.iter().map(to_value).collect::<Result<Vec<Value>>>()?;
        self.create_with("Array", vec![typecode.into(), Value::List(items)], Vec::new()).map(Into::into)
    }
}
