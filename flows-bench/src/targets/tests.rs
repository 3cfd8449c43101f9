//! Tests of all targets: density, gradient, normaliser and sampler agree.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::Target;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Funnel, KnownTarget, ManyWell};
use crate::toys::gauss_legendre::composite;

const ROWS: usize = 200_000;

const FUNNEL: KnownTarget = KnownTarget::Funnel(Funnel::DEFAULT);
const WELLS: KnownTarget = KnownTarget::ManyWell(ManyWell::DEFAULT);

/// Targets of other parameters than the defaults.
fn others() -> [KnownTarget; 4] {
    [
        KnownTarget::Funnel(Funnel::new(2, 0.5).unwrap()),
        KnownTarget::Funnel(Funnel::new(5, 2.0).unwrap()),
        KnownTarget::ManyWell(ManyWell::new(1).unwrap()),
        KnownTarget::ManyWell(ManyWell::new(16).unwrap()),
    ]
}

fn draws(target: KnownTarget) -> Vec<f64> {
    let values = target.sample(ROWS, &mut Xoshiro256PlusPlus::seed_from_u64(20));
    assert_eq!(values.len(), ROWS * target.dim());
    values
}

fn log_density(target: KnownTarget, point: &[f64]) -> f64 {
    target.log_density(point, &mut vec![0.0; point.len()])
}

/// Midpoint rule over a box of the plane.
fn mass(target: KnownTarget, [x0, x1, y0, y1]: [f64; 4], steps: [usize; 2]) -> f64 {
    let [width, height] = [(x1 - x0) / steps[0] as f64, (y1 - y0) / steps[1] as f64];
    let mut sum = 0.0;
    for i in 0..steps[0] {
        for j in 0..steps[1] {
            let x = [x0 + (i as f64 + 0.5) * width, y0 + (j as f64 + 0.5) * height];
            sum += log_density(target, &x).exp();
        }
    }
    sum * width * height
}

#[test]
fn gradients_agree_with_differences() {
    for target in KnownTarget::ALL.into_iter().chain(others()) {
        let dim = target.dim();
        let values = draws(target);
        // Draws, moved out to where the density is small.
        for (index, row) in values.chunks_exact(dim).take(200).enumerate() {
            let stretch = 1.0 + 0.3 * (index % 3) as f64;
            let support = target.support();
            let move_out = |(j, x): (usize, &f64)| support[j].map_or(x * stretch, |_| *x);
            let point: Vec<f64> = row.iter().enumerate().map(move_out).collect();
            if target == KnownTarget::U1 && point[0].hypot(point[1]) < 0.1 {
                continue;
            }
            let mut gradient = vec![f64::NAN; dim];
            let value = target.log_density(&point, &mut gradient);
            for (j, exact) in gradient.iter().enumerate() {
                let step = 1e-5 * (1.0 + point[j].abs());
                let at = |by: f64| {
                    let mut point = point.clone();
                    point[j] += by;
                    log_density(target, &point)
                };
                let [up, down] = [at(step), at(-step)];
                if !(up.is_finite() && down.is_finite()) {
                    continue;
                }
                let numerical = (up - down) / (2.0 * step);
                // Truncation, step^2 / 6 of third derivatives up to (1 / 0.3)^3 times a few standard
                // units each, and rounding of the value over the step.
                let allowed = 1e-6 * (1.0 + exact.abs()) + 4e-11 * (1.0 + value.abs());
                assert!(
                    (exact - numerical).abs() < allowed,
                    "{target} {point:?} {j}: {exact} {numerical}"
                );
            }
        }
    }
}

#[test]
fn normalisers_of_the_plane_agree_with_a_midpoint_rule() {
    let boxes = [
        // The ring's kink at the origin has weight exp(-12.5 - 5.6).
        (KnownTarget::U1, [-6.0, 6.0, -6.0, 6.0], [600, 600], 1e-8),
        // z1 is periodic for the first; for the others the second ribbon's place along z1 leaves the
        // sum over z2 unchanged, which is exact at a step far below the width.
        (KnownTarget::U2, [-4.0, 4.0, -6.0, 6.0], [200, 200], 1e-12),
        (KnownTarget::U3, [-4.0, 4.0, -9.0, 9.0], [200, 400], 1e-12),
        (KnownTarget::U4, [-4.0, 4.0, -9.0, 9.0], [200, 400], 1e-12),
        (KnownTarget::Cross, [-18.0, 18.0, -18.0, 18.0], [500, 500], 1e-12),
        (KnownTarget::Banana, [-16.0, 16.0, -8.0, 68.0], [400, 800], 1e-12),
    ];
    for (target, window, steps, tolerance) in boxes {
        let found = mass(target, window, steps).ln();
        let stated = target.log_normaliser();
        let tolerance = tolerance + stated.error;
        assert!((found - stated.nats).abs() < tolerance, "{target}: {found:.13}");
    }
}

#[test]
fn log_normalisers_are_those_of_the_literature() {
    // To their printed digits; the many-well of 32 features has 164.69568.
    let printed = [1.877_502, 2.082_089, 2.641_705, 2.710_698];
    for (target, nats) in KnownTarget::ALL.into_iter().zip(printed) {
        assert!((target.log_normaliser().nats - nats).abs() < 5.1e-7, "{target}");
    }
    let wells = KnownTarget::ManyWell(ManyWell::new(16).unwrap());
    assert_eq!(wells.dim(), 32);
    let found = wells.log_normaliser().nats;
    assert!((found - 164.695_68).abs() < 5.1e-6, "{found}");
}

#[test]
fn the_normaliser_of_the_wells_agrees_with_simpsons_rule_over_one_pair() {
    // Simpson's rule on the whole log-density along its first two features, the others at 0: their
    // three pairs are a factor 1 there, since the log-density of a pair at 0 is 0.
    let simpson = |f: &dyn Fn(f64) -> f64, reach: f64, steps: usize| {
        let h = 2.0 * reach / steps as f64;
        let weight = |i: usize| match i {
            _ if i == 0 || i == steps => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        (0..=steps).map(|i| weight(i) * f(-reach + h * i as f64)).sum::<f64>() * h / 3.0
    };
    let along = |j: usize| {
        move |x: f64| {
            let mut point = vec![0.0; 8];
            point[j] = x;
            log_density(WELLS, &point).exp()
        }
    };
    let pair = simpson(&along(2), 5.0, 4_000) * simpson(&along(3), 10.0, 4_000);
    // Fourth order: (2.5e-3)^4 / 180 times fourth derivatives of some 1e3 relative to the value.
    for pairs in [1, 4, 16] {
        let stated = KnownTarget::ManyWell(ManyWell::new(pairs).unwrap()).log_normaliser().nats;
        let found = pairs as f64 * pair.ln();
        assert!((found - stated).abs() < 1e-9 * pairs as f64, "{pairs}: {found}");
    }
}

#[test]
fn funnels_are_normalised_given_their_neck() {
    // At fixed v the integral over each of the others is by the trapezoidal rule; over v then by another.
    for target in [FUNNEL].into_iter().chain(others()) {
        let KnownTarget::Funnel(funnel) = target else { continue };
        let (width, others) = (funnel.scale() / 30.0, funnel.dim() as f64 - 1.0);
        let mut total = 0.0;
        for i in -240..=240 {
            let v = width * f64::from(i);
            let at = |x: f64| {
                let mut point = vec![0.0; funnel.dim()];
                (point[0], point[1]) = (v, x);
                log_density(target, &point)
            };
            let scale = (0.5 * v).exp();
            let top = at(0.0);
            let sum: f64 = (-60..=60).map(|k| (at(0.2 * f64::from(k) * scale) - top).exp()).sum();
            total += width * (top + others * (0.2 * scale * sum).ln()).exp();
        }
        // Eight standard deviations of v are left out on either side: 1e-15.
        assert!((total - 1.0).abs() < 1e-12, "{funnel:?}: {total}");
    }
}

#[test]
fn draws_of_funnels_and_wells_have_the_moments_of_their_parameters() {
    for target in others() {
        let (values, dim, count) = (draws(target), target.dim(), ROWS as f64);
        let rows = || values.chunks_exact(dim);
        match target {
            KnownTarget::Funnel(funnel) => {
                // The square of a normal has mean 1 and variance 2.
                let neck = rows().map(|x| (x[0] / funnel.scale()).powi(2)).sum::<f64>() / count;
                let last = rows().map(|x| x[dim - 1].powi(2) * (-x[0]).exp()).sum::<f64>() / count;
                for mean in [neck, last] {
                    assert!((mean - 1.0).abs() < 4.0 * (2.0 / count).sqrt(), "{funnel:?}: {mean}");
                }
            }
            _ => {
                let [left, right] = ManyWell::mode_weights();
                for feature in [0, dim - 2] {
                    let share = rows().filter(|x| x[feature] > 0.0).count() as f64 / count;
                    let error = (left * right / count).sqrt();
                    assert!((share - right).abs() < 4.0 * error, "{feature}: {share}");
                }
            }
        }
    }
}

#[test]
fn weights_of_the_modes_are_those_of_gauss_rules_on_either_side() {
    let well = |x: f64| (x * x * (6.0 - x * x) + 0.5 * x).exp();
    let edges: Vec<f64> = (0..=48).map(|i| 0.125 * f64::from(i)).collect();
    let rule = composite(&edges, 12);
    let [left, right]: [f64; 2] =
        [-1.0, 1.0].map(|side| rule.iter().map(|&(x, weight)| weight * well(side * x)).sum());
    let stated = ManyWell::mode_weights();
    assert_eq!(stated[0] + stated[1], 1.0);
    // Some hundred roundings.
    assert!((right / (left + right) - stated[1]).abs() < 100.0 * f64::EPSILON);
}

#[test]
fn cell_counts_of_draws_in_the_plane_follow_the_density() {
    const CELLS: usize = 20;
    for target in KnownTarget::ALL.into_iter().filter(|target| target.dim() == 2) {
        let [x0, x1, y0, y1] = target.window();
        let [width, height] = [x1 - x0, y1 - y0].map(|w| w / CELLS as f64);
        let mut counts = vec![0.0; CELLS * CELLS];
        for x in draws(target).chunks_exact(2) {
            let place = [(x[0] - x0) / width, (x[1] - y0) / height].map(f64::floor);
            if place.iter().all(|i| (0.0..CELLS as f64).contains(i)) {
                counts[place[0] as usize * CELLS + place[1] as usize] += 1.0;
            }
        }
        let normaliser = target.log_normaliser().nats.exp();
        let mut expected = vec![0.0; CELLS * CELLS];
        for (index, expected) in expected.iter_mut().enumerate() {
            let (i, j) = (index / CELLS, index % CELLS);
            let (x, y) = (x0 + i as f64 * width, y0 + j as f64 * height);
            let mass = mass(target, [x, x + width, y, y + height], [32, 32]);
            *expected = ROWS as f64 * mass / normaliser;
        }
        chi_square_is_usual(target.name(), &counts, &expected);
    }
}

/// Cells with fewer than ten expected draws, and the outside, are pooled.
fn chi_square_is_usual(name: &str, counts: &[f64], expected: &[f64]) {
    let (mut chi_square, mut used) = (0.0, 0.0_f64);
    let (mut rest, mut rest_expected) = (ROWS as f64, ROWS as f64);
    for (count, expected) in counts.iter().zip(expected) {
        if *expected >= 10.0 {
            chi_square += (count - expected) * (count - expected) / expected;
            used += 1.0;
            rest -= count;
            rest_expected -= expected;
        }
    }
    if rest_expected >= 1.0 {
        chi_square += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
        used += 1.0;
    }
    // `used` - 1 degrees of freedom: mean and variance of chi-square are that and twice that.
    let freedom = used - 1.0;
    assert!(freedom > 5.0, "{name}: {freedom}");
    let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(chi_square < bound, "{name}: {chi_square} for {freedom} degrees of freedom");
}

#[test]
fn draws_of_the_wells_and_the_funnel_follow_their_margins() {
    // Counts of each margin in cells, against the margin by the midpoint rule.
    const CELLS: usize = 60;
    let well = |x: f64| (x * x * (6.0 - x * x) + 0.5 * x).exp() / 11_784.509_265_127_577;
    let normal = |scale: f64| {
        move |x: f64| (-0.5 * (x / scale).powi(2)).exp() / (scale * std::f64::consts::TAU.sqrt())
    };
    let wells = draws(WELLS);
    let funnel = draws(FUNNEL);
    let scaled: Vec<f64> = funnel.chunks_exact(10).map(|x| x[7] * (-0.5 * x[0]).exp()).collect();
    let column = |values: &[f64], dim: usize, j: usize| -> Vec<f64> {
        values.iter().skip(j).step_by(dim).copied().collect()
    };
    type Margin<'a> = (&'a str, Vec<f64>, f64, &'a dyn Fn(f64) -> f64);
    let margins: [Margin<'_>; 5] = [
        ("well", column(&wells, 8, 0), 3.0, &well),
        ("last well", column(&wells, 8, 6), 3.0, &well),
        ("normal beside", column(&wells, 8, 5), 5.0, &normal(1.0)),
        ("neck", column(&funnel, 10, 0), 15.0, &normal(3.0)),
        ("funnel, scaled", scaled, 5.0, &normal(1.0)),
    ];
    for (name, values, reach, density) in margins {
        let width = 2.0 * reach / CELLS as f64;
        let mut counts = vec![0.0; CELLS];
        for x in values {
            let place = ((x + reach) / width).floor();
            if (0.0..CELLS as f64).contains(&place) {
                counts[place as usize] += 1.0;
            }
        }
        let mass = |cell: usize| {
            let at = |k: usize| -reach + width * (cell as f64 + (k as f64 + 0.5) / 64.0);
            (0..64).map(|k| density(at(k))).sum::<f64>() * width / 64.0 * ROWS as f64
        };
        chi_square_is_usual(name, &counts, &(0..CELLS).map(mass).collect::<Vec<_>>());
    }
}

#[test]
fn outside_of_the_support_the_density_is_zero() {
    for target in [KnownTarget::U2, KnownTarget::U3, KnownTarget::U4] {
        let mut gradient = [1.0; 2];
        assert_eq!(target.log_density(&[4.0 + 1e-12, 0.0], &mut gradient), f64::NEG_INFINITY);
        assert_eq!(gradient, [0.0; 2]);
        assert!(target.log_density(&[4.0, 0.0], &mut gradient).is_finite());
        assert!(target.log_density(&[f64::NAN, 0.0], &mut gradient).is_nan());
    }
}

#[test]
fn names_are_read_back_and_others_answered_with_them() {
    for target in KnownTarget::ALL {
        assert_eq!(target.name().parse(), Ok(target));
    }
    let message = "u5".parse::<KnownTarget>().expect_err("no such target").to_string();
    assert!(KnownTarget::ALL.iter().all(|target| message.contains(target.name())), "{message}");
}
