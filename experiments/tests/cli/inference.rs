//! `chains` and `npe`.

use experiments::npe::KnownSimulator;
use flows_bench::simulators::Simulator as Known;
use flows_core::stream;
use flows_inference::simulation::Simulator;
use serde_json::Value;

use crate::{Place, assert_says};

const SMALL: &str = "preset = \"nsf-coupling\"\nprecision = \"f64\"\n[flow]\nlayers = 3\n\
                     conditioner = { kind = \"perceptron\", hidden = [16] }\n";

/// x = theta + noise of deviation 0.5, by a program that is told its seeds.
const SHIFT: &str = "#!/usr/bin/env perl\n$| = 1;\n\
    while (<STDIN>) { my ($theta, $seed) = split; srand($seed);\n\
    my $z = sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand());\n\
    print $theta + 0.5 * $z, \"\\n\"; }\n";

const SIMULATOR: &str = "simulations = 2000\nbudget = { kind = \"steps\", steps = 300 }\nflow = \"c.toml\"\n\
    [simulator]\ncommand = \"perl shift.pl\"\ndata_columns = 1\nsends_seeds = true\n\
    [[prior]]\nname = \"shift\"\nkind = \"normal\"\nmean = 0.0\ndeviation = 1.0\n";

#[test]
fn chains_of_every_method_agree_with_the_density() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target cross --steps 300 --out run");
    for method in ["neutra", "nuts", "metropolis"] {
        let line = format!(
            "chains run --method {method} --draws 500 --warm-up 300 --json --out {method}.csv"
        );
        let found: Value = serde_json::from_str(&place.succeeds(&line)).unwrap();
        let draws = place.table(&format!("{method}.csv"));
        assert_eq!(draws.names(), ["chain", "draw", "x1", "x2", "log_density"]);
        assert_eq!(draws.rows(), 2000);
        // Both features of the cross have mean 0.
        for (index, parameter) in found["parameters"].as_array().unwrap().iter().enumerate() {
            let number = |name: &str| parameter[name].as_f64().unwrap();
            assert!(number("mean").abs() < 5.0 * number("standard_error"), "{method}: {found}");
            let mean = (0..2000).map(|row| draws.row(row)[2 + index]).sum::<f64>() / 2000.0;
            assert!((mean - number("mean")).abs() < 1e-9);
        }
        assert!(found["evaluations"].as_u64().unwrap() > 2000 || method == "metropolis");
    }
    place.succeeds("chains run --method nuts --draws 20 --warm-up 100 --seed 7 --out again.npy");
    let first = place.bytes("again.npy");
    place.succeeds("chains run --method nuts --draws 20 --warm-up 100 --seed 7 --out again.npy");
    assert!(first == place.bytes("again.npy"), "a seed repeats");
}

#[test]
fn chains_that_are_worth_little_say_so() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target cross --steps 20 --out run");
    let line = "chains run --method nuts --chains 2 --draws 20 --warm-up 20 --json --out c.csv";
    let found = place.succeeds(line);
    assert_says(&found, &["effective draws of 2 chains are fewer than 100 a chain"]);
    place.succeeds("fit --flow planar --target cross --steps 2 --out single");
    let refused = place.fails(2, "chains single --out c.csv");
    assert_says(&refused, &["single", "double precision", "--precision f64"]);
    let refused = place.fails(2, "chains run --target u1 --chains 0 --out c.csv");
    assert_says(&refused, &["--chains must be at least 1, got 0"]);
}

/// theta | x ~ N(0.8 x, 0.2).
#[test]
fn the_posterior_of_a_program_is_estimated() {
    let place = Place::new();
    place.write("c.toml", "preset = \"maf\"\n[flow]\nlayers = 2\n");
    place.write("shift.pl", SHIFT);
    place.write("s.toml", SIMULATOR);
    place.write("x.csv", "x\n1.0\n-0.5\n");
    let shown = place.succeeds("npe s.toml --observation x.csv --calibrate 100 --out out");
    assert_says(&shown, &["2000 simulations", "posterior-1.csv", "posterior-2.csv", "shift"]);
    for (file, mean) in [("out/posterior-1.csv", 0.8), ("out/posterior-2.csv", -0.4)] {
        let draws = place.table(file);
        let (names, rows) = (draws.names().to_vec(), draws.rows() as f64);
        assert_eq!((names, draws.rows()), (vec!["shift".to_owned()], 10_000));
        let found = draws.values().iter().sum::<f64>() / rows;
        let variance = draws.values().iter().map(|x| (x - found).powi(2)).sum::<f64>() / rows;
        // A flow of 300 steps on 2,000 pairs: the mean within half a deviation, the variance within half.
        assert!((found - mean).abs() < 0.22, "{file}: {found}");
        assert!((0.1..0.3).contains(&variance), "{file}: {variance}");
    }
    let summary = place.json("out/summary.json");
    assert_eq!(summary["simulations"], 2000);
    let page = place.text("out/report.html");
    assert_says(&page, &["Neural posterior estimation", "Ranks of true parameters", "shift"]);
    // The config that was written repeats the run.
    place.succeeds("npe out/config.toml --observation x.csv --out again");
    assert!(place.bytes("again/posterior-1.csv") == place.bytes("out/posterior-1.csv"));
}

/// theta | x ~ N(0.8 x, 0.2) and x ~ N(0, 1.25), by a flow of x given theta and particles.
#[test]
fn the_likelihood_of_a_program_gives_posterior_and_evidence() {
    let place = Place::new();
    place.write("c.toml", "preset = \"maf\"\n[flow]\nlayers = 2\n");
    place.write("shift.pl", SHIFT);
    place.write("s.toml", SIMULATOR);
    place.write("x.csv", "x\n1.0\n-0.5\n");
    let line = "npe s.toml --method nle --observation x.csv --draws 1000 --out out";
    assert_says(&place.succeeds(line), &["log evidence", "posterior-2.csv"]);
    let summary = place.json("out/summary.json");
    for (index, x) in [1.0_f64, -0.5].into_iter().enumerate() {
        let of = &summary["observations"][index];
        let evidence = -0.5 * (x * x / 1.25 + (std::f64::consts::TAU * 1.25).ln());
        // A flow of 300 steps on 2,000 pairs, and 1,000 particles.
        assert!((of["log_evidence"].as_f64().unwrap() - evidence).abs() < 0.2, "{evidence}: {of}");
        let shift = &of["parameters"][0];
        assert!((shift["mean"].as_f64().unwrap() - 0.8 * x).abs() < 0.22, "{of}");
        let deviation = shift["standard_deviation"].as_f64().unwrap();
        assert!((0.1..0.3).contains(&(deviation * deviation)), "{of}");
    }
    assert_says(&place.text("out/report.html"), &["Neural likelihood estimation", "log evidence"]);
    for (rest, words) in [
        ("--calibrate 10", &["--calibrate", "--method npe"][..]),
        ("--rounds 2", &["--rounds 2", "nle has one"]),
        ("--draws 10", &["--draws", "at least 16, got 10"]),
    ] {
        let line = format!("npe s.toml --method nle --observation x.csv --out other {rest}");
        assert_says(&place.fails(2, &line), words);
    }
}

#[test]
fn rounds_serve_one_observation() {
    let place = Place::new();
    place.write("c.toml", "preset = \"maf\"\n[flow]\nlayers = 2\n");
    place.write("shift.pl", SHIFT);
    place.write("s.toml", SIMULATOR);
    place.write("one.csv", "x\n1.0\n");
    place.write("two.csv", "x\n1.0\n2.0\n");
    let line = "npe s.toml --rounds 2 --simulations 300 --steps 60";
    assert_says(
        &place.succeeds(&format!("{line} --observation one.csv --out out")),
        &["600 simulations"],
    );
    let refused = place.fails(2, &format!("{line} --observation two.csv --out other"));
    assert_says(&refused, &["--rounds 2", "one observation", "two.csv has 2"]);
}

#[test]
fn what_is_wrong_with_a_simulator_is_named() {
    let place = Place::new();
    place.write("x.csv", "a,b\n1.0,2.0\n");
    place.write("s.toml", SIMULATOR.replace("c.toml", "maf"));
    place
        .write("fails.toml", SIMULATOR.replace("c.toml", "maf").replace("perl shift.pl", "exit 4"));
    place.write(
        "prior.toml",
        format!("simulator = \"slcp\"\n{}", &SIMULATOR[SIMULATOR.find("[[prior").unwrap()..]),
    );
    place.write("one.csv", "x\n1.0\n");
    for (line, code, words) in [
        (
            "npe s.toml --observation x.csv --out o",
            2,
            &["x.csv", "expected 1 columns", "got 2"][..],
        ),
        ("npe --simulator moons --observation x.csv --out o", 2, &["moons", "two_moons"]),
        ("npe prior.toml --observation one.csv --out o", 2, &["prior", "slcp has its own"]),
        ("npe --observation one.csv --out o", 2, &["--simulator"]),
        (
            "npe fails.toml --observation one.csv --out o",
            1,
            &["ended before it answered row 0", "4"],
        ),
        ("npe s.toml --draws 1 --observation one.csv --out p", 2, &["--draws must be at least 2"]),
    ] {
        let message = place.fails(code, line);
        assert_says(&message, words);
    }
}

/// The prior as independent distributions is the simulator's own, inside of its support and out.
#[test]
fn priors_of_simulators_that_come_along_are_their_own() {
    for known in Known::ALL {
        let simulator = KnownSimulator::new(known).unwrap();
        let (prior, dim) = (simulator.prior(), known.parameters());
        let mut rows = known.sample_prior(5, &mut stream(0, known.name()));
        rows.extend(vec![11.0; dim]);
        for theta in rows.chunks(dim) {
            let (found, own) =
                (prior.log_density(theta, &mut vec![0.0; dim]), known.prior_log_density(theta));
            // Either sums a few terms a parameter; each rounds by at most half a unit of the sum.
            let rounding = (4 * dim + 4) as f64 * f64::EPSILON * own.abs().max(1.0);
            assert!(found == own || (found - own).abs() < rounding, "{known}: {found}, {own}");
        }
    }
}
