//! Which of several estimates is the lowest, as far as their errors tell.

use super::estimate::Estimate;

/// Rank of a flow on a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Below every other flow by more than two standard errors of the difference.
    Best,
    /// Not clearly above the lowest, and nobody is best.
    Tied,
    /// Clearly above the lowest, or without a rival.
    Unmarked,
}

/// The standing of every flow that has an estimate.
pub(super) fn standings(estimates: &[Option<Estimate>]) -> Vec<Standing> {
    let known = || estimates.iter().flatten();
    let lowest = known().min_by(|a, b| a.value.total_cmp(&b.value));
    let Some(lowest) = lowest.filter(|_| known().count() > 1) else {
        return vec![Standing::Unmarked; estimates.len()];
    };
    let near = |estimate: &Estimate| !lowest.clearly_below(estimate);
    let alone = known().filter(|estimate| near(estimate)).count() == 1;
    let standing = |estimate: &Option<Estimate>| match estimate {
        Some(estimate) if near(estimate) && alone => Standing::Best,
        Some(estimate) if near(estimate) => Standing::Tied,
        _ => Standing::Unmarked,
    };
    estimates.iter().map(standing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, error: f64) -> Option<Estimate> {
        Some(Estimate { value, error: Some(error) })
    }

    #[test]
    fn a_clear_lead_is_best() {
        let marks = standings(&[estimate(0.3, 0.01), estimate(0.1, 0.01), None]);
        assert_eq!(marks, [Standing::Unmarked, Standing::Best, Standing::Unmarked]);
    }

    #[test]
    fn a_lead_within_two_errors_is_a_tie() {
        let marks = standings(&[estimate(0.12, 0.01), estimate(0.1, 0.01), estimate(0.2, 0.01)]);
        assert_eq!(marks, [Standing::Tied, Standing::Tied, Standing::Unmarked]);
    }

    #[test]
    fn one_flow_alone_has_no_mark() {
        assert_eq!(standings(&[None, estimate(0.1, 0.1)]), [Standing::Unmarked; 2]);
        assert_eq!(standings(&[]), []);
    }
}
