//! The paper's constructs as experiments: pages put together from claims and parts of their own.

mod distillation;
mod figure_1;
mod foreign_images;
mod high_dim;
mod hybrid;
mod labelled_digits;
mod neutra;
mod npe;
mod out_of_distribution;
mod reverse_kl;
mod side_by_side;
mod uci;
mod vae;

use std::path::PathBuf;

use anyhow::{Result, bail};
use flows_claims::{Claim, Effort, Setting};
use flows_core::train::Budget;

use crate::cli::Run;
use crate::preset;
use crate::study::{begin, examine};
use crate::{Usage, say};

pub use side_by_side::SideBySide;

/// An experiment that `run` knows by name.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Name on the command line.
    pub name: &'static str,
    /// Name for readers.
    pub title: &'static str,
    /// What is done.
    pub work: Work,
}

/// What an experiment consists of.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Numbered claims, then parts that have no number.
    Study(&'static [&'static str], &'static [Claim]),
    /// Flows of both families, trained under the same conditions.
    SideBySide(SideBySide),
    /// Flows with their published settings on the standard tables.
    Uci,
    /// Flows as estimators of posteriors of simulators.
    Npe,
}

const fn study(
    name: &'static str,
    title: &'static str,
    claims: &'static [&'static str],
    parts: &'static [Claim],
) -> Experiment {
    Experiment { name, title, work: Work::Study(claims, parts) }
}

const fn side_by_side(
    name: &'static str,
    title: &'static str,
    comparison: SideBySide,
) -> Experiment {
    Experiment { name, title, work: Work::SideBySide(comparison) }
}

/// All experiments, in the order of the review.
pub const ALL: &[Experiment] = &[
    study("expressivity", "A map to any density, without training", &["C5"], &[]),
    study("reverse-kl", "Fitting a density without data", &["C7"], &[reverse_kl::PART]),
    study("kl-duality", "Both directions of the divergence", &["C6"], &[]),
    study("mode-seeking", "Covering modes or seeking them", &["C9", "C10"], &[]),
    study("figure-1", "A flow step by step", &[], &[figure_1::PART]),
    study("transformers", "Scalar maps and what they buy", &["C14", "C16", "C17", "C18"], &[]),
    study("conditioners", "Which direction costs what", &["C11", "C12", "C13", "C19"], &[]),
    study(
        "k-parts",
        "From one coupling to full autoregression",
        &["C15"],
        &[flows_claims::K_PARTS],
    ),
    study("linear", "Linear layers", &["C21", "C22"], &[]),
    study("residual", "Contractive residual layers", &["C23", "C24", "C25", "C28"], &[]),
    study("trace", "Trace, its estimates, and the determinant", &["C26", "C29", "C34", "C38"], &[]),
    study("solvers", "Error against evaluations", &["C30", "C32"], &[flows_claims::WORK_PRECISION]),
    study("adjoint", "Gradients through the solve", &["C33"], &[]),
    study("bridge", "From residual layers to an ODE", &["C31"], &[]),
    study("topology", "What no flow can do", &["C36", "C37"], &[]),
    study("cost", "What grows how, in both families", &[], &[flows_claims::COST]),
    study("regularisers", "Evaluations over training", &["C35"], &[]),
    study("simulation-free", "Flow matching against maximum likelihood", &["C40"], &[]),
    study("torus", "Densities on a torus", &["C43"], &[]),
    side_by_side("toys", "Both families on densities in the plane", side_by_side::TOYS),
    study("high-dim", "Both families in many dimensions", &[], &[high_dim::PART]),
    side_by_side("tables", "Both families on tables", side_by_side::TABLES),
    Experiment { name: "uci", title: "The standard tables of density estimation", work: Work::Uci },
    side_by_side("images", "Both families on digits", side_by_side::IMAGES),
    side_by_side("importance", "Flows as proposals", side_by_side::PROPOSALS),
    side_by_side("vi", "Approximate posteriors", side_by_side::VARIATIONAL),
    study("vae", "Latent-variable models with flows", &[], vae::PARTS),
    study("neutra", "Markov chains in the base of a flow", &["C46"], neutra::PARTS),
    study(
        "out-of-distribution",
        "Anomalies by likelihood and by typicality",
        &[],
        &[out_of_distribution::PART],
    ),
    study(
        "distillation",
        "A fast teacher of densities, a fast student of draws",
        &[],
        &[distillation::PART],
    ),
    Experiment { name: "npe", title: "Posteriors of simulators", work: Work::Npe },
    study("hybrid", "Classes and density by one network", &["C49"], &[hybrid::PART]),
];

/// Parts that train every flow for the same time.
const TIMED: [&str; 4] =
    [high_dim::PART.id, hybrid::PART.id, out_of_distribution::PART.id, distillation::PART.id];

/// Runs an experiment and writes its page.
///
/// # Errors
/// [`Usage`] for an experiment that does not exist or takes no tables; if a file cannot be written,
/// or something demanded of a number does not hold.
pub fn run(arguments: &Run) -> Result<()> {
    let experiment = named(&arguments.name)?;
    if let Some(seconds) = arguments.seconds {
        Budget::Seconds { seconds }.check().map_err(|error| Usage(error.to_string()))?;
    }
    let folder =
        arguments.out.clone().unwrap_or_else(|| PathBuf::from("results").join(experiment.name));
    let (claims, parts) = match experiment.work {
        Work::Study(claims, parts) => (claims, parts),
        Work::SideBySide(comparison) => return comparison.run(experiment, arguments, folder),
        Work::Uci => return uci::run(experiment, arguments, folder),
        Work::Npe => return npe::run(experiment, arguments, folder),
    };
    if !arguments.data.is_empty() {
        let name = experiment.name;
        bail!(Usage(format!("{name} takes no tables; leave --data out, or run tables")));
    }
    if arguments.resume {
        let name = experiment.name;
        bail!(Usage(format!("{name} is not resumed; leave --resume out to run it again")));
    }
    let timed = parts.iter().any(|part| TIMED.contains(&part.id));
    if arguments.seconds.is_some() && !timed {
        let name = experiment.name;
        bail!(Usage(format!("{name} trains nothing for a given time; leave --seconds out")));
    }
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let flows = preset::named_flows();
    let setting =
        Setting { effort, seed: arguments.seed, flows: &flows, seconds: arguments.seconds };
    let mut study = begin(experiment.title, &setting);
    let numbered = flows_claims::ALL.iter().filter(|claim| claims.contains(&claim.id));
    examine(&mut study, numbered.chain(parts), &setting, &folder)?;
    let page = flows_report::write(&folder)?;
    say(&page.display().to_string())?;
    let failed = study.count("fail") + study.count("error");
    if failed > 0 {
        bail!("{failed} of {} parts did not pass", study.sections.len());
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Experiment> {
    ALL.iter().find(|experiment| experiment.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|experiment| experiment.name).collect();
        Usage(format!("unknown experiment {name:?}; there are {}", names.join(", "))).into()
    })
}
