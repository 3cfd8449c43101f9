//! The program as its users meet it: arguments in; exit code, output and files out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod audit;
mod baseline;
mod book;
mod browser;
mod compare;
mod conditional;
mod config;
mod configs;
mod distillation;
mod draws;
mod experiments_list;
mod fit;
mod images;
mod importance;
mod inference;
mod interrupted;
mod killed;
mod matching;
mod metrics;
mod own_architecture;
mod own_transformer;
mod proposals;
mod readme;
mod resume;
mod runs;
mod situations;
mod sizes;
mod study;
mod sweeps;
mod tables;
mod target;
mod trained_run;
mod uci;

use std::f64::consts::PI;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flows_bench::table::{self, Table};
use flows_core::{Stream, normals, stream};
use tempfile::TempDir;

/// Correlation of the two columns of [`gaussian`].
const CORRELATION: f64 = 0.8;

/// Their means and standard deviations.
const MEANS: [f64; 2] = [3.0, -50.0];
const SCALES: [f64; 2] = [0.5, 20.0];

/// A folder of its own that the program runs in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with `g.csv`, 600 rows of the Gaussian, and `run`, fitted to it for a few steps.
    fn with_run(flow: &str, steps: u64) -> Self {
        let place = Self::new();
        place.gaussian("g.csv", 600);
        place.succeeds(&format!("fit --flow {flow} --steps {steps} --data g.csv --out run"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }

    fn table(&self, name: &str) -> Table {
        table::read(&self.path(name)).unwrap()
    }

    /// Names of the files of a folder, in order.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Writes draws of [`gaussian`] as a table.
    fn gaussian(&self, name: &str, rows: usize) {
        let names = vec!["length".into(), "weight".into()];
        let table = Table::new(names, 2, gaussian(rows, &mut stream(1, name))).unwrap();
        table::write(&self.path(name), &table).unwrap();
    }

    /// The program with the words of `line` for arguments.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Standard output of a command that must succeed.
    fn succeeds(&self, line: &str) -> String {
        succeeded(&self.command(line).output().unwrap(), line)
    }

    /// The message of a command that must fail with this exit code: one sentence and nothing else.
    fn fails(&self, code: i32, line: &str) -> String {
        failed(&self.command(line).output().unwrap(), code, line)
    }
}

fn succeeded(output: &Output, line: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {errors}");
    let told = |l: &str| l.starts_with("warning: ") || l.starts_with("note: ");
    assert!(errors.lines().all(told), "{line}: {errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn failed(output: &Output, code: i32, line: &str) -> String {
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
    assert!(output.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
    let mut lines: Vec<&str> = errors.lines().collect();
    lines.retain(|l| !l.starts_with("warning: ") && !l.starts_with("note: "));
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{line}: {errors}");
    lines[0].to_owned()
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

/// `rows` draws of two correlated columns, row by row.
fn gaussian(rows: usize, rng: &mut Stream) -> Vec<f64> {
    let normal: Vec<f64> = normals(rows * 2, rng);
    let residual = (1.0 - CORRELATION * CORRELATION).sqrt();
    let row = |z: &[f64]| {
        let second = CORRELATION * z[0] + residual * z[1];
        [MEANS[0] + SCALES[0] * z[0], MEANS[1] + SCALES[1] * second]
    };
    normal.chunks_exact(2).flat_map(row).collect()
}

/// The log-density of [`gaussian`] at a row.
fn log_density(x: &[f64]) -> f64 {
    let z: Vec<f64> = (0..2).map(|j| (x[j] - MEANS[j]) / SCALES[j]).collect();
    let rest = 1.0 - CORRELATION * CORRELATION;
    let square = (z[0] * z[0] - 2.0 * CORRELATION * z[0] * z[1] + z[1] * z[1]) / rest;
    -0.5 * square - (2.0 * PI * SCALES[0] * SCALES[1]).ln() - 0.5 * rest.ln()
}

#[test]
fn the_list_names_every_problem_and_preset_that_the_other_commands_take() {
    let list = Place::new().succeeds("list");
    for name in [
        "real-nvp",
        "nsf-coupling",
        "ffjord",
        "8gaussians",
        "red-wine",
        "u1",
        "many-well",
        "bridge",
    ] {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(name)), "{list}");
    }
}

#[test]
fn an_unknown_command_or_flag_or_a_missing_one_is_wrong_usage() {
    let place = Place::new();
    let lines = [
        "",
        "train",
        "list --all",
        "compare --budget tiny",
        "compare --seconds 1 --steps 1",
        "compare --match parameters",
        "compare --match work",
        "compare --match work --work 10 --steps 1",
        "compare --match height",
        "compare --tolerance 2",
        "compare --resume",
        "compare --dequantise integers",
        "verify --slow",
        "run",
        "compare --seeds -1",
        "fit --data g.csv",
        "fit --out run",
        "fit --data g.csv --out run --precision f16",
        "fit --data g.csv --out run --steps 1.5",
        "fit --data g.csv --out run --steps 1 --seconds 1",
        "log-prob run --data g.csv",
        "log-prob --data g.csv --out l.csv",
        "sample run --out s.csv",
        "sample run --rows -1 --out s.csv",
        "transform run --direction sideways --data g.csv --out t.npz",
        "report",
    ];
    for line in lines {
        let output = place.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("Usage: ") || message.contains("--help"), "{line}: {message}");
    }
    assert!(place.files(".").is_empty(), "wrong usage leaves nothing behind");
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command("list").stdout(full).output().unwrap();
    assert_says(&failed(&output, 1, "list"), &["standard output"]);
}
