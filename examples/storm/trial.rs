//! The third form: rounds that are complete in themselves, for what is no memory that participants take turns with.

use crate::Counts;
use crate::random::Random;

/// What a storm needs that has its own way of killing.
///
/// Made before the first round, dropped after the last; what it has besides itself then is a leak.
pub trait Trial {
    /// Plays one round: lets somebody die, sees what that does to the others, and counts both. After a hang there is no
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
