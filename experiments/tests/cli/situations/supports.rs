//! Supports, tails and circles.

use std::f64::consts::{PI, TAU};

use super::{Rows, exact_normal, excess, nll, small, told};
use crate::{Place, assert_says};

const BOTH: &str =
    "support = [{ kind = \"above\", from = 0 }, { kind = \"interval\", from = 0, to = 1 }]\n";

/// Situation 23, 57. Rows outside have density zero, the others keep their bits, and no draw is outside. An error names
/// the row of the file.
#[test]
fn rows_outside_of_a_support_have_no_density_and_their_own_number() {
    let place = Place::new();
    let inside = |z: &[f64]| [0.5 * (z[0] * z[0] + z[1] * z[1]), 1.0 / (1.0 + (-z[2]).exp())];
    Rows(600).write(&place, "t.csv", &["age", "share"], |_, z| inside(z));
    small(&place, "c.toml", "nsf-coupling", BOTH);
    place.succeeds("fit c.toml --steps 100 --data t.csv --out run");
    place.write("score.csv", "age,share\n1,0.5\n-1,0.5\n1,1.5\n2,0.25\n0,0.5\n");
    place.write("inside.csv", "age,share\n1,0.5\n2,0.25\n");
    let stderr = told(&place, "log-prob run --data score.csv --out score.npy");
    assert_says(&stderr, &["score.csv: 3 of 5 rows", "-inf", "row 1 (from 0)"]);
    place.succeeds("log-prob run --data inside.csv --out inside.csv.npy");
    // The file is no table that could be read back, because of its infinities.
    let bytes = place.bytes("score.npy");
    let values: Vec<f64> = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap();
    let alone = place.table("inside.csv.npy");
    let none = f64::NEG_INFINITY;
    assert_eq!(values, [alone.values()[0], none, none, alone.values()[1], none]);
    place.succeeds("sample run --rows 5000 --out s.npy");
    let draws = place.table("s.npy");
    for row in (0..5_000).map(|row| draws.row(row)) {
        assert!(row[0] >= 0.0 && (0.0..=1.0).contains(&row[1]), "{row:?}");
    }
    Rows(6_000).write(&place, "far.csv", &["age", "share"], |i, z| {
        if i == 5_000 { [-1.0, 0.5] } else { inside(z) }
    });
    let stderr = told(&place, "log-prob run --data far.csv --out l.npy");
    assert_says(&stderr, &["1 of 6000 rows", "row 5000 (from 0)"]);
    let message = place.fails(1, "transform run --direction inverse --data far.csv --out z.npz");
    assert_says(&message, &["far.csv, row 5000 (from 0)", "support"]);
}

/// Situation 24. Clipped shares.
#[test]
fn values_on_the_ends_of_a_support_are_refused_by_their_share() {
    let place = Place::new();
    let clipped = |i: usize| if i.is_multiple_of(20) { 0.0 } else { 1.0 };
    Rows(400).write(&place, "t.csv", &["share"], |i, z| {
        [if i % 10 == 0 { clipped(i) } else { 1.0 / (1.0 + (-z[0]).exp()) }]
    });
    let support = "support = [{ kind = \"interval\", from = 0, to = 1 }]\n";
    small(&place, "c.toml", "nsf-coupling", support);
    let message = place.fails(1, "fit c.toml --steps 5 --data t.csv --out run");
    let shares = "0 in 20 of 400 rows (5.0 %), 1 in 20 of 400 rows (5.0 %)";
    assert_says(&message, &["t.csv: column \"share\" lies on the ends of its support", shares]);
    assert!(!place.path("run").exists());
}

/// Situation 25. exp(5 z) spans forty powers of e. In single precision neither the half-line nor the logarithms may
/// give more than the density, and the logarithms reach it: they are a normal.
#[test]
fn positive_values_over_many_decades_stay_apart() {
    let place = Place::new();
    let truth = |x: &[f64]| exact_normal(x[0].ln(), 0.0, 5.0) - x[0].ln();
    Rows(2_000).write(&place, "t.npy", &["flux"], |_, z| [(5.0 * z[0]).exp()]);
    Rows(2_000).write(&place, "fresh.npy", &["flux"], |_, z| [(5.0 * z[0]).exp()]);
    small(&place, "c.toml", "nsf-coupling", "support = [{ kind = \"above\", from = 0 }]\n");
    place.succeeds("fit c.toml --steps 200 --data t.npy --out run");
    let [mean, error] = excess(&place, "run", "fresh.npy", truth);
    assert!(mean.is_finite() && mean > -4.0 * error, "{mean} +- {error}");
    let logarithm = |_: usize, z: &[f64]| [5.0 * z[0]];
    Rows(2_000).write(&place, "log.npy", &["log_flux"], logarithm);
    Rows(2_000).write(&place, "log_fresh.npy", &["log_flux"], logarithm);
    small(&place, "c.toml", "real-nvp", "");
    place.succeeds("fit c.toml --steps 5 --data log.npy --out log");
    let [mean, error] = excess(&place, "log", "log_fresh.npy", |x| exact_normal(x[0], 0.0, 5.0));
    assert!(mean > -4.0 * error && mean < 4.0 * error + 0.01, "{mean} +- {error}");
}

/// Situation 27. Cauchy: a few rows make the mean, which is told with the base that has such tails; with it the flow is
/// exact but for location and scale.
#[test]
fn heavy_tails_are_told_and_a_base_with_such_tails_has_their_density() {
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [z[0] / z[1]];
    Rows(4_000).write(&place, "t.npy", &["a"], row);
    Rows(2_000).write(&place, "fresh.npy", &["a"], row);
    let truth = |x: &[f64]| -(PI * (1.0 + x[0] * x[0])).ln();
    small(&place, "c.toml", "nsf-coupling", "");
    let stderr = told(&place, "fit c.toml --steps 20 --data t.npy --out normal");
    assert_says(&stderr, &["\"x0\" has heavy tails", "base = { kind = \"student_t\", nu = 2 }"]);
    assert!(nll(&place, "normal")[0].is_finite());
    // With two degrees of freedom the table shows little, and an affine flow pays by the square.
    let row = |_: usize, z: &[f64]| [z[0] / (0.5 * (z[1] * z[1] + z[2] * z[2])).sqrt()];
    Rows(4_000).write(&place, "t2.npy", &["a"], row);
    small(&place, "a.toml", "real-nvp", "");
    let stderr = told(&place, "fit a.toml --steps 20 --data t2.npy --out t2");
    assert_says(&stderr, &["three test rows make the mean", "student_t"]);
    let base = "base = { kind = \"student_t\", nu = 1.0 }\n";
    small(&place, "t.toml", "real-nvp", base);
    place.succeeds("fit t.toml --steps 300 --data t.npy --out student");
    let [mean, error] = excess(&place, "student", "fresh.npy", truth);
    assert!(mean > -4.0 * error && mean < 4.0 * error + 0.05, "{mean} +- {error}");
}

/// Situation 28. An angle whose cut was moved to where there are no values, on its interval: a normal of deviation 1/2
/// around pi, whose mass beyond the ends is below 1e-9.
#[test]
fn an_angle_with_its_cut_away_from_the_values_has_its_density_on_the_interval() {
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [(0.5 * z[0] + 7.0 * PI).rem_euclid(TAU)];
    Rows(2_000).write(&place, "t.npy", &["angle"], row);
    Rows(2_000).write(&place, "fresh.npy", &["angle"], row);
    let support = "support = [{ kind = \"interval\", from = 0, to = 6.283185307179586 }]\n";
    small(&place, "c.toml", "nsf-coupling", support);
    place.succeeds("fit c.toml --steps 200 --data t.npy --out run");
    let [mean, error] = excess(&place, "run", "fresh.npy", |x| exact_normal(x[0], PI, 0.5));
    assert!(mean > -4.0 * error && mean < 4.0 * error + 0.05, "{mean} +- {error}");
    place.succeeds("sample run --rows 1000 --out s.npy");
    assert!(place.table("s.npy").values().iter().all(|angle| (0.0..TAU).contains(angle)));
}
