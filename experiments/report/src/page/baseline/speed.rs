//! Changes of speed, as ratios.

use super::{Side, verdict};
use crate::page::number::{LOG_PROB_RATE, SAMPLE_RATE};
use crate::page::value::{SEEDS_FOR_SPREAD, Value};
use crate::record::{Change, Quantity, RunSummary};

/// A rate of a run.
type Rate = fn(&RunSummary) -> Option<Value>;

/// Ratios of the rates; nothing for a rate that no seed has in both comparisons.
pub(super) fn changes(new: &Side<'_>, old: &Side<'_>, blank: &Change) -> Vec<Change> {
    let rates: [(Quantity, Rate); 3] = [
        (Quantity::LogProbRowsPerSecond, LOG_PROB_RATE.of),
        (Quantity::SampleRowsPerSecond, SAMPLE_RATE.of),
        (Quantity::StepsPerSecond, steps),
    ];
    let change = |(quantity, rate)| change(new, old, &Change { quantity, ..blank.clone() }, rate);
    rates.into_iter().filter_map(change).collect()
}

/// Steps over seconds of training: read once, so that only the spread over seeds tells its error.
fn steps(run: &RunSummary) -> Option<Value> {
    Value::new(Some(run.steps? as f64 / run.train_seconds?), None)
}

fn change(new: &Side<'_>, old: &Side<'_>, blank: &Change, rate: Rate) -> Option<Change> {
    let positive = |run| rate(run).filter(|rate| rate.value > 0.0);
    let pairs: Vec<[Value; 2]> = new
        .flow
        .finished()
        .filter_map(|run| {
            let before = old.flow.finished().find(|before| before.seed == run.seed)?;
            Some([positive(run)?, positive(before)?])
        })
        .collect();
    let [of_new, of_old] = [0, 1]
        .map(|side| Value::over_seeds(&pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>()));
    let found = log_ratio(&pairs)?;
    let unknown = why_not(new, old, pairs.len());
    let slower = Value { value: -found.value, ..found }.in_errors();
    let worse_by = slower.filter(|_| unknown.is_none());
    Some(Change {
        old: of_old.map(|rate| rate.value),
        new: of_new.map(|rate| rate.value),
        change: Some(found.value.exp()),
        standard_error: found.error.map(|error| error * found.value.exp()),
        worse_by,
        seeds: pairs.len() as u64,
        verdict: verdict(worse_by, blank.tolerance),
        note: unknown.unwrap_or_default().into(),
        ..blank.clone()
    })
}

/// ln(new / old) of positive rates, one pair for each seed.
///
/// Its error is that of a mean over seeds; of one seed, the root of the sum of the squares of both
/// relative errors. Where a rate has no error of its own, the spread over seeds is all that is known.
fn log_ratio(pairs: &[[Value; 2]]) -> Option<Value> {
    let known = pairs.iter().flatten().all(|rate| rate.error.is_some());
    let log = |rate: &Value| {
        let error = rate.error.filter(|_| known).map_or(0.0, |error| error / rate.value);
        Value { value: rate.value.ln(), error: Some(error) }
    };
    let seeds: Vec<Value> = pairs.iter().map(|[new, old]| log(new).less(&log(old))).collect();
    let mean = Value::over_seeds(&seeds)?;
    Some(Value { error: mean.error.filter(|_| known || seeds.len() > 1), ..mean })
}

/// Why a ratio of speeds is not judged.
fn why_not(new: &Side<'_>, old: &Side<'_>, seeds: usize) -> Option<&'static str> {
    let [of_new, of_old] = [new, old].map(|side| {
        let comparison = side.comparison;
        (&comparison.host.cpu, comparison.host.cores, comparison.threads)
    });
    if of_new != of_old {
        return Some("speed on another host or number of threads is not judged");
    }
    (seeds < SEEDS_FOR_SPREAD).then_some("speed of fewer than three seeds is not judged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(value: f64, error: f64) -> Value {
        Value { value, error: Some(error) }
    }

    #[test]
    fn one_seed_has_both_relative_errors() {
        // 3 % and 4 %: 5 % of the ratio.
        let found = log_ratio(&[[rate(200.0, 6.0), rate(100.0, 4.0)]]).unwrap();
        assert!((found.value - 2f64.ln()).abs() < 1e-15, "{found:?}");
        assert!((found.error.unwrap() - 0.05).abs() < 1e-15, "{found:?}");
        assert_eq!(log_ratio(&[]), None);
    }

    #[test]
    fn three_seeds_have_the_spread_of_their_ratios() {
        // Seeds differ tenfold in speed, which cancels; their ratios are 1, e and e^2.
        let e = 1f64.exp();
        let pairs = [1.0, 10.0, 100.0].map(|old| rate(old, 0.0));
        let ratios = [1.0, e, e * e];
        let pairs: Vec<_> =
            pairs.iter().zip(ratios).map(|(old, r)| [rate(old.value * r, 0.0), *old]).collect();
        let found = log_ratio(&pairs).unwrap();
        assert!((found.value - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.error.unwrap() - 1.0 / 3f64.sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn one_reading_of_a_clock_has_no_known_error() {
        let read = |value| Value { value, error: None };
        let found = log_ratio(&[[read(3.0), rate(3.0, 1.0)]]).unwrap();
        assert_eq!(found, Value { value: 0.0, error: None });
        // ln(1) and ln(e^2): the spread of two is 1.
        let pairs = [[read(3.0), read(3.0)], [read(2f64.exp()), read(1.0)]];
        let error = log_ratio(&pairs).unwrap().error.unwrap();
        assert!((error - 1.0).abs() < 1e-12, "{error}");
    }

    #[test]
    fn steps_a_second_are_steps_over_seconds_of_training() {
        let run = RunSummary { steps: Some(500), train_seconds: Some(4.0), ..Default::default() };
        assert_eq!(steps(&run), Some(Value { value: 125.0, error: None }));
        assert_eq!(steps(&RunSummary { train_seconds: Some(0.0), ..run }), None);
    }
}
