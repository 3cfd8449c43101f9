//! Two interleaved half circles with noise as two classes, whose densities are known.

use std::f64::consts::{PI, TAU};

use flows_core::train::Minibatch;
use flows_core::{Stream, normals};

/// Standard deviation of the noise on each axis; half circles have radius 2. So wide that the classes
/// overlap.
const NOISE: f64 = 0.5;

/// Window of figures.
pub(crate) const WINDOW: [f64; 4] = [-6.0, 6.0, -6.0, 6.0];

/// Nodes of the midpoint rule along a half circle: 0.016 apart, a thirtieth of the noise, so that the density is
/// off by 1/24 of the square of that, 4e-5 of itself.
const NODES: usize = 400;

/// The point of a half circle at `s`, from 0 to pi.
fn place(class: usize, s: f64) -> [f64; 2] {
    let (sin, cos) = s.sin_cos();
    if class == 0 { [2.0 * cos - 1.0, 2.0 * sin - 0.5] } else { [1.0 - 2.0 * cos, 0.5 - 2.0 * sin] }
}

/// Rows in the plane with their class, 0 or 1, as the context.
pub(crate) fn draw(rows: usize, rng: &mut Stream) -> Minibatch<f64> {
    let (mut values, mut context) = (Vec::with_capacity(2 * rows), Vec::with_capacity(rows));
    for noise in normals::<f64>(4 * rows, rng).chunks(4) {
        // Uniform from -pi to pi: its sign is the class, its size the place on the half circle.
        let angle = noise[2].atan2(noise[3]);
        let class = usize::from(angle < 0.0);
        let centre = place(class, angle.abs());
        values.extend([0, 1].map(|axis| centre[axis] + NOISE * noise[axis]));
        context.push(class as f64);
    }
    Minibatch { values, context }
}

/// The density of the points.
#[derive(Debug)]
pub(crate) struct LabelledMoons {
    nodes: [Vec<[f64; 2]>; 2],
}

impl LabelledMoons {
    pub(crate) fn new() -> Self {
        let nodes = |class| {
            (0..NODES).map(|i| place(class, PI * (i as f64 + 0.5) / NODES as f64)).collect()
        };
        Self { nodes: [nodes(0), nodes(1)] }
    }

    /// log p(x, y) for both classes y, in nats.
    fn log_joint(&self, x: &[f64]) -> [f64; 2] {
        let log_weight = (2.0 * NODES as f64 * TAU * NOISE * NOISE).ln();
        [0, 1].map(|class| {
            let exponent = |node: &[f64; 2]| {
                -0.5 * ((x[0] - node[0]).powi(2) + (x[1] - node[1]).powi(2)) / (NOISE * NOISE)
            };
            let exponents: Vec<f64> = self.nodes[class].iter().map(exponent).collect();
            let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest + exponents.iter().map(|e| (e - largest).exp()).sum::<f64>().ln() - log_weight
        })
    }

    /// log p(x) in nats, and the class of Bayes' rule.
    pub(crate) fn at(&self, x: &[f64]) -> (f64, usize) {
        let [a, b] = self.log_joint(x);
        let larger = a.max(b);
        (larger + ((a - larger).exp() + (b - larger).exp()).ln(), usize::from(b > a))
    }
}
