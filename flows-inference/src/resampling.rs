//! Resampling of weighted rows.

use flows_core::Stream;
use rand::RngExt;

/// Systematic resampling: as many rows again, each of them floor or ceil of n w times for shares w that
/// sum to one. They are those at equal distances on the scale of the summed shares, from a random first
/// place.
///
/// # Reference
/// Douc, Cappé, *Comparison of resampling schemes for particle filtering*, ISPA 2005, Section 2.4.
/// <https://arxiv.org/abs/cs/0507025>
#[must_use]
pub fn systematic(rows: &[f64], dim: usize, shares: &[f64], rng: &mut Stream) -> Vec<f64> {
    let count = shares.len();
    let start: f64 = rng.random();
    let mut resampled = Vec::with_capacity(rows.len());
    let (mut taken, mut sum) = (0, 0.0);
    let mut last = rows;
    for (row, share) in rows.chunks(dim).zip(shares) {
        sum += share * count as f64;
        if *share > 0.0 {
            last = row;
        }
        while taken < count && taken as f64 + start < sum {
            resampled.extend_from_slice(row);
            taken += 1;
        }
    }
    // Rounding of the sum may leave out the last place.
    for _ in taken..count {
        resampled.extend_from_slice(last.get(..dim).unwrap_or(last));
    }
    resampled
}

#[cfg(test)]
mod tests {
    use flows_core::stream;

    use super::systematic;

    #[test]
    fn rows_are_taken_as_often_as_their_weights_say() {
        let rows = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0];
        let shares = [0.25, 0.5, 0.0, 0.25];
        for seed in 0..20 {
            let taken = systematic(&rows, 2, &shares, &mut stream(seed, "start"));
            assert_eq!(taken, [1.0, -1.0, 2.0, -2.0, 2.0, -2.0, 4.0, -4.0]);
        }
        // With n w = 0.6, 1.4: the first is taken in 60 % of the runs.
        let first = (0..1000)
            .filter(|&seed| {
                systematic(&[5.0, 7.0], 1, &[0.3, 0.7], &mut stream(seed, "start"))[0] == 5.0
            })
            .count() as f64;
        assert!((first - 600.0).abs() < 4.0 * (1000.0_f64 * 0.6 * 0.4).sqrt(), "{first}");
    }
}
