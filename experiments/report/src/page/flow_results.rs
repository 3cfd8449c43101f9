//! The runs of one flow on one problem, and what it is ranked by.

use anyhow::Result;

use super::number::{self, Number};
use super::value::Value;
use crate::figure::Look;
use crate::record::{Flow, RunSummary, Status};

/// The runs of one flow on one problem.
#[derive(Clone, Debug)]
pub(super) struct FlowResults {
    pub(super) flow: Flow,
    pub(super) look: Look,
    pub(super) runs: Vec<Run>,
}

/// One run, or why nothing is known of it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) summary: Result<RunSummary, String>,
}

/// What flows are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Kullback-Leibler divergence from the truth.
    Divergence,
    /// Reverse Kullback-Leibler divergence, of a density without exact draws.
    ReverseDivergence,
    /// The evidence lower bound, negative: the reverse divergence less an unknown log Z.
    NegativeBound,
    /// Negative log-likelihood of held-out rows.
    NegativeLogLikelihood,
}

impl Measure {
    /// The divergence where every one of these finished runs has one, on densities else the reverse one
    /// or the bound, else the negative log-likelihood.
    pub(super) fn of<'a>(finished: impl Iterator<Item = &'a RunSummary>) -> Self {
        let finished: Vec<&RunSummary> = finished.collect();
        let known =
            |measure: &Self| finished.iter().all(|run| (measure.number().of)(run).is_some());
        let measures = [Self::Divergence, Self::ReverseDivergence, Self::NegativeBound];
        let measure = measures.into_iter().find(|measure| !finished.is_empty() && known(measure));
        measure.unwrap_or(Self::NegativeLogLikelihood)
    }

    /// Whether it is zero at best.
    pub(super) fn is_divergence(self) -> bool {
        matches!(self, Self::Divergence | Self::ReverseDivergence)
    }

    /// Its usual abbreviation.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Divergence => "KL",
            Self::ReverseDivergence => "reverse KL",
            Self::NegativeBound => "\u{2212}ELBO",
            Self::NegativeLogLikelihood => "NLL",
        }
    }

    /// Its name in a sentence.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Divergence => "KL divergence",
            Self::ReverseDivergence => "reverse KL divergence",
            Self::NegativeBound => "negative evidence lower bound",
            Self::NegativeLogLikelihood => "negative log-likelihood",
        }
    }

    /// As a number of a run.
    pub(super) fn number(self) -> &'static Number {
        match self {
            Self::Divergence => &number::KL,
            Self::ReverseDivergence => &number::REVERSE_KL,
            Self::NegativeBound => &number::NEGATIVE_BOUND,
            Self::NegativeLogLikelihood => &number::NLL,
        }
    }
}

impl FlowResults {
    /// Runs that were trained and evaluated to the end.
    pub(super) fn finished(&self) -> impl Iterator<Item = &RunSummary> {
        let summaries = self.runs.iter().filter_map(|run| run.summary.as_ref().ok());
        summaries.filter(|summary| summary.status == Status::Finished)
    }

    /// The same with some of its seeds only.
    pub(super) fn with_seeds(&self, wanted: impl Fn(u64) -> bool) -> Self {
        let runs = self.runs.iter().filter(|run| wanted(run.seed)).cloned().collect();
        Self { flow: self.flow.clone(), look: self.look.clone(), runs }
    }

    /// A number over finished runs.
    pub(super) fn over_seeds(&self, number: &Number) -> Option<Value> {
        number.over(self.finished())
    }

    /// Mean of `measure` over finished runs.
    pub(super) fn mean(&self, measure: Measure) -> Option<Value> {
        self.over_seeds(measure.number())
    }

    /// The ways in which the runs ended, each once.
    pub(super) fn ends(&self) -> Vec<String> {
        let end = |run: &Run| match &run.summary {
            Ok(summary) => summary.status.to_string(),
            Err(_) => "no result".into(),
        };
        let mut ends: Vec<String> = self.runs.iter().map(end).collect();
        ends.dedup();
        ends
    }

    /// What became of the runs that did not finish, a sentence for each.
    pub(super) fn losses(&self) -> Vec<String> {
        let loss = |run: &Run| match &run.summary {
            Ok(summary) if summary.status == Status::Finished => {
                let message = summary.message.as_ref()?;
                Some(format!("seed {} finished: {message}", run.seed))
            }
            Ok(summary) => {
                let message = summary.message.as_deref().unwrap_or("no reason was recorded");
                Some(format!("seed {} {}: {message}", run.seed, summary.status))
            }
            Err(message) => Some(format!("seed {}: no result, {message}", run.seed)),
        };
        self.runs.iter().filter_map(loss).collect()
    }
}
