//! Which of several estimates is the lowest, as far as the errors of their differences tell.

use super::gather::ProblemResults;
use super::value::Value;

/// Rank of a flow on a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Below every other flow by more than two standard errors of the difference.
    Best,
    /// Not clearly above the lowest, and nobody is best.
    Tied,
    /// Clearly above the lowest, without a rival, or at an unknown distance.
    Unmarked,
}

/// The rank of everything that has a value; `difference` is one less another, by their places.
pub(super) fn ranks(
    values: &[Option<f64>],
    difference: impl Fn(usize, usize) -> Option<Value>,
) -> Vec<Rank> {
    let mut ranks = vec![Rank::Unmarked; values.len()];
    let known = || values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
    let Some((lowest, _)) = known().min_by(|a, b| a.1.total_cmp(&b.1)) else { return ranks };
    let others: Vec<(usize, Option<bool>)> = known()
        .filter(|(index, _)| *index != lowest)
        .map(|(index, _)| (index, difference(index, lowest).and_then(|d| d.clearly_positive())))
        .collect();
    let near = |above: &Option<bool>| *above == Some(false);
    for (index, above) in &others {
        if near(above) {
            ranks[*index] = Rank::Tied;
        }
    }
    if others.iter().any(|(_, above)| near(above)) {
        ranks[lowest] = Rank::Tied;
    } else if !others.is_empty() && others.iter().all(|(_, above)| *above == Some(true)) {
        ranks[lowest] = Rank::Best;
    }
    ranks
}

impl ProblemResults {
    /// The ranks of the flows; none has one where the likelihood has no upper bound.
    pub(super) fn ranks(&self) -> Vec<Rank> {
        let measure = self.measure();
        let mean =
            |flow: &super::flow_results::FlowResults| flow.mean(measure).map(|mean| mean.value);
        let ranked = |value: &f64| !self.problem.unbounded && value.is_finite();
        let values: Vec<_> = self.flows.iter().map(|flow| mean(flow).filter(ranked)).collect();
        ranks(&values, |flow, against| self.difference(flow, against))
    }

    /// What the flow at `index` is above the lowest; nothing for the lowest itself, or where flows
    /// are not ranked.
    pub(super) fn above_lowest(&self, index: usize) -> Option<Value> {
        let measure = self.measure();
        let mean = |flow: &super::flow_results::FlowResults| Some(flow.mean(measure)?.value);
        let known = self.flows.iter().enumerate().filter_map(|(i, flow)| Some((i, mean(flow)?)));
        let (lowest, _) = known.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let ranked = !self.problem.unbounded && index != lowest;
        self.difference(index, lowest).filter(|_| ranked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranks of independent estimates.
    fn independent(estimates: &[Option<(f64, f64)>]) -> Vec<Rank> {
        let value = |(value, error)| Value { value, error: Some(error) };
        let values: Vec<_> = estimates.iter().map(|e| e.map(|(value, _)| value)).collect();
        ranks(&values, |a, b| Some(value(estimates[a]?).less(&value(estimates[b]?))))
    }

    #[test]
    fn a_clear_lead_is_best() {
        let marks = independent(&[Some((0.3, 0.01)), Some((0.1, 0.01)), None]);
        assert_eq!(marks, [Rank::Unmarked, Rank::Best, Rank::Unmarked]);
    }

    #[test]
    fn a_lead_within_two_errors_is_a_tie() {
        let marks = independent(&[Some((0.12, 0.01)), Some((0.1, 0.01)), Some((0.2, 0.01))]);
        assert_eq!(marks, [Rank::Tied, Rank::Tied, Rank::Unmarked]);
    }

    #[test]
    fn the_error_is_that_of_the_difference_and_not_of_the_values() {
        let values = [Some(0.3), Some(0.1), Some(0.2)];
        // The second in order is clearly above the lowest, the last in order is not.
        let error = |flow: usize| if flow == 0 { 0.15 } else { 0.01 };
        let difference = |a: usize, b: usize| {
            Some(Value { value: values[a]? - values[b]?, error: Some(error(a)) })
        };
        assert_eq!(ranks(&values, difference), [Rank::Tied, Rank::Tied, Rank::Unmarked]);
    }

    #[test]
    fn nobody_leads_by_a_difference_of_unknown_error() {
        let unknown = |_, _| Some(Value { value: 5.0, error: None });
        assert_eq!(ranks(&[Some(6.0), Some(1.0)], unknown), [Rank::Unmarked; 2]);
    }

    #[test]
    fn one_flow_alone_has_no_mark() {
        assert_eq!(independent(&[None, Some((0.1, 0.1))]), [Rank::Unmarked; 2]);
        assert_eq!(independent(&[]), []);
    }
}
