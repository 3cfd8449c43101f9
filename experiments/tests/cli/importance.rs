//! `importance`, and densities that a program computes.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::{Place, assert_says};

const SMALL: &str = "preset = \"nsf-coupling\"\n[flow]\nlayers = 2\n\
                     conditioner = { kind = \"perceptron\", hidden = [16] }\n";

/// exp(-(x1 - 1)^2 / (2 / 4) - (x2 + 2)^2 / 2), whose integral is pi.
const NORMAL: &str = "my ($x, $y) = @_; my ($u, $v) = (4 * ($x - 1), $y + 2);\n\
                      return (-$u * ($x - 1) / 2 - $v * $v / 2, -$u, -$v);\n";

impl Place {
    /// A program that answers points by the body of a function of them.
    fn density(&self, name: &str, body: &str) {
        let rest = "$| = 1;\nwhile (<STDIN>) { print join(' ', map { /^[-0-9]/ ? sprintf('%.17g', $_) : $_ } density(split)), \"\\n\"; }\n";
        self.program(name, &format!("sub density {{ {body} }}\n{rest}"));
    }

    /// The same with doubles.
    fn binary_density(&self, name: &str, body: &str) {
        let rest = "$| = 1; binmode STDIN; binmode STDOUT;\n\
                    while (read(STDIN, my $point, 16) == 16) {\n\
                    print pack('d<3', density(unpack('d<2', $point))); }\n";
        self.program(name, &format!("sub density {{ {body} }}\n{rest}"));
    }

    fn program(&self, name: &str, code: &str) {
        self.write(name, format!("#!/usr/bin/env perl\n{code}"));
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn weights(&self, line: &str) -> Value {
        serde_json::from_str(&self.succeeds(&format!("importance {line} --json"))).unwrap()
    }
}

fn number(found: &Value, name: &str) -> f64 {
    found[name].as_f64().unwrap()
}

#[test]
fn a_density_in_another_language_is_fitted_and_weighed() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.density("normal", NORMAL);
    let asked = "--target-command ./normal --dim 2";
    let shown = place.succeeds(&format!("fit c.toml {asked} --steps 300 --out run"));
    assert_says(&shown, &["reverse KL unknown", "evidence lower bound", "(exactly unknown)"]);
    let found = place.weights("run --rows 20000 --out draws.csv");
    let (log_z, error) = (number(&found, "log_z"), number(&found, "log_z_standard_error"));
    let exact = std::f64::consts::PI.ln();
    assert!(error < 0.02 && (log_z - exact).abs() < 4.0 * error, "{found}");
    assert!(number(&found, "effective_share") > 0.1 && number(&found, "pareto_k") < 0.7);
    assert_eq!(found["exact_log_z"], Value::Null);
    let draws = place.table("draws.csv");
    assert_eq!(draws.names(), ["x1", "x2", "log_weight", "log_prob"]);
    assert_eq!(draws.rows(), 20_000);
    for row in (0..20_000).step_by(1999).map(|row| draws.row(row)) {
        let log_p = -2.0 * (row[0] - 1.0).powi(2) - 0.5 * (row[1] + 2.0).powi(2);
        assert!((log_p - row[3] - row[2]).abs() < 1e-9, "{row:?}");
    }

    place.binary_density("doubles", NORMAL);
    let asked = "--target-command ./doubles --dim 2 --target-format f64";
    let binary = place.weights(&format!("run {asked} --rows 20000 --out binary.csv"));
    // Decimal digits read back as the same doubles.
    assert_eq!(binary, found);
    let config: toml::Table = place.text("run/config.toml").parse().unwrap();
    assert_eq!(config["target"]["program"]["command"].as_str(), Some("./normal"));
    place.succeeds("fit --resume --steps 310 --out run");
}

#[test]
fn rejection_sampling_keeps_draws_by_their_weights() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target banana --steps 300 --out run");
    let found = place.weights("run --rows 20000 --rejection --out kept.npy");
    let kept = place.table("kept.npy");
    let share = number(&found["rejection"], "acceptance");
    assert_eq!(kept.rows(), (share * 20_000.0).round() as usize);
    // Kept are Z / M of all; log Z is 0, as the weights know to within their error.
    let bound = number(&found["rejection"], "estimated_log_bound");
    let expected = (number(&found, "log_z") - bound).exp();
    let error = (expected / 20_000.0).sqrt();
    assert!((share - expected).abs() < 4.0 * error, "{found}");
    assert_eq!(number(&found, "exact_log_z"), 0.0);
}

#[test]
fn heavy_weights_are_said_to_have_no_error() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    // One step away from the standard normal, for normals on scales from e^-4.5 to e^4.5.
    place.succeeds("fit c.toml --target funnel --steps 1 --out run");
    let found = place.weights("run --out draws.npz");
    assert_eq!(found["log_z_standard_error"], Value::Null);
    assert!(number(&found, "pareto_k") > 0.7);
    assert_says(
        &found["warnings"].to_string(),
        &["cannot be trusted", "tail of shape", "no standard error"],
    );
}

#[test]
fn what_a_program_does_wrong_is_named() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    let fails = |body: &str, words: &[&str]| {
        place.density("density", body);
        let asked = "--target-command ./density --dim 2 --target-limit 2";
        let message = place.fails(1, &format!("fit c.toml {asked} --steps 5 --out run"));
        assert_says(&message, words);
        std::fs::remove_dir_all(place.path("run")).unwrap();
    };
    fails("return (0, 1);", &["row 0", "expected 3 numbers, got 2"]);
    fails("return ('high', 0, 0);", &["row 0", "expected a number", "high"]);
    fails("print STDERR \"no data\\n\"; exit 3;", &["ended", "3", "no data"]);
    fails("sleep 60;", &["has not answered row 0", "within 2 seconds"]);
    let message = place.fails(1, "fit c.toml --target-command ./none --dim 2 --steps 5 --out run");
    assert_says(&message, &["./none", "does not start"]);
}

#[test]
fn wrong_requests_name_what_is_wanted() {
    let place = Place::with_run("planar", 5);
    place.succeeds("fit --flow planar --target funnel --steps 1 --out on-target");
    for (line, words) in [
        ("importance run --out a.csv", &["run: it was trained on rows", "--target"][..]),
        ("importance on-target --target u1 --out a.csv", &["10 features", "u1 of 2"]),
        ("importance on-target --rows 1 --out a.csv", &["--rows must be at least 2, got 1"]),
        ("importance on-target --out a.txt", &["a.txt", ".csv"]),
        ("fit --target-command ./x --dim 0 --out a", &["dim", "at least 1, got 0"]),
        ("fit --data g.csv --target-command ./x --dim 2 --out a", &["--data", "leave one out"]),
    ] {
        assert_says(&place.fails(2, line), words);
    }
}

/// N(300, 0.01^2) N(-2, 20^2) times 7, which no flow finds from N(0, I).
#[test]
fn a_flow_starts_at_the_mode_of_a_density() {
    let place = Place::new();
    place.write("c.toml", format!("{SMALL}[train]\nbatch_rows = 64\n"));
    let body = "my ($x, $y) = @_; my ($u, $v) = (($x - 300) / 0.01, ($y + 2) / 20);\n\
                return (log(7) - ($u * $u + $v * $v) / 2 - log(6.283185307179586 * 0.2), \
                -$u / 0.01, -$v / 20);";
    place.density("far", body);
    let asked = "--target-command ./far --dim 2 --precision f64 --laplace";
    place.succeeds(&format!("fit c.toml {asked} --steps 20 --out run"));
    let found = place.weights("run --rows 5000 --out draws.csv");
    let (log_z, error) = (number(&found, "log_z"), number(&found, "log_z_standard_error"));
    assert!(error < 0.02 && (log_z - 7f64.ln()).abs() < 4.0 * error.max(1e-9), "{found}");
    let config: toml::Table = place.text("run/config.toml").parse().unwrap();
    let location = config["start"]["location"].as_array().unwrap();
    assert!((location[0].as_float().unwrap() - 300.0).abs() < 1e-3, "{location:?}");
    place.succeeds("fit --resume --steps 25 --out run");
    place.succeeds("sample run --rows 10 --out s.csv");
    place.succeeds("fit c.toml --target u1 --steps 2 --out plain");
    let refused = place.fails(2, "fit --resume --laplace --steps 4 --out plain");
    assert_says(&refused, &["plain: --laplace", "began without it"]);

    place.density("slope", "my ($x, $y) = @_; return ($x - $y * $y, 1, -2 * $y);");
    let asked = "--target-command ./slope --dim 2 --laplace --steps 5 --out other";
    let refused = place.fails(1, &format!("fit c.toml {asked}"));
    assert_says(&refused, &["--laplace: program", "mode of the density"]);
}
