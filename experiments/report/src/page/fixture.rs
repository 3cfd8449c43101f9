//! A made-up comparison on disk: three toys and a table, with one run that diverged.

mod data;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::data::{Noise, ROWS, write_arrays};
use crate::record::{
    Accuracy, Audit, Comparison, Distance, Exactness, Family, Flow, Host, MetricsRow, Problem,
    ProblemKind, RunSummary, Started, Status, Stop, summary_csv,
};

const WINE: &str = "fixed acidity,volatile acidity,citric acid,residual sugar,chlorides,free SO2,\
    total SO2,density,pH,sulphates,alcohol";

use Family::{Continuous, Finite};

const FLOWS: [(&str, &str, Family, &str); 9] = [
    ("real-nvp", "RealNVP", Finite, "Eight affine couplings, MLPs of 64, 64."),
    ("ffjord", "FFJORD", Continuous, "One field, tanh MLP of 64, 64, 64; exact trace."),
    ("nsf", "Neural spline flow", Finite, "Six rational-quadratic couplings, 8 bins."),
    ("maf", "Masked autoregressive flow", Finite, "Five masked layers of 64, 64."),
    ("ot-flow", "OT-Flow", Continuous, "Potential flow with transport cost, width 64."),
    ("residual", "Residual flow", Finite, "Ten residual blocks, Lipschitz constant 0.9."),
    ("matching", "Flow matching", Continuous, "Conditional paths, MLP of 128, 128."),
    ("glow", "Glow-style couplings", Finite, "Eight couplings with LU layers."),
    ("planar", "Planar flow", Finite, "Thirty-two planar layers."),
];
const PARAMETERS: [u64; 9] = [38_432, 8_771, 61_204, 47_110, 9_002, 22_405, 17_410, 52_000, 160];

/// The comparison that [`write`] puts on disk, with the first `flows` of [`FLOWS`].
pub(super) fn comparison(flows: usize) -> Comparison {
    let flow = |(name, title, family, description): &(&str, &str, Family, &str)| Flow {
        name: (*name).into(),
        title: (*title).into(),
        family: *family,
        description: (*description).into(),
        group: None,
        settings: Vec::new(),
    };
    let host = Host { cpu: "Example CPU 3000".into(), cores: 2 };
    Comparison {
        version: "0.1.0".into(),
        command: "experiments compare --budget quick --seeds 2 --out results/quick".into(),
        budget: "quick".into(),
        seconds_per_run: 20.0,
        matched: None,
        about: None,
        seeds: vec![1, 2],
        threads: 2,
        precision: "f32".into(),
        host,
        started: Started::Unix(1_770_000_000.0),
        wall_seconds: 273.0,
        problems: vec![
            toy("ring", "Ring of Gaussians", 2.1515, 0.0012),
            toy("checkerboard", "Checkerboard", 32f64.ln(), 0.0),
            toy("pinwheel", "Pinwheel", 2.327, 0.0021),
            wine(),
        ],
        flows: FLOWS.iter().take(flows).map(flow).collect(),
    }
}

fn toy(name: &str, title: &str, entropy: f64, error: f64) -> Problem {
    Problem {
        name: name.into(),
        title: title.into(),
        kind: ProblemKind::Toy,
        table: None,
        published: None,
        dim: 2,
        image: None,
        columns: Vec::new(),
        context: Vec::new(),
        pictures: Vec::new(),
        along: None,
        window: Some([-4.0, 4.0, -4.0, 4.0]),
        entropy_nats: Some(entropy),
        entropy_error: Some(error),
        test_rows: ROWS as u64,
        training_rows: None,
        warnings: Vec::new(),
        unbounded: false,
    }
}

fn wine() -> Problem {
    Problem {
        name: "wine".into(),
        title: "Red wine".into(),
        kind: ProblemKind::Table,
        table: None,
        published: None,
        dim: 11,
        image: None,
        columns: WINE.split(',').map(String::from).collect(),
        context: Vec::new(),
        pictures: Vec::new(),
        along: None,
        window: None,
        entropy_nats: None,
        entropy_error: None,
        test_rows: ROWS as u64,
        training_rows: Some(20_000),
        warnings: Vec::new(),
        unbounded: false,
    }
}

/// Writes the whole folder. The second seed of the third flow diverges on the checkerboard.
pub(super) fn write(dir: &Path, flows: usize) {
    let comparison = comparison(flows);
    fs::create_dir_all(dir).unwrap();
    let json = serde_json::to_string_pretty(&comparison).unwrap();
    fs::write(dir.join("comparison.json"), json).unwrap();
    let mut runs = Vec::new();
    for problem in &comparison.problems {
        let folder = dir.join("problems").join(&problem.name);
        fs::create_dir_all(&folder).unwrap();
        write_arrays(&folder, problem, 0.0, "truth.npy");
        for (index, flow) in comparison.flows.iter().enumerate() {
            for &seed in &comparison.seeds {
                let run = summarise(problem, flow, index, seed);
                let seed = format!("seed-{seed}");
                let folder = dir.join("runs").join(&problem.name).join(&flow.name).join(seed);
                fs::create_dir_all(&folder).unwrap();
                write_run(&folder, problem, &run, index);
                runs.push(run);
            }
        }
    }
    fs::write(dir.join("summary.csv"), summary_csv(&runs).unwrap()).unwrap();
}

fn write_run(folder: &Path, problem: &Problem, run: &RunSummary, index: usize) {
    let json = serde_json::to_string_pretty(run).unwrap();
    fs::write(folder.join("summary.json"), json).unwrap();
    let mut metrics = csv::Writer::from_path(folder.join("metrics.csv")).unwrap();
    for row in curve(run, index) {
        metrics.serialize(row).unwrap();
    }
    metrics.flush().unwrap();
    if let Some(nll) = run.nll_nats {
        data::write_log_prob(folder, nll, run.seed * 100 + index as u64);
        write_arrays(folder, problem, blur(index), "density.npy");
        if problem.dim == 2 {
            data::write_transport(folder);
        }
    }
}

/// How much the flow at `index` smooths the truth.
fn blur(index: usize) -> f64 {
    [0.30, 0.14, 0.10, 0.2, 0.16, 0.25, 0.12, 0.22, 0.6][index]
}

fn summarise(problem: &Problem, flow: &Flow, index: usize, seed: u64) -> RunSummary {
    let diverged = flow.name == "nsf" && problem.name == "checkerboard" && seed == 2;
    let slow = flow.family == Continuous;
    let table = problem.kind == ProblemKind::Table;
    let shift = 0.0007 * seed as f64;
    let kl = 1.3 * blur(index).powi(2) + shift;
    let loss = 9.9 + 2.0 * blur(index) + 20.0 * shift;
    let known = |value: f64| Some(value).filter(|_| !diverged);
    let toy = |value: f64| known(value).filter(|_| !table);
    let rate = 1.9e6 / (1.0 + index as f64 * if slow { 60.0 } else { 1.0 });
    let accuracy = |solver: &str| format!("Dormand-Prince {solver}, exact trace");
    RunSummary {
        problem: problem.name.clone(),
        flow: flow.name.clone(),
        family: flow.family,
        seed,
        dim: Some(problem.dim),
        parameters: Some(PARAMETERS[index]),
        train_seconds: Some(20.004 + 0.01 * seed as f64),
        steps: Some(if slow { 912 } else { 5210 } + 13 * seed),
        nll_nats: known(problem.entropy_nats.map_or(loss, |floor| floor + kl)),
        nll_standard_error: known(if table { 0.083 } else { 0.0031 }),
        nll_standardised_nats: known(loss - 4.2).filter(|_| table),
        kl_nats: toy(kl),
        kl_standard_error: toy(0.000_62),
        normalisation: toy(0.9993 - 0.001 * blur(index)),
        normalisation_window: toy(6.0).map(|edge| [-edge, edge, -edge, edge]),
        round_trip_error: known(if slow { 3.1e-5 } else { 2.2e-6 }),
        evaluations: known(if slow { 44_120.0 } else { 5_223.0 }),
        log_det: Some(Exactness::Exact),
        precision: Some("f32".into()),
        status: if diverged { Status::Diverged } else { Status::Finished },
        message: diverged.then(|| "the loss is not finite at step 1874".into()),
        log_prob_rows_per_second: known(rate),
        sample_rows_per_second: known(1.1 * rate),
        accuracy: slow.then(|| Accuracy {
            train: accuracy("5, rtol 1e-4"),
            report: accuracy("8, rtol 1e-7"),
        }),
        solver_error_nats: known(4.1e-6).filter(|_| slow),
        trace_noise_nats: known(0.31).filter(|_| slow),
        train_work: (!diverged).then_some(31_000_000),
        log_prob_rate_standard_error: known(0.02 * rate),
        sample_rate_standard_error: known(0.03 * rate),
        distances: if diverged { BTreeMap::new() } else { distances(index) },
        audit: (!diverged).then(|| audit(index)),
        stop: (!diverged).then_some(Stop::Budget),
        ..RunSummary::default()
    }
}

/// Of the first flow within its band, of the others outside.
fn distances(index: usize) -> BTreeMap<String, Distance> {
    let distance = |value, null_95| Distance { value, null_median: None, null_95 };
    let scale = 1.0 + index as f64;
    BTreeMap::from([
        ("mmd".to_owned(), distance(0.0021 * scale, 0.0034)),
        ("c2st".to_owned(), distance(0.503 + 0.02 * index as f64, 0.512)),
    ])
}

fn audit(index: usize) -> Audit {
    let scale = 1.0 + index as f64;
    Audit {
        round_trip_f32: 2.2e-6 * scale,
        round_trip_f64: 1.3e-14 * scale,
        normalisation_f32: Some(0.9993),
        normalisation_f64: Some(0.9994),
        precision_gap_largest: 3.1e-5 * scale,
        precision_gap_median: 4.0e-7 * scale,
        lipschitz: 8.5 * scale,
        inverse_lipschitz: 31.0 / scale,
        condition_median: 3.25 + index as f64,
    }
}

fn curve(run: &RunSummary, index: usize) -> Vec<MetricsRow> {
    let mut noise = Noise(run.seed * 977 + index as u64);
    let last = run.nll_nats.unwrap_or(3.6);
    let time = [1.6, 4.5, 1.1, 2.2, 5.0, 3.0, 2.8, 1.9, 0.9][index];
    let rows = if run.status == Status::Finished { 401 } else { 145 };
    let row = |i: u64| {
        let seconds = i as f64 * 0.05;
        let loss = last + 1.9 * (-seconds / time).exp() / (1.0 + seconds) + 0.004 / (0.1 + seconds);
        MetricsRow {
            step: i * 13,
            seconds,
            train_nats: Some(loss + 0.05 * noise.normal()),
            matching_loss: None,
            reverse_nats: None,
            discrepancy: None,
            proposal_loss: None,
            validation_nats: i.is_multiple_of(8).then(|| loss + 0.004 * noise.normal()),
            learning_rate: Some(1e-3),
            gradient_norm: Some(0.3 + 0.1 * noise.uniform()),
            evaluations: Some(i as f64 * 13.0),
            train_standardised_nats: None,
            validation_standardised_nats: None,
        }
    };
    (0..rows).map(row).collect()
}
