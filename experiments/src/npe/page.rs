//! The page of an estimation: posteriors, predictive data, calibration.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flows_bench::metrics::{Calibration, ConditionalDraws, Distance};
use flows_claims::{Effort, Setting};
use flows_inference::simulation::RankHistogram;
use flows_report::finding::{Cell, Corner, Findings, Plot, Scale, Stroke, Table};
use flows_report::study::{Outcome, Section};

use super::{CALIBRATION_DRAWS, Estimated, Method, NpeConfig, Summary};
use crate::preset;
use crate::run::write_json;
use crate::study::begin;

/// Rows of predicted data in a plot.
const PREDICTED: usize = 300;

/// Bins of a histogram of ranks.
const BINS: usize = 10;

/// Writes `study.json` and the page.
pub(super) fn write(
    estimated: &Estimated,
    summary: &Summary,
    config: &NpeConfig,
    folder: &Path,
) -> Result<PathBuf> {
    let flows = preset::named_flows();
    let setting = Setting { effort: Effort::Full, seed: config.seed, flows: &flows, seconds: None };
    let mut study = begin("Posteriors of a simulator", &setting);
    let rounds = match config.rounds {
        1 => "in one round, for every observation".to_owned(),
        rounds => format!("in {rounds} rounds (SNPE-C), for one observation"),
    };
    study.sections.push(Section {
        id: "npe".into(),
        title: match config.method {
            Method::Npe => "Neural posterior estimation".into(),
            Method::Nle => "Neural likelihood estimation".into(),
        },
        review: "A simulator that has no likelihood can still be drawn from, and a flow of its \
                 parameters given its data, trained on draws of both, is an estimate of the posterior \
                 (Section 6.2.4)."
            .into(),
        method: format!(
            "{} simulations {rounds}; {} trained on them by the likelihood of {}.",
            summary.simulations,
            config.flow,
            match config.method {
                Method::Npe => "the parameters given the data",
                Method::Nle => "the data given the parameters; particles moved from a wide normal to prior \
                                times likelihood (sequential Monte Carlo)",
            }
        ),
        seconds: summary.simulation_seconds + summary.train_seconds,
        outcome: Outcome::Found(findings(estimated, summary, config)?),
    });
    write_json(&folder.join("study.json"), &study)?;
    flows_report::write(folder)
}

fn findings(estimated: &Estimated, summary: &Summary, config: &NpeConfig) -> Result<Findings> {
    let mut findings = Findings { remarks: summary.warnings.clone(), ..Findings::default() };
    for (index, of) in summary.observations.iter().enumerate() {
        findings.at_most(
            &format!("values of observation {} outside of what was simulated", index + 1),
            of.clipped as f64,
            0.0,
            "a flow knows nothing of data that were never simulated",
        );
        if let Some(nats) = of.log_evidence {
            let name = format!("log evidence of observation {} (nats)", index + 1);
            findings.observed(&name, nats, None);
        }
        if let Some(c2st) = &of.c2st {
            findings.observed("classifier two-sample test to the reference", c2st.value, None);
        }
    }
    findings.tables.push(parameters(summary));
    findings.corners.extend(corner(estimated));
    findings.plots.extend(predictive(estimated));
    if let Some(of) = &estimated.calibration {
        let draws = ConditionalDraws {
            dim: of.dim,
            draws: of.draws,
            rows: &of.rows,
            log_density: &of.log_density,
        };
        let ranks = Calibration::new(&draws, config.seed);
        calibration(&ranks, estimated, config.seed, &mut findings)?;
    }
    Ok(findings)
}

/// A row for each parameter of each observation.
fn parameters(summary: &Summary) -> Table {
    let mut table = Table::new(
        "Posteriors by their moments and quantiles.",
        &["observation", "parameter", "mean", "standard deviation", "5 %", "median", "95 %"],
    );
    for (index, of) in summary.observations.iter().enumerate() {
        for p in &of.parameters {
            table.row([
                Cell::from(index + 1),
                p.name.clone().into(),
                p.mean.into(),
                p.standard_deviation.into(),
                p.quantile_05.into(),
                p.median.into(),
                p.quantile_95.into(),
            ]);
        }
    }
    table
}

/// Draws of the first observation's posterior by pairs of parameters, beside the reference.
fn corner(estimated: &Estimated) -> Option<Corner> {
    let mut samples = vec![("estimated", estimated.draws.first()?.as_slice())];
    samples.extend(estimated.reference.as_ref().map(|table| ("reference", table.values())));
    let count = estimated.names.len();
    let title = match count {
        0..=6 => "Draws of the posterior of observation 1.".to_owned(),
        _ => format!("Draws of the posterior of observation 1: 6 of {count} parameters."),
    };
    Corner::new(&title, &estimated.names, &samples)
}

/// Data given draws of the posterior, and the observation.
fn predictive(estimated: &Estimated) -> Option<Plot> {
    let dim = estimated.observations.columns();
    let data = estimated.predictive.chunks(dim).filter(finite).take(PREDICTED);
    let predicted: Vec<[f64; 2]> =
        data.map(|row| Some([row[0], *row.get(1)?])).collect::<Option<_>>()?;
    let observed = estimated.observations.row(0);
    let names = estimated.observations.names();
    let mut plot = Plot::new(
        "Posterior predictive check: the first two columns of data that are simulated from draws of the \
         posterior of observation 1, and the observation.",
        Scale::linear(&names[0]),
        Scale::linear(names.get(1)?),
    );
    plot.series("predicted", Stroke::Markers, predicted);
    plot.series("observed", Stroke::Markers, [[observed[0], *observed.get(1)?]]);
    Some(plot)
}

fn finite(row: &&[f64]) -> bool {
    row.iter().all(|value| value.is_finite())
}

/// Ranks of the truth among draws, for each parameter.
fn calibration(
    of: &Calibration,
    estimated: &Estimated,
    seed: u64,
    findings: &mut Findings,
) -> Result<()> {
    let (ranks, columns) = (of.ranks(), estimated.names.len() + 2);
    let names = estimated.names.iter().map(String::as_str).chain(["density", "distance"]);
    let mut plot = Plot::new(
        "Ranks of true parameters among draws of their posteriors, in ten bins. Calibrated posteriors lie \
         between the dashed lines in 99 % of the bins; a hill is too wide a posterior, a bowl too narrow.",
        Scale::linear("rank (share of the draws)"),
        Scale::linear("pairs"),
    );
    let (mut outside, mut bins, mut band) = (0, 0, [0, 0]);
    for (column, name) in names.enumerate() {
        let ranks: Vec<u32> = ranks.iter().skip(column).step_by(columns).copied().collect();
        let histogram = RankHistogram::new(&ranks, CALIBRATION_DRAWS, BINS)?;
        (outside, bins, band) = (outside + histogram.outside(), bins + BINS, histogram.band);
        let centre = |bin: usize| (bin as f64 + 0.5) / BINS as f64;
        let points = histogram.counts.iter().enumerate().map(|(bin, n)| [centre(bin), *n as f64]);
        if column < 4 {
            plot.series(name, Stroke::Measured, points);
        }
    }
    for (name, count) in ["0.5 %", "99.5 %"].into_iter().zip(band) {
        plot.series(name, Stroke::Reference, [[0.0, count as f64], [1.0, count as f64]]);
    }
    findings.plots.push(plot);
    findings.observed(
        &format!("bins of rank histograms, of {bins}, outside of their 99 % band"),
        outside as f64,
        None,
    );
    let mut table = Table::new(
        "Largest distance of the distribution of ranks from the uniform one, and what it exceeds once in \
         twenty for a calibrated posterior.",
        &["ranks", "distance", "95 % of calibrated posteriors"],
    );
    for Distance { name, value, null_95, .. } in of.distances(seed) {
        table.row([name.into(), value.into(), null_95.into()]);
    }
    findings.tables.push(table);
    Ok(())
}
