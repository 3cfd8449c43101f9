//! The command line.

mod fit;
mod inference;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{ColumnName, DataConfig, Dequantise, Setting, SplitName};

pub use fit::{Fit, GradientName, ObjectiveName};
pub use inference::{
    ChainMethod, ChainsArguments, DensityArguments, Importance, ImportanceMethod, Npe,
    SmcArguments, TargetFormat,
};

/// Normalizing flows: finite and continuous on equal terms.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train flows of both families on the same problems, seeds and time, and write a report
    Compare(Compare),
    /// Print presets, problems, targets and experiments
    List,
    /// Run one of the paper's experiments and write its page; `list` shows them
    Run(Run),
    /// Check the claims of the review, one by one
    Verify(Verify),
    /// Train a flow on a table, or on a density that is known up to a constant
    Fit(Fit),
    /// Print what a run is, its numbers and its config
    Show(Show),
    /// Write the log-density of every row of a table, in nats and the table's own units
    LogProb(LogProb),
    /// Draw rows from a trained flow, in the units of its data
    Sample(Sample),
    /// Push a table through the flow: base to data (forward) or data to base (inverse)
    Transform(Transform),
    /// Weigh draws of a run for a density: importance sampling, with log Z and its error
    Importance(Importance),
    /// Sample Markov chains of a density, in a flow's base space or with its draws as proposals
    Chains(ChainsArguments),
    /// Move particles from a flow to a density (sequential Monte Carlo), with log Z from several runs
    Smc(SmcArguments),
    /// Estimate the posterior of a simulator's parameters given observations, without a likelihood
    Npe(Npe),
    /// Print distances between draws and held-out rows, each with its null band
    Metrics(Metrics),
    /// Write the report of comparisons again from their result files
    Report(Report),
}

/// How much a comparison does where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BudgetName {
    /// Three toys and red wine, 14 seconds a run: within 5 minutes on two cores
    Quick,
    /// All toys, red wine and digits, 60 seconds a run
    Full,
}

/// What the runs of a comparison are given the same amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Match {
    /// Wall-clock time of training
    Seconds,
    /// Weights, each preset's widths scaled to --parameters, and the same time or steps
    Parameters,
    /// Counted work, network passes and evaluations of vector fields times rows, up to --work
    Work,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// File that says what to compare; see the documentation
    #[arg(conflicts_with_all = [
        "problems", "data", "flows", "set", "seeds", "matching", "parameters", "work", "seconds",
        "steps",
    ])]
    pub plan: Option<PathBuf>,
    /// Problems and seconds where they are not given
    #[arg(long, value_enum)]
    pub budget: Option<BudgetName>,
    /// Problems, separated by commas; `list` shows them
    #[arg(long, value_delimiter = ',')]
    pub problems: Vec<String>,
    /// Tables of yours, separated by commas: .csv, .csv.gz, .npy or .npz
    #[arg(long, value_delimiter = ',')]
    pub data: Vec<PathBuf>,
    /// What is done to your tables
    #[command(flatten)]
    pub table: TableArguments,
    /// A density that flows are fitted to without rows, beside --problems; several are for a plan
    #[command(flatten)]
    pub density: DensityArguments,
    /// Start flows on the density at its mode, as wide as its curvature there says
    #[arg(long)]
    pub laplace: bool,
    /// Flow presets and config files, separated by commas; `list` shows presets
    #[arg(long, value_delimiter = ',')]
    pub flows: Vec<String>,
    /// A setting of every flow with its values: key=value,value; several make a grid
    #[arg(long, value_name = "KEY=VALUES")]
    pub set: Vec<Setting>,
    /// Number of seeds, counted from 0; 1 unless given
    #[arg(long)]
    pub seeds: Option<u64>,
    /// What the runs are given the same amount of; seconds unless given
    #[arg(long = "match", value_enum)]
    pub matching: Option<Match>,
    /// Weights of each flow, within 10 %, with --match parameters
    #[arg(long, required_if_eq("matching", "parameters"))]
    pub parameters: Option<u64>,
    /// Network passes times rows of each training, with --match work
    #[arg(long, required_if_eq("matching", "work"), conflicts_with_all = ["seconds", "steps"])]
    pub work: Option<u64>,
    /// Seconds of training for each run
    #[arg(long, conflicts_with = "steps")]
    pub seconds: Option<f64>,
    /// Optimiser steps for each run instead of seconds, for numbers that repeat exactly
    #[arg(long)]
    pub steps: Option<u64>,
    /// Folder to write; by default the first free one of results/compare, results/compare-2, ..
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Keep the finished runs of a comparison that was interrupted, and do the rest; it is what it
    /// began as
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Folder of an earlier comparison to compare with: exit code 3 where something is worse
    #[arg(long, value_name = "DIR")]
    pub baseline: Option<PathBuf>,
    /// Standard errors beyond which something is worse than in --baseline
    #[arg(
        long, value_name = "K", requires = "baseline", default_value_t = 3.0, value_parser = above_zero
    )]
    pub tolerance: f64,
}

/// A finite number above zero.
fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// Name of the experiment
    pub name: String,
    /// Fewer rows, steps and repetitions: seconds instead of minutes
    #[arg(long)]
    pub quick: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Seconds of training of each flow, for experiments that train flows for the same time
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Tables, for experiments that take the user's own, separated by commas; for uci the folder of the
    /// standard tables, for npe that of the benchmark's observations and reference draws
    #[arg(long, value_delimiter = ',')]
    pub data: Vec<PathBuf>,
    /// Folder to write; by default results/NAME
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on with an experiment that trains many flows and was cut off
    #[arg(long)]
    pub resume: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Claims, C1 to C50; by default all
    pub claims: Vec<String>,
    /// Claims to leave out, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub except: Vec<String>,
    /// Fewer rows, steps and repetitions: all claims within five minutes on two cores
    #[arg(long)]
    pub quick: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder to write; by default results/verify
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What is done to a table before training.
#[derive(Args, Clone, Debug, Default)]
pub struct TableArguments {
    /// Columns whose density is learned, by name or index; by default all
    #[arg(long, value_delimiter = ',', requires = "data")]
    pub columns: Vec<ColumnName>,
    /// Columns that are left out
    #[arg(long, value_delimiter = ',', requires = "data")]
    pub drop: Vec<ColumnName>,
    /// Columns that the density is conditional on
    #[arg(long, value_delimiter = ',', requires = "data")]
    pub context: Vec<ColumnName>,
    /// Columns that get noise of one step of their grid
    #[arg(long, value_enum, requires = "data")]
    pub dequantise: Option<Dequantise>,
    /// Which rows train, validate and test; by default random by the seed
    #[arg(long, value_enum, requires = "data")]
    pub split: Option<SplitName>,
}

impl TableArguments {
    /// Puts what is given over a config.
    pub fn over(&self, config: &mut DataConfig) {
        let columns = [
            (&self.columns, &mut config.columns),
            (&self.drop, &mut config.drop),
            (&self.context, &mut config.context),
        ];
        for (given, column) in columns {
            if !given.is_empty() {
                column.clone_from(given);
            }
        }
        config.dequantise = self.dequantise.unwrap_or(config.dequantise);
        config.split = self.split.map_or(config.split, SplitName::rule);
    }
}

/// Arguments of `metrics`.
#[derive(Args, Debug)]
pub struct Metrics {
    /// Table of draws: .csv, .csv.gz, .npy or .npz
    pub draws: PathBuf,
    /// Table of rows that the flow was not trained on, with the same columns; contexts among them make it a
    /// comparison of joint distributions
    #[arg(long, value_name = "FILE")]
    pub against: PathBuf,
    /// Print a list of objects with name, value, null_median and null_95
    #[arg(long)]
    pub json: bool,
    /// Seed of directions, relabellings, and rows of large tables
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Arguments of `show`.
#[derive(Args, Debug)]
pub struct Show {
    /// Folder of a run, of `fit` or in `runs/` of a comparison
    pub run: PathBuf,
}

/// Arguments of `log-prob`.
#[derive(Args, Debug)]
pub struct LogProb {
    /// Folder of a run
    pub run: PathBuf,
    /// Table with the columns the run was trained on, contexts among them
    #[arg(long)]
    pub data: PathBuf,
    /// File to write: .csv, .csv.gz, .npy or .npz
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `sample`.
#[derive(Args, Debug)]
pub struct Sample {
    /// Folder of a run
    pub run: PathBuf,
    /// Number of draws
    #[arg(long, required_unless_present = "context", conflicts_with = "context")]
    pub rows: Option<usize>,
    /// Table of contexts to draw for, of a conditional run
    #[arg(long)]
    pub context: Option<PathBuf>,
    /// Draws for each row of contexts
    #[arg(long, default_value_t = 1, requires = "context")]
    pub repeat: usize,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File to write: .csv, .csv.gz, .npy or .npz
    #[arg(long)]
    pub out: PathBuf,
}

/// Which way a table goes through a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Base to data
    Forward,
    /// Data to base
    Inverse,
}

/// Arguments of `transform`.
#[derive(Args, Debug)]
pub struct Transform {
    /// Folder of a run
    pub run: PathBuf,
    /// Which way
    #[arg(long, value_enum)]
    pub direction: Direction,
    /// Table to transform
    #[arg(long)]
    pub data: PathBuf,
    /// Table with the contexts of its rows; without it they are in the table itself
    #[arg(long)]
    pub context: Option<PathBuf>,
    /// .npz file to write: arrays value (rows, d) and log_det (rows)
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// Folders of comparisons
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
}
