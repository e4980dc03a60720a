//! The publication of calls, and the right to publish more of them after the pool was closed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use super::chunk::Chunk;
use super::drawers::Drawer;
use super::hub::Hub;
use crate::error::Result;

/// The right to publish calls until this is dropped, even if the pool is closed meanwhile.
pub(super) struct Admitted {
    hub: Arc<Hub>,
    pub(super) drawer: Arc<Drawer>,
}

impl Admitted {
    /// # Errors
    /// As [`Hub::check`].
    pub(super) fn new(hub: &Arc<Hub>) -> Result<Self> {
        let mut inner = hub.lock()?;
        inner.check()?;
        let drawer = inner.drawers.begin();
        drop(inner);
        Ok(Self { hub: hub.clone(), drawer })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.hub.leave(&self.drawer);
    }
}

impl Hub {
    /// Like [`check`](Self::check), for a drawer that was admitted before the pool was closed.
    pub(super) fn check_for(&self, drawer: &Drawer) -> Result<()> {
        self.lock()?.check_for(Some(drawer))
    }

    /// Publishes chunks.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn submit(&self, chunks: impl IntoIterator<Item = Box<Chunk>>) -> Result<()> {
        self.submit_for(None, chunks)
    }

    /// Like [`submit`](Self::submit), for a drawer that was admitted before the pool was closed.
    pub(super) fn submit_for(
        &self,
        drawer: Option<&Drawer>,
        chunks: impl IntoIterator<Item = Box<Chunk>>,
    ) -> Result<()> {
        let mut inner = self.lock()?;
        self.heed(&mut inner)?;
        inner.check_for(drawer)?;
        inner.queue.extend(chunks);
        self.collect(&mut inner)
    }

    /// Publishes one chunk. If the caller will [wait](Self::wait) for its outcome, workers that already look for chunks
    /// may find it, and no other worker is woken.
    pub(super) fn submit_one(&self, chunk: Box<Chunk>, waits: bool) -> Result<()> {
        let mut inner = self.lock()?;
        self.heed(&mut inner)?;
        inner.check_for(None)?;
        inner.queue.push_back(chunk);
        inner.waits = waits;
        let published = self.collect(&mut inner);
        inner.waits = false;
        published
    }

    /// Publishes a chunk of an iterator's items, without receiving outcomes: threads that wait for a result do that.
    /// Returns the chunk without its calls if it is short.
    pub(super) fn submit_next(&self, drawer: &Drawer, mut chunk: Box<Chunk>) -> Result<Option<Box<Chunk>>> {
        let mut inner = self.lock()?;
        self.heed(&mut inner)?;
        inner.check_for(Some(drawer))?;
        inner.waits = true;
        let published = if self.publish_at_once(&mut inner, &mut chunk) {
            self.ground.board().published.word.store(inner.sequence, Release);
            self.has_published(&mut inner, 1);
            Ok(Some(chunk))
        } else {
            inner.queue.push_back(chunk);
            self.publish(&mut inner).map(|()| None)
        };
        inner.waits = false;
        published
    }
}
