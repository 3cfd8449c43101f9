//! Experiments that train flows of both families under the same conditions: a comparison with a word
//! on what it is for.

use std::path::PathBuf;

use anyhow::{Result, bail};
use flows_report::record::About;

use super::Experiment;
use crate::cli::Run;
use crate::compare::plan_file::{FlowPlan, MatchPlan, PlanFile, TablePlan};
use crate::config::{DataConfig, Dequantise};
use crate::{Usage, compare};

/// What is trained on what.
#[derive(Clone, Copy, Debug)]
pub struct SideBySide {
    /// What the review says.
    review: &'static str,
    /// What is measured.
    method: &'static str,
    problems: &'static [&'static str],
    flows: &'static [&'static str],
    /// Seconds of training a run: quick and full.
    seconds: [f64; 2],
    /// Seeds of a full run; a quick one has one.
    seeds: u64,
    tables: bool,
}

pub(super) const TOYS: SideBySide = SideBySide {
    review: "Flows of either family can represent any density that is smooth and positive (Sections \
             2.2 and 4); how close they come with a given effort, the review leaves to experiments.",
    method: "Two finite and two continuous flows on eight densities in the plane, with the same seconds \
             of training and the same seeds: the divergence from the truth in nats, and what it took.",
    problems: &[
        "8gaussians",
        "checkerboard",
        "circles",
        "moons",
        "pinwheel",
        "rings",
        "swissroll",
        "2spirals",
    ],
    flows: &["real-nvp", "nsf-coupling", "ffjord", "rnode"],
    seconds: [3.0, 45.0],
    seeds: 3,
    tables: false,
};

pub(super) const TABLES: SideBySide = SideBySide {
    review: "Density estimation on tables is the usual yardstick of flows (Section 6.1); autoregressive \
             layers with flexible transformers lead there.",
    method: "Coupling, autoregressive and continuous flows on red wine and on the tables given by \
             --data, every tenth row held out: the negative log-likelihood in the table's own units.",
    problems: &["red-wine"],
    flows: &["real-nvp", "maf", "nsf-coupling", "nsf-autoregressive", "ffjord", "rnode"],
    seconds: [3.0, 60.0],
    seeds: 3,
    tables: true,
};

pub(super) const IMAGES: SideBySide = SideBySide {
    review: "Images are discrete: noise of one level makes densities of them, and the likelihood of a \
             flow then bounds that of the image (Section 5.3). Multi-scale layers cut the cost \
             (Section 3.4).",
    method: "Couplings and autoregressive splines of pixels, multi-scale flows with convolutions, and \
             continuous flows with a perceptron and with a convolutional field on 1,797 digits of 8 x 8 \
             pixels, dequantised.",
    problems: &["digits"],
    flows: &[
        "nsf-coupling",
        "nsf-autoregressive",
        "real-nvp-image",
        "glow-image",
        "nsf-image",
        "rnode",
        "rnode-image",
    ],
    seconds: [3.0, 60.0],
    seeds: 3,
    tables: false,
};

/// Refuses a seed where seeds are counted.
///
/// # Errors
/// [`Usage`] for a seed other than 0.
pub(super) fn counts_seeds(name: &str, arguments: &Run) -> Result<(), Usage> {
    match arguments.seed {
        0 => Ok(()),
        _ => Err(Usage(format!("{name} counts its seeds from 0; leave --seed out"))),
    }
}

impl SideBySide {
    /// Trains everything and writes the report, which says what it is for.
    ///
    /// # Errors
    /// [`Usage`] for arguments that mean nothing here; as [`compare::run`].
    pub(super) fn run(&self, experiment: &Experiment, arguments: &Run, out: PathBuf) -> Result<()> {
        let name = experiment.name;
        counts_seeds(name, arguments)?;
        if !arguments.data.is_empty() && !self.tables {
            bail!(Usage(format!("{name} takes no tables; leave --data out, or run tables")));
        }
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let [quick, full] = self.seconds;
        let seconds = arguments.seconds.or(Some(if arguments.quick { quick } else { full }));
        let config = DataConfig { dequantise: Dequantise::Integers, ..DataConfig::default() };
        let table = |path: &PathBuf| TablePlan::new(path, &config);
        let plan = PlanFile {
            problems: Some(names(self.problems)),
            seeds: Some(if arguments.quick { 1 } else { self.seeds }),
            matching: Some(MatchPlan { seconds, ..MatchPlan::default() }),
            data: arguments.data.iter().map(table).collect(),
            published: Vec::new(),
            flows: Some(self.flows.iter().map(|flow| FlowPlan::named(flow)).collect()),
        };
        let budget = if arguments.quick { "quick" } else { "full" };
        let [title, review, method] =
            [experiment.title, self.review, self.method].map(str::to_owned);
        let place = (budget, Some(out.as_path()), arguments.resume);
        compare::run(&plan, place, Some(About { title, review, method }), None)
    }
}
