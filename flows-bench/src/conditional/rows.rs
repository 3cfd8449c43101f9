//! Rows of any number of features to and from points of a fixed one.

use rand::Rng;

/// Draws of values and contexts, row by row, from a sampler of each.
pub(super) fn pairs<const D: usize, const C: usize, R: Rng>(
    rows: usize,
    rng: &mut R,
    context: impl Fn(&mut R) -> [f64; C],
    draw: impl Fn([f64; C], &mut R) -> [f64; D],
) -> (Vec<f64>, Vec<f64>) {
    let (mut values, mut contexts) = (Vec::with_capacity(rows * D), Vec::with_capacity(rows * C));
    for _ in 0..rows {
        let c = context(rng);
        values.extend(draw(c, rng));
        contexts.extend(c);
    }
    (values, contexts)
}

/// A draw for each complete row of contexts.
pub(super) fn given<const D: usize, const C: usize, R: Rng>(
    contexts: &[f64],
    rng: &mut R,
    draw: impl Fn([f64; C], &mut R) -> [f64; D],
) -> Vec<f64> {
    let (rows, _) = contexts.as_chunks::<C>();
    rows.iter().flat_map(|&c| draw(c, rng)).collect()
}

/// Both points, if they are of the problem's sizes.
pub(super) fn arrays<const D: usize, const C: usize>(
    x: &[f64],
    c: &[f64],
) -> Option<([f64; D], [f64; C])> {
    Some((x.try_into().ok()?, c.try_into().ok()?))
}
