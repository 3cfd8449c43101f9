//! Flows that are trained as proposals, and draws that are moved before they are weighed.

use serde_json::Value;

use crate::{Place, assert_says};

const SMALL: &str = "preset = \"nsf-coupling\"\nprecision = \"f64\"\n[flow]\nlayers = 2\n\
                     conditioner = { kind = \"perceptron\", hidden = [16] }\n\
                     [train]\nbatch_rows = 128\nvalidate_every = 20\n";

impl Place {
    fn object(&self, line: &str) -> Value {
        serde_json::from_str(&self.succeeds(&format!("{line} --json"))).unwrap()
    }
}

fn number(found: &Value, name: &str) -> f64 {
    found[name].as_f64().unwrap_or_else(|| panic!("{name}: {found}"))
}

/// log Z within four standard errors, by weights that can be trusted.
fn assert_covers(found: &Value, largest_error: f64) {
    let (log_z, error) = (number(found, "log_z"), number(found, "log_z_standard_error"));
    assert!(error < largest_error, "{found}");
    assert!((log_z - number(found, "exact_log_z")).abs() < 4.0 * error, "{found}");
}

#[test]
fn objectives_of_proposals_are_trained_and_resumed() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    for (objective, kind) in [
        ("forward-kl", "forward_kl"),
        ("alpha-divergence", "alpha_divergence"),
        ("importance-bound", "importance_bound"),
    ] {
        let line = format!("fit c.toml --target u1 --objective {objective} --out {kind}");
        place.succeeds(&format!("{line} --steps 120"));
        let config: toml::Table = place.text(&format!("{kind}/config.toml")).parse().unwrap();
        assert_eq!(config["proposal"]["kind"].as_str(), Some(kind));
        let curve = place.text(&format!("{kind}/metrics.csv"));
        assert_says(&curve, &["proposal_loss"]);
        let found = place.object(&format!("importance {kind} --rows 5000 --out d.csv"));
        assert!(number(&found, "effective_share") > 0.3, "{objective}: {found}");
        place.succeeds(&format!("{line} --steps 130 --resume"));
    }
    let message = place.fails(
        2,
        "fit c.toml --target u1 --objective reverse-kl --out forward_kl --steps 200 --resume",
    );
    assert_says(&message, &["proposal", "forward_kl", "none"]);
    let message = place.fails(
        2,
        "fit c.toml --target u1 --objective bootstrap --out forward_kl --steps 200 --resume",
    );
    assert_says(&message, &["proposal.kind", "forward_kl", "bootstrap"]);
}

/// A run that was stopped and went on ends in the same bytes.
#[test]
fn a_bootstrap_is_resumed_bit_for_bit() {
    let place = Place::new();
    let bootstrap = "[proposal]\nkind = \"bootstrap\"\nrows = 128\nfewest = 256\n";
    let wells = "[target.many-well]\npairs = 1\n";
    // A schedule over the budget would make both halves another run.
    let constant = "schedule = \"constant\"\n";
    place.write("wells.toml", format!("{SMALL}{constant}{bootstrap}{wells}"));
    place.succeeds("fit wells.toml --steps 64 --out whole");
    // Whole rounds, which have 8 steps.
    place.succeeds("fit wells.toml --steps 24 --out parts");
    place.succeeds("fit --resume --steps 64 --out parts");
    let found = place.object("importance whole --rows 5000 --out d.csv");
    assert!(number(&found, "effective_share") > 0.1, "{found}");
    let curve = place.text("whole/metrics.csv");
    assert_says(&curve, &["proposal_loss"]);
    assert!(place.bytes("whole/model.safetensors") == place.bytes("parts/model.safetensors"));
    assert!(place.path("whole/buffer.safetensors").exists());
}

#[test]
fn draws_are_moved_before_they_are_weighed() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target u1 --steps 30 --out run");
    let importance = |rest: &str| place.object(&format!("importance run --out d.csv {rest}"));
    let direct = importance("--rows 10000");
    for (method, rest) in [("annealed", ""), ("langevin", "--step-size 0.02"), ("metropolis", "")] {
        let line = format!("--rows 10000 --method {method} --levels 8 {rest}");
        let found = importance(&line);
        assert_covers(&found, 0.1);
        let (before, after) =
            (number(&direct, "effective_share"), number(&found, "effective_share"));
        // Langevin steps are not accepted or refused, and so need not raise it.
        assert!(after > before || method == "langevin", "{method}: {after}, not above {before}");
    }
    for (rest, words) in [
        ("--levels 3", &["--levels is for draws that are moved", "--method annealed"][..]),
        ("--method annealed --levels 0", &["--levels must be at least 1, got 0"]),
    ] {
        assert_says(&place.fails(2, &format!("importance run --out d.csv {rest}")), words);
    }
}

#[test]
fn particles_have_the_normaliser() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target banana --steps 40 --out run");
    let line = "smc run --particles 256 --moves 10 --out particles.csv";
    let found = place.object(line);
    // A fifth of the particles is as far off as their spread may be.
    assert_covers(&found, 0.2);
    let particles = place.table("particles.csv");
    assert_eq!(particles.names(), ["run", "x1", "x2"]);
    assert_eq!(particles.rows(), 4 * 256);
    place.succeeds("smc run --particles 64 --moves 2 --runs 2 --out particles.npz");
    assert!(place.bytes("particles.npz").starts_with(b"PK"), "an archive");
    let one = place.object(&format!("{line} --runs 1"));
    assert_says(&one["warnings"].to_string(), &["one run has no standard error"]);
    for (line, words) in [
        ("smc run --runs 0 --out p.csv", &["--runs must be at least 1, got 0"][..]),
        ("chains run --method nuts --adapt 2 --out p.csv", &["--adapt", "--method metropolis"]),
    ] {
        assert_says(&place.fails(2, line), words);
    }
    place.succeeds("fit --flow planar --target banana --steps 2 --out single");
    assert_says(&place.fails(2, "smc single --out p.csv"), &["single", "--precision f64"]);
}

#[test]
fn chains_refine_the_flow_that_proposes() {
    let place = Place::new();
    place.write("c.toml", SMALL);
    place.succeeds("fit c.toml --target banana --steps 10 --out run");
    let line = "chains run --method metropolis --chains 8 --draws 300 --warm-up 50 --out c.csv";
    let plain = place.object(line);
    let adapted = place.object(&format!("{line} --adapt 2"));
    let rate = |found: &Value| number(found, "global_acceptance");
    assert!(rate(&adapted) > rate(&plain), "{adapted}, at first {plain}");
    assert!(number(&adapted, "evaluations") > 2.0 * number(&plain, "evaluations"));
}

#[test]
fn proposals_without_a_density_are_refused() {
    let place = Place::with_run("planar", 2);
    for (line, words) in [
        (
            "fit --flow planar --data g.csv --objective bootstrap --out o",
            &["bootstrap is for a density", "--target"][..],
        ),
        (
            "fit --flow planar --target banana --objective forward-kl --gradient path --out o",
            &["--gradient belongs to reverse-kl", "forward KL"],
        ),
        (
            "fit --flow planar --target banana --set proposal.kind=annealed --out o",
            &["proposal", "annealed", "bootstrap"],
        ),
        (
            "fit --flow planar --target banana --set proposal.kind=importance_bound --set proposal.draws=0 --out o",
            &["proposal", "draws", "at least 1"],
        ),
    ] {
        assert_says(&place.fails(2, line), words);
    }
}

#[test]
fn a_comparison_takes_densities() {
    let place = Place::new();
    let line = "compare --posterior eight_schools_noncentered --laplace --steps 20 \
                --flows mean-field,full-rank --out study";
    place.succeeds(line);
    let summary = place.text("study/summary.csv");
    assert_says(&summary, &["eight_schools_noncentered", "mean-field", "full-rank"]);
    let config: toml::Table = place
        .text("study/runs/eight_schools_noncentered/full-rank/seed-0/config.toml")
        .parse()
        .unwrap();
    assert!(config.contains_key("start"));
    place.succeeds("compare --resume --out study");
    place.write("plan.toml", format!(
        "flows = [\"full-rank\"]\n[match]\nsteps = 5\n[[densities]]\n[densities.target.many-well]\n\
         pairs = 1\n[[densities]]\n[densities.target.program]\nname = \"half\"\ndim = 1\ncommand = {:?}\n",
        "perl -ne '$| = 1; my $x = $_; print -$x * $x / 2, \" \", -$x, \"\\n\"'"
    ));
    place.succeeds("compare plan.toml --out planned");
    assert_says(&place.text("planned/summary.csv"), &["many-well", "half"]);
    for (line, words) in [
        ("compare --laplace --flows planar --out o", &["--laplace", "--posterior"][..]),
        (
            "compare --problems banana --target banana --flows planar --out o",
            &["banana is named twice"],
        ),
    ] {
        assert_says(&place.fails(2, line), words);
    }
}
