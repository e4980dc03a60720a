//! iceoryx2's publish and subscribe, polled: its variant that does not sleep.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

/// The message of 64 bytes.
pub type Small = [u64; 8];

/// The maximum number of unread messages.
const WAITING: usize = 1024;

pub fn be_quiet() {
    set_log_level(LogLevel::Error);
}

static NAMES: AtomicU32 = AtomicU32::new(0);

fn name() -> ServiceName {
    let number = NAMES.fetch_add(1, Relaxed);
    let name = format!("ossature/bench/{}/{number}", std::process::id());
    name.as_str().try_into().expect("a name")
}

/// A one-way channel from one process to another.
pub struct Way<P: ZeroCopySend + std::fmt::Debug + Copy + 'static> {
    publisher: Publisher<ipc::Service, P, ()>,
    subscriber: Subscriber<ipc::Service, P, ()>,
    _node: Node<ipc::Service>,
}

impl<P: ZeroCopySend + std::fmt::Debug + Copy + 'static> Way<P> {
    /// A service for `many` publishers and `many` subscribers; this value has one of each.
    pub fn new(many: usize) -> Self {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = node
            .service_builder(&name())
            .publish_subscribe::<P>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(WAITING)
            .max_publishers(many)
            .max_subscribers(many)
            .create()
            .expect("a service");
        let publisher = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("a publisher");
        let subscriber = service.subscriber_builder().buffer_size(WAITING).create().expect("a subscriber");
        Self { publisher, subscriber, _node: node }
    }

    pub fn send(&self, message: P) {
        let sample = self.publisher.loan_uninit().expect("a place");
        sample.write_payload(message).send().expect("it goes");
    }

    pub fn receive(&self) -> P {
        loop {
            if let Some(sample) = self.subscriber.receive().expect("a connection") {
                return *sample;
            }
            std::hint::spin_loop();
        }
    }
}

/// A channel for long messages, written and read in place.
pub struct LongWay {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    _node: Node<ipc::Service>,
}

impl LongWay {
    /// A channel for messages of at most `len` bytes and at most `waiting` unread messages.
    pub fn new(len: usize, waiting: usize) -> Self {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = node
            .service_builder(&name())
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(waiting)
            .max_publishers(1)
            .max_subscribers(1)
            .create()
            .expect("a service");
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(len)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .expect("a publisher");
        let subscriber = service.subscriber_builder().buffer_size(waiting).create().expect("a subscriber");
        Self { publisher, subscriber, _node: node }
    }

    pub fn send(&self, message: &[u8]) {
        let sample = self.publisher.loan_slice_uninit(message.len()).expect("a place");
        sample.write_from_slice(message).send().expect("it goes");
    }

    pub fn receive<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        loop {
            if let Some(sample) = self.subscriber.receive().expect("a connection") {
                return read(sample.payload());
            }
            std::hint::spin_loop();
        }
    }
}
