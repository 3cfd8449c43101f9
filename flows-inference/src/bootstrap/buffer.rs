//! A prioritised replay buffer of weighted draws.

use std::path::Path;

use flows_core::train::Checkpoint;
use flows_core::{Error, Result, Stream};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Draws with their weights, the newest in place of the oldest, of which some are taken with
/// probabilities proportional to the weights.
///
/// # Reference
/// Midgley et al., *Flow Annealed Importance Sampling Bootstrap*, ICLR 2023, Section 3.3.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayBuffer {
    dim: usize,
    capacity: usize,
    /// The row that the next draw replaces, once the buffer is full.
    next: usize,
    points: Vec<f64>,
    log_weights: Vec<f64>,
    log_proposal: Vec<f64>,
}

/// All but the values, as a file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    dim: usize,
    capacity: usize,
    next: usize,
    rows: usize,
}

impl ReplayBuffer {
    /// An empty buffer of at most `capacity` rows of `dim` features.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both are at least 1.
    pub fn new(dim: usize, capacity: usize) -> Result<Self> {
        let sizes = [("features of a buffer", dim), ("capacity of the buffer", capacity)];
        for (name, size) in sizes {
            if size == 0 {
                return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
            }
        }
        Ok(Self {
            dim,
            capacity,
            next: 0,
            points: Vec::new(),
            log_weights: Vec::new(),
            log_proposal: Vec::new(),
        })
    }

    /// Number of features.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows in the buffer.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.log_weights.len()
    }

    /// Rows with a weight above zero.
    #[must_use]
    pub fn positive(&self) -> usize {
        self.log_weights.iter().filter(|w| **w > f64::NEG_INFINITY).count()
    }

    /// The draws, row after row, not in the order of their age.
    #[must_use]
    pub fn points(&self) -> &[f64] {
        &self.points
    }

    /// Logarithms of their weights, in nats.
    #[must_use]
    pub fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }

    /// Adds draws with their log-densities under the flow and their log-weights, in nats; those with a
    /// number that is neither finite nor, as a log-weight, minus infinity are left out.
    pub fn add(&mut self, points: &[f64], log_proposal: &[f64], log_weights: &[f64]) {
        let numbers = log_proposal.iter().zip(log_weights);
        for (point, (&log_q, &log_w)) in points.chunks_exact(self.dim).zip(numbers) {
            if !log_q.is_finite() || log_w.is_nan() || log_w == f64::INFINITY {
                continue;
            }
            if self.rows() < self.capacity {
                self.points.extend_from_slice(point);
                self.log_proposal.push(log_q);
                self.log_weights.push(log_w);
                continue;
            }
            let row = self.next;
            self.points[row * self.dim..(row + 1) * self.dim].copy_from_slice(point);
            (self.log_proposal[row], self.log_weights[row]) = (log_q, log_w);
            self.next = (row + 1) % self.capacity;
        }
    }

    /// At most `count` different rows, each taken with probability proportional to its weight among those
    /// that are left: those of the largest log w + G with G standard Gumbel.
    ///
    /// # Reference
    /// Efraimidis, Spirakis, *Weighted random sampling with a reservoir*, Information Processing Letters
    /// 97, 2006; Kool, van Hoof, Welling, *Stochastic beams and where to find them*, ICML 2019.
    pub fn take(&self, count: usize, rng: &mut Stream) -> Vec<usize> {
        let mut key = |log_w: &f64| log_w - (-(1.0 - rng.random::<f64>()).ln()).ln();
        let keys: Vec<f64> = self.log_weights.iter().map(&mut key).collect();
        let mut rows: Vec<usize> =
            (0..keys.len()).filter(|&row| self.log_weights[row] > f64::NEG_INFINITY).collect();
        let by_key = |a: &usize, b: &usize| keys[*b].total_cmp(&keys[*a]);
        if count < rows.len() {
            rows.select_nth_unstable_by(count, by_key);
            rows.truncate(count);
        }
        rows.sort_unstable_by(by_key);
        rows
    }

    /// The point and the log-density under the flow of one row.
    pub(super) fn row(&self, row: usize) -> (&[f64], f64) {
        (&self.points[row * self.dim..(row + 1) * self.dim], self.log_proposal[row])
    }

    /// Multiplies the weight of a row and renews its log-density under the flow.
    pub(super) fn update(&mut self, row: usize, log_factor: f64, log_proposal: f64) {
        self.log_weights[row] += log_factor;
        self.log_proposal[row] = log_proposal;
    }

    /// Writes the buffer, and strings that are kept beside it, to a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] with the system's reason.
    pub fn write(&self, path: &Path, beside: &[(&str, String)]) -> Result<()> {
        let mut file = Checkpoint::<f64>::new();
        let values = [&self.points, &self.log_weights, &self.log_proposal].map(Clone::clone);
        file.add_vectors("buffer", &values);
        let Self { dim, capacity, next, .. } = *self;
        let shape = Shape { dim, capacity, next, rows: self.rows() };
        let texts = beside.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
        file.metadata.extend(texts);
        file.metadata.insert("buffer".into(), serde_json::to_string(&shape).unwrap_or_default());
        file.write(path)
    }

    /// Reads what [`write`](Self::write) wrote for a buffer of the same shape; returns the file, for the
    /// strings beside it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Checkpoint`] or [`Error::Tensors`] if the file does not fit; the buffer is
    /// then unchanged.
    pub fn read(&mut self, path: &Path) -> Result<Checkpoint<f64>> {
        let file = Checkpoint::<f64>::read(path)?;
        let wrong = |got: String| Error::Checkpoint {
            path: path.to_owned(),
            problem: format!(
                "expected a replay buffer of {} features and capacity {}, got {got}; resume with the \
                 settings that the run began with",
                self.dim, self.capacity
            ),
        };
        let text = file.metadata.get("buffer").ok_or_else(|| wrong("none".into()))?;
        let shape: Shape = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let Shape { dim, capacity, next, rows } = shape;
        if (dim, capacity) != (self.dim, self.capacity) || rows > capacity || next >= capacity {
            return Err(wrong(text.clone()));
        }
        let mut values = [vec![0.0; rows * dim], vec![0.0; rows], vec![0.0; rows]];
        file.restore_vectors("buffer", &mut values)?;
        let [points, log_weights, log_proposal] = values;
        *self = Self { dim, capacity, next, points, log_weights, log_proposal };
        Ok(file)
    }
}
