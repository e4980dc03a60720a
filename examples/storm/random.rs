//! Random numbers that a seed reproduces, by xorshift.

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Any state but zero; neighbouring seeds shall not begin alike.
        Self((seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
