//! `importance`: draws of a run weighted for a density, with log Z and what its error is worth.

mod method;

use anyhow::{Context as _, Result, bail};
use flows_bench::table::{self, Table};
use flows_core::{Flow, Real, stream};
use flows_inference::rejection::Accepted;
use flows_inference::resampling::systematic;
use flows_inference::{Weighted, pareto};
use flows_report::record::OnTarget;
use serde::Serialize;

use crate::cli::Importance;
use crate::config::RunConfig;
use crate::data::RunData;
use crate::density::Density;
use crate::draw_archive::DrawArchive;
use crate::evaluate::target::on_target;
use crate::reference_draws::{self, OffReference, ReferenceDraws};
use crate::trained_run::{Use, density_of, table_name, with_run};
use crate::{Usage, corner_file, say};

/// What the weights say of the density.
#[derive(Debug, Serialize)]
struct Summary {
    target: String,
    rows: usize,
    log_z: f64,
    /// None where the weights cannot carry one.
    log_z_standard_error: Option<f64>,
    exact_log_z: Option<f64>,
    effective_share: f64,
    pareto_k: Option<f64>,
    /// The largest k at which averages over this many weights can be trusted.
    reliable_pareto_k: f64,
    zero_weights: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection: Option<Rejection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Vec<OffReference>>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Rejection {
    rows: usize,
    acceptance: f64,
    /// The largest log-weight of the draws.
    estimated_log_bound: f64,
}

/// Weighs draws of a run and writes them.
///
/// # Errors
/// An unusable run, a density of other dimension or that fails, a file that cannot be written.
pub fn run(arguments: &Importance) -> Result<()> {
    table_name(&arguments.out)?;
    corner_file::check_name(arguments.corner.as_deref())?;
    if arguments.rows < 2 {
        bail!(Usage(format!("--rows must be at least 2, got {}", arguments.rows)));
    }
    arguments.check_method()?;
    with_run(&arguments.run, arguments)
}

impl Use for Importance {
    fn with<E: Real>(&self, flow: &Flow<E>, config: &RunConfig, data: &RunData) -> Result<()> {
        let density = density_of(&self.run, &self.density, (config, data))?;
        let names = density.value_names(&data.columns);
        let reference = self.reference.as_ref().map(|file| ReferenceDraws::read(file, &names));
        let reference = reference.transpose()?;
        let mut rng = stream(self.seed, "importance");
        let weighted = self.draw(flow, density.target(), &mut rng);
        let weighted = weighted.with_context(|| format!("{density}"))?;
        let found = on_target(&weighted.log_weights, density.log_normaliser());
        let mut summary = Summary {
            target: density.name().to_owned(),
            rows: self.rows,
            log_z: found.log_normaliser_nats,
            log_z_standard_error: found.log_normaliser_standard_error,
            exact_log_z: found.exact_log_normaliser_nats,
            effective_share: found.effective_sample_size,
            pareto_k: found.pareto_k,
            reliable_pareto_k: pareto::reliable(self.rows),
            zero_weights: found.zero_weights,
            rejection: None,
            reference: None,
            warnings: warnings(&found, &density),
        };
        let (columns, draws) = density.values(&data.columns, weighted.draws)?;
        let weighted = Weighted { draws, ..weighted };
        let weights = weighted.log_weights.normalised();
        if let Some(path) = &self.corner {
            let title = format!("Draws of {density}, resampled by their weights.");
            let rng = &mut stream(self.seed, "corner");
            let drawn = systematic(&weighted.draws, columns.len(), &weights, rng);
            corner_file::write(path, (&title, &columns), &drawn, reference.as_ref())?;
        }
        summary.reference =
            reference.map(|of| of.compare(&columns, &weighted.draws, |row| weights[row]));
        match self.rejection {
            false if DrawArchive::is_meant_by(&self.out) => {
                archive(&weighted, &columns).write(&self.out)?;
            }
            false => table::write(&self.out, &with_weights(&weighted, columns)?)?,
            true => {
                let accepted = Accepted::of(&weighted, &mut rng);
                summary.rejection = Some(Rejection {
                    rows: accepted.draws.len() / flow.dim(),
                    acceptance: accepted.share,
                    estimated_log_bound: accepted.log_bound,
                });
                if DrawArchive::is_meant_by(&self.out) {
                    let mut archive = DrawArchive::default();
                    let rows = accepted.draws.len() / flow.dim();
                    archive.add_parameters(&columns, &accepted.draws, &[rows]);
                    archive.write(&self.out)?;
                } else {
                    let draws = Table::new(columns, flow.dim(), accepted.draws)?;
                    table::write(&self.out, &draws)?;
                }
            }
        }
        for warning in &summary.warnings {
            eprintln!("warning: {}: {warning}", self.run.display());
        }
        summary.print(self.json)
    }
}

impl Summary {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            return say(&serde_json::to_string_pretty(self)?);
        }
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("unknown".into(), |value| format!("{value:.digits$}"))
        };
        say(&format!(
            "log Z {:.5} +- {} (exactly {}) nats",
            self.log_z,
            number(self.log_z_standard_error, 5),
            number(self.exact_log_z, 5)
        ))?;
        say(&format!(
            "effective sample size {:.2} % of {} draws, Pareto k {} (trusted below {:.2})",
            100.0 * self.effective_share,
            self.rows,
            number(self.pareto_k, 2),
            self.reliable_pareto_k
        ))?;
        self.reference.as_deref().map_or(Ok(()), reference_draws::print)?;
        let Some(rejection) = &self.rejection else { return Ok(()) };
        say(&format!(
            "rejection sampling kept {} draws ({:.2} %); its bound, a log-weight of {:.4}, is the largest \
             that was drawn",
            rejection.rows,
            100.0 * rejection.acceptance,
            rejection.estimated_log_bound
        ))
    }
}

/// Why numbers cannot be trusted, as for a run on the density, and how many draws weigh nothing.
fn warnings(found: &OnTarget, density: &Density) -> Vec<String> {
    let doubt = found.doubt(None, None);
    let doubt = doubt.map(|doubt| {
        let advice = "train the flow longer, or take a base with heavier tails";
        format!("the effective sample size and log Z {doubt}; {advice}")
    });
    let zeros = (found.zero_weights > 0).then(|| {
        let (zeros, draws) = (found.zero_weights, found.draws);
        format!(
            "{zeros} of {draws} draws lie outside of the support of {density} and weigh nothing"
        )
    });
    doubt.into_iter().chain(zeros).collect()
}

/// Draws by parameter, and log-weight and log-density of the flow of each.
fn archive(weighted: &Weighted, columns: &[String]) -> DrawArchive {
    let weights = weighted.log_weights.values();
    let draws = [weights.len()];
    let mut archive = DrawArchive::default();
    archive.add_parameters(columns, &weighted.draws, &draws);
    archive.add("log_weight", &draws, weights.to_vec());
    archive.add("log_prob", &draws, weighted.log_proposal.clone());
    archive
}

/// Draws with log-weight and log-density of the flow beside them.
fn with_weights(weighted: &Weighted, mut columns: Vec<String>) -> Result<Table> {
    let dim = columns.len();
    let weights = weighted.log_weights.values().iter().zip(&weighted.log_proposal);
    let rows = weighted.draws.chunks(dim).zip(weights);
    let values = rows.flat_map(|(row, (weight, log_q))| [row, &[*weight, *log_q]].concat());
    columns.extend(["log_weight".to_owned(), "log_prob".to_owned()]);
    Ok(Table::new(columns, dim + 2, values.collect())?)
}
