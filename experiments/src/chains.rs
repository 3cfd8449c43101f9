//! `chains`: Markov chains of a density with the help of a run's flow (review, Section 6.2.2).

use std::any::Any;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Real, Stream, Values, stream};
use flows_inference::chain::diagnostics::LARGEST_R_HAT;
use flows_inference::chain::{
    Acceptance, Chains, Diagnostics, Metropolis, Nuts, NutsChains, Pullback, Trajectory,
};
use serde::Serialize;

use crate::cli::{ChainMethod, ChainsArguments};
use crate::config::RunConfig;
use crate::data::RunData;
use crate::density::Density;
use crate::draw_archive::DrawArchive;
use crate::reference_draws::{self, OffReference, ReferenceDraws};
use crate::run::RunFolder;
use crate::trained_run::{Use, density_of, table_name, with_run};
use crate::training::refit;
use crate::{Usage, corner_file, say};

/// Effective draws a chain below which R-hat and standard errors are not trusted.
const LEAST_DRAWS: f64 = 100.0;

/// What the chains are worth.
#[derive(Debug, Serialize)]
struct Summary {
    target: String,
    method: ChainMethod,
    chains: usize,
    draws: usize,
    /// Evaluations of the density, with gradient where the method takes it, warm-up included.
    evaluations: u64,
    /// Those after warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling_evaluations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    divergences: Option<u64>,
    /// Share of the flow's draws that were accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    global_acceptance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_acceptance: Option<f64>,
    /// The least bulk effective sample size over all parameters, for each evaluation after warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    least_ess_per_evaluation: Option<f64>,
    parameters: Vec<OfParameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Vec<OffReference>>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OfParameter {
    name: String,
    mean: f64,
    standard_error: Option<f64>,
    r_hat: Option<f64>,
    bulk_ess: Option<f64>,
    tail_ess: Option<f64>,
}

/// Samples chains and writes their draws.
///
/// # Errors
/// An unusable run, a density of other dimension or that fails, a file that cannot be written.
pub fn run(arguments: &ChainsArguments) -> Result<()> {
    table_name(&arguments.out)?;
    corner_file::check_name(arguments.corner.as_deref())?;
    for (option, value) in [("--chains", arguments.chains), ("--draws", arguments.draws)] {
        if value == 0 {
            bail!(Usage(format!("{option} must be at least 1, got 0")));
        }
    }
    if arguments.adapt > 0 && arguments.method != ChainMethod::Metropolis {
        let advice = "the others do not propose its draws; add --method metropolis";
        bail!(Usage(format!("--adapt refines the flow of chains by metropolis; {advice}")));
    }
    with_run(&arguments.run, arguments)
}

impl Use for ChainsArguments {
    fn with<E: Real>(&self, flow: &Flow<E>, config: &RunConfig, data: &RunData) -> Result<()> {
        let density = density_of(&self.run, &self.density, (config, data))?;
        let names = density.value_names(&data.columns);
        let reference = self.reference.as_ref().map(|file| ReferenceDraws::read(file, &names));
        let reference = reference.transpose()?;
        let mut rng = stream(self.seed, "chains");
        let sampled = match self.method {
            ChainMethod::Metropolis => self.metropolis(flow, &density, (config, data), &mut rng),
            ChainMethod::Nuts => {
                let starts =
                    rows(&flow.sample(self.chains, &flows_core::Context::none(), &mut rng)?.0);
                let nuts = self.nuts().sample(density.target(), &starts, &mut rng)?;
                Ok((nuts.chains.clone(), Counts::of(nuts)))
            }
            ChainMethod::Neutra => self.neutra(flow, &density, &mut rng),
        };
        let (chains, counts) = sampled.with_context(|| density.name().to_owned())?;
        let (names, rows) = density.values(&data.columns, chains.rows())?;
        let parameters = diagnostics(&names, &rows, self.chains)?;
        if DrawArchive::is_meant_by(&self.out) {
            self.archive(&names, &rows, &chains, counts.nuts.as_ref()).write(&self.out)?;
        } else {
            table::write(&self.out, &table_of(names.clone(), &rows, &chains)?)?;
        }
        if let Some(path) = &self.corner {
            let title = format!("Draws of {density} by Markov chains.");
            corner_file::write(path, (&title, &names), &rows, reference.as_ref())?;
        }
        let mut summary = self.summary(&density, parameters, counts);
        summary.reference = reference.map(|reference| reference.compare(&names, &rows, |_| 1.0));
        summary.warn(self.chains);
        for warning in &summary.warnings {
            eprintln!("warning: {}: {warning}", self.run.display());
        }
        summary.print(self.json)
    }
}

/// What was counted while sampling.
#[derive(Debug, Default)]
struct Counts {
    evaluations: u64,
    sampling_evaluations: Option<u64>,
    divergences: Option<u64>,
    global_acceptance: Option<f64>,
    local_acceptance: Option<f64>,
    stuck: Vec<usize>,
    nuts: Option<NutsChains>,
}

impl Counts {
    fn of(nuts: NutsChains) -> Self {
        let sampling = nuts.sampling.iter().map(|counts| counts.gradient_evaluations).sum();
        Self {
            evaluations: nuts.gradient_evaluations(),
            sampling_evaluations: Some(sampling),
            divergences: Some(nuts.divergences()),
            nuts: Some(nuts),
            ..Self::default()
        }
    }
}

impl ChainsArguments {
    fn nuts(&self) -> Nuts {
        let (warm_up, draws) = (self.warm_up, self.draws);
        Nuts { warm_up, draws, acceptance: self.acceptance, ..Nuts::default() }
    }

    /// NUTS in the base space of the flow.
    fn neutra<E: Real>(
        &self,
        flow: &Flow<E>,
        density: &Density,
        rng: &mut Stream,
    ) -> Result<(Chains, Counts)> {
        let Some(flow) = (flow as &dyn Any).downcast_ref::<Flow<f64>>() else {
            bail!(Usage(format!(
                "{}: NeuTra differentiates the flow in double precision; fit the run with --precision f64",
                self.run.display()
            )));
        };
        let pullback = Pullback::new(flow, density.target())?;
        let starts = rows(&flow.base().sample(self.chains, rng)?);
        let nuts = self.nuts().sample(&pullback, &starts, rng)?;
        Ok((pullback.push(&nuts.chains)?, Counts::of(nuts)))
    }

    /// Draws of the flow proposed to local chains.
    fn metropolis<E: Real>(
        &self,
        flow: &Flow<E>,
        density: &Density,
        (config, data): (&RunConfig, &RunData),
        rng: &mut Stream,
    ) -> Result<(Chains, Counts)> {
        let starts = rows(&flow.sample(self.chains, &flows_core::Context::none(), rng)?.0);
        let (warm_up, draws) = (self.warm_up, self.draws);
        let settings = Metropolis { warm_up, draws, ..Metropolis::default() };
        let found = match self.adapt {
            0 => settings.sample(density.target(), flow, &starts, rng)?,
            rounds => {
                let own = RunFolder::new(&self.run).flow::<E>(config, data)?;
                let refit = (rounds, &refit(config));
                settings.adapt(density.target(), own, starts, refit, rng)?.1
            }
        };
        let rate = |kinds: &[Acceptance]| kinds.iter().copied().sum::<Acceptance>().rate();
        let counts = Counts {
            evaluations: found.evaluations,
            global_acceptance: rate(&found.global),
            local_acceptance: rate(&found.local),
            stuck: found.stuck(),
            ..Counts::default()
        };
        Ok((found.chains, counts))
    }

    /// Parameters by chain and draw, and what the sampler knows of each draw, under the names of ArviZ.
    fn archive(
        &self,
        names: &[String],
        rows: &[f64],
        chains: &Chains,
        nuts: Option<&NutsChains>,
    ) -> DrawArchive {
        let shape = [self.chains, self.draws];
        let mut archive = DrawArchive::default();
        archive.add_parameters(names, rows, &shape);
        archive.add("sample_stats/lp", &shape, chains.log_density.concat());
        let Some(nuts) = nuts else { return archive };
        let trajectories: Vec<Trajectory> = nuts.trajectories.concat();
        let numbers = |of: fn(&Trajectory) -> f64| trajectories.iter().map(of).collect();
        let steps = nuts.step_size.iter().flat_map(|size| std::iter::repeat_n(*size, self.draws));
        let diverging = trajectories.iter().map(|trajectory| trajectory.diverging).collect();
        archive.add_truths("sample_stats/diverging", &shape, diverging);
        archive.add("sample_stats/acceptance_rate", &shape, numbers(|t| t.acceptance));
        archive.add("sample_stats/tree_depth", &shape, numbers(|t| t.depth as f64));
        archive.add("sample_stats/n_steps", &shape, numbers(|t| t.steps as f64));
        archive.add("sample_stats/step_size", &shape, steps.collect());
        archive.add("sample_stats/energy", &shape, nuts.energy.concat());
        archive
    }

    fn summary(&self, density: &Density, parameters: Vec<OfParameter>, counts: Counts) -> Summary {
        let least = parameters.iter().map(|p| p.bulk_ess).reduce(|a, b| Some(a?.min(b?))).flatten();
        let warning =
            |chain: &usize| format!("chain {chain} (from 0) accepted nothing after warm-up");
        Summary {
            target: density.name().to_owned(),
            method: self.method,
            chains: self.chains,
            draws: self.draws,
            evaluations: counts.evaluations,
            sampling_evaluations: counts.sampling_evaluations,
            divergences: counts.divergences,
            global_acceptance: counts.global_acceptance,
            local_acceptance: counts.local_acceptance,
            least_ess_per_evaluation: least
                .zip(counts.sampling_evaluations)
                .map(|(ess, evaluations)| ess / evaluations as f64),
            parameters,
            reference: None,
            warnings: counts.stuck.iter().map(warning).collect(),
        }
    }
}

/// Diagnostics of each parameter of the model, or of each feature, given by its values chain after chain.
fn diagnostics(names: &[String], rows: &[f64], chains: usize) -> Result<Vec<OfParameter>> {
    let length = rows.len() / (chains * names.len());
    let of = |(index, name): (usize, &String)| {
        let values: Vec<f64> = rows.iter().skip(index).step_by(names.len()).copied().collect();
        let values: Vec<Vec<f64>> = values.chunks(length).map(<[f64]>::to_vec).collect();
        let Diagnostics { mean, standard_error, r_hat, bulk_ess, tail_ess } =
            Diagnostics::of(&values)?;
        Ok(OfParameter { name: name.clone(), mean, standard_error, r_hat, bulk_ess, tail_ess })
    };
    names.iter().enumerate().map(of).collect()
}

/// A row a draw: chain, draw, values, log-density.
fn table_of(names: Vec<String>, rows: &[f64], chains: &Chains) -> Result<Table> {
    let dim = names.len();
    let mut columns = vec!["chain".to_owned(), "draw".to_owned()];
    columns.extend(names);
    columns.push("log_density".to_owned());
    let place = chains.log_density.iter().enumerate().flat_map(|(chain, values)| {
        values.iter().enumerate().map(move |(draw, value)| [chain as f64, draw as f64, *value])
    });
    let all = rows.chunks(dim).zip(place);
    let values =
        all.flat_map(|(row, [chain, draw, value])| [&[chain, draw][..], row, &[value]].concat());
    Ok(Table::new(columns, dim + 3, values.collect())?)
}

/// Rows of a batch in double precision.
fn rows<E: Real>(batch: &flows_core::Batch<E>) -> Vec<Vec<f64>> {
    let values: Vec<f64> = batch.values().iter().map(|value| value.as_f64()).collect();
    let dim = values.len() / batch.rows().max(1);
    values.chunks(dim.max(1)).map(<[f64]>::to_vec).collect()
}

impl Summary {
    fn warn(&mut self, chains: usize) {
        if let Some(divergences @ 1..) = self.divergences {
            self.warnings.push(format!(
                "{divergences} draws diverged: the chains miss a part of the density; raise --acceptance, or \
                 train the flow longer"
            ));
        }
        for p in &self.parameters {
            if p.r_hat.is_none_or(|r_hat| r_hat > LARGEST_R_HAT) {
                let r_hat = p.r_hat.map_or("unknown".into(), |r_hat| format!("{r_hat:.3}"));
                self.warnings.push(format!(
                    "{}: R-hat is {r_hat}, above {LARGEST_R_HAT}: the chains have not mixed; take more draws",
                    p.name
                ));
            }
            if p.bulk_ess.is_none_or(|ess| ess < LEAST_DRAWS * chains as f64) {
                let ess = p.bulk_ess.map_or("unknown".into(), |ess| format!("{ess:.0}"));
                self.warnings.push(format!(
                    "{}: {ess} effective draws of {chains} chains are fewer than {LEAST_DRAWS} a chain: its \
                     standard error is not reliable; take more draws",
                    p.name
                ));
            }
        }
    }

    fn print(&self, json: bool) -> Result<()> {
        if json {
            return say(&serde_json::to_string_pretty(self)?);
        }
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("unknown".into(), |value| format!("{value:.digits$}"))
        };
        say(&format!(
            "{:<16} {:>12} {:>12} {:>8} {:>10} {:>10}",
            "parameter", "mean", "s.e.", "R-hat", "bulk ESS", "tail ESS"
        ))?;
        for p in &self.parameters {
            say(&format!(
                "{:<16} {:>12.5} {:>12} {:>8} {:>10} {:>10}",
                p.name,
                p.mean,
                number(p.standard_error, 5),
                number(p.r_hat, 4),
                number(p.bulk_ess, 0),
                number(p.tail_ess, 0)
            ))?;
        }
        let mut counts = format!("{} evaluations of the density", self.evaluations);
        if let Some(divergences) = self.divergences {
            counts += &format!(", {divergences} divergences");
        }
        if let Some(least) = self.least_ess_per_evaluation {
            counts += &format!(", at least {least:.5} effective draws for each after warm-up");
        }
        if let Some(rate) = self.global_acceptance {
            counts += &format!(", {:.1} % of the flow's draws accepted", 100.0 * rate);
        }
        say(&counts)?;
        self.reference.as_deref().map_or(Ok(()), reference_draws::print)
    }
}
