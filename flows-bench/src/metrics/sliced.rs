//! Sliced distances: means over directions of distances on the line.

use rayon::prelude::*;

use super::Pooled;

/// The pooled rows of two samples, projected and sorted along each direction, so that every relabelling of
/// the rows takes one pass.
///
/// With F and G the empirical distribution functions of both samples along a direction,
/// ```text
/// W_1 = int |F(t) - G(t)| dt,    KS = max_t |F(t) - G(t)|
/// ```
///
/// # Reference
/// Bonneel, Rabin, Peyré, Pfister, *Sliced and Radon Wasserstein Barycenters of Measures*, 2015;
/// Coccaro, Letizia, Reyes-González, Torre, *Comparative Study of Coupling and Autoregressive Flows
/// through Robust Statistical Tests*, 2023. <https://arxiv.org/abs/2302.12024>
#[derive(Clone, Debug)]
pub struct Sliced {
    slices: Vec<Slice>,
}

/// One direction: the rows in the order of their projections.
#[derive(Clone, Debug)]
struct Slice {
    projections: Vec<f64>,
    rows: Vec<u32>,
}

impl Sliced {
    /// Projects on unit vectors, row by row.
    #[must_use]
    pub fn new(pooled: &Pooled, directions: &[f64]) -> Self {
        let slice = |direction: &[f64]| {
            let project = |row: &[f64]| row.iter().zip(direction).map(|(x, u)| x * u).sum::<f64>();
            let mut pairs: Vec<(f64, u32)> =
                (0..pooled.rows()).map(|row| (project(pooled.row(row)), row as u32)).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (projections, rows) = pairs.into_iter().unzip();
            Slice { projections, rows }
        };
        let directions: Vec<&[f64]> = directions.chunks_exact(pooled.dim()).collect();
        Self { slices: directions.into_par_iter().map(slice).collect() }
    }

    /// Means over the directions of the Wasserstein-1 and the Kolmogorov-Smirnov distance between the rows
    /// that are labelled and the others.
    #[must_use]
    pub fn values(&self, labels: &[bool]) -> [f64; 2] {
        let labelled = labels.iter().filter(|label| **label).count();
        let steps = [1.0 / (labels.len() - labelled) as f64, 1.0 / labelled as f64];
        let mut sums = [0.0; 2];
        for slice in &self.slices {
            let [wasserstein, smirnov] = slice.values(labels, steps);
            sums[0] += wasserstein;
            sums[1] += smirnov;
        }
        sums.map(|sum| sum / self.slices.len() as f64)
    }
}

impl Slice {
    fn values(&self, labels: &[bool], [other, own]: [f64; 2]) -> [f64; 2] {
        let (mut area, mut largest, mut gap) = (0.0, 0.0_f64, 0.0_f64);
        let nexts = self.projections.iter().skip(1).chain(self.projections.last());
        for ((&row, &here), &next) in self.rows.iter().zip(&self.projections).zip(nexts) {
            gap += if labels[row as usize] { own } else { -other };
            // Between equal values there is no place to compare at.
            if next > here {
                area += gap.abs() * (next - here);
                largest = largest.max(gap.abs());
            }
        }
        [area, largest]
    }
}
