//! Which of several estimates is the lowest, as far as their errors tell.

use super::value::Value;

/// Rank of a flow on a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Below every other flow by more than two standard errors of the difference.
    Best,
    /// Not clearly above the lowest, and nobody is best.
    Tied,
    /// Clearly above the lowest, or without a rival.
    Unmarked,
}

/// The rank of every flow that has an estimate.
pub(super) fn ranks(estimates: &[Option<Value>]) -> Vec<Rank> {
    let known = || estimates.iter().flatten();
    let lowest = known().min_by(|a, b| a.value.total_cmp(&b.value));
    let Some(lowest) = lowest.filter(|_| known().count() > 1) else {
        return vec![Rank::Unmarked; estimates.len()];
    };
    let near = |estimate: &Value| !lowest.clearly_below(estimate);
    let alone = known().filter(|estimate| near(estimate)).count() == 1;
    let rank = |estimate: &Option<Value>| match estimate {
        Some(estimate) if near(estimate) && alone => Rank::Best,
        Some(estimate) if near(estimate) => Rank::Tied,
        _ => Rank::Unmarked,
    };
    estimates.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, error: f64) -> Option<Value> {
        Some(Value { value, error: Some(error) })
    }

    #[test]
    fn a_clear_lead_is_best() {
        let marks = ranks(&[estimate(0.3, 0.01), estimate(0.1, 0.01), None]);
        assert_eq!(marks, [Rank::Unmarked, Rank::Best, Rank::Unmarked]);
    }

    #[test]
    fn a_lead_within_two_errors_is_a_tie() {
        let marks = ranks(&[estimate(0.12, 0.01), estimate(0.1, 0.01), estimate(0.2, 0.01)]);
        assert_eq!(marks, [Rank::Tied, Rank::Tied, Rank::Unmarked]);
    }

    #[test]
    fn one_flow_alone_has_no_mark() {
        assert_eq!(ranks(&[None, estimate(0.1, 0.1)]), [Rank::Unmarked; 2]);
        assert_eq!(ranks(&[]), []);
    }
}
