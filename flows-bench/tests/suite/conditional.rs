//! Conditional densities: normalised at every context, in agreement with their draws.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::f64::consts::{PI, TAU};

use flows_bench::conditional::{ConditionalToy, UnknownConditionalToy};
use flows_core::stream;

const ROWS: usize = 50_000;

/// Mass and differential entropy at a context over a box, by the midpoint rule with `step`.
fn mass_and_entropy(toy: ConditionalToy, c: &[f64], sides: &[[f64; 2]], step: f64) -> [f64; 2] {
    let counts: Vec<usize> =
        sides.iter().map(|[low, high]| ((high - low) / step).ceil() as usize).collect();
    let (mut sums, mut x) = ([0.0; 2], vec![0.0; sides.len()]);
    for point in 0..counts.iter().product() {
        let mut rest = point;
        for ((x, [low, high]), count) in x.iter_mut().zip(sides).zip(&counts) {
            *x = low + (high - low) * ((rest % count) as f64 + 0.5) / *count as f64;
            rest /= count;
        }
        let log_p = toy.log_density(&x, c);
        let p = log_p.exp();
        sums[0] += p;
        // x ln x tends to 0; the product would be NaN.
        sums[1] -= if p > 0.0 { p * log_p } else { 0.0 };
    }
    let cell = sides.iter().zip(counts).map(|([low, high], n)| (high - low) / n as f64);
    let cell: f64 = cell.product();
    sums.map(|sum| sum * cell)
}

/// Contexts of the two that can be drawn, the ends among them, with a step of half the least noise.
fn drawn() -> Vec<(ConditionalToy, Vec<f64>, f64)> {
    let moons = [[-PI, 0.1], [0.7, 0.2], [1.5, 0.4], [PI, 0.4]];
    let moons = moons.map(|c| (ConditionalToy::Moons, c.to_vec(), 0.5 * c[1]));
    let mixture = [-1.0, -0.3, 0.4, 1.0].map(|c| (ConditionalToy::Mixture, vec![c], 0.05));
    moons.into_iter().chain(mixture).collect()
}

/// Mean of −ln p(x | c) over rows, and the standard error of the mean.
fn mean_nll(toy: ConditionalToy, values: &[f64], contexts: &[f64]) -> [f64; 2] {
    let rows = values.chunks_exact(toy.dim()).zip(contexts.chunks_exact(toy.context_dim()));
    let nats: Vec<f64> = rows.map(|(x, c)| -toy.log_density(x, c)).collect();
    let count = nats.len() as f64;
    let mean = nats.iter().sum::<f64>() / count;
    let variance = nats.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / (count - 1.0);
    [mean, (variance / count).sqrt()]
}

#[test]
fn densities_integrate_to_one_at_every_context() {
    for (toy, c, step) in drawn() {
        // All is at most 3.2 from the origin for the moons, 2 for the mixture; nine of the greatest
        // standard deviations, 0.74, more. The rule is exact to exp(−8π²) for this step.
        let reach = if toy == ConditionalToy::Moons { 3.2 + 9.0 * c[1] } else { 9.0 };
        let [mass, _] = mass_and_entropy(toy, &c, &vec![[-reach, reach]; toy.dim()], step);
        // The stated error of the log-density.
        assert!((mass - 1.0).abs() < 1e-9, "{toy} at {c:?}: {mass}");
        let [x0, x1, y0, y1] = toy.window().unwrap();
        let window = if toy.dim() == 2 { vec![[x0, x1], [y0, y1]] } else { vec![[y0, y1]] };
        let [mass, _] = mass_and_entropy(toy, &c, &window, step);
        assert!((1.0 - mass).abs() < 1e-6, "{toy} at {c:?}: {mass} in its window");
    }
}

#[test]
fn the_mean_negative_log_density_of_draws_is_the_entropy() {
    for toy in ConditionalToy::ALL {
        let stated = toy.entropy();
        let (values, contexts) = toy.sample(ROWS, &mut stream(2, "rows"));
        let given = toy.sample_given(&contexts, &mut stream(3, "rows"));
        assert_ne!(values, given);
        for values in [values, given] {
            let [mean, error] = mean_nll(toy, &values, &contexts);
            let bound = 4.0 * error + stated.error;
            assert!((mean - stated.nats).abs() < bound, "{toy}: {mean} +- {error}");
        }
    }
}

#[test]
fn draws_at_one_context_have_its_entropy() {
    for (toy, c, step) in drawn() {
        let sides = vec![[-9.0, 9.0]; toy.dim()];
        let [_, entropy] = mass_and_entropy(toy, &c, &sides, step);
        let contexts = c.repeat(5000);
        let values = toy.sample_given(&contexts, &mut stream(4, "rows"));
        let [mean, error] = mean_nll(toy, &values, &contexts);
        assert!((mean - entropy).abs() < 4.0 * error, "{toy} at {c:?}: {mean} {entropy}");
    }
}

#[test]
fn values_of_the_densities_are_those_of_their_formulas() {
    // The toy's value by adaptive quadrature in twenty digits, and its point turned by 2.
    let (sin, cos) = 2f64.sin_cos();
    let turned = [cos * 0.5 - sin * 0.25, sin * 0.5 + cos * 0.25];
    let moons = ConditionalToy::Moons.log_density(&turned, &[2.0, 0.2]);
    assert!((moons + 4.075_733_321_347_42).abs() < 1e-9, "{moons}");
    // At c = 0 equal weights, means +-1, deviations 0.1 e and 0.2 sqrt(e).
    let [s1, s2] = [0.1 * 1f64.exp(), 0.2 * 0.5f64.exp()];
    let p = 0.5 * ((-0.125 / (s1 * s1)).exp() / s1 + (-1.125 / (s2 * s2)).exp() / s2) / TAU.sqrt();
    let mixture = ConditionalToy::Mixture.log_density(&[0.5], &[0.0]);
    assert!((mixture - p.ln()).abs() < 20.0 * f64::EPSILON, "{mixture}");
    // At the mean, the negative entropy less the mean of half a chi-square of 8.
    let toy = ConditionalToy::LinearGaussian;
    let at_mean: Vec<f64> = (1..=8).map(|i| (f64::from(i) - 4.5) / 2.0).collect();
    let linear = toy.log_density(&at_mean, &[0.0; 8]);
    let tolerance = toy.entropy().error + 20.0 * 8.0 * f64::EPSILON;
    assert!((linear + toy.entropy().nats - 4.0).abs() < tolerance, "{linear}");
}

#[test]
fn the_same_stream_gives_the_same_rows_and_fewer_are_the_first() {
    for toy in ConditionalToy::ALL {
        let sample = |rows| toy.sample(rows, &mut stream(6, "rows"));
        let ((values, contexts), (more, more_contexts)) = (sample(7), sample(9));
        assert_eq!((values.len(), contexts.len()), (7 * toy.dim(), 7 * toy.context_dim()));
        assert_eq!(
            (&values[..], &contexts[..]),
            (&more[..values.len()], &more_contexts[..contexts.len()])
        );
        let given = |contexts: &[f64]| toy.sample_given(contexts, &mut stream(7, "rows"));
        assert_eq!(given(&contexts), given(&more_contexts)[..values.len()]);
        assert!(given(&[]).is_empty());
    }
}

#[test]
fn no_input_gives_plus_infinity_and_only_those_documented_nan() {
    for toy in ConditionalToy::ALL {
        let c = toy.sample(1, &mut stream(8, "rows")).1;
        let ordinary = vec![0.1; toy.dim()];
        for extreme in [1e-300, -8.0, 1e5, -1e160, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            for place in 0..toy.dim() {
                let mut x = ordinary.clone();
                x[place] = extreme;
                let log_p = toy.log_density(&x, &c);
                assert!(log_p < f64::INFINITY, "{toy} at {x:?}: {log_p}");
                x[place] = f64::NAN;
                assert!(toy.log_density(&x, &c).is_nan());
            }
            for place in 0..toy.context_dim() {
                let mut c = c.clone();
                c[place] = extreme;
                let log_p = toy.log_density(&ordinary, &c);
                let width = toy == ConditionalToy::Moons && place == 1 && extreme < 0.08;
                assert_eq!(log_p.is_nan(), width || extreme.is_infinite(), "{toy} given {c:?}");
                assert!(log_p.is_nan() || log_p < f64::INFINITY, "{toy} given {c:?}: {log_p}");
                c[place] = f64::NAN;
                assert!(toy.log_density(&ordinary, &c).is_nan());
            }
        }
        assert!(toy.log_density(&ordinary[1..], &c).is_nan());
        assert!(toy.log_density(&ordinary, &c[1..]).is_nan());
    }
}

#[test]
fn names_columns_and_slices_fit_together() {
    for toy in ConditionalToy::ALL {
        assert_eq!(toy.name().parse(), Ok(toy));
        assert_eq!(toy.to_string(), toy.name());
        assert_eq!(toy.columns().len(), toy.dim());
        assert_eq!(toy.context_columns().len(), toy.context_dim());
        assert_eq!(toy.slices().is_empty(), toy.window().is_none());
        assert!(toy.slices().iter().all(|c| c.len() == toy.context_dim()));
    }
    assert_eq!(ConditionalToy::Moons.context_columns(), ["angle", "width"]);
    let error: UnknownConditionalToy = "moons".parse::<ConditionalToy>().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("\"moons\""), "{message}");
    assert!(ConditionalToy::ALL.iter().all(|toy| message.contains(toy.name())), "{message}");
}
