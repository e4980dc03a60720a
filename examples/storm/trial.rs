//! The third form: rounds that are complete in themselves, for objects that are not memory that participants use in
//! turn.

use crate::Counts;
use crate::random::Random;

/// A storm with its own way of killing.
///
/// Made before the first round, dropped after the last; what it has besides itself then is a leak.
pub trait Trial {
    /// Plays one round: kills a process, checks the effect on the others, and counts both. After a hang there is no
    /// further round.
    fn play(&mut self, random: &mut Random, counts: &mut Counts);
}

pub fn storm(trial: &mut dyn Trial, kills: u32, seed: u64) -> Counts {
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    while counts.goes_on(kills) {
        trial.play(&mut random, &mut counts);
    }
    counts
}
