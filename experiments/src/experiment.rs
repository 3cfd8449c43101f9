//! The paper's constructs as experiments: pages put together from claims and parts of their own.

mod figure_1;
mod reverse_kl;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::claim::{self, Claim, Effort, Setting};
use crate::cli::Run;
use crate::study::Study;
use crate::{Usage, say};

/// An experiment that `run` knows by name.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Name on the command line.
    pub name: &'static str,
    /// Name for readers.
    pub title: &'static str,
    /// Numbered claims that its page shows.
    pub claims: &'static [&'static str],
    /// Parts that have no number, after the claims.
    pub parts: &'static [Claim],
}

/// All experiments, in the order of the review.
pub const ALL: &[Experiment] = &[
    Experiment {
        name: "figure-1",
        title: "A flow step by step",
        claims: &[],
        parts: &[figure_1::PART],
    },
    Experiment {
        name: "reverse-kl",
        title: "Fitting a density without data",
        claims: &["C7"],
        parts: &[reverse_kl::PART],
    },
    Experiment { name: "kl-duality", title: "KL duality", claims: &["C6"], parts: &[] },
    Experiment {
        name: "mode-seeking",
        title: "Covering modes or seeking them",
        claims: &["C9"],
        parts: &[],
    },
];

impl Experiment {
    /// Its sections: claims, then parts.
    pub fn sections(&self) -> impl Iterator<Item = &'static Claim> + use<> {
        let ids = self.claims;
        claim::ALL.iter().filter(move |claim| ids.contains(&claim.id)).chain(self.parts)
    }
}

/// Runs an experiment and writes its page.
///
/// # Errors
/// [`Usage`] for an experiment that does not exist; if a file cannot be written, or something
/// demanded of a number does not hold.
pub fn run(arguments: &Run) -> Result<()> {
    let experiment = named(&arguments.name)?;
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let setting = Setting { effort, seed: arguments.seed, data: arguments.data.clone() };
    let mut study = Study::new(experiment.title, &setting);
    let folder =
        arguments.out.clone().unwrap_or_else(|| PathBuf::from("results").join(experiment.name));
    let page = study.examine(experiment.sections(), &setting, &folder)?;
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
