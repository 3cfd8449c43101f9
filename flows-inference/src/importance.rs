//! Importance sampling with a flow as proposal (review, Section 6.2.1).

use flows_core::{Context, Error, Flow, Real, Result, Stream, Tape, Target, Values, Work};

use crate::pareto;

/// Rows drawn and weighted at a time.
const CHUNK: usize = 4096;

/// Draws of a proposal with their weights for a target.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// The draws, row after row.
    pub draws: Vec<f64>,
    /// log q of each draw in nats.
    pub log_proposal: Vec<f64>,
    /// log p~ - log q of each draw in nats.
    pub log_weights: LogWeights,
    /// Counted work of all draws.
    pub work: Work,
}

impl Weighted {
    /// Draws `rows` points x of the flow and weighs each by log p~(x) - log q(x).
    ///
    /// # Errors
    /// Those of the flow and of the target; [`Error::NonFinite`] with the number of the draw where a
    /// log-weight is neither finite nor minus infinity; [`Error::Caller`] where all weights are zero.
    pub fn draw<E: Real>(
        flow: &Flow<E>,
        target: &dyn Target,
        rows: usize,
        rng: &mut Stream,
    ) -> Result<Self> {
        let (expected, got) = (flow.dim(), target.dim());
        if expected != got {
            return Err(Error::Dimension { op: "target density", expected, got });
        }
        let mut draws = Vec::with_capacity(rows * flow.dim());
        let mut log_proposal = Vec::with_capacity(rows);
        let mut log_weights = Vec::with_capacity(rows);
        let mut work = Work::default();
        while log_weights.len() < rows {
            let done = log_weights.len();
            let count = CHUNK.min(rows - done);
            let drawn =
                flow.sample_and_log_prob(count, &Context::none(), &mut Tape::none(), rng)?;
            let points: Vec<f64> = drawn.value.values().iter().map(|v| v.as_f64()).collect();
            let log_target =
                target.log_densities(&points).map_err(|error| error.in_rows_from(done))?;
            let log_q = drawn.log_prob.values();
            for (log_p, log_q) in log_target.iter().zip(&log_q) {
                log_proposal.push(log_q.as_f64());
                log_weights.push(log_p - log_q.as_f64());
            }
            draws.extend(points);
            work += drawn.work;
        }
        Ok(Self { draws, log_proposal, log_weights: LogWeights::new(log_weights)?, work })
    }
}

/// Logarithms of importance weights w = p~/q, of which at least one is above zero.
#[derive(Clone, Debug)]
pub struct LogWeights(Vec<f64>);

/// The logarithm of a normaliser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormaliser {
    /// The logarithm of the mean weight, in nats.
    pub nats: f64,
    /// Its standard error by the delta method, in nats; `None` where the weights cannot carry one,
    /// since their variance may be infinite.
    pub standard_error: Option<f64>,
}

impl LogWeights {
    /// Weights of draws of the proposal.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first row whose value is neither finite nor minus infinity;
    /// [`Error::Caller`] where there are none or all are zero.
    pub fn new(values: Vec<f64>) -> Result<Self> {
        if let Some(row) = values.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
            let advice = "let the density be a number, or minus infinity outside of its support";
            return Err(Error::NonFinite { quantity: "log-weight of a draw", row, advice });
        }
        if values.iter().all(|v| *v == f64::NEG_INFINITY) {
            return Err(Error::Caller(format!(
                "all {} weights are zero: no draw of the flow lies in the support of the target; \
                 train the flow on it, or choose a base and supports that overlap it",
                values.len()
            )));
        }
        Ok(Self(values))
    }

    /// log p~ - log q of each draw in nats.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Draws with weight zero: outside of the support of the target.
    #[must_use]
    pub fn zeros(&self) -> usize {
        self.0.iter().filter(|v| **v == f64::NEG_INFINITY).count()
    }

    /// Weights that sum to one.
    #[must_use]
    pub fn normalised(&self) -> Vec<f64> {
        let relative = self.relative();
        let sum: f64 = relative.iter().sum();
        relative.into_iter().map(|w| w / sum).collect()
    }

    /// Effective sample size as a share of the draws: (sum w)^2 / (n sum w^2), in (0, 1].
    #[must_use]
    pub fn effective_share(&self) -> f64 {
        let squares: f64 = self.normalised().iter().map(|w| w * w).sum();
        1.0 / (squares * self.0.len() as f64)
    }

    /// The generalised Pareto shape of the largest weights; see [`pareto::shape`].
    #[must_use]
    pub fn pareto_k(&self) -> Option<f64> {
        pareto::shape(&self.0)
    }

    /// Whether averages over these weights can be trusted: the shape of their tail is below what their
    /// number needs, or they are equal up to rounding, so that there is no tail.
    #[must_use]
    pub fn are_reliable(&self) -> bool {
        let equal = 1.0 - self.effective_share() < 1e-9;
        equal || self.pareto_k().is_some_and(|k| k < pareto::reliable(self.0.len()))
    }

    /// log Z of the target, if the proposal is normalised.
    #[must_use]
    pub fn log_normaliser(&self) -> LogNormaliser {
        let relative = self.relative();
        let count = relative.len() as f64;
        let mean = relative.iter().sum::<f64>() / count;
        let squares: f64 = relative.iter().map(|w| (w - mean).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt() / mean;
        let standard_error = (self.are_reliable() && count > 1.0).then_some(error);
        LogNormaliser { nats: self.largest() + mean.ln(), standard_error }
    }

    fn largest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Weights relative to the largest.
    fn relative(&self) -> Vec<f64> {
        let largest = self.largest();
        self.0.iter().map(|v| (v - largest).exp()).collect()
    }
}
