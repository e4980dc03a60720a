//! The objects of this module that a forked child can keep.

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
