//! Arguments of the commands of inference, and of densities.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use flows_bench::targets::KnownTarget;
use flows_inference::Format;
use serde::Serialize;

use super::above_zero;
use crate::config::{Precision, Setting};
use crate::density::{DensityConfig, DensityName, PosteriorConfig, ProgramConfig, TeacherConfig};

/// A density that is known up to a constant.
#[derive(Args, Clone, Debug, Default)]
pub struct DensityArguments {
    /// Density that comes along; `list` shows them
    #[arg(long)]
    pub target: Option<KnownTarget>,
    /// Posterior of a model over unconstrained parameters; `list` shows them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["target", "target_command"])]
    pub posterior: Option<String>,
    /// Folder with data of --posterior in the layout of posteriordb; the eight schools need none
    #[arg(long, value_name = "DIR", requires = "posterior")]
    pub posterior_data: Option<PathBuf>,
    /// Density of the flow of a trained run, to distil it into another: the new run inherits its units
    #[arg(long, value_name = "RUN", conflicts_with_all = ["target", "posterior", "target_command"])]
    pub target_run: Option<PathBuf>,
    /// Density of yours: a program that is started once, reads points on standard input, one a line, and
    /// answers each with one line, log-density and gradient
    #[arg(long, value_name = "COMMAND", conflicts_with = "target", requires = "dim")]
    pub target_command: Option<String>,
    /// Number of features of --target-command
    #[arg(long, requires = "target_command")]
    pub dim: Option<usize>,
    /// How --target-command reads and answers; text unless given
    #[arg(long, value_enum, requires = "target_command")]
    pub target_format: Option<TargetFormat>,
    /// Seconds that --target-command may take for an answer; 60 unless given
    #[arg(long, value_name = "SECONDS", requires = "target_command", value_parser = above_zero)]
    pub target_limit: Option<f64>,
}

/// How a program reads points and answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TargetFormat {
    /// One line a point
    Text,
    /// Little-endian doubles, 8 bytes each
    F64,
}

impl DensityArguments {
    /// The density, if one is given.
    #[must_use]
    pub fn config(&self) -> Option<DensityName> {
        let other: Arc<dyn DensityConfig> = if let Some(name) = &self.posterior {
            let (name, folder) = (name.clone(), self.posterior_data.clone());
            Arc::new(PosteriorConfig { name, folder })
        } else if let Some(path) = &self.target_run {
            Arc::new(TeacherConfig { path: path.clone() })
        } else {
            let Some((command, dim)) = self.target_command.as_ref().zip(self.dim) else {
                return self.target.map(DensityName::Known);
            };
            let mut program = ProgramConfig::new(command, dim);
            program.format = self.target_format.map_or(program.format, |format| match format {
                TargetFormat::Text => Format::Text,
                TargetFormat::F64 => Format::Binary,
            });
            program.limit = self.target_limit.unwrap_or(program.limit);
            Arc::new(program)
        };
        Some(DensityName::Other(other))
    }
}

/// How draws are made and weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportanceMethod {
    /// Importance sampling: draws of the flow
    Direct,
    /// Annealed importance sampling: Hamiltonian moves at each level
    Annealed,
    /// Stochastic normalizing flow: a Langevin step at each level
    Langevin,
    /// Stochastic normalizing flow: a Metropolis step at each level
    Metropolis,
}

/// Arguments of `importance`.
#[derive(Args, Debug)]
pub struct Importance {
    /// Folder of a run
    pub run: PathBuf,
    /// What its draws are weighed for; by default the density that it was fitted to
    #[command(flatten)]
    pub density: DensityArguments,
    /// Number of draws
    #[arg(long, default_value_t = 100_000)]
    pub rows: usize,
    /// Whether draws of the flow are moved towards the density before they are weighed
    #[arg(long, value_enum, default_value = "direct")]
    pub method: ImportanceMethod,
    /// Densities between that of the flow and the other at which draws are moved; 4 unless given
    #[arg(long, value_name = "N")]
    pub levels: Option<usize>,
    /// Size of the moves: 0.2 unless given, and adapted, for annealed; 0.01, which is h, for langevin; 0.2, a
    /// standard deviation, for metropolis
    #[arg(long, value_name = "SIZE", value_parser = above_zero)]
    pub step_size: Option<f64>,
    /// Write draws that rejection sampling keeps, instead of all with their weights; its bound is the
    /// largest weight that was drawn
    #[arg(long)]
    pub rejection: bool,
    /// Reference draws of the density to compare moments with: a table, or an archive of posteriordb
    /// (.json.zip)
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Draw pairs of six parameters, those before elements of vectors, and their marginals, to an SVG file
    #[arg(long, value_name = "FILE")]
    pub corner: Option<PathBuf>,
    /// Print an object with log_z, log_z_standard_error, effective_share, pareto_k and more
    #[arg(long)]
    pub json: bool,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File to write, columns of the draws, log_weight and log_prob: .csv, .csv.gz or .npy; or .npz, one
    /// array a parameter
    #[arg(long)]
    pub out: PathBuf,
}

/// How chains move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainMethod {
    /// No-U-turn sampler in the base space of the flow (NeuTra); the run in double precision
    Neutra,
    /// No-U-turn sampler in the space of the density; the flow gives the starting points
    Nuts,
    /// Langevin steps, every fifth step a draw of the flow
    Metropolis,
}

/// Arguments of `chains`.
#[derive(Args, Debug)]
pub struct ChainsArguments {
    /// Folder of a run
    pub run: PathBuf,
    /// What is sampled; by default the density that the run was fitted to
    #[command(flatten)]
    pub density: DensityArguments,
    /// How chains move
    #[arg(long, value_enum, default_value = "neutra")]
    pub method: ChainMethod,
    /// Number of chains
    #[arg(long, default_value_t = 4)]
    pub chains: usize,
    /// Draws of a chain that adapt its steps and are dropped
    #[arg(long, default_value_t = 1_000)]
    pub warm_up: usize,
    /// Draws of a chain that are kept
    #[arg(long, default_value_t = 1_000)]
    pub draws: usize,
    /// Refine the flow on the draws of chains that are dropped, so many times, before those that are kept; for
    /// metropolis
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    pub adapt: usize,
    /// Acceptance that the no-U-turn sampler adapts its steps to, below 1; higher is slower and diverges less
    #[arg(long, default_value_t = 0.8)]
    pub acceptance: f64,
    /// Reference draws of the density to compare moments with: a table, or an archive of posteriordb
    /// (.json.zip)
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Draw pairs of six parameters, those before elements of vectors, and their marginals, to an SVG file
    #[arg(long, value_name = "FILE")]
    pub corner: Option<PathBuf>,
    /// Print an object with diagnostics of each parameter and counts
    #[arg(long)]
    pub json: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File to write, columns chain, draw, the parameters and log_density: .csv, .csv.gz or .npy; or .npz,
    /// one array a parameter and statistic, as ArviZ reads them
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `smc`.
#[derive(Args, Debug)]
pub struct SmcArguments {
    /// Folder of a run in double precision: particles start as draws of its flow, and step in the base space
    /// of a copy that is refined on them
    pub run: PathBuf,
    /// What is sampled; by default the density that the run was fitted to
    #[command(flatten)]
    pub density: DensityArguments,
    /// Particles of a run, at least 16
    #[arg(long, default_value_t = 512)]
    pub particles: usize,
    /// Steps of each particle at each temperature; where more of them raise log Z, there were too few
    #[arg(long, default_value_t = 20)]
    pub moves: usize,
    /// Independent runs, from whose spread log Z has its standard error
    #[arg(long, default_value_t = 4)]
    pub runs: usize,
    /// Print an object with log_z, log_z_standard_error, runs and more
    #[arg(long)]
    pub json: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File to write, columns run and the parameters: .csv, .csv.gz, .npy or .npz
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `npe`.
#[derive(Args, Debug)]
pub struct Npe {
    /// File with simulator, prior and settings; see the documentation
    #[arg(conflicts_with = "simulator")]
    pub config: Option<PathBuf>,
    /// Simulator that comes along; `list` shows them
    #[arg(long, value_name = "NAME")]
    pub simulator: Option<String>,
    /// Observations to estimate posteriors for, one a row: .csv, .csv.gz, .npy or .npz
    #[arg(long, value_name = "FILE")]
    pub observation: PathBuf,
    /// Draws of the exact posterior of the first observation, to compare with
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// What the flow learns; the posterior unless given
    #[arg(long, value_enum)]
    pub method: Option<crate::npe::Method>,
    /// Simulations, of each round if there are several; 10,000 unless given
    #[arg(long, value_name = "N")]
    pub simulations: Option<usize>,
    /// Rounds; with more than one, for a single observation, each simulates from the posterior of the one
    /// before (SNPE-C)
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Flow preset or config file; `list` shows presets
    #[arg(long)]
    pub flow: Option<String>,
    /// A setting over the flow's config: key=value
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Setting>,
    /// Seconds of training, of each round
    #[arg(long, conflicts_with = "steps")]
    pub seconds: Option<f64>,
    /// Optimiser steps, of each round; 5,000 unless given
    #[arg(long)]
    pub steps: Option<u64>,
    /// Draws of each posterior
    #[arg(long, default_value_t = 10_000)]
    pub draws: usize,
    /// Check the calibration on so many fresh pairs of parameters and data
    #[arg(long, value_name = "PAIRS")]
    pub calibrate: Option<usize>,
    /// Precision of the flow
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Seed of all random numbers
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder to write
    #[arg(long)]
    pub out: PathBuf,
}
