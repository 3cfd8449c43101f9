//! Orthonormalisation of many rows at once, by the modified Gram-Schmidt process.

use flows_core::Real;

/// Orthonormalises the vectors of `basis` in place: `(P dim, lanes)`, vector after vector, one
/// basis a lane. A linearly dependent vector becomes zero, so that the span is preserved.
///
/// Each vector is orthogonalised twice, which leaves a loss of orthogonality of a few roundings
/// (Giraud, Langou, Rozložník, *The loss of orthogonality in the Gram-Schmidt process*, 2005).
pub(crate) fn orthonormalise<E: Real>(basis: &mut [E], dim: usize, lanes: usize) {
    let size = dim * lanes;
    for vector in 0..basis.len() / size {
        let (before, rest) = basis.split_at_mut(vector * size);
        let current = &mut rest[..size];
        let long = lengths(current, lanes);
        project_out(before, current, dim, lanes);
        project_out(before, current, dim, lanes);
        let short = lengths(current, lanes);
        // The remainder of a dependent vector is rounding.
        let least = E::of(dim as f64 * 8.0) * E::epsilon();
        for row in current.chunks_exact_mut(lanes) {
            for ((value, &short), &long) in row.iter_mut().zip(&short).zip(&long) {
                let kept = short > least * long;
                *value = if kept { *value / short } else { E::zero() };
            }
        }
    }
}

/// Subtracts from `vector` its components along an orthonormal basis.
pub(crate) fn project_out<E: Real>(basis: &[E], vector: &mut [E], dim: usize, lanes: usize) {
    for unit in basis.chunks_exact(dim * lanes) {
        let mut along = vec![E::zero(); lanes];
        for (unit, vector) in unit.chunks_exact(lanes).zip(vector.chunks_exact(lanes)) {
            flows_core::lanes::add_product(&mut along, unit, vector);
        }
        for (unit, vector) in unit.chunks_exact(lanes).zip(vector.chunks_exact_mut(lanes)) {
            for ((value, &unit), &along) in vector.iter_mut().zip(unit).zip(&along) {
                *value -= along * unit;
            }
        }
    }
}

fn lengths<E: Real>(vector: &[E], lanes: usize) -> Vec<E> {
    let mut squares = vec![E::zero(); lanes];
    for row in vector.chunks_exact(lanes) {
        flows_core::lanes::add_product(&mut squares, row, row);
    }
    squares.iter().map(|s| s.sqrt()).collect()
}
