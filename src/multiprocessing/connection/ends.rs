//! What of this module a forked child can be given.

use super::{Connection, Listener, Receiver, Sender};
use crate::multiprocessing::state::{Ends, Kept};

impl Ends for Connection {
    fn keep(&self, kept: &mut Kept) {
        kept.add(self.listed().place());
    }
}

impl Ends for Receiver {
    fn keep(&self, kept: &mut Kept) {
        kept.add(self.listed().place());
    }
}

impl Ends for Sender {
    fn keep(&self, kept: &mut Kept) {
        kept.add(self.listed().place());
    }
}

impl Ends for Listener {
    fn keep(&self, kept: &mut Kept) {
        kept.add(self.listed().place());
    }
}
