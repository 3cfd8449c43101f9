//! Random number streams: one seed a run, one named stream a use.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use crate::Real;

/// The generator of every stream; a fixed algorithm, so that results outlive releases of `rand`.
pub type Stream = rand_xoshiro::Xoshiro256PlusPlus;

/// An independent stream for one named use of a run's seed: drawing more data does not change the
/// initial weights.
#[must_use]
pub fn stream(seed: u64, name: &str) -> Stream {
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    Stream::seed_from_u64(seed ^ name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a))
}

/// `count` draws from N(0, 1).
pub fn normals<E: Real>(count: usize, rng: &mut Stream) -> Vec<E> {
    (0..count).map(|_| E::of(Distribution::<f64>::sample(&StandardNormal, rng))).collect()
}
