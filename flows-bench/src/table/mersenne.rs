//! The generator that the published preparation of POWER was drawn with.

/// Words of state, n in the paper.
const WORDS: usize = 624;

/// Distance of the words that are mixed, m in the paper.
const OFFSET: usize = 397;

/// MT19937, with the doubles and the shuffle of the published preparation.
///
/// Only for rows that must come in the published order; draws of our own use the run's seed.
///
/// # Reference
/// Matsumoto, Nishimura, *Mersenne Twister*, ACM TOMACS 8, 1998; seeding of 2002.
#[derive(Debug)]
pub(super) struct Mersenne {
    state: [u32; WORDS],
    next: usize,
}

impl Mersenne {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for i in 1..WORDS {
            let last = state[i - 1];
            state[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined =
                (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + OFFSET) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// U[0, 1) with 53 bits.
    pub(super) fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Exchanges from the end; positions are drawn by masking and rejection, one word each.
    pub(super) fn shuffle(&mut self, rows: &mut [usize]) {
        for last in (1..rows.len()).rev() {
            let mask = usize::MAX >> last.leading_zeros();
            let other = loop {
                let draw = self.word() as usize & mask;
                if draw <= last {
                    break draw;
                }
            };
            rows.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_stream_is_reproduced() {
        // The 10,000th word for seed 5489, from the C++ standard, [rand.predef].
        let mut rng = Mersenne::new(5489);
        let word = (0..10_000).map(|_| rng.word()).last();
        assert_eq!(word, Some(4_123_659_995));
        // The first doubles and the first permutation for seed 42, as widely printed.
        let mut rng = Mersenne::new(42);
        let draws = [rng.uniform(), rng.uniform(), rng.uniform()];
        for (draw, printed) in draws.iter().zip([0.374_540_12, 0.950_714_31, 0.731_993_94]) {
            assert!((draw - printed).abs() < 5e-9, "{draw}");
        }
        let mut rows: Vec<usize> = (0..10).collect();
        Mersenne::new(42).shuffle(&mut rows);
        assert_eq!(rows, [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
    }
}
