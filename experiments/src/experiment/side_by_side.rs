//! Experiments that train flows of both families under the same conditions: a comparison with a word
//! on what it is for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use flows_bench::posteriors::Posterior;
use flows_report::record::About;
use toml::Value;

use super::Experiment;
use crate::cli::Run;
use crate::compare::plan_file::{DensityPlan, EVERY, FlowPlan, MatchPlan, PlanFile, TablePlan};
use crate::config::{DataConfig, Dequantise, Precision, Set, Setting};
use crate::density::{DensityName, PosteriorConfig};
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
    /// What every flow is set to, one after another; empty for the flow as it is.
    settings: &'static [&'static str],
    /// Precision of every flow.
    precision: Precision,
    /// Seconds of training a run: quick and full.
    seconds: [f64; 2],
    /// Seeds of a full run; a quick one has one.
    seeds: u64,
    data: Data,
}

/// What `--data` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// Nothing: it is refused.
    Nothing,
    /// Tables.
    Tables,
    /// Models of a folder in the layout of posteriordb, to those that come along.
    Posteriors,
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
    settings: &[""],
    precision: Precision::F32,
    data: Data::Nothing,
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
    settings: &[""],
    precision: Precision::F32,
    data: Data::Tables,
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
    settings: &[""],
    precision: Precision::F32,
    data: Data::Nothing,
};

pub(super) const PROPOSALS: SideBySide = SideBySide {
    review: "A flow that was fitted to a density is a proposal of importance sampling: its weighted draws give \
             expectations and the normaliser (Section 6.2.1). Reverse KL may leave out modes, which \
             weights punish; objectives that see the weights do not.",
    method: "A finite and a continuous flow on densities with known log Z: double wells with 16 modes of \
             unequal mass, a funnel, and a ring. By reverse KL; by forward KL, chi squared and the bound of \
             8 draws, each estimated from weights of the flow's own draws; and by annealed importance sampling \
             bootstrap. Each is judged by some 100,000 weighted draws.",
    problems: &["many-well", "funnel", "u1"],
    flows: &["nsf-coupling", "rnode"],
    settings: &["", "proposal.kind=forward_kl,alpha_divergence,importance_bound,bootstrap"],
    precision: Precision::F32,
    seconds: [1.0, 30.0],
    seeds: 2,
    data: Data::Nothing,
};

pub(super) const VARIATIONAL: SideBySide = SideBySide {
    review: "Variational inference fits a distribution to a posterior by the evidence lower bound; a flow is one \
             that can be rich (Section 6.2.3).",
    method: "Normals of independent features and of any covariance, and flows of both families, on the two \
             forms of the eight schools; with --data FOLDER on all models of a folder of posteriordb that are \
             known here, where every flow starts at a Laplace approximation, so that even the mean-field one \
             has its correlations. Double precision. The gap of the bound is the reverse KL where log Z is \
             known; k-hat is the Pareto shape of the importance weights.",
    problems: &[],
    flows: &["mean-field", "full-rank", "planar", "iaf", "nsf-coupling", "rnode"],
    settings: &[""],
    precision: Precision::F64,
    seconds: [1.0, 30.0],
    seeds: 2,
    data: Data::Posteriors,
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
        if !arguments.data.is_empty() && self.data == Data::Nothing {
            bail!(Usage(format!("{name} takes no tables; leave --data out, or run tables")));
        }
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let [quick, full] = self.seconds;
        let seconds = arguments.seconds.or(Some(if arguments.quick { quick } else { full }));
        let config = DataConfig { dequantise: Dequantise::Integers, ..DataConfig::default() };
        let table = |path: &PathBuf| TablePlan::new(path, &config);
        let tables = if self.data == Data::Tables { &*arguments.data } else { &[] };
        let plan = PlanFile {
            problems: Some(names(self.problems)),
            seeds: Some(if arguments.quick { 1 } else { self.seeds }),
            matching: Some(MatchPlan { seconds, ..MatchPlan::default() }),
            data: tables.iter().map(table).collect(),
            densities: self.densities(&arguments.data)?,
            published: Vec::new(),
            flows: Some(self.flows()?),
        };
        let budget = if arguments.quick { "quick" } else { "full" };
        let [title, review, method] =
            [experiment.title, self.review, self.method].map(str::to_owned);
        let place = (budget, Some(out.as_path()), arguments.resume);
        compare::run(&plan, place, Some(About { title, review, method }), None)
    }

    /// Every flow with every setting.
    fn flows(&self) -> Result<Vec<FlowPlan>> {
        let mut flows = Vec::new();
        for flow in self.flows {
            for setting in self.settings {
                let grid = match *setting {
                    "" => Vec::new(),
                    setting => vec![setting.parse::<Setting>().map_err(Usage)?],
                };
                flows.push(FlowPlan { grid, on: self.everywhere(), ..FlowPlan::named(flow) });
            }
        }
        Ok(flows)
    }

    /// What every flow has on every problem.
    fn everywhere(&self) -> BTreeMap<String, Vec<Set>> {
        if self.precision == Precision::default() {
            return BTreeMap::new();
        }
        let value = Value::String("f64".into());
        BTreeMap::from([(EVERY.to_owned(), vec![Set { key: "precision".into(), value }])])
    }

    /// Models that come along, and those of a folder.
    ///
    /// # Errors
    /// [`Usage`] for more than one folder.
    fn densities(&self, data: &[PathBuf]) -> Result<Vec<DensityPlan>> {
        if self.data != Data::Posteriors {
            return Ok(Vec::new());
        }
        let folder = match data {
            [] => None,
            [folder] => Some(folder),
            more => {
                let got = more.len();
                bail!(Usage(format!("--data: expected one folder of posteriors, got {got}")));
            }
        };
        let posterior = |name: &str, folder: Option<&PathBuf>| {
            let config = PosteriorConfig { name: name.into(), folder: folder.cloned() };
            DensityName::Other(Arc::new(config))
        };
        let is_embedded = |name: &&str| Posterior::embedded(name).is_ok();
        let embedded = Posterior::NAMES.into_iter().filter(is_embedded);
        let along = |name| DensityPlan { laplace: false, target: posterior(name, None) };
        let mut densities: Vec<DensityPlan> = embedded.map(along).collect();
        if let Some(folder) = folder {
            let others = Posterior::NAMES.into_iter().filter(|name| !is_embedded(name));
            let of_folder =
                |name| DensityPlan { laplace: true, target: posterior(name, Some(folder)) };
            densities.extend(others.map(of_folder));
        }
        Ok(densities)
    }
}
