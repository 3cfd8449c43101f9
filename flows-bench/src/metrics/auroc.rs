//! The area under the receiver operating characteristic.

/// How well a score tells two groups apart: the probability that a value of `above` exceeds one of
/// `below`, ties counted by half, with its standard error. 1/2 where it cannot tell, 1 where it always can,
/// not a number where a group is empty or has a value that is none.
///
/// The error is that of DeLong et al.: the variances of the share that each value exceeds, or is exceeded
/// by, in the other group. It is 0 where no pair is in the wrong order.
///
/// # Reference
/// DeLong, DeLong, Clarke-Pearson, *Comparing the areas under two or more correlated receiver operating
/// characteristic curves*, Biometrics 44, 1988.
#[must_use]
pub fn auroc(above: &[f64], below: &[f64]) -> (f64, f64) {
    if above.iter().chain(below).any(|value| value.is_nan()) {
        return (f64::NAN, f64::NAN);
    }
    let exceeded = shares_below(above, below);
    let exceeding = shares_below(below, above);
    let area = exceeded.iter().sum::<f64>() / exceeded.len() as f64;
    (area, (variance_of_mean(&exceeded) + variance_of_mean(&exceeding)).sqrt())
}

/// For each value the share of `others` below it, those equal by half.
fn shares_below(values: &[f64], others: &[f64]) -> Vec<f64> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let share = |value: &f64| {
        let less = sorted.partition_point(|other| other < value);
        let no_more = sorted.partition_point(|other| other <= value);
        0.5 * (less + no_more) as f64 / sorted.len() as f64
    };
    values.iter().map(share).collect()
}

fn variance_of_mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    square / (count - 1.0).max(1.0) / count
}

#[cfg(test)]
mod tests {
    use flows_core::{normals, stream};

    use super::auroc;

    #[test]
    fn pairs_are_counted_and_ties_by_half() {
        // Of 3 x 2 pairs, 4 in order and one equal.
        assert_eq!(auroc(&[1.0, 3.0, 2.0], &[2.0, 0.5]).0, 4.5 / 6.0);
        assert_eq!(auroc(&[1.0, 2.0], &[0.0, f64::NEG_INFINITY]), (1.0, 0.0));
        assert_eq!(auroc(&[1.0; 3], &[1.0; 4]), (0.5, 0.0));
        assert!(auroc(&[1.0, f64::NAN], &[0.0]).0.is_nan());
        assert!(auroc(&[], &[0.0]).0.is_nan());
    }

    /// Of N(1, 1) and N(0, 1) it is Phi(1 / sqrt 2).
    #[test]
    fn the_area_of_two_normals_is_known_and_so_is_its_error() {
        let mut rng = stream(3, "draws");
        let scores: Vec<f64> = (0..400)
            .map(|_| {
                let above: Vec<f64> =
                    normals::<f64>(100, &mut rng).iter().map(|v| v + 1.0).collect();
                let (area, error) = auroc(&above, &normals::<f64>(150, &mut rng));
                (area - 0.760_249_938_906_523_6) / error
            })
            .collect();
        let mean = scores.iter().sum::<f64>() / 400.0;
        let square = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 400.0;
        // Scores of unit variance: four standard errors of their mean, and of their variance, sqrt(2 / 400).
        assert!(mean.abs() < 4.0 / 20.0, "{mean}");
        assert!((square - 1.0).abs() < 4.0 * 0.071, "{square}");
    }
}
