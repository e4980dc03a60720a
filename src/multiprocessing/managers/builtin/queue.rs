//! Python's `queue.Queue`, which also serves as its `JoinableQueue`.

use std::collections::{BTreeMap, VecDeque};

use super::helpers::{Raised, acquire_limit, args, int, made, no_method};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::managers::server::item::Item;
use crate::multiprocessing::managers::server::local::{Call, CallContext, Local, Made, Outcome, Step, WaiterId};
use crate::multiprocessing::managers::{Arguments, Exception};
use ossature_sys::deadline::Deadline;

pub(super) const METHODS: &[&str] =
    &["empty", "full", "get", "get_nowait", "join", "put", "put_nowait", "qsize", "shutdown", "task_done"];

struct Queue {
    most: usize,
    items: VecDeque<Item>,
    /// The number of items that were put and not reported as finished.
    unfinished: u64,
    getters: BTreeMap<WaiterId, ()>,
    putters: BTreeMap<WaiterId, Item>,
    joiners: BTreeMap<WaiterId, ()>,
    shut: bool,
}

pub(super) fn make(arguments: Arguments, _: &mut CallContext) -> Raised<Made> {
    let [most] = args(arguments, ["maxsize"])?;
    let most = if most == Value::None { 0 } else { int(&most)? };
    let most = usize::try_from(most).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
    let (items, unfinished, shut) = (VecDeque::new(), 0, false);
    let (getters, putters, joiners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    Ok(made("Queue", METHODS, Queue { most, items, unfinished, getters, putters, joiners, shut }))
}

fn empty() -> Exception {
    Exception::with_args("queue.Empty", Vec::new())
}

fn full() -> Exception {
    Exception::with_args("queue.Full", Vec::new())
}

fn shut_down() -> Exception {
    Exception::with_args("queue.ShutDown", Vec::new())
}

impl Queue {
    /// Passes an item to the longest-waiting getter, or appends it to the queue.
    fn accept(&mut self, item: Item, context: &mut CallContext) {
        self.unfinished += 1;
        match self.getters.pop_first() {
            Some((getter, ())) => context.answer_value(getter, item.value.clone()),
            None => self.items.push_back(item),
        }
    }

    /// Fills free room with the items of the longest-waiting putters.
    fn refill(&mut self, context: &mut CallContext) {
        while self.items.len() < self.most {
            let Some((putter, item)) = self.putters.pop_first() else { return };
            context.answer_value(putter, ());
            self.accept(item, context);
        }
    }

    fn put(&mut self, value: Value, until: Deadline, waiter: WaiterId, context: &mut CallContext) -> Step {
        if self.shut {
            return Step::Done(Err(shut_down()));
        }
        let item = match context.keep(value) {
            Ok(item) => item,
            Err(exception) => return Step::Done(Err(exception)),
        };
        if self.items.len() < self.most {
            self.accept(item, context);
            return Step::Done(Ok(Value::None.into()));
        }
        if until == Deadline::NOW {
            return Step::Done(Err(full()));
        }
        self.putters.insert(waiter, item);
        Step::Park(until)
    }

    fn get(&mut self, until: Deadline, waiter: WaiterId, context: &mut CallContext) -> Step {
        if let Some(item) = self.items.pop_front() {
            self.refill(context);
            return Step::Done(Ok(item.value.clone().into()));
        }
        if self.shut {
            return Step::Done(Err(shut_down()));
        }
        if until == Deadline::NOW {
            return Step::Done(Err(empty()));
        }
        self.getters.insert(waiter, ());
        Step::Park(until)
    }

    fn task_done(&mut self, context: &mut CallContext) -> Raised<Value> {
        let Some(left) = self.unfinished.checked_sub(1) else {
            return Err(Exception::new("ValueError", "task_done() called too many times"));
        };
        self.unfinished = left;
        if left == 0 {
            self.joined(context);
        }
        Ok(Value::None)
    }

    fn joined(&mut self, context: &mut CallContext) {
        for joiner in std::mem::take(&mut self.joiners).into_keys() {
            context.answer_value(joiner, ());
        }
    }

    fn shut_down(&mut self, immediately: bool, context: &mut CallContext) {
        self.shut = true;
        if immediately {
            self.unfinished = self.unfinished.saturating_sub(self.items.len() as u64);
            self.items.clear();
            if self.unfinished == 0 {
                self.joined(context);
            }
        }
        let getters = std::mem::take(&mut self.getters).into_keys();
        let putters = std::mem::take(&mut self.putters).into_keys();
        for waiter in getters.chain(putters) {
            context.answer(waiter, Err(shut_down()));
        }
    }

    fn carry_out(&mut self, call: Call<'_>, context: &mut CallContext) -> Raised<Step> {
        let Call { method, arguments, waiter, .. } = call;
        let value: Value = match method {
            "put" => {
                let [item, block, timeout] = args(arguments, ["item", "block", "timeout"])?;
                return Ok(self.put(item, wait_limit(&block, &timeout)?, waiter, context));
            }
            "put_nowait" => {
                let [item] = args(arguments, ["item"])?;
                return Ok(self.put(item, Deadline::NOW, waiter, context));
            }
            "get" => {
                let [block, timeout] = args(arguments, ["block", "timeout"])?;
                return Ok(self.get(wait_limit(&block, &timeout)?, waiter, context));
            }
            "get_nowait" => {
                let [] = args(arguments, [])?;
                return Ok(self.get(Deadline::NOW, waiter, context));
            }
            "join" if self.unfinished > 0 => {
                self.joiners.insert(waiter, ());
                return Ok(Step::Park(Deadline::NEVER));
            }
            "join" => Value::None,
            "task_done" => self.task_done(context)?,
            "qsize" => self.items.len().into(),
            "empty" => self.items.is_empty().into(),
            "full" => (self.items.len() >= self.most).into(),
            "shutdown" => {
                let [immediate] = args(arguments, ["immediate"])?;
                self.shut_down(super::helpers::truth(&immediate), context);
                Value::None
            }
            other => return Err(no_method("Queue", other)),
        };
        Ok(Step::Done(Ok(value.into())))
    }
}

/// Converts the arguments of a wait to a deadline. Like Python's queues, it refuses a negative timeout, and ignores a
/// timeout of a call that does not block.
fn wait_limit(block: &Value, timeout: &Value) -> Raised<Deadline> {
    let blocks = matches!(block, Value::None) || super::helpers::truth(block);
    let negative = timeout.as_float().is_some_and(|seconds| seconds < 0.0);
    match blocks {
        false => Ok(Deadline::NOW),
        true if negative => Err(Exception::new("ValueError", "'timeout' must be a non-negative number")),
        true => acquire_limit(&Value::None, timeout),
    }
}

impl Local for Queue {
    fn call(&mut self, call: Call<'_>, context: &mut CallContext) -> Step {
        self.carry_out(call, context).unwrap_or_else(|exception| Step::Done(Err(exception)))
    }

    fn timed_out(&mut self, waiter: WaiterId, context: &mut CallContext) -> Option<Outcome> {
        let is_putter = self.putters.contains_key(&waiter);
        self.cancel(waiter, context);
        Some(Err(if is_putter { full() } else { empty() }))
    }

    fn cancel(&mut self, waiter: WaiterId, _: &mut CallContext) {
        self.getters.remove(&waiter);
        self.putters.remove(&waiter);
        self.joiners.remove(&waiter);
    }

    fn repr(&self) -> String {
        let waiting = self.getters.len() + self.putters.len() + self.joiners.len();
        format!("<queue.Queue object, {} items, {waiting} waiting>", self.items.len())
    }
}
