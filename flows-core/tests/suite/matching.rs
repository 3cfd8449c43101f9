//! Flow matching: paths against differences, velocities against their expectation on normal data.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::matching::{
    FlowMatching, MinibatchOt, OptimalTransport, Pairing, Pairs, ProbabilityPath,
    VariancePreserving, Weights,
};
use flows_core::testing::names;
use flows_core::{Real, normals, stream};

fn optimal_transport(sigma_min: f64) -> ProbabilityPath {
    ProbabilityPath::OptimalTransport(OptimalTransport { sigma_min })
}

fn variance_preserving() -> ProbabilityPath {
    ProbabilityPath::VariancePreserving(VariancePreserving::default())
}

fn paths() -> [ProbabilityPath; 3] {
    [ProbabilityPath::default(), optimal_transport(0.3), variance_preserving()]
}

fn independent(path: ProbabilityPath) -> FlowMatching {
    FlowMatching { path, coupling: Pairing::Independent }
}

fn minibatch_ot(group: usize) -> FlowMatching {
    let coupling = Pairing::MinibatchOt(MinibatchOt { group });
    FlowMatching { path: optimal_transport(0.0), coupling }
}

#[test]
fn velocity_is_the_derivative_of_the_path() {
    const STEP: f64 = 1e-6;
    for path in paths() {
        for k in 0..100 {
            let s = 0.005 + 0.00985 * f64::from(k);
            let [low, at, high] = [s - STEP, s, s + STEP].map(|s| path.at(s));
            // Rounding 2e-16 / STEP, and STEP^2 / 6 times a third derivative below 1e4.
            let close = |rate: f64, high: f64, low: f64| {
                let difference = (high - low) / (2.0 * STEP);
                assert!((rate - difference).abs() < 1e-9, "{path:?} at {s}: {rate} {difference}");
            };
            close(at.data_rate, high.data, low.data);
            close(at.base_rate, high.base, low.base);
        }
    }
}

#[test]
fn paths_begin_at_the_base_and_end_at_the_data() {
    let straight = ProbabilityPath::default();
    let start = Weights { data: 0.0, base: 1.0, data_rate: 1.0, base_rate: -0.9999 };
    assert_eq!(straight.at(0.0), start);
    let end = straight.at(1.0);
    assert_eq!(end.data, 1.0);
    assert!((end.base - 1e-4).abs() < 1e-15);

    // The integral of beta over [0, 1] is its mean, 10.05; over [0, 1e-5] it is 1.000995e-6.
    let diffusion = variance_preserving();
    let start = diffusion.at(0.0);
    assert!((start.data - (-5.025_f64).exp()).abs() < 1e-15);
    assert!((start.data.hypot(start.base) - 1.0).abs() < 1e-15);
    let end = diffusion.at(1.0 - 1e-5);
    assert!((end.data - (1.0 - 0.5 * 1.000_995e-6)).abs() < 1e-12);
    // 1 - (1 - 1e-5) is off by 1e-16, that is 1e-11 of 1e-5.
    assert!((end.base - 1.000_995e-6_f64.sqrt()).abs() < 1e-9);
}

/// Draws are what the path says at the drawn time, for rows of three columns.
fn rows_follow_the_path<E: Real>() {
    const ROWS: usize = 40;
    let [x0, x1] = ["base", "data"].map(|name| normals::<E>(ROWS * 3, &mut stream(1, name)));
    for path in paths() {
        let pairs = independent(path).draw(&x0, &x1, 3, &mut stream(1, "times")).unwrap();
        assert_eq!(pairs.times.len(), ROWS);
        for i in 0..ROWS * 3 {
            let at = path.at(pairs.times[i / 3].as_f64());
            let (x0, x1) = (x0[i].as_f64(), x1[i].as_f64());
            // Two products, a sum and the rounding of two weights.
            let close = |got: E, data: f64, base: f64| {
                let scale = (data * x1).abs() + (base * x0).abs();
                let error = (got.as_f64() - (data * x1 + base * x0)).abs();
                assert!(error <= 2.5 * E::epsilon().as_f64() * scale, "{path:?} {i}: {error}");
            };
            close(pairs.points[i], at.data, at.base);
            close(pairs.velocities[i], at.data_rate, at.base_rate);
        }
    }
}

#[test]
fn drawn_rows_follow_the_path() {
    rows_follow_the_path::<f64>();
    rows_follow_the_path::<f32>();
}

const MEAN: f64 = 0.7;
const SD: f64 = 1.6;

/// E[u | x] for x0 ~ N(0, 1) and x1 ~ N(MEAN, SD^2): intercept, slope.
fn regression_line(at: Weights) -> [f64; 2] {
    let covariance = at.data * at.data_rate * SD * SD + at.base * at.base_rate;
    let slope = covariance / (at.data * at.data * SD * SD + at.base * at.base);
    [(at.data_rate - slope * at.data) * MEAN, slope]
}

fn normal_data(rows: usize) -> [Vec<f64>; 2] {
    let x1 = normals::<f64>(rows, &mut stream(2, "data"));
    [normals(rows, &mut stream(2, "base")), x1.iter().map(|z| MEAN + SD * z).collect()]
}

#[test]
fn least_squares_on_normal_data_finds_the_marginal_velocity() {
    const ROWS: usize = 100_000;
    let n = ROWS as f64;
    let [x0, x1] = normal_data(ROWS);
    for path in paths() {
        for s in [0.05, 0.5, 0.95] {
            let at = path.at(s);
            let mix = |data: f64, base: f64| -> Vec<f64> {
                x0.iter().zip(&x1).map(|(x0, x1)| data * x1 + base * x0).collect()
            };
            let (x, u) = (mix(at.data, at.base), mix(at.data_rate, at.base_rate));
            let [mean_x, mean_u] = [&x, &u].map(|v| v.iter().sum::<f64>() / n);
            let moment = |f: &dyn Fn(f64, f64) -> f64| {
                x.iter().zip(&u).map(|(x, u)| f(x - mean_x, u - mean_u)).sum::<f64>() / n
            };
            let (var_x, covariance) = (moment(&|x, _| x * x), moment(&|x, u| x * u));
            let slope = covariance / var_x;
            let noise = moment(&|x, u| (u - slope * x).powi(2));
            let slope_error = (noise / var_x / n).sqrt();
            let intercept_error = (noise / n * (1.0 + mean_x * mean_x / var_x)).sqrt();
            let [intercept, known] = regression_line(at);
            assert!((slope - known).abs() < 4.0 * slope_error, "{path:?} {s}: {slope} {known}");
            let fitted = mean_u - slope * mean_x;
            assert!((fitted - intercept).abs() < 4.0 * intercept_error, "{path:?} {s}: {fitted}");
        }
    }
}

/// Mean of f over the rows in standard errors, f being the residual of the known line times 1 or x.
fn residual_moments(pairs: &Pairs<f64>, path: ProbabilityPath) -> [f64; 2] {
    let rows = pairs.times.iter().zip(&pairs.points).zip(&pairs.velocities);
    let residuals: Vec<[f64; 2]> = rows
        .map(|((&s, x), u)| {
            let [intercept, slope] = regression_line(path.at(s));
            let residual = u - intercept - slope * x;
            [residual, residual * x]
        })
        .collect();
    [0, 1].map(|moment| {
        let n = residuals.len() as f64;
        let mean = residuals.iter().map(|r| r[moment]).sum::<f64>() / n;
        let variance = residuals.iter().map(|r| (r[moment] - mean).powi(2)).sum::<f64>() / n;
        mean / (variance / n).sqrt()
    })
}

#[test]
fn drawn_residuals_are_uncorrelated_with_the_point() {
    let [x0, x1] = normal_data(100_000);
    for path in paths() {
        let pairs = independent(path).draw(&x0, &x1, 1, &mut stream(2, "times")).unwrap();
        let moments = residual_moments(&pairs, path);
        assert!(moments.iter().all(|m| m.abs() < 4.0), "{path:?}: {moments:?}");
    }
}

/// Equal intervals hold one time each, and a single row's time is uniform.
#[test]
fn times_are_equally_spaced_and_each_is_uniform() {
    const ROWS: usize = 7;
    const BATCHES: usize = 20_000;
    let zeros = [0.0; ROWS];
    let mut rng = stream(3, "times");
    let mut sums = [[0.0; 2]; ROWS];
    for _ in 0..BATCHES {
        let times = FlowMatching::default().draw(&zeros, &zeros, 1, &mut rng).unwrap().times;
        for (sums, &s) in sums.iter_mut().zip(&times) {
            *sums = [sums[0] + s, sums[1] + s * s];
        }
        let mut sorted = times;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted[0] >= 0.0 && sorted[ROWS - 1] < 1.0);
        for gap in sorted.windows(2) {
            assert!((gap[1] - gap[0] - 1.0 / ROWS as f64).abs() < 1e-15);
        }
    }
    // Variances of s and s^2 for a uniform s: 1/12 and 1/5 - 1/9.
    for [first, second] in sums.map(|sums| sums.map(|sum| sum / BATCHES as f64)) {
        let error = |variance: f64| 4.0 * (variance / BATCHES as f64).sqrt();
        assert!((first - 0.5).abs() < error(1.0 / 12.0), "{first}");
        assert!((second - 1.0 / 3.0).abs() < error(4.0 / 45.0), "{second}");
    }
}

#[test]
fn single_precision_times_stay_below_one() {
    let x = vec![0.0_f32; 100_000];
    for path in paths() {
        for seed in 0..20 {
            let pairs = independent(path).draw(&x, &x, 1, &mut stream(seed, "times")).unwrap();
            assert!(pairs.times.iter().all(|s| (0.0..1.0).contains(s)), "{path:?}");
            assert!(pairs.velocities.iter().all(|u| u.is_finite()), "{path:?}");
        }
    }
}

#[test]
fn what_cannot_be_matched_is_refused() {
    let refusal = |matching: FlowMatching, x0: &[f64], x1: &[f64], dim| {
        matching.draw(x0, x1, dim, &mut stream(0, "times")).unwrap_err().to_string()
    };
    let settings = |matching: FlowMatching| refusal(matching, &[0.0], &[0.0], 1);
    let betas = |beta_min, beta_max| {
        let path = VariancePreserving { beta_min, beta_max };
        settings(independent(ProbabilityPath::VariancePreserving(path)))
    };
    let sigma = "sigma_min must be at least 0 and below 1, got ";
    assert_eq!(settings(independent(optimal_transport(1.0))), format!("{sigma}1"));
    assert_eq!(settings(independent(optimal_transport(f64::NAN))), format!("{sigma}NaN"));
    assert_eq!(betas(3.0, 2.0), "beta_min must be between 0 and beta_max, got 3");
    assert_eq!(betas(-1.0, 2.0), "beta_min must be between 0 and beta_max, got -1");
    assert_eq!(betas(0.0, 0.5), "beta_max must be between 1 and 1000, got 0.5");
    let group = "group of minibatch_ot must be between 2 and 1024, got ";
    assert_eq!(settings(minibatch_ot(1)), format!("{group}1"));
    assert_eq!(settings(minibatch_ot(2000)), format!("{group}2000"));

    for matching in [FlowMatching::default(), minibatch_ot(2)] {
        let refused = |x0: &[f64], x1: &[f64], dim| refusal(matching, x0, x1, dim);
        assert_eq!(refused(&[], &[], 0), "columns of flow matching must be at least 1, got 0");
        let whole = "number of values in x1 must be a multiple of the number of columns, got 3";
        assert_eq!(refused(&[0.0; 4], &[0.0; 3], 2), whole);
        let rows = "base draws of flow matching: expected 3 rows, got 2";
        assert_eq!(refused(&[0.0; 4], &[0.0; 6], 2), rows);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let advice = "(row 2); remove rows that are not finite";
            let odd = [0.0, 0.0, 0.0, 0.0, 0.0, value];
            assert_eq!(refused(&odd, &[0.0; 6], 2), format!("base draw x0 is not finite {advice}"));
            assert_eq!(refused(&[0.0; 6], &odd, 2), format!("data row x1 is not finite {advice}"));
        }
        let none = matching.draw::<f64>(&[], &[], 2, &mut stream(0, "times")).unwrap();
        assert!(none.times.is_empty() && none.points.is_empty() && none.velocities.is_empty());
    }
    let overflow = "sum of the squared distances between base draws and data of a group is not \
                    finite (row 2); standardise the data (the row is the first of the group)";
    assert_eq!(refusal(minibatch_ot(2), &[0.0; 4], &[0.0, 0.0, 0.0, 1e200], 1), overflow);
}

#[test]
fn settings_are_read_by_name() {
    let read = |text: &str| serde_json::from_str::<FlowMatching>(text);
    assert_eq!(read("{}").unwrap(), FlowMatching::default());
    let text = r#"{"path": {"kind": "variance_preserving", "beta_max": 10},
        "coupling": {"kind": "minibatch_ot", "group": 64}}"#;
    let path =
        ProbabilityPath::VariancePreserving(VariancePreserving { beta_min: 0.1, beta_max: 10.0 });
    assert_eq!(read(text).unwrap(), FlowMatching { path, ..minibatch_ot(64) });
    let independent =
        r#"{"path": {"kind": "optimal_transport"}, "coupling": {"kind": "independent"}}"#;
    assert_eq!(read(independent).unwrap(), FlowMatching::default());
    let written = serde_json::to_string(&minibatch_ot(64)).unwrap();
    assert_eq!(read(&written).unwrap(), minibatch_ot(64));
    for (misspelt, word) in [
        (r#"{"paths": {}}"#, "unknown field `paths`"),
        (r#"{"path": {"kind": "optimal_transport", "sigma": 0}}"#, "unknown field `sigma`"),
        (r#"{"coupling": {"kind": "minibatch_ot", "size": 2}}"#, "unknown field `size`"),
    ] {
        names(&read(misspelt).unwrap_err(), &[word]);
    }
}
