//! Arguments of `fit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{DensityArguments, TableArguments};
use crate::config::{Precision, Setting};

/// Arguments of `fit`.
#[derive(Args, Debug)]
pub struct Fit {
    /// Config file; what it leaves out comes from the preset
    pub config: Option<PathBuf>,
    /// Flow preset; `list` shows them
    #[arg(long)]
    pub flow: Option<String>,
    /// Seconds of training
    #[arg(long, conflicts_with = "steps")]
    pub seconds: Option<f64>,
    /// Optimiser steps
    #[arg(long)]
    pub steps: Option<u64>,
    /// Seed of the run
    #[arg(long)]
    pub seed: Option<u64>,
    /// Precision of all numbers
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Table to train on: .csv, .csv.gz, .npy or .npz
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// What is done to the table
    #[command(flatten)]
    pub table: TableArguments,
    /// Problem that comes along, instead of a table; `list` shows them
    #[arg(long, conflicts_with_all = ["data", "target"])]
    pub problem: Option<String>,
    /// A setting over the config: key=value
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Setting>,
    /// What is minimised; by default what the config or the preset says
    #[arg(long, value_enum)]
    pub objective: Option<ObjectiveName>,
    /// Density to fit by reverse KL, instead of a table
    #[command(flatten)]
    pub density: DensityArguments,
    /// Start at a mode of the density, as wide as its curvature there says (Laplace's approximation): for
    /// posteriors that lie far from 0 or are narrow. Of several modes it finds one
    #[arg(long, conflicts_with_all = ["data", "problem"])]
    pub laplace: bool,
    /// How reverse KL estimates its gradient
    #[arg(long, value_enum)]
    pub gradient: Option<GradientName>,
    /// Folder of the run
    #[arg(long)]
    pub out: PathBuf,
    /// Begin the run if it is not there, else go on from its last checkpoint
    #[arg(long)]
    pub resume: bool,
}

/// What `fit` minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectiveName {
    /// The negative log-likelihood of a table
    MaximumLikelihood,
    /// The divergence from a density that is known up to a constant
    ReverseKl,
    /// The divergence of a flow from a density, by importance weights of the flow's own draws
    ForwardKl,
    /// The variance of the importance weights of a density (chi squared; `proposal.alpha`)
    AlphaDivergence,
    /// The importance-weighted bound of a density's log Z (`proposal.draws`)
    ImportanceBound,
    /// For a density with many modes: draws of the flow, annealed towards where it lacks mass (FAB)
    Bootstrap,
}

/// How reverse KL estimates its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GradientName {
    /// Through draws and their log-density
    Reparameterised,
    /// Through draws alone
    Path,
}
