//! Values of single calls that have come together, which their job stores under one lock.

use std::sync::Arc;

use super::job::Job;

/// The maximum number of values.
const MOST: usize = 16;

/// Values without descriptors of calls of one job: the index of each call, and its bytes.
#[derive(Default)]
pub(super) struct Together<'s> {
    job: Option<Arc<Job>>,
    values: [(usize, &'s [u8]); MOST],
    count: usize,
}

impl<'s> Together<'s> {
    /// Adds a value. Stores the values before it if they are many, or belong to another job.
    pub(super) fn add(&mut self, job: &Arc<Job>, index: usize, value: &'s [u8]) {
        if self.count == MOST || self.job.as_ref().is_none_or(|of| !Arc::ptr_eq(of, job)) {
            self.store();
            self.job = Some(job.clone());
        }
        if let Some(place) = self.values.get_mut(self.count) {
            *place = (index, value);
            self.count += 1;
        }
    }

    /// Stores the values.
    pub(super) fn store(&mut self) {
        if let (Some(job), Some(values)) = (&self.job, self.values.get(..self.count).filter(|v| !v.is_empty())) {
            job.several(values);
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Keep;
    use super::super::kept::Pieces;
    use super::*;

    #[test]
    fn values_come_to_their_own_jobs_however_many_they_are() {
        let [one, other] = [(); 2].map(|()| Arc::new(Job::new("a::task", Keep::All)));
        let count = 2 * MOST + 3;
        let _ = [&one, &other].map(|job| job.give(count));
        let bytes: Vec<u8> = (0..count as u8).collect();
        let mut together = Together::default();
        for (index, value) in bytes.chunks(1).enumerate() {
            together.add(&one, index, value);
            if index > MOST {
                together.add(&other, index, value);
            }
        }
        for (index, value) in bytes.chunks(1).enumerate().take(MOST + 1) {
            together.add(&other, index, value);
        }
        together.store();
        together.store(); // nothing is stored twice
        for job in [one, other] {
            assert!(job.is_done());
            assert_eq!(job.take_all::<u8>(Pieces::new()).unwrap(), bytes);
        }
    }
}
