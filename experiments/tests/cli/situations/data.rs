//! Data without a density, or nearly without one.

use super::{Rows, exact_normal, excess, nll, small, told};
use crate::{Place, assert_says};

/// 2, 3, 11, 13, 14, 16, 18, 19, 24: what a look at the table shows is told before training, by column and
/// value.
#[test]
fn what_a_table_shows_is_told() {
    let place = Place::new();
    small(&place, "c.toml", "real-nvp", "");
    let names = &["a", "b"];
    Rows(400).write(&place, "index.csv", &["", "b"], |i, z| [i as f64, z[1]]);
    let text = Rows(400).write(&place, "named.csv", names, |_, z| [z[0], z[1]]);
    let rows: String =
        (0..400).map(|i| format!("{},{}\n", text.row(i)[0], text.row(i)[1])).collect();
    place.write("header.csv", "400,410\n".to_owned() + &rows);
    let outlier = |i: usize| if i == 12 { 1e12 } else { 0.0 };
    Rows(400).write(&place, "outlier.csv", names, |i, z| [z[0] + outlier(i), z[1]]);
    Rows(400)
        .write(&place, "code.csv", names, |i, z| [if i % 40 == 7 { -9999.0 } else { z[0] }, z[1]]);
    Rows(400).write(&place, "zeros.csv", names, |i, z| [if i % 2 == 0 { 0.0 } else { z[0] }, z[1]]);
    Rows(400).write(&place, "quarters.csv", names, |_, z| [(4.0 * z[0]).round() / 4.0, z[1]]);
    Rows(400).write(&place, "converter.npy", names, |_, z| [(z[0] * 16.0).round() / 16.0, z[1]]);
    Rows(400).write(&place, "tenths.npy", names, |_, z| {
        [f64::from(((10.0 * z[0]).round() / 10.0) as f32), z[1]]
    });
    Rows(400).write(&place, "total.csv", &["a", "b", "sum"], |_, z| [z[0], z[1], z[0] + z[1]]);
    let again =
        |i: usize| [(i % 40) as f64, (i % 40 * 7 % 40) as f64].map(|k| (k * k + 0.3).sqrt());
    Rows(400).write(&place, "repeated.csv", names, |i, _| again(i));
    for (file, words) in [
        ("index.csv", vec!["counts the rows"]),
        ("header.csv", vec!["no header was found", "the first row (400 and 410)"]),
        ("outlier.csv", vec!["\"a\": row 12 is 1e12"]),
        ("code.csv", vec!["\"a\": -9999 in 10 of 400 rows (2.5 %)", "missing"]),
        ("zeros.csv", vec!["\"a\" is 0 in 200 of 400 rows (50.0 %)", "no upper bound"]),
        ("quarters.csv", vec!["\"a\" holds multiples of 0.25 only", "no upper bound"]),
        ("converter.npy", vec!["holds multiples of 0.0625 only", "no upper bound"]),
        ("tenths.npy", vec!["holds multiples of 0.1 only", "no upper bound"]),
        ("total.csv", vec!["\"sum\" is \"a\" + \"b\" to rounding", "no density exists"]),
        ("repeated.csv", vec!["40 distinct rows of 400", "every test row is a training row"]),
    ] {
        let stderr = told(&place, &format!("fit c.toml --steps 1 --data {file} --out {file}-run"));
        assert_says(&stderr, &[file]);
        assert_says(&stderr, &words);
        let kept = place.json(&format!("{file}-run/summary.json"))["warnings"].to_string();
        assert!(!kept.is_empty() && kept != "[]", "{file}: the summary repeats it");
    }
    assert!(!told(&place, "fit c.toml --steps 1 --data named.csv --out run").contains("warning: "));
}

/// Situation 13, 16. Where a likelihood has no upper bound no flow is best.
#[test]
fn flows_are_not_ranked_where_a_likelihood_has_no_upper_bound() {
    let place = Place::new();
    Rows(400).write(&place, "rain.csv", &["rain"], |i, z| [if i % 2 == 0 { 0.0 } else { z[0] }]);
    Rows(400).write(&place, "plain.csv", &["rain"], |_, z| [z[0].exp()]);
    place.succeeds("compare --data rain.csv --flows real-nvp,b-naf --steps 40 --out rain");
    assert!(!place.text("rain/report.html").contains("class=\"mark"), "a flow is best or tied");
    place.succeeds("compare --data plain.csv --flows real-nvp,b-naf --steps 40 --out plain");
    assert!(place.text("plain/report.html").contains("class=\"mark"));
}

/// Situation 11. One value of 1e12 sets the scale of its column; what is said of the others is poor, and never better
/// than their density.
#[test]
fn an_outlier_never_makes_a_likelihood_better_than_possible() {
    let place = Place::new();
    small(&place, "c.toml", "nsf-coupling", "");
    Rows(600).write(&place, "t.npy", &["a", "b"], |i, z| [if i == 12 { 1e12 } else { z[0] }, z[1]]);
    place.succeeds("fit c.toml --steps 100 --split every-tenth --data t.npy --out run");
    Rows(1_000).write(&place, "fresh.npy", &["a", "b"], |_, z| [z[0], z[1]]);
    let truth = |x: &[f64]| exact_normal(x[0], 0.0, 1.0) + exact_normal(x[1], 0.0, 1.0);
    let [mean, error] = excess(&place, "run", "fresh.npy", truth);
    // A share of 1/600 of the mass elsewhere costs the others ln(1 - 1/600).
    assert!(mean > -4.0 * error, "{mean} +- {error}");
}

/// Situation 12. One row in a thousand is 1000 deviations of the others away, and few minibatches see it. The fitted
/// normal, where flows start, gives the others ln(1000 sqrt(1/1000)) - 1/2 nats too little.
#[test]
fn rare_events_leave_the_density_of_the_others_finite_and_near() {
    let place = Place::new();
    let row = |_: usize, z: &[f64]| [1e-3 * z[0], z[1]];
    Rows(4_000).write(&place, "t.npy", &["spike", "b"], |i, z| {
        let [spike, b] = row(i, z);
        [spike + if i % 1_000 == 3 { 1.0 } else { 0.0 }, b]
    });
    Rows(1_000).write(&place, "fresh.npy", &["spike", "b"], row);
    let truth = |x: &[f64]| exact_normal(x[0], 0.0, 1e-3) + exact_normal(x[1], 0.0, 1.0);
    let normal = (1_000.0 * 1e-3_f64.sqrt()).ln() - 0.5;
    for preset in ["real-nvp", "nsf-coupling", "maf", "glow"] {
        small(&place, "c.toml", preset, "");
        place.succeeds(&format!("fit c.toml --steps 200 --data t.npy --out {preset}"));
        let [nats, _] = nll(&place, preset);
        assert!(nats.is_finite());
        let [mean, error] = excess(&place, preset, "fresh.npy", truth);
        assert!(mean > -4.0 * error, "{preset}: {mean} +- {error}");
        assert!(mean < 0.5 * normal, "{preset}: {mean} +- {error}");
    }
}

/// Situation 14. Noise of the step of the grid, whatever it is. With it, the density is that of the discrete value over
/// the step, and no likelihood is above that of the normals but for 1/24 of the squared step.
#[test]
fn noise_has_the_step_of_the_grid() {
    let place = Place::new();
    // A converter of 12 bits over 10 volts reads a signal of a tenth of a volt.
    for (name, step, scale) in
        [("quarters", 0.25, 1.0), ("tenths", 0.1, 1.0), ("converter", 10.0 / 4096.0, 0.1)]
    {
        let file = format!("{name}.npy");
        let single = name == "tenths";
        let on_grid = move |z: f64| {
            let value = (scale * z / step).round() * step;
            if single { f64::from(value as f32) } else { value }
        };
        Rows(2_000).write(&place, &file, &["a", "b"], |_, z| [on_grid(z[0]), on_grid(z[1])]);
        small(&place, "c.toml", "nsf-coupling", "");
        let line = format!("fit c.toml --dequantise grids --steps 60 --data {file} --out {name}");
        let stderr = told(&place, &line);
        assert!(!stderr.contains("upper bound"), "{stderr}");
        let noise = place.json(&format!("{name}/data.json"))["dequantisation"]["columns"].clone();
        for column in 0..2 {
            let found = noise[column]["step"].as_f64().unwrap();
            // The tenths are known to single precision.
            assert!((found / step - 1.0).abs() < f64::from(f32::EPSILON), "{name}: {noise}");
        }
        let [nats, error] = nll(&place, name);
        let entropy = 1.0 + std::f64::consts::TAU.ln() + 2.0 * f64::ln(scale);
        assert!(nats > entropy - 4.0 * error, "{name}: {nats} +- {error}");
    }
}

/// Situation 15. P(k) = (1 - q) q^k with q = 1/sqrt(e). Scores are of the whole cell, and so is their sum.
#[test]
fn counts_are_scored_by_their_probability_and_drawn_as_counts() {
    let place = Place::new();
    let count = |z: &[f64]| (z[0] * z[0] + z[1] * z[1]).floor();
    Rows(3_000).write(&place, "t.csv", &["k"], |_, z| [count(z)]);
    small(&place, "c.toml", "nsf-coupling", "[data]\ndequantise = \"integers\"\n");
    place.succeeds("fit c.toml --steps 400 --data t.csv --out run");
    Rows(40).write(&place, "k.csv", &["k"], |i, _| [i as f64]);
    place.succeeds("log-prob run --data k.csv --out l.csv");
    let scored = place.table("l.csv");
    let total: f64 = scored.values().iter().map(|nats| nats.exp()).sum();
    // The mean over 16 points of a cell is off by a part of the density's change within it.
    assert!((total - 1.0).abs() < 0.1, "{total}");
    let q = (-0.5_f64).exp();
    let entropy = -((1.0 - q).ln() + q / (1.0 - q) * q.ln());
    let [nats, error] = nll(&place, "run");
    assert!(
        nats > entropy - 4.0 * error && nats < entropy + 4.0 * error + 0.1,
        "{nats}, {entropy}"
    );
    for k in 0..3 {
        let truth = (1.0 - q).ln() + k as f64 * q.ln();
        // Pinsker: |P - Q| <= sqrt(KL / 2), with the 0.1 nats of above, over the rarest of the three.
        let bound = (0.05_f64).sqrt() / truth.exp();
        assert!((scored.values()[k].exp() / truth.exp() - 1.0).abs() < bound, "{k}");
    }
    place.succeeds("sample run --rows 200 --out s.csv");
    assert!(place.table("s.csv").values().iter().all(|k| k.fract() == 0.0));
}

/// Situation 17. A ribbon 1e-3 wide has a density, that of a normal; a flow finds it or says how far from a fitted
/// normal it ends. Files whose names differ after a point are two problems.
#[test]
fn a_thin_ribbon_is_found_or_said_to_be_missed() {
    let place = Place::new();
    let widths = [1e-3, 2e-3];
    for width in widths {
        Rows(1_000).write(&place, &format!("line_{width}.csv"), &["a", "b"], |_, z| {
            [z[0], z[0] + width * z[1]]
        });
    }
    let data = "line_0.001.csv,line_0.002.csv";
    let line = format!("compare --data {data} --flows real-nvp --steps 100 --out out");
    let stderr = told(&place, &line);
    for (width, name) in widths.into_iter().zip(["line_0-001", "line_0-002"]) {
        let [nats, error] = nll(&place, &format!("out/runs/{name}/real-nvp/seed-0"));
        let entropy = 1.0 + std::f64::consts::TAU.ln() + width.ln();
        assert!(nats > entropy - 4.0 * error, "{nats} +- {error}");
        let missed =
            stderr.contains(&format!("{name} real-nvp 0: the flow ends above a fitted normal"));
        assert!(missed || nats < entropy + 4.0 * error + 0.1, "{nats} +- {error}: {stderr}");
    }
}

/// Situation 19. Ten detectors in turn: drawn by lot, test rows have all of them; every tenth row is one detector.
#[test]
fn a_file_in_periods_of_ten_is_split_by_lot() {
    let place = Place::new();
    Rows(1_000).write(&place, "t.csv", &["signal"], |i, z| [5.0 * (i % 10) as f64 + z[0]]);
    small(&place, "c.toml", "nsf-coupling", "");
    assert!(
        !told(&place, "fit c.toml --steps 5 --data t.csv --out run").contains("test rows differ")
    );
    let [nats, _] = nll(&place, "run");
    let line = "fit c.toml --split every-tenth --steps 5 --data t.csv --out turn";
    assert_says(&told(&place, line), &["test rows differ", "\"signal\""]);
    // Uniform over 50 units but for the smooth ends.
    assert!((nats - 50.0_f64.ln()).abs() < 0.5, "{nats}");
}

/// Situation 20. A pixel that never changes is uniform on its step once it has noise, and costs nothing.
#[test]
fn constant_pixels_with_noise_cost_nothing() {
    let place = Place::new();
    Rows(1_000).write(&place, "t.csv", &["border", "inner"], |_, z| [255.0, (20.0 * z[0]).round()]);
    small(&place, "c.toml", "nsf-coupling", "[data]\ndequantise = \"integers\"\n");
    place.succeeds("fit c.toml --steps 200 --data t.csv --out run");
    let [nats, error] = nll(&place, "run");
    let entropy = 0.5 + 0.5 * std::f64::consts::TAU.ln() + 20.0_f64.ln();
    // A normal in place of a uniform would cost ln(2 pi e / 12) / 2 = 0.18 nats.
    assert!(
        nats > entropy - 4.0 * error && nats < entropy + 4.0 * error + 0.18,
        "{nats} +- {error}"
    );
    place.succeeds("sample run --rows 100 --out s.csv");
    let draws = place.table("s.csv");
    let near = (0..100).filter(|row| (draws.row(*row)[0] - 255.0).abs() <= 1.0).count();
    assert!(near > 90, "{near}");
}

/// Situation 22. The weights that are kept are those of the least validation, whether time or patience ended it.
#[test]
fn the_kept_weights_are_those_of_the_best_validation() {
    let place = Place::new();
    let table = Rows(150)
        .write(&place, "t.npy", &["a", "b", "c"], |_, z| [z[0], z[0] + 0.1 * z[1], z[0] * z[2]]);
    let validation: Vec<usize> = (0..150).filter(|row| row % 10 == 1).collect();
    let rows = table.select_rows(&validation).unwrap();
    flows_bench::table::write(&place.path("v.npy"), &rows).unwrap();
    place
        .write("c.toml", "preset = \"nsf-coupling\"\n[train]\nvalidate_every = 10\npatience = 5\n");
    let check = || {
        place.succeeds("log-prob run --data v.npy --out l.npy");
        let mean = -place.table("l.npy").values().iter().sum::<f64>() / validation.len() as f64;
        let metrics = place.text("run/metrics.csv");
        let header: Vec<&str> = metrics.lines().next().unwrap().split(',').collect();
        let column = header.iter().position(|name| *name == "validation_nats").unwrap();
        let values = metrics.lines().skip(1).filter_map(|l| l.split(',').nth(column)?.parse().ok());
        let least = values.fold(f64::INFINITY, f64::min);
        // The columns are so close that the start, which is no row of the curve, is not best.
        // Sums in single precision.
        assert!((mean - least).abs() < 1e-5 * (1.0 + mean.abs()), "{mean} {least}");
    };
    place.succeeds("fit c.toml --split every-tenth --steps 30 --data t.npy --out run");
    check();
    place.succeeds("fit --resume --steps 200 --data t.npy --out run");
    check();
}
