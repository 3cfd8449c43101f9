//! Tests of all toys: density, sampler and entropy agree.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Entropy, Toy, UnknownToy, moons, swissroll, two_spirals};

const ROWS: usize = 200_000;

fn draws(toy: Toy) -> Vec<[f64; 2]> {
    let flat = toy.sample(ROWS, &mut Xoshiro256PlusPlus::seed_from_u64(20));
    assert_eq!(flat.len(), 2 * ROWS);
    flat.chunks_exact(2).map(|row| [row[0], row[1]]).collect()
}

/// Midpoint rule for the mass and the entropy over `window`, in `steps`² cells.
fn mass_and_entropy(toy: Toy, window: [f64; 4], steps: usize) -> (f64, f64) {
    let [width, height] = [window[1] - window[0], window[3] - window[2]].map(|w| w / steps as f64);
    let (mut mass, mut entropy) = (0.0, 0.0);
    for i in 0..steps {
        for j in 0..steps {
            let x = [window[0] + (i as f64 + 0.5) * width, window[2] + (j as f64 + 0.5) * height];
            let log_p = toy.log_density(x);
            mass += log_p.exp();
            // x ln x tends to 0; the product would be NaN.
            entropy -= if log_p > -700.0 { log_p * log_p.exp() } else { 0.0 };
        }
    }
    (mass * width * height, entropy * width * height)
}

#[test]
fn densities_integrate_to_one_over_the_window() {
    for toy in Toy::ALL {
        // The step of 0.02 is a quarter of the smallest noise scale, where the rule is exact to
        // rounding; what is missing is the mass that the window may leave out.
        let (mass, _) = mass_and_entropy(toy, toy.window(), 400);
        assert!(mass < 1.0 + 1e-7 && mass > 1.0 - 1e-6, "{toy}: {mass}");
    }
}

#[test]
fn densities_integrate_to_one_and_minus_p_log_p_to_the_entropy() {
    for toy in Toy::ALL {
        let (mass, entropy) = mass_and_entropy(toy, [-6.0, 6.0, -6.0, 6.0], 480);
        // Nothing of weight is left out. The pinwheel's integrable poles disturb the rule by the
        // mass around them, a few 1e-9; the kernel table of the two spirals by 1e-10.
        assert!((mass - 1.0).abs() < 1e-8, "{toy}: {mass}");
        // 23 · 10⁴ roundings of a sum near three, which partly cancel, come on top.
        let stated = toy.entropy();
        let tolerance = stated.error + 1e-11;
        assert!((entropy - stated.nats).abs() <= tolerance, "{toy}: {entropy:.13}");
    }
}

#[test]
fn entropies_agree_with_coarser_estimates() {
    // Monte Carlo over the same densities, written independently: estimate and error.
    let estimates = [
        (Toy::EightGaussians, 2.8327, 0.0010),
        (Toy::Checkerboard, 3.465736, 1e-6),
        (Toy::Circles, 3.2705, 0.004),
        (Toy::Moons, 2.394, 0.004),
        (Toy::Pinwheel, 2.314, 0.015),
        (Toy::Rings, 2.626, 0.006),
        (Toy::Swissroll, 2.666, 0.004),
        (Toy::TwoSpirals, 2.644, 0.005),
    ];
    for (toy, nats, error) in estimates {
        assert!((toy.entropy().nats - nats).abs() < error, "{toy}");
    }
}

#[test]
fn mean_negative_log_density_of_draws_is_the_entropy() {
    for toy in Toy::ALL {
        let nats: Vec<f64> = draws(toy).into_iter().map(|x| -toy.log_density(x)).collect();
        let mean = nats.iter().sum::<f64>() / ROWS as f64;
        let variance = nats.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / ROWS as f64;
        let Entropy { nats, error } = toy.entropy();
        // For the checkerboard the variance is zero and rounding of the mean is all.
        let tolerance = 4.0 * (variance / ROWS as f64).sqrt() + error + 1e-10;
        assert!((mean - nats).abs() < tolerance, "{toy}: {mean} {nats}");
    }
}

#[test]
fn cell_counts_of_draws_follow_the_density() {
    let cells = 20;
    for toy in Toy::ALL {
        let [left, right, bottom, top] = toy.window();
        let [width, height] = [right - left, top - bottom].map(|w| w / cells as f64);
        let mut counts = vec![0.0; cells * cells];
        for x in draws(toy) {
            let place = [(x[0] - left) / width, (x[1] - bottom) / height].map(f64::floor);
            if place.iter().all(|i| (0.0..cells as f64).contains(i)) {
                counts[place[0] as usize * cells + place[1] as usize] += 1.0;
            }
        }
        // Cells with fewer than ten expected draws, and the outside, are pooled.
        let (mut chi_square, mut used) = (0.0, 0.0);
        let (mut rest_expected, mut rest) = (ROWS as f64, ROWS as f64);
        for (index, count) in counts.into_iter().enumerate() {
            let corner = [index / cells, index % cells];
            let (x, y) = (left + corner[0] as f64 * width, bottom + corner[1] as f64 * height);
            let (mass, _) = mass_and_entropy(toy, [x, x + width, y, y + height], 24);
            let expected = ROWS as f64 * mass;
            if expected >= 10.0 {
                chi_square += (count - expected) * (count - expected) / expected;
                used += 1.0;
                rest_expected -= expected;
                rest -= count;
            }
        }
        if rest_expected >= 1.0 {
            chi_square += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
            used += 1.0;
        }
        // `used` − 1 degrees of freedom: mean and variance of χ² are that and twice that.
        let freedom: f64 = used - 1.0;
        let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(chi_square < bound, "{toy}: {chi_square} for {freedom} degrees of freedom");
    }
}

#[test]
fn far_tails_are_finite_and_fall() {
    for toy in Toy::ALL.into_iter().filter(|&toy| toy != Toy::Checkerboard) {
        for direction in [[1.0, 0.0], [0.6, -0.8], [-0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]] {
            let mut last = 0.0;
            for distance in [17.0, 20.0, 30.0, 42.4, 1e3, 1e6, 1e12, 1e150] {
                let log_p = toy.log_density(direction.map(|c| distance * c));
                assert!(log_p.is_finite() && log_p < last, "{toy} at {distance}: {log_p}");
                last = log_p;
            }
        }
        assert!(toy.log_density([30.0, -30.0]).is_finite(), "{toy}");
    }
}

#[test]
fn no_point_of_the_plane_gives_nan_or_plus_infinity() {
    let coordinates = [0.0, -0.0, 1e-300, 0.75, -2.0, 4.0, -4.0, 16.0, 1e5, -1e160, 1e308];
    let infinities = [f64::INFINITY, f64::NEG_INFINITY];
    for toy in Toy::ALL {
        for x in coordinates.into_iter().chain(infinities) {
            for y in coordinates.into_iter().chain(infinities) {
                let log_p = toy.log_density([x, y]);
                assert!(log_p < f64::INFINITY, "{toy} at ({x}, {y}): {log_p}");
                if x.is_infinite() || y.is_infinite() {
                    assert_eq!(log_p, f64::NEG_INFINITY, "{toy} at ({x}, {y})");
                }
            }
        }
        assert!(toy.log_density([f64::NAN, 0.0]).is_nan());
        assert!(toy.log_density([0.0, f64::NAN]).is_nan());
    }
}

#[test]
fn names_are_read_back() {
    for toy in Toy::ALL {
        assert_eq!(toy.name().parse(), Ok(toy));
        assert_eq!(toy.to_string(), toy.name());
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error: UnknownToy = "moon".parse::<Toy>().expect_err("no such toy");
    let message = error.to_string();
    assert!(message.contains("\"moon\""));
    assert!(Toy::ALL.iter().all(|toy| message.contains(toy.name())));
}

type Density = Box<dyn Fn([f64; 2]) -> f64>;

/// A toy whose density is a quadrature along a curve: the same with more panels and without its index,
/// and two values by adaptive quadrature in twenty digits, straight from the definition of the sampler.
struct OnCurve {
    toy: Toy,
    panels: usize,
    finer: fn(usize) -> Density,
    exact: [([f64; 2], f64); 2],
}

macro_rules! on_curve {
    ($toy:ident, $module:ident, $first:expr, $second:expr) => {
        OnCurve {
            toy: Toy::$toy,
            panels: $module::PANELS,
            finer: |panels| {
                let curve = $module::curve(panels);
                Box::new(move |x| curve.full_log_density(x))
            },
            exact: [([0.5, 0.25], $first), ([-1.5, 1.25], $second)],
        }
    };
}

const ON_CURVES: [OnCurve; 3] = [
    on_curve!(Swissroll, swissroll, -8.769_700_435_177_22, -2.699_335_719_257_42),
    on_curve!(Moons, moons, -4.075_733_321_347_42, -4.416_218_768_519_42),
    on_curve!(TwoSpirals, two_spirals, -8.806_800_802_233_05, -6.644_220_536_112_39),
];

fn greatest_difference(
    window: [f64; 4],
    a: impl Fn([f64; 2]) -> f64,
    b: impl Fn([f64; 2]) -> f64,
) -> f64 {
    let mut greatest: f64 = 0.0;
    for i in 0..70 {
        for j in 0..70 {
            let at = |low: f64, high: f64, i: i32| low + (high - low) * f64::from(i) / 69.0;
            let x = [at(window[0], window[1], i), at(window[2], window[3], j)];
            if a(x) > -25.0 {
                greatest = greatest.max((a(x) - b(x)).abs());
            }
        }
    }
    greatest
}

#[test]
fn quadratures_along_curves_are_as_accurate_as_they_say() {
    for OnCurve { toy, panels, finer, exact } in ON_CURVES {
        let fine = finer(3 * panels);
        let stated = toy.card().density_error;
        let difference = greatest_difference(toy.window(), |x| toy.log_density(x), fine);
        assert!(difference < stated, "{toy}: {difference}");
        for (x, exact) in exact {
            let value = toy.log_density(x);
            assert!((value - exact).abs() < stated, "{toy} at {x:?}: {value}");
        }
        // Far out the relative error is below one percent.
        let fine = finer(4 * panels);
        for x in [[30.0, -30.0], [-8.0, 0.0], [0.0, 1e4], [12.0, 3.0]] {
            let (coarse, fine) = (toy.log_density(x), fine(x));
            assert!((coarse - fine).abs() < 0.01 * fine.abs(), "{toy} {x:?}: {coarse} {fine}");
        }
    }
}
