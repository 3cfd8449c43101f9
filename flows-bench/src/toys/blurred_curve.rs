//! Densities of a point on a curve plus independent noise on each axis.
//!
//! With the curve cut into quadrature nodes cᵢ of weight wᵢ and noise of scale σ and density k(u)/σ
//! per axis,
//! ```text
//! p(x) = Σᵢ wᵢ k((x₁ − cᵢ₁)/σ) k((x₂ − cᵢ₂)/σ) / σ²
//! ```
//! Almost all terms are negligible at any given x: a grid of cells of side σ stores the relevant
//! nodes of each cell; outside the grid all nodes are summed.

use std::f64::consts::TAU;
use std::ops::Range;

use super::log_sum::LogSum;

/// A dropped node contributes less than exp(−`NEGLIGIBLE`) times the largest term, so that a
/// thousand of them change the log-density by less than 1e-10.
const NEGLIGIBLE: f64 = 30.0;
/// Distance in σ by which the grid exceeds the curve on each side.
const MARGIN: f64 = 12.0;

/// Univariate noise density k in units of σ: even, and decreasing in |u|.
pub(super) trait Kernel {
    /// k(u)/φ(u), φ being the standard normal density.
    fn tilt(&self, u: f64) -> f64;

    /// ln k(u) + ½ ln 2π, without overflow for any u.
    fn log_value(&self, u: f64) -> f64;
}

/// Standard normal noise, k = φ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaussian;

impl Kernel for Gaussian {
    fn tilt(&self, _: f64) -> f64 {
        1.0
    }

    fn log_value(&self, u: f64) -> f64 {
        -0.5 * u * u
    }
}

/// A quadrature node of the curve: its position and weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) position: [f64; 2],
    pub(crate) weight: f64,
}

/// The relevant nodes of a cell.
#[derive(Debug)]
struct Cell {
    /// Added to every exponent of the cell, so that the largest term is of order one.
    shift: f64,
    /// Where the cell's node ranges are in [`BlurredCurve::runs`].
    runs: Range<usize>,
}

/// Quadrature nodes of a curve with a spatial index.
#[derive(Debug)]
pub(super) struct BlurredCurve<K> {
    kernel: K,
    sigma: f64,
    /// In units of σ.
    nodes: Vec<Node>,
    /// In units of σ, like the cells.
    corner: [f64; 2],
    counts: [usize; 2],
    /// Cell (i, j) at i · `counts[1]` + j.
    cells: Vec<Cell>,
    runs: Vec<Range<usize>>,
}

impl<K: Kernel> BlurredCurve<K> {
    /// The density of `nodes` (weights positive, of sum one) convolved with `kernel`, scaled to
    /// `sigma`.
    pub(super) fn new(kernel: K, sigma: f64, mut nodes: Vec<Node>) -> Self {
        for node in &mut nodes {
            node.position = node.position.map(|x| x / sigma);
        }
        let extent = |axis: usize| {
            let along = || nodes.iter().map(|node| node.position[axis]);
            let low = along().fold(f64::INFINITY, f64::min) - MARGIN;
            (low, (along().fold(f64::NEG_INFINITY, f64::max) + MARGIN - low).ceil() as usize)
        };
        let [(left, columns), (bottom, rows)] = [0, 1].map(extent);
        let mut curve = Self {
            kernel,
            sigma,
            nodes,
            corner: [left, bottom],
            counts: [columns, rows],
            cells: Vec::with_capacity(columns * rows),
            runs: Vec::new(),
        };
        curve.fill_cells();
        curve
    }

    fn fill_cells(&mut self) {
        let bounds: [Vec<Vec<Bounds>>; 2] =
            [0, 1].map(|axis| (0..self.counts[axis]).map(|i| self.bounds(axis, i)).collect());
        let log_weights: Vec<f64> = self.nodes.iter().map(|node| node.weight.ln()).collect();
        for column in &bounds[0] {
            for row in &bounds[1] {
                let terms = || column.iter().zip(row).zip(&log_weights);
                let best = terms()
                    .map(|((a, b), log_weight)| log_weight + a.lower + b.lower)
                    .fold(f64::NEG_INFINITY, f64::max);
                let matters = terms().map(|((a, b), log_weight)| {
                    log_weight + a.upper + b.upper >= best - NEGLIGIBLE
                });
                let first = self.runs.len();
                push_runs(&mut self.runs, matters);
                self.cells.push(Cell { shift: -best, runs: first..self.runs.len() });
            }
        }
    }

    /// For each node, the range of the log-kernel over the `cell`-th strip of an axis.
    fn bounds(&self, axis: usize, cell: usize) -> Vec<Bounds> {
        let middle = self.corner[axis] + cell as f64 + 0.5;
        let of = |node: &Node| {
            let distance = (middle - node.position[axis]).abs();
            Bounds {
                lower: self.kernel.log_value(distance + 0.5),
                upper: self.kernel.log_value((distance - 0.5).max(0.0)),
            }
        };
        self.nodes.iter().map(of).collect()
    }

    /// ln p(x) in nats, x in the units of the caller.
    pub(super) fn log_density(&self, x: [f64; 2]) -> f64 {
        let u = x.map(|x| x / self.sigma);
        let log_sum = match self.cell(u) {
            Some(cell) => self.sum_of_near(cell, u),
            None => self.sum_of_all(u),
        };
        log_sum - (TAU * self.sigma * self.sigma).ln()
    }

    fn cell(&self, u: [f64; 2]) -> Option<&Cell> {
        let [i, j] = [0, 1].map(|axis| u[axis] - self.corner[axis]);
        let inside =
            (0.0..self.counts[0] as f64).contains(&i) && (0.0..self.counts[1] as f64).contains(&j);
        inside.then(|| &self.cells[i as usize * self.counts[1] + j as usize])
    }

    fn sum_of_near(&self, cell: &Cell, u: [f64; 2]) -> f64 {
        let mut sum = 0.0;
        for run in &self.runs[cell.runs.clone()] {
            for Node { position, weight } in &self.nodes[run.clone()] {
                let (du, dv) = (u[0] - position[0], u[1] - position[1]);
                let normal = (cell.shift - 0.5 * (du * du + dv * dv)).exp();
                sum += weight * normal * self.kernel.tilt(du) * self.kernel.tilt(dv);
            }
        }
        sum.ln() - cell.shift
    }

    fn sum_of_all(&self, u: [f64; 2]) -> f64 {
        let log_term = |Node { position, weight }: &Node| {
            weight.ln()
                + self.kernel.log_value(u[0] - position[0])
                + self.kernel.log_value(u[1] - position[1])
        };
        self.nodes.iter().map(log_term).collect::<LogSum>().value()
    }
}

/// Smallest and largest log-kernel over a strip.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: f64,
    upper: f64,
}

/// Appends the maximal ranges of consecutive positions where `matters` is true.
fn push_runs(runs: &mut Vec<Range<usize>>, matters: impl Iterator<Item = bool>) {
    let mut open = None;
    let mut end = 0;
    for (position, matters) in matters.enumerate() {
        match (open, matters) {
            (None, true) => open = Some(position),
            (Some(start), false) => {
                runs.push(start..position);
                open = None;
            }
            _ => {}
        }
        end = position + 1;
    }
    runs.extend(open.map(|start| start..end));
}

/// Largest difference between two versions of a density over the points of `window` where it is not
/// negligible: within about seven standard deviations of the noise.
#[cfg(test)]
impl<K: Kernel> BlurredCurve<K> {
    /// The density without the index.
    pub(super) fn full_log_density(&self, x: [f64; 2]) -> f64 {
        let u = x.map(|x| x / self.sigma);
        self.sum_of_all(u) - (TAU * self.sigma * self.sigma).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::{BlurredCurve, Gaussian, NEGLIGIBLE, Node, push_runs};

    #[test]
    fn runs_are_the_maximal_ranges() {
        let mut runs = Vec::new();
        push_runs(&mut runs, [true, false, false, true, true].into_iter());
        assert_eq!(runs, [0..1, 3..5]);
        push_runs(&mut runs, [false, true, false].into_iter());
        assert_eq!(runs, [0..1, 3..5, 1..2]);
    }

    #[test]
    fn the_index_drops_only_what_it_may() {
        let share = |i: i32| f64::from(i + 1) / 20_100.0;
        let node = |i: i32| Node { position: [0.03 * f64::from(i), 0.0], weight: share(i) };
        let nodes: Vec<Node> = (0..200).map(node).collect();
        let curve = BlurredCurve::new(Gaussian, 0.1, nodes);
        for (i, j) in (-10..70).flat_map(|i| (-10..11).map(move |j| (i, j))) {
            let x = [0.1 * f64::from(i), 0.1 * f64::from(j)];
            let (near, full) = (curve.log_density(x), curve.full_log_density(x));
            // Two hundred dropped terms, and rounding of exponents of a few hundred.
            let tolerance = 200.0 * (-NEGLIGIBLE).exp() + 1e-12;
            assert!((near - full).abs() < tolerance, "{x:?}: {near} {full}");
        }
    }
}
