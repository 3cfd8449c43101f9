//! What a gallery shows side by side: the truth, then one run of each flow.

use anyhow::{Result, ensure};

use super::flow_results::FlowResults;
use crate::figure::density;
use crate::record::{Folder, Matrix, Problem, ProblemKind, RunKey};

/// One column of a gallery. What could not be read is a sentence that says why.
#[derive(Debug)]
pub(super) struct Source {
    /// Part of a file name.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) subtitle: String,
    /// Whether a density is to be expected: of data it is not known.
    pub(super) has_density: bool,
    pub(super) density: Result<Matrix, String>,
    pub(super) table: Result<Matrix, String>,
    /// Of a flow on images: the training images nearest to its draws, and interpolations.
    pub(super) images: Option<[Result<Matrix, String>; 2]>,
}

impl Source {
    /// The true density and held-out rows of a problem.
    pub(super) fn truth(folder: &Folder, problem: &Problem) -> Self {
        let known = problem.entropy_nats.is_some();
        let title = match problem.kind {
            ProblemKind::Target => "Target",
            _ if known => "Truth",
            _ => "Data",
        };
        Self {
            name: "truth".into(),
            title: title.into(),
            subtitle: match problem.kind {
                ProblemKind::Target => "exact draws".into(),
                _ => "held-out rows".into(),
            },
            has_density: known,
            density: sentence(folder.truth(&problem.name)),
            table: sentence(with_columns(folder.data(&problem.name), problem.dim)),
            images: None,
        }
    }

    /// The first finished run of a flow.
    pub(super) fn flow(folder: &Folder, problem: &Problem, flow: &FlowResults) -> Self {
        let name = flow.flow.name.as_str();
        let shown = flow.finished().next().map(|run| run.seed);
        let lost = || flow.losses().join("; ");
        let key = |seed| RunKey { problem: &problem.name, flow: name, seed };
        let subtitle = match shown {
            Some(seed) => format!("{}, seed {seed}", flow.flow.family),
            None => flow.flow.family.to_string(),
        };
        let seed = shown.ok_or_else(lost);
        Self {
            name: name.into(),
            title: flow.flow.title.clone(),
            subtitle,
            has_density: true,
            density: seed.clone().and_then(|seed| sentence(folder.density(key(seed)))),
            images: problem.shown_images().and(seed.clone().ok()).map(|seed| {
                [folder.nearest(key(seed)), folder.interpolations(key(seed))].map(sentence)
            }),
            table: seed
                .and_then(|seed| sentence(with_columns(folder.draws(key(seed)), problem.dim))),
        }
    }
}

/// Rows that every table of `sources` has, at most `most`.
pub(super) fn common_rows(sources: &[Source], most: usize) -> usize {
    let tables = sources.iter().filter_map(|source| source.table.as_ref().ok());
    tables.map(|table| table.rows).fold(most, usize::min)
}

/// Largest true density, which comes first; of the learned ones where there is no truth.
pub(super) fn largest_density<'a>(
    log_densities: impl Iterator<Item = Option<&'a Matrix>>,
) -> Option<f64> {
    let mut maxima = log_densities.map(|grid| density::maximum(grid?));
    let truth = maxima.next().flatten();
    truth.or_else(|| maxima.flatten().reduce(f64::max))
}

/// A table of draws with a column for each feature.
pub(super) fn with_columns(table: Result<Matrix>, dim: usize) -> Result<Matrix> {
    let table = table?;
    ensure!(table.columns == dim, "samples: expected {dim} columns, got {}", table.columns);
    Ok(table)
}

/// A result whose error is in words.
pub(super) fn sentence<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}"))
}
